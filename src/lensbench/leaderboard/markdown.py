"""The board as Markdown: what a forge shows in the folder of a board."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lensbench.leaderboard.columns import MAIN, NONE, Column, interval_text, value_text
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_markdown, clean, web_url
from lensbench.leaderboard.family import EMPTY, boards_of, leads, rows_of, tier_name
from lensbench.leaderboard.scores import Score
from lensbench.leaderboard.standing import Ranked, Standing
from lensbench.leaderboard.words import NEAR, NO_INTERVAL, banners, board_url, commands, pinned_text, rank_text


def markdown_text(board: Standing, linked: bool = False) -> str:
    """README.md of a board, ending in a newline; `linked`: the boards of its family lie beside it."""
    benchmark = board.benchmark
    sections = [
        [f"# {as_markdown(clean(benchmark.title, 200))}"],
        [f"> **{text}**" for text in banners(benchmark.synthetic, benchmark.simulation is not None)],
        [_about(board)],
        _ranked(board),
        _tiers(board, linked),
        _references(board),
        _apart(board),
        _check(board),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _about(board: Standing) -> str:
    benchmark = board.benchmark
    direction = "higher" if board.headline.higher else "lower"
    headline = as_markdown(board.headline.title)
    return (
        f"Dataset `{benchmark.dataset}` {as_markdown(benchmark.version)}, config `{benchmark.config}`, split "
        f"`{benchmark.split}`; {len(benchmark.labels)} classes; ranked by {headline} "
        f"({direction} is better); values with 95 % intervals (cluster `{benchmark.cluster}`). "
        "The page with every class, confusion and digest is [index.html](index.html), the table with every "
        "metric [board.csv](board.csv)."
    )


def _ranked(board: Standing) -> list[str]:
    if not board.ranked:
        return ["No complete record yet."]
    shown = board.columns[:MAIN]
    rows = [
        [_rank(row), *_named(row.entry), *(_score(row.entry.score(column.id)) for column in shown)]
        for row in board.ranked
    ]
    near = ["", f"≈ {NEAR}"] if any(row.overlaps for row in board.ranked) else []
    heads = ["Model", "Protocol"] if board.benchmark.protocol else ["Model"]
    return [*_table(["Rank", *heads, *_titles(shown)], rows, right=1), *near]


def _named(entry: Entry) -> list[str]:
    """The name, and of a segmentation how it was made and compared."""
    name = as_markdown(entry.name)
    return [name, as_markdown(f"{entry.segments.protocol}: {entry.segments.made}")] if entry.segments else [name]


def _rank(row: Ranked) -> str:
    return rank_text(row) + (" ≈" if row.overlaps else "")


def _tiers(board: Standing, linked: bool) -> list[str]:
    """Of a benchmark with tiers: the headline on each of them."""
    if not board.tiers:
        return []
    named, heads = [], []
    for each in boards_of(board):
        letter, title = map(as_markdown, tier_name(each))
        named.append(f"{letter}: {title}" + ("" if each.ranked else f" ({EMPTY})"))
        url = board_url(each.benchmark.slug, "README.md")
        heads.append(f"[{letter}](<{url}>)" if linked and leads(board, each) else letter)
    rows = [[as_markdown(row.name), *(_score(score) for score in row.headlines(board))] for row in rows_of(board)]
    told = f"The headline of each tier. {'; '.join(named)}."
    return ["## All tiers", "", told, "", *_table(["Model", *heads], rows)]


def _references(board: Standing) -> list[str]:
    if not board.references:
        return []
    shown = board.columns[:MAIN]
    rows = [
        [
            as_markdown(clean(reference.name, 200)),
            *(value_text(reference.values.get(column.id)) for column in shown),
            _link(clean(reference.source, 400), reference.url),
        ]
        for reference in board.references
    ]
    return [
        "## Published, not re-run",
        "",
        "Unranked: numbers as their authors published them, without intervals.",
        "",
        *_table(["Result", *_titles(shown), "Source"], rows),
    ]


def _link(text: str, url: str) -> str:
    target = web_url(url)
    return f"[{as_markdown(text)}](<{target}>)" if target else as_markdown(text)


def _apart(board: Standing) -> list[str]:
    lines = [f"- {as_markdown(row.entry.name)}: {as_markdown(row.reason)}" for row in board.apart]
    bad = [f"- {as_markdown(row.key)}: {as_markdown(row.reason)}" for row in board.refused]
    apart = ["## Apart", "", "Records that are not compared with the ones above.", "", *lines] if lines else []
    gap = [""] if lines and bad else []
    return [*apart, *gap, *(["## Refused", "", "Files that are not sound records.", "", *bad] if bad else [])]


def _check(board: Standing) -> list[str]:
    return [
        "## Check it",
        "",
        f"Benchmark digest `{board.benchmark.digest}`.",
        pinned_text(board),
        "",
        "```sh",
        *commands(board),
        "```",
    ]


def _score(score: Score) -> str:
    if score.value is None:
        return NONE
    return f"{value_text(score.value)} {interval_text(score) or NO_INTERVAL}"


def _titles(shown: Iterable[Column]) -> list[str]:
    return [as_markdown(column.title) for column in shown]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> list[str]:
    rule = ["---:" if i < right else "---" for i in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
