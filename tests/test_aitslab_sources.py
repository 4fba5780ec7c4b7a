"""Aitslab-bioimaging1 from sources of every form: zips, folders, parts of either, in processes and streamed."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import cv2
import datasets
import numpy as np
import pytest

from lensbench import load_dataset
from lensbench.data.prepared import Prepared
from lensbench.data.store import prepare
from lensbench.errors import DatasetError, SourceError
from lensbench.images.content import part_sha256, sample_sha256
from lensbench.registry import SPLITS, Dataset, get_dataset
from lensbench.splits import read_manifest
from tests.aitslab_files import ENTRY, NAME, decoded, specimen, table
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three zips under the publisher's own names, small and synthetic, with originals."""
    dataset = get_dataset(NAME, ROOT / "registry")
    names = [(key, split) for split in SPLITS for key in read_manifest(dataset, "official", split).ids]
    folder = tmp_path_factory.mktemp("archives")
    assert len(specimen().make(folder, names=names, side=40, originals=True)) == 3
    return folder


@pytest.fixture(scope="module")
def loose(archives: Path) -> Path:
    """The same, unpacked."""
    folder = archives / "somewhere" / "below"
    for path in archives.glob("*.zip"):
        zipfile.ZipFile(path).extractall(folder)
    return archives / "somewhere"


