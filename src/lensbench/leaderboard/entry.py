"""A record as a board sees it: every field checked, every text cut and cleaned, or the record is refused.

Records come from strangers. `parse_entry` is the one place where their JSON is looked into; what leaves it
has the types it says, and text that only needs escaping for the place it is shown in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lensbench.errors import RecordError
from lensbench.leaderboard.escape import clean
from lensbench.metrics import METRICS
from lensbench.record import Record

NAME, LINE, PROSE = 80, 200, 600
"""Lengths that text is cut to: a name, a short field, a sentence."""
LISTED = 40
"""Entries of a list of sentences or authors that a board shows."""
CLASSES = 5_000
BOUNDS = {"unit": (0.0, 1.0), "positive": (0.0, math.inf), "real": (-math.inf, math.inf)}
SLACK = 1e-9
"""A mean of ones may end a rounding step above 1."""


@dataclass(frozen=True)
class Score:
    """One metric of one record: value and 95 % interval, None where it could not be computed."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    groups: int
    reason: str


NO_SCORE = Score(None, None, None, "none", 0, "not in the record")


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
    model, benchmark = _mapping(result, "model"), _mapping(result, "benchmark")
    digests = _mapping(result, "digests")
    classes = tuple(_class(i, value) for i, value in enumerate(_list(result.get("classes", []), "classes", CLASSES)))
    entry = Entry(
        key=clean(key, LINE),
        sha256=record.sha256,
        name=_text(model.get("name"), "model.name", NAME) or "unnamed",
        authors=_texts(model.get("authors", []), "model.authors", NAME),
        licence=_maybe_text(model.get("licence"), "model.licence", NAME),
        training=_maybe_text(model.get("training"), "model.training", PROSE),
        url=_maybe_text(model.get("url"), "model.url", PROSE),
        kind=_text(model.get("kind"), "model.kind", NAME),
        parameters=_maybe_whole(model.get("parameters"), "model.parameters"),
        bytes=_maybe_whole(model.get("bytes"), "model.bytes"),
        labels=_text(model.get("labels"), "model.labels", LINE),
        benchmark={name: _plain(benchmark.get(name), f"benchmark.{name}") for name in NAMED},
        digests={name: _maybe_text(digests.get(name), f"digests.{name}", NAME) for name in DIGESTS},
        complete=_bool(result.get("complete"), "complete"),
        coverage=_coverage(_mapping(result, "coverage")),
        scores=_scores(_mapping(result, "metrics")),
        classes=classes,
        confusion=_confusion(result.get("confusion", []), len(classes)),
        assumed=_texts(result.get("assumed"), "assumed", PROSE),
        notes=_texts(result.get("notes", []), "notes", PROSE),
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
    if entry.complete and entry.classes and abs(support - got.scored) > 0.5:
        raise RecordError(f"classes: their support is {support:.0f} samples, but {got.scored} were scored")


def _coverage(data: Mapping[str, Any]) -> Coverage:
    counts = {name: _whole(data.get(name), f"coverage.{name}") for name in COUNTS}
    missing = _texts(data.get("missing_ids", []), "coverage.missing_ids", NAME)
    return Coverage(**counts, missing_ids=missing[:10])


COUNTS = ("expected", "scored", "absent", "missing", "extra")


def _scores(data: Mapping[str, Any]) -> dict[str, Score]:
    if len(data) > 500:
        raise RecordError(f"metrics: {len(data)} are more than a record can hold")
    return {clean(name, NAME): _score(name, value) for name, value in data.items()}


def _score(name: str, data: Any) -> Score:
    where = f"metrics.{clean(name, NAME)}"
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    bounds = BOUNDS[METRICS[name].scale] if name in METRICS else BOUNDS["real"]
    value, low, high = (_maybe_number(data.get(part), f"{where}.{part}", bounds) for part in ("value", "low", "high"))
    if (low is None) != (high is None) or (low is not None and value is None):
        raise RecordError(f"{where}: an interval needs a value and two ends")
    if low is not None and high is not None and low > high:
        raise RecordError(f"{where}: its interval ends before it begins")
    return Score(
        value,
        low,
        high,
        method=_text(data.get("method"), f"{where}.method", NAME),
        groups=_whole(data.get("groups"), f"{where}.groups"),
        reason=_maybe_text(data.get("reason"), f"{where}.reason", LINE) or "",
    )


def _class(index: int, data: Any) -> ClassRow:
    where = f"classes[{index}]"
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    shares = {name: _maybe_number(data.get(name), f"{where}.{name}", BOUNDS["unit"]) for name in SHARES}
    return ClassRow(
        index=index,
        name=_text(data.get("name"), f"{where}.name", NAME),
        support=_number(data.get("support"), f"{where}.support", BOUNDS["positive"]),
        predicted=_number(data.get("predicted"), f"{where}.predicted", BOUNDS["positive"]),
        **shares,
    )


SHARES = ("precision", "recall", "f1", "recall_low", "recall_high")


def _confusion(data: Any, n: int) -> tuple[tuple[int, int, float], ...]:
    cells: dict[tuple[int, int], float] = {}
    for cell in _list(data, "confusion", n * n):
        if not isinstance(cell, (list, tuple)) or len(cell) != 3:
            raise RecordError("confusion: a cell is not [true, predicted, count]")
        place = (_whole(cell[0], "confusion"), _whole(cell[1], "confusion"))
        if max(place) >= n or place in cells:
            raise RecordError(f"confusion: cell {list(place)} is outside the {n} classes, or stands twice")
        cells[place] = _number(cell[2], "confusion", BOUNDS["positive"])
    return tuple((i, j, count) for (i, j), count in sorted(cells.items()))


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if not isinstance(value, Mapping):
        raise RecordError(f"{name} is not a table")
    return value


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise RecordError(f"{where} is neither true nor false")
    return value


def _list(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise RecordError(f"{where} is not a list of at most {most}")
    return value


def _text(value: Any, where: str, limit: int) -> str:
    if not isinstance(value, str):
        raise RecordError(f"{where} is not text")
    return clean(value, limit)


def _maybe_text(value: Any, where: str, limit: int) -> str | None:
    return None if value is None else _text(value, where, limit) or None


def _texts(value: Any, where: str, limit: int) -> tuple[str, ...]:
    values = _list(value, where, 100_000)
    shown = [text for item in values[:LISTED] if (text := _text(item, where, limit))]
    return (*shown, f"… and {len(values) - LISTED} more") if len(values) > LISTED else tuple(shown)


def _plain(value: Any, where: str) -> str | int | bool | None:
    if value is None or isinstance(value, bool):
        return value
    return _whole(value, where) if isinstance(value, int) else _text(value, where, LINE)


def _number(value: Any, where: str, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e18 <= value <= 1e18:
        raise RecordError(f"{where} is not a number that can be shown")
    if not low - SLACK <= value <= high + SLACK:
        raise RecordError(f"{where} is {value:.6g}, outside {low:g}…{high:g}")
    return float(value)


def _maybe_number(value: Any, where: str, bounds: tuple[float, float]) -> float | None:
    return None if value is None else _number(value, where, bounds)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**18:
        raise RecordError(f"{where} is not a whole number from 0 on")
    return value


def _maybe_whole(value: Any, where: str) -> int | None:
    return None if value is None else _whole(value, where)
