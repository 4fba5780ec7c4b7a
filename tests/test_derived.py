"""Benchmarks in views that no file names: their names, what is pinned, what is refused, where none is ranked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.cli import bench
from lensbench.cli.eval import HEADLINE as COMMANDED
from lensbench.derived import SIMULATED, in_views
from lensbench.errors import LensbenchError
from lensbench.isp import View
from lensbench.isp.inverse import Inverse
from lensbench.isp.tiers import HEADLINE, get_tier
from lensbench.leaderboard.board import Leaderboard
from lensbench.leaderboard.markdown import markdown_text
from lensbench.leaderboard.page import page_text
from lensbench.metrics import Prediction, get_metric
from lensbench.predictions import Answers
from lensbench.record import Record
from lensbench.result import About, make_result
from tests.test_evaluate_views import manifest_of

FLOWCAM, NUCLEI, MICRO = "lifewatch_flowcam", "aitslab_bioimaging1", "raw_microscopy-isp"
HEAD = 'schema = 1\nletter = "X"\nversion = 1\ntitle = "Mine"\n'
TOML = HEAD + "[[axis]]\n{name} = {{ gamma = {gamma} }}\nb = {{ hue = 3 }}\n"


def mine(path: Path, name: str = "a", gamma: float = 1.5) -> str:
    path.write_text(TOML.format(name=name, gamma=gamma), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", [FLOWCAM, NUCLEI, "aitslab_bioimaging1-legacy"])
def test_images_become_simulated_frames_and_their_metrics_those_over_views(name: str) -> None:
    plain = get_benchmark(name)
    spec = in_views(plain)
    assert spec.name == f"{name}{SIMULATED}" and "simulated raw frames in the corrected twelve" in spec.title
    assert spec.views is not None and spec.views.tier.name == HEADLINE and spec.views.reference.name == "bi-s-ga"
    assert spec.headline == f"worst_view:{plain.headline}" and spec.references == ()
    head = {f"{kind}:{plain.headline}" for kind in ("clean", "mean_view", "drop_max", "drop_mean", "relative_drop")}
    agree = {"all_views:top1", "flip_rate", "consistency"} if name == FLOWCAM else {"mask_consistency"}
    assert head | agree <= set(spec.metrics)
    assert {f"worst_view:{metric}" for metric in plain.metrics} <= set(spec.metrics)
    assert not any(metric.startswith("risp:") for metric in spec.metrics), "there is no reference model"
    assert all(get_metric(metric).views and get_metric(metric).version == v for metric, v in spec.metrics.items())
    for same in ("input", "labels", "manifest", "cluster", "protocol", "kinds", "expected"):
        assert getattr(spec, same) == getattr(plain, same), same


def test_what_decides_a_pixel_is_in_the_digest(tmp_path: Path) -> None:
    plain = get_benchmark(FLOWCAM)
    spec = in_views(plain)
    assert "simulated" not in plain.pinned and spec.pinned["simulated"]["camera"]["cfa"] == "RGGB"
    others = [
        plain,
        in_views(plain, "paper-12"),
        in_views(plain, mine(tmp_path / "mine.toml")),
        replace(spec, simulation=Inverse(version=2)),
        replace(spec, simulation=Inverse(camera="raw_microscopy")),
        replace(spec, simulation=None),
        in_views(get_benchmark("lifewatch_flowcam-equal400")),
        in_views(get_benchmark(FLOWCAM, "specimen")),
    ]
    assert len({spec.digest, *(other.digest for other in others)}) == len(others) + 1
    assert spec.digest == in_views(plain, HEADLINE).digest == in_views(plain, get_tier(HEADLINE)).digest


def test_what_a_file_is_called_is_not_in_the_digest(tmp_path: Path) -> None:
    spec = get_benchmark(MICRO)
    first, again = (in_views(spec, mine(tmp_path / name)) for name in ("one.toml", "corrected-12.toml"))
    other = in_views(spec, mine(tmp_path / "one.toml", gamma=1.6))
    assert first.digest == again.digest != other.digest and first.name == again.name != other.name
    assert first.views is not None and first.name == f"{MICRO}-in-{first.views.tier.name}"
    view = View(gamma=1.7, exposure=2.0)
    for name in ("found.json", "..\n.json"):
        (tmp_path / name).write_text(json.dumps({"view": view.spec, "score": 0.1}), encoding="utf-8")
    found = [in_views(spec, str(tmp_path / name)) for name in ("found.json", "..\n.json")] + [in_views(spec, view)]
    assert len({one.digest for one in found}) == 1
    assert found[0].name == f"{MICRO}-in-view_{view.digest[:8]}"


def test_raw_frames_in_other_views_keep_the_benchmarks_reference_beside_them() -> None:
    spec = get_benchmark(MICRO)
    other = in_views(spec, "paper-12")
    assert other.name == f"{MICRO}-in-paper-12" and other.metrics == spec.metrics and other.simulation is None
    assert spec.views is not None and other.views is not None
    assert other.views.names[0] == "reference" and other.views.reference == spec.views.reference
    assert len({other.digest, spec.digest, get_benchmark(f"{MICRO}-p").digest}) == 3
    assert in_views(spec) is spec, "its own tier is itself"
    alone = in_views(spec, View(gamma=1.5))
    assert alone.views is not None and alone.views.grid == (False, True)
    within = in_views(spec, spec.views.reference)  # the one view that is the reference itself
    assert within.views is not None and within.views.grid == (True,) and within.views.at == 0


def test_a_reference_models_errors_are_of_no_other_views() -> None:
    plain = get_benchmark(MICRO, "specimen")
    other = in_views(plain, "paper-12")  # whose views have the names of the benchmark's own
    assert record(plain).result["metrics"]["risp:macro_recall"]["value"] == 0.0
    found = record(other).result["metrics"]["risp:macro_recall"]
    assert found["value"] is None and "no reference model has been scored" in found["reason"]


def test_the_command_means_the_headlines_tier() -> None:
    assert COMMANDED == HEADLINE


@pytest.mark.parametrize(
    ("name", "tier", "words"),
    [
        (FLOWCAM, "intensity-7", "view i001 of intensity-7 is of a recording at 1 % of the light"),
        (FLOWCAM, "worst", "tier worst is a box to search in"),
        (MICRO, "worst", "tier worst is a box to search in"),
        (FLOWCAM, "corected-12", "no tier 'corected-12'; did you mean 'corrected-12'"),
        (FLOWCAM, "nowhere.json", "nowhere.json: cannot be read as JSON"),
        (FLOWCAM, "nowhere.toml", "no tier 'nowhere.toml'"),
        ("raw_microscopy", HEADLINE, "raw_microscopy gives raw frames as they are; name a benchmark that gives"),
    ],
)
def test_what_cannot_be_shown_in_views_is_one_line(name: str, tier: str, words: str) -> None:
    with pytest.raises(LensbenchError, match=words) as caught:
        in_views(get_benchmark(name), tier)
    assert "\n" not in str(caught.value)
    done = CliRunner().invoke(bench, ["eval", "--model", "m.onnx", "--benchmark", name, "--isp", tier])
    assert done.exit_code != 0


def test_a_view_may_not_take_the_references_name_and_simulated_is_not_simulated_again(tmp_path: Path) -> None:
    with pytest.raises(LensbenchError, match="'reference' is the view beside the grid; give yours another name"):
        in_views(get_benchmark(MICRO), mine(tmp_path / "t.toml", name="reference"))
    with pytest.raises(LensbenchError, match="is in views already"):
        in_views(in_views(get_benchmark(FLOWCAM)))


@pytest.mark.needs("torch")
def test_the_arguments_of_a_metric_go_with_it() -> None:
    plain, name = get_benchmark(FLOWCAM), "torchmetrics:MulticlassAccuracy"
    arguments: dict[str, Any] = {"num_classes": 95, "average": "micro"}
    given = replace(plain, metrics={**plain.metrics, name: 1}, arguments={name: arguments})
    spec = in_views(given)
    assert spec.arguments == {f"worst_view:{name}": arguments, f"clean:{name}": arguments}
    assert spec.digest != in_views(plain).digest


# -- boards --------------------------------------------------------------------------------------------------


def record(spec: Benchmark) -> Record:
    """A perfect record on `spec`."""
    manifest = manifest_of(spec)
    truth = [spec.labels.index(str(label)) for label in manifest.labels]
    views = spec.views.names if spec.views else ()
    top = np.repeat(np.array(truth, np.int32), len(views) or 1)[:, None]
    answers = Answers(manifest.ids, Prediction(None, "labels", top), views=views)
    return Record(make_result(spec, manifest, answers, About("perfect", "predictions", "0" * 64, "by name")), {})


@pytest.mark.parametrize(("name", "tier"), [(FLOWCAM, HEADLINE), (MICRO, "paper-12")])
def test_a_derived_benchmark_is_ranked_on_no_board_but_its_own(name: str, tier: str) -> None:
    plain = get_benchmark(name, "specimen")
    spec = in_views(plain, tier)
    made = record(spec)
    assert made.result["complete"] and made.value(spec.headline) == 1.0
    own = Leaderboard.build(spec, [("own.json", made)])
    assert [row.entry.name for row in own.ranked] == ["perfect"]
    for board in (get_benchmark(other, "specimen") for other in (name, FLOWCAM, MICRO, f"{MICRO}-p")):
        standing = Leaderboard.build(board, [("other.json", made)])
        assert standing.ranked == () and len(standing.apart) == 1
        assert f"not comparable: benchmark {spec.name} instead of {board.name}" in standing.apart[0].reason


def test_whatever_shows_numbers_of_simulated_frames_says_so() -> None:
    spec = in_views(get_benchmark(FLOWCAM, "specimen"))
    made = record(spec)
    assert made.result["benchmark"]["simulated"] is True and "simulated" in made.result["benchmark"]["title"]
    assert any("their raw frames are simulated (inverse 1)" in text for text in made.result["assumed"])
    board = Leaderboard.build(spec, [("own.json", made)])
    for text in (page_text(board), markdown_text(board)):
        assert "Simulated: raw frames made of 8-bit images" in text
        assert f"bench leaderboard {spec.name}" not in text
        assert f"--benchmark {FLOWCAM} --config specimen --labels ORDER --isp corrected-12" in text
    plain = record(get_benchmark(FLOWCAM, "specimen"))
    assert "simulated" not in plain.result["benchmark"]
    assert "Simulated" not in page_text(Leaderboard.build(get_benchmark(FLOWCAM, "specimen"), [("p.json", plain)]))
