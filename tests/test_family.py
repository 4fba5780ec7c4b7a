"""A benchmark and its tiers: what is submitted to one is scored on all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lensbench.benchmark import benchmark_names, benchmark_root, get_benchmark, tier_names
from lensbench.errors import BenchmarkError, ModelError
from lensbench.evaluation import evaluate
from lensbench.leaderboard import refresh as refreshing
from lensbench.leaderboard.refresh import Outcome, refresh
from lensbench.record import read_record
from tests.graphs import power_model, write

HEAD = "raw_microscopy-isp"
LETTERS = ("i", "k", "p", "s")

pytestmark = pytest.mark.usefixtures("workspace")


# -- who is a tier of what -----------------------------------------------------------------------------------


def test_each_benchmark_with_views_is_a_head_or_a_tier_of_one() -> None:
    heads = [name for name in benchmark_names() if name.endswith("-isp")]
    assert len(heads) == 3
    for head in heads:
        assert set(tier_names(head)) >= {f"{head}-{letter}" for letter in LETTERS}
    for name in benchmark_names():
        spec = get_benchmark(name)
        assert (spec.family in heads) == (spec.views is not None and name not in heads), name


def test_the_family_is_not_in_the_digest(tmp_path: Path) -> None:
    for name in (HEAD, f"{HEAD}-i"):
        text = (benchmark_root() / f"{name}.toml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.toml").write_text(text.replace(f'family = "{HEAD}"\n', ""), encoding="utf-8")
    without, tier = get_benchmark(f"{HEAD}-i", root=tmp_path), get_benchmark(f"{HEAD}-i")
    assert (without.family, tier.family) == (None, HEAD)
    assert without.digest == tier.digest
    assert tier_names(HEAD, tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f'"{HEAD}"\n', '"raw_microscopy-ips"\n', f"no other benchmark 'raw_microscopy-ips' beside it; .*'{HEAD}'"),
        (f'family = "{HEAD}"', f'family = "{HEAD}-i"', f"no other benchmark '{HEAD}-i' beside it"),
        (f'family = "{HEAD}"', f'family = "{HEAD}-k"', f"family '{HEAD}-k' is itself a tier, of '{HEAD}'"),
        ('config = "grouped"', 'config = "specimen"', "has config 'grouped', and a tier has the same: 'specimen'"),
        ('cluster = "group"', 'cluster = "hash200"', "has cluster 'group', and a tier has the same"),
    ],
)
def test_a_tier_of_no_benchmark_or_of_other_rows_is_one_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    for name in (HEAD, f"{HEAD}-k", f"{HEAD}-i"):
        text = (benchmark_root() / f"{name}.toml").read_text(encoding="utf-8")
        changed = text.replace(old, new) if name == f"{HEAD}-i" else text
        assert (changed != text) == (name == f"{HEAD}-i")
        (tmp_path / f"{name}.toml").write_text(changed, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=words) as caught:
        get_benchmark(f"{HEAD}-i", root=tmp_path)
    assert "\n" not in str(caught.value)


# -- refresh -------------------------------------------------------------------------------------------------


@pytest.fixture
def submission() -> Path:
    """The folder of boards, with one submission to the head."""
    folder = Path("leaderboards") / "submissions" / "power"
    write(folder, power_model())
    card = f'name = "Power"\nbenchmark = "{HEAD}"\nconfig = "specimen"\nlabels = "published"\n'
    (folder / "model.toml").write_text(card, encoding="utf-8")
    return folder


def states(**how: Any) -> dict[str, str]:
    """State by the benchmark that an outcome names."""
    outcomes = refresh(Path("leaderboards"), Path("runs"), **how)
    return {_benchmark(outcome): outcome.state for outcome in outcomes}


def _benchmark(outcome: Outcome) -> str:
    head, _, _ = outcome.text.partition(":") if outcome.state == "failed" else ("", "", "")
    return head or outcome.text.rpartition(" on ")[2]


SLUGS = [f"{HEAD}-specimen", f"{HEAD}-i-specimen", f"{HEAD}-p-specimen"]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiers only: the others have a hundred and fifty views."""
    monkeypatch.setattr(refreshing, "tier_names", lambda head: [f"{head}-i", f"{head}-p"] if head == HEAD else [])


@pytest.mark.usefixtures("three")
def test_a_model_is_scored_on_each_tier_once(submission: Path) -> None:
    assert states() == dict.fromkeys(SLUGS, "scored")
    for slug in SLUGS:
        digests = read_record(Path("leaderboards") / slug / "records" / "power.json").result["digests"]
        spec = get_benchmark(slug.removesuffix("-specimen"), "specimen")
        assert digests["benchmark"] == spec.digest
        assert (Path("leaderboards") / slug / "predictions" / "power.parquet").is_file()
    assert states(only=["power"]) == dict.fromkeys(SLUGS, "known")
    (Path("leaderboards") / SLUGS[1] / "records" / "power.json").unlink()
    assert states() == {SLUGS[0]: "known", SLUGS[1]: "scored", SLUGS[2]: "known"}


@pytest.mark.usefixtures("three")
def test_tiers_can_be_left_out_and_a_tier_is_submitted_to_alone(submission: Path) -> None:
    assert states(tiers=False) == {SLUGS[0]: "scored"}
    card = submission / "model.toml"
    card.write_text(card.read_text().replace(f'"{HEAD}"', f'"{HEAD}-i"'))
    assert states() == {SLUGS[1]: "scored"}


@pytest.mark.usefixtures("three")
def test_what_fails_on_one_tier_is_named_and_the_others_go_on(
    submission: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(file: Path, spec: Any, **how: Any) -> Any:
        if spec.name == f"{HEAD}-i":
            raise ModelError("no answer")
        return evaluate(file, spec, **how)

    monkeypatch.setattr(refreshing, "evaluate", sometimes)
    assert states() == {SLUGS[0]: "scored", f"{HEAD}-i": "failed", SLUGS[2]: "scored"}
    assert not (Path("leaderboards") / SLUGS[1]).exists()


def test_a_benchmark_that_is_none_keeps_nobody_from_the_head(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(benchmark_root(), tmp_path / "benchmarks")
    (tmp_path / "benchmarks" / "mine.toml").write_text("name =")
    monkeypatch.setenv("LENSBENCH_BENCHMARKS", str(tmp_path / "benchmarks"))
    first, second = refresh(Path("leaderboards"), Path("runs"))
    assert (first.state, second.state) == ("scored", "failed")
    assert second.text.startswith(f"tiers of {HEAD}: ") and "mine.toml: not valid TOML" in second.text


@pytest.mark.usefixtures("three")
def test_predictions_are_of_the_benchmark_they_name(submission: Path) -> None:
    refresh(Path("leaderboards"), Path("runs"), tiers=False)
    stored = Path("leaderboards") / SLUGS[0] / "predictions" / "power.parquet"
    folder = submission.with_name("file")
    write(folder, stored.read_bytes(), "mine.parquet")
    card = (submission / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(card + 'file = "mine.parquet"\n', encoding="utf-8")
    assert states(only=["file"]) == {SLUGS[0]: "scored"}
