"""Prepared data as it lies on disk: columns by name, and whether it still is what was built.

Read with pyarrow alone: scoring what is prepared imports neither `datasets` nor Pillow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from lensbench.data.plan import Coverage
from lensbench.digest import sha256_rows
from lensbench.errors import DatasetError
from lensbench.registry import Content, Dataset
from lensbench.splits import HASHED, Manifest

PUBLISHED = {"image": "bytes"}
"""The parts of a dataset whose images are stored and hashed as published: one hash serves for both."""


@dataclass(frozen=True)
class Prepared:
    """A dataset on disk, one config of one version.

    `arrow`: split → Arrow stream files in row order (rows sorted by id). `unlisted`: samples that stand in no
    split. `digests`: split → sha256 over its sorted rows (id, split, label, group, sha256 of the
    sample). `unavailable`: split → why it is not here. `source`: file names, sizes and digests, or
    ``{"folder": "unpacked"}``; no path of this machine. `metadata`: how the publisher's metadata table was
    read.
    """

    dataset: Dataset
    version: str
    config: str
    folder: Path
    arrow: Mapping[str, tuple[Path, ...]]
    coverage: Mapping[str, Coverage]
    unlisted: int
    digests: Mapping[str, str]
    unavailable: Mapping[str, str]
    source: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False
    strays: int = 0
    """Images that lie in no class folder or have no id."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Image columns, and how each enters a sample's hash."""
    stored: Mapping[str, str] = field(default_factory=dict)
    """Split → sha256 over (id, hashes of the stored bytes), where images are not stored as published."""
    own_lists: bool = False
    """A specimen other than the pinned one: its splits are those of its own lists."""


