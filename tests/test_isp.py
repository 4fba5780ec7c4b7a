"""From a raw mosaic to views: equal to the published pipeline restated, to itself in tiles, and to itself compiled."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensbench.errors import FrameError, LensbenchError, ViewError
from lensbench.images.decode import decode, dng
from lensbench.isp import Camera, Corruption, Developer, View, camera_of, develop, engines, get_camera, view_of
from lensbench.isp.camera import CAMERAS, CFAS
from lensbench.isp.demosaic import demosaic
from lensbench.isp.engines import get_engine
from lensbench.isp.levels import LARGEST, joined, tables
from lensbench.isp.pipeline import halo
from lensbench.isp.tone import developed
from lensbench.isp.view import CHOICES, RANGES
from tests.conftest import ROOT
from tests.restated_isp import DEMOSAICS, VIEWS
from tests.restated_isp import developed as restated

METHODS = dict(zip(DEMOSAICS, CHOICES["demosaic"], strict=True))
PAPER = [
    View(
        name=name,
        demosaic=METHODS[name.split("-")[0]],
        sharpen="filter" if "-s-" in name else "unsharp-vertical",
        denoise="median" if name.endswith("me") else "gaussian",
        balance="after",
        edges="published",
    )
    for name in VIEWS
]
ENGINES = ["numpy", "numba"]
MICROSCOPE, DRONE = get_camera("raw_microscopy"), get_camera("raw_drone")


def frame(height: int, width: int, top: int = 65535, seed: int = 0) -> NDArray[np.uint16]:
    """Smooth shapes with noise, and whole numbers that tie often when `top` is small."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.3 * np.sin(x / 5 + seed) * np.cos(y / 7) + 0.1 * ((x + y) % 9 > 4)
    values: NDArray[Any] = (smooth + rng.normal(0, 0.02, (height, width))) * top
    return np.asarray(np.clip(values, 0, top), np.uint16)


def camera(of: Camera, black: float, span: float) -> Camera:
    """Gains and matrix of a real camera with the levels of another, one black level for all sites."""
    return Camera("RGGB", (black,) * 4, min(span + black, 65535), span, of.gains, of.matrix)


def worst(raw: NDArray[np.uint16], of: Camera, engine: str) -> float:
    """Largest difference to the restated pipeline over its twelve views."""
    ours = Developer(of, PAPER, engine)(raw)
    levels: dict[str, Any] = {"black": of.black[0], "span": of.span, "gains": of.gains, "matrix": of.matrix}
    theirs = [restated(raw, name, cfa=of.cfa, **levels).transpose(2, 0, 1) for name in VIEWS]
    return float(np.abs(ours - np.array(theirs)).max())


# -- the published pipeline ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("of", [MICROSCOPE, DRONE], ids=["microscope", "drone"])
def test_the_twelve_published_views_of_a_drawn_frame(of: Camera, engine: str) -> None:
    assert worst(frame(64, 80), camera(of, 512.5, 65535), engine) <= 1e-4
    assert worst(frame(48, 46, top=255), camera(of, 2, 255), engine) <= 1e-4


@pytest.mark.needs("realdata")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_twelve_published_views_of_real_frames(engine: str, realdata: Path) -> None:
    path = realdata / "raw" / "colorchart.dng"
    chart = dng(path.read_bytes(), path.name)[256:512, 320:576]
    assert chart.max() > 5000
    assert worst(chart, camera(DRONE, 2056, 15000), engine) <= 1e-4
    path = realdata / "raw" / "micro.png"
    tile = decode(path.read_bytes(), path.name)[..., 0].astype(np.uint16)
    assert worst(tile, camera(MICROSCOPE, MICROSCOPE.black[0] / 257, 255), engine) <= 1e-4


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("shape", [(2, 2), (2, 8), (4, 6), (34, 40)])
@pytest.mark.parametrize("top", [3, 65535])
def test_each_demosaic_is_the_known_one_for_every_filter_order(cfa: str, shape: tuple[int, int], top: int) -> None:
    raw = np.random.default_rng(1).integers(0, top + 1, shape).astype(np.int32)
    for short, method in METHODS.items():
        ours = joined(demosaic(raw, method, divmod(cfa.index("R"), 2), "published"))
        theirs = DEMOSAICS[short](raw.astype(np.float64), cfa).transpose(2, 0, 1)
        np.testing.assert_allclose(ours, theirs, atol=2e-6 * top, rtol=0, err_msg=method)


