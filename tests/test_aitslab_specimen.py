"""The synthetic Aitslab-bioimaging1: the same pixels everywhere, the publisher's layout, every quirk inside."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import datasets
import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench import load_dataset
from lensbench.data.loader import load_specimen
from lensbench.data.store import prepare
from lensbench.errors import DatasetError
from lensbench.images.c01 import read_c01
from lensbench.images.decode import decode
from lensbench.images.labelmap import objects, renumber
from lensbench.registry import SPLITS, get_dataset
from lensbench.splits import read_manifest
from tests.conftest import ROOT

NAME = "aitslab_bioimaging1"
ENTRY = ROOT / "registry" / NAME
FOLDERS = {"train": "training_nuclei", "validation": "development_nuclei", "test": "test_nuclei"}

specimen: ModuleType = sys.modules[load_specimen(ENTRY).__module__]
Drawn = dict[str, tuple[NDArray[np.uint16], NDArray[np.int32]]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Every frame of the default specimen by name: what the camera saw, and the label map."""
    return {row.name: specimen.draw(row) for row in specimen.plan()}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# -- the pinned one -------------------------------------------------------------------------------------------


def test_pixels_of_the_default_specimen_are_pinned(drawn: Drawn) -> None:
    """Integers give them on every machine."""
    digest = hashlib.sha256()
    for name, (raw, labels) in drawn.items():
        digest.update(f"{name}{raw.shape}".encode())
        for array in (raw.astype("<u2"), specimen.stretched(raw), labels.astype("<i4")):
            digest.update(array.tobytes())
    assert digest.hexdigest() == "9e2386022eb4b3cd461c69b9584f171508ca6a200abcf43b26e02a81c5847725"


def test_the_archives_beside_the_entry_hold_those_pixels(drawn: Drawn) -> None:
    quirks = {row.name: row.quirk for row in specimen.plan()}
    seen = 0
    for folder in FOLDERS.values():
        for name, data in members(ENTRY / "specimen" / f"{folder}.zip").items():
            root, kind, file = name.split("/")
            raw, labels = drawn[file.removesuffix(".png").removesuffix("_objects")]
            wanted = specimen.stretched(raw)
            if kind == "annotations":
                wanted = specimen.coloured(labels, quirks[file.removesuffix("_objects.png")])
            assert root == folder and np.array_equal(decode(data, name), wanted)
            seen += 1
    assert seen == 2 * len(drawn) == 80
    assert sum(path.stat().st_size for path in (ENTRY / "specimen").iterdir()) < 2_000_000


def test_it_loads_and_holds_what_was_drawn(drawn: Drawn) -> None:
    loaded = load_dataset(NAME, "specimen")
    assert isinstance(loaded, datasets.DatasetDict)
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 20, "validation": 6, "test": 14}
    for rows in loaded.values():
        for row in rows:
            raw, labels = drawn[row["id"]]
            assert np.array_equal(np.asarray(row["image"]), specimen.stretched(raw))
            mask = np.asarray(row["mask"])
            assert mask.dtype == np.uint16 and np.array_equal(mask, renumber(labels))
            assert (row["height"], row["width"]) == raw.shape
            assert row["n_objects"] == labels.max() == len(row["objects"])


def test_its_content_is_what_the_entry_pins() -> None:
    dataset = get_dataset(NAME, ROOT / "registry")
    prepared = prepare(dataset, config="specimen")
    for split in SPLITS:
        content = dataset.config("specimen").splits[split].content["1.0.0"]
        assert (prepared.digests[split], "specimen") == (content.sha256, content.provenance)


def test_test_goes_over_more_than_five_plates() -> None:
    manifest = read_manifest(get_dataset(NAME, ROOT / "registry"), "specimen", "test")
    assert len(set(manifest.columns["plate"])) == 8
    real = [read_manifest(get_dataset(NAME, ROOT / "registry"), "official", split) for split in SPLITS]
    assert not {*manifest.columns["plate"]} & {plate for m in real for plate in m.columns["plate"]}


# -- quirks ---------------------------------------------------------------------------------------------------


def test_every_quirk_is_inside(drawn: Drawn) -> None:
    quirks = {row.quirk: drawn[row.name][1] for row in specimen.plan()}
    assert quirks["crowded"].max() == 289
    colours = {quirk: {tuple(c) for c in specimen.coloured(quirks[quirk], quirk).reshape(-1, 3)} for quirk in quirks}
    palette = [tuple(c) for c in specimen.coloured(np.arange(300, dtype=np.int32)[None])[0]]
    assert colours["crowded"] == {*palette[:290]}
    assert colours["gap"] == {*palette[: quirks["gap"].max() + 2]} - {palette[5]}
    assert len(colours["shuffled"] & {*palette}) < 3
    assert Counter(raw.shape for raw, _ in drawn.values()).keys() == {(256, 256), (256, 320)}
    areas = Counter(thing.area for _, labels in drawn.values() for thing in objects(labels))
    assert all(areas[area] for area in (1, 2, 3, 4, 5, 6))
    assert sum(thing.touches_border for _, labels in drawn.values() for thing in objects(labels)) > 50


