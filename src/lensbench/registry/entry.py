"""Parse a dataset folder's `dataset.toml` and `classes.csv`; a key that nobody reads is an error, not a silence."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lensbench.digest import UNKNOWN
from lensbench.errors import nearest
from lensbench.registry.values import (
    NAME,
    SPLITS,
    Absent,
    Config,
    Content,
    Dataset,
    Label,
    Leak,
    Rule,
    Split,
    Version,
)
from lensbench.sources import RemoteFile

TASKS = ("classification", "segmentation")
PROVENANCE = ("official", "copy", "specimen")

KEYS = {
    "dataset": "schema name title licence homepage task group default_config versions configs folders leaks",
    "version": "record doi citation files images blocked superseded_by schema",
    "file": "role record name size size_about md5 sha256 mirrors",
    "config": "title labels lists synthetic splits files task rule samples",
    "split": "rows manifest sha256 listed_in absent content",
    "listed_in": "role path",
    "absent": "ids about reason",
    "content": "sha256 provenance",
    "leak": "config group splits reason",
}
"""What each table may hold."""


def parse_dataset(folder: Path, data: Mapping[str, Any]) -> Dataset:
    """The entry in `folder`; raises KeyError for what is missing, ValueError or TypeError for what is wrong."""
    if data["schema"] != 1:
        raise ValueError(f"schema {data['schema']!r} is not one this version reads (1)")
    if data["name"] != folder.name or not NAME.match(folder.name):
        raise ValueError(f"name {data['name']!r} must be the folder's ({folder.name!r}), lower case")
    _only(data, "dataset", "dataset.toml")
    task = _one_of(data["task"], TASKS, "task")
    dataset = Dataset(
        name=data["name"],
        folder=folder,
        title=data["title"],
        licence=data["licence"],
        homepage=data["homepage"],
        task=task,
        group=tuple(data["group"]),
        default_config=data["default_config"],
        versions={name: _version(name, entry) for name, entry in data["versions"].items()},
        configs={name: _config(folder, name, entry, task) for name, entry in data["configs"].items()},
        classes=_classes(folder / "classes.csv"),
        folders=tuple(data.get("folders", ())),
        leaks=tuple(_leak(entry, data["configs"]) for entry in data.get("leaks", ())),
    )
    if dataset.default_config not in dataset.configs:
        raise ValueError(f"default_config {dataset.default_config!r} is not one of the configs")
    for version in dataset.versions.values():
        _successor(version, dataset.versions)
    for column in {name for config in dataset.configs.values() for name in (config.labels, config.lists)}:
        order = sorted(int(label.attributes[column]) for label in dataset.classes_in(column))
        if not order or order != list(range(len(order))):
            raise ValueError(f"classes.csv: column {column!r} is not an index order 0…{len(order) - 1}")
    return dataset


def _version(name: str, entry: Mapping[str, Any]) -> Version:
    _only(entry, "version", f"version {name}")
    return Version(
        name=name,
        record=entry["record"],
        doi=entry["doi"],
        citation=entry["citation"],
        files=tuple(remote_file(f) for f in entry["files"]),
        images={k: known(v) for k, v in entry["images"].items()},
        blocked=entry.get("blocked"),
        superseded_by=entry.get("superseded_by"),
        schema=entry.get("schema", 1),
    )


def _successor(version: Version, versions: Mapping[str, Version]) -> None:
    """A version is superseded by one that there is, and in the end by one that is not."""
    passed, later = [version.name], version.superseded_by
    while later is not None:
        if later not in versions or later in passed:
            wrong = "leads back to itself" if later in versions else "is not a version"
            raise ValueError(f"version {passed[-1]}: superseded_by {later!r} {wrong}{nearest(later, versions)}")
        passed.append(later)
        later = versions[later].superseded_by


def _config(folder: Path, name: str, entry: Mapping[str, Any], task: str) -> Config:
    _only(entry, "config", f"config {name}")
    rule = dict(entry["rule"]) if "rule" in entry else None
    return Config(
        name=name,
        title=entry["title"],
        labels=entry["labels"],
        lists=entry.get("lists", entry["labels"]),
        synthetic=entry.get("synthetic", False),
        splits={split: _split(folder, split, entry["splits"][split]) for split in SPLITS if split in entry["splits"]},
        files=tuple(remote_file(f) for f in entry.get("files", [])),
        task=_one_of(entry.get("task", task), TASKS, f"task of config {name}"),
        rule=None if rule is None else Rule(rule.pop("kind"), rule),
        samples=entry.get("samples"),
    )


def _split(folder: Path, name: str, entry: Mapping[str, Any]) -> Split:
    _only(entry, "split", f"split {name}")
    manifest = known(entry["manifest"])
    listed = entry.get("listed_in")
    if listed:
        _only(listed, "listed_in", f"listed_in of {name}")
    return Split(
        name=name,
        rows=known(entry["rows"]),
        manifest=_inside(folder, manifest) if manifest else None,
        sha256=known(entry["sha256"]),
        listed_in=(listed["role"], listed["path"]) if listed else None,
        absent={version: _absent(a) for version, a in entry.get("absent", {}).items()},
        content={version: _content(c) for version, c in entry.get("content", {}).items()},
    )


def _absent(entry: Mapping[str, Any]) -> Absent:
    _only(entry, "absent", "absent")
    ids = known(entry["ids"])
    return Absent(None if ids is None else frozenset(ids), entry["about"], entry["reason"])


def _content(entry: Mapping[str, Any]) -> Content:
    _only(entry, "content", "content")
    return Content(known(entry["sha256"]), _one_of(entry["provenance"], PROVENANCE, "provenance"))


def _leak(entry: Mapping[str, Any], configs: Mapping[str, Any]) -> Leak:
    _only(entry, "leak", "leaks")
    splits = tuple(_one_of(split, SPLITS, "split of a leak") for split in entry["splits"])
    if not entry["reason"].strip():
        raise ValueError(f"the leak of {entry['config']} has no reason")
    config = _one_of(entry["config"], tuple(configs), "config of a leak")
    return Leak(config, known(entry["group"]), splits, entry["reason"])


def remote_file(entry: Mapping[str, Any]) -> RemoteFile:
    """One `files` entry of dataset.toml."""
    _only(entry, "file", "files")
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


def _only(entry: Mapping[str, Any], table: str, where: str) -> None:
    keys = KEYS[table].split()
    for key in entry:
        if key not in keys:
            raise ValueError(f"{where}: the entry {key!r} means nothing here{nearest(key, keys)}")


def _one_of(value: Any, allowed: tuple[str, ...], what: str) -> Any:
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is not one of {', '.join(allowed)}")
    return value


def _inside(folder: Path, name: str) -> Path:
    """A path of the entry's own: a folder from a stranger names no file elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} leaves the dataset's folder")
    return folder / path


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
