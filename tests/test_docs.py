"""The documents say what the code does: commands, options, metrics, fields, links and the card's numbers."""

from __future__ import annotations

import csv
import importlib
import json
import re
import shlex
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from lensbench import load_dataset
from lensbench.benchmark import get_benchmark
from lensbench.cli import COMMANDS, bench
from lensbench.cli.isp import COMMANDS as ISP
from lensbench.evaluation import evaluate, evaluate_predictions
from lensbench.masks.values import LabelMap
from lensbench.metrics import METRICS, MaskPrediction, MaskTruth, Metric, score
from lensbench.metrics.scoring import VIEW_METRICS
from lensbench.metrics.views import KINDS
from lensbench.models.card import TABLES, card
from lensbench.models.gate import DOMAINS, REFUSED_OPS
from lensbench.registry import Dataset, get_dataset
from lensbench.splits import read_manifest
from scripts import many_aps, simulate_worst_view
from tests.conftest import ROOT
from tests.graphs import bright_model, detection_model, power_model, write

README = ROOT / "README.md"
FOLDER = ROOT / "registry" / "lifewatch_flowcam"
CARD = FOLDER / "README.md"
PAGES = [README, *sorted((ROOT / "registry").glob("*/README.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(<!-- runnable -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(page: Path | str) -> str:
    return (ROOT / "docs" / page if isinstance(page, str) else page).read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[tuple[bool, str]]:
    """(marked runnable, code) of every fenced block in `language`."""
    return [(bool(mark), code) for mark, kind, code in BLOCK.findall(text(page)) if kind == language]


def table(page: str, head: str) -> list[list[str]]:
    """The cells of the rows below the header row that begins with the cells `head`."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def code(cell: str) -> str:
    return cell.strip("`")


def number(cell: str) -> int | None:
    return None if cell == "unknown" else int(cell.replace(",", ""))


# -- commands ------------------------------------------------------------------------------------------------


EVERY = (*(name for name in COMMANDS if name != "isp"), *(f"isp {name}" for name in ISP))


def command(name: str) -> click.Command:
    found: click.Command = importlib.import_module(f"lensbench.cli.{name.replace(' ', '_')}").command
    return found


def options(of: click.Command) -> set[str]:
    return {
        flag for param in of.params if isinstance(param, click.Option) for flag in (*param.opts, *param.secondary_opts)
    }


def section(name: str) -> str:
    found = re.search(rf"^## bench {name}\n(.*?)(?=^## |\Z)", text("commands.md"), re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no section '## bench {name}'"
    return found[1]


@pytest.mark.parametrize("name", EVERY)
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    documented = set(
        re.findall(r"--?[a-z][a-z-]*", " ".join(row[0] for row in table(section(name), "option | meaning")))
    )
    assert documented == options(command(name))
    for param in command(name).params:
        if isinstance(param, click.Argument):
            assert str(param.name).upper() in section(name)


def test_the_options_of_bench_itself_are_documented() -> None:
    preamble = text("commands.md").partition("\n## ")[0]
    for flag in (*options(bench), "-h", "--help"):
        assert f"`{flag}`" in preamble or f"`bench {flag}`" in preamble, flag


def bench_lines() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        lines = [line for _, shell in blocks(page, "sh") for line in shell.splitlines()]
        found += [(page.name, line) for line in lines if line.startswith("bench ")]
    return found


def test_every_bench_line_in_a_shell_block_can_be_typed() -> None:
    assert len(bench_lines()) > 5
    for page, line in bench_lines():
        _, name, *arguments = shlex.split(line)
        name = f"isp {arguments[0]}" if name == "isp" else name
        assert name in EVERY, f"{page}: {line}"
        flags = {argument for argument in arguments if argument.startswith("--")}
        assert flags <= options(command(name)), f"{page}: {line}"


def test_first_screen_is_the_four_lines_and_make_knows_its_targets() -> None:
    lines = blocks(README, "sh")[0][1].splitlines()
    assert lines == [
        "make demo",
        ". .venv/bin/activate",
        "bench eval --model my.onnx --benchmark lifewatch_flowcam",
        "make test",
    ]
    assert text(README).index("make demo") < 800
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z]+)", text(page))) <= targets, page


# -- metrics, records, models, benchmarks, variables ---------------------------------------------------------


def metric_row(metric: Metric) -> list[str]:
    return [
        f"`{metric.id}`",
        str(metric.version),
        metric.direction,
        metric.scale,
        metric.formula,
        metric.source,
    ]


def perfect(maps: Iterable[NDArray[Any]], shrunk: int = 0) -> dict[str, float | None]:
    """What true objects, shrunk by so many pixels, score as an answer under the publisher's protocol."""
    spec = get_benchmark("aitslab_bioimaging1-legacy")
    assert spec.protocol is not None
    true = [np.asarray(one, np.uint32) for one in maps]
    size = 2 * shrunk + 1
    mine = [np.where(minimum_filter(one, size) == maximum_filter(one, size), one, 0) for one in true]
    truth = MaskTruth(true, spec.labels, spec.protocol.scoring)
    found = score(truth, MaskPrediction([LabelMap(one) for one in mine]), spec.metrics, np.arange(len(true)))
    return {key: one.value for key, one in found.items()}


@pytest.mark.usefixtures("workspace")
def test_the_truth_scores_less_than_one_under_the_publishers_protocol_on_the_specimen() -> None:
    rows = load_dataset("aitslab_bioimaging1", "specimen", split="test")
    maps = [np.asarray(row["mask"]) for row in rows]
    assert f"`f1_mean` {perfect(maps)['f1_mean']:.3f} on the smaller\nnuclei of the specimen" in text("benchmark.md")
    assert (perfect(maps, shrunk=1)["f1_mean"] or 0) > (perfect(maps)["f1_mean"] or 1)


@pytest.mark.slow
@pytest.mark.needs("realdata")
def test_the_truth_scores_less_than_one_under_the_publishers_protocol(realdata: Path) -> None:
    truth, _ = many_aps.read(realdata / "aitslab_bioimaging1")
    found = perfect(truth.maps)
    assert f"`f1_mean` {found['f1_mean']:.3f} and `f1@0.5` {found['f1@0.5']:.3f}" in text("benchmark.md")


@pytest.mark.slow
@pytest.mark.needs("realdata")
def test_the_table_of_many_aps_is_what_the_script_measures(realdata: Path) -> None:
    truth, found = many_aps.read(realdata / "aitslab_bioimaging1")
    measured = [[name, how, f"{value:.3f}"] for name, how, value in many_aps.rows(truth, found)]
    assert table(text("metrics.md"), "score | counted") == measured
    true, mine = (sum(len(np.unique(one)) - 1 for one in side) for side in (truth.maps, [one.pixels for one in found]))
    said = f"The {mine} objects that Otsu's threshold and a watershed find in the {len(found)} test images"
    assert said in text("metrics.md")
    assert f"against the\n{true} true ones" in text("metrics.md")


def test_the_tables_of_metrics_are_those_in_the_code() -> None:
    page = text("metrics.md")
    assert table(page, "id") + table(page, "id (segmentation)") == [metric_row(metric) for metric in METRICS.values()]


def test_the_metrics_over_views_are_those_in_the_code() -> None:
    page = text("metrics.md")
    rows = table(page, "id over views")
    assert [code(row[0]) for row in rows] == [f"{name}:<id>" for name in KINDS]
    assert [row[1] for row in rows] == [kind.formula for kind in KINDS.values()]
    assert [row[2] for row in rows] == [kind.scale or "that of the metric" for kind in KINDS.values()]
    assert [row[3] for row in rows] == ["lower" if kind.loss else "as the metric" for kind in KINDS.values()]
    assert table(page, "id (agreement)") == [metric_row(metric) for metric in VIEW_METRICS.values()]


def simulated(rows: Iterable[simulate_worst_view.Row]) -> list[list[str]]:
    shares = ((row.truths, row.method, f"{row.least:.1%}", f"{row.mean:.1%}", f"{row.width:.3f}") for row in rows)
    return [[cell.replace("%", " %") for cell in row] for row in shares]


def test_the_interval_of_a_worst_view_holds_where_plain_ones_do_not() -> None:
    said = {(row[0], row[1]): float(row[2].split()[0]) for row in table(text("metrics.md"), "true values")}
    methods = simulate_worst_view.METHODS
    assert {key[0] for key in said} == set(simulate_worst_view.TRUTHS) and {key[1] for key in said} == set(methods)
    assert all(share >= 93 for (_, method), share in said.items() if method == methods[2])
    found = {(row.truths, row.method): row.mean for row in simulate_worst_view.simulate(40)}
    assert all(found[name, methods[2]] >= 0.93 for name in simulate_worst_view.TRUTHS)
    assert found["all near 1", methods[1]] < 0.93


def test_an_interval_of_a_worst_view_that_was_searched_pays_for_the_search() -> None:
    """Few draws: the jackknife of the view that came out worst is far off, the interval over all views is not."""
    flat, _ = simulate_worst_view.VALLEYS
    methods = simulate_worst_view.METHODS
    said = {(row[0], row[1]): float(row[2].split()[0]) for row in table(text("metrics.md"), "true values in the box")}
    assert all(said[name, methods[2]] >= 95 for name in simulate_worst_view.VALLEYS)
    found = {(row.truths, row.method): row.mean for row in simulate_worst_view.simulate_search(4)}
    assert found[flat, methods[0]] < 0.8 and found[flat, methods[2]] >= 0.85


@pytest.mark.slow
def test_the_table_of_the_search_is_what_the_script_simulates() -> None:
    said = table(text("metrics.md"), "true values in the box")
    half = len(said) // 2  # one box of two: the other takes minutes more
    assert half and said[:half] == simulated(islice(simulate_worst_view.simulate_search(300), half))


@pytest.mark.slow
def test_the_table_of_the_worst_view_is_what_the_script_simulates() -> None:
    assert table(text("metrics.md"), "true values") == simulated(simulate_worst_view.simulate(2000))


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Dotted names of all fields: a list of tables is `name[]`, and metrics are named `<id>`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "<id>" if path == "metrics" else key
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path


def test_every_field_of_a_record_is_documented_and_no_other(tmp_path: Path) -> None:
    dataset = get_dataset("lifewatch_flowcam")
    manifest = read_manifest(dataset, "specimen", "test")
    file = tmp_path / "mine.csv"
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("id", "label"), *zip(manifest.ids, manifest.labels, strict=True)])
    done = evaluate_predictions(file, "lifewatch_flowcam", config="specimen", out=tmp_path / "run")
    stored = json.loads((done.folder / "record.json").read_text(encoding="utf-8"))
    page = text("record.md")
    result, *_, run = page.split("\n## ")[1:]
    assert set(stored) == {"schema", "result", "sha256", "run"}
    assert {code(row[0]) for row in table(result, "field")} == set(leaves(stored["result"]))
    only_with_a_model = {"seconds.loop", "pixels"}
    assert {code(row[0]) for row in table(run, "field")} - only_with_a_model == set(leaves(stored["run"]))


def test_every_field_of_a_record_on_views_is_documented(tmp_path: Path) -> None:
    name = "raw_microscopy-isp-k"
    spec = get_benchmark(name, "specimen")
    manifest = read_manifest(get_dataset("raw_microscopy"), "specimen", "test")
    assert spec.views is not None
    pairs = list(zip(manifest.ids, manifest.labels, strict=True))
    rows = [(key, view, label) for key, label in pairs for view in spec.views.names]
    with (tmp_path / "mine.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("id", "view", "label"), *rows])
    result = evaluate_predictions(tmp_path / "mine.csv", name, config="specimen", out=tmp_path / "run").record.result
    score = {"value", "low", "high", "method", "groups"}
    shown = {key: result[key] for key in ("grid", "views", "stages", "frames")}
    assert all(score <= one.keys() for view in shown["views"] for one in view["metrics"].values())
    assert all(score <= stage["drop"].keys() for stage in shown["stages"])
    flat = {
        "grid": shown["grid"],
        "views": [{**view, "metrics": None} for view in shown["views"]],
        "stages": [{**stage, "drop": None} for stage in shown["stages"]],
        "frames": shown["frames"],
    }
    assert {code(row[0]) for row in table(text("record.md"), "field of a result on views")} == set(leaves(flat))


def test_every_field_of_a_search_is_documented(tmp_path: Path) -> None:
    name = "raw_microscopy-isp-w"
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    spec = (ROOT / "benchmarks" / f"{name}.toml").read_text(encoding="utf-8")
    (folder / f"{name}.toml").write_text(spec.replace("budget = 256", "budget = 12"), encoding="utf-8")
    shutil.copyfile(ROOT / "benchmarks" / "raw_microscopy-isp.toml", folder / "raw_microscopy-isp.toml")
    shutil.copytree(ROOT / "benchmarks" / "reference", folder / "reference")
    model = write(tmp_path, power_model())
    benchmark = get_benchmark(name, "specimen", folder)
    result = evaluate(model, benchmark, labels="published", out=tmp_path / "run").record.result
    worst = {**result["search"]["worst"], "view": None}
    fields = set(leaves({"search": {**result["search"], "worst": worst}}))
    assert {code(row[0]) for row in table(text("record.md"), "field of a search")} == fields


def test_every_field_of_a_segmentations_record_is_documented(tmp_path: Path) -> None:
    card = {"output": {"method": {"name": "watershed"}}}
    boxes, scores = np.array([[2, 2, 9, 9]], np.float32), np.array([0.5], np.float32)
    found: set[str] = set()
    for name, data in {
        "planes": bright_model(metadata={"lensbench": json.dumps(card)}),
        "scored": detection_model(boxes, scores),
    }.items():
        model = write(tmp_path, data, f"{name}.onnx")
        result = evaluate(model, "aitslab_bioimaging1", config="specimen", out=tmp_path / name).record.result
        found |= set(leaves({key: result[key] for key in ("protocol", "images", "curve")}))
    found = {re.sub(r"(\.method)\.\w+", r"\1", field) for field in found}
    documented = {code(row[0]) for row in table(text("record.md"), "field of a segmentation")}
    assert documented == found - {"protocol.tiling", "protocol.output"}


def test_every_entry_of_model_toml_is_documented_and_no_other() -> None:
    inside = {name for name in TABLES if name}
    entries = {f"{name}.{entry}" if name else entry for name, known in TABLES.items() for entry in known}
    assert {code(row[0]) for row in table(text("model.md"), "entry | type")} == entries - inside


def test_what_the_gate_refuses_is_documented() -> None:
    page = text("model.md")
    assert all(f"`{name}`" in page for name in (*REFUSED_OPS, *filter(None, DOMAINS)))


def test_the_example_of_model_toml_is_accepted_and_uses_every_table() -> None:
    (example,) = blocks(README, "toml")
    data = tomllib.loads(example[1])
    assert card(data, "README.md").labels in get_dataset("lifewatch_flowcam").label_orders
    assert {name for name in TABLES if name} <= data.keys()


def test_every_entry_of_a_benchmark_is_documented() -> None:
    page = text("benchmark.md")
    for path in (ROOT / "benchmarks").glob("*.toml"):
        for key, value in tomllib.loads(path.read_text(encoding="utf-8")).items():
            inner = value[0] if isinstance(value, list) else value
            for name in (key, *(inner if isinstance(inner, dict) else ())):
                assert re.search(rf"`\[*{name}\]*`", page), f"{path.name}: {key} {name}"


def test_every_variable_that_is_read_is_documented() -> None:
    code_files = [*(ROOT / "src").rglob("*.py"), ROOT / "tests" / "conftest.py"]
    names = {name for file in code_files for name in re.findall(r"LENSBENCH_[A-Z]+", file.read_text(encoding="utf-8"))}
    documented = " ".join(row[0] for row in table(text("sources.md"), "variable"))
    assert names == set(re.findall(r"LENSBENCH_[A-Z]+", documented))


# -- links and code ------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name + "/" + page.name)
def test_no_relative_link_is_dead(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text(page)))
    for link in links:
        if re.match(r"https?://", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_every_page_is_reached_from_the_readme() -> None:
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT)})" in text(README)


