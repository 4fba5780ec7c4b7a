"""One record in full, as a closed `<details>`: its makers, every metric, every class, its confusions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lensbench.leaderboard.charts import bar, confusion_map, legend
from lensbench.leaderboard.columns import (
    NONE,
    Column,
    count_text,
    interval_text,
    share_text,
    value_text,
)
from lensbench.leaderboard.entry import ClassRow, Entry
from lensbench.leaderboard.escape import as_html, web_url
from lensbench.leaderboard.viewcharts import frames_html, views_html

CONFUSED = 15
"""Pairs that the list of the most confused classes shows."""
WORST = 10
"""Images that the list of the worst shows."""
TIES = (
    "Where several classes tie for the highest score, the sample is shared equally among them: counts become "
    "fractions, and a model that answers every sample alike fills the same columns in every row."
)


def anchor(entry: Entry) -> str:
    """The fragment that names an entry on its page."""
    return f"r-{entry.sha256[:12]}"


def find_text(entry: Entry) -> str:
    """What the page's filter searches, in lower case."""
    return as_html(" ".join([entry.name, *entry.authors, entry.licence or "", entry.kind]).lower())


def detail(entry: Entry, columns: Sequence[Column], tag: str, reason: str = "") -> str:
    """The `<details>` of `entry`; `tag` is its rank or ``apart``."""
    summary = f'<summary><span class="tag">{as_html(tag)}</span> {as_html(entry.name)}</summary>'
    # the anchor is inside: a browser opens a closed <details> for a link into it, without any script
    parts = [
        f'<p class="reason">{as_html(reason)}</p>' if reason else "",
        _facts(entry),
        _sentences("Assumed", entry.assumed),
        _sentences("Notes", entry.notes),
        '<div class="halves">',
        f"<div>{_metrics(entry, columns)}</div>",
        f"<div>{_map(entry)}{_curve(entry)}</div>",
        "</div>",
        _views(entry),
        _worst(entry),
        _most_confused(entry),
        _classes(entry),
    ]
    body = f'<div class="body" id="{anchor(entry)}">{"".join(parts)}</div>'
    return f'<details class="record" data-find="{find_text(entry)}">{summary}{body}</details>'


def definition_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms with their descriptions, which are HTML already; a pair without description is left out."""
    items = (f"<div><dt>{as_html(term)}</dt><dd>{description}</dd></div>" for term, description in pairs if description)
    return f"<dl>{''.join(items)}</dl>"


def link(text: str, url: str | None) -> str:
    """A link that gives nothing of this page away, or the bare text where `url` is no web address."""
    target = web_url(url) if url else None
    return (
        f'<a href="{as_html(target)}" rel="nofollow noopener noreferrer">{as_html(text)}</a>'
        if target
        else as_html(text)
    )


def breakable(name: str) -> str:
    """A class name as HTML that may break after ``_`` and ``+``, where taxa are joined.

    >>> breakable("Synedra+Thalassionema")
    'Synedra+<wbr>Thalassionema'
    """
    return as_html(name).replace("_", "_<wbr>").replace("+", "+<wbr>")


def _facts(entry: Entry) -> str:
    got = entry.coverage
    scored = f"{got.scored:,} of {got.expected:,} expected samples"
    if got.missing_ids:
        more = " …" if got.missing > len(got.missing_ids) else ""
        scored += f"; missing: <code>{as_html(', '.join(got.missing_ids))}{more}</code>"
    if got.extra:
        scored += f"; {got.extra:,} answers to other ids were not used"
    digests = {
        "Model": entry.digests["model"],
        "Predictions": entry.digests["predictions"],
        "Data": entry.digests["data"],
        "Benchmark": entry.digests["benchmark"],
        "Record": entry.sha256,
    }
    listed = "".join(f"<li>{name} <code>{as_html(digest)}</code></li>" for name, digest in digests.items() if digest)
    pairs = [
        ("Authors", as_html(", ".join(entry.authors))),
        ("Licence", as_html(entry.licence or "")),
        ("Training data", as_html(entry.training or "")),
        ("Source", link(entry.url, entry.url) if entry.url else ""),
        ("Kind", as_html(entry.kind)),
        ("Labels", "" if entry.segments else as_html(entry.labels)),
        ("Protocol", as_html(f"{entry.segments.protocol}: {entry.segments.made}") if entry.segments else ""),
        ("Parameters", "" if entry.parameters is None else count_text(entry.parameters)),
        ("File size", "" if entry.bytes is None else f"{count_text(entry.bytes)} bytes"),
        ("Scored", scored),
    ]
    return (
        definition_list(pairs)
        + f'<details class="digests"><summary>Digests (sha256)</summary><ul>{listed}</ul></details>'
    )


def _sentences(title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f"<h4>{title}</h4><ul>{''.join(f'<li>{as_html(s)}</li>' for s in sentences)}</ul>"


def _metrics(entry: Entry, columns: Sequence[Column]) -> str:
    rows = []
    for column in columns:
        score = entry.score(column.id)
        interval = interval_text(score)
        how = f"{score.method}, {score.groups:,} groups" if interval else score.reason or NONE
        small = "" if score.value is None else f"<small>{interval or NONE}</small>"
        number = f'<td class="n">{value_text(score.value)}{small}</td>'
        rows.append(f'<tr><th scope="row">{as_html(column.title)}</th>{number}<td class="how">{as_html(how)}</td></tr>')
    head = _heads("Metric", "#Value, 95 % interval", "Interval by")
    return f"<h4>Metrics</h4>{_scrolled('Metrics', head, rows)}"


def _heads(*titles: str) -> str:
    """Column heads; a title that begins with # is over numbers."""
    return "".join(
        f'<th scope="col" class="n">{title[1:]}</th>' if title[0] == "#" else f'<th scope="col">{title}</th>'
        for title in titles
    )


