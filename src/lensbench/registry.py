"""Find, read and validate dataset folders: `registry/<name>/dataset.toml` and `classes.csv`, as frozen values.

Nothing here opens an image or an archive, and nothing heavier than the standard library is imported.
"""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lensbench.digest import UNKNOWN
from lensbench.errors import DatasetError, nearest
from lensbench.paths import shipped
from lensbench.sources import RemoteFile

SPLITS = ("train", "validation", "test")
SPECIMEN = "specimen"
NAME = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*\Z")


@dataclass(frozen=True)
class Absent:
    """Rows that a published list names and whose file the publisher never shipped in one version.

    `ids` is None until the version was really built once; `about` is then how many are expected, and `reason`
    says how that is known.
    """

    ids: frozenset[str] | None
    about: int
    reason: str


@dataclass(frozen=True)
class Split:
    """One fixed split of one config: its pinned manifest, or what is known of one that waits for its first build."""

    name: str
    rows: int | None
    manifest: Path | None
    """The Parquet manifest, or None while it is unknown."""
    sha256: str | None
    """The lock: hex sha256 of the manifest file."""
    listed_in: tuple[str, str] | None
    """(role of the source file, path inside it) of the publisher's own list."""
    absent: Mapping[str, Absent] = field(default_factory=dict)
    """By dataset version."""


@dataclass(frozen=True)
class Config:
    """A split scheme (or the specimen): which split every id is in, and the order of the label names."""

    name: str
    title: str
    labels: str
    """The column of classes.csv that holds the index order."""
    lists: str
    """The index order that the publisher's lists of this scheme are in, where it is another one."""
    synthetic: bool
    splits: Mapping[str, Split]
    files: tuple[RemoteFile, ...]
    """Sources of its own, instead of the version's (a specimen's)."""


@dataclass(frozen=True)
class Version:
    """One published version: its source record and files."""

    name: str
    record: str
    doi: str
    citation: str
    files: tuple[RemoteFile, ...]
    images: Mapping[str, int | None]
    """Numbers of images: `advertised` by the publisher, `counted` by someone; None where unknown."""
    blocked: str | None
    superseded_by: str | None


@dataclass(frozen=True)
class Label:
    """One class: folder name (the key), display name, and what is known of it."""

    name: str
    display: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """A dataset folder, read and validated."""

    name: str
    folder: Path
    title: str
    licence: str
    homepage: str
    task: str
    group: tuple[str, ...]
    default_config: str
    versions: Mapping[str, Version]
    configs: Mapping[str, Config]
    classes: tuple[Label, ...]

    @property
    def latest(self) -> str:
        """The newest version that is neither blocked nor superseded."""
        return next(name for name in reversed(list(self.versions)) if not self._retired(name))

    def _retired(self, name: str) -> bool:
        version = self.versions[name]
        return bool(version.blocked or version.superseded_by)

    def version(self, name: str | None) -> Version:
        """The version called `name` (None: the newest); raises for one that is unknown or blocked."""
        found = self.versions.get(name or self.latest)
        if found is None:
            raise DatasetError(f"{self.name} has no version {name!r}{nearest(str(name), self.versions)}")
        if found.blocked:
            raise DatasetError(f"{self.name} {found.name} is blocked: {found.blocked}; use {self.latest}")
        return found

    def config(self, name: str | None) -> Config:
        """The config called `name` (None: the default one)."""
        found = self.configs.get(name or self.default_config)
        if found is None:
            raise DatasetError(f"{self.name} has no config {name!r}{nearest(str(name), self.configs)}")
        return found

    def label_order(self, order: str) -> tuple[str, ...]:
        """Label names in a published index order: a column of classes.csv, or ``alphabetical``."""
        if order == "alphabetical":
            return tuple(sorted(label.name for label in self.classes))
        if order not in self.label_orders:
            raise DatasetError(f"{self.name} has no label order {order!r}{nearest(order, self.label_orders)}")
        return tuple(c.name for c in sorted(self.classes, key=lambda c: int(c.attributes[order])))

    @property
    def label_orders(self) -> tuple[str, ...]:
        """The index orders that `--labels` accepts by name."""
        return (*dict.fromkeys(config.labels for config in self.configs.values()), "alphabetical")

    def attribute(self, name: str) -> dict[str, str] | None:
        """One column of classes.csv by label name, or None where the dataset has no such column."""
        if not self.classes or name not in self.classes[0].attributes:
            return None
        return {label.name: label.attributes[name] for label in self.classes}


def registry_root(root: Path | str | None = None) -> Path:
    """The registry folder in use: `root`, else ``LENSBENCH_REGISTRY``, else the one that came with lensbench."""
    chosen = root or os.environ.get("LENSBENCH_REGISTRY")
    return Path(chosen) if chosen else shipped("registry")


