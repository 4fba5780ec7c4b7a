"""From a model or a prediction file to a record: on the specimen, through the same path as the real archive."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lensbench import shards
from lensbench.benchmark import Benchmark, benchmark_dataset, get_benchmark
from lensbench.cli import bench
from lensbench.digest import canonical
from lensbench.errors import BenchmarkError, LensbenchError, ModelError
from lensbench.evaluation import Evaluated, evaluate, evaluate_predictions
from lensbench.record import read_record
from lensbench.splits import Manifest, read_manifest
from tests.graphs import broken_model, colour_model, write

NAME = "lifewatch_flowcam"


pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "models", colour_model(), "my.onnx")


def run(model: Path, **options: Any) -> Evaluated:
    return evaluate(model, NAME, config="specimen", labels="decrop2025", **options)


def rows(spec: Benchmark) -> Manifest:
    return read_manifest(benchmark_dataset(spec), spec.config, spec.split)


def test_a_model_gets_a_complete_record_with_intervals(model: Path) -> None:
    done = run(model)
    result = done.record.result
    assert result["complete"] and result["coverage"]["missing"] == 0 and result["benchmark"]["synthetic"]
    assert result["digests"]["benchmark"] == get_benchmark(NAME, "specimen").digest
    for entry in result["metrics"].values():
        assert entry["low"] is None or entry["low"] <= entry["value"] <= entry["high"]
        assert entry["low"] is not None or entry["reason"]
    assert read_record(done.folder / "record.json") == done.record
    assert done.folder.parent == Path("runs/lifewatch_flowcam-specimen")


def test_every_layout_and_batch_gives_the_same_answers(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [{}, {"batch": 1}, {"layout": "NHWC"}, {"layout": "NHWC", "batch": 5}]
    scores = []
    for i, options in enumerate(kinds):
        done = run(write(tmp_path, colour_model(**options), f"m{i}.onnx"))
        scores.append(shards_scores(done.folder))
    for other in scores[1:]:
        np.testing.assert_allclose(scores[0], other, rtol=1e-3, atol=5e-3)


def shards_scores(folder: Path) -> np.ndarray[Any, Any]:
    return np.array(pq.read_table(folder / "predictions.parquet")["scores"].to_pylist(), np.float32)


def test_scores_are_stored_by_class_name_whatever_the_model_order(tmp_path: Path) -> None:
    dataset = benchmark_dataset(get_benchmark(NAME))
    data = colour_model()
    by_name = run(write(tmp_path / "a", data, "m.onnx"), out="a-run")
    other = evaluate(tmp_path / "a" / "m.onnx", NAME, config="specimen", labels="equal400", out="b-run")
    a, b = shards_scores(by_name.folder), shards_scores(other.folder)
    e, v = dataset.label_order("decrop2025"), dataset.label_order("equal400")
    spec = get_benchmark(NAME, "specimen")
    assert np.array_equal(a[:, spec.labels.index(e[7])], b[:, spec.labels.index(v[7])])
    assert not np.array_equal(a, b)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"""
import os, signal
from lensbench import shards
from lensbench.evaluation import evaluate
from lensbench.progress import Quiet
shards.ROWS = 256
class Deadly(Quiet):
    done = 0
    def advance(self, n):
        self.done += n
        if self.done > 1000:
            os.kill(os.getpid(), signal.SIGKILL)
