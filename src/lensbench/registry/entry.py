"""Parse a dataset folder's `dataset.toml` and `classes.csv`; a key that nobody reads is an error, not a silence."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lensbench.digest import UNKNOWN
from lensbench.errors import nearest
from lensbench.paths import read_regular
from lensbench.registry import fields
from lensbench.registry.fields import known
from lensbench.registry.values import (
    ALPHABETICAL,
    SPECIMEN,
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
OPTIONAL = {
    "dataset": "folders leaks",
    "version": "blocked superseded_by schema",
    "file": "size_about mirrors",
    "config": "lists synthetic files task rule samples",
    "split": "listed_in absent content",
}
"""What may be left out of it."""
LARGEST = 4_000_000
"""Bytes of dataset.toml, and of classes.csv."""


def parse_dataset(folder: Path, data: Mapping[str, Any]) -> Dataset:
    """The entry in `folder`; raises ValueError or TypeError for what is missing or wrong."""
    if data.get("schema", 1) != 1:
        raise ValueError(f"schema {data['schema']!r} is not one this version reads (1)")
    _only(data, "dataset", "")
    name = fields.name(data["name"], "name")
    if name != folder.name or name != name.lower() or "." in name:
        raise ValueError(f"name {name!r} must be the folder's ({folder.name!r}), lower case and without a '.'")
    task = _one_of(data["task"], TASKS, "task")
    configs = fields.table(data["configs"], "configs")
    dataset = Dataset(
        name=name,
        folder=folder,
        title=fields.text(data["title"], "title"),
        licence=fields.text(data["licence"], "licence"),
        homepage=fields.address(data["homepage"], "homepage"),
        task=task,
        group=fields.texts(data["group"], "group"),
        default_config=fields.name(data["default_config"], "default_config"),
        versions={v: _version(v, entry) for v, entry in fields.table(data["versions"], "versions").items()},
        configs={config: _config(folder, config, entry, task) for config, entry in configs.items()},
        classes=_classes(folder / "classes.csv"),
        folders=tuple(fields.file_name(f, "each of folders") for f in fields.array(data.get("folders", []), "folders")),
        leaks=tuple(_leak(entry, configs) for entry in fields.array(data.get("leaks", []), "leaks")),
    )
    if dataset.default_config not in configs or dataset.configs[dataset.default_config].synthetic:
        raise ValueError(f"default_config {dataset.default_config!r} is not one of the configs of real data")
    if not dataset.versions or not dataset.group:
        raise ValueError("a dataset has a version, and something that may not cross splits (group)")
    for version in dataset.versions.values():
        _successor(version, dataset.versions)
    for leak, times in Counter((leak.config, leak.group) for leak in dataset.leaks).items():
        if times > 1:
            raise ValueError(f"the leak of group {leak[1] or 'unknown'} in {leak[0]} is listed {times} times")
    for column in sorted({order for config in dataset.configs.values() for order in (config.labels, config.lists)}):
        _check_order(dataset, column)
    return dataset


def _version(name: str, entry: Any) -> Version:
    where = f"version {fields.version_name(name, 'version')}"
    _only(fields.table(entry, where), "version", where)
    blocked, later = entry.get("blocked"), entry.get("superseded_by")
    files = tuple(remote_file(file, where) for file in fields.array(entry["files"], f"{where}: files"))
    for (_, file), times in Counter((file.record, file.name) for file in files).items():
        if times > 1 and file != UNKNOWN:
            raise ValueError(f"{where}: the file {file!r} is listed {times} times")
    return Version(
        name=name,
        record=fields.name(entry["record"], f"{where}: record"),
        doi=fields.text(entry["doi"], f"{where}: doi"),
        citation=fields.text(entry["citation"], f"{where}: citation"),
        files=files,
        images={
            fields.name(k, f"{where}: number of images"): fields.maybe_whole(v, f"{where}: images {k}")
            for k, v in fields.table(entry["images"], f"{where}: images").items()
        },
        blocked=None if blocked is None else fields.text(blocked, f"{where}: blocked"),
        superseded_by=None if later is None else fields.text(later, f"{where}: superseded_by"),
        schema=fields.whole(entry.get("schema", 1), f"{where}: schema", least=1),
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


def _config(folder: Path, name: str, entry: Any, task: str) -> Config:
    where = f"config {fields.name(name, 'config')}"
    _only(fields.table(entry, where), "config", where)
    synthetic = fields.flag(entry.get("synthetic", False), f"{where}: synthetic")
    if (name == SPECIMEN or name.endswith(f"-{SPECIMEN}")) is not synthetic:
        raise ValueError(f"{where}: synthetic = true goes with the name {SPECIMEN!r} or '…-{SPECIMEN}', and only so")
    files = fields.array(entry.get("files", []), f"{where}: files")
    if files and not synthetic:
        raise ValueError(f"{where}: files of its own are a specimen's; those of real data are their version's")
    splits = fields.table(entry["splits"], f"{where}: splits")
    for split in splits:
        _one_of(split, SPLITS, f"{where}: split")
    samples = entry.get("samples")
    return Config(
        name=name,
        title=fields.text(entry["title"], f"{where}: title"),
        labels=fields.text(entry["labels"], f"{where}: labels"),
        lists=fields.text(entry.get("lists", entry["labels"]), f"{where}: lists"),
        synthetic=synthetic,
        splits={split: _split(folder, split, splits[split], where) for split in SPLITS if split in splits},
        files=tuple(remote_file(file, where) for file in files),
        task=_one_of(entry.get("task", task), TASKS, f"task of {where}"),
        rule=_rule(entry["rule"], f"{where}: rule") if "rule" in entry else None,
        samples=None if samples is None else fields.whole(samples, f"{where}: samples", 1, fields.MOST_SAMPLES),
    )


def _rule(entry: Any, where: str) -> Rule:
    """Options are texts, numbers or lists of whole numbers; which there are, and within what bounds, `rules` says."""
    options = dict(fields.table(entry, where))
    kind = fields.text(options.pop("kind", None), f"{where}: kind")
    for option, value in options.items():
        what = f"{where}: {option}"
        if isinstance(value, list):
            options[option] = [fields.whole(item, f"each of {what}") for item in value]
        elif isinstance(value, float) and math.isfinite(value):
            pass
        else:
            options[option] = fields.text(value, what) if isinstance(value, str) else fields.whole(value, what)
    return Rule(kind, options)


def _split(folder: Path, name: str, entry: Any, config: str) -> Split:
    where = f"{config}: split {name}"
    _only(fields.table(entry, where), "split", where)
    manifest, sha256 = known(entry["manifest"]), fields.digest(entry["sha256"], f"{where}: sha256", 64)
    if (manifest is None) is not (sha256 is None):
        raise ValueError(f"{where}: manifest and sha256 are both pinned, or both 'unknown'")
    by_version = {key: fields.table(entry.get(key, {}), f"{where}: {key}") for key in ("absent", "content")}
    return Split(
        name=name,
        rows=fields.maybe_whole(entry["rows"], f"{where}: rows"),
        manifest=None if manifest is None else _inside(folder, fields.text(manifest, f"{where}: manifest")),
        sha256=sha256,
        listed_in=_listed_in(entry, where),
        absent={version: _absent(a, f"{where}: absent") for version, a in by_version["absent"].items()},
        content={version: _content(c, f"{where}: content") for version, c in by_version["content"].items()},
    )


def _listed_in(split: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    if "listed_in" not in split:
        return None
    what = f"{where}: listed_in"
    entry = fields.table(split["listed_in"], what)
    _only(entry, "listed_in", what)
    return fields.text(entry["role"], f"{what}: role"), fields.text(entry["path"], f"{what}: path")


def _absent(entry: Any, where: str) -> Absent:
    _only(fields.table(entry, where), "absent", where)
    ids = known(entry["ids"])
    return Absent(
        None if ids is None else frozenset(fields.texts(ids, f"{where}: ids")),
        fields.whole(entry["about"], f"{where}: about"),
        fields.text(entry["reason"], f"{where}: reason"),
    )


def _content(entry: Any, where: str) -> Content:
    _only(fields.table(entry, where), "content", where)
    sha256 = fields.digest(entry["sha256"], f"{where}: sha256", 64)
    return Content(sha256, _one_of(entry["provenance"], PROVENANCE, "provenance"))


def _leak(entry: Any, configs: Mapping[str, Any]) -> Leak:
    _only(fields.table(entry, "each of leaks"), "leak", "leaks")
    config = _one_of(entry["config"], tuple(configs), "config of a leak")
    where = f"a leak of {config}"
    splits = tuple(
        _one_of(split, SPLITS, f"{where}: split") for split in fields.array(entry["splits"], f"{where}: splits")
    )
    if len(set(splits)) < 2 or len(set(splits)) < len(splits):
        raise ValueError(f"{where} is between two splits or more, not {list(splits)}")
    group = fields.text(entry["group"], f"{where}: group")
    return Leak(config, known(group), splits, fields.text(entry["reason"], f"{where}: reason"))


def remote_file(entry: Any, where: str) -> RemoteFile:
    """One `files` entry of dataset.toml."""
    named = fields.table(entry, f"{where}: each of files").get("name")
    _only(entry, "file", f"{where}: file {named!r:.60}" if named else f"{where}: a file")
    mirrors = tuple(
        fields.address(url, f"{where}: mirror") for url in fields.array(entry.get("mirrors", []), f"{where}: mirrors")
    )
    about = entry.get("size_about")
    return RemoteFile(
        record=fields.name(entry["record"], f"{where}: record of a file"),
        name=fields.file_name(entry["name"], f"{where}: name of a file"),
        role=fields.text(entry["role"], f"{where}: role of a file"),
        size=fields.maybe_whole(entry["size"], f"{where}: size of a file"),
        size_about=None if about is None else fields.whole(about, f"{where}: size_about of a file"),
        md5=fields.digest(entry["md5"], f"{where}: md5 of a file", 32),
        sha256=fields.digest(entry["sha256"], f"{where}: sha256 of a file", 64),
        mirrors=mirrors,
    )


def _only(entry: Mapping[str, Any], table: str, where: str) -> None:
    """Raise ValueError for an entry that means nothing, and for one that is missing."""
    keys, at = KEYS[table].split(), f"{where}: " if where else ""
    for key in entry:
        if key not in keys:
            raise ValueError(f"{at}the entry {key!r} means nothing here{nearest(key, keys)}")
    for key in keys:
        if key not in entry and key not in OPTIONAL.get(table, "").split():
            raise ValueError(f"{at}the entry {key!r} is missing")


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


def read_text(path: Path) -> str:
    """A text file of an entry; ValueError for one that is too large or not UTF-8, OSError for one that is no file."""
    data = read_regular(path, LARGEST)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name}: more than {LARGEST:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 ({error.reason} at byte {error.start})") from error


def _classes(path: Path) -> tuple[Label, ...]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restkey="", strict=True)
    columns = reader.fieldnames or []
    if not {"name", "display"} <= set(columns) or len(set(columns)) < len(columns) or "" in columns:
        raise ValueError(f"classes.csv: the columns are {columns}, not 'name', 'display' and others, each once")
    labels: dict[str, Label] = {}
    for row in reader:
        name, display = row.pop("name"), row.pop("display")
        if "" in row or None in row.values():
            raise ValueError(
                f"classes.csv: class {name!r} has {'more' if '' in row else 'fewer'} cells than there are columns"
            )
        if name in labels:
            raise ValueError(f"classes.csv: the label name {name!r} occurs twice")
        labels[name] = Label(name, display, dict(row))
    return tuple(labels.values())


def _check_order(dataset: Dataset, column: str) -> None:
    """A column of classes.csv numbers classes from 0, each number once."""
    if dataset.attribute(column) is None:
        raise ValueError(f"classes.csv: there is no column {column!r}, which a config names as its index order")
    cells = [label.attributes[column] for label in dataset.classes_in(column)]
    if not cells or sorted(cells) != sorted(map(str, range(len(cells)))):
        raise ValueError(f"classes.csv: column {column!r} is not an index order 0…{len(cells) - 1}")
    order = sorted(dataset.classes_in(column), key=lambda label: int(label.attributes[column]))
    if column == ALPHABETICAL and tuple(label.name for label in order) != dataset.label_order(ALPHABETICAL):
        raise ValueError(f"classes.csv: column {column!r} is not the alphabetical order of all names")
