"""Who stands where: ranked rows of one benchmark digest, everything else apart with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lensbench.benchmark import Benchmark, Reference
from lensbench.digest import UNKNOWN
from lensbench.errors import RecordError
from lensbench.leaderboard.columns import Column, columns
from lensbench.leaderboard.consistency import check
from lensbench.leaderboard.entry import Entry, parse_entry
from lensbench.leaderboard.escape import clean
from lensbench.leaderboard.fields import NAME
from lensbench.leaderboard.scores import Score
from lensbench.record import Record


@dataclass(frozen=True)
class Ranked:
    """A complete record of the board's digest. Rows of equal value share a rank (1, 2, 2, 4)."""

    rank: int
    tied: bool
    entry: Entry
    overlaps: bool | None
    """Whether its headline interval overlaps the first row's; None for the first, and without an interval."""


@dataclass(frozen=True)
class Apart:
    """A record that is not compared with the ranked ones, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True)
class Refused:
    """A file that is not a sound record: nothing of it is shown but its name."""

    key: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """One board's content."""

    benchmark: Benchmark
    columns: tuple[Column, ...]
    ranked: tuple[Ranked, ...]
    apart: tuple[Apart, ...]
    refused: tuple[Refused, ...]
    tiers: tuple[Standing, ...] = ()
    """The standings of the benchmarks that are tiers of this one."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """Published results that nobody re-ran: never ranked."""
        return self.benchmark.references

    @property
    def headline(self) -> Column:
        """The metric that ranks."""
        return self.columns[0]


def stand(benchmark: Benchmark, records: Iterable[tuple[str, Record]], refused: Iterable[Refused] = ()) -> Standing:
    """The standing of `records`, given as (name of its file, record) in any order.

    The same result under two names counts once. Of different results of one model the first by file name
    keeps its place. A record with a field of the wrong type is refused, never fatal.
    """
    shown = columns(benchmark)
    entries, bad = _entries(benchmark, records)
    candidates: list[Entry] = []
    apart: list[Apart] = []
    first: dict[str, Entry] = {}
    for entry in entries:
        reason = why_apart(benchmark, entry)
        if not reason and (kept := first.setdefault(entry.identity, entry)) is not entry:
            reason = f"another result of the same model as {kept.name} ({kept.key}), which keeps the place"
        if reason:
            apart.append(Apart(entry, reason))
        else:
            candidates.append(entry)
    return Standing(
        benchmark=benchmark,
        columns=shown,
        ranked=_rank(shown[0], candidates),
        apart=tuple(sorted(apart, key=lambda row: (row.entry.name, row.entry.sha256))),
        refused=tuple(sorted({*refused, *bad}, key=lambda row: (row.key, row.reason))),
    )


def _entries(benchmark: Benchmark, records: Iterable[tuple[str, Record]]) -> tuple[list[Entry], list[Refused]]:
    entries: list[Entry] = []
    refused: list[Refused] = []
    for key, record in records:
        try:
            entry = parse_entry(key, record)
            if entry.digests["benchmark"] == benchmark.digest:
                _holds_labels(benchmark, entry)
                _holds_protocol(benchmark, entry)
                check(entry, benchmark.metrics)
            entries.append(entry)
        except RecordError as error:
            refused.append(Refused(clean(key, 200), clean(str(error).removeprefix(f"{key}: "), 300)))
    entries.sort(key=lambda entry: (entry.key, entry.sha256))
    once = {entry.sha256: entry for entry in reversed(entries)}
    return [entry for entry in entries if once[entry.sha256] is entry], refused


def _holds_labels(benchmark: Benchmark, entry: Entry) -> None:
    if entry.classes and tuple(row.name for row in entry.classes) != _labels(benchmark):
        raise RecordError("classes: not the benchmark's labels in their order, though its digest says so")
    if benchmark.expected is not None and entry.coverage.expected != benchmark.expected:
        raise RecordError(
            f"coverage: {entry.coverage.expected} samples expected, the benchmark has {benchmark.expected}"
        )


def _holds_protocol(benchmark: Benchmark, entry: Entry) -> None:
    told, wanted = entry.segments, benchmark.protocol
    if (told is None) != (wanted is None):
        raise RecordError(f"protocol: {'missing' if wanted else 'there'}, though its digest says otherwise")
    if told and wanted and (told.protocol, told.scoring) != (wanted.name, wanted.scoring):
        raise RecordError("protocol: not the benchmark's, though its digest says so")


def _labels(benchmark: Benchmark) -> tuple[str, ...]:
    return tuple(clean(label, NAME) for label in benchmark.labels)


def _rank(headline: Column, entries: list[Entry]) -> tuple[Ranked, ...]:
    def value(entry: Entry) -> float:
        known = entry.score(headline.id).value
        assert known is not None  # why_apart sets those without one apart
        return known

    ordered = sorted(entries, key=lambda entry: (headline.better(value(entry)), entry.name, entry.sha256))
    values = [value(entry) for entry in ordered]
    return tuple(
        Ranked(
            rank=values.index(own) + 1,
            tied=values.count(own) > 1,
            entry=entry,
            overlaps=_overlap(entry.score(headline.id), ordered[0].score(headline.id)) if own != values[0] else None,
        )
        for entry, own in zip(ordered, values, strict=True)
    )


def _overlap(one: Score, other: Score) -> bool | None:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.low <= other.high and other.low <= one.high


def why_apart(benchmark: Benchmark, entry: Entry) -> str:
    """Why `entry` cannot be ranked on the board of `benchmark`, in words; empty where it can."""
    reasons = []
    if entry.digests["benchmark"] != benchmark.digest:
        reasons.append(f"not comparable: {_what_differs(benchmark, entry)}")
    if not entry.complete:
        reasons.append(f"incomplete: {entry.coverage.missing:,} of {entry.coverage.expected:,} samples missing")
    elif other := _other_images(benchmark, entry):
        reasons.append(other)
    headline = entry.score(benchmark.headline)
    if not reasons and headline.value is None:
        reasons.append(f"no {benchmark.headline}: {headline.reason or 'it could not be computed'}")
    return "; ".join(reasons)


def _other_images(benchmark: Benchmark, entry: Entry) -> str:
    """Where a whole split was read whose content is not the pinned one; `unknown`: predictions, and no image read."""
    data = entry.digests["data"]
    if benchmark.content is None or data in (benchmark.content, UNKNOWN):
        return ""
    return f"scored on other images: content {data or 'not stated'}, pinned {benchmark.content}"


def _what_differs(benchmark: Benchmark, entry: Entry) -> str:
    named = {
        "benchmark": ("name", benchmark.name),
        "dataset": ("dataset", benchmark.dataset),
        "dataset version": ("version", benchmark.version),
        "config": ("config", benchmark.config),
        "split": ("split", benchmark.split),
        "benchmark revision": ("revision", benchmark.revision),
    }
    found = [
        f"{what} {entry.benchmark[key]} instead of {wanted}"
        for what, (key, wanted) in named.items()
        if entry.benchmark[key] != wanted
    ]
    if entry.digests["manifest"] != benchmark.manifest:
        found.append("another split manifest")
    if entry.classes and tuple(row.name for row in entry.classes) != _labels(benchmark):
        same = {row.name for row in entry.classes} == set(_labels(benchmark))
        found.append("another order of the labels" if same else "other labels")
    if set(entry.scores) != set(benchmark.metrics):
        found.append("other metrics")
    unseen = "another benchmark digest, so its input contract, a metric version, its cluster or absent ids differ"
    return ", ".join(found) or unseen
