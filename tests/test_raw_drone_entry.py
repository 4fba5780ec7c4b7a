"""Raw-Drone: what its entry pins, the five published draws, the three specimens as they load, benchmarks and card."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard

from lensbench import load_dataset
from lensbench.benchmark import get_benchmark
from lensbench.data.loader import load_builder
from lensbench.data.request import Request
from lensbench.data.store import prepare
from lensbench.errors import DatasetError, LensbenchError
from lensbench.evaluation import evaluate_predictions
from lensbench.images.decode import decode
from lensbench.registry import SPLITS, get_dataset
from lensbench.rules import assign
from lensbench.splits import read_manifest
from tests.raw_drone_files import FAMILIES, FOLDER, NAME, archive, entry, index, small
from tests.test_docs import code, table

SPECIMEN = FOLDER / "specimen" / "raw_drone_specimen.zip"
TEST = ["02", "03", "07", "11"]
# sha256(int64)[:16] of the published draws, as our own run of the publisher's seed gave them
DRAWS = ["f6944a8c79296740", "d747f77f8efc95bc", "62be72e014e47dad", "0671265f97d646bd", "00449f47d0b8bd26"]


@pytest.fixture(scope="module")
def card() -> str:
    return str(DatasetCard.load(FOLDER / "README.md").text)


# -- splits ---------------------------------------------------------------------------------------------------


def test_all_three_families_deal_the_same_frames_and_no_frame_is_in_two_splits() -> None:
    want = {"train": ["00", "01", "05", "06", "08", "10"], "validation": ["04", "09"], "test": TEST}
    for family in FAMILIES:
        groups = {split: read_manifest(entry(), f"{family}-specimen", split).groups for split in SPLITS}
        assert {split: sorted(set(map(str, found))) for split, found in groups.items()} == want
        rule = entry().config(family).rule
        assert rule == entry().config(f"{family}-specimen").rule
        assert rule is not None
        assert rule.options["per"] == "group"


def test_the_rule_deals_the_same_frames_whatever_tiles_they_have() -> None:
    rule = entry().config("segmentation").rule
    assert rule is not None
    for counts in ([1] * 12, [40, 1, 2, 90, 8, 3, 3, 3, 77, 5, 6, 1]):
        groups = [f"{frame:02d}" for frame, count in enumerate(counts) for _ in range(count)]
        ids = [f"{k:05d}" for k in range(len(groups))]
        rows = pa.table({"id": ids, "label": pa.nulls(len(ids), pa.string()), "group": groups})
        assert sorted({groups[k] for k in assign(rule, rows)["test"]}) == TEST


def test_the_five_published_draws_are_the_published_ones() -> None:
    """The publisher's loader, spelt out, gives the digests that are known; our rules give its splits."""
    generator = np.random.RandomState(1)
    rows = pa.table({"id": [f"{k:05d}" for k in range(548)], "label": pa.nulls(548, pa.string())})
    for draw, known in enumerate(DRAWS, start=1):
        order = generator.permutation(548)
        assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == known
        config = entry().config(f"segmentation-paper-{draw}")
        assert config.samples == 548
        assert {name: split.rows for name, split in config.splits.items()} == {"train": 438, "test": 110}
        assert config.rule is not None
        assert assign(config.rule, rows) == {"train": sorted(order[:438]), "test": sorted(order[438:])}
    generator = np.random.RandomState(1)
    assert generator.permutation(548)[:6].tolist() == [483, 542, 519, 111, 530, 47]


def test_the_published_draws_count_tiles_in_the_order_of_their_names(tmp_path: Path) -> None:
    ids = index(archive(small(tmp_path)), "segmentation").rows["id"].to_pylist()
    with zipfile.ZipFile(tmp_path / SPECIMEN.name) as packed:
        names = [Path(name).stem for name in packed.namelist() if "images_tiles_32/raw_scale100/" in name]
    assert names != sorted(names)
    assert ids == sorted(names)


