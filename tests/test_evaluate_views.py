"""Raw frames in several views: from a model or brought answers to one matrix and its record, on the specimens."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from lensbench import shards
from lensbench.benchmark import Benchmark, benchmark_dataset, benchmark_root, get_benchmark
from lensbench.cli import bench
from lensbench.digest import canonical
from lensbench.errors import BenchmarkError, DatasetError, ModelError, RecordError
from lensbench.evaluation import Evaluated, evaluate, evaluate_predictions
from lensbench.evaluation.frames import open_frames
from lensbench.evaluation.run import Options, prepared
from lensbench.isp import develop
from lensbench.leaderboard.consistency import BY_VIEWS
from lensbench.leaderboard.entry import parse_entry
from lensbench.leaderboard.standing import Standing, stand
from lensbench.masks.stored import Row, read_masks, write_masks
from lensbench.metrics import get_metric
from lensbench.record import Record, read_record
from lensbench.splits import Manifest, read_manifest
from lensbench.viewrunner import Darkroom
from tests.graphs import bright_model, power_model, power_weights, write

MICRO, DRONE = "raw_microscopy-isp", "raw_drone-segmentation-isp"

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "models", power_model(), "power.onnx")


def run(model: Path, benchmark: str | Benchmark = MICRO, **options: Any) -> Evaluated:
    return evaluate(model, benchmark, config="specimen", labels="published", **options)


def matrix(folder: Path, views: int) -> NDArray[np.float32]:
    """frames × views × classes."""
    table = pq.read_table(folder / "predictions.parquet")
    scores = np.array(table["scores"].to_pylist(), np.float32)
    return scores.reshape(-1, views, scores.shape[1])


def manifest_of(spec: Benchmark) -> Manifest:
    return read_manifest(benchmark_dataset(spec), spec.config, spec.split)


def alone(name: str) -> str:
    """A benchmark's file without the errors of its reference, which lie beside it and are of its own views."""
    text = (benchmark_root() / f"{name}.toml").read_text(encoding="utf-8")
    return text.replace(f'relative_to = "reference/{name}.json"\n', "")


def own(folder: Path, name: str, tier: str, reference: str, ids: str = "") -> Benchmark:
    """A benchmark like the one called `name`, with another tier."""
    text = alone(name)
    head, _, rest = text.partition("[views]")
    (folder / "tier.toml").write_text(f'schema = 1\nletter = "X"\nversion = 1\ntitle = "x"\n{tier}', encoding="utf-8")
    rest = rest[rest.index("[output]") :]
    if ids:
        rest = rest[: rest.index("ids = [")] + f"ids = [{ids}]\n"
    views = f'[views]\ntier = "tier.toml"\n{reference}\n'
    (folder / f"{name}.toml").write_text(f"{head}{views}{rest}", encoding="utf-8")
    return get_benchmark(name, "specimen", folder)


@pytest.mark.parametrize("name", [MICRO, DRONE])
def test_a_run_says_what_it_developed(name: str, model: Path, tmp_path: Path) -> None:
    """The digests are of the pixels that anyone develops from the data: here one view at a time, without numba."""
    spec = get_benchmark(name, "specimen")
    given = model if name == MICRO else write(tmp_path / "masks", bright_model(channels=3), "bright.onnx")
    pixels = evaluate(given, spec, labels="published" if name == MICRO else None).record.run["pixels"]
    ground = prepared(spec, Options())
    frames = open_frames(ground)
    assert pixels["frames"] == list(ground.ids[:4])
    for view in frames.views:
        digest = hashlib.sha256()
        for frame in range(4):
            raw = frames.raw(frame, view.intensity)
            digest.update(develop(raw, frames.cameras[frame], view, "numpy").tobytes())
        assert pixels["sha256"].pop(view.name) == digest.hexdigest()
    assert not pixels["sha256"]


