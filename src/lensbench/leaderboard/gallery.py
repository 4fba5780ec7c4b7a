"""A segmentation run as one self-contained HTML page: its scores, F1 over the threshold, and the worst images first.

Like the board's page it asks for nothing from outside and runs no script; the pictures are in it, within a budget.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lensbench.leaderboard.charts import Axis
from lensbench.leaderboard.columns import NONE, value_text
from lensbench.leaderboard.escape import as_html, clean
from lensbench.leaderboard.frame import document, section
from lensbench.leaderboard.outlines import AREAS, FATES, Drawing
from lensbench.leaderboard.outlines import MOST as DRAWN
from lensbench.leaderboard.words import banners_html
from lensbench.metrics import CurvePoint, ImageScore

BUDGET = 4 << 20
"""Bytes of all pictures of a page; the ten test images of Aitslab-bioimaging1 take 0.4 MB."""
COLUMNS: Mapping[str, str] = {
    "f1": "F1 at IoU 0.5",
    "iou_fg": "IoU of the foreground",
    "tp": "Matched",
    "fp": "False",
    "fn": "Missed",
    "splits": "Split",
    "merges": "Merging",
    "n_truth": "Objects",
    "n_predicted": "Predicted",
}
"""Of the table of images: fields of `ImageScore`."""
UNIT = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


@dataclass(frozen=True)
class Report:
    """All that stands on the page; texts may be anybody's."""

    title: str
    synthetic: bool
    facts: Sequence[tuple[str, str]]
    scores: Sequence[tuple[str, float | None, float | None, float | None]]
    """(name, value, low, high)."""
    curve: Sequence[CurvePoint]
    images: Sequence[tuple[str, ImageScore]]
    notes: Sequence[str] = ()
    views: str = ""
    """HTML: the scores of each view, where there are several."""
    sheets: Sequence[tuple[str, bytes]] = ()
    """(what it shows, PNG) of frames in all views."""
    simulated: bool = False


def value_of(image: ImageScore) -> float | None:
    """What images are sorted by: F1 where objects were compared, else the foreground's IoU."""
    return image.iou_fg if image.tp is None else image.f1


def worst_first(images: Iterable[tuple[str, ImageScore]]) -> list[tuple[str, ImageScore]]:
    """Lowest value first, equal ones by id; images with nothing to measure last."""

    def key(named: tuple[str, ImageScore]) -> tuple[bool, float, str]:
        value = value_of(named[1])
        return value is None, value or 0.0, named[0]

    return sorted(images, key=key)


def within_budget(drawings: Iterable[tuple[str, Drawing]], budget: int = BUDGET) -> list[tuple[str, Drawing]]:
    """The first (id, drawing) that a page has room for, at least one; the rest are never drawn if made lazily."""
    kept: list[tuple[str, Drawing]] = []
    for name, drawing in drawings:
        budget -= len(drawing.svg)
        if kept and budget < 0:
            break
        kept.append((name, drawing))
    return kept


def report_text(report: Report, drawings: Sequence[tuple[str, Drawing]]) -> str:
    """The page, ending in a newline; `drawings` are (id, picture), worst first."""
    title = as_html(clean(report.title, 200))
    banner = banners_html(report.synthetic, report.simulated)
    header = f"{banner}<p class=kicker>lensbench run</p><h1>{title}</h1>{_facts(report)}"
    main = [
        section("scores", "Scores", _scores(report)),
        section("curve", "F1 over the IoU threshold", _curve(report.curve)),
        section("views", "Views", report.views),
        section("sheets", "Frames view by view", _sheets(report)),
        section("pictures", "Pictures, worst first", _gallery(report, drawings) if drawings else ""),
        section("images", "Every image, worst first", _images(report) if report.images else ""),
        section("notes", "Notes", _list(report.notes) if report.notes else ""),
    ]
    return document(title, ["page.css", "gallery.css"], header, main)


def _curve(points: Sequence[CurvePoint]) -> str:
    return f'<div class="halves">{curve_chart(points)}{_curve_table(points)}</div>' if points else ""


