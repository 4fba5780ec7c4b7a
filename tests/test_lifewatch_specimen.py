"""The synthetic LifeWatch FlowCam: the publisher's layout and irregularities, and reproducible pixels."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
DATASET = ROOT / "registry" / "lifewatch_flowcam"
ARCHIVE = "Flowcam_images_training_split_metadata.zip"
OUTER = "Flowcam_images_training_split_metadata/"
UUID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}")


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("lifewatch_flowcam_specimen", DATASET / "specimen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


specimen = _load()


class Archive:
    """A 2.0.0 archive read back with nothing but the standard library."""

    def __init__(self, path: Path) -> None:
        self.outer = zipfile.ZipFile(path)
        self.inner = zipfile.ZipFile(io.BytesIO(self.outer.read(OUTER + "Flowcam_images_training.zip")))
        self.files = set(self.inner.namelist())

    def text(self, name: str) -> str:
        return self.outer.read(f"{OUTER}dataset_files_equal/{name}").decode("ascii")

    def lines(self, name: str) -> list[tuple[str, int]]:
        pairs = [line.rsplit(" ", 1) for line in self.text(name).splitlines()]
        return [(path, int(label)) for path, label in pairs]

    def listed(self) -> dict[str, int]:
        return {path: label for name in ("train", "val", "test") for path, label in self.lines(f"{name}.txt")}

    def image(self, path: str) -> Any:
        return cv2.imdecode(np.frombuffer(self.inner.read(path), np.uint8), cv2.IMREAD_UNCHANGED)

    def metadata(self) -> list[dict[str, str]]:
        data = self.outer.read(OUTER + "Flowcam_images_training_metadata.csv").decode()
        return list(csv.DictReader(io.StringIO(data)))


@pytest.fixture(scope="module")
def kept() -> Archive:
    return Archive(DATASET / "specimen" / ARCHIVE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 files, both archives' second file as well."""
    folder = tmp_path_factory.mktemp("small")
    specimen.make(folder, size=700, seed=3, model_record=True)
    return folder


def test_kept_archive_is_small_enough() -> None:
    assert (DATASET / "specimen" / ARCHIVE).stat().st_size <= 2_000_000


def test_kept_archive_shows_what_the_script_draws_today(kept: Archive) -> None:
    """Same ids, labels and splits; pixels equal after the codec, whose rounding may differ by version."""
    index = {row.name: row.decrop2025 for row in specimen.classes()}
    rows = list(specimen.plan())
    assert {f"{row.folder}/{row.file}" for row in rows if row.shipped} == kept.files
    for split, name in specimen.LIST_FILES.items():
        expected = {f"{row.folder}/{row.file}" for row in rows if row.split == split}
        assert {path for path, _ in kept.lines(name)} == expected
    for row in rows[::16]:
        if row.shipped:
            today = cv2.imdecode(np.frombuffer(specimen.encode(row, index), np.uint8), cv2.IMREAD_UNCHANGED)
            stored = kept.image(f"{row.folder}/{row.file}")
            assert today is not None
            assert stored.shape == today.shape
            assert np.abs(stored.astype(int) - today).max() <= 3


def test_lists_are_the_publishers_in_form(kept: Archive) -> None:
    classes = sorted(specimen.classes(), key=lambda row: row.equal400)
    assert kept.text("classes.txt") == "".join(f"{row.display}\n" for row in classes)
    for name in ("train.txt", "val.txt", "test.txt"):
        assert "\r" not in kept.text(name)
        assert kept.text(name).endswith("\n")
        labels = [label for _, label in kept.lines(name)]
        assert labels == sorted(labels)
        for path, label in kept.lines(name):
            folder, file = path.split("/")
            assert folder == classes[label].name
            assert UUID.fullmatch(file.removeprefix(f"ecotaxa_{folder}_").removesuffix(".jpg"))


def test_every_class_is_tested_and_the_tail_is_long(kept: Archive) -> None:
    counts = Counter(label for path, label in kept.lines("test.txt") if path in kept.files)
    assert set(counts) == set(range(95))
    assert min(counts.values()) >= 3
    assert max(counts.values()) > 5 * min(counts.values())
    names = [row.name for row in sorted(specimen.classes(), key=lambda row: row.equal400)]
    validated = {names[label] for _, label in kept.lines("val.txt")}
    assert set(names) - validated == set(specimen.NO_VALIDATION)
    assert len(specimen.NO_VALIDATION) == 7
    assert len({label for _, label in kept.lines("train.txt")}) == 95