ONE = "[[axis]]\n{name} = {{ demosaic = '{demosaic}', sharpen = '{sharpen}', denoise = '{denoise}' }}\n"


def test_a_model_gets_one_matrix_and_a_record_that_says_each_view(model: Path) -> None:
    done = run(model)
    result, spec = done.record.result, get_benchmark(MICRO, "specimen")
    assert spec.views is not None
    assert result["complete"] and result["digests"]["benchmark"] == spec.digest
    assert result["grid"] == {
        "tier": "corrected-12",
        "digest": spec.views.tier.digest,
        "reference": "bi-s-ga",
        "metric": "macro_recall",
    }
    assert [(one["name"], one["digest"]) for one in result["views"]] == [(v.name, v.digest) for v in spec.views.shown]
    values = [one["metrics"]["macro_recall"]["value"] for one in result["views"]]
    metrics = {key: one["value"] for key, one in result["metrics"].items()}
    assert metrics["worst_view:macro_recall"] == min(values) < max(values)
    assert metrics["clean:macro_recall"] == values[spec.views.at]
    assert metrics["mean_view:macro_recall"] == pytest.approx(np.mean(values))
    assert metrics["drop_max:macro_recall"] == pytest.approx(values[spec.views.at] - min(values))
    assert [one["support"] for one in result["classes"]] and len(result["frames"]) == 10
    table = pq.read_table(done.folder / "predictions.parquet")
    assert table["view"].to_pylist()[:13] == [*spec.views.names, spec.views.names[0]]
    assert read_record(done.folder / "record.json") == done.record


@pytest.mark.parametrize("name", ["me-u-me", "ma-s-ga", "bi-s-ga"])
def test_a_column_of_the_matrix_is_a_plain_run_on_that_view(name: str, model: Path, tmp_path: Path) -> None:
    demosaic, sharpen, denoise = name.split("-")
    tier = ONE.format(
        name=name,
        demosaic={"bi": "bilinear", "ma": "malvar2004", "me": "menon2007"}[demosaic],
        sharpen={"s": "filter", "u": "unsharp"}[sharpen],
        denoise={"me": "median", "ga": "gaussian"}[denoise],
    )
    spec = own(tmp_path, MICRO, tier, f'reference = "{name}"')
    alone, whole = run(model, spec, out="alone"), run(model, out="whole")
    views = get_benchmark(MICRO, "specimen").views
    assert views is not None and spec.views is not None
    place = views.names.index(name)
    column = matrix(whole.folder, 12)[:, place]
    np.testing.assert_allclose(matrix(alone.folder, 1)[:, 0], column, rtol=1e-5, atol=1e-5)  # batches are cut otherwise
    mine, others = alone.record.result["views"][0], whole.record.result["views"][place]
    assert mine["digest"] == others["digest"]
    for key in ("macro_recall", "top1"):
        assert mine["metrics"][key] == others["metrics"][key]
        assert alone.record.value(f"worst_view:{key}") == others["metrics"][key]["value"]


def test_a_view_is_the_frame_developed_with_its_own_camera() -> None:
    spec = get_benchmark(MICRO, "specimen")
    ground = prepared(spec, Options())
    frames = open_frames(ground)
    assert set(frames.recordings) == {100}
    ((places, images),) = Darkroom(frames).images(3)
    assert places == tuple(range(12)) and spec.views is not None
    for place in (0, 5, 11):
        expected = develop(frames.raw(3, 100), frames.cameras[3], spec.views.shown[place])
        assert np.array_equal(images[place], expected)
    assert frames.cameras[3].gains[0] < 0, "Raw-Microscopy's own red gain"


def test_every_layout_and_batch_gives_the_same_answers(tmp_path: Path) -> None:
    found = []
    for number, options in enumerate([{}, {"batch": 1}, {"layout": "NHWC"}, {"layout": "NHWC", "batch": 5}]):
        done = run(write(tmp_path, power_model(**options), f"m{number}.onnx"))  # type: ignore[arg-type]
        found.append(matrix(done.folder, 12))
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-4, atol=5e-3)


