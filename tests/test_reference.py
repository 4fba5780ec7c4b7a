"""What a relative error is relative to: the errors pinned beside a benchmark, and the script that pins them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lensbench.benchmark import Benchmark, benchmark_root, get_benchmark
from lensbench.digest import sha256_file
from lensbench.errors import BenchmarkError
from lensbench.evaluation import evaluate
from lensbench.reference import RELATIVE
from scripts import pin_reference
from tests.conftest import ROOT

SUBMISSIONS = ROOT / "leaderboards" / "submissions"
DRONE = "raw_drone-classification-isp"


def copied(folder: Path, name: str, change: Callable[[dict[str, Any]], object] = lambda entry: None) -> Path:
    """A folder with that benchmark alone, and its reference's errors on the specimen changed."""
    (folder / "reference").mkdir()
    shutil.copyfile(benchmark_root() / f"{name}.toml", folder / f"{name}.toml")
    found = json.loads((benchmark_root() / "reference" / f"{name}.json").read_text(encoding="utf-8"))
    change(found[get_benchmark(name, "specimen").config])
    (folder / "reference" / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def relative(spec: Benchmark) -> list[str]:
    return [metric for metric in spec.metrics if metric.startswith(RELATIVE)]


@pytest.mark.parametrize("name", pin_reference.relative())
def test_every_benchmark_of_a_tier_has_the_errors_of_its_reference_on_the_specimen(name: str) -> None:
    spec = get_benchmark(name, "specimen")
    bases = ("iou_fg",) if spec.task == "segmentation" else ("macro_recall", "top1")
    assert sorted(relative(spec)) == [f"risp:{base}" for base in bases]
    assert spec.views is not None
    for metric in relative(spec):
        stated = spec.arguments[metric]
        submission = SUBMISSIONS / pin_reference.REFERENCES[spec.dataset, spec.task]
        assert stated["sha256"] == sha256_file(submission / "model.onnx")
        assert stated["errors"].keys() == {view.name for view in spec.views.tier.views}
    assert spec.pinned["arguments"] == spec.arguments


def test_there_are_fifteen_of_them() -> None:
    tiers = ("", "-i", "-k", "-p", "-s")
    tracks = ("raw_drone-classification", "raw_drone-segmentation", "raw_microscopy")
    assert pin_reference.relative() == sorted(f"{track}-isp{tier}" for track in tracks for tier in tiers)


def test_on_frames_that_the_reference_was_not_scored_on_nothing_is_stated() -> None:
    assert relative(get_benchmark(DRONE)) and not get_benchmark(DRONE).arguments  # the real frames
    specimen = get_benchmark(DRONE, "specimen")
    other = specimen.over("0" * 64)  # a specimen of another size
    assert specimen.arguments and not other.arguments and relative(other)


@pytest.mark.parametrize("what", ["manifest", "tier"])
def test_errors_measured_on_other_rows_or_views_are_left_out(what: str, tmp_path: Path) -> None:
    copied(tmp_path, DRONE, lambda entry: entry.update({what: "0" * 64}))
    assert not get_benchmark(DRONE, "specimen", tmp_path).arguments


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda entry: entry["errors"]["top1"].pop("ma-u-ga"), "errors of top1 lack the view 'ma-u-ga'"),
        (lambda entry: entry["errors"]["top1"].update(more=0.1), "errors of top1 are also of the view 'more'"),
        (lambda entry: entry["errors"]["top1"].update({"ma-u-ga": 1.5}), "error in view 'ma-u-ga' is 1.5"),
        (lambda entry: entry["errors"]["top1"].update({"ma-u-ga": None}), "error in view 'ma-u-ga' is None"),
        (lambda entry: entry["errors"].pop("top1"), "no errors by view of top1"),
        (lambda entry: entry["errors"].update(top1=3), "no errors by view of top1"),
        (lambda entry: entry.pop("sha256"), "no errors by view of top1, or whose they are"),
        (lambda entry: entry.update(model=3), "model and sha256 are text"),
    ],
)
def test_a_mangled_file_is_refused_naming_the_view(
    change: Callable[[dict[str, Any]], object], what: str, tmp_path: Path
) -> None:
    copied(tmp_path, DRONE, change)
    with pytest.raises(BenchmarkError, match=what):
        get_benchmark(DRONE, "specimen", tmp_path)


@pytest.mark.parametrize(
    ("text", "what"),
    [("{", "not valid JSON"), ("[]", "not a table"), ('{"a": 1}', "not a table"), (None, "No such file")],
)
def test_a_file_that_is_none_is_refused(text: str | None, what: str, tmp_path: Path) -> None:
    path = copied(tmp_path, DRONE) / "reference" / f"{DRONE}.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BenchmarkError, match=what):
        get_benchmark(DRONE, "specimen", tmp_path)


def test_errors_are_stated_in_the_file_and_for_relative_metrics_alone(tmp_path: Path) -> None:
    path = copied(tmp_path, DRONE) / f"{DRONE}.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + '[metrics.arguments."risp:top1"]\nmodel = "mine"\n', encoding="utf-8")
    with pytest.raises(BenchmarkError, match="stand in the file that relative_to names"):
        get_benchmark(DRONE, "specimen", tmp_path)
    path.write_text(text.replace('"risp:top1", ', "").replace('"risp:macro_recall",', ""), encoding="utf-8")
    with pytest.raises(BenchmarkError, match="relative_to: the benchmark has no metric risp:"):
        get_benchmark(DRONE, "specimen", tmp_path)


@pytest.mark.usefixtures("workspace")
def test_the_reference_scores_one_and_a_better_model_less() -> None:
    own = evaluate(SUBMISSIONS / "tiles-one-view", DRONE, config="specimen").record.result
    assert own["model"]["name"] == get_benchmark(DRONE, "specimen").arguments["risp:top1"]["model"]
    assert [own["metrics"][f"risp:{base}"]["value"] for base in ("top1", "macro_recall")] == pytest.approx(
        [1, 1], abs=1e-5
    )
    assert own["metrics"]["risp:top1"]["method"].startswith("jackknife-log")
    better = evaluate(SUBMISSIONS / "tiles-all-views", DRONE, config="specimen").record.result["metrics"]
    assert better["mean_view:top1"]["value"] > own["metrics"]["mean_view:top1"]["value"]
    assert 0 < better["risp:top1"]["value"] < 1


@pytest.mark.usefixtures("workspace")
def test_the_script_writes_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "raw_drone-segmentation-isp-i"
    kept = benchmark_root() / "reference" / f"{name}.json"
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    alone = (benchmark_root() / f"{name}.toml").read_text(encoding="utf-8").replace(f'family = "{name[:-2]}"\n', "")
    (folder / f"{name}.toml").write_text(alone, encoding="utf-8")
    monkeypatch.setenv("LENSBENCH_BENCHMARKS", str(folder))
    for _ in range(2):  # the first time without any errors, the second with its own
        pin_reference.main([])
        assert (folder / "reference" / f"{name}.json").read_bytes() == kept.read_bytes()
    result = evaluate(SUBMISSIONS / "cars-one-view", name, config="specimen").record.result
    assert result["metrics"]["risp:iou_fg"]["value"] == pytest.approx(1, abs=1e-5)


def test_a_benchmark_without_relative_metrics_cannot_be_pinned(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pin_reference.main(["raw_microscopy"])
    assert "raw_microscopy: has no metric that is relative to a reference" in capsys.readouterr().err
