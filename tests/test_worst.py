"""Benchmarks with a worst case: what a search asks are their views, and each one's answers are stored and scored."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lensbench import viewrunner
from lensbench.benchmark import Benchmark, benchmark_root, get_benchmark
from lensbench.cli import bench
from lensbench.derived import in_views
from lensbench.digest import canonical
from lensbench.errors import BenchmarkError, ModelError, RecordError
from lensbench.evaluation import Evaluated, classes, evaluate, evaluate_predictions, masks
from lensbench.evaluation import run as evaluation_run
from lensbench.evaluation.worst import search_worst
from lensbench.images.decode import encode_png
from lensbench.isp.search import BUDGET, middles
from lensbench.isp.tiers import HEADLINE, REFERENCE, Tier, get_tier
from lensbench.isp.view import read_view
from lensbench.leaderboard.entry import parse_entry
from lensbench.leaderboard.searching import parse_search
from lensbench.masks.stored import read_masks
from lensbench.predictions import stored_scores
from lensbench.progress import Quiet
from lensbench.record import Record, read_record
from lensbench.result import truth_of
from lensbench.viewspec import Search, Views
from tests.graphs import bright_model, power_model, write
from tests.test_evaluate_views import manifest_of

MICRO, DRONE = "raw_microscopy-isp-w", "raw_drone-segmentation-isp-w"
BOTH = pytest.mark.parametrize("name", [MICRO, DRONE])
FEW = 26

pytestmark = pytest.mark.usefixtures("workspace")


def model(name: str, folder: Path) -> Path:
    made = power_model() if name.startswith("raw_micro") else bright_model(channels=3)
    return write(folder / "models", made, f"{name}.onnx")


def few(name: str, folder: Path, budget: int = FEW, change: tuple[str, str] = ("", "")) -> Benchmark:
    """The benchmark with a small budget."""
    text = (benchmark_root() / f"{name}.toml").read_text(encoding="utf-8")
    assert f"budget = {BUDGET}\n" in text and change[0] in text
    changed = text.replace(f"budget = {BUDGET}\n", f"budget = {budget}\n").replace(*change)
    changed = re.sub("^family = .*\n", "", changed, flags=re.MULTILINE)  # the benchmark stands alone there
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(changed, encoding="utf-8")
    return get_benchmark(name, "specimen", folder)


def run(name: str, folder: Path, spec: Benchmark | None = None, **options: Any) -> Evaluated:
    labels = "published" if name.startswith("raw_micro") else None
    return evaluate(model(name, folder), spec or few(name, folder / "spec"), labels=labels, **options)


# -- the benchmark --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MICRO, DRONE, "raw_drone-classification-isp-w"])
def test_a_search_is_pinned_and_begins_with_the_headline_grid(name: str) -> None:
    spec = get_benchmark(name, "specimen")
    views = spec.views
    assert views is not None and views.search == Search(BUDGET, 0)
    assert views.shown == get_tier(HEADLINE).views and views.reference == get_tier(HEADLINE).view(REFERENCE)
    assert views.names[views.at] == REFERENCE
    assert spec.headline == get_benchmark(name.removesuffix("-w")).headline
    digests = {spec.digest}
    for search in (Search(BUDGET - 1), Search(BUDGET, 1)):
        digests.add(replace(spec, views=replace(views, search=search)).digest)
    digests.add(replace(spec, views=replace(views, reference=views.shown[0])).digest)
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("budget = 26", "budget = 11", "a budget of at least 12 views, at most 1000"),
        ("budget = 26", "budget = 1001", "a budget of at least 12 views, at most 1000"),
        ("budget = 26", 'budget = "many"', "budget 'many' and seed 0 of a search are whole numbers"),
        ("seed = 0", "seed = -1", "seed -1 of a search are whole numbers"),
        ("seed = 0", "seed = true", "seed True of a search are whole numbers"),
        ("budget = 26\nseed = 0\n", "", "is a box to search in, not a grid: say how often"),
        ('tier = "worst"', 'tier = "corrected-12"', "a search needs a box"),
        ('reference = "bi-s-ga"\n', "", "the reference of a search is one of its branches"),
        ('reference = "bi-s-ga"', 'reference = "bi-s-gu"', "has no view 'bi-s-gu'; did you mean 'bi-s-ga'"),
        ('"clean:top1"', '"mean_view:top1"', "metric 'mean_view:top1': those of a search begin with worst_view:"),
        ('"clean:top1"', '"flip_rate"', "metric 'flip_rate': those of a search begin with"),
        ('headline = "worst_view:', 'headline = "mean_view:', "metric 'mean_view:macro_recall': those of a search"),
    ],
)
def test_a_search_that_cannot_be_is_one_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    few(MICRO, tmp_path)
    text = (tmp_path / f"{MICRO}.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / f"{MICRO}.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BenchmarkError, match=re.escape(words)) as caught:
        get_benchmark(MICRO, root=tmp_path)
    assert "\n" not in str(caught.value)


def boxed(folder: Path, box: str, other: str) -> Benchmark:
    """The benchmark with a box of its own, of two branches, and four questions."""
    folder.mkdir(exist_ok=True)
    tier = f'schema = 1\nletter = "X"\nversion = 1\ntitle = "x"\n[box]\n{box}\n[[axis]]\nbi-s-ga = {{}}\n{other}\n'
    (folder / "own.toml").write_text(tier)
    return few(MICRO, folder, budget=4, change=('"worst"', '"own.toml"'))


def test_branches_may_not_be_called_like_questions(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="'w003-a' is what a search calls its questions"):
        boxed(tmp_path, "hue = [-1, 1]", "w003-a = {hue = 1.0}")
    assert boxed(tmp_path, "hue = [-1, 1]", "a = {hue = 1.0}").views is not None


def test_the_reference_of_an_own_box_is_what_is_asked_first(tmp_path: Path) -> None:
    """The box may not hold the tier's own views."""
    spec = boxed(tmp_path / "spec", "gamma = [2.4, 2.6]", 'b = {denoise = "none"}')
    assert spec.views is not None and spec.views.reference.gamma == 2.4
    result = run(MICRO, tmp_path, spec).record.result
    assert result["grid"]["reference"] == "bi-s-ga" and result["views"][0]["digest"] == spec.views.reference.digest
    assert result["search"]["parameters"] == ["gamma"] and result["search"]["trials"][0][1] == [2.4]