def test_declared_colours_and_normalisation_are_applied(tmp_path: Path) -> None:
    folder = write(tmp_path / "bgr", power_model()).parent
    (folder / "model.toml").write_text(
        'file = "model.onnx"\n[input]\ncolour = "BGR"\nmean = [0.5, 0.4, 0.3]\nstd = [0.2, 0.3, 0.4]\n'
    )
    plain, declared = run(write(tmp_path, power_model(), "m.onnx")), run(folder)
    assert "colour order RGB" in plain.record.result["assumed"]
    assert "colour order RGB" not in declared.record.result["assumed"]
    frames = open_frames(prepared(get_benchmark(MICRO, "specimen"), Options()))
    image = Darkroom(frames).reference(0)[::-1].astype(np.float64)
    given = (image - np.array([0.5, 0.4, 0.3])[:, None, None]) / np.array([0.2, 0.3, 0.4])[:, None, None]
    order = benchmark_dataset(get_benchmark(MICRO)).label_order("published")
    weights, bias = power_weights()
    scores = dict(zip(order, np.square(given).mean(axis=(1, 2)) @ weights + bias, strict=True))
    expected = [scores[label] for label in get_benchmark(MICRO, "specimen").labels]
    np.testing.assert_allclose(matrix(declared.folder, 12)[0, frames.reference], expected, rtol=1e-3)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"""
import os, signal
from lensbench import shards
from lensbench.evaluation import evaluate
from lensbench.progress import Quiet
shards.ROWS = 40
class Deadly(Quiet):
    done = 0
    def advance(self, n):
        self.done += n
        if self.done > 150:
            os.kill(os.getpid(), signal.SIGKILL)
evaluate({str(model)!r}, {MICRO!r}, config="specimen", labels="published", out="killed", progress=Deadly())
"""
    whole = run(model, out="whole")
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(Path("killed/shards").glob("*.parquet"))) >= 2 and not Path("killed/predictions.parquet").exists()
    monkeypatch.setattr(shards, "ROWS", 40)
    resumed, again = run(model, out="killed"), run(model, out="again")
    assert (resumed.folder / "predictions.parquet").read_bytes() == (again.folder / "predictions.parquet").read_bytes()
    assert canonical(resumed.record.result) == canonical(whole.record.result)
    assert pq.ParquetFile("again/predictions.parquet").metadata.row_group(0).num_rows == 36, "whole frames a shard"


def test_intensities_read_their_own_recording(model: Path) -> None:
    done = run(model, "raw_microscopy-isp-i")
    frames = open_frames(prepared(get_benchmark("raw_microscopy-isp-i", "specimen"), Options()))
    assert sorted(frames.recordings) == [1, 5, 10, 25, 50, 75, 100]
    assert frames.raw(0, 1).mean() < frames.raw(0, 50).mean() < frames.raw(0, 100).mean()
    found = matrix(done.folder, 7)
    assert len({found[0, view].tobytes() for view in range(7)}) == 7


def test_corruptions_draw_the_same_noise_for_whoever_asks(model: Path, tmp_path: Path) -> None:
    tier = '[corruptions]\nnames = ["gaussian_noise"]\nseverities = [1, 5]\n'
    spec = own(tmp_path, MICRO, tier, "")
    assert spec.views is not None and spec.views.names == ("reference", "gaussian_noise-1", "gaussian_noise-5")
    first, again = run(model, spec, out="a"), run(model, spec, out="b")
    assert (first.folder / "predictions.parquet").read_bytes() == (again.folder / "predictions.parquet").read_bytes()
    result = first.record.result
    assert [one["compared"] for one in result["views"]] == [False, True, True]
    assert [(one["name"], one["views"]) for one in result["stages"]] == [("gaussian_noise", 2)]
    values = [one["metrics"]["macro_recall"]["value"] for one in result["views"]]
    assert result["stages"][0]["drop"]["value"] == pytest.approx(values[0] - (values[1] + values[2]) / 2)
    scores = matrix(first.folder, 3)
    assert not np.array_equal(scores[0, 1], scores[0, 2])


