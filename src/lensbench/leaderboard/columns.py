"""The metric columns of a board, and how their numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from lensbench.benchmark import Benchmark
from lensbench.errors import BenchmarkError
from lensbench.leaderboard.scores import Score
from lensbench.metrics import get_metric

MAIN = 6
"""Columns that are shown at once: the headline metric and the next five of the spec."""
NONE = "–"


@dataclass(frozen=True)
class Column:
    """One metric of the board."""

    id: str
    version: int
    title: str
    higher: bool
    """Whether more is better."""
    formula: str
    unit: bool
    """Whether its values lie in [0, 1]."""

    def better(self, value: float) -> float:
        """A sort key: the smaller, the better."""
        return -value if self.higher else value


def columns(benchmark: Benchmark) -> tuple[Column, ...]:
    """The benchmark's metrics in its order, headline first."""
    return tuple(_column(metric, version) for metric, version in benchmark.metrics.items())


def _column(metric_id: str, version: int) -> Column:
    metric = get_metric(metric_id)
    return Column(
        metric_id, version, metric.title, metric.direction == "higher", metric.formula, metric.scale == "unit"
    )


def column_of(metric_id: str) -> Column:
    """The column of a metric that a record names; of one that is not known, by its id alone."""
    try:
        return _column(metric_id, get_metric(metric_id).version)
    except BenchmarkError:
        return Column(metric_id, 0, metric_id, higher=True, formula="", unit=False)


def value_text(value: float | None) -> str:
    """A value to three decimals.

    >>> value_text(0.77624), value_text(None), value_text(123456.0)
    ('0.776', '–', '1.235e+05')
    """
    if value is None:
        return NONE
    return f"{value:.3f}" if abs(value) < 1e4 else f"{value:.3e}"


def interval_text(score: Score) -> str:
    """The interval as ``[0.765, 0.787]``, or nothing where there is none."""
    return "" if score.low is None else f"[{value_text(score.low)}, {value_text(score.high)}]"


def count_text(value: float) -> str:
    """A count with thousands separators; one decimal where ties were shared out.

    >>> count_text(33718), count_text(2.5)
    ('33,718', '2.5')
    """
    return f"{value:,.0f}" if abs(value - round(value)) < 0.05 else f"{value:,.1f}"


def share_text(share: float) -> str:
    """A share as per cent.

    >>> share_text(0.1234), share_text(0.004)
    ('12 %', '<1 %')
    """
    return "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")
