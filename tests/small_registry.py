"""A registry copy with the real classes, code and archive layout, and a few dozen images: the real path,
small."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from lensbench.digest import sha256_file
from lensbench.registry import Dataset, get_dataset
from lensbench.splits import Manifest, write_manifest

REAL = Path(__file__).resolve().parent.parent / "registry" / "lifewatch_flowcam"
NAME = "lifewatch_flowcam"
V1 = "phytoplankton_images_and_datasplit.7z"
V2 = "Flowcam_images_training_split_metadata.zip"
MODEL = "Phytoplankton_EfficientNetV2B0.tar.gz"
FOLDERS = ("Chaetoceros", "Egg+Cyst", "Crustaceae-part", "Artefact", "Tripos", "Mollusca")
Row = tuple[str, str, str]


def specimen() -> ModuleType:
    """The dataset's own `specimen.py`, which writes archives as the publisher does."""
    name = "tests_lifewatch_specimen"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, REAL / "specimen.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        _remember_pictures(module)
    return sys.modules[name]


def _remember_pictures(module: ModuleType) -> None:
    """Draw each picture once for all tests: the same id and class always give the same bytes."""
    draw, drawn = module.encode, dict[tuple[str, str], bytes]()

    def encode(row: Any, index: dict[str, int]) -> bytes:
        key = (row.id, row.folder)
        if key not in drawn:
            drawn[key] = draw(row, index)
        return drawn[key]

    vars(module)["encode"] = encode


def key(number: int) -> str:
    """An upper-case version 4 UUID, spread over the alphabet so that id order is not list order."""
    return str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128), version=4)).upper()


def paper_rows(count: int = 40) -> list[Row]:
    """(id, folder, split) of `decrop2025`: 6 of 10 train, 2 validation, 2 test."""
    splits = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2
    return [(key(n), FOLDERS[n % len(FOLDERS)], splits[n % 10]) for n in range(1, count + 1)]


def archive_rows(count: int = 40) -> list[Row]:
    """(id, folder, split) of `equal400`: the same images, another partition."""
    splits = ("test", "validation", "train", "train", "train")
    return [(key(n), FOLDERS[n % len(FOLDERS)], splits[n % 5]) for n in range(1, count + 1)]


@dataclass
class SmallRegistry:
    """A registry folder with one dataset, and how to write the archives it describes."""

    root: Path
    paper: Sequence[Row] = field(default_factory=paper_rows)
    archive: Sequence[Row] = field(default_factory=archive_rows)
    absent: Mapping[str, str] = field(default_factory=dict)
    """Split of equal400 → the TOML value of its `absent` in version 2.0.0."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File name → pinned sha256."""
    train_rows: int | None = None

    def write(self) -> Dataset:
        """Write the folder anew and read it."""
        folder = self.root / NAME
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("classes.csv", "builder.py"):
            shutil.copy(REAL / name, folder / name)
        (folder / "dataset.toml").write_text(self._toml(folder), encoding="utf-8")
        return self.dataset

    @property
    def dataset(self) -> Dataset:
        """As it stands on disk now."""
        import lensbench.registry.find

        lensbench.registry.find._read.cache_clear()
        return get_dataset(NAME, self.root)

    def archives(self, folder: Path, *, model: bool = True, inner: str = "deflated", v1: bool = False) -> Path:
        """Write the publisher's archive (and the model record) of these rows into `folder`."""
        specimen().make(
            folder,
            rows=self.archive,
            inner=inner,
            layout="1.0.0" if v1 else "2.0.0",
            model_rows=self.paper if model else None,
        )
        return folder

    def _toml(self, folder: Path) -> str:
        lines = [
            "schema = 1",
            f'name = "{NAME}"',
            'title = "LifeWatch FlowCam plankton"',
            'licence = "CC-BY-4.0"',
            'homepage = "https://example.org"',
            'task = "classification"',
            'group = ["station", "sample_datetime"]',
            'default_config = "decrop2025"',
        ]
        for version, record, name in (("1.0.0", "10554845", V1), ("2.0.0", "16679297", V2)):
            lines += [
                f'[versions."{version}"]',
                f'record = "{record}"',
                'doi = "10.0/0"',
                'citation = "None"',
            ]
            lines += ["images = {}", 'superseded_by = "2.0.0"' if version == "1.0.0" else ""]
            for role, source, file in (("archive", record, name), ("model", "15269453", MODEL)):
                lines += [f'[[versions."{version}".files]]', f'role = "{role}"', f'record = "{source}"']
                lines += [f'name = "{file}"', 'size = "unknown"', "size_about = 582000000", 'md5 = "unknown"']
                lines += [f'sha256 = "{self.sha256.get(file, "unknown")}"']
        for config, role, rows in (
            ("decrop2025", "model", self.paper),
            ("equal400", "archive", self.archive),
        ):
            lines += [f"[configs.{config}]", f'title = "{config}"', f'labels = "{config}"']
            lines += self._split(config, "train", role, self.train_rows)
            for split in ("validation", "test"):
                chosen = [(i, label, None) for i, label, where in rows if where == split]
                path = folder / "splits" / f"{config}-{split}.parquet"
                lock = write_manifest(Manifest.of(split, chosen), path)
                lines += self._split(config, split, role, len(chosen), path, lock)
        lines += self._specimen(folder)
        return "\n".join(lines) + "\n"

    def _split(
        self,
        config: str,
        split: str,
        role: str | None,
        rows: int | None,
        path: Path | None = None,
        lock: str = "unknown",
    ) -> list[str]:
        listed = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}[split]
        lines = [f"[configs.{config}.splits.{split}]", f"rows = {rows}" if rows else 'rows = "unknown"']
        lines += [
            f'manifest = "splits/{path.name}"' if path else 'manifest = "unknown"',
            f'sha256 = "{lock}"',
        ]
        if role is not None:
            lines.append(f'listed_in = {{ role = "{role}", path = "{listed}" }}')
        if config == "equal400" and split in self.absent:
            lines.append(f'absent."2.0.0" = {self.absent[split]}')
        return lines

    def _specimen(self, folder: Path) -> list[str]:
        rows = [(key(1000 + n), folder_, split) for n, (_, folder_, split) in enumerate(self.archive[:20])]
        specimen().make(folder / "specimen", rows=rows)
        pin = sha256_file(folder / "specimen" / V2)
        lines = ["[configs.specimen]", 'title = "synthetic"', 'labels = "equal400"', "synthetic = true"]
        lines += ["[[configs.specimen.files]]", 'role = "archive"', 'record = "none"', f'name = "{V2}"']
        lines += ['size = "unknown"', 'md5 = "unknown"', f'sha256 = "{pin}"']
        for split in ("train", "validation", "test"):
            chosen = [(i, label, None) for i, label, where in rows if where == split]
            path = folder / "splits" / f"specimen-{split}.parquet"
            lock = write_manifest(Manifest.of(split, chosen), path)
            lines += self._split("specimen", split, None, len(chosen), path, lock)
        return lines