def test_equal_gradients_are_decided_in_whole_numbers() -> None:
    raw = np.random.default_rng(2).integers(0, 2, (64, 64)).astype(np.int32)
    exact = joined(demosaic(raw, "menon2007", (0, 0), "reflect"))
    for factor, constant in ((1, 40), (64, -64 * 3), (4096, 17)):
        other = joined(demosaic(raw * factor + constant, "menon2007", (0, 0), "reflect"))
        np.testing.assert_allclose((other - constant) / factor, exact, atol=1e-5)
    flipped = DEMOSAICS["me"](raw / 49.0).transpose(2, 0, 1) * 49  # the same frame, its ties decided by rounding
    assert np.abs(flipped - exact).max() > 0.1


# -- one result ----------------------------------------------------------------------------------------------

VIEWS_OF_ANY_KIND = st.builds(
    View,
    exposure=st.sampled_from([0.3, 1.0, 1.7]),
    bits=st.sampled_from([5.5, 16.0]),
    black=st.sampled_from([-0.02, 0.0, 0.01]),
    gains=st.sampled_from([(1.0, 1.0, 1.0), (0.7, 1.0, -1.4)]),
    contrast=st.sampled_from([-0.5, 0.0, 0.8]),
    gamma=st.sampled_from([1.0, 2.2, 3.1]),
    saturation=st.sampled_from([1.0, 0.2]),
    hue=st.sampled_from([0.0, -40.0]),
    sharpen_amount=st.sampled_from([0.4, 1.0, 3.0]),
    sharpen_sigma=st.sampled_from([0.6, 1.0, 2.2]),
    denoise_sigma=st.sampled_from([0.5, 1.3]),
    **{name: st.sampled_from(known) for name, known in CHOICES.items()},
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(VIEWS_OF_ANY_KIND, min_size=1, max_size=3),
    st.sampled_from(CFAS),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([2, 16, 38]),
    st.booleans(),
)
def test_tiles_and_engines_change_no_bit(
    views: list[View], cfa: str, half: tuple[int, int], tile: int, real: bool
) -> None:
    raw = frame(2 * half[0], 2 * half[1])
    of = Camera(cfa, (256.0, 258.3, 255.9, 256.0), 60000.0, 59000.5, MICROSCOPE.gains, MICROSCOPE.matrix)
    whole = Developer(of, views, "numpy", tile=max(raw.shape))(raw)
    assert np.isfinite(whole).all() and whole.min() >= 0 and whole.max() <= 1
    for engine in ENGINES:
        np.testing.assert_array_equal(Developer(of, views, engine, tile=tile)(raw), whole)
    for found in Developer(of, views, ENGINES[-1], tile=tile).tiles(raw):
        height, width = found.image.shape[1:]
        part = whole[found.view, :, found.top : found.top + height, found.left : found.left + width]
        np.testing.assert_array_equal(found.image, part)


