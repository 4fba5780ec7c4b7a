"""How often three intervals of a worst view hold: the tables of docs/metrics.md, from simulated scores.

    python scripts/simulate_worst_view.py
    python scripts/simulate_worst_view.py --search --repeats 500

Twelve views of the same samples, in 12, 30 or 60 groups of uneven size. A sample's latent value is shared by all
views, and partly by its group; each view adds something of its own to groups and samples, 5 or 30 % of the variance:
one model's answers on two developments of a frame go together like that. A rate counts hits; a share is a quotient of
sums with uneven weights, as IoU is. The true values are those that the views were drawn with.

With ``--search`` the views are the 256 questions of `isp.search`, which follow the drawn scores: what a view adds of
its own is a smooth function of its parameters, so that neighbours go together closely, and the search goes where the
draw is worst. The true value is the least that any view asked about has in the long run.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.search import parameters, worst_view
from lensbench.isp.tiers import get_tier
from lensbench.isp.view import View
from lensbench.stats import Interval, extreme, jackknife

VIEWS = 12
GROUPS = {12: (4, 14), 30: (1, 6), 60: (1, 5)}
"""Groups → least and most samples in one."""
TRUTHS = {
    "all views equal": (0.8,) * VIEWS,
    "one view worse": (0.6, *(0.8,) * (VIEWS - 1)),
    "all different": tuple(0.7 + 0.14 * view / (VIEWS - 1) for view in range(VIEWS)),
    "all near 1": (0.95,) * VIEWS,
}
OWN = (0.05, 0.3)
"""Shares of the variance that a view has to itself."""
BY_GROUP = 0.2
METHODS = ("jackknife of the view that came out worst", "jackknife of the minimum", "`jackknife-extreme`")
SPREAD = 0.6
Floats = NDArray[np.float64]


class Row(NamedTuple):
    """How one method did in one pattern of truths: how often it held, at least and on the average, and how wide."""

    truths: str
    method: str
    least: float
    mean: float
    width: float


def draw(
    random: np.random.Generator, kind: str, groups: int, truths: tuple[float, ...], own: float
) -> tuple[Floats, Floats]:
    """((V,) value of each view, (V, G) without each group)."""
    sizes = random.integers(GROUPS[groups][0], GROUPS[groups][1] + 1, groups)
    of = np.repeat(np.arange(groups), sizes)
    n = len(of)
    shared = math.sqrt(BY_GROUP) * random.standard_normal(groups)[of]
    shared += math.sqrt(1 - BY_GROUP) * random.standard_normal(n)
    mine = (random.standard_normal((VIEWS, groups))[:, of] + random.standard_normal((VIEWS, n))) / math.sqrt(2)
    latent = math.sqrt(1 - own) * shared + math.sqrt(own) * mine
    limit = np.array([NormalDist().inv_cdf(truth) for truth in truths])[:, None]
    weight = np.ones(n) if kind == "rate" else np.exp(0.8 * random.standard_normal(n))
    score = (latent < limit).astype(float) if kind == "rate" else 1 / (1 + np.exp(SPREAD * latent - limit))
    sums, weights = np.zeros((VIEWS, groups)), np.zeros(groups)
    np.add.at(sums.T, of, (weight * score).T)
    np.add.at(weights, of, weight)
    total, whole = sums.sum(axis=1), weights.sum()
    return total / whole, (total[:, None] - sums) / (whole - weights)


def expected(kind: str, truth: float) -> float:
    """What a view's value is in the long run."""
    if kind == "rate":
        return truth
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    limit = NormalDist().inv_cdf(truth)
    return float((weights / (1 + np.exp(SPREAD * points - limit))).sum() / weights.sum())


def intervals(values: Floats, without: Floats) -> tuple[Interval, Interval, Interval]:
    """Those of the three methods, in the order of `METHODS`."""
    at = int(values.argmin())
    chosen = jackknife(without[at], float(values[at]), "unit")
    minimum = jackknife(without.min(axis=0), float(values.min()), "unit")
    return chosen, minimum, extreme(without, values, "unit", largest=False)


def simulate(repeats: int, seed: int = 0) -> Iterator[Row]:
    """One row for each pattern of truths and method."""
    random = np.random.default_rng(seed)
    for name, truths in TRUTHS.items():
        held: list[Floats] = []
        widths: list[Floats] = []
        for kind, groups, own in itertools.product(("rate", "share"), GROUPS, OWN):
            least = min(expected(kind, truth) for truth in truths)
            found = [intervals(*draw(random, kind, groups, truths, own)) for _ in range(repeats)]
            ends = np.array([[(one.low, one.high) for one in three] for three in found], float)
            held.append(((ends[..., 0] <= least) & (least <= ends[..., 1])).mean(axis=0))
            widths.append(np.nanmean(ends[..., 1] - ends[..., 0], axis=0))
        for method, covered, width in zip(METHODS, np.array(held).T, np.array(widths).T, strict=True):
            yield Row(name, method, float(covered.min()), float(covered.mean()), float(width.mean()))


# -- a search, which picks its views by what it sees ----------------------------------------------------------


