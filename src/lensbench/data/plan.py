"""Which rows a build will have, decided before an image is opened: manifests, lists and rules against the samples
there are.

A row of a pinned manifest without a file is *missing*, unless its id is pinned as *absent* (the publisher
never shipped it). A sample that stands in no split is *unlisted*: it is counted, and never becomes train by
elimination.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lensbench.data.index import LISTED, REQUIRED, Index, Listed
from lensbench.data.keys import BLOCK, places, repeated
from lensbench.data.pins import check_pins
from lensbench.data.request import Request
from lensbench.data.spool import spooled
from lensbench.digest import sha256_rows
from lensbench.errors import DatasetError
from lensbench.registry import Config, Split
from lensbench.splits import awaited, read_ids, read_manifest

ROWS = pa.schema([*LISTED, ("group", pa.string())])
"""A manifest as a table."""


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

    `tables`: split → the index's columns, but for its `split`. `pins`: split → digest of a manifest that was read
    from the publisher's list or drawn by a rule, not taken from the registry. `manifests`: `ROWS` of all that are
    known, with or without a file, sorted by id.
    """

    tables: Mapping[str, pa.Table]
    coverage: Mapping[str, Coverage]
    unlisted: int
    strays: int
    unavailable: Mapping[str, str]
    pins: Mapping[str, str]
    metadata: Mapping[str, Any]
    manifests: Mapping[str, pa.Table] = field(default_factory=dict)


@dataclass
class _Rows:
    """The manifests of all splits, as far as they are known."""

    manifests: dict[str, pa.Table] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)


def make_plan(request: Request, index: Index, failed: str = "") -> Plan:
    """Match manifests, lists, rules and samples; `failed` says why a file with a list could not be fetched.

    Raises DatasetError for what does not fit or is not complete.
    """
    index = replace(index, rows=_as_text(index.rows))
    if request.own_lists:
        _refuse_published(request, index)
    if request.config.rule is not None:
        index = index.without_splits()
    rows = _manifests(request, index, failed)
    found = {name: _places(name, m, index) for name, m in rows.manifests.items()}
    coverage = {name: _cover(request, name, m, found[name]) for name, m in rows.manifests.items()}
    coverage |= {name: Coverage(request.config.splits[name].rows, 0) for name in rows.unavailable}
    _refuse_incomplete(request, coverage, rows, index)
    tables: dict[str, pa.Table] = {}
    for name, manifest in rows.manifests.items():
        table = _table(manifest, index, found[name], frozenset(coverage[name].absent))
        if table.num_rows:
            tables[name] = table
        else:
            rows.unavailable[name] = f"none of its {manifest.num_rows:,} samples is in the source"
    return Plan(
        tables=tables,
        coverage={name: coverage[name] for name in request.config.splits},
        unlisted=index.rows.num_rows - sum(len(at) - at.null_count for at in found.values()),
        strays=index.strays,
        unavailable=rows.unavailable,
        pins=rows.pins,
        metadata=index.report,
        manifests=rows.manifests,
    )


def _as_text(rows: pa.Table) -> pa.Table:
    """The columns that every index has as strings: a builder may encode them, or know no group and give nulls."""
    for name in REQUIRED:
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()))
    return rows


# -- which ids are in which split ----------------------------------------------------------------------------


def _manifests(request: Request, index: Index, failed: str) -> _Rows:
    """A pinned manifest, else the config's rule if it has one, else the publisher's list, or folder."""
    rows = _Rows()
    drawn = _drawn(request, index)
    for name, entry in request.config.splits.items():
        listed = index.lists.get(name)
        if entry.manifest is not None and not request.own_lists:
            rows.manifests[name] = _pinned(request, request.config, name)
            if listed is not None:
                _same_rows(name, rows.manifests[name], listed)
            continue
        found = _listed(listed) if listed else _placed(name, index) or drawn.get(name)
        if found is None:
            rows.unavailable[name] = _why(request, entry, index) + (f" ({failed})" if failed else "")
        else:
            _check_length(request, entry, found)
            rows.manifests[name] = found
            if not (request.own_lists or request.config.synthetic):
                rows.pins[name] = _digest(name, found)
    _disjoint(rows.manifests)
    check_pins(request, rows.pins)
    return rows


