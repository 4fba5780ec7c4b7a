"""Who is ranked, who stands apart and why; and that a board's files are a function of its records alone."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensbench.errors import RecordError
from lensbench.leaderboard import Leaderboard, Refused, read_board
from lensbench.leaderboard.charts import axis, confusion_map, level
from lensbench.leaderboard.detail import TIES, breakable
from lensbench.leaderboard.entry import parse_entry
from lensbench.leaderboard.escape import as_csv, as_html, as_markdown, clean, web_url
from lensbench.leaderboard.markdown import markdown_text
from lensbench.leaderboard.page import page_text
from lensbench.leaderboard.table import csv_text
from lensbench.record import Record, write_record
from tests.board_records import CLASSES, IDS, PAPER, benchmark, metric, record

B = benchmark()
SMALL = benchmark(labels=("a", "b", "c"), references=())
FILES = ("README.md", "board.csv", "index.html")


def setting(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one field of a result."""

    def change(result: dict[str, Any]) -> None:
        place: Any = result
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def scored(name: str, value: float | None, half: float = 0.01, **entry: Any) -> tuple[str, Record]:
    """A record of that macro recall, as its classes make it; `entry` changes what it says of it."""

    def change(result: dict[str, Any]) -> None:
        result["metrics"]["macro_recall"] = {**metric(value, half), **entry}
        for row in result["classes"]:
            row["recall"] = row["recall"] if value is None else value

    return f"{name}.json", record(SMALL, name, change)


def incomplete(result: dict[str, Any]) -> None:
    result["complete"] = False
    result["coverage"].update(scored=result["coverage"]["scored"] - 7, missing=7, missing_ids=["ID-1", "ID-2"])


def build(*records: tuple[str, Record]) -> Leaderboard:
    return Leaderboard.build(SMALL, records)


# --- ranking ---


def test_ranks_by_the_headline_with_ties_and_then_by_name() -> None:
    board = build(scored("d", 0.5), scored("c", 0.7), scored("b", 0.7), scored("a", 0.9))
    assert [(r.rank, r.tied, r.entry.name) for r in board.ranked] == [
        (1, False, "a"), (2, True, "b"), (2, True, "c"), (4, False, "d"),
    ]  # fmt: skip
    assert "| 2= | b |" in markdown_text(board)


def test_a_lower_is_better_headline_ranks_from_below() -> None:
    of = benchmark(metrics={"nll": 1, "top1": 1}, labels=("a", "b"), references=())
    records = [(n, record(of, n, setting("metrics", "nll", to=metric(v)))) for n, v in (("x", 2.0), ("y", 0.4))]
    assert [row.entry.name for row in Leaderboard.build(of, records).ranked] == ["y", "x"]


def test_overlap_with_the_first_is_marked_and_no_interval_is_not_called_a_tie() -> None:
    without = scored("no interval", 0.895, low=None, high=None)
    board = build(scored("first", 0.9), scored("near", 0.89), scored("far", 0.5), without)
    assert {row.entry.name: row.overlaps for row in board.ranked} == {
        "first": None, "near": True, "no interval": None, "far": False,
    }  # fmt: skip
    assert "No paired test was made" in markdown_text(board)
    assert "No paired test" not in markdown_text(build(scored("first", 0.9), scored("far", 0.5)))


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=8))
def test_rank_is_one_more_than_the_number_of_better_ones(values: list[float]) -> None:
    board = build(*(scored(f"m{i}", value) for i, value in enumerate(values)))
    for row in board.ranked:
        own = row.entry.score("macro_recall").value
        assert own is not None
        assert row.rank == 1 + sum(value > own for value in values)
        assert row.tied == (values.count(own) > 1)


