"""A record as a board sees it: every field checked, every text cut and cleaned, or the record is refused.

Records come from strangers. `parse_entry` is the one place where their JSON is looked into; what leaves it
has the types it says, and text that only needs escaping for the place it is shown in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lensbench.errors import RecordError
from lensbench.leaderboard.escape import clean
from lensbench.leaderboard.fields import (
    BOUNDS,
    LINE,
    NAME,
    PROSE,
    items,
    mapping,
    maybe_number,
    maybe_text,
    maybe_whole,
    number,
    plain,
    text,
    texts,
    truth,
    whole,
)
from lensbench.leaderboard.scores import NO_SCORE, Score, parse_scores
from lensbench.leaderboard.segments import Segments, parse_segments
from lensbench.leaderboard.viewing import Viewing, parse_views
from lensbench.record import Record

CLASSES = 5_000


@dataclass(frozen=True)
class ClassRow:
    """One class of one record; `index` is its place in the label order."""

    index: int
    name: str
    support: float
    predicted: float
    precision: float | None
    recall: float | None
    f1: float | None
    recall_low: float | None
    recall_high: float | None


@dataclass(frozen=True)
class Coverage:
    """How many of the expected samples were scored."""

    expected: int
    scored: int
    absent: int
    missing: int
    missing_ids: tuple[str, ...]
    extra: int


@dataclass(frozen=True)
class Entry:
    """One checked record. `key` is the name of the file it came from, `sha256` the hash of its result."""

    key: str
    sha256: str
    name: str
    authors: tuple[str, ...]
    licence: str | None
    training: str | None
    url: str | None
    kind: str
    parameters: int | None
    bytes: int | None
    labels: str
    benchmark: Mapping[str, str | int | bool | None]
    digests: Mapping[str, str | None]
    complete: bool
    coverage: Coverage
    scores: Mapping[str, Score]
    classes: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, int, float], ...] = field(repr=False)
    assumed: tuple[str, ...]
    notes: tuple[str, ...]
    segments: Segments | None = None
    """What a segmentation's record says beside its metrics; None for classification."""
    viewing: Viewing | None = None
    """What a record on frames in several views says of each; None for others."""

    def score(self, metric: str) -> Score:
        """The score of one metric; all None where the record has none."""
        return self.scores.get(metric, NO_SCORE)

    @property
    def identity(self) -> str:
        """What makes it the same model: the digest of its file, else of its predictions."""
        return self.digests["model"] or self.digests["predictions"] or self.sha256


def parse_entry(key: str, record: Record) -> Entry:
    """The Entry of `record`; raises RecordError, naming the field, for a value that no record holds."""
    try:
        return _entry(key, record)
    except RecordError as error:
        raise RecordError(f"{key}: {error}") from error
    except (ValueError, RecursionError) as error:
        # what cannot be written as canonical JSON has no hash: infinities, lone surrogates, endless nesting
        raise RecordError(f"{key}: a value that no record can hold ({type(error).__name__})") from error


def _entry(key: str, record: Record) -> Entry:
    result = record.result
    model, benchmark = mapping(result, "model"), mapping(result, "benchmark")
    digests = mapping(result, "digests")
    classes = tuple(_class(i, value) for i, value in enumerate(items(result.get("classes", []), "classes", CLASSES)))
    entry = Entry(
        key=clean(key, LINE),
        sha256=record.sha256,
        name=text(model.get("name"), "model.name", NAME) or "unnamed",
        authors=texts(model.get("authors", []), "model.authors", NAME),
        licence=maybe_text(model.get("licence"), "model.licence", NAME),
        training=maybe_text(model.get("training"), "model.training", PROSE),
        url=maybe_text(model.get("url"), "model.url", PROSE),
        kind=text(model.get("kind"), "model.kind", NAME),
        parameters=maybe_whole(model.get("parameters"), "model.parameters"),
        bytes=maybe_whole(model.get("bytes"), "model.bytes"),
        labels=text(model.get("labels"), "model.labels", LINE),
        benchmark={name: plain(benchmark.get(name), f"benchmark.{name}") for name in NAMED},
        digests={name: maybe_text(digests.get(name), f"digests.{name}", NAME) for name in DIGESTS},
        complete=truth(result.get("complete"), "complete"),
        coverage=_coverage(mapping(result, "coverage")),
        scores=parse_scores(mapping(result, "metrics")),
        classes=classes,
        confusion=_confusion(result.get("confusion", []), len(classes)),
        assumed=texts(result.get("assumed"), "assumed", PROSE),
        notes=texts(result.get("notes", []), "notes", PROSE),
        segments=parse_segments(result) if "protocol" in result else None,
        viewing=parse_views(result) if "grid" in result else None,
    )
    _agrees(entry)
    return entry


NAMED = ("name", "revision", "title", "task", "dataset", "version", "config", "split", "synthetic")
DIGESTS = ("benchmark", "manifest", "data", "model", "predictions")


def _agrees(entry: Entry) -> None:
    """A record that contradicts itself is not one."""
    got = entry.coverage
    if got.scored + got.missing != got.expected:
        raise RecordError(f"coverage: {got.scored} scored and {got.missing} missing are not {got.expected} expected")
    if entry.complete != (got.missing == 0):
        raise RecordError(f"complete is {str(entry.complete).lower()}, but {got.missing} samples are missing")
    support = sum(row.support for row in entry.classes)
    if entry.segments is not None and len(entry.segments.images) != got.scored:
        raise RecordError(f"images: {len(entry.segments.images)} are listed, but {got.scored} were scored")
    if entry.complete and entry.classes and abs(support - got.scored) > 0.5:
        raise RecordError(f"classes: their support is {support:.0f} samples, but {got.scored} were scored")


def _coverage(data: Mapping[str, Any]) -> Coverage:
    counts = {name: whole(data.get(name), f"coverage.{name}") for name in COUNTS}
    missing = texts(data.get("missing_ids", []), "coverage.missing_ids", NAME)
    return Coverage(**counts, missing_ids=missing[:10])


COUNTS = ("expected", "scored", "absent", "missing", "extra")


def _class(index: int, data: Any) -> ClassRow:
    where = f"classes[{index}]"
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    shares = {name: maybe_number(data.get(name), f"{where}.{name}", BOUNDS["unit"]) for name in SHARES}
    return ClassRow(
        index=index,
        name=text(data.get("name"), f"{where}.name", NAME),
        support=number(data.get("support"), f"{where}.support", BOUNDS["positive"]),
        predicted=number(data.get("predicted"), f"{where}.predicted", BOUNDS["positive"]),
        **shares,
    )


SHARES = ("precision", "recall", "f1", "recall_low", "recall_high")


def _confusion(data: Any, n: int) -> tuple[tuple[int, int, float], ...]:
    cells: dict[tuple[int, int], float] = {}
    for cell in items(data, "confusion", n * n):
        if not isinstance(cell, (list, tuple)) or len(cell) != 3:
            raise RecordError("confusion: a cell is not [true, predicted, count]")
        place = (whole(cell[0], "confusion"), whole(cell[1], "confusion"))
        if max(place) >= n or place in cells:
            raise RecordError(f"confusion: cell {list(place)} is outside the {n} classes, or stands twice")
        cells[place] = number(cell[2], "confusion", BOUNDS["positive"])
    return tuple((i, j, count) for (i, j), count in sorted(cells.items()))
