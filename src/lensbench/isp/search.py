"""The worst view within a box: a search that sees nothing of a model but a score for each view it asks about.

A fixed number of questions, the same for every model: the middle of every branch first (so the result is never
better than the tier's own grid), then Sobol points over the box, dealt to the branches in turn, until half of the
budget is spent; then a pattern search along the coordinates from the best points of four branches. No point of a
branch is asked about twice. Everything is decided by the scores, the tier, the budget and the seed, and all of it is
recorded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lensbench.errors import ViewError
from lensbench.isp.tiers import MOST, Tier
from lensbench.isp.view import View

VERSION = 1
"""Another one whenever the same scores would lead to other questions."""
BUDGET = 256
BRANCHES = 4
"""How many branches are refined."""
STEP = 0.25
"""First step of the pattern search, as a share of the box."""
SMALLEST = 2.0**-12
"""A step below it moves next to nothing that `DIGITS` can show: its branch begins anew, elsewhere."""
GAINS = {"red_gain": 0, "blue_gain": 2}
DIGITS = 6

Point = tuple[float, ...]
"""A place in the box, each coordinate in 0…1."""


@dataclass(frozen=True)
class Trial:
    """One question and its answer; the view's name is unique among those of a search."""

    branch: str
    point: Point
    view: View
    score: float


@dataclass(frozen=True)
class Found:
    """What a search asked, in order, and the view with the least score (the first, of equal ones)."""

    tier: Tier
    budget: int
    seed: int
    trials: tuple[Trial, ...]

    @property
    def worst(self) -> Trial:
        """The trial with the least score."""
        return min(self.trials, key=lambda trial: trial.score)

    def record(self) -> dict[str, Any]:
        """As JSON: its ``view`` can be rendered and scored again, and `read_found` reads it back."""
        worst = self.worst
        return {
            "schema": 1,
            "version": VERSION,
            "tier": self.tier.digest,
            "budget": self.budget,
            "seed": self.seed,
            "name": worst.view.name,
            "view": worst.view.spec,
            "score": worst.score,
            "trials": [[trial.branch, list(trial.point), trial.view.digest, trial.score] for trial in self.trials],
        }


def read_found(path: Path, tier: Tier, budget: int, seed: int) -> Found | None:
    """The search in a file that holds its `record`; None where there is none, or one of another box, budget or seed."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if [data[key] for key in ("version", "tier", "budget", "seed")] != [VERSION, tier.digest, budget, seed]:
            return None
        trials = []
        for number, (branch, point, digest, score) in enumerate(data["trials"]):
            view = asked_view(tier, tier.view(branch), point, number)
            if view.digest != digest:
                return None
            trials.append(Trial(branch, tuple(point), view, float(score)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ViewError):
        return None
    return Found(tier, budget, seed, tuple(trials)) if len(trials) == budget else None


def worst_view(score: Callable[[View], float], tier: Tier, budget: int = BUDGET, seed: int = 0) -> Found:
    """Look for the view in the tier's box with the least `score`, by exactly `budget` calls.

    Raises ViewError for a tier without a box, a budget that does not reach every branch, or a score that is NaN.
    """
    check_search(tier, budget)
    search = _Search(score, tier, budget)
    middle = _middle(tier)
    for branch in tier.views:
        search.ask(branch, middle)
    warm = max(budget // 2 - len(search.trials), 0)
    for number, point in enumerate(_sobol(warm, len(tier.box), seed)):
        search.ask(tier.views[number % len(tier.views)], point)
    _refine(search, (point for point in _sobol(warm + budget, len(tier.box), seed)[warm:]))
    return Found(tier, budget, seed, tuple(search.trials))


def check_search(tier: Tier, budget: int) -> None:
    """Raise ViewError for a tier without a box, or a budget that does not reach every branch."""
    if not tier.box or not len(tier.views) <= budget <= MOST:
        least = len(tier.views)
        raise ViewError(
            f"tier {tier.name}: a search needs a box and a budget of at least {least} views, at most {MOST}"
        )
    if taken := [view.name for view in tier.views if re.match(r"w\d", view.name)]:
        raise ViewError(f"tier {tier.name}: {taken[0]!r} is what a search calls its questions; rename that branch")


def middles(tier: Tier) -> tuple[View, ...]:
    """What every search of the tier asks first: its own views, as far as the box holds them."""
    return tuple(asked_view(tier, branch, _middle(tier), number) for number, branch in enumerate(tier.views))


def asked_view(tier: Tier, branch: View, point: Sequence[float], number: int) -> View:
    """The view of question `number`, counted from 0: called as its branch at first, and by its number after."""
    view = placed(tier, branch, point)
    return view if number < len(tier.views) else view.but(name=f"w{number + 1:03}-{branch.name}")


class _Search:
    """Asks, remembers, and stops at the budget."""

    def __init__(self, score: Callable[[View], float], tier: Tier, budget: int) -> None:
        self._score, self.tier, self._budget = score, tier, budget
        self.trials: list[Trial] = []

    @property
    def left(self) -> int:
        return self._budget - len(self.trials)

    def ask(self, branch: View, point: Sequence[float]) -> Trial:
        view = asked_view(self.tier, branch, point, len(self.trials))
        value = float(self._score(view))
        if math.isnan(value):
            raise ViewError(f"the score of view {view.digest[:16]} is not a number")
        self.trials.append(Trial(branch.name, tuple(point), view, value))
        return self.trials[-1]


def placed(tier: Tier, branch: View, point: Sequence[float]) -> View:
    """The view of `branch` at `point` in the box; values are rounded, so that a view's text is short."""
    changes: dict[str, Any] = {}
    gains = list(branch.gains)
    for (name, (low, high)), share in zip(tier.box.items(), point, strict=True):
        key, power = name.removesuffix("_log2"), low + (high - low) * share
        value = round(2.0**power if name.endswith("_log2") else power, DIGITS)
        if key in GAINS:
            gains[GAINS[key]] = value
        else:
            changes[key] = value
    return branch.but(gains=tuple(gains), **changes)