def curve_chart(points: Sequence[CurvePoint]) -> str:
    """F1 against the IoU threshold, as far apart as the thresholds are; marked as drawn, for the table says it too."""
    if not points:
        return ""
    across = Axis(points[0].threshold, points[-1].threshold, tuple(point.threshold for point in points))
    grid = [f'<line class="grid" x2="100%" y1="{_up(tick)}" y2="{_up(tick)}"/>' for tick in UNIT.ticks]
    at = [(across.percent(point.threshold), _up(point.f1)) for point in points if point.f1 is not None]
    lines = [f'<line class="curve" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>' for (x1, y1), (x2, y2) in pairwise(at)]
    dots = [f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>' for x, y in at]
    left = "".join(f'<text class="left" x="-8" y="{_up(tick)}" dy="4">{tick:g}</text>' for tick in UNIT.ticks)
    below = "".join(
        f'<text class="below" x="{across.percent(tick)}" y="100%" dy="18">{tick:.2f}</text>'
        for tick in across.ticks[::3]
    )
    return (
        f'<figure class="chart"><svg aria-hidden="true">{"".join([*grid, *lines, *dots])}{left}{below}</svg>'
        "<figcaption>F1 (up) at an IoU of at least … (right)</figcaption></figure>"
    )


def _up(value: float) -> str:
    return UNIT.percent(1 - value)


def legend(words: Mapping[str, str]) -> str:
    """What the outlines of `outlines.FATES`, or the areas of `outlines.AREAS`, mean."""
    kind = "areas" if words is AREAS else "objects"
    keys = (
        f'<li><svg class="shot {kind}" viewBox="0 0 28 12" aria-hidden="true">'
        f'<path class="{name}" d="M3 6h22"/></svg>{text}</li>'
        for name, text in words.items()
    )
    return f'<ul class="legend" aria-label="What the pictures show">{"".join(keys)}</ul>'


def _gallery(report: Report, drawings: Sequence[tuple[str, Drawing]]) -> str:
    values = {name: value_of(image) for name, image in report.images}
    objects = "merge" in drawings[0][1].counts
    words = FATES if objects else AREAS
    what = "" if objects else " px"
    figures = []
    for name, drawing in drawings:
        told = ", ".join(f"{drawing.counts[fate]:,}{what} {words[fate]}" for fate in words if drawing.counts[fate])
        told += f"; of each side the first {DRAWN:,} are drawn" if drawing.cut else ""
        figures.append(
            f"<figure>{drawing.svg}<figcaption><b>{value_text(values.get(name))}</b> {as_html(clean(name, 120))}"
            f"<br><small>{told or 'nothing on either side'}</small></figcaption></figure>"
        )
    rest = len(report.images) - len(drawings)
    more = f"<p class=quiet>{rest:,} images more are in the table.</p>" if rest > 0 else ""
    return f'{legend(words)}<div class="gallery">{"".join(figures)}</div>{more}'


def _sheets(report: Report) -> str:
    """Each contact sheet with its words; the picture itself names the views."""
    figures = []
    for told, picture in report.sheets:
        words, data = as_html(clean(told, 300)), base64.b64encode(picture).decode()
        figures.append(
            f'<figure class="sheet"><img src="data:image/png;base64,{data}" alt="{words}">'
            f"<figcaption>{words}</figcaption></figure>"
        )
    return "".join(figures)


def _facts(report: Report) -> str:
    items = (f"<div><dt>{as_html(term)}</dt><dd>{as_html(clean(text, 300))}</dd></div>" for term, text in report.facts)
    return f"<dl>{''.join(items)}</dl>"


def _scores(report: Report) -> str:
    rows = (
        [name, value_text(value), NONE if low is None else f"{value_text(low)} to {value_text(high)}"]
        for name, value, low, high in report.scores
    )
    return _table(["Metric", "Value", "95 % interval"], rows)


def _curve_table(points: Sequence[CurvePoint]) -> str:
    rows = (
        [f"{point.threshold:.2f}", value_text(point.f1), f"{point.tp:,}", f"{point.fp:,}", f"{point.fn:,}"]
        for point in points
    )
    return _table(["IoU from", "F1", "Matched", "False", "Missed"], rows)


def _images(report: Report) -> str:
    """The table of all images; columns that say nothing are left out."""
    known = [field for field in COLUMNS if any(getattr(image, field) is not None for _, image in report.images)]
    rows = (
        [clean(name, 120), *(_cell(getattr(image, field)) for field in known)]
        for name, image in worst_first(report.images)
    )
    return _table(["Image", *(COLUMNS[field] for field in known)], rows)


def _cell(value: float | int | None) -> str:
    return f"{value:,}" if isinstance(value, int) else value_text(value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    first, *others = heads
    head = f'<th scope="col">{as_html(first)}</th>' + "".join(
        f'<th scope="col" class="n">{as_html(name)}</th>' for name in others
    )
    body = "".join(
        f'<tr><th scope="row">{as_html(name)}</th>{"".join(f"<td class=n>{as_html(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{as_html(first)}">{table}</div>'


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{as_html(clean(text, 500))}</li>' for text in texts)}</ul>"
