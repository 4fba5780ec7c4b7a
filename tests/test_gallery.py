"""The page of a segmentation run: worst first, within its budget, harmless, and whole in a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensbench.leaderboard.gallery import (
    Report,
    curve_chart,
    report_text,
    within_budget,
    worst_first,
)
from lensbench.leaderboard.outlines import Drawing, draw_classes, draw_objects, object_fates
from lensbench.masks.protocol import Scoring
from lensbench.metrics import CurvePoint, ImageScore
from lensbench.metrics.overlap import overlap
from tests.conftest import chromium

EVIL = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
CLASSES = ImageScore(None, None, None, None, None, None, None, None, 0.25)
CURVE = [CurvePoint(k / 20, 20 - k, k, 2 * k, (20 - k) / 20) for k in range(10, 20)]


def drawing(name: str, classes: bool = False) -> Drawing:
    labels = np.zeros((60, 80), np.uint32)
    labels[5:20, 5:30], labels[30:33, 40:43] = 1, 2
    image = (labels * 90).astype(np.uint8)
    if classes:
        return draw_classes(image, (labels > 0).astype(np.uint8), (labels == 1).astype(np.uint8), name)
    found = np.where(labels == 1, 1, 0)
    return draw_objects(image, labels, found, object_fates(overlap(labels, found), Scoring()), name)


def image(f1: float | None) -> ImageScore:
    return ImageScore(4100, 3, 2, 1, 4098, 0, 1, f1, 0.625)


def report() -> Report:
    return Report(
        title="A model on nuclei",
        synthetic=True,
        facts=[("Benchmark", "b"), ("Protocol", "default")],
        scores=[("F1 at IoU 0.5", 0.8, 0.7, 0.9), ("PQ", None, None, None)],
        curve=CURVE,
        images=[("good", image(0.9)), (EVIL, image(None)), ("bad", image(0.1))],
        notes=["assumed something"],
    )


def test_the_worst_image_comes_first_and_one_without_a_value_last() -> None:
    lines = [(name, image(value)) for name, value in {"c": 0.5, "n": None, "a": 0.0, "b": 0.5}.items()]
    assert [name for name, _ in worst_first(lines)] == ["a", "b", "c", "n"]
    assert [name for name, _ in worst_first([*lines, ("m", CLASSES)])] == ["a", "m", "b", "c", "n"]


def test_pictures_are_drawn_until_the_budget_is_spent() -> None:
    made: list[int] = []

    def drawings() -> Iterator[tuple[str, Drawing]]:
        for n in range(1000):
            made.append(n)
            yield str(n), Drawing("x" * 100, {})

    assert [name for name, _ in within_budget(drawings(), 350)] == ["0", "1", "2"] and len(made) == 4
    made.clear()
    assert len(within_budget(drawings(), 10)) == 1  # one there is, whatever it takes
    assert within_budget([]) == []


def test_the_curve_stands_where_its_values_do() -> None:
    chart = curve_chart(
        [CurvePoint(0.5, 1, 0, 0, 1.0), CurvePoint(0.7, 1, 2, 3, None), CurvePoint(0.95, 0, 1, 1, 0.25)]
    )
    assert re.findall(r'cx="([\d.]+)%" cy="([\d.]+)%"', chart) == [("0", "0"), ("100", "75")]
    assert len(re.findall('class="curve"', chart)) == 1
    assert curve_chart([]) == ""


def test_the_page_asks_for_nothing_and_escapes_everything() -> None:
    whole = report_text(
        replace(report(), title=EVIL, notes=[EVIL], facts=[(EVIL, EVIL)]),
        [(EVIL, drawing(EVIL)), ("bad", drawing("bad"))],
    )
    assert "<script" not in whole and "<img" not in whole and "onerror=&quot;" in whole
    markup = whole.replace(html.escape(EVIL), "")
    for address in re.findall(r'(?:href|src|url)\s*[=(]\s*["\']?([^"\' )>]+)', markup):
        assert address.startswith("data:image/webp;base64,")
    (style,) = re.findall("<style>(.*?)</style>", whole, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in whole
    assert " style=" not in whole


def test_the_page_says_what_the_pictures_show() -> None:
    whole = report_text(report(), [("bad", drawing("bad"))])
    assert "Specimen: synthetic images" in whole and "2 images more are in the table" in whole
    assert "<b>0.100</b> bad<br><small>1 matched, 1 missed</small>" in whole
    assert "0.700 to 0.900" in whole and "assumed something" in whole
    assert re.search(r"0\.50</th><td class=n>0\.500</td><td class=n>10</td><td class=n>10</td><td class=n>20<", whole)
    areas = report_text(replace(report(), synthetic=False, curve=[], notes=[]), [("bad", drawing("bad", classes=True))])
    assert "375 px right, 9 px missed" in areas and "another class" in areas
    assert "Specimen" not in areas and "IoU threshold" not in areas and "Notes" not in areas
    cells = "".join(f"<td class=n>{cell}</td>" for cell in ("0.100", "0.625", "2", "1", "4,098"))
    assert f"bad</th>{cells}" in whole
    semantic = report_text(replace(report(), curve=[], images=[("m", CLASSES)]), [])
    assert '<th scope="col" class="n">IoU of the foreground</th></tr>' in semantic and "Matched" not in semantic
    cut = replace(drawing("bad"), cut=True)
    assert "1 missed; of each side the first 4,000 are drawn</small>" in report_text(report(), [("bad", cut)])
    bare = report_text(replace(report(), images=[], curve=[]), [])
    assert "Pictures" not in bare and bare.endswith("</html>\n")


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_it_whole_on_any_screen(width: int, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    drawings = [("bad", drawing("bad")), (EVIL, drawing(EVIL))]
    path.write_text(report_text(report(), drawings), encoding="utf-8")
    asked: list[str] = []
    said: list[Any] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(path.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        boxes = [one.bounding_box() for one in page.query_selector_all(".gallery .shot")]
        colour = page.eval_on_selector(".gallery .miss", "path => getComputedStyle(path).stroke")
        hacked = page.evaluate("window.hacked")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:image/webp"))] == [] and said == []
    assert wide <= width and hacked is None and colour == "rgb(240, 228, 66)"
    assert len(boxes) == 2 and all(
        box and box["width"] >= 300 and box["height"] == pytest.approx(box["width"] * 0.75, abs=1) for box in boxes
    )