WAVES = 8
"""Smooth functions over the box that make up what a view has to itself."""
VALLEYS = {"a box where all views are equal": 0.0, "a box with a valley": 0.25}
"""How far the true value falls towards one corner of the box."""


class Drawn:
    """Samples of one model, with a score in any view of the box."""

    def __init__(self, random: np.random.Generator, groups: int, own: float, valley: float) -> None:
        sizes = random.integers(GROUPS[groups][0], GROUPS[groups][1] + 1, groups)
        self.of, self.own, self.valley = np.repeat(np.arange(groups), sizes), own, valley
        n, self.groups, self.tier = len(self.of), groups, get_tier("worst")
        self.shared = self._mixed(random.standard_normal(groups), random.standard_normal(n))
        waves = 2 * WAVES  # a cosine and a sine of each: their squares sum to 1 everywhere
        self.waves = np.array([self._mixed(*pair) for pair in zip(
            random.standard_normal((waves, groups)), random.standard_normal((waves, n)), strict=True
        )])  # fmt: skip
        self.across = 2.0 * random.standard_normal((WAVES, len(self.tier.box) + len(self.tier.views)))

    def _mixed(self, by_group: Floats, alone: Floats) -> Floats:
        return math.sqrt(BY_GROUP) * by_group[self.of] + math.sqrt(1 - BY_GROUP) * alone

    def place(self, view: View) -> Floats:
        """Where a view lies: its parameters, each from −1 to 1, and which branch it is."""
        values = parameters(self.tier, view).values()
        ends = [(2.0**a, 2.0**b) if name.endswith("_log2") else (a, b) for name, (a, b) in self.tier.box.items()]
        shares = [2 * (value - low) / (high - low) - 1 for value, (low, high) in zip(values, ends, strict=True)]
        branch = next(name for name in (one.name for one in self.tier.views) if view.name.endswith(name))
        return np.array([*shares, *(0.5 * (one.name == branch) for one in self.tier.views)])

    def truth(self, view: View) -> float:
        """The view's true value."""
        return 0.8 - self.valley * float(np.exp(-np.square(self.place(view)[:4] - 0.8).sum()))

    def hits(self, view: View) -> Floats:
        """(n,) which samples are right."""
        angle = self.across @ self.place(view)
        mixed = np.concatenate([np.cos(angle), np.sin(angle)]) / math.sqrt(WAVES) @ self.waves
        latent = math.sqrt(1 - self.own) * self.shared + math.sqrt(self.own) * mixed
        return np.asarray(latent < NormalDist().inv_cdf(self.truth(view)), float)


def search_once(random: np.random.Generator, groups: int, own: float, valley: float) -> tuple[Floats, Floats, float]:
    """((V,) value of each view asked about, (V, G) without each group, the least of their true values)."""
    drawn = Drawn(random, groups, own, valley)
    asked: list[Floats] = []

    def score(view: View) -> float:
        asked.append(drawn.hits(view))
        return float(asked[-1].mean())

    found = worst_view(score, drawn.tier, seed=int(random.integers(2**31)))
    hits = np.array(asked)
    sums, counts = np.zeros((len(hits), groups)), np.bincount(drawn.of, minlength=groups)
    np.add.at(sums.T, drawn.of, hits.T)
    without = (sums.sum(axis=1, keepdims=True) - sums) / (len(drawn.of) - counts)
    return hits.mean(axis=1), without, min(drawn.truth(trial.view) for trial in found.trials)


def simulate_search(repeats: int, seed: int = 0) -> Iterator[Row]:
    """As `simulate`, of views that a search asks about: a rate, in three numbers of groups and two of closeness."""
    random = np.random.default_rng(seed)
    for name, valley in VALLEYS.items():
        held: list[Floats] = []
        widths: list[Floats] = []
        for groups, own in itertools.product(GROUPS, OWN):
            found = []
            for _ in range(repeats):
                values, without, least = search_once(random, groups, own, valley)
                found.append([((one.low, one.high), least) for one in intervals(values, without)])
            ends = np.array([[one for one, _ in three] for three in found], float)
            least_ = np.array([[one for _, one in three] for three in found])
            held.append(((ends[..., 0] <= least_) & (least_ <= ends[..., 1])).mean(axis=0))
            widths.append(np.nanmean(ends[..., 1] - ends[..., 0], axis=0))
        for method, covered, width in zip(METHODS, np.array(held).T, np.array(widths).T, strict=True):
            yield Row(name, method, float(covered.min()), float(covered.mean()), float(width.mean()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=2000, help="draws of each of the twelve settings")
    parser.add_argument("--search", action="store_true", help="views that a search asks about, in six settings")
    given = parser.parse_args()
    settings = 6 if given.search else 12
    what = "true values in the box" if given.search else "true values"
    print(f"| {what} | interval | held, least of {settings} settings | held, mean | mean width |")
    print("|---|---|---|---|---|")
    for row in (simulate_search if given.search else simulate)(given.repeats):
        print(
            f"| {row.truths} | {row.method} | {row.least:.1%} | {row.mean:.1%} | {row.width:.3f} |".replace("%", " %")
        )


if __name__ == "__main__":
    main()
