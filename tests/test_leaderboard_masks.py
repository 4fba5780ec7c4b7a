"""Boards of segmentation benchmarks: what they show of a record, and what records they refuse."""

from __future__ import annotations

import copy
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensbench.benchmark import get_benchmark
from lensbench.evaluation import evaluate, evaluate_predictions
from lensbench.leaderboard.board import Leaderboard, read_board
from lensbench.leaderboard.refresh import rebuild, refresh
from lensbench.leaderboard.segments import made_text
from lensbench.masks.postprocess import UNDECLARED, Output, class_map, label_map
from lensbench.record import Record, read_record
from tests.graphs import bright_model, write

NAME = "aitslab_bioimaging1"
OTSU = "lensbench.masks.classic:otsu_watershed"
WATERSHED = {"output": {"method": {"name": "watershed", "min_distance": 4}, "min_size": 30}}

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def records() -> dict[str, Record]:
    """A network as it is, the same with a declared watershed, and its maps as files."""
    plain = evaluate(write(Path("a"), bright_model(3), "plain.onnx"), NAME, config="specimen")
    cut = bright_model(metadata={"lensbench": json.dumps({"name": "cut", **WATERSHED})})
    declared = evaluate(write(Path("b"), cut, "cut.onnx"), NAME, config="specimen")
    files = evaluate_predictions(plain.folder / "predictions.parquet", NAME, config="specimen", name="files")
    return {"a.json": plain.record, "b.json": declared.record, "c.json": files.record}


def board(records: dict[str, Record]) -> Leaderboard:
    return Leaderboard.build(get_benchmark(NAME, "specimen"), records.items())


def changed(record: Record, **fields: Any) -> Record:
    return Record({**copy.deepcopy(dict(record.result)), **fields}, record.run)


def test_every_row_names_protocol_and_post_processing(records: dict[str, Record], tmp_path: Path) -> None:
    made = board(records)
    assert not made.apart and not made.refused
    page = made.write(tmp_path / "board")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO((page.parent / "board.csv").read_text()))}
    told = {name: (row["protocol"], row["post_processing"]) for name, row in rows.items()}
    assert told == {
        "plain": ("default", "interior + 2 px (assumed)"),
        "cut": ("default", "watershed 4 px, from 30 px on"),
        "files": ("default", "maps as given"),
    }
    for text in (page.read_text(), (page.parent / "README.md").read_text()):
        for _, words in told.values():
            assert f"default: {words}" in text
    assert page.read_text().count("F1 over the threshold") >= 3 and "Worst images" in page.read_text()
    assert "None" not in page.read_text() and "--labels" not in page.read_text()


def test_a_rule_that_was_assumed_is_told_as_it_was_applied() -> None:
    plane = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    told = {
        "components (assumed)": label_map(plane, (3, 4), "x").assumed,
        "interior + 2 px (assumed)": label_map(np.repeat(plane, 3, axis=0), (3, 4), "x").assumed,
        "classes by pixel": class_map(plane, 2, (3, 4), "x").assumed,
    }
    assert {words: made_text(UNDECLARED, assumed) for words, assumed in told.items()} == {
        words: words for words in told
    }
    eight = Output("logits", 0.6, connectivity=8)
    applied = label_map(plane, (3, 4), "x", eight).assumed
    assert made_text(eight, applied) == "components (assumed), threshold 0.6, 8-connected"


def test_the_worst_image_comes_first(records: dict[str, Record]) -> None:
    (entry,) = [row.entry for row in board(records).ranked if row.entry.name == "plain"]
    assert entry.segments is not None
    scores = [image.f1 for image in entry.segments.worst]
    assert scores == sorted(score for score in scores if score is not None)
    wanted = min((i["f1"], i["id"]) for i in records["a.json"].result["images"] if i["f1"] is not None)
    assert (entry.segments.worst[0].f1, entry.segments.worst[0].id) == wanted


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"protocol": None}, "protocol is not a table"),
        ({"protocol": {"name": "default", "scoring": {"iou": "<"}}}, "scoring.iou is one of"),
        ({"protocol": {"name": "mine", "scoring": {}}}, "not the benchmark's"),
        ({"protocol": {"name": "default", "scoring": {"dilation": 9}}}, "not the benchmark's"),
        ({"protocol": {"name": "default", "scoring": {}, "output": {"min_size": 0, "threshold": 7}}}, "threshold"),
        ({"images": []}, "0 are listed, but 14 were scored"),
        ({"images": 3}, "images is not a list"),
        ({"curve": [{"threshold": 0.5, "tp": -1, "fp": 0, "fn": 0}]}, "tp is not a whole number"),
        ({"curve": [{"threshold": 0.5, "tp": 1, "fp": 0, "fn": 0, "f1": 2}]}, "outside 0…1"),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_part_is_refused_and_the_others_stand(
    fields: dict[str, Any], words: str, records: dict[str, Record]
) -> None:
    made = board({**records, "bad.json": changed(records["a.json"], **fields)})
    assert len(made.ranked) == 3
    (refused,) = made.refused
    assert refused.key == "bad.json" and words in refused.reason


