"""Which rows a build will have, decided before an image is opened: manifests, lists and rules against the samples
there are.

A row of a pinned manifest without a file is *missing*, unless its id is pinned as *absent* (the publisher
never shipped it). A sample that stands in no split is *unlisted*: it is counted, and never becomes train by
elimination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lensbench.data.index import Index
from lensbench.data.pins import check_pins
from lensbench.data.request import Request
from lensbench.errors import DatasetError
from lensbench.registry import Config, Split
from lensbench.splits import Manifest, awaited, read_manifest


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
    from the publisher's list or drawn by a rule, not taken from the registry. `manifests`: all that are known.
    """

    tables: Mapping[str, pa.Table]
    coverage: Mapping[str, Coverage]
    unlisted: int
    strays: int
    unavailable: Mapping[str, str]
    pins: Mapping[str, str]
    metadata: Mapping[str, Any]
    manifests: Mapping[str, Manifest] = field(default_factory=dict)


@dataclass
class _Rows:
    """The manifests of all splits, as far as they are known."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)


def make_plan(request: Request, index: Index, failed: str = "") -> Plan:
    """Match manifests, lists, rules and samples; `failed` says why a file with a list could not be fetched.

    Raises DatasetError for what does not fit or is not complete.
    """
    if request.own_lists:
        _refuse_published(request, index)
    if request.config.rule is not None:  # the publisher's own splits are another config's
        index = replace(index, rows=index.rows.select([c for c in index.rows.column_names if c != "split"]), lists={})
    rows = _manifests(request, index, failed)
    places = {name: _places(name, m, index) for name, m in rows.manifests.items()}
    coverage = {name: _cover(request, name, m, places[name]) for name, m in rows.manifests.items()}
    coverage |= {name: Coverage(request.config.splits[name].rows, 0) for name in rows.unavailable}
    _refuse_incomplete(request, coverage, rows, index)
    tables: dict[str, pa.Table] = {}
    for name, manifest in rows.manifests.items():
        table = _table(manifest, index, places[name], frozenset(coverage[name].absent))
        if table.num_rows:
            tables[name] = table
        else:
            rows.unavailable[name] = f"none of its {len(manifest.ids):,} samples is in the source"
    return Plan(
        tables=tables,
        coverage={name: coverage[name] for name in request.config.splits},
        unlisted=_unlisted(index, rows.manifests),
        strays=index.strays,
        unavailable=rows.unavailable,
        pins=rows.pins,
        metadata=index.report,
        manifests=rows.manifests,
    )


# -- which ids are in which split ----------------------------------------------------------------------------


def _manifests(request: Request, index: Index, failed: str) -> _Rows:
    """A pinned manifest, else the config's rule if it has one, else the publisher's list, or folder."""
    rows = _Rows()
    drawn = _drawn(request, index)
    for name, entry in request.config.splits.items():
        listed = index.lists.get(name)
        if entry.manifest is not None and not request.own_lists:
            pinned = read_manifest(request.dataset, request.config.name, name)
            if listed is not None:
                _same_rows(pinned, listed.manifest, listed.where)
            rows.manifests[name] = pinned
            continue
        found = listed.manifest if listed else _placed(name, index) or drawn.get(name)
        if found is None:
            rows.unavailable[name] = _why(request, entry, index) + (f" ({failed})" if failed else "")
        else:
            _check_length(request, entry, found)
            rows.manifests[name] = found
            rows.pins[name] = found.digest
    _disjoint(rows.manifests)
    if request.own_lists or request.config.synthetic:
        rows.pins = {}
    check_pins(request, rows.pins)
    return rows


def _placed(split: str, index: Index) -> Manifest | None:
    """The samples that the publisher keeps in a folder of this split."""
    if "split" not in index.rows.column_names:
        return None
    found = index.rows.filter(pc.equal(index.rows["split"], split))
    return _manifest(split, found) if found.num_rows else None


def _drawn(request: Request, index: Index) -> dict[str, Manifest]:
    """What the config's rule makes of a complete source."""
    if request.config.rule is None or not _complete(request, index):
        return {}
    from lensbench.rules import assign

    try:
        found = assign(request.config.rule, index.rows)
    except ValueError as error:
        raise DatasetError(f"{request.title}: its rule cannot be run: {error}") from error
    return {split: _manifest(split, index.rows.take(rows)) for split, rows in found.items() if rows}