def dataset_names(root: Path | str | None = None) -> list[str]:
    """Names of all dataset folders, sorted."""
    folder = registry_root(root)
    return sorted(entry.parent.name for entry in folder.glob("*/dataset.toml"))


def get_dataset(name: str, root: Path | str | None = None) -> Dataset:
    """Read and validate `registry/<name>/`; raises DatasetError with the nearest name when there is none."""
    names = dataset_names(root)
    if name not in names:
        raise DatasetError(f"no dataset {name!r} in {registry_root(root)}{nearest(name, names)}")
    folder = registry_root(root) / name
    stats = [path.stat() for path in (folder / "dataset.toml", folder / "classes.csv") if path.is_file()]
    return _read(folder, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))


@cache
def _read(folder: Path, _stamp: tuple[tuple[int, int], ...]) -> Dataset:
    """Read once per state of the files: a folder may change under a long-lived process."""
    where = folder / "dataset.toml"
    try:
        data = tomllib.loads(where.read_text(encoding="utf-8"))
        return _dataset(folder, data)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid TOML: {error}") from error
    except OSError as error:
        raise DatasetError(f"{error.filename}: {error.strerror}") from error
    except KeyError as error:
        raise DatasetError(f"{where}: the entry {error} is missing") from error
    except (TypeError, ValueError, AttributeError, csv.Error) as error:
        raise DatasetError(f"{where}: {error}") from error


def _dataset(folder: Path, data: Mapping[str, Any]) -> Dataset:
    if data["schema"] != 1:
        raise ValueError(f"schema {data['schema']!r} is not one this version reads (1)")
    if data["name"] != folder.name or not NAME.match(folder.name):
        raise ValueError(f"name {data['name']!r} must be the folder's ({folder.name!r}), lower case")
    dataset = Dataset(
        name=data["name"],
        folder=folder,
        title=data["title"],
        licence=data["licence"],
        homepage=data["homepage"],
        task=data["task"],
        group=tuple(data["group"]),
        default_config=data["default_config"],
        versions={name: _version(name, entry) for name, entry in data["versions"].items()},
        configs={name: _config(folder, name, entry) for name, entry in data["configs"].items()},
        classes=_classes(folder / "classes.csv"),
    )
    if dataset.default_config not in dataset.configs:
        raise ValueError(f"default_config {dataset.default_config!r} is not one of the configs")
    for column in {name for config in dataset.configs.values() for name in (config.labels, config.lists)}:
        order = sorted(int(label.attributes[column]) for label in dataset.classes)
        if order != list(range(len(dataset.classes))):
            raise ValueError(f"classes.csv: column {column!r} is not an index order 0…{len(order) - 1}")
    return dataset


def _version(name: str, entry: Mapping[str, Any]) -> Version:
    return Version(
        name=name,
        record=entry["record"],
        doi=entry["doi"],
        citation=entry["citation"],
        files=tuple(remote_file(f) for f in entry["files"]),
        images={k: known(v) for k, v in entry["images"].items()},
        blocked=entry.get("blocked"),
        superseded_by=entry.get("superseded_by"),
    )


def _config(folder: Path, name: str, entry: Mapping[str, Any]) -> Config:
    return Config(
        name=name,
        title=entry["title"],
        labels=entry["labels"],
        lists=entry.get("lists", entry["labels"]),
        synthetic=entry.get("synthetic", False),
        splits={split: _split(folder, split, entry["splits"][split]) for split in SPLITS if split in entry["splits"]},
        files=tuple(remote_file(f) for f in entry.get("files", [])),
    )


def _split(folder: Path, name: str, entry: Mapping[str, Any]) -> Split:
    manifest = known(entry["manifest"])
    listed = entry.get("listed_in")
    return Split(
        name=name,
        rows=known(entry["rows"]),
        manifest=folder / manifest if manifest else None,
        sha256=known(entry["sha256"]),
        listed_in=(listed["role"], listed["path"]) if listed else None,
        absent={
            version: Absent(
                ids=None if known(a["ids"]) is None else frozenset(a["ids"]),
                about=a["about"],
                reason=a["reason"],
            )
            for version, a in entry.get("absent", {}).items()
        },
    )


def remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    """One `files` entry of dataset.toml."""
    return RemoteFile(
        record=entry["record"],
        name=entry["name"],
        role=entry["role"],
        size=known(entry["size"]),
        size_about=entry.get("size_about"),
        md5=known(entry["md5"]),
        sha256=known(entry["sha256"]),
        mirrors=tuple(entry.get("mirrors", ())),
    )


def known(value: Any) -> Any:
    """`value`, or None where the registry says ``unknown``."""
    return None if value == UNKNOWN else value


def _classes(path: Path) -> tuple[Label, ...]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names):
        raise ValueError("classes.csv: a label name occurs twice")
    return tuple(
        Label(row["name"], row["display"], {k: v for k, v in row.items() if k not in ("name", "display")})
        for row in rows
    )
