"""What a metric is: truth and prediction aligned by row, small rows per sample, and a value reduced from
rows.

A metric is a pair of functions, ``per_sample(truth, prediction) -> rows`` and ``reduce(rows) -> value``.
Everything written once for all metrics (sharding, slices, intervals, comparisons) needs no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensbench.errors import BenchmarkError, ModelError
from lensbench.stats import Interval, Scale

Rows = Mapping[str, NDArray[Any]]
"""Small arrays by name; the first axis of each is the samples, so rows of shards concatenate, filter and
align."""

FloatArray = NDArray[np.float64]
Kind = Literal["logits", "probabilities", "labels", "topk"]
Task = Literal["classification", "segmentation"]

SUM_TOLERANCE = 0.01
"""How far a row of probabilities may sum from 1: four-digit text files of a hundred classes stay within
it."""


@dataclass(frozen=True)
class ClassInfo:
    """What a dataset says about its classes, each tuple in the order of ``names``; None where it says
    nothing."""

    names: tuple[str, ...]
    taxon: tuple[str, ...] | None = None
    plankton: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        for name, column in (("taxon", self.taxon), ("plankton", self.plankton)):
            if column is not None and len(column) != len(self.names):
                raise BenchmarkError(f"class column {name!r} has {len(column)} entries for {len(self.names)} classes")


@dataclass(frozen=True, eq=False)
class Truth:
    """The true class of each evaluated sample.

    Args:
        label: (n,) int32 index into ``classes``.
        classes: the class names in order.
        info: attributes of the classes, for the scores that need them.
        support: (C,) int64 samples per class in the whole evaluated split, which a shard of it carries along
            unchanged; counted from ``label`` when not given.
    """

    label: NDArray[np.int32]
    classes: tuple[str, ...]
    info: ClassInfo | None = None
    support: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        label, n_classes = self.label, len(self.classes)
        if label.ndim != 1 or label.dtype != np.int32:
            raise BenchmarkError(f"labels must be int32 of shape (n,), got {label.dtype} of shape {label.shape}")
        if len(label) and (label.min() < 0 or label.max() >= n_classes):
            raise BenchmarkError(f"labels must lie in 0..{n_classes - 1}, got {label.min()}..{label.max()}")
        if self.info is not None and self.info.names != self.classes:
            raise BenchmarkError("class attributes and labels name different classes, or in another order")
        if not len(self.support):
            object.__setattr__(self, "support", np.bincount(label, minlength=n_classes))

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.intp]) -> Truth:
        """These rows, in this order, as part of the same evaluated split."""
        return replace(self, label=self.label[rows])


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model said about each sample, aligned row by row with a `Truth`.

    Args:
        scores: (n, C) float32 as the model gave them, for the kinds ``logits`` and ``probabilities``. Ties
            are decided on these values; float16 makes ties of its own and is refused.
        kind: how to read them.
        top: (n, k) int32 class indices, best first, for ``labels`` (k = 1) and ``topk``; -1 = none given in
            that slot; a class given twice counts where it first stands.

    Raises:
        ModelError: another dtype or shape, NaN or +inf, a row of logits without one finite value (-inf is
            allowed elsewhere: probability 0), probabilities outside [0, 1] or a row of them not summing to 1
            +- 0.01.
    """

    scores: NDArray[np.float32] | None
    kind: Kind
    top: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.kind in ("logits", "probabilities"):
            if self.scores is None or self.top is not None:
                raise ModelError(f"predictions of kind {self.kind!r} are given as scores, and only so")
            _check_scores(self.scores, self.kind)
        elif self.kind in ("labels", "topk"):
            if self.top is None or self.scores is not None:
                raise ModelError(f"predictions of kind {self.kind!r} are given as top, and only so")
            _check_top(self.top, self.kind)
        else:
            raise ModelError(f"unknown kind of prediction {self.kind!r}; known: logits, probabilities, labels, topk")

    def __len__(self) -> int:
        array = self.scores if self.scores is not None else self.top
        assert array is not None
        return len(array)

    def take(self, rows: NDArray[np.intp]) -> Prediction:
        """These rows, in this order."""
        return replace(
            self,
            scores=None if self.scores is None else self.scores[rows],
            top=None if self.top is None else self.top[rows],
        )