def test_every_folder_of_the_layout_exists() -> None:
    assert all((ROOT / code(row[0])).is_dir() for row in table(text(README), "folder"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name + "/" + page.name)
def test_python_blocks_compile(page: Path) -> None:
    for _, block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_the_blocks_marked_runnable_run_offline(capsys: pytest.CaptureFixture[str]) -> None:
    runnable = [block for marked, block in blocks(README, "python") if marked]
    assert runnable
    for block in runnable:
        exec(compile(block, str(README), "exec"), {"__name__": "__main__"})
        assert capsys.readouterr().out


@pytest.mark.slow
def test_the_scores_in_the_readme_are_what_the_command_prints(tmp_path: Path) -> None:
    from lensbench.cli.summary import summary

    done = evaluate(ROOT / "leaderboards" / "submissions" / "features", config="specimen", out=tmp_path / "run")
    printed = summary(done).splitlines()
    number_like = re.compile(r"(?<![\w@])\d\.\d+")
    ((_, block),) = blocks(README, "text")
    for line in filter(None, block.splitlines()):
        same = [other for other in printed if number_like.sub("#", other) == number_like.sub("#", line)]
        same = [other for other in same if other.split()[0] == line.split()[0]]
        assert same, line
        shown, found = ([float(n) for n in number_like.findall(text_)] for text_ in (line, same[0]))
        assert found == pytest.approx(shown, abs=2e-3), line  # kernels of other CPUs round otherwise


# -- the card of lifewatch_flowcam ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return get_dataset("lifewatch_flowcam", ROOT / "registry")


@pytest.fixture(scope="module")
def body() -> str:
    return str(DatasetCard.load(CARD).text)


def attributes(dataset: Dataset, name: str) -> list[str]:
    return list((dataset.attribute(name) or {}).values())


def test_advertised_and_counted_numbers_of_the_card_are_those_of_the_registry(dataset: Dataset, body: str) -> None:
    names = ("advertised", "listed", "counted")
    rows = table(body, "number of images")
    for column, version in enumerate(("1.0.0", "2.0.0"), start=1):
        stated = [number(row[column]) for row in rows]
        assert stated == [dataset.versions[version].images[name] for name in names]
    rows_of = dataset.config("decrop2025").splits.values()
    assert sum(split.rows or 0 for split in rows_of) == dataset.versions["2.0.0"].images["listed"]


def test_classes_of_the_card_are_those_of_the_class_table(dataset: Dataset, body: str) -> None:
    ids = [key for key in attributes(dataset, "aphia_id") if key]
    without, shared = len(dataset.classes) - len(ids), [n for n in Counter(ids).values() if n > 1]
    assert f"{len(dataset.classes)} classes have {len(set(ids))} distinct AphiaIDs and {without} have none" in body
    assert (len(shared), min(shared), max(shared)) == (8, 2, 5)
    assert "Eight AphiaIDs are shared by two to five classes" in body
    assert ids.count("148899") == 5
    assert "148899 alone stands for five" in body
    assert {row[0]: int(row[1]) for row in table(body, "taxon")} == Counter(attributes(dataset, "taxon"))
    assert f"`plankton` is false for {attributes(dataset, 'plankton').count('false')} classes" in body


def test_support_and_overlap_stated_in_the_card_are_counted(dataset: Dataset, body: str) -> None:
    test = read_manifest(dataset, "decrop2025", "test")
    support = Counter(test.labels).values()
    assert (sum(n <= 50 for n in support), sum(n <= 20 for n in support)) == (31, 11)
    assert "Thirty-one classes have at most 50 test images in `decrop2025`, eleven at most 20" in body
    overlap = [len({*test.ids} & {*read_manifest(dataset, "equal400", s).ids}) for s in ("test", "validation")]
    assert overlap == [2171, 1305]
    assert re.search(r"33,718 test images of `decrop2025`, 2,171 are in the test\s+and 1,305 in the validation", body)
    assert max(Counter(read_manifest(dataset, "equal400", "test").labels).values()) == 400


def test_the_cost_of_a_wrong_label_order_stated_in_the_card_is_counted(dataset: Dataset, body: str) -> None:
    right = dataset.label_order("decrop2025")
    labels = read_manifest(dataset, "decrop2025", "test").labels
    for order, stated in (("equal400", "4.5 %"), ("alphabetical", "67.4 %")):
        read_as = dict(zip(right, dataset.label_order(order), strict=True))
        share = sum(label == read_as[str(label)] for label in labels) / len(labels)
        assert f"{100 * share:.1f} %" == stated
        assert stated in body


def test_stations_of_the_card_are_seventeen_codes_at_sea_off_belgium(body: str) -> None:
    rows = table(body, "code")
    assert len({row[0] for row in rows}) == len(rows) == 17
    assert Counter(row[3] for row in rows) == {"monthly": 9, "seasonally": 8}
    assert all(2 < float(row[1]) < 4 and 51 < float(row[2]) < 52 for row in rows)
    listed = re.search(r"^STATIONS = \((.*?)^\)", text(FOLDER / "specimen.py"), re.MULTILINE | re.DOTALL)
    assert listed
    assert [row[0] for row in rows] == re.findall(r'"(\w+)"', listed[1])


def test_versions_and_citations_of_the_card_are_those_of_the_registry(dataset: Dataset, body: str) -> None:
    header = next(line for line in body.splitlines() if line.startswith("| | 1.0.0"))
    assert "2.0.0 (default)" in header
    assert dataset.latest == "2.0.0"
    records = next(row for row in body.splitlines() if row.startswith("| Zenodo record |"))
    for version in dataset.versions.values():
        assert version.record in records
        assert version.citation in body


def test_sizes_of_the_card_are_those_of_the_registry(dataset: Dataset, body: str) -> None:
    for version in dataset.versions.values():
        for file in version.files:
            assert f"about {(file.size_about or 0) // 10**6} MB" in body
    absent = [
        (config.name, split.name, split.absent["2.0.0"].about)
        for config in dataset.configs.values()
        for split in config.splits.values()
        if "2.0.0" in split.absent
    ]
    assert absent == [
        ("decrop2025", "train", 26),
        ("decrop2025", "validation", 26),
        ("decrop2025", "test", 26),
        ("equal400", "train", 46),
        ("equal400", "test", 26),
        ("specimen", "train", 3),
        ("specimen", "test", 2),
    ]
    flat = " ".join(body.split())
    assert "up to 26 a split in `decrop2025`, 26 in the test and 46 in the train list of `equal400`" in flat
    assert "listed images without a file (3 in train, 2 in test)" in flat
