"""Whether a record's metrics are what the rest of the record makes of them: one that contradicts itself is refused.

A record's hash says that nobody changed it since it was hashed, not that its numbers belong together. Some can be made
again from what else it tells: F1 from the counts of its curve, top-1 from its confusion, a mean over views from the
views. Others (COCO's AP, calibration, intervals) need the predictions, and are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lensbench.errors import RecordError
from lensbench.leaderboard.entry import ClassRow, Entry
from lensbench.leaderboard.segments import CurveRow, Segments
from lensbench.leaderboard.viewing import Viewing
from lensbench.metrics import get_metric
from lensbench.metrics.views import GRID, REFERENCE, of_values, split_id

TOLERANCE = 1e-6
"""Values are recorded to 12 digits."""
BY_VIEWS = ("clean", "mean_view", "worst_view", "std_view", "drop_mean", "drop_max")
ONE_SIDED = ("worst_view", "drop_max")
"""Of these a record need not list every view: they may be worse than those that it lists, and not better."""

Made = Iterator[tuple[str, float]]


def check(entry: Entry, metrics: Iterable[str]) -> None:
    """Raise RecordError for a complete record of which one of the benchmark's `metrics` is not what its parts make."""
    if not entry.complete:
        return
    prefix = "clean:" if entry.viewing else ""
    for metric, value in _made(entry):
        _same(entry, prefix + metric, value)
    if entry.viewing:
        for metric, value in _of_views(metrics, entry.viewing):
            _same(entry, metric, value)


def _same(entry: Entry, metric: str, made: float) -> None:
    said = entry.score(metric).value
    if said is None or abs(said - made) <= TOLERANCE:
        return
    if metric.partition(":")[0] in ONE_SIDED and (said > made) == (get_metric(metric).direction == "lower"):
        return
    raise RecordError(f"metrics.{metric}.value is {said:.6g}, but the rest of the record makes it {made:.6g}")


def _made(entry: Entry) -> Made:
    """(id of a metric, what the record's counts make of it)."""
    if entry.segments:
        yield from _of_images(entry.segments)
        yield from _of_curve(entry.segments)
    if entry.classes:
        yield from _of_classes(entry.classes)
        if entry.confusion and entry.coverage.scored:
            right = sum(count for true, mine, count in entry.confusion if true == mine)
            yield "top1", right / entry.coverage.scored


def _of_classes(rows: Sequence[ClassRow]) -> Made:
    """Means over the classes with support, and over their samples."""
    there = [row for row in rows if row.support]
    total = sum(row.support for row in there)
    for name in ("recall", "precision", "f1"):
        values = [getattr(row, name) for row in there]
        if not there or None in values:
            continue
        mean = sum(values) / len(values)
        yield f"macro_{name}", mean
        yield f"weighted_{name}", sum(v * row.support for v, row in zip(values, there, strict=True)) / total
        if name == "recall":
            yield "balanced_accuracy", mean


def _of_curve(segments: Segments) -> Made:
    """What the pooled counts make: nothing where images were averaged."""
    for row in segments.curve:
        if row.f1 is not None and abs(row.f1 - _f1(row)) > TOLERANCE:
            raise RecordError(f"curve: F1 at {row.threshold:g} is {row.f1:.6g}, but its counts make it {_f1(row):.6g}")
    if segments.scoring.pooling != "pooled" or not segments.curve or not any(map(_objects, segments.curve)):
        return
    for row in segments.curve:
        yield f"f1@{row.threshold:g}", _f1(row)
        if row.tp + row.fp:
            yield f"precision@{row.threshold:g}", row.tp / (row.tp + row.fp)
        if row.tp + row.fn:
            yield f"recall@{row.threshold:g}", row.tp / (row.tp + row.fn)
    yield "f1_mean", sum(map(_f1, segments.curve)) / len(segments.curve)
    yield "ap_dsb", sum(row.tp / _objects(row) for row in segments.curve) / len(segments.curve)


def _of_images(segments: Segments) -> Made:
    """Means of images; and the curve at .50 is the sum of the images' counts."""
    if segments.images:
        own = [1.0 if image.iou_fg is None else image.iou_fg for image in segments.images]
        yield "iou_fg_macro", sum(own) / len(own)
    counts = [image.counts for image in segments.images if image.counts["tp"] is not None]
    for row in segments.curve:
        if counts and row.threshold == 0.5:
            for name in ("tp", "fp", "fn"):
                total = sum(count[name] or 0 for count in counts)
                if total != getattr(row, name):
                    raise RecordError(f"curve: {getattr(row, name)} {name} at 0.5, but the images have {total}")


def _of_views(metrics: Iterable[str], viewing: Viewing) -> Made:
    """What the values of the views make, where the record lists each of them."""
    roles = np.array([GRID * v.compared + REFERENCE * (v.name == viewing.reference) for v in viewing.views], np.uint8)
    for metric in metrics:
        over = split_id(metric)
        if over is None or over[0] not in BY_VIEWS:
            continue
        values = [view.score(over[1]).value for view in viewing.views]
        if None in values or not (roles & GRID).any() or ("drop" in over[0] and not (roles == GRID).any()):
            continue
        with np.errstate(all="ignore"):  # a stranger's values: what overflows is not what was recorded either
            made = of_values(over[0], get_metric(over[1]).direction, np.array(values, np.float64), roles)
        yield metric, made


def _f1(row: CurveRow) -> float:
    return 2 * row.tp / (2 * row.tp + row.fp + row.fn) if _objects(row) else 0.0


def _objects(row: CurveRow) -> int:
    return row.tp + row.fp + row.fn
