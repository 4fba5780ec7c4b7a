"""Split manifests: which id is in which split, with its label and group. Facts in git, locked by sha256.

A manifest is one Parquet file per split with the columns ``id, split, label, group`` (strings; label is null
where a sample has no class of its own, group where none is known), then further string columns if the dataset
has them: a cluster that is not the group (``plate``), and ``sha256``, the hash of each sample's content. Rows are
sorted by id. `dvc repro` would take a changed one without a word, so every reader here refuses a file whose
sha256 is not the one in `dataset.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lensbench.digest import UNKNOWN, sha256_file, sha256_rows
from lensbench.errors import DatasetError
from lensbench.paths import atomic
from lensbench.registry import Config, Dataset, Split
from lensbench.sources import ARCHIVE, NO_RECORD

KEYS = ("id", "split", "label", "group")
HASHED = "hash200"
"""The cluster of benchmarks without a natural one: ids hashed into 200 groups."""


@dataclass(frozen=True)
class Manifest:
    """The rows of one split, sorted by id. `labels` are names or None, `groups` and further columns may hold None."""

    split: str
    ids: tuple[str, ...]
    labels: tuple[str | None, ...]
    groups: tuple[str | None, ...]
    columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(len(column) != len(self.ids) for column in (self.labels, self.groups, *self.columns.values())):
            raise DatasetError(f"manifest of {self.split}: columns of different length")
        if len(set(self.ids)) != len(self.ids):
            twice = next(a for a, b in zip(sorted(self.ids), sorted(self.ids)[1:], strict=False) if a == b)
            raise DatasetError(f"manifest of {self.split}: id {twice!r} occurs twice")
        if list(self.ids) != sorted(self.ids):
            raise DatasetError(f"manifest of {self.split}: rows are not sorted by id")

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of (id, split, label) of every row: what a benchmark without a cluster column pins."""
        return sha256_rows([i, self.split, label] for i, label in zip(self.ids, self.labels, strict=True))

    def digest_for(self, cluster: str) -> str:
        """What a benchmark pins: hex sha256 of (id, split, label) and, where it is a column, the cluster."""
        if cluster == HASHED:
            return self.digest
        rows = zip(self.ids, self.labels, self.column(cluster), strict=True)
        return sha256_rows([i, self.split, label, value] for i, label, value in rows)

    def column(self, name: str) -> tuple[str | None, ...]:
        """``group`` or a further column; raises DatasetError naming those there are."""
        if name == "group":
            return self.groups
        if name not in self.columns:
            known = ", ".join(("group", *self.columns))
            raise DatasetError(f"manifest of {self.split}: no column {name!r}; it has {known}")
        return self.columns[name]

    def clusters(self, name: str) -> tuple[str, ...]:
        """A column of which every value is known, for intervals; raises DatasetError where one is null.

        Unknown is a value, but no group: rows whose group nobody knows need be neither one group nor many.
        """
        values = self.column(name)
        unknown = [key for key, value in zip(self.ids, values, strict=True) if value is None]
        if unknown:
            raise DatasetError(
                f"{name!r} is unknown for {len(unknown):,} rows of {self.split} ({unknown[0]}, for one), so no "
                f'interval can leave its groups out: name another cluster in the benchmark ("{HASHED}" serves any rows)'
            )
        return tuple(value for value in values if value is not None)

    @classmethod
    def of(
        cls,
        split: str,
        rows: Iterable[tuple[str, str | None, str | None]],
        columns: Mapping[str, Sequence[str | None]] | None = None,
    ) -> Manifest:
        """A manifest from (id, label, group) rows in any order, and further columns in the same order."""
        rows = list(rows)
        order = sorted(range(len(rows)), key=lambda i: rows[i][0])
        ids, labels, groups = zip(*(rows[i] for i in order), strict=True) if rows else ((), (), ())
        further = {name: tuple(values[i] for i in order) for name, values in (columns or {}).items()}
        return cls(split, ids, labels, groups, further)

    def without(self, ids: frozenset[str]) -> Manifest:
        """The same split without `ids`: the rows whose file the publisher never shipped."""
        if not ids:
            return self
        keep = [i for i, key in enumerate(self.ids) if key not in ids]

        def kept(values: Sequence[str | None]) -> tuple[str | None, ...]:
            return tuple(values[i] for i in keep)

        further = {name: kept(values) for name, values in self.columns.items()}
        return Manifest(self.split, tuple(self.ids[i] for i in keep), kept(self.labels), kept(self.groups), further)


