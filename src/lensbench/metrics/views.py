"""Metrics over views: one frame developed in many ways, and what that does to any other metric.

An id is ``<what>:<id of a metric>``: the metric is taken of each view, and of these values ``what`` makes one. All
views are of the same samples, so a group is left out of all of them at once: differences are paired.

The *grid* is the views that are compared, the *reference* the one they are compared with; it may or may not be of the
grid. A difference is counted as a loss: positive where the reference is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError, ModelError
from lensbench.metrics.base import (
    FloatArray,
    Metric,
    PerSample,
    Prediction,
    Rows,
    Truth,
    filtered,
    leave_one_out_by_rows,
    n_rows,
)
from lensbench.metrics.masks import MaskPrediction, MaskTruth
from lensbench.metrics.relative import NOT_SCORED, ReferenceErrors, error_in, reference_errors
from lensbench.stats import Interval, Scale, extreme

ROLE = "view_role"
"""The column of rows that says what each view is: `GRID`, `REFERENCE`, or both."""
GRID, REFERENCE = 1, 2

Work = Callable[[FloatArray, FloatArray, FloatArray, int], FloatArray]
"""(reference, grid, grid without the reference, sign) → value; views are the first axis but of the reference's."""


@dataclass(frozen=True, eq=False)
class ViewPrediction:
    """What a model said about each sample in every view, aligned row by row with a truth.

    Args:
        flat: the answers, sample by sample, and of each sample view by view.
        names: the views in that order.
        reference: which of them the others are compared with.
        grid: (V,) whether a view is one of those compared.
    """

    flat: Prediction | MaskPrediction
    names: tuple[str, ...]
    reference: int
    grid: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.grid) != len(self.names) or not any(self.grid) or not 0 <= self.reference < len(self.names):
            raise BenchmarkError(f"{len(self.names)} views need as many words on whether they are compared, and one is")
        if len(self.flat) % len(self.names):
            raise ModelError(f"{len(self.flat)} answers are not the same number in each of {len(self.names)} views")

    def __len__(self) -> int:
        return len(self.flat) // len(self.names)

    def take(self, rows: NDArray[np.intp]) -> ViewPrediction:
        """These samples, in this order, in every view."""
        return replace(self, flat=self.flat.take(self.places(rows).reshape(-1)))

    def places(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """(n, V) where the answers on these samples stand in `flat`."""
        return np.asarray(rows, np.intp)[:, None] * len(self.names) + np.arange(len(self.names), dtype=np.intp)

    def view(self, index: int) -> Prediction | MaskPrediction:
        """The answers in one view."""
        return self.flat.take(self.places(np.arange(len(self), dtype=np.intp))[:, index])

    @property
    def compared(self) -> set[str]:
        """The names of the grid's views."""
        return {name for name, of_grid in zip(self.names, self.grid, strict=True) if of_grid}

    @property
    def roles(self) -> NDArray[np.uint8]:
        """(V,) `GRID`, `REFERENCE`, or both."""
        roles = np.array(self.grid, np.uint8) * GRID
        roles[self.reference] += REFERENCE
        return roles


@cache
def rows_by_view(per_sample: PerSample) -> PerSample:
    """The `per_sample` of a metric over views: each column of the other's rows as (n, V, …), and `ROLE` (n, V)."""

    def view_rows(truth: Truth | MaskTruth, prediction: ViewPrediction) -> Rows:
        n, views = len(truth), len(prediction.names)
        if len(prediction) != n:
            raise ModelError(f"{len(prediction)} predictions for {n} samples; give one per sample in each view")
        each = truth.take(np.repeat(np.arange(n, dtype=np.intp), views))
        flat = per_sample(each, prediction.flat)
        rows = {name: column.reshape(n, views, *column.shape[1:]) for name, column in flat.items()}
        return {**rows, ROLE: np.tile(prediction.roles, (n, 1))}

    return view_rows


def rows_of_view(rows: Rows, view: int) -> Rows:
    """What the other metric's rows are in one view."""
    return {name: column[:, view] for name, column in rows.items() if name != ROLE}


def values_by_view(base: Metric, rows: Rows) -> FloatArray:
    """(V,) the metric of each view; NaN where it is undefined."""
    found = (base.reduce(rows_of_view(rows, view)) for view in range(rows[ROLE].shape[1]))
    return np.array([np.nan if value is None else value for value in found], np.float64)


def without_by_view(base: Metric, rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    """(V, G) the metric of each view without each group."""
    found = []
    for view in range(rows[ROLE].shape[1]):
        mine = rows_of_view(rows, view)
        if base.additive is not None:
            found.append(base.additive.leave_one_out(mine, group, n_groups))
        elif base.without is not None:
            found.append(base.without(mine, group, n_groups))
        else:
            found.append(leave_one_out_by_rows(base, mine, group, n_groups))
    return np.stack(found)


def by_view(base: Metric, rows: Rows, clusters: NDArray[np.integer[Any]]) -> tuple[FloatArray, FloatArray]:
    """((V,) the metric of each view, (V, G) without each of the clusters that hold a sample it is over)."""
    over = np.ones(n_rows(rows), bool) if base.keep is None else _kept(base.keep, rows)
    rows, clusters = filtered(rows, over), clusters[over]
    names, group = np.unique(clusters, return_inverse=True)
    return values_by_view(base, rows), without_by_view(base, rows, group, len(names))


# -- one value of many ---------------------------------------------------------------------------------------


def _clean(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return reference


def _mean(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(grid.mean(axis=0))


def _worst(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(grid.min(axis=0) if sign > 0 else grid.max(axis=0))


def _spread(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(grid.std(axis=0))


def _losses(reference: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(sign * (reference - others))


def _mean_loss(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(_losses(reference, others, sign).mean(axis=0))


def _most_loss(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(_losses(reference, others, sign).max(axis=0))


def _relative(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    loss = _mean_loss(reference, grid, others, sign)
    return np.asarray(np.divide(loss, reference, out=np.full(np.shape(loss), np.nan), where=reference != 0))


def _error_sum(reference: FloatArray, grid: FloatArray, others: FloatArray, sign: int) -> FloatArray:
    return np.asarray(error_in(grid, "higher" if sign > 0 else "lower").sum(axis=0))


@dataclass(frozen=True)
class _Kind:
    """One way to make a value of many."""

    work: Work
    title: str
    formula: str
    scale: Scale | None = None
    """None: that of the other metric."""
    version: int = 1
    loss: bool = False
    """Less is better, whatever the other metric says."""
    others: bool = False
    """It needs a view beside the reference."""
    interval: str = "jackknife"
    """``extreme`` where it is the least or the largest of many, which the jackknife does not serve, or ``none``."""
    relative: bool = False
    """It is divided by the sum of a reference model's errors, which its arguments state."""


KINDS: Mapping[str, _Kind] = {
    "clean": _Kind(_clean, "{}, reference view", "of the reference view"),
    "mean_view": _Kind(_mean, "{}, mean of views", "mean over the grid's views"),
    "worst_view": _Kind(_worst, "{}, worst view", "the worst of the grid's views", interval="extreme"),
    "std_view": _Kind(
        _spread, "{}, spread over views", "standard deviation over the grid's views (divided by their number)",
        "positive", loss=True, interval="none",
    ),
    "drop_mean": _Kind(
        _mean_loss, "{}, mean drop", "mean over the grid's other views of what the reference is better by", "real",
        loss=True, others=True,
    ),
    "drop_max": _Kind(
        _most_loss, "{}, largest drop", "largest over the grid's other views of what the reference is better by",
        "real", loss=True, others=True, interval="extreme",
    ),
    "relative_drop": _Kind(
        _relative, "{}, relative drop", "drop_mean over the value of the reference", "real", loss=True, others=True
    ),
    "risp": _Kind(
        _error_sum, "{}, error relative to a reference model",
        "sum over the grid's views of the error (1 - value, or the value where lower is better) over the same sum of "
        "a reference model, taken as given", "positive", loss=True, relative=True,
    ),
}  # fmt: skip
"""What a value may be made of: ``<name>:<id of a metric>``."""


def split_id(metric_id: str) -> tuple[str, str] | None:
    """(what, id of the other metric) of an id of this form; None for any other."""
    what, colon, base = metric_id.partition(":")
    return (what, base) if colon and what in KINDS else None


def base_arguments(what: str, arguments: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the arguments of a metric over views say to the metric that it is made of: nothing of a reference model."""
    return None if KINDS[what].relative else arguments


def view_metric(what: str, base: Metric, arguments: Mapping[str, Any] | None = None) -> Metric:
    """The metric ``<what>:<base>``; of the arguments it looks only at a reference model's errors.

    Raises BenchmarkError for a base that is itself over views, or errors that are none.
    """
    name = f"{what}:{base.id}"
    if base.views:
        raise BenchmarkError(f"metric {name}: {base.id} is over views already")
    kind, sign = KINDS[what], 1 if base.direction == "higher" else -1
    against = reference_errors(name, base, arguments) if kind.relative else None
    over = partial(_combined, kind, sign, against)

    def reduce(rows: Rows) -> float | None:
        if not n_rows(rows):
            return None
        value = float(over(values_by_view(base, rows), rows[ROLE][0]))
        return None if np.isnan(value) else value

    def without(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
        if not n_rows(rows):
            return np.full(n_groups, np.nan)
        return over(without_by_view(base, rows, group, n_groups), rows[ROLE][0])

    return Metric(
        id=name,
        version=base.version + kind.version - 1,  # another one whenever either changes
        direction="lower" if kind.loss else base.direction,
        scale=kind.scale or base.scale,
        title=kind.title.format(base.title),
        formula=f"{base.formula}; {kind.formula}",
        source=f"{base.source}; over views: {SOURCE}",
        per_sample=rows_by_view(base.per_sample),
        reduce=reduce,
        without=without,
        keep=None if base.keep is None else partial(_kept, base.keep),
        lacks=partial(_lacks, base, kind, against),
        ready=base.ready,
        tasks=base.tasks,
        views=True,
        interval=_interval(base, kind, sign),
    )


SOURCE = "Oala et al., TMLR 2023; the worst of groups: Sagawa et al., ICLR 2020"


def _combined(
    kind: _Kind, sign: int, against: ReferenceErrors | None, values: FloatArray, roles: NDArray[np.uint8]
) -> FloatArray:
    """Of (V, …) the value that is made of them, (…); NaN where one that it needs is."""
    reference = values[int(np.flatnonzero(roles & REFERENCE)[0])]
    found = kind.work(reference, values[(roles & GRID) > 0], values[roles == GRID], sign)
    return found / against.total if against else found


def of_values(what: str, direction: str, values: FloatArray, roles: NDArray[np.uint8]) -> float:
    """What `KINDS` makes of the values (V,) of views with these roles, the other metric's `direction` being given."""
    return float(_combined(KINDS[what], 1 if direction == "higher" else -1, None, values, roles))


def _kept(keep: Callable[[Rows], NDArray[np.bool_]], rows: Rows) -> NDArray[np.bool_]:
    """Which samples a metric is over; that is a matter of the truth, the same in every view."""
    return keep(rows_of_view(rows, 0))


def _lacks(base: Metric, kind: _Kind, against: ReferenceErrors | None, truth: Any, prediction: Any) -> str | None:
    if not isinstance(prediction, ViewPrediction):
        return "needs answers in several views"
    if kind.others and not (prediction.roles == GRID).any():
        return "needs a view beside the reference"
    if kind.relative and (against is None or against.errors.keys() != prediction.compared):
        return NOT_SCORED
    return base.lacks(truth, prediction.flat)


def _extreme(base: Metric, kind: _Kind, sign: int, rows: Rows, clusters: NDArray[np.integer[Any]]) -> Interval:
    """The interval of a worst view, or of a largest drop: over all of the views, because any may be the worst."""
    roles = rows[ROLE][0]
    values, without = by_view(base, rows, clusters)
    if kind.work is _worst:
        grid = (roles & GRID) > 0
        return extreme(without[grid], values[grid], base.scale, largest=sign < 0)
    at = int(np.flatnonzero(roles & REFERENCE)[0])
    others = roles == GRID
    losses, without_losses = _losses(values[at], values[others], sign), _losses(without[at], without[others], sign)
    found = extreme(without_losses, losses, "real", largest=True)
    if base.scale != "unit" or found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))  # no value of 0…1 loses more than 1


def _interval(base: Metric, kind: _Kind, sign: int) -> Callable[[Rows, NDArray[np.integer[Any]]], Interval] | None:
    if kind.interval == "jackknife":
        return None
    return partial(_extreme, base, kind, sign) if kind.interval == "extreme" else _no_interval


def _no_interval(rows: Rows, clusters: NDArray[np.integer[Any]]) -> Interval:
    reason = "a spread is not smooth near 0: no interval is given"
    return Interval(None, None, "none", 0, reason)