def test_each_published_draw_cuts_every_frame_and_is_on_the_list_of_leaks() -> None:
    rows = index(archive(SPECIMEN), "segmentation").rows
    assert rows.num_rows == 156
    for draw in range(1, 6):
        rule = entry().config(f"segmentation-paper-{draw}").rule
        assert rule is not None
        parts = assign(type(rule)(rule.kind, {**rule.options, "train": 125}), rows)  # 80 % as well
        sides = [set(rows["group"].take(numbers).to_pylist()) for numbers in parts.values()]
        assert len(sides[0] & sides[1]) > 8
        (leak,) = [leak for leak in entry().leaks if leak.config == f"segmentation-paper-{draw}"]
        assert (leak.group, leak.splits) == (None, ("train", "test"))


# -- loading --------------------------------------------------------------------------------------------------


def test_a_plain_specimen_names_the_three() -> None:
    names = "segmentation-specimen, classification-specimen, full_frame-specimen"
    with pytest.raises(DatasetError, match=f"has 3 specimens: name {names}"):
        load_dataset(NAME, "specimen")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_specimen_loads_with_sixteen_bits_exact(workspace: Path, family: str) -> None:
    loaded = load_dataset(NAME, f"{family}-specimen")
    assert isinstance(loaded, datasets.DatasetDict)
    with zipfile.ZipFile(SPECIMEN) as packed:
        stems = sorted(Path(name).stem for name in packed.namelist() if name.endswith(".DNG"))
        for row in loaded["test"].select([0, len(loaded["test"]) - 1]):
            light = f"drone/images_full/raw_scale005/{stems[row['frame']]}.tif"
            frame = decode(packed.read(light), light)
            assert list(frame.shape) == row["frame_shape"] == [136, 172]
            if family != "full_frame":
                top, left = 32 * row["tile_row"], 32 * row["tile_col"]
                frame = frame[top : top + 32, left : left + 32]
            assert row["image_005"].mode == "I;16"
            assert np.array_equal(np.asarray(row["image_005"]), frame)
            image = np.asarray(row["image"])
            assert image.dtype == np.uint16
            assert not (image % 16).any()
            if family == "classification":
                assert row["label_name"] == ("Car", "No car")[row["label"]]
            else:
                assert set(np.unique(np.asarray(row["mask"]))) <= {0, 1}
    if family == "classification":
        assert loaded["train"].features["label"].names == ["car", "no car"]
        assert Counter(loaded["train"]["label"]) == {0: 41, 1: 41}


def test_frames_are_built_and_written_one_by_one(tmp_path: Path) -> None:
    """A row of seven frames may take 200 MB, and `datasets` keeps up to a thousand single rows before it writes."""
    kind = load_builder(FOLDER)
    from lensbench.data.plan import Plan

    plan = Plan({}, {}, 0, 0, {}, {}, {})
    for family, step, batch in (("full_frame", 1, 1), ("segmentation", 128, None)):
        request = Request(entry(), entry().version(None), entry().config(f"{family}-specimen"))
        common: dict[str, Any] = {
            "request": request,
            "plan": plan,
            "source": archive(SPECIMEN),
            "cache_dir": str(tmp_path),
        }
        assert (kind(**common).step, kind(**common)._writer_batch_size) == (step, batch)
        assert kind(**common, step=16).step == min(16, step)