def _complete(request: Request, index: Index) -> bool:
    """Whether a rule may run: over part of the samples it would draw another split under the same name."""
    return request.own_lists or (not request.partial and request.config.samples == index.rows.num_rows)


def _manifest(split: str, rows: pa.Table) -> Manifest:
    columns = (rows[name].to_pylist() for name in ("id", "label", "group"))
    return Manifest.of(split, zip(*columns, strict=True))


def _same_rows(pinned: Manifest, listed: Manifest, where: str) -> None:
    ours, theirs = (dict(zip(m.ids, m.labels, strict=True)) for m in (pinned, listed))
    if ours != theirs:
        first = min(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        raise DatasetError(
            f"{where} is not the {pinned.split} list that is pinned: id {first} is "
            f"{theirs.get(first, 'not listed')!r} there and {ours.get(first, 'not listed')!r} in the manifest"
        )


def _check_length(request: Request, entry: Split, listed: Manifest) -> None:
    if entry.rows is not None and len(listed.ids) != entry.rows and not (request.own_lists or request.partial):
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


def _why(request: Request, entry: Split, index: Index) -> str:
    """Why a split has no ids."""
    if request.config.rule is not None and request.config.samples is not None:
        return (
            f"its ids are drawn from all {request.config.samples:,} samples, and the source has "
            f"{index.rows.num_rows:,}{' (partial)' if request.partial else ''}"
        )
    return f"its ids are not pinned: {awaited(request.dataset, request.config, entry)}; the source does not hold it"


# -- which of them have a file -------------------------------------------------------------------------------


def _places(name: str, manifest: Manifest, index: Index) -> pa.Array:
    """The row of the index that each row of the manifest is, null where there is none; labels and folders checked."""
    at = pc.index_in(pa.array(manifest.ids, pa.string()), value_set=index.rows["id"].combine_chunks())
    found = index.rows.select([c for c in ("id", "label", "split") if c in index.rows.column_names]).take(at)
    wanted = [("label", "as", manifest.labels), ("split", "in", (name,) * len(manifest.ids))]
    for column, how, values in wanted:
        if column in found.column_names:
            differs = pc.not_equal(found[column].combine_chunks(), pa.array(values, pa.string()))
            if (row := pc.index(differs, True).as_py()) >= 0:
                here = found[column][row].as_py()
                raise DatasetError(f"{manifest.ids[row]} lies in {here!r}, but {name} lists it {how} {values[row]!r}")
    return at


def _cover(request: Request, name: str, manifest: Manifest, at: pa.Array) -> Coverage:
    fileless = [key for key, here in zip(manifest.ids, at.is_valid().to_pylist(), strict=True) if not here]
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
    here, pinned = set(index.rows["id"].to_pylist()), _pinned_ids(request, request.config)
    for config in request.dataset.configs.values():
        published = frozenset() if config.synthetic else _pinned_ids(request, config)
        if not published & pinned and (real := sorted(published & here)):
            raise DatasetError(
                f"the source given for {request.title} holds published samples (id {real[0]}, for one): leave the "
                f"source out for the specimen, or use config {config.name!r}"
            )


def _pinned_ids(request: Request, config: Config) -> frozenset[str]:
    splits = [name for name, split in config.splits.items() if split.manifest is not None]
    return frozenset(key for name in splits for key in read_manifest(request.dataset, config.name, name).ids)


def _unlisted(index: Index, manifests: Mapping[str, Manifest]) -> int:
    listed = pa.array([key for manifest in manifests.values() for key in manifest.ids], pa.string())
    return int(index.rows.num_rows - pc.sum(pc.is_in(index.rows["id"], value_set=listed)).as_py())


def _table(manifest: Manifest, index: Index, at: pa.Array, absent: frozenset[str]) -> pa.Table:
    """The rows that have a file, in the manifest's order; a pinned group outranks one that was read."""
    keep = [row for row, (key, here) in enumerate(zip(manifest.ids, at.is_valid().to_pylist(), strict=True)) if here]
    keep = [row for row in keep if manifest.ids[row] not in absent]
    rows = index.rows.take(at.take(pa.array(keep, pa.int64()))).combine_chunks()
    groups = pa.array([manifest.groups[row] for row in keep], pa.string())
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    columns["label"] = pa.array([manifest.labels[row] for row in keep], pa.string())
    columns["group"] = pc.coalesce(groups, columns["group"].combine_chunks())
    columns.pop("split", None)
    return pa.table(columns)