def ids_and_labels(prepared: Prepared, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and label names of a split with labels, both of length n, in row order (sorted by id)."""
    require(prepared, [split])
    order = prepared.dataset.label_order(prepared.dataset.config(prepared.config).labels)
    tables = [columns_of(path, ["id", "label"]) for path in prepared.arrow[split]]
    ids = [key for table in tables for key in table["id"].to_pylist()]
    return tuple(ids), tuple(order[index] for table in tables for index in table["label"].to_pylist())


def own_manifest(prepared: Prepared, split: str, cluster: str) -> Manifest:
    """The manifest of a split as it was built, with the cluster's column: for a specimen of one's own making."""
    require(prepared, [split])
    order = prepared.dataset.label_order(prepared.dataset.config(prepared.config).labels)
    rows = [(key, label, group) for key, _, label, group, _ in content_rows(prepared.arrow[split], split, order)]
    if cluster in (HASHED, "group"):
        return Manifest.of(split, rows)
    values = [value for path in prepared.arrow[split] for value in columns_of(path, [cluster])[cluster].to_pylist()]
    return Manifest.of(split, rows, {cluster: values})


def id_column(prepared: Prepared, split: str) -> pa.Array:
    """The ids of a split in row order: strings, length n."""
    require(prepared, [split])
    parts = [chunk for path in prepared.arrow[split] for chunk in columns_of(path, ["id"])["id"].chunks]
    return pa.concat_arrays(parts)


def member_name(prepared: Prepared, split: str, row: int) -> str:
    """The name in its archive of the image in row `row` of a split."""
    for path in prepared.arrow[split]:
        images = columns_of(path, ["image"])["image"]
        if row < len(images):
            return str(images[row]["path"])
        row -= len(images)
    raise IndexError(row)


def require(prepared: Prepared, splits: Sequence[str]) -> None:
    """Raise DatasetError for a split that is not available, saying why."""
    for split in splits:
        if split in prepared.unavailable:
            raise DatasetError(f"{split} of {prepared.dataset.name} is not available: {prepared.unavailable[split]}")
        if split not in prepared.arrow:
            raise DatasetError(f"{prepared.dataset.name} has no split {split!r}; it has {', '.join(prepared.arrow)}")


def columns_of(path: Path, names: Sequence[str]) -> pa.Table:
    """Columns of an Arrow stream file, memory-mapped: pages of other columns are not touched."""
    with pa.memory_map(str(path)) as mapped:
        return pa.ipc.open_stream(mapped).read_all().select(names)


def column_names(path: Path) -> list[str]:
    """The columns of an Arrow stream file."""
    with pa.memory_map(str(path)) as mapped:
        return list(pa.ipc.open_stream(mapped).schema.names)


# -- digests ---------------------------------------------------------------------------------------------------


def content_rows(files: Sequence[Path], split: str, order: Sequence[str]) -> Iterator[list[Any]]:
    """(id, split, label, group, sha256 of the sample) of every row: what a content digest is over."""
    for batch in _batches(files):
        yield from _content(batch, split, order, batch.column("sha256").to_pylist())


def stored_rows(files: Sequence[Path], parts: Mapping[str, str]) -> Iterator[list[str]]:
    """(id, sha256 of the stored bytes of each part) of every row: whether the cache is as it was built."""
    for batch in _batches(files):
        hashes = [_hashes(batch, part) for part in sorted(parts)]
        yield from map(list, zip(batch.column("id").to_pylist(), *hashes, strict=True))


def check_content(prepared: Prepared, split: str) -> None:
    """Hash what is about to be scored: raises DatasetError where the cache is not what was built.

    Half a second for 33,718 images: a record's `digests.data` is then of the images that were read.
    """
    files = prepared.arrow[split]
    order = prepared.dataset.label_order(prepared.dataset.config(prepared.config).labels)
    if dict(prepared.parts) == PUBLISHED:
        rows = (row for batch in _batches(files) for row in _content(batch, split, order, _hashes(batch, "image")))
        same = sha256_rows(rows) == prepared.digests[split]
    else:
        same = sha256_rows(content_rows(files, split, order)) == prepared.digests[split]
        same = same and sha256_rows(stored_rows(files, prepared.parts)) == prepared.stored[split]
    if not same:
        raise DatasetError(
            f"the prepared {split} split of {prepared.dataset.name} was changed on disk after it was built; "
            f"delete {prepared.folder} and run again"
        )


def pinned_content(prepared: Prepared, split: str) -> Content | None:
    """The pinned content of a split, where it can be held against what was built: the split is whole.

    None, too, for a specimen of one's own, which nothing pins. A digest over part of the rows tells nothing.
    """
    pin = prepared.dataset.config(prepared.config).splits[split].content.get(prepared.version)
    whole = split in prepared.arrow and not prepared.coverage[split].missing and not prepared.own_lists
    return pin if whole and pin is not None and pin.sha256 else None


def other_content(prepared: Prepared, split: str) -> str:
    """In a line, that a whole split holds other data than the registry pins; empty where it does not, or nobody knows.

    A digest is over decoded pixels and objects (published bytes for JPEG), so the publisher's archive agrees with a
    pin from a re-encoded copy of it.
    """
    pin, built = pinned_content(prepared, split), prepared.digests.get(split, "")
    if pin is None or pin.sha256 == built:
        return ""
    name, copy = prepared.dataset.name, ", though of a re-encoded copy: the same images have the same digest"
    return (
        f"{split} of {name} {prepared.version} ({prepared.config}) is other data than the registry pins: content "
        f"{built[:12]}…, pinned {str(pin.sha256)[:12]}… (provenance {pin.provenance}"
        f"{copy if pin.provenance == 'copy' else ''}); take the published archive, or see what differs with "
        f"`bench verify {name} --deep --config {prepared.config} --version {prepared.version} --source DIR`"
    )


def _content(batch: pa.RecordBatch, split: str, order: Sequence[str], hashes: Sequence[str]) -> Iterator[list[Any]]:
    ids, groups = batch.column("id").to_pylist(), batch.column("group").to_pylist()
    labelled = "label" in batch.schema.names
    labels = [order[i] for i in batch.column("label").to_pylist()] if labelled else [None] * len(ids)
    for key, label, group, digest in zip(ids, labels, groups, hashes, strict=True):
        yield [key, split, label, group, digest]


def _hashes(batch: pa.RecordBatch, part: str) -> list[str]:
    images = batch.column(part).field("bytes")
    return [hashlib.sha256(memoryview(value.as_buffer() or b"")).hexdigest() for value in images]


def _batches(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
            yield from reader