def forged(change: str, result: dict[str, Any]) -> None:
    """Hashed anew, as everything that is made into a Record."""
    if change in result["metrics"]:
        result["metrics"][change].update(value=0.98765, low=0.98, high=0.99)
    elif change == "curve":
        result["curve"][0]["f1"] = 0.98765
    else:
        result["images"][0][change] += 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("f1@0.5", "metrics.f1@0.5.value is 0.98765, but the rest of the record makes it 0."),
        ("f1_mean", "metrics.f1_mean.value is 0.98765, but"),
        ("ap_dsb", "metrics.ap_dsb.value is 0.98765, but"),
        ("precision@0.5", "metrics.precision@0.5.value is 0.98765, but"),
        ("recall@0.5", "metrics.recall@0.5.value is 0.98765, but"),
        ("iou_fg_macro", "metrics.iou_fg_macro.value is 0.98765, but"),
        ("curve", "curve: F1 at 0.5 is 0.98765, but its counts make it"),
        ("tp", "tp at 0.5, but the images have"),
    ],
)
def test_a_record_that_contradicts_its_own_counts_is_refused(
    change: str, words: str, records: dict[str, Record]
) -> None:
    result = copy.deepcopy(dict(records["a.json"].result))
    forged(change, result)
    (refused,) = board({**records, "bad.json": Record(result, {})}).refused
    assert refused.key == "bad.json" and words in refused.reason


def test_a_record_without_a_protocol_is_no_segmentation(records: dict[str, Record]) -> None:
    result = {key: value for key, value in records["a.json"].result.items() if key != "protocol"}
    (refused,) = board({"bad.json": Record(result, {})}).refused
    assert "protocol: missing" in refused.reason


def test_hostile_names_of_images_stay_text(records: dict[str, Record]) -> None:
    images = copy.deepcopy(records["a.json"].result["images"])
    for image in images:
        image["id"] = "<script>alert(1)</script>"
    made = board({"a.json": changed(records["a.json"], images=images)})
    folder = Path("hostile")
    made.write(folder)
    page = (folder / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;" in page


def test_refresh_scores_submissions_of_networks_and_of_maps(records: dict[str, Record]) -> None:
    root = Path("leaderboards")
    card = f'name = "{{}}"\nbenchmark = "{NAME}"\nconfig = "specimen"\nfile = "{{}}"\n'
    for name, file in (("net", "model.onnx"), ("maps", "maps.parquet")):
        folder = root / "submissions" / name
        folder.mkdir(parents=True)
        (folder / "model.toml").write_text(card.format(name, file))
    write(root / "submissions" / "net", bright_model(3))
    stored = next(Path("runs").glob("*/plain-*/predictions.parquet"))
    shutil.copy(stored, root / "submissions" / "maps" / "maps.parquet")
    assert [outcome.state for outcome in refresh(root, Path("runs"))] == ["scored", "scored"]
    assert [outcome.state for outcome in refresh(root, Path("runs"))] == ["known", "known"]
    slug = f"{NAME}-specimen"
    for name in ("net", "maps"):
        assert (root / slug / "predictions" / f"{name}.parquet").read_bytes()
    assert root / slug / "index.html" in rebuild(root)
    assert {row.entry.name for row in read_board(get_benchmark(NAME, "specimen"), root).ranked} == {"net", "maps"}


def submit(text: str) -> Path:
    folder = Path("leaderboards") / "submissions" / "otsu"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(f'name = "Otsu"\nbenchmark = "{NAME}"\n{text}')
    return folder


def test_refresh_scores_a_function_of_lensbench_itself_on_the_config_asked_for() -> None:
    submit(f'function = "{OTSU}"\n[output]\nkind = "labelmap"\n')
    root = Path("leaderboards")
    outcomes = [refresh(root, Path("runs"), config="specimen")[0] for _ in range(2)]
    assert [outcome.state for outcome in outcomes] == ["scored", "known"]
    record = read_record(root / f"{NAME}-specimen" / "records" / "otsu.json")
    plain = evaluate(OTSU, NAME, config="specimen").record.result
    assert record.result["metrics"] == plain["metrics"] and record.result["model"]["name"] == "Otsu"
    assert record.result["digests"]["model"] == plain["digests"]["model"]
    assert record.result["protocol"]["output"] is None, "a map of integers is stored as it is"
    assert not (root / NAME).exists(), "the card names no config, and the real archive was not asked for"
    (row,) = read_board(get_benchmark(NAME, "specimen"), root).ranked
    assert row.entry.segments is not None and row.entry.segments.made == "maps as given"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('function = "os:getcwd"\n', "function 'os:getcwd' is not one of lensbench.masks.classic:otsu_watershed"),
        (f'function = "{OTSU}"\nfile = "model.onnx"\n', "names a file and a function"),
        (f'function = "{OTSU}"\n[output]\nkind = "classmap"\n', "declares a classmap"),
    ],
)
def test_no_other_function_is_called_for_a_submission(text: str, words: str) -> None:
    submit(text)
    (outcome,) = refresh(Path("leaderboards"), Path("runs"), config="specimen")
    assert outcome.state == "failed" and words in outcome.text