def write_manifest(manifest: Manifest, path: Path) -> str:
    """Write `manifest` as Parquet and return its sha256, the lock for dataset.toml."""
    columns = {
        "id": manifest.ids,
        "split": [manifest.split] * len(manifest.ids),
        "label": manifest.labels,
        "group": manifest.groups,
        **manifest.columns,
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    with atomic(path) as part:
        pq.write_table(
            table, part, compression="zstd", use_dictionary=[name for name in columns if name not in ("id", "sha256")]
        )
    return sha256_file(path)


def read_manifest(dataset: Dataset, config: str | None, split: str) -> Manifest:
    """The pinned manifest of one split; raises DatasetError where it is unknown, absent or not the pinned one."""
    path = _pinned(dataset, config, split)
    manifest = read_manifest_file(path)
    if manifest.split != split:
        raise DatasetError(f"{path}: holds split {manifest.split!r}, not {split!r}")
    unknown = set(manifest.labels) - {label.name for label in dataset.classes} - {None}
    if unknown:
        raise DatasetError(f"{path}: label {min(map(str, unknown))!r} is not in classes.csv")
    return manifest


def read_ids(dataset: Dataset, config: str, split: str) -> pa.ChunkedArray:
    """The ids of a pinned manifest; raises DatasetError where it is unknown, absent or not the pinned one."""
    return _table(_pinned(dataset, config, split))["id"]


def _pinned(dataset: Dataset, config: str | None, split: str) -> Path:
    """The file of a pinned manifest, which it is."""
    entry = get_split(dataset, config, split)
    if entry.manifest is None or entry.sha256 is None:
        raise DatasetError(
            f"the {split} ids of {dataset.name} ({dataset.config(config).name}) are not pinned yet: "
            + awaited(dataset, dataset.config(config), entry)
        )
    if not entry.manifest.is_file():
        raise DatasetError(f"{entry.manifest} is missing: restore it with `git checkout` or reinstall lensbench")
    found = sha256_file(entry.manifest)
    if found != entry.sha256:
        raise DatasetError(
            f"{entry.manifest} is not the manifest that {dataset.name} pins (sha256 {found[:12]}…, expected "
            f"{entry.sha256[:12]}…): restore it with `git checkout -- {entry.manifest}`"
        )
    return entry.manifest


def check_manifests(dataset: Dataset, config: Config) -> None:
    """Raise DatasetError where a manifest that a config pins is absent, or not the pinned one any more."""
    for split in config.splits.values():
        if split.manifest is not None:
            _pinned(dataset, config.name, split.name)


def awaited(dataset: Dataset, config: Config, split: Split) -> str:
    """Where the ids of a split that is not pinned yet will come from: the file that is missing."""
    files = {file.role: file for file in config.files or dataset.version(None).files}
    if split.listed_in:
        role, path = split.listed_in
        name = f" ({files[role].name})" if role in files else ""
        return f"they are listed in {path!r} of the {role!r} source{name}, and are pinned at the first build from it"
    record = dataset.version(None).record
    names = [file.name for file in files.values() if file.name != UNKNOWN and file.role == ARCHIVE]
    source = ", ".join(names) or "the files"
    source += f" of Zenodo record {record}" if record != NO_RECORD else ""
    how = f"drawn by the rule {config.rule.kind!r}" if config.rule else "given"
    return f"they are {how} at the first complete build from {source}"


def get_split(dataset: Dataset, config: str | None, split: str) -> Split:
    """The registry's entry of one split; raises DatasetError naming those that exist."""
    chosen = dataset.config(config)
    if split not in chosen.splits:
        raise DatasetError(f"{dataset.name} ({chosen.name}) has no split {split!r}; it has {', '.join(chosen.splits)}")
    return chosen.splits[split]


def read_manifest_file(path: Path) -> Manifest:
    """A manifest as it is on disk, without its lock (use `read_manifest` wherever a number depends on it)."""
    table = _table(path)
    columns = {name: tuple(table[name].to_pylist()) for name in table.column_names if name != "split"}
    ids, labels, groups = (columns.pop(name) for name in ("id", "label", "group"))
    return Manifest(table["split"][0].as_py(), ids, labels, groups, columns)


def _table(path: Path) -> pa.Table:
    """The checked columns of a manifest."""
    try:
        table = pq.ParquetFile(path).read(use_threads=False)  # pq.read_table would import pandas (a second)
        table.validate(full=True)  # that texts are UTF-8, for one
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet manifest: {error}") from error
    names = table.schema.names
    if tuple(names[: len(KEYS)]) != KEYS or len(set(names)) != len(names):
        raise DatasetError(f"{path}: columns are {names}, not {list(KEYS)} and further ones")
    for name in names:
        if not pa.types.is_string(table.schema.field(name).type):
            raise DatasetError(f"{path}: column {name!r} is {table.schema.field(name).type}, not string")
    splits = table["split"].unique().to_pylist()
    if len(splits) != 1 or table["id"].null_count:
        raise DatasetError(f"{path}: one manifest holds one split and no null id, this one {splits}")
    return table


def label_indices(labels: Sequence[str | None], order: Sequence[str]) -> list[int]:
    """Index of every label name in `order`; raises DatasetError for a name that is not in it."""
    index: dict[str | None, int] = {name: i for i, name in enumerate(order)}
    try:
        return [index[name] for name in labels]
    except KeyError as error:
        raise DatasetError(f"label {error} is not one of the {len(order)} classes") from error
