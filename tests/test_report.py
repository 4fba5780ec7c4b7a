"""The report of a segmentation run: what the record says, the worst images, from the command to the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lensbench.benchmark import get_benchmark
from lensbench.cli import bench
from lensbench.errors import ModelError
from lensbench.evaluation import evaluate
from lensbench.leaderboard import report as module
from lensbench.leaderboard.report import report_of, write_report
from lensbench.masks.postprocess import Interior, Output
from lensbench.masks.protocol import AITS_LEGACY, Protocol
from lensbench.record import read_record
from tests.graphs import bright_model, write

pytestmark = pytest.mark.usefixtures("workspace")
OTSU = "lensbench.masks.classic:otsu_watershed"


def command(*arguments: str) -> str:
    done = CliRunner().invoke(bench, ["eval", *arguments, "--config", "specimen", "--out", "run"])
    assert done.exit_code == 0, done.output
    return done.output


def ids(page: str) -> list[str]:
    return re.findall(r"<figcaption><b>[^<]*</b> ([^<]+)<br>", page)


def test_bench_eval_writes_the_report_of_the_record_it_makes() -> None:
    said = command("--model", OTSU, "--benchmark", "aitslab_bioimaging1")
    assert "pictures: run/report.html" in said
    page, result = Path("run/report.html").read_text(encoding="utf-8"), read_record(Path("run/record.json")).result
    images = result["images"]
    worst = sorted(images, key=lambda one: (one["f1"] is None, one["f1"] or 0, one["id"]))
    assert ids(page) == [one["id"] for one in worst]
    for one in images:
        told = f"{one['tp']} matched, " + (f"{one['fp']} false positive" if one["fp"] else "")
        assert f"> {one['id']}<br><small>{told}" in page.replace("</b>", ">")
    assert f"{result['metrics']['f1@0.5']['value']:.3f}</td>" in page
    assert len(re.findall("<circle", page)) == len(result["curve"]) == 10
    assert "Specimen: synthetic images" in page and page.count("data:image/webp") == len(images)


def test_classes_are_shown_as_areas() -> None:
    path = write(Path("models"), bright_model(1), "m.onnx")
    command("--model", str(path), "--benchmark", "raw_drone-segmentation")
    page, result = Path("run/report.html").read_text(encoding="utf-8"), read_record(Path("run/record.json")).result
    assert len(result["images"]) > len(ids(page)) == module.MOST
    assert "images more are in the table" in page and "Matched" not in page and "IoU threshold" not in page
    lowest = min(one["iou_fg"] for one in result["images"] if one["iou_fg"] is not None)
    assert f"<b>{lowest:.3f}</b> {ids(page)[0]}<br>" in page


def test_files_are_told_to_be_ready_made(tmp_path: Path) -> None:
    done = evaluate(OTSU, "aitslab_bioimaging1", config="specimen")
    command("--predictions", str(done.folder / "predictions.parquet"), "--benchmark", "aitslab_bioimaging1")
    assert "<dd>ready-made</dd>" in Path("run/report.html").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes_and_a_budget_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    done = evaluate(OTSU, "aitslab_bioimaging1", config="specimen")
    whole = write_report(done).read_bytes()
    assert write_report(done).read_bytes() == whole
    monkeypatch.setattr(module, "MOST", 2)
    page = write_report(done).read_text(encoding="utf-8")
    assert ids(page) == ids(whole.decode())[:2] and len(page) < len(whole)


def test_a_report_that_no_run_wrote_is_kept_and_one_of_another_plan_is_not(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.html").write_text("my own")
    with pytest.raises(ModelError, match=r"report\.html that no run put there"):
        evaluate(OTSU, "aitslab_bioimaging1", config="specimen", out=mine)
    assert (mine / "report.html").read_text() == "my own"
    path = write_report(evaluate(OTSU, "aitslab_bioimaging1", config="specimen", out=tmp_path / "run"))
    other = write(tmp_path, bright_model(1), "m.onnx")
    evaluate(other, "aitslab_bioimaging1", config="specimen", out=tmp_path / "run")
    assert not path.exists()


def test_a_record_that_compares_nothing_by_objects_has_no_curve() -> None:
    result: dict[str, Any] = {
        "benchmark": {"name": "b", "config": "c", "split": "test", "synthetic": False},
        "model": {"name": "m"},
        "coverage": {"scored": 1, "expected": 2},
        "protocol": AITS_LEGACY.to_json() | {"output": None},
        "metrics": {"iou_fg": {"value": None, "low": None, "high": None}},
        "curve": [],
        "images": [],
        "assumed": ["x"],
        "notes": ["y"],
    }
    spec = get_benchmark("aitslab_bioimaging1")
    report = report_of(result, spec)
    assert report.notes == ["Assumed: x", "y"] and not report.curve and ("Images", "1 of 2") in report.facts
    facts = dict(report.facts)
    assert facts["Compared"] == (
        "IoU above the threshold, mean of the images, predicted objects widened by 3×3 px, objects from 10 px on"
    )
    declared = Protocol("mine", output=Output(threshold=0.25, method=Interior(4), min_size=16))
    facts = dict(report_of(result | {"protocol": declared.to_json()}, spec).facts)
    assert facts["Compared"] == "IoU from the threshold on, counts pooled"
    assert facts["Made"] == "probability from 0.25 on, interior (grow 4 px), objects from 16 px on"
    assert np.all([value is None for _, *values in report.scores for value in values])