# -- segmentation --------------------------------------------------------------------------------------------


def test_masks_are_stored_and_scored_in_every_view(tmp_path: Path) -> None:
    path = write(tmp_path, bright_model(channels=3), "bright.onnx")
    done = evaluate(path, DRONE, config="specimen")
    result, spec = done.record.result, get_benchmark(DRONE, "specimen")
    assert spec.views is not None and result["complete"] and len(result["views"]) == 12
    assert len(result["images"]) == result["coverage"]["scored"] == 50
    values = [one["metrics"]["iou_fg"]["value"] for one in result["views"]]
    assert result["metrics"]["worst_view:iou_fg"]["value"] == min(values) < max(values)
    assert 0 < result["metrics"]["mask_consistency"]["value"] < 1
    reference = {one["id"]: one["iou_fg"] for one in result["images"]}
    assert all(one["reference"] == pytest.approx(reference[one["id"]]) for one in result["frames"])
    stored = done.folder / "predictions.parquet"
    again = evaluate_predictions(stored, DRONE, config="specimen", name="again").record.result
    for part in ("metrics", "views", "frames", "images"):
        assert again[part] == result[part], part
    assert again["digests"]["predictions"] == result["digests"]["predictions"]


def test_a_view_of_masks_is_a_plain_run_on_that_view(tmp_path: Path) -> None:
    path = write(tmp_path, bright_model(channels=3), "bright.onnx")
    tier = ONE.format(name="me-u-me", demosaic="menon2007", sharpen="unsharp", denoise="median")
    spec = own(tmp_path, DRONE, tier, 'reference = "me-u-me"')
    alone, whole = evaluate(path, spec, out="alone"), evaluate(path, DRONE, config="specimen", out="whole")
    mine = alone.record.result["views"][0]
    (same,) = [one for one in whole.record.result["views"] if one["name"] == "me-u-me"]
    assert mine == same


def test_masks_that_lack_views_are_missing_and_wrong_ones_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, bright_model(channels=3), "bright.onnx")
    stored = evaluate(path, DRONE, config="specimen").folder / "predictions.parquet"
    rows = list(read_masks(stored))
    first = rows[0].id

    def brought(kept: list[Row]) -> Path:
        write_masks(tmp_path / "mine.parquet", kept, "classmap", {})
        return tmp_path / "mine.parquet"

    result = evaluate_predictions(brought(rows[1:]), DRONE, config="specimen").record.result
    assert not result["complete"] and result["coverage"]["missing_ids"] == [first]
    assert f"1 ids lack views and are not scored: {first!r}, for one, has no 'bi-s-me'" in result["notes"]
    with pytest.raises(ModelError, match="'bi-x' is no view of this benchmark"):
        evaluate_predictions(brought([Row(first, "bi-x", rows[0].value)]), DRONE, config="specimen")
    with pytest.raises(ModelError, match="in the order of the views"):
        evaluate_predictions(brought([rows[1], rows[0], *rows[2:]]), DRONE, config="specimen")
    (tmp_path / "labels").mkdir()
    with pytest.raises(ModelError, match="masks in 12 views are brought in a sub-folder for each view"):
        evaluate_predictions(tmp_path / "labels", DRONE, config="specimen")


# -- class predictions made elsewhere ------------------------------------------------------------------------


def table(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("id", "view", "label"), *rows])
    return path


def perfect(spec: Benchmark) -> list[tuple[str, str, str]]:
    manifest = manifest_of(spec)
    assert spec.views is not None
    names = spec.views.names
    return [(key, v, str(label)) for key, label in zip(manifest.ids, manifest.labels, strict=True) for v in names]


