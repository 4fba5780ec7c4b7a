"""A benchmark with its tiers on one page: models × tiers, and the drift curves of each tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lensbench.leaderboard.columns import NONE, column_of, interval_text, value_text
from lensbench.leaderboard.detail import anchor
from lensbench.leaderboard.driftcharts import DRIFT, MODELS, Line, curves_of, drift_html
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_html, clean
from lensbench.leaderboard.scores import NO_SCORE, Score
from lensbench.leaderboard.standing import Standing
from lensbench.leaderboard.words import NO_INTERVAL, board_url
from lensbench.metrics.views import split_id

TOLD = (
    "A row is a model, a column a tier of views: its headline with the 95 % interval, then the reference view and the "
    "mean of its views. Each tier is a benchmark of its own; columns are not compared with one another."
)
EMPTY = "no ranked record yet"


@dataclass(frozen=True)
class Row:
    """One model: its ranked record on each board, None where it has none."""

    name: str
    entries: tuple[Entry | None, ...]

    def headlines(self, board: Standing) -> list[Score]:
        """Its score on each of the boards."""
        pairs = zip(boards_of(board), self.entries, strict=True)
        return [entry.score(each.headline.id) if entry else NO_SCORE for each, entry in pairs]


def boards_of(board: Standing) -> tuple[Standing, ...]:
    """The board itself, then its tiers'."""
    return (board, *board.tiers)


def rows_of(board: Standing) -> list[Row]:
    """Every model that is ranked on one of the boards: in the order of the first, then of the next."""
    ranked: list[Mapping[str, Entry]] = [
        {row.entry.identity: row.entry for row in each.ranked} for each in boards_of(board)
    ]
    names = {key: entry.name for entries in reversed(ranked) for key, entry in entries.items()}
    order = dict.fromkeys(key for entries in ranked for key in entries)
    return [Row(names[key], tuple(entries.get(key) for entries in ranked)) for key in order]


def tier_name(board: Standing) -> tuple[str, str]:
    """The letter of a board's tier, and its title."""
    views = board.benchmark.views
    letter, title = (views.tier.letter, views.tier.title) if views else (board.benchmark.name, board.benchmark.title)
    return clean(letter, 80), clean(title, 200)


def leads(board: Standing, tier: Standing) -> bool:
    """Whether a link from the one to the other leads anywhere: a board without any record may never be written."""
    return tier is not board and bool(tier.ranked or tier.apart or tier.refused)


# -- models × tiers ------------------------------------------------------------------------------------------


def tiers_html(board: Standing, linked: bool) -> str:
    """The table; with `linked` its heads lead to each tier's own board."""
    heads = "".join(_head(each, linked and leads(board, each)) for each in boards_of(board))
    body = "".join(
        f'<tr><th scope="row" class="model">{_model(row)}</th>{"".join(map(_cell, boards_of(board), row.entries))}</tr>'
        for row in rows_of(board)
    )
    head = f'<tr><th scope="col" class="model">Model</th>{heads}</tr>'
    table = f'<table class="tiers"><thead>{head}</thead><tbody>{body}</tbody></table>'
    return (
        f'<p class=quiet>{TOLD}</p><div class="scroll" tabindex="0" role="region" aria-label="All tiers">{table}</div>'
    )


def _head(board: Standing, linked: bool) -> str:
    empty = "" if board.ranked else f"<small>{EMPTY}</small>"
    return f'<th scope="col" class="n">{_named(board, linked)}{empty}</th>'


def _named(board: Standing, linked: bool) -> str:
    """Letter and title of a board's tier, with a link to the board."""
    letter, title = map(as_html, tier_name(board))
    named = f'<a href="{as_html(board_url(board.benchmark.slug))}">{letter}</a>' if linked else letter
    return f"{named} <small>{title}</small>"


def _model(row: Row) -> str:
    """Its name, which leads to its record if that is on this page."""
    first, name = row.entries[0], as_html(row.name)
    return name if first is None else f'<a href="#{anchor(first)}">{name}</a>'


def _cell(board: Standing, entry: Entry | None) -> str:
    if entry is None:
        return f'<td class="n">{NONE}</td>'
    score = entry.score(board.headline.id)
    interval = interval_text(score) or NO_INTERVAL
    small = "".join(f"<small>{text}</small>" for text in (interval, _beside(board, entry)) if text)
    return f'<td class="n"><b>{value_text(score.value)}</b>{small}</td>'


def _beside(board: Standing, entry: Entry) -> str:
    """The reference view and the mean of the views, where the board has them."""
    base = base_of(board)
    found = {word: entry.score(f"{what}:{base}").value for word, what in (("ref", "clean"), ("mean", "mean_view"))}
    return " · ".join(f"{word} {value_text(value)}" for word, value in found.items() if value is not None)


# -- drift curves --------------------------------------------------------------------------------------------


def family_drift(board: Standing, linked: bool) -> str:
    """The curves of the board and of each tier that has some; a model has the same colour in all of them."""
    rows = rows_of(board)
    parts = []
    for at, each in enumerate(boards_of(board)):
        of = column_of(base_of(each))
        lines = [_line(row.name, row.entries[at], of.id) for row in rows]
        views = each.benchmark.views
        drawn = drift_html(curves_of(views), lines, of, views.reference.name) if views else ""
        if drawn:
            parts.append(f"<h3>{_named(each, linked and leads(board, each))}</h3>{drawn}")
    more = f" Of {len(rows):,} models the first {MODELS} are drawn." if len(rows) > MODELS else ""
    return (
        f"<p class=quiet>{as_html(column_of(base_of(board)).title)} {DRIFT}{more}</p>{''.join(parts)}" if parts else ""
    )


def _line(name: str, entry: Entry | None, metric: str) -> Line:
    return Line(name, entry.viewing.scores(metric) if entry and entry.viewing else {})


def base_of(board: Standing) -> str:
    """The metric that the headline is made of."""
    parts = split_id(board.headline.id)
    return parts[1] if parts else board.headline.id