def test_the_bytes_are_pinned() -> None:
    y, x = np.mgrid[:48, :64].astype(np.int64)
    raw = ((x * x * 37 + y * y * 53 + x * y * 11) % 9001 * 6 + (x // 8 + y // 6) % 2 * 9000).astype(np.uint16)
    views = [*PAPER, *(view.but(balance="before", edges="reflect", sharpen="unsharp") for view in PAPER)]
    for engine in ENGINES:
        images = b"".join(Developer(of, views, engine)(raw).tobytes() for of in (MICROSCOPE, DRONE))
        assert (
            hashlib.sha256(images).hexdigest() == "141993ccb1317d56e379b7dce25e449842e2e8fa87d9c624d4e5e0d9510253f6"
        ), engine


def test_a_smaller_halo_would_be_seen() -> None:
    raw = np.random.default_rng(3).integers(0, 65536, (96, 96)).astype(np.uint16)
    view = PAPER[VIEWS.index("me-u-ga")]
    developer = Developer(MICROSCOPE, [view], "numpy", tile=32)
    whole = Developer(MICROSCOPE, [view], "numpy", tile=96)(raw)
    np.testing.assert_array_equal(developer(raw), whole)
    developer._halo = halo(view) // 2 & ~1
    assert (developer(raw) != whole).any()


def test_views_together_are_the_views_one_by_one() -> None:
    raw = frame(40, 52)
    views = [*PAPER, *(view.but(balance="before", edges="reflect") for view in PAPER)]
    together = Developer(DRONE, views)(raw)
    for view, image in zip(views, together, strict=True):
        np.testing.assert_array_equal(develop(raw, DRONE, view), image)
    assert len({image.tobytes() for image in together}) == len(views)


@pytest.mark.parametrize("engine", ENGINES)
def test_views_are_written_into_a_part_of_a_larger_array(engine: str) -> None:
    developer, raw = Developer(DRONE, PAPER[:2], engine, tile=16), frame(20, 26)
    larger = np.zeros((2, 3, 24, 30), np.float32)
    out = larger[:, :, 1:21, 2:28]
    assert developer(raw, out) is out
    np.testing.assert_array_equal(out, developer(raw))
    assert np.count_nonzero(larger) == np.count_nonzero(out)


def test_uint16_and_float32_of_12_14_and_16_bits_are_one_image() -> None:
    raw = frame(32, 32, top=4095)
    images = []
    for shift in (0, 2, 4):
        of = Camera("RGGB", (64.0 * 2**shift,) * 4, 4095.0 * 2**shift, 4000.0 * 2**shift, DRONE.gains, DRONE.matrix)
        shifted = raw << shift
        images.append(Developer(of, PAPER)(shifted))
        np.testing.assert_array_equal(Developer(of, PAPER)(shifted.astype(np.float32)), images[-1])
    for image in images[1:]:
        np.testing.assert_allclose(image, images[0], atol=2e-5)


def test_white_balance_may_come_first_or_last_and_may_be_negative() -> None:
    raw = frame(48, 48)
    for of in (MICROSCOPE, DRONE):
        first, last = (develop(raw, of, View(balance=balance)) for balance in ("before", "after"))
        np.testing.assert_allclose(first, last, atol=2e-3)  # bilinear is linear: the order is seen by rounding alone
    red = develop(raw, MICROSCOPE, View(balance="before", sharpen="none", denoise="none", demosaic="bilinear"))[0]
    light = (raw[0::2, 0::2] / 65535 - MICROSCOPE.black[0] / 65535) * MICROSCOPE.gains[0] * MICROSCOPE.matrix[0]
    assert MICROSCOPE.gains[0] < 0 and MICROSCOPE.matrix[0] < 0
    others = [develop(raw, Camera(), View(sharpen="none", denoise="none", gamma=1.0))[k, 0::2, 0::2] for k in (1, 2)]
    for k, other in enumerate(others, start=1):
        light = light + other * MICROSCOPE.gains[k] * MICROSCOPE.matrix[k]
    np.testing.assert_allclose(red[0::2, 0::2], np.clip(light, 0, 1) ** (1 / 2.2), atol=3e-3)


def test_black_and_saturated_frames_are_developed() -> None:
    for value in (0, 65535):
        images = Developer(MICROSCOPE, PAPER)(np.full((16, 16), value, np.uint16))
        assert np.isfinite(images).all()
    plain = develop(np.zeros((8, 8), np.uint16), Camera(), View())
    assert not plain.any()
    np.testing.assert_allclose(develop(np.full((8, 8), 65535, np.uint16), Camera(), View()), 1, atol=1e-6)


def test_levels_fit_and_are_fine_enough() -> None:
    for of in (MICROSCOPE, DRONE, Camera(gains=(900.0, -3.0, 0.001))):
        for view in (View(), View(gains=(64.0, 1.0, 1.0)), View(balance="after"), View(black=0.5), View(black=-0.5)):
            table, _ = tables(of, view)
            assert np.abs(table.astype(np.int64)).max() <= LARGEST
            assert np.abs(table.astype(np.int64)).max() > LARGEST / 8


@pytest.mark.parametrize("gamma", [1.0, 1.3, 1.5, 1.8, 2.0, 2.2, 2.4, 2.5, 2.501, 3.0, 3.5, 4.0])
def test_the_curve_is_the_gamma(gamma: float) -> None:
    near_1 = 1 - np.arange(4000) * 2.0**-24
    points = np.linspace(-0.5, 1.5, 30_001), np.geomspace(1e-12, 1, 4_000), near_1, [-0.0]
    x = np.concatenate(points).astype(np.float32)[None]
    out = np.empty((3, *x.shape), np.float32)
    developed(x, np.full(out.shape, -0.0, np.float32), gamma, 0.0, out)
    expected = np.clip(x.astype(np.float64), 0, 1) ** (1 / gamma)
    assert np.abs(out - expected).max() < (2.5e-6 if gamma == 2.2 else 4e-6)
    assert out.max() <= 1 and not np.signbit(out).any()
    assert (out[:, x <= 0] == 0).all() and (out[:, x >= 1] == 1).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gamma", [1.0, 2.2, 2.3, 3.1, 4.0])
@pytest.mark.parametrize("contrast", [-1.0, 0.0, 0.6])
def test_black_is_0_and_white_is_1_to_the_bit(engine: str, gamma: float, contrast: float) -> None:
    view = View(denoise="none", gamma=gamma, contrast=contrast)
    y = np.tile(np.array([-0.5, -0.0, 0.0, 1.0, 1.5], np.float32), (2, 4))
    whole, out = (slice(0, 2), slice(0, 20)), np.empty((3, 2, 20), np.float32)
    get_engine(engine).finished(y, np.full(out.shape, -0.0, np.float32), view, whole, out, whole)
    assert np.array_equal(out, np.broadcast_to(y > 0.5, out.shape)) and not np.signbit(out).any()


# -- values --------------------------------------------------------------------------------------------------


def test_a_view_is_a_value_with_a_digest() -> None:
    view = View(name="a", gains=(2, 1, 1), corruption=Corruption("contrast", 3))
    assert view == View(name="b", gains=(2.0, 1.0, 1.0), corruption=Corruption("contrast", 3))
    assert view_of(view.spec) == view and view_of(view.spec).digest == view.digest
    changed: dict[str, Any] = {n: high if high != getattr(View(), n) else low for n, (low, high) in RANGES.items()}
    changed = {name: int(value) if name in ("jpeg", "intensity") else value for name, value in changed.items()}
    others = [view_of({name: value}) for name, value in changed.items()]
    others += [view_of({name: kind}) for name, kinds in CHOICES.items() for kind in kinds]
    assert len({other.digest for other in others}) == len(others) - len(CHOICES) + 1
    assert View().digest == "416564faa3763f58cd2eed2456b34c3b6f80b93972de60c714f59a493475f1c3"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"gamma": 0.5}, r"gamma is a number in 1…4, not 0.5"),
        ({"gamma": float("nan")}, "gamma is a number"),
        ({"gamma": True}, "gamma is a number"),
        ({"jpeg": 90.5}, "jpeg is a whole number in 1…100"),
        ({"gains": [1, 2]}, "gains are three numbers"),
        ({"gains": [1, 2, float("inf")]}, "gains are three numbers"),
        ({"gains": [1, 2, 10**400]}, "gains are three numbers"),
        ({"gains": 3}, "gains are three numbers"),
        ({"hue": 10**400}, "hue is a number"),
        ({"demosaic": ["menon2007"]}, "demosaic is one of"),
        ({"demosaic": "menon"}, "demosaic is one of bilinear, malvar2004, menon2007, not 'menon'"),
        ({"schema": 2}, "schema 2 is not 1"),
        ({"sharpn": 1}, "no entry 'sharpn'; did you mean 'sharpen'"),
        ({"corruption": {"name": "fog", "severity": 1}}, "no corruption 'fog'"),
        ({"corruption": {"name": "contrast", "severity": 6}}, "whole number in 1…5, not 6"),
        ({"corruption": {"name": "contrast"}}, "has a name and a severity, not name"),
        ({"corruption": "contrast"}, "has a name and a severity"),
    ],
)
def test_a_view_that_cannot_be_is_one_line(entries: dict[str, Any], words: str) -> None:
    with pytest.raises(ViewError, match=words):
        view_of(entries, "mine")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 4), np.uint16), r"3×4 pixels: a mosaic has whole cells of 2×2; crop it to even sides"),
        (np.zeros((0, 4), np.uint16), "whole cells"),
        (np.zeros((4, 4, 3), np.uint16), r"3 channels \(4×4×3\): it is demosaiced already"),
        (np.zeros((4, 4, 2), np.uint16), "a mosaic is height × width"),
        (np.full((4, 4), np.nan, np.float32), "holds nan"),
        (np.full((4, 4), np.inf, np.float32), "holds inf"),
        (np.full((4, 4), 0.5, np.float32), "holds 0.5: a mosaic holds integers in 0…65535, not scaled"),
        (np.full((4, 4), -1, np.int32), "holds -1"),
        (np.full((4, 4), 70000, np.int32), "holds 70000"),
        (np.zeros((4, 4), np.complex64), "is complex64"),
    ],
)
def test_what_is_no_mosaic_is_one_line(array: NDArray[Any], words: str) -> None:
    with pytest.raises(FrameError, match=words):
        develop(array, Camera(), View())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cfa": "RGBG"}, "the filter order is one of RGGB, GRBG, GBRG, BGGR, not 'RGBG'"),
        ({"gains": (1.0, float("nan"), 1.0)}, "gains and matrix entries are numbers"),
        ({"matrix": (1.0,)}, "9 matrix entries"),
        ({"black": (-1.0, 0.0, 0.0, 0.0)}, "black levels lie in 0…white"),
        ({"white": float("nan")}, "black levels lie in 0…white"),
        ({"span": 0.0}, "black levels lie in 0…white"),
    ],
)
def test_what_is_no_camera_is_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(FrameError, match=words):
        Camera(**values)