# --- apart ---


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (incomplete, "incomplete: 7 of "),
        (setting("metrics", "macro_recall", to=metric(None)), "no macro_recall: needs scores"),
    ],
)
def test_apart_on_the_same_digest(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    board = build(("x.json", record(SMALL, "x", change)))
    assert not board.ranked
    assert board.apart[0].reason.startswith(reason)
    assert as_html(reason) in page_text(board)
    assert as_markdown(reason) in markdown_text(board)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"version": "1.0.0"}, "dataset version 1.0.0 instead of 2.0.0"),
        ({"manifest": "aa" * 32}, "another split manifest"),
        ({"revision": 2}, "benchmark revision 2 instead of 1"),
        ({"config": "equal400"}, "config equal400 instead of decrop2025"),
        ({"split": "validation"}, "split validation instead of test"),
        ({"name": "other"}, "benchmark other instead of lifewatch_flowcam"),
        ({"labels": ("c", "b", "a")}, "another order of the labels"),
        ({"labels": ("a", "b", "z")}, "other labels"),
        ({"metrics": {"macro_recall": 1, "top1": 1}}, "other metrics"),
        ({"cluster": "group"}, "a metric version, its cluster or absent ids differ"),
    ],
)
def test_another_digest_says_which_part_differs(other: dict[str, Any], reason: str) -> None:
    of = benchmark(**{"labels": SMALL.labels, **other})
    board = build(("x.json", record(of, "x")), scored("ours", 0.5))
    assert [row.entry.name for row in board.ranked] == ["ours"]
    assert board.apart[0].reason.startswith("not comparable: ")
    assert reason in board.apart[0].reason


def test_a_second_result_of_one_model_stands_apart_and_the_same_result_counts_once() -> None:
    first = record(SMALL, "cnn")
    again = record(SMALL, "cnn", setting("notes", to=["another run"]))
    assert first.result["digests"]["model"] == again.result["digests"]["model"]
    board = build(("b.json", again), ("a.json", first), ("c.json", first))
    assert [row.entry.key for row in board.ranked] == ["a.json"]
    assert [row.entry.key for row in board.apart] == ["b.json"]
    assert "same model as cnn (a.json)" in board.apart[0].reason


def test_predictions_without_a_model_are_told_apart_by_their_digest() -> None:
    one, two = (record(SMALL, name, setting("digests", "model", to=None)) for name in ("x", "y"))
    assert len(build(("x.json", one), ("y.json", two)).ranked) == 2


# --- what is not a record ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (setting("model", "name", to=5), "model.name is not text"),
        (setting("model", "authors", to="me"), "model.authors is not a list"),
        (setting("model", "parameters", to=-1), "model.parameters is not a whole number"),
        (setting("model", "bytes", to=True), "model.bytes is not a whole number"),
        (setting("digests", "model", to=["x"]), "digests.model is not text"),
        (setting("benchmark", "version", to={}), "benchmark.version is not text"),
        (setting("coverage", "missing", to=3), "coverage"),
        (setting("coverage", "scored", to="all"), "coverage.scored is not a whole number"),
        (setting("complete", to=False), "complete is false, but 0 samples are missing"),
        (setting("metrics", "top1", to=metric(1.5)), "metrics.top1.value is 1.5, outside 0…1"),
        (setting("metrics", "top1", "value", to="0.9"), "metrics.top1.value is not a number"),
        (setting("metrics", "top1", "low", to=0.99), "its interval ends before it begins"),
        (setting("metrics", "top1", "low", to=None), "an interval needs a value and two ends"),
        (setting("metrics", "top1", "groups", to=None), "metrics.top1.groups is not a whole number"),
        (
            setting("metrics", "nll", "value", to=10**400),
            "metrics.nll.value is not a number that can be shown",
        ),
        (setting("classes", to={}), "classes is not a list"),
        (setting("classes", 0, to=7), "classes[0] is not a table"),
        (setting("classes", 0, "name", to="z"), "not the benchmark's labels"),
        (setting("classes", 0, "recall", to=1.01), "classes[0].recall"),
        (setting("classes", 0, "support", to=10**6), "classes: their support is"),
        (setting("confusion", to=[[0, 3, 1.0]]), "outside the 3 classes"),
        (setting("confusion", to=[[0, 1]]), "not [true, predicted, count]"),
        (setting("confusion", to=[[0, 1, 1.0], [0, 1, 1.0]]), "stands twice"),
        (setting("confusion", to=[[0, 1, -1.0]]), "confusion is -1"),
        (setting("assumed", to=[["x"]]), "assumed is not text"),
        (setting("notes", to="x"), "notes is not a list"),
    ],
)
def test_a_record_with_an_unfit_field_is_refused_and_the_board_goes_on(
    change: Callable[[dict[str, Any]], None], said: str
) -> None:
    board = build(("bad.json", record(SMALL, "bad", change)), scored("good", 0.5))
    assert [row.entry.name for row in board.ranked] == ["good"]
    assert [row.key for row in board.refused] == ["bad.json"]
    assert said in board.refused[0].reason
    assert as_html(board.refused[0].reason) in page_text(board)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in steps for place in ((*at, key), *_places(inner, (*at, key)))]


