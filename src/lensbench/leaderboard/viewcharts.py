"""Views as HTML: the scores of each with their intervals, what each stage costs, and records × views as one matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from lensbench.leaderboard.charts import Axis, axis, axis_labels, whisker
from lensbench.leaderboard.columns import Column, column_of, interval_text, value_text
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_html
from lensbench.leaderboard.scores import Score
from lensbench.leaderboard.searching import found_html, search_html
from lensbench.leaderboard.viewing import Viewing
from lensbench.viewspec import Views

SHADES = 8
"""Colours of the matrix."""
MANY = 24
"""Views up to which each of them is shown at once."""


def views_html(viewing: Viewing) -> str:
    """What each stage costs, and the views with their intervals on one axis, the reference's behind them.

    Many views are folded away, for the stages sum them up.
    """
    stages, views = _stages(viewing), _views(viewing)
    return views + stages if len(viewing.views) <= MANY else stages + _folded(len(viewing.views), views)


def _folded(views: int, html: str) -> str:
    return f"<details class=fold><summary>All {views:,} views</summary>{html}</details>"


def _views(viewing: Viewing) -> str:
    of = column_of(viewing.base)
    scores = viewing.scores(of.id)
    scale = axis(_ends(scores.values()), of.unit)
    reference = scores[viewing.reference]
    rows = [
        _row(name + (" (reference)" if name == viewing.reference else ""), score, scale, reference)
        for name, score in scores.items()
    ]
    which = f"each view of {viewing.tier}" if viewing.search is None else "the views asked first, and the worst"
    told = f"{of.title} in {which}; the band is the reference view's interval."
    found = search_html(viewing.search, of, reference.value) if viewing.search else ""
    return f"{found}<p class=quiet>{as_html(told)}</p>{_table('View', of.title, scale, rows)}"


def _stages(viewing: Viewing) -> str:
    if not viewing.stages:
        return ""
    drops = axis([0.0, *_ends(stage.drop for stage in viewing.stages)], unit=False)
    rows = [_row(f"{stage.name} ({stage.views})", stage.drop, drops) for stage in viewing.stages]
    told = "What a stage costs: the mean over its severities (how many in brackets) of the reference's lead."
    return f"<p class=quiet>{told}</p>{_table('Stage', 'Mean drop', drops, rows)}"


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


def matrix_html(entries: Sequence[Entry], views: Views, of: Column) -> str:
    """Records × views: where records differ in the view they were trained on, the train-view × test-view matrix.

    Many views are summed up by stage, and each on its own is folded away. Of searches, whose views differ by record,
    what each found.
    """
    shown = [(entry, entry.viewing) for entry in entries if entry.viewing is not None]
    if not shown:
        return ""
    if views.search is not None:
        clean = f"clean:{of.id}"
        return found_html(
            of, [(entry.name, one.search, entry.score(clean).value) for entry, one in shown if one.search]
        )
    scores = {
        entry.sha256: {name: score.value for name, score in viewing.scores(of.id).items()} for entry, viewing in shown
    }
    each = {name: (name,) for name in views.names}
    told = f"{of.title}: a row is a model, a column the view it is tested on; darker is better."
    matrix = _matrix([entry for entry, _ in shown], scores, each, of, told)
    if len(each) <= MANY or not matrix:
        return matrix
    stages = {name: tuple(views.names[place] for place in places) for name, places in views.series.items()}
    columns = {views.reference.name: (views.reference.name,), **stages}
    told = f"{of.title}: a row is a model, a column the mean over the severities of one stage; darker is better."
    summed = _matrix([entry for entry, _ in shown], scores, columns, of, told) if stages else ""
    return summed + _folded(len(each), matrix)


def _matrix(
    entries: Sequence[Entry],
    scores: Mapping[str, Mapping[str, float | None]],
    columns: Mapping[str, Sequence[str]],
    of: Column,
    told: str,
) -> str:
    """A row a record; of a column the mean over its views, where all of them are known."""
    values = [
        [_mean([scores[entry.sha256].get(view) for view in views]) for views in columns.values()] for entry in entries
    ]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    rows = []
    for entry, row in zip(entries, values, strict=True):
        cells = "".join(_cell(value, low, high, of.higher) for value in row)
        trained = f"<small>{as_html(entry.training)}</small>" if entry.training else ""
        rows.append(f'<tr><th scope="row">{as_html(entry.name)}{trained}</th>{cells}</tr>')
    head = '<th scope="col">Model, and what it was trained on</th>' + "".join(
        f'<th scope="col" class="n">{as_html(name)}</th>' for name in columns
    )
    return f"<p class=quiet>{as_html(told)}</p>{_scrolled('Models by view', head, rows, ' class=matrix')}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if values and len(known) == len(values) else None


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