def _pinned(request: Request, config: Config, split: str) -> pa.Table:
    manifest = read_manifest(request.dataset, config.name, split)
    return pa.table([manifest.ids, manifest.labels, manifest.groups], schema=ROWS)


def _listed(listed: Listed) -> pa.Table:
    return listed.rows.append_column(ROWS.field("group"), pa.nulls(listed.rows.num_rows, pa.string()))


def _placed(split: str, index: Index) -> pa.Table | None:
    """The samples that the publisher keeps in a folder of this split."""
    if "split" not in index.rows.column_names:
        return None
    found = index.rows.filter(pc.equal(index.rows["split"], split))
    return _sorted(found) if found.num_rows else None


def _drawn(request: Request, index: Index) -> dict[str, pa.Table]:
    """What the config's rule makes of a complete source."""
    if request.config.rule is None or not _complete(request, index):
        return {}
    from lensbench.rules import assign

    try:
        found = assign(request.config.rule, index.rows)
    except ValueError as error:
        raise DatasetError(f"{request.title}: its rule cannot be run: {error}") from error
    return {split: _sorted(index.rows.take(rows)) for split, rows in found.items() if rows}


def _complete(request: Request, index: Index) -> bool:
    """Whether a rule may run: over part of the samples it would draw another split under the same name."""
    return request.own_lists or (not request.partial and request.config.samples == index.rows.num_rows)


def _sorted(rows: pa.Table) -> pa.Table:
    return spooled(ROWS, [rows.select(ROWS.names).sort_by("id")])


def _digest(split: str, rows: pa.Table) -> str:
    """`Manifest.digest` of the same rows."""
    blocks = (block.to_pydict() for block in rows.to_batches(max_chunksize=BLOCK))
    return sha256_rows(
        [key, split, label] for block in blocks for key, label in zip(block["id"], block["label"], strict=True)
    )


