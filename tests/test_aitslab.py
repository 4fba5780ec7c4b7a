"""Aitslab-bioimaging1: what its entry pins, the real dataset as it loads, and the numbers of its card."""

from __future__ import annotations

import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import datasets
import numpy as np
import pytest

from lensbench import load_dataset
from lensbench.benchmark import get_benchmark
from lensbench.data.prepared import Prepared
from lensbench.data.store import prepare
from lensbench.images.content import part_sha256, sample_sha256
from lensbench.images.decode import decode
from lensbench.registry import SPLITS, Dataset, get_dataset
from lensbench.splits import read_manifest
from tests.aitslab_files import ENTRY, FOLDERS, NAME, Labels, decoded, specimen, table
from tests.conftest import ROOT

COUNTS = {"train": 1283, "validation": 375, "test": 438}

# -- the entry ------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset() -> Dataset:
    return get_dataset(NAME, ROOT / "registry")


@pytest.mark.parametrize("config", ["official", "raw", "specimen"])
def test_manifests_say_what_the_names_say(dataset: Dataset, config: str) -> None:
    name = re.compile(r"MFGTMPcx7_(\d{12})_([A-P]\d\d)f\d\dd0")
    for split in SPLITS:
        manifest = read_manifest(dataset, config, split)
        parts = [name.fullmatch(key) for key in manifest.ids]
        assert [part and f"{part[1]}/{part[2]}" for part in parts] == list(manifest.groups)
        assert [part and part[1] for part in parts] == list(manifest.columns["plate"])
        assert set(manifest.labels) == {None}
        assert ("sha256" in manifest.columns) == (config != "raw")


def test_the_official_split_is_thirty_ten_ten_and_raw_is_the_same(dataset: Dataset) -> None:
    for split, rows in (("train", 30), ("validation", 10), ("test", 10)):
        ids = read_manifest(dataset, "official", split).ids
        assert len(ids) == rows
        assert ids == read_manifest(dataset, "raw", split).ids
    assert "MFGTMPcx7_170731090001_B14f09d0" in read_manifest(dataset, "official", "test").ids


@pytest.mark.parametrize(("config", "count"), [("official", 5), ("raw", 5), ("specimen", 2)])
def test_the_known_leaks_are_those_there_are(dataset: Dataset, config: str, count: int) -> None:
    splits: dict[str | None, list[str]] = defaultdict(list)
    for split in SPLITS:
        for group in sorted(set(map(str, read_manifest(dataset, config, split).groups))):
            splits[group].append(split)
    there_are = {(group, tuple(found)) for group, found in splits.items() if len(found) > 1}
    known = [leak for leak in dataset.leaks if leak.config == config]
    assert {(leak.group, leak.splits) for leak in known} == there_are
    assert len(known) == count
    assert len({leak.reason for leak in known}) == count


def test_the_benchmark_is_valid_and_leaves_out_plates(dataset: Dataset) -> None:
    benchmark = get_benchmark(NAME)
    assert (benchmark.cluster, benchmark.headline, benchmark.labels) == ("plate", "f1@0.5", ("background", "nucleus"))
    assert benchmark.manifest == read_manifest(dataset, "official", "test").digest_for("plate")
    assert (benchmark.expected, benchmark.input.height, benchmark.input.colour) == (10, None, "grey")
    synthetic = get_benchmark(NAME, "specimen")
    assert synthetic.digest != benchmark.digest and synthetic.slug == f"{NAME}-specimen"


def card() -> str:
    return (ENTRY / "README.md").read_text(encoding="utf-8")


def cells(head: str) -> list[list[str]]:
    """The rows of the card's table whose header begins so."""
    below = card().partition(f"\n{head}")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in below]
    return rows[: rows.index([]) if [] in rows else len(rows)]


def test_the_tables_of_the_card_are_those_of_the_manifests(dataset: Dataset) -> None:
    stated = {(row[0], row[1]): row[2:] for row in cells("| config | split |")}
    assert stated.keys() == {(config, split) for config in dataset.configs for split in SPLITS}
    for (config, split), (images, _, plates, wells, pinned) in stated.items():
        manifest = read_manifest(dataset, config, split)
        counted = [len(manifest.ids), len(set(manifest.columns["plate"])), len(set(manifest.groups))]
        assert ([int(images), int(plates), int(wells)], pinned) == (counted, "yes")
    for row in cells("| well | train |"):
        for split, fields in zip(SPLITS, row[1:], strict=True):
            manifest = read_manifest(dataset, "official", split)
            mine = [key[-5:-2] for key, group in zip(manifest.ids, manifest.groups, strict=True) if group == row[0]]
            assert mine == [field for field in fields.split(", ") if field]
    assert {row[0] for row in cells("| well | train |")} == {k.group for k in dataset.leaks if k.config == "official"}


