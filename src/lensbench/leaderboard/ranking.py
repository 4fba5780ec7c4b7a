"""The ranking as an HTML table: ranked rows, then published ones, drawn on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lensbench.benchmark import Reference
from lensbench.leaderboard.charts import Axis, axis, axis_labels, whisker
from lensbench.leaderboard.columns import MAIN, NONE, Column, count_text, interval_text, value_text
from lensbench.leaderboard.detail import anchor, find_text, link
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_html, clean
from lensbench.leaderboard.scores import Score
from lensbench.leaderboard.standing import Ranked, Standing
from lensbench.leaderboard.words import NEAR, NO_INTERVAL, eval_command, rank_text


@dataclass(frozen=True)
class _Plot:
    """What every row's drawing shares: the axis, and the first row's interval behind it."""

    axis: Axis
    lead: Score | None


def ranking(board: Standing) -> str:
    """Controls, table and legend."""
    plot = _plot(board)
    width = len(board.columns) + 4
    ranked = "".join(_ranked(board, row, plot) for row in board.ranked)
    if not ranked:
        line = f"No complete record yet. The first could be yours: <code>{as_html(eval_command(board))}</code>"
        ranked = f'<tr class="part"><td colspan="{width}"><p class="sticky">{line}</p></td></tr>'
    nothing = f'<tr class="part"><td colspan="{width}"><span class=sticky>No model matches.</span></td></tr>'
    bodies = f'<tbody>{ranked}</tbody>{_published(board, plot, width)}<tbody class="nothing" hidden>{nothing}</tbody>'
    near = f"<p class=quiet><b>≈</b> {NEAR}</p>" if any(row.overlaps for row in board.ranked) else ""
    shaded = plot.lead is not None and plot.lead.low is not None
    shade = "<p class=quiet>Shaded: the 95 % interval of the first row.</p>" if shaded else ""
    table = f'<table class="board"><thead><tr>{_heads(board, plot.axis)}</tr></thead>{bodies}</table>'
    return (
        f'{_controls(board.columns)}<div class="scroll" tabindex="0" role="region" aria-label="Ranking">'
        f"{table}</div>{shade}{near}"
    )


def _plot(board: Standing) -> _Plot:
    headline = board.headline
    scores = [row.entry.score(headline.id) for row in board.ranked]
    ends = [end for score in scores for end in (score.value, score.low, score.high)]
    published = [reference.values.get(headline.id) for reference in board.references]
    known = [end for end in (*ends, *published) if end is not None]
    return _Plot(axis(known, headline.unit), scores[0] if scores else None)


def _controls(columns: Sequence[Column]) -> str:
    """Filter and choice of columns; the script shows them, since without it they would do nothing."""
    boxes = "".join(
        f'<label><input type="checkbox" value="{i}"{" checked" if i < MAIN else ""}>'
        f"<span>{as_html(column.title)}</span></label>"
        for i, column in enumerate(columns)
        if i
    )
    field = '<input type="search" placeholder="model, author, licence" autocomplete="off">'
    return (
        f'<div class="controls" hidden><label class="filter">Filter {field}</label>'
        f'<details class="choose"><summary>Columns</summary><div class="boxes">{boxes}</div></details>'
        '<output aria-live="polite"></output></div>'
    )


def _heads(board: Standing, scale: Axis) -> str:
    first, *others = board.columns
    heard = f'<span class="hear">Interval of {as_html(first.title)}</span>'
    return "".join(
        [
            '<th scope="col" class="n" data-sort>Rank</th>',
            '<th scope="col" class="model" data-sort>Model</th>',
            f'<th scope="col" class="n"{_order(first)}>{as_html(first.title)}</th>',
            f'<th scope="col" class="drawn">{axis_labels(scale)}{heard}</th>',
            *(_head(column, i) for i, column in enumerate(others, start=1)),
            '<th scope="col" class="n" data-sort>Parameters</th>',
        ]
    )


def _head(column: Column, index: int) -> str:
    long = " long" if len(column.title) > 24 else ""
    return f'<th scope="col" class="n{long}" data-c="{index}"{_order(column)}>{as_html(column.title)}</th>'


def _order(column: Column) -> str:
    """A column's first click puts its best value on top."""
    return ' data-sort="down"' if column.higher else " data-sort"


def _ranked(board: Standing, row: Ranked, plot: _Plot) -> str:
    entry = row.entry
    near = f'<span class="near" title="{as_html(NEAR)}">≈</span>' if row.overlaps else ""
    name = f'<a href="#{anchor(entry)}">{as_html(entry.name)}</a>{byline(entry)}'
    size = "<td" if entry.parameters is None else f'<td data-v="{entry.parameters}"'
    text = NONE if entry.parameters is None else count_text(entry.parameters)
    cells = _cells([entry.score(column.id) for column in board.columns], plot)
    return (
        f'<tr data-find="{find_text(entry)}">'
        f'<td class="n rank" data-v="{row.rank}">{near}{rank_text(row)}</td>'
        f'<th scope="row" class="model">{name}</th>{cells}{size} class="n">{text}</td></tr>'
    )


def byline(entry: Entry) -> str:
    """Authors, licence and, of a segmentation, the protocol, below the name."""
    made = f"{entry.segments.protocol}: {entry.segments.made}" if entry.segments else None
    known = " · ".join(filter(None, [", ".join(entry.authors), entry.licence, made]))
    return f"<small>{as_html(known)}</small>" if known else ""


def _published(board: Standing, plot: _Plot, width: int) -> str:
    if not board.references:
        return ""
    part = (
        f'<tr class="part"><th colspan="{width}" scope="rowgroup">'
        "<span class=sticky>Unranked: as published, not re-run</span></th></tr>"
    )
    rows = "".join(_reference(board, reference, plot) for reference in board.references)
    return f'<tbody class="published">{part}{rows}</tbody>'


def _reference(board: Standing, reference: Reference, plot: _Plot) -> str:
    name, source = clean(reference.name, 200), clean(reference.source, 400)
    values = [reference.values.get(column.id) for column in board.columns]
    scores = [Score(value, None, None, "none", 0, "not published" if value is None else "") for value in values]
    return (
        f'<tr data-find="{as_html(f"{name} {source}".lower())}"><td class="n rank">{NONE}</td>'
        f'<th scope="row" class="model">{link(name, reference.url)}<small>{as_html(source)}</small></th>'
        f'{_cells(scores, plot)}<td class="n">{NONE}</td></tr>'
    )


def _cells(scores: Sequence[Score], plot: _Plot) -> str:
    drawn = f'<td class="drawn">{whisker(scores[0], plot.axis, plot.lead)}</td>'
    others = (_cell(score, f' data-c="{i}"') for i, score in enumerate(scores[1:], start=1))
    return f"{_cell(scores[0])}{drawn}{''.join(others)}"


def _cell(score: Score, at: str = "") -> str:
    if score.value is None:
        return f'<td class="n"{at} title="{as_html(score.reason)}">{NONE}</td>'
    interval, why = interval_text(score), as_html(score.reason)
    small = f"<small>{interval}</small>" if interval else f'<small title="{why}">{NO_INTERVAL}</small>' if why else ""
    return f'<td class="n"{at} data-v="{score.value!r}">{value_text(score.value)}{small}</td>'