def test_perfect_labels_in_every_view_score_one_in_any_order(tmp_path: Path) -> None:
    rows = perfect(get_benchmark(MICRO, "specimen"))
    result = evaluate_predictions(table(tmp_path / "p.csv", rows[::-1]), MICRO, config="specimen").record.result
    assert result["complete"]
    for key in ("worst_view:macro_recall", "all_views:top1", "consistency"):
        assert result["metrics"][key]["value"] == 1.0
    for key in ("flip_rate", "drop_max:macro_recall"):
        assert result["metrics"][key]["value"] == 0.0
    assert result["metrics"]["worst_view:nll"]["reason"] == "needs scores"
    assert "nll" not in result["views"][0]["metrics"]


def test_what_a_run_stored_scores_as_the_model_did(model: Path) -> None:
    done = run(model)
    again = evaluate_predictions(done.folder / "predictions.parquet", MICRO, config="specimen", name="again")
    for part in ("metrics", "views", "frames"):
        assert again.record.result[part] == done.record.result[part]
    assert again.record.result["digests"]["predictions"] == done.record.result["digests"]["predictions"]


def test_an_id_that_lacks_a_view_is_missing(tmp_path: Path) -> None:
    rows = perfect(get_benchmark(MICRO, "specimen"))
    result = evaluate_predictions(table(tmp_path / "p.csv", rows[1:]), MICRO, config="specimen").record.result
    assert not result["complete"] and result["coverage"]["missing_ids"] == [rows[0][0]]
    assert f"1 ids lack views and are not scored: {rows[0][0]!r}, for one, has no 'bi-s-me'" in result["notes"]


def test_a_view_that_is_missing_throughout_leaves_nothing_to_score(tmp_path: Path) -> None:
    rows = [row for row in perfect(get_benchmark(MICRO, "specimen")) if row[1] != "ma-s-ga"]
    result = evaluate_predictions(table(tmp_path / "p.csv", rows), MICRO, config="specimen").record.result
    assert not result["complete"] and result["coverage"]["scored"] == 0
    assert {one["value"] for one in result["metrics"].values()} == {None}
    assert any("has no 'ma-s-ga'" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows, rows[5]], r"more than one row for the view 'ma-s-ga'"),
        (lambda rows: [*rows, (rows[0][0], "ma-s-gaa", rows[0][2])], "'ma-s-gaa' is no view .* 'ma-s-ga'"),
        (lambda rows: [("nobody", view, label) for _, view, label in rows[:12]], "none of its 1 ids"),
        (lambda rows: [(key, "", label) for key, _, label in rows], "row 1 has no view"),
    ],
)
def test_a_wrong_matrix_is_one_line(change: Any, words: str, tmp_path: Path) -> None:
    path = table(tmp_path / "p.csv", change(perfect(get_benchmark(MICRO, "specimen"))))
    with pytest.raises(ModelError, match=words) as caught:
        evaluate_predictions(path, MICRO, config="specimen")
    assert "\n" not in str(caught.value) and not Path("runs").exists()


def test_a_file_without_views_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,label\nA,BAS\n")
    with pytest.raises(ModelError, match="no column `view`; this benchmark has 12 views"):
        evaluate_predictions(tmp_path / "p.csv", MICRO, config="specimen")