PLACES = _places(record(SMALL, "m").result)


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=junk)
def test_any_value_anywhere_is_shown_or_refused_never_a_crash(place: tuple[Any, ...], value: Any) -> None:
    board = build(("x.json", record(SMALL, "x", setting(*place, to=value))))
    assert len(board.ranked) + len(board.apart) + len(board.refused) == 1
    for text in (page_text(board), markdown_text(board), csv_text(board)):
        text.encode("utf-8")


# --- reading ---


def store(folder: Path, name: str, made: Record) -> Path:
    path = folder / SMALL.slug / "records" / name
    write_record(made, path)
    return path


def test_reads_stored_records_and_named_runs(tmp_path: Path) -> None:
    store(tmp_path / "boards", "one.json", record(SMALL, "one"))
    write_record(record(SMALL, "two"), tmp_path / "runs" / "two-1234" / "record.json")
    write_record(record(SMALL, "three"), tmp_path / "three.json")
    board = read_board(SMALL, tmp_path / "boards", [tmp_path / "runs" / "two-1234", tmp_path / "three.json"])
    assert {row.entry.key for row in board.ranked} == {"one.json", "two-1234", "three.json"}
    assert not any(str(tmp_path) in text for text in (page_text(board), markdown_text(board), csv_text(board)))


def test_one_bad_file_does_not_stop_the_board(tmp_path: Path) -> None:
    good = store(tmp_path, "good.json", record(SMALL, "good"))
    folder = good.parent
    text = good.read_text()
    (folder / "cut.json").write_text(text[:100])
    (folder / "edited.json").write_text(text.replace('"scored": ', '"scored": 1', 1))
    (folder / "inf.json").write_text(text.replace('"groups": 200', '"groups": 1e999', 1))
    (folder / "lone.json").write_text(text.replace('"good"', '"\\ud800"', 1))
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "bytes.json").write_bytes(b"\xff\xfe{}")
    (folder / "folder.json").mkdir()
    (folder / "link.json").symlink_to(tmp_path / "nowhere.json")
    os.mkfifo(folder / "pipe.json")
    (folder / "notes.txt").write_text("not a record")
    board = read_board(SMALL, tmp_path)
    assert [row.entry.name for row in board.ranked] == ["good"]
    bad = {row.key: row.reason for row in board.refused}
    assert set(bad) == {
        f"{name}.json" for name in ("cut", "edited", "inf", "lone", "deep", "bytes", "folder", "link", "pipe")
    }
    assert "sha256" in bad["edited.json"]
    assert "not a regular file" in bad["pipe.json"]
    assert not any(str(tmp_path) in reason for reason in bad.values())


def test_a_named_run_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such record"):
        read_board(SMALL, tmp_path, [tmp_path / "absent"])
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(RecordError, match="not a lensbench record"):
        read_board(SMALL, tmp_path, [tmp_path])