def test_cameras_are_the_registrys() -> None:
    from lensbench.data.loader import load_builder
    from lensbench.registry import get_dataset

    for name in ("raw_microscopy", "raw_drone"):
        builder = load_builder(get_dataset(name).folder)
        assert get_camera(name) == camera_of(sys.modules[builder.__module__].CAMERA)
    with pytest.raises(FrameError, match="no camera 'raw_dron'; did you mean 'raw_drone'"):
        get_camera("raw_dron")
    with pytest.raises(FrameError, match="KeyError"):
        camera_of({"cfa": "RGGB"})
    assert CAMERAS.is_relative_to(ROOT)


def test_without_numba_it_is_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(get_engine()).__name__ == "Numba"
    monkeypatch.setattr(engines, "has_numba", lambda: False)
    assert type(get_engine()).__name__ == "Numpy"
    with pytest.raises(LensbenchError, match=r'numba: pip install "lensbench\[fast\]"'):
        get_engine("numba")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cfa = 'RGGB'", "KeyError: 'white_level'"),
        ("cfa = [", "not valid TOML"),
        ("white_level = " + "9" * 400, "OverflowError"),
        ("white_level = " + "9" * 5000, "not valid TOML"),
        ("white_level = nan", "black levels lie in 0…white"),
        ("ccm = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]", "TypeError"),
        ("ccm = [1, 0, 0]", "9 matrix entries"),
        ("black_level = [0, 0]", "4 black levels and 3 gains, not 2 and 3"),
        ("black_level = [0, 0, 0, 2]", "black levels lie in 0…white"),
        ("white_balance = [1, inf, 1]", "gains and matrix entries are numbers"),
        ("cfa = ['RGGB']", "the filter order is one of"),
    ],
)
def test_a_camera_file_that_cannot_be_is_one_line(line: str, words: str, tmp_path: Path) -> None:
    plain = CAMERAS.read_text(encoding="utf-8").split("[plain]\n")[1].splitlines()
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(plain))
    assert get_camera(str(path)) == get_camera("plain")
    kept = [other for other in plain if not other.startswith(line.split(" =", maxsplit=1)[0])]
    path.write_text("\n".join([line] if "KeyError" in words else [*kept, line]))
    with pytest.raises(FrameError, match=words):
        get_camera(str(path))


def test_engines_are_named() -> None:
    with pytest.raises(LensbenchError, match="no engine 'cuda': engines are numba, numpy"):
        Developer(Camera(), [View()], "cuda")
    with pytest.raises(ViewError, match="a tile is a whole number of cells"):
        Developer(Camera(), [View()], tile=7)
