"""Split manifests: which id is in which split, with its label and group. Facts in git, locked by sha256.

A manifest is one Parquet file per split with the columns ``id, split, label, group`` (strings; group may be
null), rows sorted by id. `dvc repro` would take a changed one without a word, so every reader here refuses a
file whose sha256 is not the one in `dataset.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lensbench.digest import sha256_file, sha256_rows
from lensbench.errors import DatasetError
from lensbench.paths import atomic
from lensbench.registry import Dataset, Split

SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "split", "label", "group")])


@dataclass(frozen=True)
class Manifest:
    """The rows of one split, sorted by id. `labels` are names, `groups` may hold None."""

    split: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.labels) == len(self.groups):
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

    @cached_property
    def digest_with_groups(self) -> str:
        """Hex sha256 of (id, split, label, group): what a benchmark pins whose cluster is the group column."""
        rows = zip(self.ids, self.labels, self.groups, strict=True)
        return sha256_rows([i, self.split, label, group] for i, label, group in rows)

    @classmethod
    def of(cls, split: str, rows: Iterable[tuple[str, str, str | None]]) -> Manifest:
        """A manifest from (id, label, group) rows in any order."""
        ids, labels, groups = zip(*sorted(rows, key=lambda r: r[0]), strict=True) if rows else ((), (), ())
        return cls(split, ids, labels, groups)

    def without(self, ids: frozenset[str]) -> Manifest:
        """The same split without `ids`: the rows whose file the publisher never shipped."""
        rows = zip(self.ids, self.labels, self.groups, strict=True)
        return Manifest.of(self.split, [row for row in rows if row[0] not in ids]) if ids else self


def write_manifest(manifest: Manifest, path: Path) -> str:
    """Write `manifest` as Parquet and return its sha256, the lock for dataset.toml."""
    table = pa.table(
        {
            "id": list(manifest.ids),
            "split": [manifest.split] * len(manifest.ids),
            "label": list(manifest.labels),
            "group": list(manifest.groups),
        },
        schema=SCHEMA,
    )
    with atomic(path) as part:
        pq.write_table(table, part, compression="zstd", use_dictionary=["split", "label", "group"])
    return sha256_file(path)


def read_manifest(dataset: Dataset, config: str | None, split: str) -> Manifest:
    """The pinned manifest of one split; raises DatasetError where it is unknown, absent or not the pinned one."""
    entry = get_split(dataset, config, split)
    if entry.manifest is None or entry.sha256 is None:
        where = (
            f"; it is listed in {entry.listed_in[1]!r} of the {entry.listed_in[0]!r} source" if entry.listed_in else ""
        )
        raise DatasetError(
            f"the {split} ids of {dataset.name} ({dataset.config(config).name}) are not pinned yet{where}, "
            "and are pinned at the first build from it"
        )
    if not entry.manifest.is_file():
        raise DatasetError(f"{entry.manifest} is missing: restore it with `git checkout` or reinstall lensbench")
    found = sha256_file(entry.manifest)
    if found != entry.sha256:
        raise DatasetError(
            f"{entry.manifest} is not the manifest that {dataset.name} pins (sha256 {found[:12]}…, expected "
            f"{entry.sha256[:12]}…): restore it with `git checkout -- {entry.manifest}`"
        )
    manifest = read_manifest_file(entry.manifest)
    if manifest.split != split:
        raise DatasetError(f"{entry.manifest}: holds split {manifest.split!r}, not {split!r}")
    unknown = set(manifest.labels) - {label.name for label in dataset.classes}
    if unknown:
        raise DatasetError(f"{entry.manifest}: label {min(unknown)!r} is not in classes.csv")
    return manifest


def get_split(dataset: Dataset, config: str | None, split: str) -> Split:
    """The registry's entry of one split; raises DatasetError naming those that exist."""
    chosen = dataset.config(config)
    if split not in chosen.splits:
        raise DatasetError(f"{dataset.name} ({chosen.name}) has no split {split!r}; it has {', '.join(chosen.splits)}")
    return chosen.splits[split]


def read_manifest_file(path: Path) -> Manifest:
    """A manifest as it is on disk, without its lock (use `read_manifest` wherever a number depends on it)."""
    try:
        table = pq.ParquetFile(path).read()  # pq.read_table would import pandas (a second)
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path}: not a readable Parquet manifest: {error}") from error
    if table.schema.names != SCHEMA.names:
        raise DatasetError(f"{path}: columns are {table.schema.names}, not {SCHEMA.names}")
    splits = table["split"].unique().to_pylist()
    if len(splits) != 1:
        raise DatasetError(f"{path}: one manifest holds one split, this one {splits}")
    return Manifest(
        splits[0],
        tuple(table["id"].to_pylist()),
        tuple(table["label"].to_pylist()),
        tuple(table["group"].to_pylist()),
    )


def label_indices(labels: Sequence[str], order: Sequence[str]) -> list[int]:
    """Index of every label name in `order`; raises DatasetError for a name that is not in it."""
    index = {name: i for i, name in enumerate(order)}
    try:
        return [index[name] for name in labels]
    except KeyError as error:
        raise DatasetError(f"label {error} is not one of the {len(order)} classes") from error
