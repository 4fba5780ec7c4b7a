"""How often three intervals of a worst view hold: the table of docs/metrics.md, from simulated scores.

    python scripts/simulate_worst_view.py

Twelve views of the same samples, in 12, 30 or 60 groups of uneven size. A sample's latent value is shared by all
views, and partly by its group; each view adds something of its own to groups and samples, 5 or 30 % of the variance:
one model's answers on two developments of a frame go together like that. A rate counts hits; a share is a quotient of
sums with uneven weights, as IoU is. The true values are those that the views were drawn with.
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=2000, help="draws of each of the twelve settings")
    print("| true values | interval | held, least of 12 settings | held, mean | mean width |\n|---|---|---|---|---|")
    for row in simulate(parser.parse_args().repeats):
        print(
            f"| {row.truths} | {row.method} | {row.least:.1%} | {row.mean:.1%} | {row.width:.3f} |".replace("%", " %")
        )


if __name__ == "__main__":
    main()