def test_the_real_path_takes_unnamed_archives_and_unpacked_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of 256 under the config `segmentation`: a registry that expects as many as the stand-in has."""
    registry = tmp_path / "registry"
    shutil.copytree(FOLDER, registry / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    toml = registry / NAME / "dataset.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("samples = 548", "samples = 48"), encoding="utf-8")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(registry))
    packed = tmp_path / "packed"
    small(packed, tile=256, scales=(100,), full=(100,))
    (packed / SPECIMEN.name).rename(packed / "whatever.zip")
    with zipfile.ZipFile(packed / "whatever.zip") as source:
        source.extractall(tmp_path / "unpacked")
    found = [prepare(get_dataset(NAME), source=folder) for folder in (packed, tmp_path / "unpacked")]
    assert found[0].config == "segmentation"
    assert found[0].digests == found[1].digests
    assert {split: cover.found for split, cover in found[0].coverage.items()}.keys() == set(SPLITS)
    assert sum(cover.found for cover in found[0].coverage.values()) == 48
    assert found[0].metadata["columns"]["image"] == found[1].metadata["columns"]["image"] == "compared"


def test_smaller_tiles_are_for_specimens(tmp_path: Path) -> None:
    config = entry().config("segmentation")
    with pytest.raises(DatasetError, match=r"tiles are 256 × 256 pixels, and the source has images_tiles_32"):
        load_builder(FOLDER).index(archive(small(tmp_path)), Request(entry(), entry().version(None), config))


# -- benchmarks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["segmentation", "classification"])
def test_a_benchmark_waits_for_its_ids_and_its_specimen_does_not(tmp_path: Path, family: str) -> None:
    real, synthetic = (get_benchmark(f"raw_drone-{family}", config) for config in (None, "specimen"))
    assert (real.manifest, real.expected) == ("unknown", None)
    assert synthetic.config == f"{family}-specimen"
    assert synthetic.expected == len(read_manifest(entry(), f"{family}-specimen", "test").ids)
    for spec in (real, synthetic):
        assert spec.cluster == "group"
        assert spec.input.mosaic
        assert (spec.input.height, spec.input.width, spec.input.range) == (None, None, (0.0, 1.0))
    answers = tmp_path / "mine.csv"
    answers.write_text("id,label\n00_00000,car\n", encoding="utf-8")
    if family == "classification":
        with pytest.raises(LensbenchError, match="5235536"):
            evaluate_predictions(answers, "raw_drone-classification", out=tmp_path / "run")


def test_predictions_on_the_car_specimen_are_scored_by_frame(tmp_path: Path) -> None:
    manifest = read_manifest(entry(), "classification-specimen", "test")
    answers = ["no car" if manifest.labels[0] == "car" else "Car", *manifest.labels[1:]]
    with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "label"), *zip(manifest.ids, answers, strict=True)])
    done = evaluate_predictions(
        tmp_path / "mine.csv", "raw_drone-classification", config="specimen", out=tmp_path / "run"
    )
    top1 = done.record.result["metrics"]["top1"]
    assert top1["value"] == pytest.approx(57 / 58)
    assert top1["groups"] == 4


# -- the card -------------------------------------------------------------------------------------------------


def test_constants_of_the_card_are_those_of_the_builder(card: str) -> None:
    import sys

    camera = sys.modules[load_builder(FOLDER).__module__].CAMERA
    stated = {code(row[0]): row[1].replace("−", "-") for row in table(card, "constant")}
    assert stated.keys() == camera.keys()
    for name, value in camera.items():
        if isinstance(value, str):
            assert stated[name] == value
        else:
            numbers = re.findall(r"-?\d+\.?\d*", stated[name].partition("(")[0])
            assert [float(n) for n in numbers] == (value if isinstance(value, list) else [value]), name
    assert camera["gain"] == pytest.approx(0.528 * 16)
    assert round(camera["black_level"][0] * camera["white_level"], -1) == 4100


def test_columns_of_the_card_are_those_of_all_three_families(card: str) -> None:
    stated = {code(row[0]): row[1] for row in table(card, "column")}
    kinds: dict[str, str] = {}
    for family in FAMILIES:
        request = Request(entry(), entry().version(None), entry().config(family))
        for name, feature in load_builder(FOLDER).features(request).items():
            kinds[name] = feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__
    assert stated == kinds


def test_numbers_of_the_card_are_counted(card: str) -> None:
    flat = " ".join(card.split())
    assert (3648 // 256, 5472 // 256, 3648 // 256 * (5472 // 256) * 12) == (14, 21, 3528)
    assert "548 of 3,528 tiles (14 × 21 to a frame" in flat
    assert 65520 == 4095 * 16
    assert 548 * 6 == 3288
    assert 548 * 12 == 6576
    assert "00, 01, 05, 06, 08 and 10 are train, 04 and 09 validation, 02, 03, 07 and 11 test" in flat
    assert read_manifest(entry(), "full_frame-specimen", "validation").groups == ("04", "09")
    sizes = [sum(entry().config(f"{family}-specimen").splits[s].rows or 0 for s in SPLITS) for family in FAMILIES]
    assert sizes == [156, 162, 12]
    assert "156 tiles with a mask and 162 in the car / no car set" in flat
    assert "tiles of 32 × 32 pixels (the folder's name says so), twelve frames of 136 × 172" in flat
    assert dict(entry().version(None).images) == {
        "advertised": 548,
        "advertised_classification": 930,
        "advertised_frames": 12,
        "listed": None,
        "counted": None,
    }
