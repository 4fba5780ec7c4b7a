"""Which rows a build will have, decided before an image is opened: manifests and lists against the files
there are.

A row of a pinned manifest without a file is *missing*, unless its id is pinned as *absent* (the publisher
never shipped it). An image that stands in no list is *unlisted*: it is counted, and never becomes train by
elimination.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from lensbench.data.layout import Image, Source, Table, Text, find_lists, find_table, index_images
from lensbench.errors import DatasetError
from lensbench.lists import UUID, parse_list
from lensbench.paths import home, write_text
from lensbench.registry import Config, Dataset, Split, Version
from lensbench.splits import Manifest, read_manifest

Record = Mapping[str, str]
"""One row of a metadata table, as text."""


@dataclass(frozen=True)
class Coverage:
    """How much of a split is there. `absent`: listed, but never shipped; `missing`: expected, no file."""

    expected: int | None
    found: int
    absent: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The rows of each split, sorted by id, and what is not among them.

    `tables`: split → columns `id, label, container, member` and what `annotate` added.
    `pins`: split → digest of a manifest that was read from the publisher's list, not from the registry.
    """

    tables: Mapping[str, pa.Table]
    coverage: Mapping[str, Coverage]
    unlisted: int
    strays: int
    unavailable: Mapping[str, str]
    pins: Mapping[str, str]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Metadata:
    """How a dataset reads its metadata table: the header that tells it, the id of a row, its typed columns.

    `parse` gives the columns of one row and the names of fields that could not be read.
    """

    header: tuple[str, ...]
    key: Callable[[Record], str | None]
    parse: Callable[[Record], tuple[Mapping[str, Any], Sequence[str]]]
    schema: pa.Schema


@dataclass(frozen=True)
class Request:
    """What is to be built. `own_lists`: the source is a specimen of its own making, and so are its splits."""

    dataset: Dataset
    version: Version
    config: Config
    partial: bool = False
    own_lists: bool = False

    @property
    def title(self) -> str:
        """The build in messages."""
        return f"{self.dataset.name} {self.version.name} ({self.config.name})"

    @property
    def order(self) -> tuple[str, ...]:
        """Label names by index."""
        return self.dataset.label_order(self.config.labels)

    @property
    def listed_order(self) -> tuple[str, ...]:
        """Label names by index in the publisher's lists."""
        return self.dataset.label_order(self.config.lists)

    @property
    def files(self) -> Mapping[str, str]:
        """File name by role, of the config's own sources or else the version's."""
        return {file.role: file.name for file in self.config.files or self.version.files}


