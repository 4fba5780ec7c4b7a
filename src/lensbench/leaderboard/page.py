"""The board as one self-contained HTML page: no outside request, whole without JavaScript, sortable with it."""

from __future__ import annotations

from collections.abc import Sequence

from lensbench.leaderboard.columns import column_of
from lensbench.leaderboard.detail import anchor, definition_list, detail, find_text
from lensbench.leaderboard.escape import as_html, clean
from lensbench.leaderboard.family import base_of, family_drift, tiers_html
from lensbench.leaderboard.frame import document, section
from lensbench.leaderboard.ranking import byline, ranking
from lensbench.leaderboard.segments import compared_text
from lensbench.leaderboard.standing import Standing
from lensbench.leaderboard.viewcharts import matrix_html
from lensbench.leaderboard.words import HASH, banners_html, board_url, commands, pinned_text, rank_text
from lensbench.registry import SPECIMEN
from lensbench.viewspec import OUTSIDE


def page_text(board: Standing, linked: bool = False) -> str:
    """index.html of a board, ending in a newline; `linked`: the boards of its family lie beside it."""
    title = as_html(clean(board.benchmark.title, 200))
    header = f"{_banner(board)}<p class=kicker>lensbench leaderboard</p><h1>{title}</h1>{_about(board, linked)}"
    main = [
        section("ranking", "Ranking", ranking(board)),
        section("tiers", "All tiers", tiers_html(board, linked) if board.tiers else ""),
        section("views", "Worst view found" if _searched(board) else "Models by view", _matrix(board)),
        section("drift", "Drift by stage and severity", family_drift(board, linked)),
        section("apart", "Apart", _apart(board)),
        section("refused", "Refused", _refused(board)),
        section("records", "Records", _records(board)),
        section("metrics", "What the metrics mean", _definitions(board)),
        section("check", "Check it", _check(board)),
    ]
    return document(title, ["page.css"], header, main, "page.js")


def _banner(board: Standing) -> str:
    return banners_html(board.benchmark.synthetic, board.benchmark.simulation is not None)


def _about(board: Standing, linked: bool) -> str:
    benchmark, contract = board.benchmark, board.benchmark.input
    samples = f"{board.ranked[0].entry.coverage.expected:,}" if board.ranked else ""
    if benchmark.absent:
        samples += f" ({len(benchmark.absent):,} listed ids have no file)"
    better = "higher" if board.headline.higher else "lower"
    size = f"{contract.height} × {contract.width}" if contract.height else "own size,"
    resize = f", {as_html(contract.resize)}" if contract.resize != "none" else ""
    pairs = [
        ("Dataset", f"{as_html(benchmark.dataset)} {as_html(benchmark.version)}"),
        ("Split", f"{as_html(benchmark.config)}, {as_html(benchmark.split)}"),
        ("Samples", samples),
        ("Classes", f"{len(benchmark.labels):,}"),
        ("Input", f"{size} {contract.colour}{resize}"),
        ("Views", _views(board)),
        ("Tier of", _head(board, linked)),
        ("Protocol", _protocol(board)),
        ("Ranked by", f"{as_html(board.headline.title)}, {better} is better"),
        ("Intervals", f"95 %, clusters by {as_html(benchmark.cluster)}"),
        ("Benchmark digest (sha256)", f'<code class="digest">{benchmark.digest}</code>'),
    ]
    return definition_list(pairs)


def _views(board: Standing) -> str:
    views = board.benchmark.views
    if views is None:
        return ""
    if views.search is not None:
        asked = f"the worst of {views.search.budget} asked about in {views.tier.name}, seed {views.search.seed}"
        return as_html(f"{asked}; reference {views.reference.name}")
    where = "beside them" if views.reference.name == OUTSIDE else views.reference.name
    return as_html(f"{len(views.tier.views)}: {views.tier.title} ({views.tier.name}); reference {where}")


def _searched(board: Standing) -> bool:
    return board.benchmark.views is not None and board.benchmark.views.search is not None


def _head(board: Standing, linked: bool) -> str:
    """Of a tier, the benchmark whose board shows all of them."""
    head = board.benchmark.family
    if head is None:
        return ""
    slug = f"{head}-{SPECIMEN}" if board.benchmark.synthetic else head
    return f'<a href="{as_html(board_url(slug))}">{as_html(head)}</a>' if linked else as_html(head)


def _protocol(board: Standing) -> str:
    protocol = board.benchmark.protocol
    return as_html(f"{protocol.name}: {compared_text(protocol.to_json()['scoring'])}") if protocol else ""


def _matrix(board: Standing) -> str:
    views = board.benchmark.views
    return matrix_html([row.entry for row in board.ranked], views, column_of(base_of(board))) if views else ""


def _apart(board: Standing) -> str:
    if not board.apart:
        return ""
    rows = [
        f'<tr data-find="{find_text(row.entry)}"><th scope="row"><a href="#{anchor(row.entry)}">'
        f"{as_html(row.entry.name)}</a>{byline(row.entry)}</th><td>{as_html(row.reason)}</td></tr>"
        for row in board.apart
    ]
    told = "Records that are not compared with the ranking, and why."
    return f"<p class=quiet>{told}</p>{_reasons('Apart', 'Model', rows)}"


def _refused(board: Standing) -> str:
    if not board.refused:
        return ""
    rows = [
        f'<tr><th scope="row"><code>{as_html(row.key)}</code></th><td>{as_html(row.reason)}</td></tr>'
        for row in board.refused
    ]
    told = "Files among the records that are not sound ones."
    return f"<p class=quiet>{told}</p>{_reasons('Refused', 'File', rows)}"


def _reasons(label: str, what: str, rows: Sequence[str]) -> str:
    head = f'<tr><th scope="col">{what}</th><th scope="col">Reason</th></tr>'
    table = f'<table class="reasons"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _records(board: Standing) -> str:
    ranked = [detail(row.entry, board.columns, rank_text(row)) for row in board.ranked]
    apart = [detail(row.entry, board.columns, "apart", row.reason) for row in board.apart]
    return "\n".join([*ranked, *apart])


def _definitions(board: Standing) -> str:
    pairs = [
        (
            column.title,
            f"<code>{as_html(column.id)}</code> version {column.version}: {as_html(column.formula)}",
        )
        for column in board.columns
    ]
    body = f'<div class="body definitions">{definition_list(pairs)}</div>'
    return f'<details class="record"><summary>{len(pairs)} definitions</summary>{body}</details>'


def _check(board: Standing) -> str:
    typed = as_html("\n".join(commands(board)))
    files = 'The table is also in <a href="board.csv">board.csv</a> and <a href="README.md">README.md</a>.'
    return f"<p>{pinned_text(board)}</p><p>{HASH}</p><pre>{typed}</pre><p>{files}</p>"
