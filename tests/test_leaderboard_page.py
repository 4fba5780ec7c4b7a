"""The page in a real browser, from ``file://``: sorting, filtering, columns, and what is left without script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lensbench.leaderboard import Leaderboard, Refused
from tests.board_records import CLASSES, benchmark, metric, record
from tests.conftest import chromium

pytestmark = pytest.mark.needs("chromium")

NAMES = ("majority class", "features + logistic regression", "small CNN", "EfficientNetV2-B0")
EVIL = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of four models, one of them without top-3, one record apart, one refused and the paper's row."""
    of = benchmark()

    def incomplete(result: dict[str, Any]) -> None:
        result["complete"] = False
        result["coverage"].update(scored=result["coverage"]["scored"] - 2, missing=2, missing_ids=["A", "B"])

    def hostile(result: dict[str, Any]) -> None:
        incomplete(result)
        result["model"].update(name=EVIL, url="javascript:window.hacked=1")
        result["notes"] = [EVIL]

    def no_top3(result: dict[str, Any]) -> None:
        result["metrics"]["top3"] = metric(None)

    made = [(f"{name}.json", record(of, name, skill=0.15 + 0.2 * i)) for i, name in enumerate(NAMES[:3])]
    made += [(f"{NAMES[3]}.json", record(of, NAMES[3], no_top3, skill=0.8))]
    made += [("part.json", record(of, "five images", incomplete)), ("evil.json", record(of, "evil", hostile))]
    board = Leaderboard.build(of, made, [Refused("broken.json", EVIL)])
    return board.write(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


class Visit:
    """One page load, with everything it asked for and everything it complained of."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(8_000)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()

    @staticmethod
    def models(page: Any, body: int = 0) -> list[str]:
        """Names in the ranking, as shown from top to bottom."""
        names = page.locator(f".board tbody:nth-of-type({body + 1}) th.model a:visible")
        return list(names.all_inner_texts())


BEST_FIRST = list(reversed(NAMES))


def head(page: Any, title: str) -> Any:
    return page.locator(".board thead th", has=page.get_by_role("button", name=title, exact=True))


def test_opens_from_a_file_without_any_other_request_or_complaint(browser: Any, page_file: Path) -> None:
    visit = Visit(browser, page_file)
    with visit as page:
        page.get_by_text("Columns", exact=True).click()
        page.wait_for_load_state("networkidle")
        assert visit.requests == [page_file.as_uri()]
        assert visit.complaints == []


def test_hostile_text_is_shown_and_does_nothing(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1
        assert page.locator('a[href^="javascript"]').count() == 0
        assert page.get_by_role("link", name="img src=x").count() == 1
        # what an injection would need is shut off as well: the policy lets no inline script run but ours
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
        assert page.evaluate("window.ran") is None


def test_sorts_by_any_column_with_the_best_first_and_missing_last(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        assert Visit.models(page) == BEST_FIRST
        button = page.get_by_role("button", name="Top-1 accuracy", exact=True)
        button.click()
        assert head(page, "Top-1 accuracy").get_attribute("aria-sort") == "descending"
        assert Visit.models(page) == BEST_FIRST
        button.click()
        assert head(page, "Top-1 accuracy").get_attribute("aria-sort") == "ascending"
        assert Visit.models(page) == list(NAMES)
        assert page.locator(".board tbody").nth(1).locator("tr").first.get_attribute("class") == "part"
        for _ in range(2):
            page.get_by_role("button", name="Top-3 accuracy", exact=True).click()
            assert Visit.models(page)[-1] == "EfficientNetV2-B0"
        page.get_by_role("button", name="Model", exact=True).click()
        assert Visit.models(page) == sorted(NAMES, key=str.lower)
        assert page.locator(".board [aria-sort]").count() == 1


def test_sorts_by_keyboard(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        page.get_by_role("button", name="Rank", exact=True).focus()
        page.keyboard.press("Enter")
        assert Visit.models(page) == BEST_FIRST
        page.keyboard.press("Space")
        assert Visit.models(page) == list(NAMES)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Model"


def test_sorts_the_classes_of_a_record(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        page.locator("details.record > summary").first.click()
        page.locator(".classes").first.get_by_role("button", name="Samples", exact=True).click()
        numbers = page.locator(".classes").first.locator("tbody td:nth-child(4)").all_inner_texts()
        counts = [int(number.replace(",", "")) for number in numbers]
        assert len(counts) == 95 and counts == sorted(counts)


def test_filters_rows_and_records_together(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        page.get_by_role("searchbox").fill("CNN small")
        assert Visit.models(page) == ["small CNN"]
        assert page.locator("details.record[data-find]:visible").count() == 1
        assert page.locator("output").inner_text() == "1 of 5 rows"
        page.get_by_role("searchbox").fill("")
        assert Visit.models(page) == BEST_FIRST
        assert page.locator("output").inner_text() == ""


def test_a_filter_without_match_says_so(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        said = page.get_by_text("No model matches.")
        assert not said.is_visible()
        page.get_by_role("searchbox").fill("no such model")
        assert said.is_visible()
        assert page.locator(".board tbody tr:visible").count() == 1
        page.get_by_role("searchbox").fill("small CNN")
        assert not said.is_visible()
        assert not page.get_by_text("as published, not re-run").is_visible()


def test_chooses_columns(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        brier = page.locator(".board th", has_text="Brier score")
        assert not brier.is_visible()
        page.get_by_text("Columns", exact=True).click()
        page.get_by_label("Brier score").check()
        assert brier.is_visible()
        assert page.locator('.board tbody tr:not(.part) [data-c="8"]:visible').count() == 5
        page.get_by_label("Brier score").uncheck()
        assert not brier.is_visible()


def test_a_model_link_opens_its_record_and_the_map_reads_out_a_cell(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        page.locator(".board th.model a", has_text="small CNN").click()
        opened = page.locator("details.record[open]")
        assert opened.locator("> summary").inner_text().endswith("small CNN")
        drawn = opened.locator(".map")
        side = drawn.bounding_box()["width"] / 95
        drawn.hover(position={"x": side * 2.5, "y": side * 2.5})
        assert " → ".join(["Actinoptychus", "Actinoptychus"]) in opened.locator(".readout").inner_text()


def test_the_map_is_read_by_finger_and_by_keyboard(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file, viewport={"width": 400, "height": 900}, has_touch=True) as page:
        opened = page.locator("details.record").first
        opened.locator("> summary").click()
        drawn, readout = opened.locator(".map"), opened.locator(".readout")
        assert opened.locator(".axes").inner_text().split("\n")[:2] == ["predicted class →", "true class →"]
        side = drawn.bounding_box()["width"] / 95
        drawn.tap(position={"x": side * 2.5, "y": side * 2.5})
        assert "Actinoptychus → Actinoptychus:" in readout.inner_text()
        drawn.press("ArrowRight")
        assert f"Actinoptychus → {CLASSES[3]}:" in readout.inner_text()


def test_on_a_narrow_screen_the_interval_is_drawn_under_its_value_and_tables_fit(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file, viewport={"width": 400, "height": 900}) as page:
        value = page.locator(".board tbody td:nth-child(3)").first.bounding_box()
        plot = page.locator(".board tbody .plot").first.bounding_box()
        assert value["x"] <= plot["x"] and plot["x"] + plot["width"] <= value["x"] + value["width"] <= 400
        assert plot["width"] >= 80 and plot["y"] > value["y"]
        page.locator("details.record > summary").first.click()
        for label in ("Metrics", "Most confused pairs"):
            box = page.get_by_role("region", name=label).first
            assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.locator("pre").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_without_javascript_everything_is_there(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file, java_script_enabled=False) as page:
        assert page.locator(".board thead th:visible").count() == 4 + 13 + 1
        assert page.locator(".board button").count() == 0
        assert not page.get_by_role("searchbox").is_visible()
        assert page.get_by_text("incomplete: 2 of").first.is_visible()
        assert page.get_by_text("as published, not re-run").is_visible()
        page.locator("details.record > summary").first.click()
        assert page.locator(".classes tbody tr:visible").count() == 95
        assert page.locator(".map").first.is_visible()
        assert not page.locator(".readout").first.is_visible()


def test_fits_every_screen_with_every_record_open_in_light_and_dark(browser: Any, page_file: Path) -> None:
    with Visit(browser, page_file) as page:
        page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        for width in (320, 400, 1400):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            style = "getComputedStyle(document.body)"
            ink, paper = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
            assert (sum(_rgb(ink)) > sum(_rgb(paper))) == (scheme == "dark")


def _rgb(colour: str) -> list[int]:
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