@dataclass
class _Rows:
    """The manifests of all splits, as far as they are known."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)


def make_plan(request: Request, source: Source, metadata: Metadata, failed: str = "") -> Plan:
    """Match manifests, lists, images and metadata; `failed` says why a file with a list could not be fetched.

    Raises DatasetError for what does not fit or is not complete.
    """
    images, strays = index_images(source, request.order)
    if request.own_lists:
        _refuse_published(request, images)
    texts = source.texts()
    rows = _manifests(request, find_lists(texts, request.listed_order), failed)
    coverage = {name: _cover(request, name, m, images) for name, m in rows.manifests.items()}
    coverage |= {name: Coverage(request.config.splits[name].rows, 0) for name in rows.unavailable}
    _refuse_incomplete(request, coverage, rows, images)
    table = find_table(texts, metadata.header)
    records, report = _read_metadata(table, metadata)
    tables: dict[str, pa.Table] = {}
    for name, manifest in rows.manifests.items():
        listed = set(coverage[name].missing) | set(coverage[name].absent)
        kept = manifest.without(frozenset(listed))
        if kept.ids:
            tables[name] = _table(request, kept, images, records, metadata.schema)
        else:
            rows.unavailable[name] = f"none of its {len(manifest.ids):,} images is in the source"
    ids = [key for split in tables.values() for key in split["id"].to_pylist()]
    report |= {"without": sum(key not in records for key in ids)} if table else {}
    return Plan(
        tables=tables,
        coverage={name: coverage[name] for name in request.config.splits},
        unlisted=len(images.keys() - {key for m in rows.manifests.values() for key in m.ids}),
        strays=strays,
        unavailable=rows.unavailable,
        pins=rows.pins,
        metadata=report,
    )


# -- which ids are in which split ----------------------------------------------------------------------------


def _manifests(request: Request, lists: Mapping[str, Text], failed: str) -> _Rows:
    rows = _Rows()
    for name, entry in request.config.splits.items():
        text = lists.get(name)
        listed = None if text is None else _from_list(request, name, text)
        if entry.manifest is not None and not request.own_lists:
            pinned = read_manifest(request.dataset, request.config.name, name)
            if listed is not None and text is not None:
                _same_rows(pinned, listed, text.where)
            rows.manifests[name] = pinned
        elif listed is None:
            rows.unavailable[name] = _which_file(request, entry) + (f" ({failed})" if failed else "")
        else:
            _check_length(request, entry, listed)
            rows.manifests[name] = listed
            rows.pins[name] = listed.digest
    _disjoint(rows.manifests)
    if request.own_lists or request.config.synthetic:
        rows.pins = {}
    check_pins(request, rows.pins)
    return rows


def _from_list(request: Request, split: str, text: Text) -> Manifest:
    lines = parse_list(text.text, request.listed_order, text.where)
    return Manifest.of(split, [(line.id, line.label, None) for line in lines])


def _same_rows(pinned: Manifest, listed: Manifest, where: str) -> None:
    ours, theirs = (dict(zip(m.ids, m.labels, strict=True)) for m in (pinned, listed))
    if ours != theirs:
        first = min(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        raise DatasetError(
            f"{where} is not the {pinned.split} list that is pinned: id {first} is "
            f"{theirs.get(first, 'not listed')!r} there and {ours.get(first, 'not listed')!r} in the manifest"
        )


def _check_length(request: Request, entry: Split, listed: Manifest) -> None:
    if entry.rows is not None and len(listed.ids) != entry.rows and not request.own_lists:
        raise DatasetError(
            f"the {entry.name} list of {request.title} has {len(listed.ids):,} lines, the publisher's "
            f"{entry.rows:,}: fetch the file again"
        )


def _disjoint(manifests: Mapping[str, Manifest]) -> None:
    seen: dict[str, str] = {}
    for name, manifest in manifests.items():
        both = sorted(seen.keys() & set(manifest.ids))
        if both:
            raise DatasetError(f"id {both[0]} is listed in both {seen[both[0]]} and {name} ({len(both)} such ids)")
        seen.update(dict.fromkeys(manifest.ids, name))


def _which_file(request: Request, entry: Split) -> str:
    if entry.listed_in is None:
        return "its ids are not known"
    role, path = entry.listed_in
    name = request.files.get(role)
    inside = f"{path} of the publisher's {request.config.name} lists"
    return f"its ids stand in {inside}, in {name}, which is not in the source" if name else f"needs {inside}"


def pins_path() -> Path:
    """Where the lists that were seen for the first time on this machine are pinned."""
    return home() / "pins.json"


def _pin_key(request: Request, split: str) -> str:
    return f"{request.dataset.name}/{request.config.name}/{split}"


def _read_pins() -> dict[str, str]:
    try:
        pins = json.loads(pins_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DatasetError(f"{pins_path()}: not readable ({error}); delete it to pin afresh") from error
    if not isinstance(pins, dict):
        raise DatasetError(f"{pins_path()}: not a table of pins; delete it to pin afresh")
    return pins


def check_pins(request: Request, pins: Mapping[str, str]) -> None:
    """Refuse a list that differs from the one first seen on this machine."""
    known = _read_pins() if pins else {}
    for split, digest in pins.items():
        first = known.get(_pin_key(request, split), digest)
        if first != digest:
            raise DatasetError(
                f"the {split} list of {request.title} is not the one first seen here (manifest "
                f"{digest[:12]}…, pinned {str(first)[:12]}…): use that one, or remove its line from "
                f"{pins_path()}"
            )


def keep_pins(request: Request, pins: Mapping[str, str]) -> None:
    """Pin what was read from a list for the first time."""
    if pins:
        known = {_pin_key(request, split): digest for split, digest in pins.items()} | _read_pins()
        write_text(pins_path(), json.dumps(known, indent=1, sort_keys=True) + "\n")


# -- which of them have a file -------------------------------------------------------------------------------


def _cover(request: Request, name: str, manifest: Manifest, images: Mapping[str, Image]) -> Coverage:
    for key, label in zip(manifest.ids, manifest.labels, strict=True):
        if key in images and images[key].label != label:
            raise DatasetError(f"{images[key].name} lies in {images[key].label!r}, but {name} lists it as {label!r}")
    fileless = [key for key in manifest.ids if key not in images]
    known = request.config.splits[name].absent.get(request.version.name)
    never = frozenset(fileless) if request.own_lists else (known.ids if known else None) or frozenset()
    absent = tuple(key for key in manifest.ids if key in never)
    missing = tuple(key for key in fileless if key not in never)
    expected = len(manifest.ids) - len(absent)
    return Coverage(expected, expected - len(missing), absent, missing)


def may_miss(request: Request, split: str, coverage: Coverage) -> bool:
    """Whether so many missing files are expected: some were never shipped, nobody could say which."""
    known = request.config.splits[split].absent.get(request.version.name)
    return known is not None and known.ids is None and len(coverage.missing) <= known.about


def _refuse_incomplete(
    request: Request, coverage: Mapping[str, Coverage], rows: _Rows, images: Mapping[str, Image]
) -> None:
    if not any(cover.found for cover in coverage.values()):
        raise DatasetError(f"the source holds {len(images):,} images, none of them in a split of {request.title}")
    if request.partial:
        return
    short = {
        name: coverage[name]
        for name in rows.manifests
        if coverage[name].missing and not may_miss(request, name, coverage[name])
    }
    if short:
        parts = [f"{c.found:,} of {c.expected:,} {name} images" for name, c in short.items()]
        first = next(iter(short.values())).missing[0]
        raise DatasetError(
            f"the source of {request.title} is not complete: {', '.join(parts)} (id {first} has no file, "
            "for one); use what is there with --partial (partial=True)"
        )


# -- what is known of each -----------------------------------------------------------------------------------


def _refuse_published(request: Request, images: Mapping[str, Image]) -> None:
    """A specimen is synthetic: an archive that holds published images must not be scored as one."""
    for config in request.dataset.configs.values():
        for name, split in config.splits.items():
            if split.manifest is not None and not config.synthetic:
                real = [i for i in read_manifest(request.dataset, config.name, name).ids if i in images]
                if real:
                    raise DatasetError(
                        f"the source given for {request.title} holds published images (id {real[0]}, for "
                        f"one): leave the source out for the specimen, or use config {config.name!r}"
                    )


def table_key(record: Record, fields: Iterable[str]) -> str | None:
    """The id of a metadata row: the UUID in the first of `fields` that holds exactly one."""
    for name in fields:
        found = UUID.findall(record.get(name, "").replace("\\", "/").rpartition("/")[2])
        if len(found) == 1:
            return str(found[0]).upper()
    return None


Values = tuple[Any, ...]
"""The metadata columns of one image, in the order of their schema."""


def _read_metadata(table: Table | None, metadata: Metadata) -> tuple[dict[str, Values], dict[str, Any]]:
    """Typed columns by id, and a report. Rows that differ about one id are all dropped, and counted."""
    if table is None:
        return {}, {}
    found: dict[str, Values] = {}
    conflicts: set[str] = set()
    unreadable: dict[str, int] = {}
    rows = keyless = 0
    for row in table.rows:
        rows += 1
        key = metadata.key(row)
        if key is None:
            keyless += 1
            continue
        columns, unread = metadata.parse(row)
        values = tuple(columns[name] for name in metadata.schema.names)
        if found.setdefault(key, values) != values:
            conflicts.add(key)
        for name in unread:
            unreadable[name] = unreadable.get(name, 0) + 1
    for key in conflicts:
        del found[key]
    report = {
        "file": table.name,
        "rows": rows,
        "keyless": keyless,
        "conflicting": len(conflicts),
        "unreadable": unreadable,
    }
    return found, report


def _table(
    request: Request,
    manifest: Manifest,
    images: Mapping[str, Image],
    records: Mapping[str, Values],
    schema: pa.Schema,
) -> pa.Table:
    found = [images[key] for key in manifest.ids]
    columns: dict[str, Any] = {
        "id": pa.array(manifest.ids, pa.string()),
        "label": pa.array(manifest.labels, pa.string()),
        "container": pa.array([image.container for image in found], pa.int16()),
        "member": pa.array([image.name for image in found], pa.string()),
    }
    nothing = (None,) * len(schema.names)
    rows = [records.get(key, nothing) for key in manifest.ids]
    for number, column in enumerate(schema):
        columns[column.name] = pa.array([row[number] for row in rows], column.type)
    if any(manifest.groups):  # a pinned group outranks one that was read from this source
        columns["group"] = pa.array(manifest.groups, pa.string())
    return pa.table(columns)
