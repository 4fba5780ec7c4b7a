"""The board as one self-contained HTML page: no outside request, whole without JavaScript, sortable with it.

The style and the script are files of this package, put into the page and allowed by their hash alone: even a
text that slipped through unescaped could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lensbench.leaderboard.detail import anchor, definition_list, detail, find_text
from lensbench.leaderboard.escape import as_html, clean
from lensbench.leaderboard.ranking import byline, ranking
from lensbench.leaderboard.segments import compared_text
from lensbench.leaderboard.standing import Standing
from lensbench.leaderboard.viewcharts import matrix_html
from lensbench.leaderboard.words import HASH, banners_html, commands, pinned_text, rank_text


def page_text(board: Standing) -> str:
    """index.html of a board, ending in a newline."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    title = as_html(clean(board.benchmark.title, 200))
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        f"<header>{_banner(board)}<p class=kicker>lensbench leaderboard</p><h1>{title}</h1>",
        f"{_about(board)}</header>",
        "<main>",
        _section("ranking", "Ranking", ranking(board)),
        _matrix(board),
        _apart(board),
        _refused(board),
        _records(board),
        _definitions(board),
        _check(board),
        "</main>",
        f"<script>{script}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(filter(None, lines)) + "\n"


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _banner(board: Standing) -> str:
    return banners_html(board.benchmark.synthetic, board.benchmark.simulation is not None)


def _about(board: Standing) -> str:
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
    return as_html(f"{len(views.tier.views)}: {views.tier.title} ({views.tier.name}); reference {views.reference.name}")


def _protocol(board: Standing) -> str:
    protocol = board.benchmark.protocol
    return as_html(f"{protocol.name}: {compared_text(protocol.to_json()['scoring'])}") if protocol else ""


def _matrix(board: Standing) -> str:
    drawn = matrix_html([row.entry for row in board.ranked])
    return _section("views", "Models by view", drawn) if drawn else ""


def _apart(board: Standing) -> str:
    if not board.apart:
        return ""
    rows = [
        f'<tr data-find="{find_text(row.entry)}"><th scope="row"><a href="#{anchor(row.entry)}">'
        f"{as_html(row.entry.name)}</a>{byline(row.entry)}</th><td>{as_html(row.reason)}</td></tr>"
        for row in board.apart
    ]
    told = "Records that are not compared with the ranking, and why."
    return _section("apart", "Apart", f"<p class=quiet>{told}</p>{_reasons('Apart', 'Model', rows)}")


def _refused(board: Standing) -> str:
    if not board.refused:
        return ""
    rows = [
        f'<tr><th scope="row"><code>{as_html(row.key)}</code></th><td>{as_html(row.reason)}</td></tr>'
        for row in board.refused
    ]
    told = "Files among the records that are not sound ones."
    return _section("refused", "Refused", f"<p class=quiet>{told}</p>{_reasons('Refused', 'File', rows)}")


def _reasons(label: str, what: str, rows: Sequence[str]) -> str:
    head = f'<tr><th scope="col">{what}</th><th scope="col">Reason</th></tr>'
    table = f'<table class="reasons"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _records(board: Standing) -> str:
    ranked = [detail(row.entry, board.columns, rank_text(row)) for row in board.ranked]
    apart = [detail(row.entry, board.columns, "apart", row.reason) for row in board.apart]
    return _section("records", "Records", "\n".join([*ranked, *apart])) if ranked or apart else ""


def _definitions(board: Standing) -> str:
    pairs = [
        (
            column.title,
            f"<code>{as_html(column.id)}</code> version {column.version}: {as_html(column.formula)}",
        )
        for column in board.columns
    ]
    body = f'<div class="body definitions">{definition_list(pairs)}</div>'
    listed = f'<details class="record"><summary>{len(pairs)} definitions</summary>{body}</details>'
    return _section("metrics", "What the metrics mean", listed)


def _check(board: Standing) -> str:
    typed = as_html("\n".join(commands(board)))
    files = 'The table is also in <a href="board.csv">board.csv</a> and <a href="README.md">README.md</a>.'
    body = f"<p>{pinned_text(board)}</p><p>{HASH}</p><pre>{typed}</pre><p>{files}</p>"
    return _section("check", "Check it", body)


def _section(key: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="h-{key}"><h2 id="h-{key}">{title}</h2>{body}</section>'