def test_nuclei_touch_by_edge_and_by_corner_and_some_have_a_hole(drawn: Drawn) -> None:
    found: Counter[str] = Counter()
    for _, labels in drawn.values():
        edge = pairs((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1]))
        found["edge"] += len(edge)
        found["corner"] += len(pairs((labels[1:, 1:], labels[:-1, :-1]), (labels[1:, :-1], labels[:-1, 1:])) - edge)
        for thing in objects(labels):
            x, y, w, h = thing.bbox
            mine = np.pad(labels[y : y + h, x : x + w] == thing.id, 1).astype(np.uint8)
            found["parts"] += cv2.connectedComponents(mine, connectivity=8)[0] - 1
            found["objects"] += 1
            found["holes"] += cv2.connectedComponents(1 - mine, connectivity=4)[0] > 2
    assert found["edge"] > 50 and found["corner"] >= 10 and found["holes"] > 20
    assert found["parts"] == found["objects"], "as in the original, no object is in two parts"


def pairs(*sides: tuple[NDArray[np.int32], NDArray[np.int32]]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for a, b in sides:
        touch = (a != b) & (a > 0) & (b > 0)
        found |= {(min(p), max(p)) for p in zip(a[touch].tolist(), b[touch].tolist(), strict=True)}
    return found


def test_every_image_is_stretched_on_its_own(drawn: Drawn) -> None:
    for raw, _ in drawn.values():
        image = specimen.stretched(raw)
        assert (image.dtype, image.min(), image.max()) == (np.uint8, 0, 255)
        assert raw.max() < 4096
    assert len({int(np.median(raw)) for raw, _ in drawn.values()}) > 20


def test_the_palette_is_that_of_pascal_voc() -> None:
    """Against the palette's usual definition, one entry and one channel at a time."""
    for entry in (*range(1, 300), 4_097, 65_535, 1 << 23):
        channels, rest = [0, 0, 0], entry
        for rank in range(8):
            for channel in range(3):
                channels[channel] |= (rest >> channel & 1) << (7 - rank)
            rest >>= 3
        packed = int(specimen.voc_colour(np.array([entry]))[0])
        assert [packed >> 16, packed >> 8 & 255, packed & 255] == channels
    assert len(set(specimen.voc_colour(np.arange(70_000)).tolist())) == 70_000


# -- others of any size ---------------------------------------------------------------------------------------


def test_same_size_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = {"size": 9, "seed": 3, "side": 64}
    first, again = (specimen.make(tmp_path / name, **options) for name in ("a", "b"))
    assert [path.name for path in first] == [f"{folder}.zip" for folder in FOLDERS.values()]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in first)
    other = specimen.make(tmp_path / "c", **options | {"seed": 4})
    for mine, theirs in zip(first, other, strict=True):
        assert not members(mine).keys() & members(theirs).keys()


def test_one_of_another_size_has_its_own_split(tmp_path: Path) -> None:
    specimen.make(tmp_path, size=24, seed=5, side=48, test_size=12)
    prepared = prepare(get_dataset(NAME, ROOT / "registry"), config="specimen", source=tmp_path)
    assert prepared.own_lists
    assert {split: cover.found for split, cover in prepared.coverage.items()} == {
        "train": 9,
        "validation": 3,
        "test": 12,
    }


def test_published_names_are_no_specimen(tmp_path: Path) -> None:
    dataset = get_dataset(NAME, ROOT / "registry")
    real = [(key, split) for split in SPLITS for key in read_manifest(dataset, "official", split).ids[:1]]
    specimen.make(tmp_path, names=real, side=40)
    with pytest.raises(DatasetError, match="holds published samples"):
        prepare(dataset, config="specimen", source=tmp_path)


@pytest.mark.parametrize("size", [40, 300, 3_000])
def test_plans_share_no_well_but_those_on_purpose(size: int) -> None:
    rows = list(specimen.plan(size, 1))
    assert len({row.name for row in rows}) == len(rows) == size
    wells: dict[str, list[str]] = {}
    for row in rows:
        wells.setdefault(row.name.rpartition("f")[0], []).append(row.split)
    shared = sorted(splits for splits in wells.values() if len(splits) > 1)
    assert shared == [["train", "test"], ["train", "train"], ["train", "validation"]]


def test_originals_are_what_the_images_were_made_from(tmp_path: Path) -> None:
    found: dict[str, bytes] = {}
    for path in specimen.make(tmp_path, size=8, side=64, originals=True):
        found |= members(path)
    originals = [name for name in found if name.endswith(".C01")]
    assert len(originals) == 8
    for name in originals:
        raw = read_c01(found[name], name)
        image = name.replace(f"/{specimen.C01_FOLDER}/", "/images/").replace(".C01", ".png")
        assert raw.dtype == np.uint16
        assert np.array_equal(specimen.stretched(raw), decode(found[image], image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "2.0.0"}, r"2\.0\.0"),
        ({"side": 20}, "20 pixels"),
        ({"size": 5}, "0 validation"),
        ({"size": 20, "test_size": 18}, "each split needs one"),
        ({"names": [("MFGTMPcx7_170702000001_B14f07d0", "dev")]}, "no split 'dev'"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        specimen.make(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
