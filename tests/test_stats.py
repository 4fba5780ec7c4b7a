"""Intervals: against other implementations, at the edges of their scales, and by their coverage."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit
from scipy.stats import binomtest

from lensbench.metrics.base import Rows, leave_one_out
from lensbench.metrics.scoring import get_metric
from lensbench.stats import Scale, hash_groups, jackknife, t_quantile, wilson


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 11, 12, 40, 199, 200, 5000])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.975, 0.9995])
def test_t_quantile_is_scipys(df: int, p: float) -> None:
    assert t_quantile(p, df) == pytest.approx(stdtrit(df, p), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0.975, 0), (0.4, 5), (1.0, 5)])
def test_t_quantile_refuses_what_it_cannot_compute(p: float, df: int) -> None:
    with pytest.raises(ValueError, match="t_quantile needs"):
        t_quantile(p, df)


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8"))), st.integers(1, 1000))
def test_hash_groups_follows_its_definition(ids: list[str], n: int) -> None:
    expected = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % n for name in ids]
    groups = hash_groups(ids, n)
    assert groups.dtype == np.int32
    assert groups.tolist() == expected


def test_hash_groups_are_pinned_and_even() -> None:
    """Records name `hash200`: another hash would move every interval on the board."""
    assert hash_groups(["a", "ü", ""]).tolist() == [50, 28, 52]
    counts = np.bincount(hash_groups(map(str, range(20_000))), minlength=200)
    assert counts.min() > 60
    assert counts.max() < 140


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(hits_and_n: tuple[int, int]) -> None:
    hits, n = hits_and_n
    low, high = wilson(hits, n)
    if n:
        expected = binomtest(hits, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= (hits / n if n else 0.5) <= high <= 1


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_jackknife_is_its_formula(values: list[float], value: float) -> None:
    groups = len(values)
    for scale, h, back in (
        ("unit", logit, expit),
        ("positive", np.log, np.exp),
        ("real", np.array, np.array),
    ):
        transformed = h(np.array(values))
        squares = sum((x - transformed.mean()) ** 2 for x in transformed)
        half = stdtrit(groups - 1, 0.975) * math.sqrt((groups - 1) / groups * squares)
        interval = jackknife(np.array(values), value, scale)  # type: ignore[arg-type]  # a literal in the tuple above
        if np.ptp(values) <= 1e-12 * value:
            assert interval.low is None and "no group changes" in str(interval.reason)
            continue
        assert interval.low == pytest.approx(float(back(h(value) - half)), rel=1e-9, abs=1e-300)
        assert interval.high == pytest.approx(float(back(h(value) + half)), rel=1e-9)
        assert interval.groups == groups


def test_methods_are_named() -> None:
    values = np.array([0.2, 0.3, 0.4])
    methods = [jackknife(values, 0.3, scale).method for scale in ("unit", "positive", "real")]
    assert methods == ["jackknife-logit", "jackknife-log", "jackknife"]


def test_no_interval_from_one_group_or_undefined_values() -> None:
    one = jackknife(np.array([0.4]), 0.5, "unit")
    assert (one.low, one.high, one.method) == (None, None, "none")
    assert one.reason == "an interval needs at least two groups"
    undefined = jackknife(np.array([0.4, np.nan, 0.5]), 0.5, "unit")
    assert (undefined.low, undefined.high) == (None, None)
    assert undefined.reason == "undefined without 1 of the 3 groups"
    far = jackknife(np.array([1e-200, 1e200]), 1.0, "positive")
    assert (far.low, far.high) == (None, None)
    assert far.reason == "the groups differ by too many orders of magnitude"
    zero = jackknife(np.zeros(5), 0.0, "positive")
    assert (zero.low, zero.high) == (None, None)
    assert zero.reason is not None
    assert "no group changes the value" in zero.reason


@pytest.mark.parametrize("groups", [2, 5, 200])
def test_an_exact_one_or_zero_takes_groups_as_units(groups: int) -> None:
    all_right = jackknife(np.ones(groups), 1.0, "unit")
    all_wrong = jackknife(np.zeros(groups), 0.0, "unit")
    exact = binomtest(groups, groups).proportion_ci(method="exact")
    assert all_right.low == pytest.approx(exact.low)
    assert (all_right.high, all_right.method) == (1.0, "clopper-pearson-groups")
    assert all_wrong.high == pytest.approx(1 - exact.low)
    assert all_wrong.low == 0.0


@pytest.mark.parametrize(("scale", "edge"), [("unit", 1.0), ("unit", 0.0), ("positive", 0.0)])
def test_a_leave_one_out_value_on_the_edge_uses_the_delta_method(scale: Scale, edge: float) -> None:
    value = 0.9 if edge else 0.1
    interval = jackknife(np.array([edge, value, value, value]), value, scale)
    assert interval.method.endswith("-delta")
    assert interval.low is not None
    assert interval.high is not None
    assert 0 < interval.low < value < interval.high
    assert interval.high < 1 or scale == "positive"
    # Near the middle of the scale, where the transform is almost straight, both ways agree.
    near = np.array([0.498, 0.501, 0.5, 0.502])
    plain = np.sqrt(3 / 4 * ((near - near.mean()) ** 2).sum()) / 0.25
    straight = jackknife(near, 0.5, "unit")
    assert straight.high is not None
    assert float(logit(straight.high)) / stdtrit(3, 0.975) == pytest.approx(plain, rel=1e-3)


def _clustered(rng: np.random.Generator, groups: int, p: float, icc: float) -> tuple[NDArray[np.int64], ...]:
    """Hits and sizes of groups of unequal size whose rates are beta-distributed around p."""
    sizes = np.maximum(3, np.round(np.exp(rng.normal(math.log(45), 0.6, groups)))).astype(np.int64)
    spread = (1 - icc) / icc
    return rng.binomial(sizes, rng.beta(p * spread, (1 - p) * spread, groups)), sizes


def test_coverage_with_twelve_clusters() -> None:
    """Nominal 95 %, G = 12, rate 0.8, intra-class correlation 0.1; Monte-Carlo error +- 0.005."""
    rng = np.random.default_rng(1)
    repeats, covered = 2000, 0
    for _ in range(repeats):
        hits, sizes = _clustered(rng, 12, 0.8, 0.1)
        rates = (hits.sum() - hits) / (sizes.sum() - sizes)
        interval = jackknife(rates, hits.sum() / sizes.sum(), "unit")
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.8 <= interval.high
    assert 0.92 <= covered / repeats <= 0.97


@pytest.mark.parametrize(("groups", "p"), [(3, 0.99), (5, 0.95), (5, 0.99), (12, 0.99)])
def test_coverage_where_exact_ones_are_common(groups: int, p: float) -> None:
    """With the rule for exact ones, and groups that are all right or all wrong, rates near 1 stay covered.

    Intra-class correlation 0.9: most draws are exactly 1, where the formula itself has nothing to say.
    """
    rng = np.random.default_rng(2)
    covered = exact = 0
    for _ in range(1000):
        hits, sizes = _clustered(rng, groups, p, 0.9)
        rates = (hits.sum() - hits) / (sizes.sum() - sizes)
        interval = jackknife(rates, hits.sum() / sizes.sum(), "unit")
        assert interval.low is not None
        assert interval.high is not None
        exact += interval.method == "clopper-pearson-groups"
        covered += interval.low <= p <= interval.high
    assert exact > 500
    assert covered / 1000 >= 0.90


def test_coverage_of_macro_recall_with_200_hashed_groups() -> None:
    """Sixty classes of 10 to 600 samples, recalls from 0.3 to 0.97; Monte-Carlo error +- 0.011."""
    rng = np.random.default_rng(3)
    support = np.geomspace(10, 600, 60).astype(int)
    recall = np.linspace(0.3, 0.97, 60)
    label = np.repeat(np.arange(60, dtype=np.int32), support)
    metric = get_metric("macro_recall")
    repeats, covered = 400, 0
    for _ in range(repeats):
        hit = (rng.random(len(label)) < recall[label]).astype(np.float64)
        rows: Rows = {"label": label, "hit": hit}
        value = metric.reduce(rows)
        assert value is not None
        interval = jackknife(leave_one_out(metric, rows, rng.integers(0, 200, len(label))), value, metric.scale)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= recall.mean() <= interval.high
    assert 0.92 <= covered / repeats <= 0.97