def test_the_objects_of_the_specimen_are_as_many_as_the_card_says() -> None:
    loaded = load_dataset(NAME, "specimen")
    stated = {row[1]: int(row[3]) for row in cells("| config | split |") if row[0] == "specimen"}
    assert {split: sum(rows["n_objects"]) for split, rows in loaded.items()} == stated


# -- the real dataset -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, realdata: Path) -> Prepared:
    """The dataset from the copy, built once."""
    root = tmp_path_factory.mktemp("real")
    return prepare(get_dataset(NAME, ROOT / "registry"), source=realdata / NAME, root=root)


@pytest.mark.needs("realdata")
def test_the_real_dataset_loads_from_the_copy(real: Prepared, realdata: Path) -> None:
    loaded = load_dataset(NAME, data_dir=str(realdata / NAME), cache_dir=str(real.folder.parents[3]))
    assert isinstance(loaded, datasets.DatasetDict)
    assert {split: sum(rows["n_objects"]) for split, rows in loaded.items()} == COUNTS
    row = loaded["test"][0]
    assert (row["image"].mode, row["mask"].mode, row["image"].size) == ("L", "I;16", (1104, 1104))
    assert np.asarray(row["mask"]).max() == row["n_objects"] == len(row["objects"])
    assert real.strays == 1, "the annotation that lies outside the splits' folders"


@pytest.mark.needs("realdata")
def test_every_real_mask_holds_the_objects_of_its_colours(real: Prepared, realdata: Path) -> None:
    for split, folder in FOLDERS.items():
        for row in table(real, split):
            place = realdata / NAME / folder
            assert row["image"]["bytes"] == (place / "images" / f"{row['id']}.png").read_bytes()
            mask = decoded(row["mask"])
            assert mask.dtype == np.uint16
            rgb = cv2.imread(str(place / "annotations" / f"{row['id']}_objects.png"), cv2.IMREAD_UNCHANGED)
            assert rgb is not None
            packed = rgb.astype(np.int64) @ np.array([1, 256, 65536])  # OpenCV's order is B, G, R
            both = (packed * 65536 + mask).ravel()
            pairs = np.unique(both[np.flatnonzero(np.diff(both, prepend=-1))])
            colours, ids = pairs >> 16, pairs & 0xFFFF
            assert len(set(colours)) == len(set(ids)) == len(pairs) == row["n_objects"] + 1
            assert (colours[0], ids[0]) == (0, 0)


@pytest.mark.needs("realdata")
def test_the_real_content_is_what_the_entry_pins(real: Prepared, dataset: Dataset) -> None:
    for split in SPLITS:
        content = dataset.config("official").splits[split].content["1.0.0"]
        assert (real.digests[split], "copy") == (content.sha256, content.provenance)
        pinned = read_manifest(dataset, "official", split).columns["sha256"]
        rows = table(real, split)
        assert [row["sha256"] for row in rows] == list(pinned)
        again = [
            sample_sha256({k: part_sha256(row[k]["bytes"], rule, k) for k, rule in real.parts.items()})
            for row in rows[:2]
        ]
        assert again == list(pinned[:2])


@pytest.mark.needs("realdata")
def test_the_annotation_as_published_holds_the_same_objects(real: Prepared, realdata: Path) -> None:
    key = "MFGTMPcx7_170702000001_B14f07d0"
    data = (realdata / NAME / f"ORIGINAL_annotation_{key}.png").read_bytes()
    ours = next(row for row in table(real, "train") if row["id"] == key)
    copy = (realdata / NAME / "training_nuclei" / "annotations" / f"{key}_objects.png").read_bytes()
    assert data != copy
    palette = specimen().voc_colour(np.arange(42))
    colours = decode(data, "original").astype(np.int64) @ np.array([65536, 256, 1])
    assert set(np.unique(colours)) == set(palette), "Pascal VOC's first 41 colours and black"
    assert part_sha256(data, "labelmap", "original") == part_sha256(ours["mask"]["bytes"], "labelmap", "mask")


