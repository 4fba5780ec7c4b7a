"""Inline SVG: intervals on a shared axis, bars with whiskers, a confusion matrix.

Charts are drawn in per cent of their own width, so that they fit any column and any screen. They are marked
``aria-hidden``: the numbers that they draw always stand beside them as text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lensbench.leaderboard.scores import Score

LEVELS = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90)
"""Where the second to eighth colour of a confusion matrix begin, as shares of the true class."""
LEVEL_NAMES = ("<1 %", "1–5 %", "5–10 %", "10–25 %", "25–50 %", "50–75 %", "75–90 %", "≥90 %")


@dataclass(frozen=True)
class Axis:
    """A linear axis over [low, high] with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> str:
        """Where `value` lies, in per cent of the width: text with one decimal at most."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.1f}".removesuffix(".0") + "%"


def axis(values: Iterable[float], unit: bool) -> Axis:
    """The axis that holds all `values` between round ticks; within [0, 1] for a `unit` metric.

    >>> axis([0.21, 0.78], True).ticks
    (0.2, 0.4, 0.6, 0.8)
    """
    known = sorted(values)
    low, high = (known[0], known[-1]) if known else (0.0, 1.0)
    if high - low < 1e-6 * max(1.0, abs(high)):
        margin = 0.05 * max(1.0, abs(high))
        low, high = low - margin, high + margin
    if unit:
        low, high = max(low, 0.0), min(high, 1.0)
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 12) for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)) * power)


def axis_labels(scale: Axis) -> str:
    """The tick labels, for the head of a column of `whisker`s."""
    anchors = {0: "start", len(scale.ticks) - 1: "end"}
    texts = (
        f'<text x="{scale.percent(tick)}" y="10" text-anchor="{anchors.get(i, "middle")}">{tick:g}</text>'
        for i, tick in enumerate(scale.ticks)
    )
    return f'<svg class="ticks" aria-hidden="true">{"".join(texts)}</svg>'


def whisker(score: Score, scale: Axis, band: Score | None = None) -> str:
    """A dot with its interval on `scale`; `band` shades another row's interval behind it."""
    parts = [f'<line class="grid" x1="{x}" x2="{x}" y2="100%"/>' for x in map(scale.percent, scale.ticks)]
    if band is not None and band.low is not None and band.high is not None:
        parts.insert(0, f'<rect class="band" {_span(scale, band.low, band.high)} height="100%"/>')
    if score.low is not None and score.high is not None:
        ends = f'x1="{scale.percent(score.low)}" x2="{scale.percent(score.high)}"'
        parts.append(f'<line class="whisker" {ends} y1="50%" y2="50%"/>')
    if score.value is not None:
        parts.append(f'<circle class="dot" cx="{scale.percent(score.value)}" cy="50%" r="3"/>')
    return f'<svg class="plot" aria-hidden="true">{"".join(parts)}</svg>'


def bar(value: float | None, low: float | None, high: float | None) -> str:
    """A bar from 0 to `value` in [0, 1] with its interval."""
    scale = Axis(0.0, 1.0, (0.0, 1.0))
    parts = [] if value is None else [f'<rect width="{scale.percent(value)}" height="100%"/>']
    if low is not None and high is not None:
        ends = f'x1="{scale.percent(low)}" x2="{scale.percent(high)}"'
        parts.append(f'<line {ends} y1="50%" y2="50%"/>')
    return f'<svg class="bar" aria-hidden="true">{"".join(parts)}</svg>'


def _span(scale: Axis, low: float, high: float) -> str:
    left, right = scale.percent(low), scale.percent(high)
    width = float(right[:-1]) - float(left[:-1])
    return f'x="{left}" width="{width:.1f}%"'


def confusion_map(cells: Sequence[tuple[int, int, float]], n: int) -> str:
    """The n × n confusion matrix, a row a true class, coloured by share of the row; zero cells are not drawn.

    One path a colour, a cell being a stroke of length 1: 95 × 95 full cells stay below 80 kB.
    """
    total = [0.0] * n
    for true, _, count in cells:
        total[true] += count
    paths: list[list[str]] = [[] for _ in LEVEL_NAMES]
    for true, predicted, count in cells:
        if count > 0:
            paths[level(count / total[true])].append(f"M{predicted} {true}h1")
    drawn = "".join(f'<path class="k{i}" d="{"".join(path)}"/>' for i, path in enumerate(paths) if path)
    return (
        f'<svg class="map" viewBox="0 0 {n} {n}" data-n="{n}" role="img" '
        f'aria-label="Confusion matrix of {n} classes; the most confused pairs are listed below it">'
        f'<g transform="translate(0 .5)">{drawn}</g></svg>'
    )


def level(share: float) -> int:
    """Which of the eight colours a share of (0, 1] has.

    >>> level(0.001), level(0.01), level(1.0)
    (0, 1, 7)
    """
    return sum(share >= edge for edge in LEVELS)


def legend() -> str:
    """What the colours of a confusion matrix mean."""
    keys = (
        f'<li><svg aria-hidden="true"><path class="k{i}" d="M0 6h12"/></svg>{name}</li>'
        for i, name in enumerate(LEVEL_NAMES)
    )
    return f'<ul class="legend" aria-label="Share of the true class">{"".join(keys)}</ul>'
