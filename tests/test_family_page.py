"""One page for all tiers of a benchmark: models × tiers, drift curves, and what becomes of hostile records on it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lensbench.benchmark import get_benchmark, tier_names
from lensbench.cli import bench
from lensbench.evaluation import evaluate
from lensbench.isp.tiers import tier_names as grid_names
from lensbench.leaderboard import Leaderboard, Score, read_board
from lensbench.leaderboard import refresh as refreshing
from lensbench.leaderboard.columns import column_of, value_text
from lensbench.leaderboard.driftcharts import MODELS, Curve, Line, curves_of, drift_html
from lensbench.leaderboard.entry import parse_entry
from lensbench.leaderboard.family import EMPTY
from lensbench.leaderboard.gallery import Report, report_text
from lensbench.leaderboard.refresh import refresh
from lensbench.leaderboard.report import report_of
from lensbench.leaderboard.viewcharts import matrix_html
from lensbench.record import Record, read_record, write_record
from lensbench.viewspec import views_of
from tests.conftest import chromium
from tests.graphs import power_model, write

HEAD = "raw_microscopy-isp"
TIERS = {name.removeprefix(f"{HEAD}-"): f"{name}-specimen" for name in tier_names(HEAD)}
SCORED = ("i", "k")
BASE = "macro_recall"
EVIL = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>|[x](javascript:1)'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Iterator[Path]:
    """Boards with two models on the head and on the tiers `SCORED`, and none on the others."""
    root = tmp_path_factory.mktemp("family") / "leaderboards"
    for name, layout in (("one", "NCHW"), ("two", "NHWC")):  # another file: a board holds one record a model
        write(root / "submissions" / name, power_model(layout=layout))
        card = f'name = "{name}"\nbenchmark = "{HEAD}"\nconfig = "specimen"\nlabels = "published"\n'
        (root / "submissions" / name / "model.toml").write_text(card, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSBENCH_HOME", str(shared_home))
        patch.setattr(refreshing, "tier_names", lambda head: [f"{head}-{letter}" for letter in SCORED])
        outcomes = refresh(root, root.parent / "runs")
    assert [outcome.state for outcome in outcomes] == ["scored"] * 6
    yield root


@pytest.fixture
def boards(made: Path, workspace: Path) -> Path:
    """A copy of them, to change."""
    for record in made.glob("*/records/*.json"):
        write(workspace / record.parent.relative_to(made.parent), record.read_bytes(), record.name)
    return workspace / "leaderboards"


def build(*args: str) -> list[str]:
    done = CliRunner().invoke(bench, ["leaderboard", HEAD, "--config", "specimen", *args])
    assert done.exit_code == 0, done.output
    return done.output.split()


def section(page: str, key: str) -> str:
    """One section of a page, without its heading."""
    return page.partition(f'id="h-{key}"')[2].partition("</section>")[0]


def change(record: Path, *how: Callable[[dict[str, Any]], object]) -> None:
    """Do something to the result of a stored record, and store it with a new hash."""
    old = read_record(record)
    result = copy.deepcopy(dict(old.result))
    for one in how:
        one(result)
    write_record(Record(result, old.run), record)


# -- models × tiers ------------------------------------------------------------------------------------------


def test_the_page_has_every_model_on_every_tier_with_reference_and_mean(boards: Path) -> None:
    pages = build()
    assert pages == [f"leaderboards/{slug}/index.html" for slug in (f"{HEAD}-specimen", *TIERS.values())]
    table = section(Path(pages[0]).read_text(encoding="utf-8"), "tiers")
    for slug in (f"{HEAD}-specimen", *(TIERS[letter] for letter in SCORED)):
        for name in ("one", "two"):
            metrics = read_record(boards / slug / "records" / f"{name}.json").result["metrics"]
            worst, clean, mean = (metrics[f"{what}:{BASE}"] for what in ("worst_view", "clean", "mean_view"))
            shown = (
                f"<b>{value_text(worst['value'])}</b><small>[{value_text(worst['low'])}, {value_text(worst['high'])}]"
            )
            beside = f"<small>ref {value_text(clean['value'])} · mean {value_text(mean['value'])}</small>"
            assert f"{shown}</small>{beside}" in table, (slug, name)
    heads = re.findall(r"<th scope=\"col\" class=\"n\">(.*?)</th>", table)
    assert [re.sub(r"<[^>]*>", " ", head).split()[0] for head in heads] == ["C", *map(str.upper, TIERS)]
    assert [EMPTY in head for head in heads] == [False, *(letter not in SCORED for letter in TIERS)]


def test_links_lead_to_boards_that_are_there_and_back(boards: Path) -> None:
    for page in map(Path, build()):
        text = page.read_text(encoding="utf-8")
        links = [link for link in re.findall(r'href="([^"#]+)"', text) if "://" not in link]
        assert all((page.parent / link).resolve().is_file() for link in links), page
        there = {link for link in links if link.startswith("../")}
        head = f"../{HEAD}-specimen/index.html"
        tiers = {f"../{TIERS[letter]}/index.html" for letter in SCORED}
        assert there == (tiers if page.parent.name == f"{HEAD}-specimen" else {head})
        told = (page.parent / "README.md").read_text(encoding="utf-8")
        assert all((page.parent / link).is_file() for link in re.findall(r"\(<(\.\./[^>]+)>\)", told))
    readme = (boards / f"{HEAD}-specimen" / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.split("## All tiers")[1].splitlines() if line.startswith("| one |"))
    worst = read_record(boards / TIERS["k"] / "records" / "one.json").result["metrics"][f"worst_view:{BASE}"]
    assert value_text(worst["value"]) in row and row.endswith("| – | – |")
    assert f"P: The published twelve ({EMPTY})" in readme


def test_a_board_that_goes_elsewhere_links_to_none(boards: Path) -> None:
    assert build("--out", "elsewhere") == ["elsewhere/index.html"]
    page = Path("elsewhere/index.html").read_text(encoding="utf-8")
    assert "All tiers" in page and 'href="../' not in page
    assert "(<../" not in Path("elsewhere/README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in boards.iterdir()) == sorted([f"{HEAD}-specimen", TIERS["i"], TIERS["k"]])


def test_the_page_is_a_function_of_the_records(boards: Path) -> None:
    first = {page: Path(page).read_bytes() for page in build()}
    assert {page: Path(page).read_bytes() for page in build()} == first
    change(boards / TIERS["k"] / "records" / "one.json", lambda r: r["model"].update(name="another"))
    assert {page for page in build() if Path(page).read_bytes() != first[page]} == {
        f"leaderboards/{TIERS['k']}/index.html"
    }, "the head calls a model by the name it has there"


def test_a_run_on_a_tier_stands_in_the_column_of_that_tier(boards: Path) -> None:
    run = evaluate(write(Path("models"), power_model(batch=1), "mine.onnx"), f"{HEAD}-i", config="specimen",
                   labels="published")  # fmt: skip
    build(str(run.folder), "--out", "board")
    table = section(Path("board/index.html").read_text(encoding="utf-8"), "tiers")
    row = next(row for row in table.split("<tr>") if ">mine<" in row)
    assert row.count('<td class="n">–</td>') == len(TIERS) and row.count("<b>") == 1
    value = run.record.value(f"worst_view:{BASE}")
    assert value is not None and f"<b>{value_text(value)}</b>" in row
    assert "mine" not in section(Path("board/index.html").read_text(encoding="utf-8"), "apart")


def test_a_model_that_is_on_a_tier_alone_has_a_row(boards: Path) -> None:
    (boards / f"{HEAD}-specimen" / "records" / "two.json").unlink()
    build()
    table = section((boards / f"{HEAD}-specimen" / "index.html").read_text(encoding="utf-8"), "tiers")
    assert '<th scope="row" class="model">two</th><td class="n">–</td><td class="n"><b>' in table


# -- drift curves --------------------------------------------------------------------------------------------


def charts(page: str) -> list[str]:
    return re.findall(r'<svg class="drift" viewBox="0 0 176.*?</svg>', page, re.DOTALL)


def test_the_page_draws_each_stage_with_every_number_in_its_title(boards: Path) -> None:
    build()
    page = (boards / f"{HEAD}-specimen" / "index.html").read_text(encoding="utf-8")
    drawn = charts(section(page, "drift"))
    assert len(drawn) == 1 + 10
    for slug, count in ((TIERS["i"], 1), (TIERS["k"], 10), (f"{HEAD}-specimen", 11)):
        own = (boards / slug / "index.html").read_text(encoding="utf-8")
        assert len(charts(own)) == count
    record = read_record(boards / TIERS["k"] / "records" / "one.json").result
    values = {view["name"]: value_text(view["metrics"][BASE]["value"]) for view in record["views"]}
    for name in {view.rpartition("-")[0] for view in values} - {""}:
        told = " ".join(["one", values["reference"], *(values[f"{name}-{k}"] for k in range(1, 6))])
        assert any(f"<title>{name}: Macro recall at ref, 1, 2, 3, 4, 5: " in one and told in one for one in drawn), name


def test_curves_are_those_of_the_tier() -> None:
    views = {name: views_of({"tier": name}, Path()) for name in ("corruptions-50", "stages-raw_drone")}
    assert len(curves_of(views["corruptions-50"])) == 10
    stages = curves_of(views["stages-raw_drone"])
    assert len(stages) == 19 and stages[0].name == "exposure-down"
    assert stages[0].steps == (
        ("ref", "reference"), *((str(k), f"exposure-down-{k}") for k in range(1, 6)),
    )  # fmt: skip
    (intensity,) = curves_of(views_of({"tier": "intensity-7", "reference": "i100"}, Path()))
    assert [label for label, _ in intensity.steps] == ["1", "5", "10", "25", "50", "75", "100"]
    assert [view for _, view in intensity.steps][:2] == ["i001", "i005"]
    assert curves_of(None) == () == curves_of(views_of({"tier": "paper-12", "reference": "bi-s-ga"}, Path()))
    assert {"paper-12", "intensity-7"} <= set(grid_names())


CURVE = Curve("blur", (("ref", "r"), ("1", "a"), ("2", "b"), ("3", "c")))


def score(value: float | None, half: float = 0.05) -> Score:
    low, high = (None, None) if value is None else (max(value - half, 0.0), min(value + half, 1.0))
    return Score(value, low, high, "jackknife-logit", 5, "")


def drawn(*lines: Line) -> str:
    return drift_html([CURVE], lines, column_of("top1"), "r")


def test_a_line_stands_where_its_values_do_and_has_a_gap_where_one_is_unknown() -> None:
    text = drawn(Line("m", {"r": score(1.0, 0.0), "a": score(0.5), "b": score(None), "c": score(0.0, 0.0)}))
    (path,) = re.findall(r'class="line" d="(M[^"]*)"', text)
    assert path == "M39 6L80.3 49M163 92"
    (whiskers,) = re.findall(r'class="ends" d="([^"]*)"', text)
    assert whiskers.count("V") == 3
    (level,) = re.findall(r'class="datum" d="([^"]*)"', text)
    assert level == "M32 6H170", "where the reference is"
    assert "<title>blur: Top-1 accuracy at ref, 1, 2, 3: m 1.000 0.500 – 0.000</title>" in text
    assert drawn(Line("m", {"r": score(None)})) == "" == drawn()


def test_six_lines_are_drawn_and_one_without_scores_keeps_its_colour() -> None:
    lines = [Line(f"model {i}", {"r": score(0.1 * i), "c": score(0.05 * i)}) for i in range(1, 9)]
    lines[2] = Line("absent", {})
    text = drawn(*lines)
    (chart,) = charts(text)
    assert re.findall(r'<g class="m(\d)">', chart) == ["0", "1", "3", "4", "5"]
    assert text.count("<li>") == MODELS - 1 == 5 and "model 7" not in text and "absent" not in text


def test_a_page_says_how_many_models_it_does_not_draw(boards: Path) -> None:
    of = get_benchmark(f"{HEAD}-i", "specimen")
    one = read_record(boards / TIERS["i"] / "records" / "one.json")
    records = []
    for i in range(8):
        result = copy.deepcopy(dict(one.result))
        result["model"]["name"], result["digests"]["model"] = f"model {i}", f"{i}" * 64
        records.append((f"{i}.json", Record(result, one.run)))
    page = Leaderboard.build(of, records).write(Path("many")).read_text(encoding="utf-8")
    assert "Of 8 models the first 6 are drawn." in page
    assert all(f"model {i}" in section(page, "views") for i in range(8))


# -- many views ----------------------------------------------------------------------------------------------


def test_many_views_are_summed_up_by_stage_and_folded_away(boards: Path) -> None:
    build()
    page = (boards / TIERS["k"] / "index.html").read_text(encoding="utf-8")
    summed, fold, whole = section(page, "views").partition("<details class=fold>")
    assert fold and summed.count('<th scope="col" class="n">') == 1 + 10
    assert whole.count('<th scope="col" class="n">') == 1 + 50 and "All 51 views" in whole
    record = read_record(boards / TIERS["k"] / "records" / "one.json").result
    values = [view["metrics"][BASE]["value"] for view in record["views"] if view["name"].startswith("contrast-")]
    row = re.findall(r"<td[^>]*>([\d.]+)</td>", next(row for row in summed.split("<tr>") if ">one<" in row))
    names = re.findall(r'<th scope="col" class="n">([^<]+)</th>', summed)
    assert dict(zip(names, row, strict=True))["contrast"] == value_text(sum(values) / 5)
    records = section(page, "records")
    assert records.count("<details class=fold>") == 2, "each record's table of views"
    few = (boards / TIERS["i"] / "index.html").read_text(encoding="utf-8")
    assert "class=fold" not in few


def test_many_views_without_stages_are_folded_away_all_the_same(boards: Path) -> None:
    spec = get_benchmark(f"{HEAD}-k", "specimen")
    assert spec.views is not None
    names = [view.but(name=view.name.replace("-", "_")) for view in spec.views.tier.views]
    views = replace(spec.views, tier=replace(spec.views.tier, views=tuple(names)))
    record = boards / TIERS["k"] / "records" / "one.json"
    change(record, lambda r: [view.update(name=view["name"].replace("-", "_")) for view in r["views"]])
    drawn = matrix_html([parse_entry("one.json", read_record(record))], views, column_of(BASE))
    assert drawn.startswith("<details class=fold><summary>All 51 views</summary>")
    assert drawn.count('<th scope="col" class="n">') == 51


def test_the_report_of_one_run_draws_its_stages(boards: Path) -> None:
    for letter, count in (("i", 1), ("k", 10)):
        result = read_record(boards / TIERS[letter] / "records" / "one.json").result
        shown = report_of(result, get_benchmark(f"{HEAD}-{letter}", "specimen")).views
        assert len(charts(shown)) == count
        values = {view["name"]: value_text(view["metrics"][BASE]["value"]) for view in result["views"]}
        names = list(values) if letter == "i" else ["reference", *(f"contrast-{k}" for k in range(1, 6))]
        assert f"the model {' '.join(values[name] for name in names)}</title>" in shown
        assert "<ul" not in shown, "one model needs no legend"
        assert ("<details class=fold>" in shown) == (letter == "k")
        page = report_text(Report("x", True, [], [], [], [], views=shown), [])
        assert ".drifts" in page, "the style is there"


# -- hostile records -----------------------------------------------------------------------------------------


def hostile(result: dict[str, Any]) -> None:
    result["model"].update(name=EVIL, authors=[EVIL], training=EVIL, url="javascript:1")
    result["grid"].update(metric="nll", tier=EVIL)
    for view in result["views"]:
        if view["name"] == "gaussian_noise-1":
            view["name"] = EVIL
    result["stages"] = [{**stage, "name": EVIL} for stage in result["stages"]]


def test_hostile_records_of_a_tier_are_shown_as_text_or_refused(boards: Path) -> None:
    records = boards / TIERS["k"] / "records"
    change(records / "one.json", hostile)
    change(records / "two.json", lambda result: result["views"][5]["metrics"][BASE].update(value=7.0))
    (records / "broken.json").write_text("{")
    (boards / f"{HEAD}-specimen" / "records" / "one.json").unlink()
    board = read_board(get_benchmark(HEAD, "specimen"), boards)
    tier = next(tier for tier in board.tiers if tier.benchmark.name == f"{HEAD}-k")
    assert {row.key for row in tier.refused} == {"two.json", "broken.json"}
    for page in map(Path, build()):
        readme = (page.parent / "README.md").read_text(encoding="utf-8")
        for text in (page.read_text(encoding="utf-8"), readme):
            assert "<img" not in text and "<script>window" not in text
        assert "](javascript" not in readme.replace("\\]", "")
    head = (boards / f"{HEAD}-specimen" / "index.html").read_text(encoding="utf-8")
    noise = next(chart for chart in charts(head) if "<title>gaussian_noise:" in chart)
    (title,) = re.findall(r"<title>(.*?)</title>", noise, re.DOTALL)
    viewing = tier.ranked[0].entry.viewing
    assert viewing is not None
    values = {name: one.value for name, one in viewing.scores(BASE).items()}
    assert f"{value_text(values['reference'])} – {value_text(values['gaussian_noise-2'])}" in title, "macro recall"


def test_a_named_record_with_no_digest_at_all_stands_apart(boards: Path) -> None:
    record = boards / f"{HEAD}-specimen" / "records" / "one.json"
    odd = write(Path("odd"), record.read_bytes(), "odd.json")
    change(odd, lambda result: result["digests"].update(benchmark=None))
    board = read_board(get_benchmark(HEAD, "specimen"), boards, [odd])
    assert [row.entry.key for row in board.apart] == ["odd.json"]
    change(odd, lambda result: result["digests"].update(benchmark=["x"]))
    board = read_board(get_benchmark(HEAD, "specimen"), boards, [odd])
    assert [row.key for row in board.refused] == ["odd.json"]


# -- in a browser --------------------------------------------------------------------------------------------


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_any_screen_and_asks_for_nothing(boards: Path, width: int) -> None:
    from playwright.sync_api import sync_playwright

    change(boards / TIERS["k"] / "records" / "one.json", lambda r: r["model"].update(name="W" * 80))
    (boards / f"{HEAD}-specimen" / "records" / "one.json").unlink()
    pages = [Path(page).resolve() for page in build()]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 900}, java_script_enabled=True)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        for path in pages:
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.goto(pages[0].as_uri())
        drawn = page.locator(".drifts svg")
        assert drawn.count() == 11
        boxes = [drawn.nth(at).bounding_box() for at in range(3)]
        assert all(box and 150 <= box["width"] <= 200 for box in boxes)
        assert boxes[1] and boxes[2] and (boxes[1]["y"] == boxes[2]["y"]), "beside each other, on a telephone too"
        strokes = page.locator(".drifts g.m0 .line").first.evaluate("e => getComputedStyle(e).stroke")
        assert strokes not in ("none", "rgb(0, 0, 0)"), "the page's style reaches the drawing"
        assert complaints == []
        browser.close()