# --- three files ---


def many() -> list[tuple[str, Record]]:
    made = [(f"m{i}.json", record(SMALL, f"m{i % 4}", skill=0.2 + 0.1 * i)) for i in range(6)]
    return [
        *made,
        ("half.json", record(SMALL, "half", incomplete)),
        ("old.json", record(benchmark(version="1"), "old")),
    ]


def test_rebuilding_is_byte_identical_in_any_order_and_ignores_the_run_part(tmp_path: Path) -> None:
    records = many()
    Leaderboard.build(SMALL, records).write(tmp_path / "a")
    shuffled = [(key, Record(json.loads(json.dumps(r.result)), {"cores": 64})) for key, r in records]
    random.Random(5).shuffle(shuffled)
    Leaderboard.build(SMALL, shuffled, [Refused("x", "y")]).write(tmp_path / "b")
    Leaderboard.build(SMALL, shuffled).write(tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pandas_has_one_row_a_record_then_the_references() -> None:
    board = Leaderboard.build(B, [("a.json", record(B, "a")), ("b.json", record(B, "b", incomplete))])
    table = board.to_pandas()
    assert table["status"].tolist() == ["ranked", "apart", "reference"]
    assert table.columns[:6].tolist() == [
        "rank",
        "model",
        "status",
        "macro_recall",
        "macro_recall_low",
        "macro_recall_high",
    ]
    assert table["rank"].tolist()[0] == 1 and pd.isna(table["rank"][1])
    assert table["macro_recall"][2] == PAPER.values["macro_recall"]
    assert math.isnan(table["macro_recall_low"][2])
    assert {str(table[name].dtype) for name in IDS} == {"float64"}
    assert str(table["parameters"].dtype) == "Int64"
    empty = Leaderboard.build(SMALL, []).to_pandas()
    assert empty.empty and list(empty.columns) == list(table.columns)


def test_csv_gives_the_exact_numbers_of_the_table() -> None:
    board = build(*many())
    read = list(csv.DictReader(io.StringIO(csv_text(board))))
    table = board.to_pandas()
    assert [row["model"] for row in read] == table["model"].tolist()
    assert [float(row["top1_low"]) for row in read] == table["top1_low"].tolist()


def test_null_metrics_are_dashes_with_their_reason() -> None:
    board = build(("x.json", record(SMALL, "x", setting("metrics", "top3", to=metric(None)))))
    assert len(board.ranked) == 1
    assert 'title="needs scores">–</td>' in page_text(board)
    assert csv_text(board).splitlines()[1].count(",,") >= 1
    assert math.isnan(board.to_pandas()["top3"][0])


@pytest.mark.parametrize("name", ["macro_recall", "top1", "macro_precision", "macro_f1", "weighted_f1"])
def test_a_metric_that_contradicts_classes_and_confusion_is_refused(name: str) -> None:
    forged = record(SMALL, "forged", setting("metrics", name, to=metric(0.987654)))
    board = build(scored("good", 0.5), ("forged.json", forged))
    assert [row.entry.name for row in board.ranked] == ["good"]
    (refused,) = board.refused
    assert f"metrics.{name}.value is 0.987654, but the rest of the record makes it 0." in refused.reason


def test_a_value_without_interval_says_why_in_every_file() -> None:
    bare: dict[str, Any] = {
        "low": None,
        "high": None,
        "method": "none",
        "groups": 200,
        "reason": "no group <changes> it",
    }
    board = build(scored("x", 0.25, **bare), scored("second", 0.2))
    page = page_text(board)
    assert '<small title="no group &lt;changes&gt; it">no interval</small>' in page
    assert '<td class="n">0.250<small>–</small></td><td class="how">no group &lt;changes&gt; it</td>' in page
    assert "Shaded:" not in page and 'class="band"' not in page
    assert "| 1 | x | 0.250 no interval |" in markdown_text(board)
    row = next(csv.DictReader(io.StringIO(csv_text(board))))
    assert (row["macro_recall"], row["macro_recall_low"], row["macro_recall_high"]) == ("0.25", "", "")


def test_fractional_counts_are_explained_where_there_are_some() -> None:
    def of(cells: list[list[float]]) -> Leaderboard:
        def change(result: dict[str, Any]) -> None:
            result["confusion"] = cells
            result["metrics"]["top1"] = metric(cells[0][2] / result["coverage"]["scored"])

        return build(("x.json", record(SMALL, "x", change)))

    assert TIES in page_text(of([[0, 0, 2.5], [0, 1, 2.5]]))
    assert TIES not in page_text(of([[0, 0, 5.0]]))


def test_class_names_break_where_taxa_are_joined() -> None:
    assert breakable("A_b+<C>") == "A_<wbr>b+<wbr>&lt;C&gt;"


def test_commands_name_the_label_order() -> None:
    board = build(scored("x", 0.5))
    line = f"bench eval --model my.onnx --benchmark {SMALL.name} --labels ORDER"
    for text in (page_text(board), markdown_text(board)):
        assert f"\n{line}\n" in text or f"\n{line}</pre>" in text


def test_a_board_with_references_alone_is_a_whole_page() -> None:
    board = Leaderboard.build(B, [])
    page, text = page_text(board), markdown_text(board)
    for shown in (page, text):
        assert "No complete record yet" in shown
        assert "EfficientNetV2-B0 (paper)" in shown
        assert "not re-run" in shown
        assert PAPER.url in shown
        assert B.digest in shown
    assert "bench eval --model my.onnx --benchmark lifewatch_flowcam" in page


def test_a_specimen_says_so_everywhere_and_names_its_config() -> None:
    of = benchmark(synthetic=True, config="specimen", references=(), labels=SMALL.labels)
    board = Leaderboard.build(of, [("x.json", record(of, "x"))])
    for shown in (page_text(board), markdown_text(board)):
        assert "Specimen: synthetic images" in shown
        assert "--config specimen" in shown
    assert "Specimen" not in page_text(build(scored("x", 0.5)))


def test_twenty_full_records_stay_below_three_megabytes() -> None:
    board = Leaderboard.build(B, [(f"{i}.json", record(B, f"model {i}", skill=0.3 + 0.03 * i)) for i in range(20)])
    assert len(board.ranked) == 20
    assert len(page_text(board).encode()) < 3_000_000


# --- hostile text ---

HOSTILE = (
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "a | b\n\n# heading\r\n- item",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "=HYPERLINK(\"https://evil.example\")",
    "@SUM(1+1)", "\t=1+1", "-2+3", "`code` *bold* _under_ ~~gone~~",
    "right\u202eto\u2066left\u200b\x00\x1b[31m",
    "</style></script><!--",
    "x" * 10_000,
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless_in_every_file(text: str) -> None:
    def change(result: dict[str, Any]) -> None:
        result["model"].update(name=text, authors=[text], licence=text, training=text, labels=text, kind=text, url=text)
        result.update(assumed=[text] * 100, notes=[text])
        result["metrics"]["top3"] = {**metric(None), "reason": text, "method": text}

    def foreign(result: dict[str, Any]) -> None:
        change(result)
        result["benchmark"]["version"] = result["digests"]["benchmark"] = text
        for row in result["classes"]:
            row["name"] = text

    of = benchmark(labels=SMALL.labels, references=())
    records = [("a.json", record(of, "x", change)), (f"{text[:20]}.json", record(of, "y", foreign))]
    board = Leaderboard.build(of, records, [Refused(clean(text, 80), clean(text, 80))])
    assert len(board.ranked) == len(board.apart) == 1
    page, markdown, table = page_text(board), markdown_text(board), csv_text(board)
    assert page.count("<script") == page.count("</script>") == page.count("<style") == page.count("</style>") == 1
    assert "<img" not in page and "<!--" not in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links and all(re.match(r"#r-[0-9a-f]{12}$|board\.csv$|README\.md$", link) for link in links)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", page + markdown + table)
    assert len(page) < 200_000
    assert "<" not in re.sub(r"\]\(<https?://[^>]*>\)", "", markdown)
    assert not re.search(r"(?<!\\)\]\((?!index\.html|board\.csv)", markdown)
    ranked = [line for line in markdown.splitlines() if re.match(r"\| \d", line)]
    assert len(ranked) == 1 and len(re.findall(r"(?<!\\)\|", ranked[0])) == 9
    for row in csv.reader(io.StringIO(table)):
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in row)


@given(st.text(max_size=60))
def test_clean_text_is_one_visible_line_and_escapes_hold(text: str) -> None:
    line = clean(text, 20)
    assert len(line) <= 20 and line == line.strip() and (not line or line.isprintable())
    assert not set("<>\"'") & set(as_html(line))
    assert not re.search(r"[<>]|(?<!\\)(\\\\)*[|*_`\[\]]", as_markdown(line).replace("\\\\", ""))
    assert not as_csv(line).startswith(("=", "+", "-", "@"))


def test_only_web_addresses_become_links() -> None:
    assert web_url("https://zenodo.org/records/1?x=1#y")
    for url in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil",
        "https://",
        "ftp://x/y",
        'https://x/"onclick=',
        "http://[x",
    ):
        assert web_url(url) is None


