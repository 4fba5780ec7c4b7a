"""Drift curves as inline SVG: a score against the severity of one stage, or the intensity, as small multiples.

One chart a stage, one line a model, all on the same scale. The numbers that are drawn stand in each chart's title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lensbench.leaderboard.charts import Axis, axis
from lensbench.leaderboard.columns import Column, value_text
from lensbench.leaderboard.escape import as_html
from lensbench.leaderboard.scores import NO_SCORE, Score
from lensbench.viewspec import Views

MODELS = 6
"""Lines in one chart: more cannot be told apart."""
WIDTH, HEIGHT = 176, 112
LEFT, RIGHT, TOP, BOTTOM = 32.0, 170.0, 6.0, 92.0
"""Where the drawing lies in a chart of `WIDTH` × `HEIGHT`; outside it are the labels."""
INSET, APART = 7.0, 2.2
"""From the drawing's sides to the first and last step, and between the whiskers of two models at one step."""
REFERENCE = "ref"
"""What stands below the reference view, where every stage begins."""

DRIFT = (
    "with 95 % intervals, by stage and severity; dashed: the level of the reference view. All charts of a tier have "
    "one scale, and the numbers of a chart stand in its title."
)


@dataclass(frozen=True)
class Curve:
    """One stage in growing steps: (what stands below, the name of the view)."""

    name: str
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Line:
    """One model's scores, by the name of the view."""

    name: str
    scores: Mapping[str, Score]

    def at(self, curve: Curve) -> list[Score]:
        """The scores along a curve; all None where there is none."""
        return [self.scores.get(view, NO_SCORE) for _, view in curve.steps]


def curves_of(views: Views | None) -> tuple[Curve, ...]:
    """The intensities, where there are several, and each stage that views have at several severities."""
    if views is None:
        return ()
    curves = []
    if len(views.recordings) > 1:
        first = {view.intensity: view.name for view in reversed(views.shown)}
        curves.append(Curve("intensity, %", tuple((str(per_cent), name) for per_cent, name in sorted(first.items()))))
    start = (REFERENCE, views.reference.name)
    for name, places in views.series.items():
        steps = (views.names[place] for place in places)
        curves.append(Curve(name, (start, *((view.rpartition("-")[2], view) for view in steps))))
    return tuple(curves)


def drift_html(curves: Sequence[Curve], lines: Sequence[Line], of: Column, reference: str) -> str:
    """One chart a curve with the first `MODELS` of `lines`; `reference` is the view whose level is marked.

    A line without scores keeps its colour for the charts where it has some.
    """
    lines = lines[:MODELS]
    ends = [
        end
        for line in lines
        for curve in curves
        for score in line.at(curve)
        for end in (score.value, score.low, score.high)
        if end is not None
    ]
    if not ends:
        return ""
    scale = axis(ends, of.unit)
    charts = "".join(_chart(curve, lines, scale, of, reference) for curve in curves)
    return f'{_legend(lines) if len(lines) > 1 else ""}<div class="drifts">{charts}</div>'


def _legend(lines: Sequence[Line]) -> str:
    keys = (
        f'<li><svg class="drift" viewBox="0 0 28 12" aria-hidden="true"><g class="m{i}">'
        f'<path class="line" d="M1 6h26"/><path class="dots" d="M14 6h0"/></g></svg>{as_html(line.name)}</li>'
        for i, line in enumerate(lines)
        if line.scores
    )
    return f'<ul class="legend lines" aria-label="Lines of the charts">{"".join(keys)}</ul>'


def _chart(curve: Curve, lines: Sequence[Line], scale: Axis, of: Column, reference: str) -> str:
    steps = ", ".join(label for label, _ in curve.steps)
    told = [
        " ".join([line.name, *(value_text(score.value) for score in line.at(curve))]) for line in lines if line.scores
    ]
    title = f"{curve.name}: {of.title} at {steps}: {'; '.join(told)}"
    drawn = "".join(_model(i, line, curve, len(lines), scale, reference) for i, line in enumerate(lines) if line.scores)
    return (
        f"<figure><figcaption>{as_html(curve.name)}</figcaption>"
        f'<svg class="drift" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{as_html(title)}</title>'
        f"{_grid(scale)}{_steps(curve)}{drawn}</svg></figure>"
    )


def _grid(scale: Axis) -> str:
    lines = "".join(f"M{_text(LEFT)} {_up(tick, scale)}H{_text(RIGHT)}" for tick in scale.ticks)
    texts = "".join(
        f'<text class="left" x="{_text(LEFT - 4)}" y="{_up(tick, scale)}" dy="3.5">{tick:g}</text>'
        for tick in scale.ticks
    )
    return f'<path class="grid" d="{lines}"/>{texts}'


def _steps(curve: Curve) -> str:
    return "".join(
        f'<text class="below" x="{_text(_across(at, len(curve.steps)))}" y="{HEIGHT - 4}">{as_html(label)}</text>'
        for at, (label, _) in enumerate(curve.steps)
    )


def _model(index: int, line: Line, curve: Curve, models: int, scale: Axis, reference: str) -> str:
    """One line with its intervals, set a little aside from the others', and its reference's level."""
    aside = (index - (models - 1) / 2) * APART
    path, dots, whiskers, pen = "", "", "", "M"
    for at, score in enumerate(line.at(curve)):
        if score.value is None:
            pen = "M"  # a gap, never a line across what is not known
            continue
        x = _text(_across(at, len(curve.steps)) + aside)
        path += f"{pen}{x} {_up(score.value, scale)}"
        dots += f"M{x} {_up(score.value, scale)}h0"
        pen = "L"
        if score.low is not None and score.high is not None:
            whiskers += f"M{x} {_up(score.low, scale)}V{_up(score.high, scale)}"
    level = line.scores.get(reference, NO_SCORE).value
    mark = "" if level is None else f'<path class="datum" d="M{_text(LEFT)} {_up(level, scale)}H{_text(RIGHT)}"/>'
    return (
        f'<g class="m{index}">{mark}<path class="ends" d="{whiskers}"/><path class="line" d="{path}"/>'
        f'<path class="dots" d="{dots}"/></g>'
    )


def _across(step: int, steps: int) -> float:
    room = RIGHT - LEFT - 2 * INSET
    return LEFT + INSET + room * (step / (steps - 1) if steps > 1 else 0.5)


def _up(value: float, scale: Axis) -> str:
    share = min(max((value - scale.low) / (scale.high - scale.low), 0.0), 1.0)
    return _text(BOTTOM - share * (BOTTOM - TOP))


def _text(number: float) -> str:
    """A length with one decimal at most."""
    return f"{number:.1f}".removesuffix(".0")