def _same_rows(split: str, pinned: pa.Table, listed: Listed) -> None:
    if pinned.select(LISTED.names).equals(listed.rows):
        return
    ours, theirs = (
        dict(zip(*rows.select(LISTED.names).to_pydict().values(), strict=True)) for rows in (pinned, listed.rows)
    )
    first = min(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    raise DatasetError(
        f"{listed.where} is not the {split} list that is pinned: id {first} is "
        f"{theirs.get(first, 'not listed')!r} there and {ours.get(first, 'not listed')!r} in the manifest"
    )


def _check_length(request: Request, entry: Split, listed: pa.Table) -> None:
    if entry.rows is not None and listed.num_rows != entry.rows and not (request.own_lists or request.partial):
        raise DatasetError(
            f"the {entry.name} list of {request.title} has {listed.num_rows:,} lines, the publisher's "
            f"{entry.rows:,}: fetch the file again"
        )


def _disjoint(manifests: Mapping[str, pa.Table]) -> None:
    columns = {name: rows["id"] for name, rows in manifests.items()}
    if repeated(_chained([*columns.values()])) is None:
        return
    for (first, one), (second, other) in combinations(columns.items(), 2):
        both = set(one.to_pylist()).intersection(other.to_pylist())
        if both:
            raise DatasetError(f"id {min(both)} is listed in both {first} and {second} ({len(both)} such ids)")


def _why(request: Request, entry: Split, index: Index) -> str:
    """Why a split has no ids."""
    if request.config.rule is not None and request.config.samples is None and not request.config.synthetic:
        return (
            f"a rule is run on the whole source alone: state `samples = N` in [configs.{request.config.name}] "
            f"(this source holds {index.rows.num_rows:,})"
        )
    if request.config.rule is not None and request.config.samples is not None:
        return (
            f"its ids are drawn from all {request.config.samples:,} samples, and the source has "
            f"{index.rows.num_rows:,}{' (partial)' if request.partial else ''}"
        )
    return f"its ids are not pinned: {awaited(request.dataset, request.config, entry)}; the source does not hold it"


# -- which of them have a file -------------------------------------------------------------------------------


def _places(name: str, manifest: pa.Table, index: Index) -> pa.Array:
    """The row of the index that each row of the manifest is, null where there is none; labels and folders checked."""
    at = places(manifest["id"], index.rows["id"])
    wanted = [("label", "as", manifest["label"]), ("split", "in", pa.repeat(name, len(at)))]
    for column, how, values in wanted:
        if column in index.rows.column_names:
            found = index.rows[column].take(at)
            if (row := pc.index(pc.not_equal(found, values), True).as_py()) >= 0:
                here, there = found[row].as_py(), values[row].as_py()
                key = manifest["id"][row].as_py()
                raise DatasetError(f"{key} lies in {here!r}, but {name} lists it {how} {there!r}")
    return at


def _cover(request: Request, name: str, manifest: pa.Table, at: pa.Array) -> Coverage:
    fileless = manifest["id"].filter(at.is_null()).to_pylist()
    known = request.config.splits[name].absent.get(request.version.name)
    never = frozenset(fileless) if request.own_lists else (known.ids if known else None) or frozenset()
    absent = tuple(manifest["id"].filter(_among(manifest["id"], never)).to_pylist())
    missing = tuple(key for key in fileless if key not in never)
    expected = manifest.num_rows - len(absent)
    return Coverage(expected, expected - len(missing), absent, missing)


def may_miss(request: Request, split: str, coverage: Coverage) -> bool:
    """Whether so many missing files are expected: some were never shipped, nobody could say which."""
    known = request.config.splits[split].absent.get(request.version.name)
    return known is not None and known.ids is None and len(coverage.missing) <= known.about


def _refuse_incomplete(request: Request, coverage: Mapping[str, Coverage], rows: _Rows, index: Index) -> None:
    if not any(cover.found for cover in coverage.values()):
        because = next(iter(rows.unavailable.values()), "")
        raise DatasetError(
            f"the source holds {index.rows.num_rows:,} samples, none of them in a split of {request.title}"
            + (f": {because}" if because else "")
        )
    if request.partial:
        return
    short = {
        name: coverage[name]
        for name in rows.manifests
        if coverage[name].missing and not may_miss(request, name, coverage[name])
    }
    if short:
        parts = [f"{c.found:,} of {c.expected:,} {name} samples" for name, c in short.items()]
        first = next(iter(short.values())).missing[0]
        raise DatasetError(
            f"the source of {request.title} is not complete: {', '.join(parts)} (id {first} has no file, "
            "for one); use what is there with --partial (partial=True)"
        )


def _refuse_published(request: Request, index: Index) -> None:
    """A specimen is synthetic: an archive that holds published samples must not be scored as one.

    Told by ids, so only where they tell: numbers such as 00_00000 are those of the pinned specimen as well.
    """
    pinned = _pinned_ids(request, request.config)
    for config in request.dataset.configs.values():
        ids = _pinned_ids(request, config)
        if config.synthetic or places(pinned, ids).null_count < len(pinned):
            continue
        if len(real := ids.filter(places(ids, index.rows["id"]).is_valid())):
            raise DatasetError(
                f"the source given for {request.title} holds published samples (id {pc.min(real)}, for one): leave the "
                f"source out for the specimen, or use config {config.name!r}"
            )


def _pinned_ids(request: Request, config: Config) -> pa.ChunkedArray:
    splits = [name for name, split in config.splits.items() if split.manifest is not None]
    return _chained([read_ids(request.dataset, config.name, name) for name in splits])


def _chained(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def _table(manifest: pa.Table, index: Index, at: pa.Array, absent: frozenset[str]) -> pa.Table:
    """The rows that have a file, in the manifest's order; a pinned group outranks one that was read."""
    keep = pc.and_(at.is_valid(), pc.invert(_among(manifest["id"], absent)))
    manifest, at = manifest.filter(keep), pa.chunked_array([at]).filter(keep)
    rows = index.rows.select([name for name in index.rows.column_names if name != "split"])
    number, group = (rows.schema.get_field_index(name) for name in ("label", "group"))

    def blocks() -> Iterator[pa.Table]:
        for start in range(0, len(at), BLOCK):
            part, told = rows.take(at.slice(start, BLOCK)), manifest.slice(start, BLOCK)
            part = part.set_column(number, "label", told["label"])
            yield part.set_column(group, "group", pc.coalesce(told["group"], part["group"]))

    return spooled(rows.schema, blocks())


def _among(ids: pa.ChunkedArray, some: frozenset[str]) -> pa.ChunkedArray:
    return pc.is_in(ids, value_set=pa.array(sorted(some), pa.string()))
