"""The score of one metric in a record, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lensbench.errors import BenchmarkError, RecordError
from lensbench.leaderboard.escape import clean
from lensbench.leaderboard.fields import BOUNDS, LINE, NAME, maybe_number, maybe_text, text, whole
from lensbench.metrics import get_metric


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


def parse_scores(data: Mapping[str, Any], where: str = "metrics") -> dict[str, Score]:
    """The scores in a table, by metric; raises RecordError, naming the field."""
    if len(data) > 500:
        raise RecordError(f"{where}: {len(data)} are more than a record can hold")
    return {clean(name, NAME): parse_score(name, value, where) for name, value in data.items()}


def parse_score(name: str, data: Any, table: str, scale: str | None = None) -> Score:
    """The score of a metric, whose range decides what it can be unless `scale` says it."""
    where = f"{table}.{clean(name, NAME)}"
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    bounds = BOUNDS[scale or _scale(name)]
    value, low, high = (maybe_number(data.get(part), f"{where}.{part}", bounds) for part in ("value", "low", "high"))
    if (low is None) != (high is None) or (low is not None and value is None):
        raise RecordError(f"{where}: an interval needs a value and two ends")
    if low is not None and high is not None and low > high:
        raise RecordError(f"{where}: its interval ends before it begins")
    return Score(
        value,
        low,
        high,
        method=text(data.get("method"), f"{where}.method", NAME),
        groups=whole(data.get("groups"), f"{where}.groups"),
        reason=maybe_text(data.get("reason"), f"{where}.reason", LINE) or "",
    )


def _scale(name: str) -> str:
    try:
        return get_metric(name).scale
    except BenchmarkError:
        return "real"