def _check_scores(scores: NDArray[np.float32], kind: Kind) -> None:
    if scores.ndim != 2 or scores.dtype != np.float32:
        raise ModelError(f"scores must be float32 of shape (n, classes), got {scores.dtype} {scores.shape}")
    finite = np.isfinite(scores)
    if not finite.all():
        bad = ~finite if kind == "probabilities" else ~finite & ~np.isneginf(scores)
        _refuse_rows(bad.any(axis=1), "NaN or infinite scores")
        _refuse_rows(~np.any(finite, axis=1), "no finite score")
    if kind == "probabilities":
        outside = (scores < 0) | (scores > 1 + SUM_TOLERANCE)
        _refuse_rows(outside.any(axis=1), "probabilities outside 0..1 (logits? then say so)")
        off = np.abs(scores.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE
        _refuse_rows(off, f"probabilities that do not sum to 1 +- {SUM_TOLERANCE}")


def _check_top(top: NDArray[np.int32], kind: Kind) -> None:
    if top.ndim != 2 or top.dtype != np.int32 or not top.shape[1]:
        raise ModelError(f"predicted classes must be int32 of shape (n, k), got {top.dtype} {top.shape}")
    if kind == "labels" and top.shape[1] != 1:
        raise ModelError(f"kind 'labels' is one class per sample, got {top.shape[1]}; use kind 'topk'")
    _refuse_rows((top < -1).any(axis=1), "class indices below -1")


def _refuse_rows(bad: ArrayLike, what: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise ModelError(f"{what} in {len(rows)} predictions, first in row {rows[0]}")


def check_aligned(truth: Truth, prediction: Prediction) -> None:
    """Refuse a prediction that cannot be of these samples and classes.

    Raises:
        ModelError: another number of samples, or classes beyond those of the truth.
    """
    if len(truth) != len(prediction):
        raise ModelError(f"{len(prediction)} predictions for {len(truth)} samples; give one per sample")
    n_classes = len(truth.classes)
    if prediction.scores is not None and prediction.scores.shape[1] != n_classes:
        raise ModelError(f"{prediction.scores.shape[1]} scores per sample for {n_classes} classes")
    if prediction.top is not None:
        _refuse_rows((prediction.top >= n_classes).any(axis=1), f"class indices above {n_classes - 1}")


@dataclass(frozen=True)
class Additive:
    """A metric whose value is a function of sums over samples: then leaving groups out costs almost nothing.

    Args:
        sums: (rows, group (n,) in 0..G-1, G) -> (G, ...) float64, each group's sums.
        value: (..., as above without G) -> (...), the value of each set of sums; NaN where undefined.
    """

    sums: Callable[[Rows, NDArray[np.intp], int], FloatArray]
    value: Callable[[FloatArray], FloatArray]

    def reduce(self, rows: Rows) -> float | None:
        """The value of all rows; None where it is undefined."""
        group = np.zeros(n_rows(rows), dtype=np.intp)
        value = float(self.value(self.sums(rows, group, 1))[0])
        return None if np.isnan(value) else value

    def leave_one_out(self, rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
        """(G,) the value without each group."""
        sums = self.sums(rows, group, n_groups)
        # Sums before and after each group, not total minus group: what cancels to 1e-17 would no longer be 0.
        without = np.zeros_like(sums)
        np.cumsum(sums[:-1], axis=0, out=without[1:])
        without[:-1] += np.cumsum(sums[:0:-1], axis=0)[::-1]
        return self.value(without)


def _never(truth: Any, prediction: Any) -> str | None:
    return None


def _nothing() -> None:
    return None


PerSample = Callable[[Any, Any], Rows]


@dataclass(frozen=True)
class Metric:
    """One number about predictions, and everything needed to believe it.

    Args:
        id: its name in specs and records.
        version: raised whenever the same predictions would give another value.
        direction: which way is better.
        scale: the values it can take, hence the scale of its interval.
        title, formula, source: for people: a name, the definition in one line, who defined it.
        per_sample: (truth, prediction) -> rows. Row i depends on sample i alone. Metrics that name the same
            function share its result.
        reduce: rows -> value, None (never NaN) where it is undefined.
        additive: the same value from sums, where it has that form.
        without: (rows, group (n,) in 0..G-1, G) -> (G,) the value without each group, NaN where undefined: for a
            metric that has no sums but a faster way than reducing G times.
        keep: rows -> (n,) bool, the samples it is over, where that is not all; ``reduce`` and ``additive``
            already hold to it. Groups without such a sample are not counted in its interval.
        lacks: (truth, prediction) -> why it cannot be computed from these, or None.
        ready: raises BenchmarkError where this machine lacks what it takes to compute it.
        tasks: of which benchmarks' truth and predictions it is.
        views: whether it is over predictions in several views (`lensbench.metrics.views`).
        interval: (rows, clusters (n,)) -> its interval, for a statistic that the jackknife does not serve.
    """

    id: str
    version: int
    direction: Literal["higher", "lower"]
    scale: Scale
    title: str
    formula: str
    source: str
    per_sample: PerSample
    reduce: Callable[[Rows], float | None]
    additive: Additive | None = None
    without: Callable[[Rows, NDArray[np.intp], int], FloatArray] | None = None
    keep: Callable[[Rows], NDArray[np.bool_]] | None = None
    lacks: Callable[[Any, Any], str | None] = _never
    ready: Callable[[], object] = _nothing
    tasks: tuple[Task, ...] = ("classification",)
    views: bool = False
    interval: Callable[[Rows, NDArray[np.integer[Any]]], Interval] | None = None


def subset(
    metric: Metric,
    metric_id: str,
    keep: Callable[[Rows], NDArray[np.bool_]],
    *,
    title: str,
    source: str,
    lacks: Callable[[Any, Any], str | None] | None = None,
) -> Metric:
    """The same metric over some of the samples, under another id."""

    def reduce(rows: Rows) -> float | None:
        return metric.reduce(filtered(rows, keep(rows)))

    additive = metric.additive
    if additive is not None:
        whole = additive

        def sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
            kept = keep(rows)
            return whole.sums(filtered(rows, kept), group[kept], n_groups)

        additive = Additive(sums, whole.value)
    return replace(
        metric,
        id=metric_id,
        title=title,
        formula=f"{metric.formula}; over these samples alone",
        source=source,
        reduce=reduce,
        additive=additive,
        without=None,
        keep=keep,
        lacks=lacks or metric.lacks,
    )


def n_rows(rows: Rows) -> int:
    """The number of samples the rows are about."""
    return len(next(iter(rows.values())))


def filtered(rows: Rows, keep: NDArray[Any]) -> Rows:
    """The rows of some samples: ``keep`` is a mask or an array of indices."""
    return {name: column[keep] for name, column in rows.items()}


def concatenated(shards: Sequence[Rows]) -> Rows:
    """The rows of all shards, one after another."""
    return {name: np.concatenate([rows[name] for rows in shards]) for name in shards[0]}


def leave_one_out(metric: Metric, rows: Rows, group: NDArray[np.integer[Any]]) -> FloatArray:
    """(G,) the metric without each of the G groups that hold a sample it is over; NaN where it is undefined.

    Args:
        metric: the metric.
        rows: what its ``per_sample`` gave.
        group: (n,) whole numbers, equal for samples of one group; sorted, they give the order of the result.
    """
    over = np.ones(n_rows(rows), dtype=bool) if metric.keep is None else metric.keep(rows)
    rows, group = filtered(rows, over), group[over]
    names, index = np.unique(group, return_inverse=True)
    if metric.additive is not None:
        return metric.additive.leave_one_out(rows, index, len(names))
    if metric.without is not None:
        return metric.without(rows, index, len(names))
    return leave_one_out_by_rows(metric, rows, index, len(names))


def leave_one_out_by_rows(metric: Metric, rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    """(G,) the metric reduced anew from the rows outside each group: for any metric, at G times the cost."""
    values = (metric.reduce(filtered(rows, group != g)) for g in range(n_groups))
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