evaluate({str(model)!r}, {NAME!r}, config="specimen", labels="decrop2025", out="killed", progress=Deadly())
"""
    run(model, out="warm")  # the build is not what is killed
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = sorted(path.name for path in Path("killed/shards").iterdir())
    assert left and not Path("killed/predictions.parquet").exists()
    monkeypatch.setattr(shards, "ROWS", 256)
    before = {name: (Path("killed/shards") / name).stat().st_mtime_ns for name in left if name.endswith(".parquet")}
    assert len(before) >= 2
    resumed, whole = run(model, out="killed"), run(model, out="whole")
    for name in ("predictions.parquet",):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert canonical(resumed.record.result) == canonical(whole.record.result)
    assert resumed.record.run["images_per_second"] is None, "a resumed run says no speed"


def test_ctrl_c_ends_in_one_line_and_the_run_goes_on(model: Path) -> None:
    script = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from lensbench import progress, shards
shards.ROWS = 256
class Impatient(progress.Quiet):
    done = 0
    def advance(self, n):
        self.done += n
        if self.done > 1000:
            signal.raise_signal(signal.SIGINT)
progress.default_progress = lambda unit: Impatient()
sys.argv[1:] = ["eval", "--model", {str(model)!r}, "--benchmark", {NAME!r}, "--config", "specimen"]
sys.argv += ["--labels", "decrop2025", "--out", "stopped"]
from lensbench.cli import main
main()
"""
    run(model, out="warm")
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "the same command goes on from there" in done.stderr and "terminate called" not in done.stderr
    assert len(list(Path("stopped/shards").glob("*.parquet"))) >= 2


def test_a_finished_run_is_scored_again_without_inference(model: Path) -> None:
    first = run(model)
    stamp = (first.folder / "predictions.parquet").stat().st_mtime_ns
    again = run(model)
    assert (again.folder / "predictions.parquet").stat().st_mtime_ns == stamp
    assert again.record.result == first.record.result


def test_another_label_order_does_not_reuse_the_shards(model: Path) -> None:
    first = run(model, out="same")
    second = evaluate(model, NAME, config="specimen", labels="equal400", out="same")
    assert first.record.result["digests"]["predictions"] != second.record.result["digests"]["predictions"]