def parameters(tier: Tier, view: View) -> dict[str, float]:
    """What the tier's box decides of a view: its values there, by name."""
    names = (name.removesuffix("_log2") for name in tier.box)
    return {key: view.gains[GAINS[key]] if key in GAINS else getattr(view, key) for key in names}


def _middle(tier: Tier) -> Point:
    """Where the box holds the tier's own views: each parameter at its value in them, or the nearest in the box."""
    shares = []
    values = parameters(tier, tier.views[0]).values()
    for (name, (low, high)), value in zip(tier.box.items(), values, strict=True):
        placed_at = math.log2(value) if name.endswith("_log2") else value
        shares.append(min(max((placed_at - low) / (high - low), 0.0), 1.0))
    return tuple(shares)


def _sobol(count: int, dimensions: int, seed: int) -> list[list[float]]:
    """Sobol's points, moved as a whole by a random vector (Cranley & Patterson 1976)."""
    from scipy.stats import qmc

    if not count:
        return []
    points = qmc.Sobol(dimensions, scramble=False).random_base2(max(0, math.ceil(math.log2(count))))[:count]
    shift = np.random.Generator(np.random.Philox(key=seed)).random(dimensions)
    moved: list[list[float]] = ((points + shift) % 1.0).tolist()
    return moved


def _refine(search: _Search, others: Iterator[list[float]]) -> None:
    """Pattern search, the branches in turn: along each coordinate up and down, half the step where nothing helps.

    No point is asked about twice. A branch that is done, for its step is small, goes on from one of the `others`.
    """
    by_name = {view.name: view for view in search.tier.views}
    best: dict[str, Trial] = {}
    for trial in sorted(search.trials, key=lambda trial: trial.score):
        best.setdefault(trial.branch, trial)
    names = list(best)[:BRANCHES]
    steps = dict.fromkeys(names, STEP)
    asked = {(trial.branch, trial.point) for trial in search.trials}
    while search.left:
        for name in names:
            improved = False
            for axis, sign in ((axis, sign) for axis in range(len(search.tier.box)) for sign in (1, -1)):
                here = best[name].point
                moved = min(max(here[axis] + sign * steps[name], 0.0), 1.0)
                point = (*here[:axis], moved, *here[axis + 1 :])
                if (name, point) in asked:
                    continue
                if not search.left:
                    return
                asked.add((name, point))
                trial = search.ask(by_name[name], point)
                if trial.score < best[name].score:
                    best[name], improved = trial, True
            if not improved:
                steps[name] /= 2
            if steps[name] < SMALLEST and search.left:
                best[name], steps[name] = search.ask(by_name[name], next(others)), STEP
