"""Tiers as data, and what views do that no other test looks at: exposure, bits, colour, JPEG, corruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.errors import ViewError
from lensbench.isp import Camera, Corruption, Developer, View, develop, get_camera
from lensbench.isp.corruptions import KINDS, corrupted, random_of
from lensbench.isp.tiers import HEADLINE, get_tier, reference, tier_names
from lensbench.isp.view import CORRUPTIONS
from scripts.calibrate_stages import CONFIGS, STAGES, specimen_frames
from tests.test_isp import PAPER, frame

PLAIN: dict[str, Any] = {"sharpen": "none", "denoise": "none"}


def test_the_tiers_are_what_they_say() -> None:
    paper, corrected = get_tier("paper-12"), get_tier(HEADLINE)
    assert list(paper.views) == PAPER and [v.name for v in paper.views] == [v.name for v in PAPER]
    assert reference() == View()
    for old, new in zip(paper.views, corrected.views, strict=True):
        assert (new.balance, new.edges) == ("before", "reflect")
        assert old.but(balance="before", edges="reflect", sharpen=new.sharpen) == new
        assert {old.sharpen, new.sharpen} in ({"filter"}, {"unsharp-vertical", "unsharp"})
    assert [v.intensity for v in get_tier("intensity-7").views] == [1, 5, 10, 25, 50, 75, 100]
    assert {v.corruption for v in get_tier("corruptions-50").views} == {
        Corruption(name, severity) for name in CORRUPTIONS for severity in range(1, 6)
    }
    assert len({get_tier(name).digest for name in tier_names()}) == len(tier_names())


HEAD = 'schema = 1\nletter = "X"\nversion = 1\ntitle = "x"\n'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", r"no views: a tier has an \[\[axis\]\]"),
        ("[view]\ngama = 2.0\n[[axis]]\na = {}\n", "no entry 'gama'; did you mean 'gamma'"),
        ("[[axis]]\na = { gamma = 9 }\n", r"view a: gamma is a number in 1…4, not 9"),
        ("[[axes]]\na = {}\n", "no entry 'axes'; did you mean 'axis'"),
        ("[series.up]\ngamma = [2.0]\nhue = [1.0]\n", "too many values"),
        ("[[axis]]\na = {}\n[box]\nhue = [3, 3]\n", "hue goes from 3.0 to 3.0"),
        ("[[axis]]\na = 3\n", "object"),
        ("axis = 3\n", "not iterable"),
        ("[corruptions]\nnames = ['fog']\nseverities = [1]\n", "no corruption 'fog'"),
        ("x = [\n", "not valid TOML"),
        ("".join(f"[[axis]]\na{i} = {{}}\nb{i} = {{}}\n" for i in range(12)), "at most 1000 views"),
        ("[[axis]]\na-1 = {}\n[series.a]\ngamma = [2.0]\n", "two views are called 'a-1'"),
    ],
)
def test_a_tier_that_cannot_be_is_one_line(body: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + body)
    with pytest.raises(ViewError, match=words):
        get_tier(str(path))


def test_a_tier_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + "[view]\nhue = 5.0\n[series.up]\ngamma = [2.3, 2.4]\n")
    tier = get_tier(str(path))
    assert [(v.name, v.gamma, v.hue) for v in tier.views] == [("up-1", 2.3, 5.0), ("up-2", 2.4, 5.0)]
    with pytest.raises(ViewError, match=r"no tier 'nowhere.toml'"):
        get_tier("nowhere.toml")


# -- stages --------------------------------------------------------------------------------------------------


def linear(raw: NDArray[Any], camera: Camera, **values: Any) -> NDArray[Any]:
    return develop(raw, camera, View(gamma=1.0, **PLAIN, **values))


def test_exposure_is_another_recording() -> None:
    raw, camera = np.full((8, 8), 1100, np.uint16), Camera(black=(100.0,) * 4, white=4000, span=4000)
    for exposure in (0.25, 0.5, 1.0, 2.0):
        np.testing.assert_allclose(linear(raw, camera, exposure=exposure), 0.25 * exposure, atol=1e-6)
    np.testing.assert_allclose(linear(raw, camera, exposure=8.0), 3900 / 4000, atol=1e-6)  # saturates at white


def test_bits_are_steps_of_the_raw_range() -> None:
    raw = np.repeat(np.arange(0, 65536, 64, dtype=np.uint16), 64).reshape(1024, 64)
    image = linear(raw, Camera(), bits=3.0)[0]
    np.testing.assert_allclose(np.unique(image[4:-4].round(5)), np.unique((np.arange(15) / 14).round(5)), atol=2e-5)
    levels = np.unique(linear(raw[::2].repeat(2, axis=0), Camera(), bits=3.0)[0].round(5))
    assert len(levels) <= 15 and {0.0, 1.0} <= set(levels.tolist())


def test_black_level_and_gains_and_colour() -> None:
    raw, camera = np.full((8, 8), 16384, np.uint16), Camera()
    np.testing.assert_allclose(linear(raw, camera, black=0.05), 0.25000381 - 0.05, atol=1e-6)
    image = linear(raw, camera, gains=(2.0, 1.0, 0.5))
    np.testing.assert_allclose(image[:, 4, 4], [0.5, 0.25, 0.125], atol=1e-5)
    grey = linear(raw, camera, gains=(2.0, 1.0, 0.5), saturation=0.0)
    np.testing.assert_allclose(grey[:, 4, 4], 0.299 * 0.5 + 0.587 * 0.25 + 0.114 * 0.125, atol=1e-5)
    turned = linear(raw, camera, gains=(2.0, 1.0, 0.5), hue=180.0)[:, 4, 4]
    np.testing.assert_allclose(turned - grey[:, 4, 4], -(image - grey)[:, 4, 4], atol=1e-5)
    np.testing.assert_allclose(
        linear(raw, camera, gains=(1.3, 1.0, 0.7), hue=-180.0),
        linear(raw, camera, gains=(1.3, 1.0, 0.7), hue=180.0),
        atol=1e-6,
    )


def test_contrast_bends_towards_an_s() -> None:
    raw = np.repeat(np.linspace(0, 65534, 64).astype(np.uint16)[None], 64, axis=0)
    plain = develop(raw, Camera(), View(**PLAIN))
    for contrast in (-1.0, 0.5, 1.0):
        bent = plain + contrast * (plain * plain * (3 - 2 * plain) - plain)
        np.testing.assert_allclose(develop(raw, Camera(), View(contrast=contrast, **PLAIN)), bent, atol=1e-6)


def test_jpeg_of_the_best_quality_is_near_and_of_the_worst_is_far() -> None:
    raw, camera = frame(64, 64), get_camera("raw_drone")
    clean = develop(raw, camera, View())
    far = [float(np.abs(develop(raw, camera, View(jpeg=quality)) - clean).mean()) for quality in (100, 50, 5)]
    assert 0 < far[0] < far[1] < far[2]
    with pytest.raises(ViewError, match="needs the whole image"):
        next(Developer(camera, [View(jpeg=90)]).tiles(raw))


# -- severities ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["raw_microscopy", "raw_drone"])
def test_severities_are_where_their_table_says(dataset: str, workspace: Path) -> None:
    tier = get_tier(f"stages-{dataset}")
    known = tier.calibration
    assert known["synthetic"] and known["dataset"] == dataset and known["config"] == CONFIGS[dataset]
    distances = specimen_frames(dataset).distances(tier.views)
    stated = [distance for name in (stage.name for stage in STAGES) for distance in known["found"][name]]
    np.testing.assert_allclose(distances, stated, rtol=0.02)
    np.testing.assert_allclose(stated, known["targets"] * len(STAGES), rtol=0.12)
    assert len({view.digest for view in tier.views}) == len(tier.views) == 5 * len(STAGES)
    (changed,) = {key for key, value in tier.view("warm-3").spec.items() if value != reference().spec[key]}
    assert changed == "gains"


# -- corruptions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_and_is_the_same_for_whoever_asks(name: str) -> None:
    raw, camera = frame(64, 48), get_camera("raw_drone")
    views = [View(corruption=Corruption(name, severity)) for severity in range(1, 6)]
    clean = develop(raw, camera, View())
    together = Developer(camera, views)(raw, sample="a")
    distances = [float(np.sqrt(np.mean((image - clean) ** 2))) for image in together]
    assert min(distances) > 0 and together.min() >= 0 and together.max() <= 1
    if name not in ("saturate", "elastic"):  # whose published strengths change in kind
        assert distances == sorted(distances)
    for view, image in zip(reversed(views), reversed(list(together)), strict=True):
        np.testing.assert_array_equal(develop(raw, camera, view, sample="a"), image)
    other = Developer(camera, views)(raw, sample="b")
    assert (name in RANDOM) == bool((other != together).any())


RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "elastic")


def test_random_numbers_are_keyed_by_sample_and_view() -> None:
    draws = {random_of(sample, view).integers(1 << 62) for sample in ("a", "b", "") for view in ("x", "y", "ax")}
    assert len(draws) == 9
    assert random_of("a", "x").integers(1 << 62) == random_of("a", "x").integers(1 << 62) == 4022634434936279246


def test_strengths_are_the_published_ones() -> None:
    image = np.full((3, 200, 200), 0.5, np.float32)

    def spread(name: str, severity: int) -> float:
        return float(corrupted(image, Corruption(name, severity), random_of("s", "v")).std())

    assert spread("gaussian_noise", 5) == pytest.approx(0.10, rel=0.03)
    assert spread("speckle_noise", 5) == pytest.approx(0.10, rel=0.03)
    assert spread("shot_noise", 5) == pytest.approx((0.5 / 50) ** 0.5, rel=0.03)
    assert spread("impulse_noise", 5) == pytest.approx(0.5 * 0.07**0.5, rel=0.05)
    ramp = np.stack([np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (64, 1))] * 3)
    assert corrupted(ramp, Corruption("contrast", 3), random_of("", "")).std() == pytest.approx(
        0.4 * ramp.std(), rel=1e-3
    )
    np.testing.assert_allclose(corrupted(ramp, Corruption("brightness", 1), random_of("", "")), ramp + 0.05, atol=1e-6)
    red = np.stack([np.full((4, 4), v, np.float32) for v in (0.8, 0.4, 0.4)])
    np.testing.assert_allclose(
        corrupted(red, Corruption("saturate", 1), random_of("", ""))[:, 0, 0], [0.8, 0.68, 0.68], atol=1e-6
    )
    np.testing.assert_allclose(corrupted(image, Corruption("saturate", 5), random_of("", "")), image)
    assert set(KINDS) == set(CORRUPTIONS) and all(len(strengths) == 5 for _, strengths in KINDS.values())