@pytest.fixture(scope="module")
def unpinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose entry takes any archive of the right name: stand-ins are not the published bytes, or content."""
    root = tmp_path_factory.mktemp("registry")
    shutil.copytree(ENTRY, root / NAME, ignore=shutil.ignore_patterns("specimen", "__pycache__"))
    path = root / NAME / "dataset.toml"
    head, files, rest = path.read_text(encoding="utf-8").partition('[[versions."1.0.0".files]]')
    published, configs, tail = rest.partition("[configs.official]")
    published = re.sub(r'sha256 = "[0-9a-f]+"', 'sha256 = "unknown"', published)
    tail = re.sub(r'sha256 = "[0-9a-f]+", provenance = "copy"', 'sha256 = "unknown", provenance = "copy"', tail)
    path.write_text(head + files + published + configs + tail, encoding="utf-8")
    return root


@pytest.fixture
def entry(unpinned: Path) -> Dataset:
    return get_dataset(NAME, unpinned)


@pytest.fixture(scope="module")
def built(archives: Path, unpinned: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(get_dataset(NAME, unpinned), source=archives, root=tmp_path_factory.mktemp("built"))


def test_a_stand_in_under_the_published_name_is_refused(archives: Path) -> None:
    with pytest.raises(SourceError, match=r"training_nuclei\.zip"):
        prepare(get_dataset(NAME, ROOT / "registry"), source=archives)


def test_unpacked_and_zipped_are_the_same_data(built: Prepared, entry: Dataset, loose: Path) -> None:
    assert {split: len(table(built, split)) for split in SPLITS} == {"train": 30, "validation": 10, "test": 10}
    assert prepare(entry, source=loose).digests == built.digests


def test_zips_without_their_top_folder_and_with_mac_shadows(
    built: Prepared, entry: Dataset, archives: Path, tmp_path: Path
) -> None:
    for path in archives.glob("*.zip"):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / path.name, "w", zipfile.ZIP_DEFLATED) as new:
            for name in reversed(old.namelist()):
                new.writestr(name.removeprefix(f"{path.stem}/"), old.read(name))
                new.writestr(f"__MACOSX/{path.stem}/images/._{Path(name).name}", b"\0\5\26\7")
    assert prepare(entry, source=tmp_path).digests == built.digests


def test_processes_change_nothing(built: Prepared, entry: Dataset, archives: Path, tmp_path: Path) -> None:
    many = prepare(entry, source=archives, num_proc=2, root=tmp_path)
    assert many.folder != built.folder and many.digests == built.digests
    assert [table(many, split) for split in SPLITS] == [table(built, split) for split in SPLITS]


def test_streaming_gives_the_same_rows(
    built: Prepared, unpinned: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(unpinned))
    streamed = load_dataset(NAME, data_dir=str(archives), split="test", streaming=True)
    assert isinstance(streamed, datasets.IterableDataset)
    rows = list(
        streamed.cast_column("image", datasets.Image(decode=False)).cast_column("mask", datasets.Image(decode=False))
    )
    assert rows == table(built, "test")


def test_a_part_of_the_source_is_refused_unless_asked_for(
    built: Prepared, entry: Dataset, archives: Path, tmp_path: Path
) -> None:
    shutil.copy(archives / "test_nuclei.zip", tmp_path)
    with pytest.raises(DatasetError, match="0 of 30 train samples, 0 of 10 validation samples"):
        prepare(entry, source=tmp_path)
    part = prepare(entry, source=tmp_path, partial=True)
    assert set(part.arrow) == {"test"} == {*SPLITS} - part.unavailable.keys()
    assert part.digests["test"] == built.digests["test"]


def test_one_folder_of_the_three_can_be_named(built: Prepared, entry: Dataset, loose: Path) -> None:
    part = prepare(entry, source=loose / "below" / "test_nuclei", partial=True)
    assert part.digests == {"test": built.digests["test"]}


def test_an_image_that_is_missing_is_named(entry: Dataset, loose: Path, tmp_path: Path) -> None:
    shutil.copytree(loose / "below", tmp_path / "copy")
    key = read_manifest(entry, "official", "validation").ids[3]
    for path in (tmp_path / "copy").rglob(f"{key}*"):
        path.unlink()
    with pytest.raises(DatasetError, match=rf"9 of 10 validation samples \(id {key} has no file"):
        prepare(entry, source=tmp_path)


def test_an_image_in_the_folder_of_another_split_is_refused(entry: Dataset, loose: Path, tmp_path: Path) -> None:
    shutil.copytree(loose / "below", tmp_path / "copy")
    key = read_manifest(entry, "official", "test").ids[0]
    for path in sorted((tmp_path / "copy").rglob(f"{key}*")):
        path.rename(tmp_path / "copy" / "training_nuclei" / path.parent.name / path.name)
    with pytest.raises(DatasetError, match=f"{key} lies in 'train', but test lists it in 'test'"):
        prepare(entry, source=tmp_path)


def test_a_changed_pixel_changes_the_hash_of_its_row_alone(
    built: Prepared, entry: Dataset, loose: Path, tmp_path: Path
) -> None:
    shutil.copytree(loose / "below", tmp_path / "copy")
    key = read_manifest(entry, "official", "test").ids[4]
    (path,) = (tmp_path / "copy").rglob(f"{key}_objects.png")
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    y, x = np.argwhere(pixels.any(axis=2))[0]
    pixels[y, x] = 0
    cv2.imwrite(str(path), pixels)
    changed = prepare(entry, source=tmp_path)
    hashes = ({row["id"]: row["sha256"] for row in table(p, "test")} for p in (built, changed))
    assert [a[0] for a, b in zip(*(h.items() for h in hashes), strict=True) if a != b] == [key]
    assert [s for s in SPLITS if built.digests[s] != changed.digests[s]] == ["test"]


def test_originals_load_exactly_on_request(entry: Dataset, archives: Path) -> None:
    rows = table(prepare(entry, config="raw", source=archives), "test")
    module = specimen()
    for row in rows:
        raw, _ = module.draw(module.Row(row["id"], "test"), 40)
        found = decoded(row["image16"])
        assert found.dtype == np.uint16 and found.max() > 255
        assert (found == raw).all()
        parts = {"image": "pixels", "image16": "pixels", "mask": "labelmap"}
        hashes = {k: part_sha256(row[k]["bytes"], rule, k) for k, rule in parts.items()}
        assert row["sha256"] == sample_sha256(hashes)