def _scrolled(label: str, head: str, rows: Iterable[str], kind: str = "") -> str:
    table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{as_html(label)}">{table}</div>'


def _classes(entry: Entry) -> str:
    if not entry.classes:
        return ""
    order = sorted(entry.classes, key=lambda row: (row.recall is None, -(row.recall or 0.0), -row.support, row.index))
    heads = ("Class", "Recall", "", "Samples", "Precision", "F1", "Predicted")
    head = "".join(
        f'<th scope="col" class="{"" if i == 0 else "n"}"{" data-sort" if title else ""}>'
        f"{title or '<span class=quiet>0 … 1</span>'}</th>"
        for i, title in enumerate(heads)
    )
    told = "Recall with its Wilson 95 % interval, which takes the samples as independent."
    table = _scrolled(f"Classes of {entry.name}", head, map(_class, order), ' class="classes"')
    return f"<h4>Classes</h4><p class=quiet>{told}</p>{table}"


def _class(row: ClassRow) -> str:
    numbers = ((row.support, count_text(row.support)), *((v, value_text(v)) for v in (row.precision, row.f1)))
    cells = "".join(_number(value, text) for value, text in (*numbers, (row.predicted, count_text(row.predicted))))
    return (
        f'<tr data-i="{row.index}"><th scope="row">{breakable(row.name)}</th>'
        f"{_number(row.recall, value_text(row.recall))}"
        f"<td>{bar(row.recall, row.recall_low, row.recall_high)}</td>{cells}</tr>"
    )


def _curve(entry: Entry) -> str:
    if not entry.segments or not entry.segments.curve:
        return ""
    rows = [
        f'<tr><th scope="row" class="n">{point.threshold:.2f}</th><td class="n">{value_text(point.f1)}</td>'
        f"<td>{bar(point.f1, None, None)}</td>"
        + "".join(f'<td class="n">{count_text(count)}</td>' for count in (point.tp, point.fp, point.fn))
        + "</tr>"
        for point in entry.segments.curve
    ]
    head = _heads("#IoU", "#F1", "0 … 1", "#Found", "#False", "#Missed")
    return f"<h4>F1 over the threshold</h4>{_scrolled(f'F1 over the threshold of {entry.name}', head, rows)}"


def _views(entry: Entry) -> str:
    if entry.viewing is None or not (drawn := views_html(entry.viewing)):
        return ""
    frames = frames_html(entry.viewing)
    return f"<h4>Views</h4>{drawn}" + (f"<h4>Frames that lose most</h4>{frames}" if frames else "")


def _worst(entry: Entry) -> str:
    if not entry.segments or not (worst := entry.segments.worst[:WORST]):
        return ""
    rows = []
    for image in worst:
        numbers = [value_text(image.f1), value_text(image.iou_fg)]
        counts = ("tp", "fn", "fp", "splits", "merges")
        numbers += [NONE if image.counts[name] is None else count_text(image.counts[name] or 0) for name in counts]
        cells = "".join(f'<td class="n">{shown}</td>' for shown in numbers)
        rows.append(f'<tr><th scope="row">{breakable(image.id)}</th>{cells}</tr>')
    head = _heads("Image", "#F1 at .5", "#Foreground IoU", "#Found", "#Missed", "#False", "#Split", "#Merged")
    return f"<h4>Worst images</h4>{_scrolled(f'Worst images of {entry.name}', head, rows)}"


def _number(value: float | None, text: str) -> str:
    """A cell of digits; the sorting script reads `data-v`, where the shown text is rounded."""
    exact = "" if value is None else f"{value:.6g}"
    given = "" if value is None or exact == text else f' data-v="{exact}"'
    return f'<td class="n"{given}>{text}</td>'


def _map(entry: Entry) -> str:
    if not entry.confusion:
        return ""
    told = "Both axes are in label order from the top left; colour is the share of the true class."
    if any(count != round(count) for _, _, count in entry.confusion):
        told += f" {TIES}"
    axes = '<span class="across">predicted class →</span><span class="down">true class →</span>'
    drawn = confusion_map(entry.confusion, len(entry.classes))
    return (
        f"<h4>Confusion</h4><p class=quiet>{told}</p>"
        f'<figure><div class="axes">{axes}{drawn}</div><p class="readout quiet" aria-live="polite" hidden></p>'
        f"<figcaption>{legend()}</figcaption></figure>"
    )


def _most_confused(entry: Entry) -> str:
    wrong = sorted(
        (cell for cell in entry.confusion if cell[0] != cell[1] and cell[2] > 0), key=lambda c: (-c[2], c[:2])
    )
    if not wrong:
        return ""
    rows = []
    for true, predicted, count in wrong[:CONFUSED]:
        support = entry.classes[true].support
        share = share_text(count / support) if support else NONE
        names = "".join(f"<td>{breakable(entry.classes[index].name)}</td>" for index in (true, predicted))
        rows.append(f'<tr>{names}<td class="n">{count_text(count)}</td><td class="n">{share}</td></tr>')
    head = _heads("True class", "Predicted as", "#Samples", "#Of the class")
    table = _scrolled("Most confused pairs", head, rows, ' class="pairs"')
    return f"<h4>Most confused pairs</h4>{table}"
