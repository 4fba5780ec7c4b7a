"""From truth and prediction to values with intervals: the one entry point that evaluation calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError, ModelError, nearest
from lensbench.metrics.agreement import AGREEMENT_METRICS
from lensbench.metrics.base import (
    ClassInfo,
    Metric,
    PerSample,
    Prediction,
    Rows,
    Task,
    Truth,
    check_aligned,
    concatenated,
    leave_one_out,
)
from lensbench.metrics.boundary import BOUNDARY_IOU
from lensbench.metrics.calibration import CALIBRATION_METRICS
from lensbench.metrics.classification import RANKING_METRICS
from lensbench.metrics.coco import COCO_METRICS
from lensbench.metrics.instances import CLASS_IOU, MASK_METRICS, class_iou
from lensbench.metrics.masks import MaskPrediction, MaskTruth
from lensbench.metrics.torch_metrics import PREFIX as TORCH
from lensbench.metrics.torch_metrics import Arguments, torch_metric
from lensbench.metrics.views import ViewPrediction, base_arguments, split_id, view_metric
from lensbench.stats import jackknife

BLOCK = 4_096
"""Samples whose rows are worked out at a time: float64 copies of all scores at once would be most of the memory."""

METRICS: dict[str, Metric] = {
    metric.id: metric for metric in (*RANKING_METRICS, *CALIBRATION_METRICS, *MASK_METRICS, BOUNDARY_IOU, *COCO_METRICS)
}
"""Every metric of one answer a sample, by id."""

VIEW_METRICS: dict[str, Metric] = {metric.id: metric for metric in AGREEMENT_METRICS}
"""Those of answers in several views that are not made of another metric (`lensbench.metrics.views.KINDS`)."""


@dataclass(frozen=True)
class MetricValue:
    """A value and its 95 % interval. What could not be computed is None, and ``reason`` says why; it is never
    0."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    groups: int
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is recorded: the reason only where there is one."""
        entry = asdict(self)
        if entry["reason"] is None:
            del entry["reason"]
        return entry


def get_metric(metric_id: str, arguments: Arguments | None = None) -> Metric:
    """The metric of that id: one of `METRICS`, ``iou@<class>``, ``torchmetrics:<name>`` with its arguments, one of
    `VIEW_METRICS`, or ``<what>:<id>`` for what views make of any other.

    Raises:
        BenchmarkError: there is none; the message names the nearest.
    """
    if base := base_of(metric_id, arguments):
        return view_metric(metric_id.partition(":")[0], base, arguments)
    if metric_id.startswith(TORCH):
        return torch_metric(metric_id, arguments)
    if arguments:
        raise BenchmarkError(f"metric {metric_id!r} takes no arguments")
    if metric_id.startswith(CLASS_IOU) and metric_id != CLASS_IOU:
        return class_iou(metric_id.removeprefix(CLASS_IOU))
    found = METRICS.get(metric_id) or VIEW_METRICS.get(metric_id)
    if found is None:
        raise BenchmarkError(f"unknown metric {metric_id!r}{nearest(metric_id, [*METRICS, *VIEW_METRICS])}")
    return found


def base_of(metric_id: str, arguments: Arguments | None = None) -> Metric | None:
    """The metric that one over views is made of, None for any other id; `arguments` are those of the whole."""
    over = split_id(metric_id)
    return get_metric(over[1], base_arguments(over[0], arguments)) if over else None


def score(
    truth: Truth | MaskTruth,
    prediction: Prediction | MaskPrediction | ViewPrediction,
    metric_ids: Iterable[str],
    clusters: NDArray[np.integer[Any]],
    class_info: ClassInfo | None = None,
    arguments: Mapping[str, Arguments] | None = None,
    computed: dict[PerSample, Rows] | None = None,
) -> dict[str, MetricValue]:
    """Each metric's value with its interval, in the order asked for.

    Args:
        truth: the evaluated samples, sorted by id: float sums are taken in this order, so that any sharding
            that is merged and sorted gives the same bits.
        prediction: aligned with it row by row; in several views for metrics over views.
        metric_ids: which metrics.
        clusters: (n,) whole numbers, equal for samples of one group; the intervals leave these groups out in
            turn.
        class_info: attributes of the classes, for the plankton and coarse-taxon scores.
        arguments: by metric id, those of torchmetrics' classes and a reference model's errors.
        computed: rows that are there already; those that are worked out are added.

    Raises:
        BenchmarkError: an unknown metric, one that this machine cannot compute, or ``class_info`` of other classes.
        ModelError: a prediction that does not fit the truth.
    """
    flat = prediction.flat if isinstance(prediction, ViewPrediction) else prediction
    if isinstance(truth, MaskTruth) != isinstance(flat, MaskPrediction):
        raise ModelError("segmentations are scored against maps, classifications against labels")
    if class_info is not None and isinstance(truth, Truth):
        truth = replace(truth, info=class_info)
    if clusters.shape != (len(truth),):
        raise BenchmarkError(f"clusters must have shape ({len(truth)},), one per sample, got {clusters.shape}")
    computed = {} if computed is None else computed
    values = {}
    metrics = ready_metrics(metric_ids, "segmentation" if isinstance(truth, MaskTruth) else "classification", arguments)
    for metric in metrics:
        if reason := metric.lacks(truth, prediction):
            values[metric.id] = MetricValue(None, None, None, "none", 0, reason)
            continue
        if metric.per_sample not in computed:
            computed[metric.per_sample] = rows_of(metric.per_sample, truth, prediction)
        values[metric.id] = with_interval(metric, computed[metric.per_sample], clusters)
    return values


def ready_metrics(
    metric_ids: Iterable[str], task: Task, arguments: Mapping[str, Arguments] | None = None
) -> list[Metric]:
    """The metrics of these ids, all of them computable here: to be asked before a model runs for hours.

    Raises:
        BenchmarkError: an unknown metric, one of another task, or one that needs what is not installed.
    """
    metrics = [get_metric(metric_id, (arguments or {}).get(metric_id)) for metric_id in metric_ids]
    for metric in metrics:
        if task not in metric.tasks:
            raise BenchmarkError(f"metric {metric.id!r} is of {' and '.join(metric.tasks)}, the benchmark of {task}")
        metric.ready()
    return metrics


def rows_of(
    per_sample: PerSample,
    truth: Truth | MaskTruth,
    prediction: Prediction | MaskPrediction | ViewPrediction,
) -> Rows:
    """All rows of a `per_sample`, worked out a block of samples at a time: the same rows in little memory."""
    if len(truth) <= BLOCK:
        return per_sample(truth, prediction)
    if isinstance(truth, Truth) and isinstance(prediction, Prediction):
        check_aligned(truth, prediction)
    if len(truth) != len(prediction):
        raise ModelError(f"{len(prediction)} predictions for {len(truth)} samples; give one per sample")
    blocks = [np.arange(a, min(a + BLOCK, len(truth))) for a in range(0, len(truth), BLOCK)]
    return concatenated([per_sample(truth.take(rows), prediction.take(rows)) for rows in blocks])


def with_interval(metric: Metric, rows: Rows, clusters: NDArray[np.integer[Any]]) -> MetricValue:
    """The value of the rows, with the interval of leaving out one cluster at a time."""
    value = metric.reduce(rows)
    if value is None:
        return MetricValue(None, None, None, "none", 0, "no evaluated sample that it is over")
    if metric.interval is not None:
        interval = metric.interval(rows, clusters)
    else:
        interval = jackknife(leave_one_out(metric, rows, clusters), value, metric.scale)
    return MetricValue(value, interval.low, interval.high, interval.method, interval.groups, interval.reason)
