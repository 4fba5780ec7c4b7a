"""Views as HTML: the scores of each with their intervals, what each stage costs, and records × views as one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lensbench.errors import BenchmarkError
from lensbench.leaderboard.charts import Axis, axis, axis_labels, whisker
from lensbench.leaderboard.columns import interval_text, value_text
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_html
from lensbench.leaderboard.scores import Score
from lensbench.leaderboard.searching import found_html, search_html
from lensbench.leaderboard.viewing import Viewing
from lensbench.metrics import get_metric

SHADES = 8
"""Colours of the matrix."""


def views_html(viewing: Viewing) -> str:
    """A table of the views with their intervals drawn on one axis, the reference's behind them; then the stages."""
    base = viewing.base
    scores = {view.name: view.score(base) for view in viewing.views}
    scale = axis(_ends(scores.values()), _unit(base))
    reference = scores[viewing.reference]
    rows = [
        _row(name + (" (reference)" if name == viewing.reference else ""), score, scale, reference)
        for name, score in scores.items()
    ]
    which = f"each view of {viewing.tier}" if viewing.search is None else "the views asked first, and the worst"
    told = f"{_title(base)} in {which}; the band is the reference view's interval."
    parts = (
        [] if viewing.search is None else [search_html(viewing.search, _title(base), reference.value, *_range(base))]
    )
    parts += [f"<p class=quiet>{as_html(told)}</p>", _table("View", _title(base), scale, rows)]
    if viewing.stages:
        drops = axis([0.0, *_ends(stage.drop for stage in viewing.stages)], unit=False)
        lines = [_row(f"{stage.name} ({stage.views})", stage.drop, drops) for stage in viewing.stages]
        told = "What a stage costs: the mean over its severities (how many in brackets) of the reference's lead."
        parts += [f"<p class=quiet>{told}</p>", _table("Stage", "Mean drop", drops, lines)]
    return "".join(parts)


def frames_html(viewing: Viewing) -> str:
    """The frames that lose most in some view."""
    rows = [
        f'<tr><th scope="row">{as_html(frame.id)}</th>'
        + "".join(f'<td class="n">{value_text(value)}</td>' for value in (frame.reference, frame.mean, frame.least))
        + f"<td>{as_html(frame.view)}</td></tr>"
        for frame in viewing.frames
    ]
    names = ("Reference", "Mean of views", "Least")
    if viewing.search is not None:
        names = ("Reference", "Mean of all asked", "Worst")
    head = '<th scope="col">Frame</th>' + "".join(f'<th scope="col" class="n">{name}</th>' for name in names)
    return _scrolled("Frames that lose most", f'{head}<th scope="col">in the view</th>', rows) if rows else ""


def matrix_html(entries: Sequence[Entry]) -> str:
    """Records × views: where records differ in the view they were trained on, the train-view × test-view matrix.

    Of searches, whose views differ by record, what each found.
    """
    shown = [(entry, entry.viewing) for entry in entries if entry.viewing is not None]
    if not shown:
        return ""
    first = shown[0][1]
    base = first.base
    if first.search is not None:
        searches = [(entry.name, one.search, entry.score(f"clean:{base}").value) for entry, one in shown if one.search]
        return found_html(_title(base), searches)
    names = [view.name for view in first.views]
    values = [[view.score(base).value for view in viewing.views] for _, viewing in shown]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    higher = _higher(base)
    rows = []
    for (entry, _), row in zip(shown, values, strict=True):
        cells = "".join(_cell(value, low, high, higher) for value in row)
        trained = f"<small>{as_html(entry.training)}</small>" if entry.training else ""
        rows.append(f'<tr><th scope="row">{as_html(entry.name)}{trained}</th>{cells}</tr>')
    head = '<th scope="col">Model, and what it was trained on</th>' + "".join(
        f'<th scope="col" class="n">{as_html(name)}</th>' for name in names
    )
    told = f"{_title(base)}: a row is a model, a column the view it is tested on; darker is better."
    return f"<p class=quiet>{as_html(told)}</p>{_scrolled('Models by view', head, rows, ' class=matrix')}"


def _cell(value: float | None, low: float, high: float, higher: bool) -> str:
    if value is None:
        return f'<td class="n">{value_text(None)}</td>'
    share = (value - low) / (high - low) if high > low else 0.0
    share = share if higher else 1 - share
    return f'<td class="n s{min(int(share * SHADES), SHADES - 1)}">{value_text(value)}</td>'


def _row(name: str, score: Score, scale: Axis, band: Score | None = None) -> str:
    return (
        f'<tr><th scope="row">{as_html(name)}</th><td class="n">{value_text(score.value)}'
        f"<small>{interval_text(score)}</small></td>"
        f'<td class="drawn">{whisker(score, scale, band)}</td></tr>'
    )


def _table(what: str, title: str, scale: Axis, rows: Sequence[str]) -> str:
    head = (
        f'<th scope="col">{what}</th><th scope="col" class="n">{as_html(title)}</th>'
        f'<th scope="col" class="drawn">{axis_labels(scale)}</th>'
    )
    return _scrolled(what, head, rows, " class=views")


def _scrolled(label: str, head: str, rows: Sequence[str], kind: str = "") -> str:
    table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{as_html(label)}">{table}</div>'


def _ends(scores: Iterable[Score]) -> list[float]:
    return [end for score in scores for end in (score.value, score.low, score.high) if end is not None]


def _title(metric: str) -> str:
    try:
        return get_metric(metric).title
    except BenchmarkError:
        return metric


def _range(metric: str) -> tuple[bool, bool]:
    return _higher(metric), _unit(metric)


def _unit(metric: str) -> bool:
    try:
        return get_metric(metric).scale == "unit"
    except BenchmarkError:
        return False


def _higher(metric: str) -> bool:
    try:
        return get_metric(metric).direction == "higher"
    except BenchmarkError:
        return True