# -- the record and what is stored ----------------------------------------------------------------------------


@BOTH
def test_every_question_is_stored_and_every_number_is_of_them(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    result, base = done.record.result, get_benchmark(name).headline.removeprefix("worst_view:")
    search, metrics = result["search"], result["metrics"]
    table = pq.read_table(done.folder / "predictions.parquet", columns=["id", "view"])
    ids = table["id"].to_pylist()
    frames = result["coverage"]["scored"]
    assert result["complete"] and len(ids) == frames * FEW and ids[:FEW] == [ids[0]] * FEW
    names = table["view"].to_pylist()[:FEW]
    assert names[:12] == [middle.name for middle in middles(get_tier("worst"))] and names[12] == "w013-bi-s-me"
    assert table["view"].to_pylist() == names * frames and len(set(names)) == FEW

    scores = [trial[3] for trial in search["trials"]]
    assert (search["budget"], search["seed"], len(scores)) == (FEW, 0, FEW)
    worst = search["worst"]
    assert metrics[f"worst_view:{base}"]["value"] == min(scores) == worst["score"] < max(scores)
    assert worst["name"] == names[int(np.argmin(scores))] and worst["digest"] == search["trials"][np.argmin(scores)][2]
    reference = {one["name"]: one["metrics"][base]["value"] for one in result["views"]}
    assert metrics[f"clean:{base}"]["value"] == reference["bi-s-ga"]
    assert metrics[f"drop_max:{base}"]["value"] == pytest.approx(reference["bi-s-ga"] - min(scores))
    assert metrics[f"worst_view:{base}"]["method"] == "jackknife-extreme"
    assert metrics[f"worst_view:{base}"]["low"] <= min(scores) <= metrics[f"worst_view:{base}"]["high"]
    told = [*names[:12], *([worst["name"]] if worst["name"] not in names[:12] else [])]
    assert [one["name"] for one in result["views"]] == told, "a record tells of few views one by one"
    assert [one["metrics"][base]["value"] for one in result["views"][:12]] == scores[:12]
    tier = get_tier("worst")
    for branch, values, digest, _ in search["trials"]:
        known = dict(zip(search["parameters"], values, strict=True))
        gains = (known.pop("red_gain"), 1.0, known.pop("blue_gain"))
        assert tier.view(branch).but(gains=gains, **known).digest == digest, "a question can be told from the record"
    assert result["stages"] == [] and {one["view"] for one in result["frames"]} == {worst["name"]}


def test_the_exact_worst_case_of_each_frame_is_over_all_questions(tmp_path: Path) -> None:
    spec = few(MICRO, tmp_path / "spec")
    done = run(MICRO, tmp_path, spec)
    scores = stored_scores(done.folder / "predictions.parquet").reshape(-1, FEW, len(spec.labels))
    manifest = manifest_of(spec)
    truth = truth_of(spec, manifest, manifest.ids)
    right = (scores.argmax(axis=2) == truth.label[:, None]).all(axis=1)
    assert done.record.value("all_views:top1") == pytest.approx(right.mean())
    assert right.mean() < done.record.value("worst_view:top1")


@BOTH
def test_the_view_found_scores_exactly_the_same_as_an_ordinary_one(name: str, tmp_path: Path) -> None:
    spec = few(name, tmp_path / "spec")
    done = run(name, tmp_path, spec, out="searched")
    view = read_view(done.folder / "worst-view.json").but(name="found")
    views = spec.views
    assert (
        views is not None and view.digest == done.record.result["search"]["worst"]["digest"] != views.reference.digest
    )
    tier = Tier("own", "X", 1, "own", (view,), {}, {})
    headline = spec.headline
    for number, reference in enumerate((views.reference, view)):
        ordinary = replace(spec, views=Views(tier, reference), metrics={headline: spec.metrics[headline]})
        again = run(name, tmp_path, ordinary, out=f"again{number}")
        assert again.record.value(headline) == done.record.value(headline)
        mine, theirs = column(done.folder, done.record.result["search"]["worst"]["name"]), column(again.folder, "found")
        assert len(mine) == done.record.result["coverage"]["scored"]
        for key, answer in mine.items():
            if reference is view or name == DRONE:
                assert np.array_equal(answer, theirs[key]), "one image a batch, as in the search"
            else:
                np.testing.assert_allclose(answer, theirs[key], rtol=1e-5, atol=1e-4)
                assert answer.argmax() == theirs[key].argmax()


def column(folder: Path, view: str) -> dict[str, Any]:
    """The stored answers in one view, by id."""
    path = folder / "predictions.parquet"
    if "scores" not in pq.read_schema(path).names:
        return {row.id: row.value.pixels for row in read_masks(path) if row.view == view}  # type: ignore[union-attr]
    table = pq.read_table(path)
    rows = zip(table["id"].to_pylist(), table["view"].to_pylist(), stored_scores(path), strict=True)
    return {key: np.array(scores) for key, name, scores in rows if name == view}


@BOTH
def test_the_view_found_is_scored_again_by_its_file(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    search, spec = done.record.result["search"], get_benchmark(name.removesuffix("-w"), "specimen")
    again = run(name, tmp_path, in_views(spec, str(done.folder / "worst-view.json")))
    assert again.record.value(spec.headline) == search["worst"]["score"]
    assert search["worst"]["digest"] in {view["digest"] for view in again.record.result["views"]}


def test_the_view_found_can_be_rendered(tmp_path: Path) -> None:
    done = run(MICRO, tmp_path)
    raw = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    Path("frame.png").write_bytes(encode_png(raw))
    args = ["isp", "render", "frame.png", "--camera", "raw_microscopy", "--view", str(done.folder / "worst-view.json")]
    told = CliRunner().invoke(bench, [*args, "-o", "out.png"])
    assert told.exit_code == 0, told.output
    assert done.record.result["search"]["worst"]["digest"] in told.output and Path("out.png").stat().st_size > 0


# -- a run that was broken off --------------------------------------------------------------------------------


class KilledError(Exception):
    """What ends a run from outside."""


@BOTH
def test_a_search_broken_off_goes_on_and_ends_with_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, kept = few(name, tmp_path / "spec"), 7
    whole = run(name, tmp_path, spec, out="whole")
    frames, asked = whole.record.result["coverage"]["scored"], list[int]()
    track, answering = (classes, "infer_views") if name == MICRO else (masks, "answer_views")
    inner = getattr(track, answering)

    def counted(frames_: Any, *args: Any) -> Any:
        if len(asked) == stop:
            raise KilledError
        asked.append(len(frames_.views))
        return inner(frames_, *args)

    stop = kept
    monkeypatch.setattr(track, answering, counted)
    with pytest.raises(KilledError):
        run(name, tmp_path, spec, out="killed")
    assert (
        len(list(Path("killed/shards").glob("*.parquet"))) == kept and not Path("killed/predictions.parquet").exists()
    )

    class Told(Quiet):
        begun: tuple[int | None, int] = (0, 0)
        done = 0

        def start(self, name: str, total: int | None, done: int) -> None:
            if total == frames * FEW:
                self.begun = total, done

        def advance(self, n: int) -> None:
            self.done += n

    asked.clear()
    stop, told = -1, Told()
    resumed = run(name, tmp_path, spec, out="killed", progress=told)
    assert asked == [1] * (FEW - kept), "what is stored is not asked again"
    assert told.begun == (frames * FEW, kept * frames) and told.done == (FEW - kept) * frames
    for file in ("predictions.parquet", "worst-view.json"):
        assert (resumed.folder / file).read_bytes() == (whole.folder / file).read_bytes(), file
    assert canonical(resumed.record.result) == canonical(whole.record.result)
    assert resumed.record.run["images_per_second"] is None and not Path("killed/shards").exists()
    asked.clear()
    again = run(name, tmp_path, spec, out="killed")
    assert not asked and canonical(again.record.result) == canonical(whole.record.result)


def test_answers_in_another_view_are_not_taken_and_a_lost_search_is_made_anew(tmp_path: Path) -> None:
    spec = few(MICRO, tmp_path / "spec")
    whole = run(MICRO, tmp_path, spec, out="whole")
    text = (whole.folder / "worst-view.json").read_text()
    found = json.loads(text)
    found["view"]["gamma"] = 1.8
    for changed in (text.replace('"seed": 0', '"seed": 1'), json.dumps(found, sort_keys=True, indent=1) + "\n"):
        (whole.folder / "worst-view.json").write_text(changed)
        again = run(MICRO, tmp_path, spec, out="whole")
        assert (again.folder / "worst-view.json").read_text() == text
        assert canonical(again.record.result) == canonical(whole.record.result)


def test_the_view_in_which_a_model_fails_is_named_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, asked = viewrunner._outputs, [0]

    def broken(*args: Any) -> Any:
        asked[0] += 1
        if asked[0] > 14 * 23:  # one answer a frame and question
            raise ModelError("the model gave NaN: every score must be a finite number")
        return answered(*args)

    monkeypatch.setattr(viewrunner, "_outputs", broken)
    with pytest.raises(ModelError, match=r"^Ma190c\S+ in w015-\S+: the model gave NaN") as caught:
        run(MICRO, tmp_path, few(MICRO, tmp_path / "spec"), out="part")
    assert "the view is in part/failed-view.json" in str(caught.value)
    assert read_view(Path("part/failed-view.json")).name == "failed-view"
    monkeypatch.undo()
    run(MICRO, tmp_path, few(MICRO, tmp_path / "spec"), out="part")
    assert not Path("part/failed-view.json").exists()


def test_another_seed_is_another_run_in_the_same_folder(tmp_path: Path) -> None:
    first = run(MICRO, tmp_path, few(MICRO, tmp_path / "a"), out="run").record.result
    second = run(MICRO, tmp_path, few(MICRO, tmp_path / "b", change=("seed = 0", "seed = 5")), out="run").record.result
    assert first["digests"]["benchmark"] != second["digests"]["benchmark"]
    assert first["search"]["trials"][:12] == second["search"]["trials"][:12]
    assert first["search"]["trials"][12] != second["search"]["trials"][12] and second["search"]["seed"] == 5


# -- from Python, and what is refused -------------------------------------------------------------------------


@BOTH
def test_python_searches_with_any_budget_and_finds_the_same(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    labels = "published" if name == MICRO else None
    found = search_worst(model(name, tmp_path), name.removesuffix("-w"), config="specimen", labels=labels, budget=FEW)
    search = done.record.result["search"]
    assert [trial.view.digest for trial in found.trials] == [trial[2] for trial in search["trials"]]
    assert [trial.score for trial in found.trials] == pytest.approx([trial[3] for trial in search["trials"]])
    assert found.record() == json.loads((done.folder / "worst-view.json").read_text())
    assert len(list(Path("runs").rglob("record.json"))) == 1, "a search from Python leaves nothing"


def test_a_worst_view_needs_a_benchmark_with_views(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="raw_microscopy has no views"):
        search_worst(model(MICRO, tmp_path), "raw_microscopy", config="specimen", labels="published")


def test_predictions_are_refused_and_why(tmp_path: Path) -> None:
    done = run(MICRO, tmp_path)
    with pytest.raises(ModelError, match=r"found by asking the model, .* made elsewhere answer none: give the model"):
        evaluate_predictions(done.folder / "predictions.parquet", MICRO, config="specimen")
    args = ["eval", "--predictions", "x.csv", "--benchmark", DRONE, "--config", "specimen"]
    told = CliRunner().invoke(bench, args)
    assert isinstance(told.exception, ModelError) and "give the model" in str(told.exception)


def test_a_metric_that_is_not_defined_leaves_nothing_to_search(tmp_path: Path) -> None:
    spec = few(DRONE, tmp_path / "spec", change=('headline = "worst_view:iou_fg"', 'headline = "worst_view:f1@0.5"'))
    with pytest.raises(ModelError, match=r"f1@0\.5 is not defined on these samples: there is nothing to search"):
        run(DRONE, tmp_path, spec)


def test_part_of_the_frames_is_searched_and_stands_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = few(MICRO, tmp_path / "spec")
    whole = run(MICRO, tmp_path, spec, out="whole").record.result
    source, first = tmp_path / "source", whole["frames"][0]["id"]
    source.mkdir()
    specimen = zipfile.ZipFile(spec.folder / "specimen" / "microscopy.zip")
    with specimen as archive, zipfile.ZipFile(source / "microscopy.zip", "w") as part:
        for member in archive.namelist():
            if first not in member:
                part.writestr(member, archive.read(member))
    # a specimen that differs draws lists of its own; here those of the other one are expected, so some are missing
    monkeypatch.setattr(evaluation_run, "_rows", lambda spec, data: (spec, manifest_of(spec)))
    result = run(MICRO, tmp_path, spec, source=source, partial=True, out="part").record.result
    coverage, scores = result["coverage"], [trial[3] for trial in result["search"]["trials"]]
    assert not result["complete"] and coverage["missing"] and coverage["scored"] and coverage["extra"]
    assert len(scores) == FEW and result["metrics"][spec.headline]["value"] == min(scores)
    kept = json.loads(Path("part/worst-view.json").read_text())
    assert [trial[3] for trial in kept["trials"]] == pytest.approx(scores), "asked of the expected frames alone"


# -- what is shown --------------------------------------------------------------------------------------------


@BOTH
def test_the_command_and_its_report_say_which_view_in_words(name: str, tmp_path: Path) -> None:
    few(name, tmp_path / "spec")
    labels = ["--labels", "published"] if name == MICRO else []
    args = ["eval", "--model", str(model(name, tmp_path)), "--benchmark", name, "--config", "specimen", *labels]
    told = CliRunner(env={"LENSBENCH_BENCHMARKS": str(tmp_path / "spec")}).invoke(bench, args)
    assert told.exit_code == 0, told.output
    result = read_record(next(Path("runs").rglob("record.json"))).result
    search = parse_search(result)
    assert search is not None and search.budget == FEW and search.score == result["search"]["worst"]["score"]
    values = dict(zip(result["search"]["parameters"], result["search"]["trials"][search.at - 1][1], strict=True))
    assert search.words.startswith(
        f"{result['search']['trials'][search.at - 1][0]}, exposure {values['exposure']:.3g}, "
    )
    assert f"worst view: {search.words} (question {search.at} of {FEW}; worst-view.json has it whole)" in told.output
    assert ", mean " not in told.output, "a mean over what was asked is of nothing"
    assert re.search(rf"question {search.at}: .* in {search.worst}, the worst yet", told.output)
    page = next(Path("runs").rglob("report.html")).read_text(encoding="utf-8")
    dots = page[page.index('<path class="questions"') : page.index('<path class="least"')]
    assert search.words in page and dots.count("h0") == FEW, "a dot for each question"
    assert page.count('<figure class="sheet">') == min(6, len(result["frames"]))
    assert f"{FEW} asked about in worst, reference bi-s-ga" in page


def test_a_board_says_what_was_found_for_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(MICRO, tmp_path / "spec")
    monkeypatch.setenv("LENSBENCH_BENCHMARKS", str(tmp_path / "spec"))
    runs = []
    for name, layout in (("one", "NCHW"), ("two", "NHWC")):
        path = write(tmp_path / name, power_model(layout=layout))
        (path.parent / "model.toml").write_text(f'name = "{name} <b>"\nfile = "model.onnx"\n')
        runs.append(evaluate(path.parent, MICRO, config="specimen", labels="published").folder)
    args = ["leaderboard", MICRO, "--config", "specimen", *map(str, runs), "--out", "board"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    page = Path("board/index.html").read_text(encoding="utf-8")
    section = page[page.index('id="h-views"') : page.index('id="h-records"')]
    assert "Worst view found" in section and "class=matrix" not in section
    for name, folder in zip(("one", "two"), runs, strict=True):
        search = parse_search(read_record(folder / "record.json").result)
        assert search is not None and f"{name} &lt;b&gt;" in section and f"<td>{search.words}</td>" in section
    assert f"the worst of {FEW} asked about in worst, seed 0; reference bi-s-ga" in page
    assert page.count('<figure class="asked">') == 2


WRONG: list[tuple[Any, str]] = [
    (lambda search: search.update(budget=25), "26 questions of 25"),
    (lambda search: search.update(budget=-1), "search.budget is not a whole number"),
    (lambda search: search["worst"].update(digest="0"), "the worst view is among them: one is not so"),
    (lambda search: search.update(worst=None), "search.worst is not a table"),
    (lambda search: search.update(trials={}), "search.trials is not a list of at most"),
    (lambda search: search["trials"][3].pop(), r"search.trials\[3\] is not \[branch, values, digest, score\]"),
    (lambda search: search["trials"][3][1].pop(), r"search.trials\[3\]: 9 values of 10 parameters"),
    (lambda search: search["trials"].__setitem__(3, ["a", [0] * 10, "x", "1"]), r"trials\[3\] is not a number"),
    (lambda search: search.update(parameters=[["x"]]), "search.parameters is not text"),
]


def test_a_record_that_says_what_no_search_can_is_refused(tmp_path: Path) -> None:
    record = read_record(run(MICRO, tmp_path).folder / "record.json")
    parse_entry("x.json", record)
    for change, words in WRONG:
        result = json.loads(record.to_json())["result"]
        change(result["search"])
        with pytest.raises(RecordError, match=words):
            parse_entry("x.json", Record(result, record.run))


@pytest.mark.slow
@pytest.mark.parametrize("name", [MICRO, DRONE])
def test_the_shipped_budget_on_the_specimen(name: str, tmp_path: Path) -> None:
    spec, submissions = get_benchmark(name, "specimen"), Path(__file__).parents[1] / "leaderboards" / "submissions"
    submission = submissions / ("cells-one-view" if name == MICRO else "cars-one-view")
    done = evaluate(submission, spec)
    grid = evaluate(submission, name.removesuffix("-w"), config="specimen")
    result = done.record.result
    assert result["complete"] and len(result["search"]["trials"]) == BUDGET
    assert done.record.value(spec.headline) < grid.record.value(spec.headline)  # type: ignore[operator]
    assert [one["digest"] for one in result["views"][:12]] == [one["digest"] for one in grid.record.result["views"]]
    for mine, theirs in zip(result["views"], grid.record.result["views"], strict=False):
        key = spec.headline.removeprefix("worst_view:")
        assert mine["metrics"][key]["value"] == pytest.approx(theirs["metrics"][key]["value"])
    assert (done.folder / "record.json").stat().st_size < 150_000
