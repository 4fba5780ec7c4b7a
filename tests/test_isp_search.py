"""The search for the worst view: its budget, its record, and that it finds what is there to be found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lensbench.errors import ViewError
from lensbench.isp import View
from lensbench.isp.search import BUDGET, Found, placed, read_found, worst_view
from lensbench.isp.tiers import HEADLINE, MOST, get_tier
from lensbench.isp.view import read_view

TIER = get_tier("worst")


def bowl(view: View) -> float:
    """A model that fails at one place, in one branch."""
    far = [
        (math.log2(view.exposure) - 0.3) / 1.0,
        (view.hue - 5) / 16,
        (math.log2(view.gains[0]) + 0.15) / 0.4,
        (view.gamma - 2.5) / 0.8,
    ]
    branch = {"bilinear": 0.0, "malvar2004": 0.0, "menon2007": -0.05}[view.demosaic]
    return 0.9 + branch - 0.4 * math.exp(-4 * sum(f * f for f in far))


def test_the_budget_is_kept_and_everything_is_recorded() -> None:
    asked: list[View] = []

    def score(view: View) -> float:
        asked.append(view)
        return bowl(view)

    for budget in (12, 13, 50, BUDGET):
        asked.clear()
        found = worst_view(score, TIER, budget)
        assert len(found.trials) == len(asked) == budget
        assert [trial.view for trial in found.trials] == asked
        assert found.worst.score == min(map(bowl, asked))
        record = json.loads(json.dumps(found.record()))
        assert (record["tier"], record["budget"], record["seed"]) == (TIER.digest, budget, 0)
        assert [entry[3] for entry in record["trials"]] == [trial.score for trial in found.trials]


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    first, again, other = (worst_view(bowl, TIER, 64, seed) for seed in (3, 3, 4))
    assert first == again and first.record() == again.record()
    assert [trial.point for trial in first.trials[12:]] != [trial.point for trial in other.trials[12:]]


def test_it_begins_with_the_headline_grid_so_it_is_never_better_than_that() -> None:
    found = worst_view(lambda view: 0.5 + 0.1 * (view.hue != 0), TIER, 30)
    assert [trial.view for trial in found.trials[:12]] == list(get_tier(HEADLINE).views)
    assert found.worst is found.trials[0]


def test_it_finds_what_points_alone_do_not() -> None:
    found = worst_view(bowl, TIER)
    points_alone = min(trial.score for trial in found.trials[: BUDGET // 2])
    assert found.worst.score < points_alone - 0.02
    assert found.worst.score < 0.5 and found.worst.view.demosaic == "menon2007"  # the least there is, is 0.45


def test_no_question_is_wasted_on_a_view_that_was_asked_about() -> None:
    for score in (bowl, lambda view: 0.5, lambda view: -view.gamma):
        assert len({trial.view for trial in worst_view(score, TIER).trials}) == BUDGET


def test_a_small_box_and_a_large_budget_come_to_an_end() -> None:
    """Steps become too small to move anything: a branch then begins anew elsewhere."""
    one = replace(TIER, box={"hue": (-1.0, 1.0)})
    found = worst_view(lambda view: abs(view.hue - 0.3), one, MOST)
    assert len(found.trials) == MOST and found.worst.score < 1e-3
    assert len(worst_view(lambda view: 0.5, one, MOST).trials) == MOST


def test_every_view_lies_in_the_box() -> None:
    found = worst_view(lambda view: -view.gamma - view.hue - view.sharpen_amount, TIER)
    for trial in found.trials:
        assert all(0 <= share <= 1 for share in trial.point)
        assert placed(TIER, next(v for v in TIER.views if v.name == trial.branch), trial.point) == trial.view
    worst = found.worst.view
    assert (worst.gamma, worst.hue, worst.sharpen_amount) == (2.6, 8.0, 2.0)  # a corner, reached exactly


def test_the_worst_view_is_one_that_can_be_read_back(tmp_path: Path) -> None:
    found = worst_view(bowl, TIER, 40)
    (tmp_path / "worst.json").write_text(json.dumps(found.record()))
    assert read_view(tmp_path / "worst.json") == found.worst.view


def test_a_record_is_read_back_as_it_was_and_another_search_is_not(tmp_path: Path) -> None:
    found, path = worst_view(bowl, TIER, 40, 2), tmp_path / "worst.json"
    record = found.record()
    path.write_text(json.dumps(record))
    assert read_found(path, TIER, 40, 2) == found
    assert [trial.view.name for trial in found.trials[11:14]] == ["me-u-ga", "w013-bi-s-me", "w014-bi-s-ga"]
    assert (
        read_found(path, TIER, 40, 1)
        is read_found(path, TIER, 39, 2)
        is read_found(tmp_path / "no", TIER, 40, 2)
        is None
    )
    assert read_found(path, replace(TIER, box={"hue": (-1.0, 1.0)}), 40, 2) is None
    trials = record["trials"]
    for change in (
        {"version": 0},
        {"trials": trials[:-1]},
        {"trials": [*trials[:-1], ["nowhere", *trials[-1][1:]]]},
        {"trials": [*trials[:-1], [trials[-1][0], [0.1] * 10, *trials[-1][2:]]]},
        {"trials": [*trials[:-1], [trials[-1][0], ["x"] * 10, *trials[-1][2:]]]},
        {"trials": 3},
    ):
        path.write_text(json.dumps({**record, **change}))
        assert read_found(path, TIER, 40, 2) is None
    path.write_text("[")
    assert read_found(path, TIER, 40, 2) is None


def test_what_cannot_be_searched_is_one_line() -> None:
    with pytest.raises(ViewError, match="needs a box"):
        worst_view(bowl, get_tier(HEADLINE))
    with pytest.raises(ViewError, match="a budget of at least 12"):
        worst_view(bowl, TIER, 11)
    with pytest.raises(ViewError, match="is not a number"):
        worst_view(lambda view: float("nan"), TIER)
    one = replace(TIER, box={"hue": (-1.0, 1.0)})
    assert isinstance(worst_view(bowl, one, 40), Found)