def test_splits_are_disjoint_and_files_and_lines_differ_as_stated(kept: Archive) -> None:
    lines = [path for name in ("train.txt", "val.txt", "test.txt") for path, _ in kept.lines(name)]
    assert len(lines) == len(set(lines))
    for name, missing in (("train.txt", 3), ("val.txt", 0), ("test.txt", 2)):
        assert sum(path not in kept.files for path, _ in kept.lines(name)) == missing
    assert len(kept.files - set(lines)) == specimen.UNLISTED
    assert len(kept.files) == specimen.DEFAULT_SIZE


def test_modes_sizes_and_names_are_mixed(kept: Archive) -> None:
    folders = "".join({path.split("/")[0] for path in kept.files})
    assert set("+().") <= set(folders)
    images = [kept.image(path) for path in sorted(kept.files)[::8]]
    grey = sum(image.ndim == 2 for image in images) / len(images)
    assert 0.13 < grey < 0.27
    colour = [image for image in images if image.ndim == 3]
    assert all((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all() for image in colour)
    assert len({image.shape[:2] for image in images}) > 100
    assert sum(max(image.shape[:2]) > 2 * min(image.shape[:2]) for image in images) > 0
    thin = [path for path in kept.files if kept.image(path).shape[0] == 1]
    assert len(thin) == 2


def test_metadata_covers_every_file_and_no_sample_crosses_splits(kept: Archive) -> None:
    rows = kept.metadata()
    assert tuple(rows[0]) == specimen.METADATA_COLUMNS
    assert {row["image_path"] for row in rows} == kept.files
    by_display = {row.display: row for row in specimen.classes()}
    split = {path: name for name in ("train.txt", "val.txt", "test.txt") for path, _ in kept.lines(name)}
    seen: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        assert row["accepted_aphia_id"] == (by_display[row["accepted_label"]].aphia_id or row["accepted_label"])
        assert row["image_path"].endswith(f"_{row['original_reference_id']}.jpg")
        if row["station"]:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", row["sample_datetime"])
            seen.setdefault((row["station"], row["sample_datetime"]), set()).add(split.get(row["image_path"], ""))
    assert {station for station, _ in seen} == set(specimen.STATIONS)
    assert len(specimen.STATIONS) == 17
    assert all(len(splits) == 1 for splits in seen.values())
    assert 0 < sum(not row["station"] for row in rows) < 0.06 * len(rows)
    assert any(not row["accepted_aphia_id"].isdigit() for row in rows)


def test_pixels_are_decided_by_id_and_class_alone() -> None:
    """A digest over drawings of every outline and texture, pinned: integers give it on every machine."""
    digest = hashlib.sha256()
    for shape in range(0, 95):
        image = specimen.draw(specimen.uuid("pinned", shape), shape)
        assert image.dtype == np.uint8
        digest.update(repr(image.shape).encode() + image.tobytes())
    assert digest.hexdigest() == "96d9e92e95a9e132174de8d0bbbcfb43c266cd998d3d64c6d40c19c7f621b112"


def test_tables_agree_with_trigonometry() -> None:
    """The integer tables against floating point, which the drawing itself never touches."""
    turn = np.arange(1024) * 2 * np.pi / 1024
    assert np.abs(specimen._COS - 256 * np.cos(turn)).max() < 1.5
    axis = 2 * np.arange(512) - 512
    x, y = np.meshgrid(axis, axis)
    assert np.abs(specimen._RADIUS - np.hypot(x, y)).max() < 1
    error = np.abs(specimen._ANGLE - np.arctan2(y, x) * 512 / np.pi) % 1024
    assert np.minimum(error, 1024 - error)[x * x + y * y > 0].max() < 2


def test_same_size_and_seed_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    again = specimen.make(tmp_path, size=700, seed=3, model_record=True)
    assert [path.name for path in again] == [ARCHIVE, specimen.MODEL_RECORD]
    assert all(path.read_bytes() == (small / path.name).read_bytes() for path in again)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in again)
    (other,) = specimen.make(tmp_path, size=700, seed=4)
    assert not Archive(other).files & Archive(small / ARCHIVE).files


def test_model_record_holds_another_partition_in_its_own_order(small: Path) -> None:
    with tarfile.open(small / specimen.MODEL_RECORD) as archive:
        texts = {
            name: archive.extractfile(name).read().decode()  # type: ignore[union-attr]
            for name in archive.getnames()
        }
    assert set(texts) == {f"dataset_files/{n}.txt" for n in ("train", "val", "test", "classes", "aphia_ids")}
    names = texts["dataset_files/classes.txt"].splitlines()
    assert names == [row.name for row in specimen.classes()]
    assert texts["dataset_files/aphia_ids.txt"].splitlines()[:13][-2:] == ["148953", "Artefact"]
    here = Archive(small / ARCHIVE)
    lines = {n: texts[f"dataset_files/{n}.txt"].splitlines() for n in ("train", "val", "test")}
    there = {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for part in lines.values() for line in part}
    assert set(there) == set(here.listed())
    assert all(path.split("/")[0] == names[label] for path, label in there.items())
    test = {path for path, _ in here.lines("test.txt")}
    assert not {line.rsplit(" ", 1)[0] for line in lines["test"]} <= test


