"""The conformance suite catches each kind of broken metric, in words that name the metric and the check."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lensbench.metrics import METRICS, Additive, Metric, Prediction, Rows, Truth, get_metric, ranking_rows
from lensbench.metrics.base import subset
from lensbench.metrics.conformance import MetricCheckError, check_metric

TOP1 = get_metric("top1")


BETWEEN = re.compile(r"\w+@0\.(55|6|65|7|8|85|9|95)")
"""The same function as at .5 and .75, but for a number."""
EVERY = [
    pytest.param(metric, id=name, marks=pytest.mark.slow if BETWEEN.fullmatch(name) else ())
    for name, metric in METRICS.items()
]


@pytest.mark.parametrize("metric", EVERY)
def test_every_registered_metric_conforms(metric: Metric) -> None:
    check_metric(metric)


def test_a_metric_without_sums_conforms_by_its_rows_alone() -> None:
    check_metric(replace(TOP1, additive=None))


def _depends_on_batch(truth: Truth, prediction: Prediction) -> Rows:
    rows = dict(ranking_rows(truth, prediction))
    return rows | {"hit": rows["hit"] - rows["hit"].mean() if len(truth) else rows["hit"]}


def _depends_on_order(truth: Truth, prediction: Prediction) -> Rows:
    rows = dict(ranking_rows(truth, prediction))
    return rows | {"hit": np.minimum.accumulate(rows["hit"])}


def _drops_a_row(truth: Truth, prediction: Prediction) -> Rows:
    return {name: column[1:] for name, column in ranking_rows(truth, prediction).items()}


def _writes(truth: Truth, prediction: Prediction) -> Rows:
    if prediction.scores is not None and len(truth):
        prediction.scores[0] = 0
    return {"hit": np.zeros(len(truth))}


def _reduce_nan(rows: Rows) -> float:
    return float(np.sum(rows["hit"]) / np.float64(len(rows["hit"]) or np.nan))


def _reduce_by_order(rows: Rows) -> float | None:
    weights = np.arange(len(rows["hit"])) + 1.0
    return float(weights @ rows["hit"] / weights.sum()) if len(weights) else None


def _wrong_sums(rows: Rows, group: Any, n_groups: int) -> Any:
    assert TOP1.additive is not None
    return TOP1.additive.sums(rows, np.zeros_like(group), n_groups)


def _never(rows: Rows) -> None:
    return None


assert TOP1.additive is not None
BROKEN = {
    "declaration": replace(TOP1, formula=" "),
    "computed": subset(TOP1, "top1@never", lambda rows: np.zeros(len(rows["label"]), bool), title="t", source="s"),
    "rows": replace(TOP1, per_sample=_drops_a_row),
    "aligned": replace(TOP1, per_sample=_depends_on_order),
    "merge": replace(TOP1, per_sample=_depends_on_batch, scale="real"),
    "empty": replace(TOP1, reduce=lambda rows: TOP1.reduce(rows) or 0.0),
    "value": replace(TOP1, reduce=lambda rows: round(TOP1.reduce(rows) or 0)),
    "bounds": replace(TOP1, reduce=lambda rows: None if (x := TOP1.reduce(rows)) is None else 100 * x),
    "permutation": replace(TOP1, reduce=_reduce_by_order),
    "leave one out": replace(TOP1, additive=Additive(_wrong_sums, TOP1.additive.value)),
    "direction": replace(TOP1, direction="lower"),
    "pure": replace(TOP1, per_sample=_writes),
}


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_metric_is_caught_by_name(check: str) -> None:
    metric = BROKEN[check]
    with pytest.raises(MetricCheckError, match=rf"^metric '{metric.id}' fails check '{check}': "):
        check_metric(metric)


def test_nan_for_no_samples_is_caught() -> None:
    with pytest.raises(MetricCheckError, match="fails check 'empty': no sample gives None, not nan"):
        check_metric(replace(TOP1, reduce=_reduce_nan))


def test_a_metric_that_is_always_undefined_is_caught() -> None:
    with pytest.raises(MetricCheckError, match="fails check"):
        check_metric(replace(TOP1, reduce=_never, additive=None))


def test_an_oracle_that_disagrees_is_heard() -> None:
    with pytest.raises(MetricCheckError, match=r"fails check 'oracle': the oracle says 0\.123"):
        check_metric(TOP1, oracle=lambda truth, prediction: 0.123)


def test_rows_that_do_not_merge_are_caught() -> None:
    calls = iter(range(10**6))

    def changing(truth: Truth, prediction: Prediction) -> Rows:
        return {**ranking_rows(truth, prediction), "call": np.full(len(truth), next(calls))}

    with pytest.raises(MetricCheckError, match="fails check 'aligned'"):
        check_metric(replace(TOP1, per_sample=changing))