# --- charts ---


@given(st.lists(st.floats(0, 1), max_size=20))
def test_an_axis_of_unit_values_has_round_ticks_and_holds_them(values: list[float]) -> None:
    made = axis(values, unit=True)
    assert 0 <= made.low < made.high <= 1
    assert all(made.low <= value + 1e-6 and value - 1e-6 <= made.high for value in values)
    assert 2 <= len(made.ticks) <= 8
    assert made.ticks == tuple(sorted(made.ticks))


@given(st.lists(st.floats(-1e18, 1e18), min_size=1, max_size=5))
def test_an_axis_of_any_values_is_drawable(values: list[float]) -> None:
    made = axis(values, unit=False)
    assert made.low < made.high
    assert all(0 <= float(made.percent(value)[:-1]) <= 100 for value in values)


def test_a_confusion_map_draws_each_cell_once_in_the_colour_of_its_share() -> None:
    cells = [(0, 0, 90.0), (0, 1, 10.0), (1, 0, 0.0), (1, 1, 5.0)]
    drawn = {
        (int(y), int(x)): int(k)
        for k, path in re.findall(r'class="k(\d)" d="([^"]*)"', confusion_map(cells, 2))
        for x, y in re.findall(r"M(\d+) (\d+)h1", path)
    }
    assert drawn == {(0, 0): level(0.9), (0, 1): level(0.1), (1, 1): level(1.0)}


def test_a_full_confusion_map_stays_small() -> None:
    cells = [(i, j, 1.0) for i in range(95) for j in range(95)]
    assert len(confusion_map(cells, 95)) < 80_000


def test_entries_keep_what_records_say() -> None:
    made = record(B, "cnn")
    entry = parse_entry("x", made)
    assert entry.sha256 == made.sha256
    assert tuple(row.name for row in entry.classes) == CLASSES
    assert entry.score("top1").value == made.value("top1")
    assert [list(cell) for cell in entry.confusion] == made.result["confusion"]


def test_a_record_over_another_number_of_samples_is_refused() -> None:
    made = record(benchmark())
    of = benchmark(expected=made.result["coverage"]["expected"] + 1)
    board = Leaderboard.build(of, [("a.json", made)])
    assert not board.ranked and "samples expected, the benchmark has" in board.refused[0].reason