def test_rows_of_ones_own_make_an_archive_for_them(tmp_path: Path) -> None:
    """What a test of the real manifests needs: their ids in the publisher's format."""
    ids = [specimen.uuid("own", k) for k in range(5)]
    rows = [
        (ids[0], "Bubbles", "test"),
        (ids[1], "Egg+Cyst", "validation"),
        (ids[2], "Tripos", "train"),
        (ids[3], "Tripos", None),
        (ids[4], "Bubbles", "test"),
    ]
    model_rows = [(ids[1], "Egg+Cyst", "test"), (ids[3], "Tripos", "train")]
    first, second = specimen.make(tmp_path, rows=iter(rows), absent={ids[4]}, model_rows=model_rows, inner="stored")
    archive = Archive(first)
    assert archive.outer.getinfo(OUTER + "Flowcam_images_training.zip").compress_type == zipfile.ZIP_STORED
    assert archive.files == {f"{folder}/ecotaxa_{folder}_{key}.jpg" for key, folder, _ in rows[:4]}
    assert [label for _, label in archive.lines("test.txt")] == [16, 16]
    assert archive.lines("val.txt") == [(f"Egg+Cyst/ecotaxa_Egg+Cyst_{ids[1]}.jpg", 34)]
    with tarfile.open(second) as record:
        member = record.extractfile("dataset_files/test.txt")
        assert member is not None
        assert member.read().decode() == f"Egg+Cyst/ecotaxa_Egg+Cyst_{ids[1]}.jpg 38\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "3.0.0"}, "3.0.0"),
        ({"inner": "squashed"}, "squashed"),
        ({"size": 100, "test_size": 90, "validation_size": 6}, "cannot hold"),
        ({"rows": [("A", "Unicorn", "test")]}, "Unicorn"),
        ({"rows": [("A", "Bubbles", "val")]}, "val"),
        ({"rows": [("A", "Bubbles", "test"), ("B", "Unicorn", "test")], "layout": "1.0.0"}, "Unicorn"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        specimen.make(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_met_exactly() -> None:
    for size, test, validation in ((40_000, 33_718, 1_000), (700, None, None), (150, None, None)):
        rows = Counter(
            (row.split, row.shipped) for row in specimen.plan(size, 5, test_size=test, validation_size=validation)
        )
        assert rows["test", True] == (test or size * 7 // 10)
        assert rows["validation", True] == (validation or size // 10)
        assert sum(count for (_, shipped), count in rows.items() if shipped) == size
        assert (rows["train", False], rows["test", False]) == (3, 2)


def test_seven_zip_layout(tmp_path: Path) -> None:
    py7zr = pytest.importorskip("py7zr")
    for folder in ("a", "b"):
        (path,) = specimen.make(tmp_path / folder, size=150, seed=2, layout="1.0.0")
    assert path.name == "phytoplankton_images_and_datasplit.7z"
    assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    with py7zr.SevenZipFile(path) as archive:
        names = archive.getnames()
        archive.extract(tmp_path / "out", targets=["dataset_files/test.txt", "dataset_files/classes.txt"])
    images = [name for name in names if name.startswith("images_DS/")]
    assert len(images) == 150
    assert set(names) - set(images) == {f"dataset_files/{n}.txt" for n in ("classes", "train", "val", "test")}
    lines = (tmp_path / "out" / "dataset_files" / "test.txt").read_text().splitlines()
    assert sum(f"images_DS/{line.rsplit(' ', 1)[0]}" in images for line in lines) == 105


PEAK = """
import importlib.util, resource, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("s", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["s"] = module
spec.loader.exec_module(module)
module.make(Path(sys.argv[2]), size=int(sys.argv[3]), inner="stored")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """4,400 more images (5 MB as JPEG, 60 MB as pixels) may cost zipfile's directory entries alone."""

    def peak(size: int) -> int:
        command = [
            sys.executable,
            "-c",
            PEAK,
            str(DATASET / "specimen.py"),
            str(tmp_path / str(size)),
            str(size),
        ]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(5_000) - peak(600) < 10_000