# -- what does not fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('tier = "corrected-12"', 'tier = "corrected-13"', "no tier 'corrected-13'; did you mean 'corrected-12'"),
        ('tier = "corrected-12"', 'tier = "worst"', "a box to search in, not a grid"),
        ('reference = "bi-s-ga"', 'reference = "bi-s"', "has no view 'bi-s'"),
        ('reference = "bi-s-ga"', "", "holds the reference view: name it"),
        ('reference = "bi-s-ga"', 'refrence = "bi-s-ga"', "unknown entry 'refrence'"),
        ('colour = "developed"', 'colour = "mosaic"', "one needs the other"),
        ('[views]\ntier = "corrected-12"\nreference = "bi-s-ga"\n', "", "one needs the other"),
        ("range = [0.0, 1.0]", "range = [0.0, 255.0]", r"developed frames lie in \[0, 1\]"),
        ('resize = "none"', 'resize = "opencv-linear"\nheight = 8\nwidth = 8', "given as it is, with 'none'"),
        ('"clean:top1"', '"top1"', "metric 'top1' is not over views, and the benchmark has some"),
        ('"clean:top1"', '"clean:iou_fg"', "metric 'clean:iou_fg' is of segmentation"),
        ('"clean:top1"', '"clean:top2"', "unknown metric 'top2'"),
        ('headline = "worst_view:macro_recall"', 'headline = "flip_rate"', "'flip_rate' is made of no other metric"),
        ('headline = "worst_view:macro_recall"', 'headline = "top1"', "'top1' is made of no other metric"),
    ],
)
def test_a_wrong_spec_is_one_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = alone(MICRO)
    assert old in text
    (tmp_path / f"{MICRO}.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BenchmarkError, match=words) as caught:
        get_benchmark(MICRO, root=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_grid_and_its_reference_are_in_the_digest_and_a_name_of_the_tier_is_not(tmp_path: Path) -> None:
    text = alone(MICRO)
    plain = get_benchmark(MICRO).digest

    def digest(changed: str) -> str:
        (tmp_path / f"{MICRO}.toml").write_text(changed, encoding="utf-8")
        return get_benchmark(MICRO, root=tmp_path).digest

    assert digest(text) == plain
    assert digest(text.replace('"bi-s-ga"', '"bi-s-me"')) != plain
    assert digest(text.replace('"corrected-12"', '"paper-12"')) != plain
    assert "views" not in get_benchmark("raw_microscopy").pinned


def test_models_that_cannot_take_a_developed_frame_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gives N×3×H×W or N×H×W×3; put the processing"):
        run(write(tmp_path, power_model(channels=1), "grey.onnx"))
    assert not Path("runs").exists()


def test_a_dataset_without_the_recording_is_refused(model: Path, tmp_path: Path) -> None:
    tier = "[[axis]]\na = { intensity = 100 }\nb = { intensity = 33 }\n"
    with pytest.raises(DatasetError, match="has no column 'image_033': its frames cannot be developed"):
        run(model, own(tmp_path, MICRO, tier, 'reference = "a"'))


def test_a_model_that_names_no_benchmark_is_not_taken_for_one_with_views(model: Path) -> None:
    with pytest.raises(ModelError, match="raw_microscopy gives N×1×H×W"):
        evaluate(model, config="specimen", labels="published")


def test_the_command_says_clean_mean_worst_and_which(model: Path) -> None:
    args = ["eval", "--model", str(model), "--benchmark", MICRO, "--config", "specimen", "--labels", "published"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    record = read_record(next(Path("runs").rglob("record.json")))
    values = {one["name"]: one["metrics"]["macro_recall"]["value"] for one in record.result["views"]}
    worst = min(values, key=lambda name: values[name])
    assert f"macro_recall: reference {values['bi-s-ga']:.4f}" in done.output
    assert f"worst {values[worst]:.4f} ({worst})" in done.output
    for name in values:
        assert any(line.startswith(name) for line in done.output.splitlines()), name


# -- what is shown -------------------------------------------------------------------------------------------


def board(*runs: Path) -> str:
    args = ["leaderboard", MICRO, "--config", "specimen", *map(str, runs), "--out", "board"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    return Path("board/index.html").read_text(encoding="utf-8")


def test_a_board_shows_each_view_and_models_by_view(tmp_path: Path) -> None:
    runs = []
    for name, layout in (("one", "NCHW"), ("two", "NHWC")):  # another file: a board holds one record a model
        path = write(tmp_path / name, power_model(layout=layout))
        (path.parent / "model.toml").write_text(
            f'name = "{name}"\nfile = "model.onnx"\ntraining.data = "view {name}"\n'
        )
        runs.append(run(path.parent).folder)
    page = board(*runs)
    matrix_ = page[page.index('id="h-views"') : page.index('id="h-records"')]
    assert "view one" in matrix_ and "view two" in matrix_ and "Macro recall" in matrix_
    spec = get_benchmark(MICRO, "specimen")
    assert spec.views is not None
    record = read_record(runs[0] / "record.json")
    for view in record.result["views"]:
        assert f"{view['metrics']['macro_recall']['value']:.3f}</td>" in matrix_
        assert f">{view['name']}</th>" in matrix_
    assert page.count("bi-s-ga (reference)") == 2
    assert "12: The corrected twelve (corrected-12); reference bi-s-ga" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda result: result["grid"].update(reference="nowhere"), "'nowhere' is none of the views"),
        (lambda result: result["views"].append(result["views"][0]), "two have one name"),
        (lambda result: result["views"][3].update(compared="yes"), r"views\[3\].compared is neither true nor false"),
        (lambda result: result["views"][3]["metrics"]["top1"].update(value=7.0), r"views\[3\].metrics.top1.value is 7"),
        (
            lambda result: result.update(frames=[{"id": "x", "reference": "1"}]),
            r"frames\[0\].reference is not a number",
        ),
        (lambda result: result.update(stages=[{"name": "x", "views": -1}]), r"stages\[0\].views is not a whole number"),
        (lambda result: result.update(views="many"), "views is not a list"),
    ],
)
def test_a_record_that_says_what_no_views_can_is_refused(change: Any, words: str, model: Path) -> None:
    record = read_record(run(model).folder / "record.json")
    result = json.loads(record.to_json())["result"]
    change(result)
    with pytest.raises(RecordError, match=words):
        parse_entry("x.json", Record(result, record.run))


@pytest.mark.parametrize("name", [MICRO, DRONE, "raw_microscopy-isp-i"])
def test_a_report_shows_the_views_and_the_frames_that_lose_most(name: str, model: Path, tmp_path: Path) -> None:
    path = write(tmp_path, bright_model(channels=3), "bright.onnx") if name == DRONE else model
    labels = [] if name == DRONE else ["--labels", "published"]
    done = CliRunner().invoke(
        bench, ["eval", "--model", str(path), "--benchmark", name, "--config", "specimen", *labels]
    )
    assert done.exit_code == 0, done.output
    page = next(Path("runs").rglob("report.html")).read_text(encoding="utf-8")
    record = read_record(next(Path("runs").rglob("record.json"))).result
    assert page.count('src="data:image/png;base64,') >= 1
    for view in record["views"]:
        assert f'<th scope="row">{view["name"]}' in page
    assert record["frames"][0]["id"] in page


def test_a_record_that_contradicts_its_own_views_is_refused(model: Path) -> None:
    done, spec = run(model), get_benchmark(MICRO, "specimen")

    def board_with(**changes: float) -> Standing:
        result = json.loads(json.dumps(dict(done.record.result)))
        for metric, value in changes.items():
            result["metrics"][metric].update(value=value, low=None, high=None)
        return stand(spec, [("a.json", Record(result, {}))])

    assert len(board_with().ranked) == 1
    values = done.record.result["metrics"]
    for metric in (f"{what}:{base}" for what in BY_VIEWS for base in ("top1", "macro_recall")):
        if metric in values:
            better = -0.01 if get_metric(metric).direction == "lower" else 0.01
            (refused,) = board_with(**{metric: max(values[metric]["value"] + better, 0)}).refused
            assert f"metrics.{metric}.value is" in refused.reason
    # of a search's views a record lists some: a worse one may be among the others, a better one is none
    assert board_with(**{"worst_view:top1": values["worst_view:top1"]["value"] - 0.01}).ranked