@pytest.mark.needs("realdata")
def test_the_numbers_in_the_card_are_counted(real: Prepared) -> None:
    text = " ".join(card().split())
    rows = [row for split in SPLITS for row in table(real, split)]
    things = [thing for row in rows for thing in row["objects"]]
    areas, numbers = [thing["area"] for thing in things], [row["n_objects"] for row in rows]
    assert f"{len(things):,} objects: 1,283 in train, 375 in validation, 438 in test" in text
    assert f"{min(numbers)} to {max(numbers)} an image, {np.median(numbers):.0f} in the median" in text
    assert f"cover {min(areas)} to {max(areas):,} pixels, {np.median(areas):,.0f} in the median" in text
    small = [sum(area < limit for area in areas) for limit in (100, 10)]
    assert f"{small[0]} have fewer than 100 and {small[1]} fewer than 10" in text
    assert f"{sum(thing['touches_border'] for thing in things)} objects touch the border" in text
    foreground = [sum(thing["area"] for thing in row["objects"]) / (1104 * 1104) for row in rows]
    assert (round(100 * min(foreground)), round(100 * max(foreground))) == (2, 10)
    assert "Between 2 and 10 % of an image is foreground" in text
    tiny = sum(thing["area"] < 100 for row in table(real, "test") for thing in row["objects"])
    assert f"the {tiny} test objects under 100 pixels" in text
    masks = [decoded(row["mask"]) for row in rows]
    for connectivity, found in ((4, "2,050"), (8, "2,039")):
        parts = sum(cv2.connectedComponents((m > 0).astype(np.uint8), connectivity=connectivity)[0] - 1 for m in masks)
        assert f"{parts:,}" == found and found in text
    edges = sum(len(neighbours(mask, corners=False)) for mask in masks)
    assert f"{edges} pairs share an edge; {sum(len(neighbours(m, corners=True)) for m in masks)} touch" in text
    holes = parts = 0
    for row, mask in zip(rows, masks, strict=True):
        for thing in row["objects"]:
            x, y, w, h = thing["bbox"]
            mine = np.pad(mask[y : y + h, x : x + w] == thing["id"], 1).astype(np.uint8)
            parts += cv2.connectedComponents(mine, connectivity=8)[0] - 1
            holes += cv2.connectedComponents(1 - mine, connectivity=4)[0] > 2
    assert (parts, f"{holes} have a hole, none is in two parts" in text) == (len(things), True)
    assert {(decoded(row["image"]).min(), decoded(row["image"]).max()) for row in rows} == {(0, 255)}


def neighbours(mask: Labels, corners: bool) -> set[tuple[int, int]]:
    """Pairs of objects that share an edge, or at least a corner."""
    pairs = [(mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])]
    pairs += [(mask[1:, 1:], mask[:-1, :-1]), (mask[1:, :-1], mask[:-1, 1:])] if corners else []
    found: set[tuple[int, int]] = set()
    for a, b in pairs:
        touch = (a != b) & (a > 0) & (b > 0)
        found |= {(min(p), max(p)) for p in zip(a[touch].tolist(), b[touch].tolist(), strict=True)}
    return found


# -- restating the manifests ----------------------------------------------------------------------------------


def article(entry: Dataset) -> str:
    """The tables of the article as its text has them, from the pinned manifests."""
    headings = {"train": "Training dataset", "validation": "Development dataset", "test": "Test dataset"}
    lines = []
    for split, heading in headings.items():
        lines += [heading, "| Original microscopy images | Normalized microscopy images | Annotation images |"]
        lines += [f"| {i}.C01 | {i}.png | {i}_objects.png |" for i in read_manifest(entry, "official", split).ids]
    return "\n".join(lines) + "\n"


def test_the_list_of_the_article_is_read_with_suspicion(dataset: Dataset) -> None:
    from scripts.restate_aitslab import parse

    text = article(dataset)
    assert len(parse(text)) == 50
    first = next(line for line in text.splitlines() if ".C01" in line)
    for wrong in (text.replace(first, ""), text + first, text.replace(first, first.replace("_objects", "x_objects"))):
        with pytest.raises(ValueError, match=r"not a line of one image|has .* images"):
            parse(wrong)


@pytest.mark.needs("realdata")
def test_the_manifests_are_those_that_the_script_writes(
    realdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.restate_aitslab import main

    root = tmp_path / "registry"
    shutil.copytree(ENTRY, root / NAME)
    for path in (root / NAME / "splits").glob("*.parquet"):
        path.unlink()
    listed = tmp_path / "article.txt"
    listed.write_text(article(get_dataset(NAME, ROOT / "registry")), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["restate", str(listed), str(realdata / NAME), "--registry", str(root)])
    main()
    printed = capsys.readouterr().out.strip()
    pinned = (ENTRY / "dataset.toml").read_text(encoding="utf-8")
    for block in printed.split("\n\n"):
        assert block in pinned
    for path in (root / NAME / "splits").glob("*.parquet"):
        assert path.read_bytes() == (ENTRY / "splits" / path.name).read_bytes()
    listed.write_text(
        listed.read_text().replace("Test dataset", "Test").replace("B14f09d0", "B14f10d0"), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match="images"):
        main()