def test_the_record_does_not_depend_on_the_number_of_shards(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(model, out="whole")
    monkeypatch.setattr(shards, "ROWS", 192)
    assert run(model, out="cut").record.result == whole.record.result


def test_no_space_left_is_one_line_and_keeps_what_was_done(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards, "write_parquet", full)
    with pytest.raises(ModelError, match=r"cannot be written \(No space left on device\); free some space"):
        run(model, out="full")
    assert not Path("full").exists(), "nothing was done, so nothing is left"


# Predictions made elsewhere


def labelled(path: Path, ids: Any, labels: Any) -> Path:
    with path.open("w", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(["id", "label"])
        out.writerows(zip(ids, labels, strict=True))
    return path


def test_perfect_predictions_score_one(tmp_path: Path) -> None:
    manifest = rows(get_benchmark(NAME))
    done = evaluate_predictions(labelled(tmp_path / "p.csv", manifest.ids, manifest.labels), NAME)
    assert done.record.value("top1") == 1.0 and done.record.value("macro_recall") == 1.0
    assert done.record.result["complete"] and done.record.value("nll") is None


def test_display_names_are_names_too(tmp_path: Path) -> None:
    spec = get_benchmark(NAME)
    manifest, display = rows(spec), {c.name: c.display for c in benchmark_dataset(spec).classes}
    path = labelled(tmp_path / "p.csv", manifest.ids, [display[str(name)] for name in manifest.labels])
    assert evaluate_predictions(path, NAME).record.value("top1") == 1.0


def test_a_models_own_predictions_score_as_the_model_did(model: Path, tmp_path: Path) -> None:
    done = run(model)
    again = evaluate_predictions(done.folder / "predictions.parquet", NAME, config="specimen")
    assert again.record.result["metrics"] == done.record.result["metrics"]
    assert again.record.result["digests"]["predictions"] == done.record.result["digests"]["predictions"]
    wide = tmp_path / "wide.csv"
    table = pq.read_table(done.folder / "predictions.parquet")
    labels = get_benchmark(NAME, "specimen").labels
    with wide.open("w", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(["id", *reversed(labels)])
        for key, scores in zip(table["id"].to_pylist(), table["scores"].to_pylist(), strict=True):
            out.writerow([key, *reversed([repr(float(s)) for s in scores])])
    from_csv = evaluate_predictions(wide, NAME, config="specimen")
    assert from_csv.record.result["metrics"] == done.record.result["metrics"]


def test_top_k_is_scored_as_far_as_it_goes(tmp_path: Path) -> None:
    spec = get_benchmark(NAME)
    manifest = rows(spec)
    wrong = dict(zip(spec.labels, spec.labels[1:] + spec.labels[:1], strict=True))
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(["id", "top1", "top2", "top3"])
        for i, (key, label) in enumerate(zip(manifest.ids, map(str, manifest.labels), strict=True)):
            out.writerow(
                [
                    key,
                    label if i % 2 else wrong[label],
                    wrong[label] if i % 2 else "",
                    label if not i % 2 else "",
                ]
            )
    record = evaluate_predictions(tmp_path / "t.csv", NAME).record
    assert record.value("top1") == pytest.approx(0.5, abs=1e-4) and record.value("top3") == 1.0
    assert record.value("top5") is None and record.result["metrics"]["top5"]["reason"]


def test_missing_predictions_make_the_record_incomplete_and_extra_ones_are_counted(tmp_path: Path) -> None:
    manifest = rows(get_benchmark(NAME))
    ids = (*manifest.ids[1:], "00000000-0000-4000-8000-000000000000")
    path = labelled(tmp_path / "p.csv", ids, (*manifest.labels[1:], "Tripos"))
    result = evaluate_predictions(path, NAME).record.result
    assert not result["complete"]
    assert (result["coverage"]["missing"], result["coverage"]["extra"]) == (1, 1)
    assert result["coverage"]["missing_ids"] == [manifest.ids[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,label\nA,Tripos\n", "none of its 1 ids is in the test split"),
        ("id,label\nA,Tripos\nA,Tripos\n", "id 'A' has more than one row"),
        ("uuid,label\nA,Tripos\n", "no column `id`"),
        ("id,label\nA,Tripus\n", "'Tripus' is not one of the 95 classes; did you mean 'Tripos'"),
        ("id,label\nA,\n", "row 1 has no label"),
        ("id,label\n", "no rows"),
        ("", "cannot be read"),
        ("id,Tripos\nA,0.5\n", "'Appendicularia' is missing|is missing"),
        ("id,nonsense\nA,0.5\n", "column 'nonsense' is none of them"),
        ("id,top2\nA,Tripos\n", "are not top1"),
    ],
)
def test_a_wrong_prediction_file_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ModelError, match=words) as caught:
        evaluate_predictions(tmp_path / "p.csv", NAME)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_parquet_that_is_none_and_scores_without_names(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ModelError, match="cannot be read"):
        evaluate_predictions(tmp_path / "p.parquet", NAME)
    scores = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * 95, pa.float32()), 95)
    pq.write_table(pa.table({"id": [rows(get_benchmark(NAME)).ids[0]], "scores": scores}), tmp_path / "q.parquet")
    with pytest.raises(ModelError, match="does not name the 95 classes in order; give --labels"):
        evaluate_predictions(tmp_path / "q.parquet", NAME)
    done = evaluate_predictions(tmp_path / "q.parquet", NAME, labels="equal400")
    assert done.record.result["coverage"]["scored"] == 1


def test_parquet_tricks_are_refused(tmp_path: Path) -> None:
    labels, ids = get_benchmark(NAME).labels, rows(get_benchmark(NAME)).ids[:2]
    path = tmp_path / "p.parquet"
    flat = pa.array([None] + [0.5] * 189, pa.float32())
    pq.write_table(pa.table({"id": ids, "scores": pa.FixedSizeListArray.from_arrays(flat, 95)}), path)
    with pytest.raises(ModelError, match="holds nulls"):
        evaluate_predictions(path, NAME, labels="decrop2025")
    columns = [pa.array(ids), *([pa.array([0.5, 0.5])] * 96)]
    pq.write_table(pa.table(columns, names=["id", *labels, "Egg/Cyst"]), path)
    with pytest.raises(ModelError, match="two columns are of one class"):
        evaluate_predictions(path, NAME)
    pq.write_table(pa.Table.from_arrays([pa.array(ids), pa.array(ids)], names=["id", "id"]), path)
    with pytest.raises(ModelError, match="column 'id' occurs twice"):
        evaluate_predictions(path, NAME)


def test_labels_that_contradict_the_file_are_refused(model: Path) -> None:
    done = run(model)
    with pytest.raises(ModelError, match="in another order than the labels given"):
        evaluate_predictions(done.folder / "predictions.parquet", NAME, config="specimen", labels="alphabetical")


def test_somebody_elses_files_are_not_touched(model: Path) -> None:
    Path("mine/shards").mkdir(parents=True)
    Path("mine/shards/precious.txt").write_text("x")
    with pytest.raises(ModelError, match="holds shards that no run put there"):
        run(model, out="mine")
    assert Path("mine/shards/precious.txt").read_text() == "x"


def test_a_changed_cache_is_noticed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "own-home"))
    run(model, out="a")
    (arrow,) = (tmp_path / "own-home").rglob("*-test.arrow")
    data = bytearray(arrow.read_bytes())
    at = data.index(b"\xff\xd8\xff", len(data) // 2)
    data[at + 200] ^= 0xFF
    arrow.write_bytes(bytes(data))
    with pytest.raises(LensbenchError, match="was changed on disk after it was built"):
        run(model, out="b")


def test_nan_in_a_prediction_file_is_refused(tmp_path: Path) -> None:
    labels = get_benchmark(NAME).labels
    key = rows(get_benchmark(NAME)).ids[0]
    text = ",".join(["id", *labels]) + "\n" + ",".join([key, "nan", *["0.1"] * 94]) + "\n"
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ModelError, match="must hold a number in every row"):
        evaluate_predictions(tmp_path / "p.csv", NAME)


# The command: one line, exit code 2, nothing written


def command(*args: str | Path) -> Result:
    return CliRunner().invoke(bench, ["eval", *map(str, args)], catch_exceptions=True)


@pytest.mark.parametrize("what", ["nan", "inf", "random", "neighbours", "transposed"])
def test_models_that_give_no_scores_leave_nothing(what: str, tmp_path: Path) -> None:
    path = write(tmp_path, broken_model(what))
    with pytest.raises(LensbenchError):
        run(path, out="broken")
    assert not Path("broken").exists()


def test_percentages_are_not_taken_for_logits(tmp_path: Path) -> None:
    labels, ids = get_benchmark(NAME).labels, rows(get_benchmark(NAME)).ids[:2]
    line = ",".join(["90", *["0.1063829"] * 94])
    text = ",".join(["id", *labels]) + "".join(f"\n{key},{line}" for key in ids) + "\n"
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ModelError, match="every row sums to 100"):
        evaluate_predictions(tmp_path / "p.csv", NAME)


def test_a_source_without_a_specimen_is_refused_not_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LensbenchError, match=r"neither Flowcam.*lie there"):
        run(model, source=tmp_path / "empty")


def test_a_model_that_fits_two_benchmarks_must_name_one(model: Path) -> None:
    with pytest.raises(BenchmarkError, match="--benchmark lifewatch_flowcam or --benchmark lifewatch_flowcam-equal400"):
        evaluate(model, labels="decrop2025")
    with pytest.raises(BenchmarkError, match="did you mean 'lifewatch_flowcam'"):
        evaluate(model, "lifewatch_flowcan")


def test_a_model_that_names_its_benchmark_needs_no_option(tmp_path: Path) -> None:
    card = {"benchmark": NAME, "config": "specimen", "labels": "decrop2025"}
    path = write(tmp_path, colour_model(metadata={"lensbench": json.dumps(card)}), "own.onnx")
    done = evaluate(path)
    assert done.record.result["benchmark"]["config"] == "specimen"


def test_the_command_line_ends(model: Path, tmp_path: Path) -> None:
    """Exit codes through the real entry point: 2 and one line for the user's mistakes."""
    wrong = write(tmp_path, colour_model(7), "seven.onnx")
    (tmp_path / "text.onnx").write_text("<html>not a model</html>")
    cases: list[tuple[list[str], str]] = [
        (
            ["eval", "--model", str(wrong), "--benchmark", NAME, "--labels", "decrop2025"],
            "no float32 output of N×95",
        ),
        (["eval", "--model", str(tmp_path / "text.onnx"), "--benchmark", NAME], "not an ONNX file"),
        (
            ["eval", "--model", str(model), "--benchmark", NAME],
            "--labels decrop2025|equal400|alphabetical|FILE",
        ),
        (["eval", "--model", str(model), "--benchmark", NAME, "--labels", "decrop2025"], "--config specimen"),
        (["eval", "--model", str(model), "--benchmark", "nope"], "no benchmark 'nope'"),
        (["evl"], "did you mean 'eval'"),
        (["eval"], "one of --model and --predictions"),
    ]
    environment = {**os.environ, "LENSBENCH_OFFLINE": "1"}
    for args, words in cases:
        done = subprocess.run(
            [sys.executable, "-m", "lensbench", *args],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 2, (args, done.stderr)
        assert words in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert not Path("runs").exists()
    debug = subprocess.run(
        [sys.executable, "-m", "lensbench", "eval", "--model", str(wrong), "--benchmark", NAME, "--debug"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert debug.returncode == 2 and "Traceback" in debug.stderr


def test_json_prints_the_record(model: Path) -> None:
    done = command("--model", model, "--benchmark", NAME, "--config", "specimen", "--labels", "decrop2025", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["schema"] == 1 and data["result"]["complete"]


@pytest.mark.needs("realdata")
def test_real_images_land_where_the_published_lists_put_them(model: Path, realdata: Path) -> None:
    source = realdata / "lifewatch_flowcam"
    with pytest.raises(LensbenchError, match=r"not complete.*--partial"):
        evaluate(model, NAME, labels="decrop2025", source=source)
    for name, test in ((NAME, 5), (f"{NAME}-equal400", 8)):
        done = evaluate(model, name, labels="decrop2025", source=source, partial=True)
        coverage = done.record.result["coverage"]
        assert coverage["scored"] == test and coverage["missing"] == coverage["expected"] - test
        assert not done.record.result["complete"]
        assert done.record.result["digests"]["data"] != "unknown"
    assert coverage["unlisted"] == 69 - 10


@pytest.mark.needs("realdata")
def test_the_published_recalls_give_the_published_score(realdata: Path, tmp_path: Path) -> None:
    """round(recall × support) right per class: 29,113 hits, the paper's 86.34 %."""
    manifest = rows(get_benchmark(NAME))
    with (realdata / "lifewatch_flowcam" / "class_table.csv").open() as handle:
        right = {r["folder"]: round(float(r["effnet_test_recall"]) * int(r["test_E"])) for r in csv.DictReader(handle)}
    answers = []
    for label in manifest.labels:
        right[label] -= 1
        answers.append(label if right[label] >= 0 else ("Remnant" if label != "Remnant" else "Detritus"))
    record = evaluate_predictions(labelled(tmp_path / "p.csv", manifest.ids, answers), NAME).record
    assert sum(a == b for a, b in zip(answers, manifest.labels, strict=True)) == 29_113
    assert record.value("top1") == pytest.approx(0.863426, abs=5e-7)
    assert record.value("macro_recall") == pytest.approx(0.776243, abs=5e-7)
