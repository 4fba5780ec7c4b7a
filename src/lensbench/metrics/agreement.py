"""How a model's answers in several views agree: with each other, or all of them with the truth.

The first two need no truth. Two answers of a classifier agree where the same classes share the first place; two
segmentations by the IoU of their foregrounds, 1 where neither has any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.base import Additive, FloatArray, Metric, Rows
from lensbench.metrics.classification import mean_of, ranking_rows
from lensbench.metrics.maskrows import mask_rows
from lensbench.metrics.masks import MaskPrediction, MaskTruth, classes
from lensbench.metrics.views import GRID, REFERENCE, ROLE, ViewPrediction, rows_by_view

_HENDRYCKS = "Hendrycks and Dietterich, ICLR 2019 (flips, over frames there)"
_WORST = "Sagawa et al., ICLR 2020 (worst group, each sample's own here)"
_JACCARD = "Jaccard, New Phytologist 11:37-50 (1912)"


def first_places(rows: Rows) -> NDArray[Any]:
    """(n, V) equal where the same classes share the first place."""
    best = np.ascontiguousarray(rows["best"])
    return best.view(np.dtype((np.void, best.shape[-1])))[..., 0]


def flips(rows: Rows) -> FloatArray:
    """(n,) the share of the grid's other views whose first place is not the reference's."""
    if not len(rows[ROLE]):
        return np.empty(0)
    first, roles = first_places(rows), rows[ROLE][0]
    reference = int(np.flatnonzero(roles & REFERENCE)[0])
    return np.asarray((first[:, roles == GRID] != first[:, [reference]]).mean(axis=1))


def agreeing(rows: Rows) -> FloatArray:
    """(n,) the share of pairs of the grid's views that have the same first place."""
    if not len(rows[ROLE]):
        return np.empty(0)
    first = first_places(rows)[:, (rows[ROLE][0] & GRID) > 0]
    views = first.shape[1]
    same = sum(((first == first[:, [view]]).sum(axis=1) for view in range(views)), np.zeros(len(first), np.int64))
    return np.asarray((same - views) / (views * (views - 1)))


def right_in_all(rows: Rows) -> FloatArray:
    """(n,) the least chance in any of the grid's views that the true class ranks first."""
    if not len(rows[ROLE]):
        return np.empty(0)
    return np.asarray(rows["hit"][:, (rows[ROLE][0] & GRID) > 0].min(axis=1))


def image_iou(rows: Rows) -> FloatArray:
    """(n, V) the foreground IoU of each image in each view, 1 where neither side has any."""
    pixels = rows["confusion"]
    both = pixels[..., 1:, 1:].sum(axis=(-1, -2))
    union = pixels.sum(axis=(-1, -2)) - pixels[..., 0, 0]
    return np.asarray(np.divide(both, union, out=np.ones(np.shape(both)), where=union > 0))


def least_iou(rows: Rows) -> FloatArray:
    """(n,) the least foreground IoU of an image in any of the grid's views."""
    if not len(rows[ROLE]):
        return np.empty(0)
    return np.asarray(image_iou(rows)[:, (rows[ROLE][0] & GRID) > 0].min(axis=1))


def overlap_rows(truth: MaskTruth, prediction: ViewPrediction) -> Rows:
    """``overlap`` (n,) the mean over pairs of the grid's views of the IoU of an image's two foregrounds."""
    return {"overlap": np.fromiter(_overlaps(truth, prediction), np.float64, len(truth))}


def _overlaps(truth: MaskTruth, prediction: ViewPrediction) -> Iterator[float]:
    views, answers = len(prediction.names), prediction.flat
    assert isinstance(answers, MaskPrediction)
    for row in range(len(truth)):
        where = truth.name(row)
        found = [answers.values[row * views + view] for view in range(views)]  # in order: stored answers are read on
        packed = [
            np.packbits(classes(value, where, len(truth.classes)) != 0)
            for value, compared in zip(found, prediction.grid, strict=True)
            if compared
        ]
        yield _mean_iou(np.stack(packed))


def _mean_iou(packed: NDArray[np.uint8]) -> float:
    """The mean over pairs of rows of bits of the share that both have of what either has."""
    shares = []
    for view in range(len(packed) - 1):
        others, mine = packed[view + 1 :], packed[view]
        union = np.bitwise_count(others | mine).sum(axis=1, dtype=np.int64)
        both = np.bitwise_count(others & mine).sum(axis=1, dtype=np.int64)
        shares.append(np.divide(both, union, out=np.ones(len(others)), where=union > 0))
    return float(np.concatenate(shares).mean())


def _no_pair(truth: Any, prediction: Any) -> str | None:
    if not isinstance(prediction, ViewPrediction):
        return "needs answers in several views"
    return None if sum(prediction.grid) > 1 else "needs two views to compare"


def _no_other(truth: Any, prediction: Any) -> str | None:
    if not isinstance(prediction, ViewPrediction):
        return "needs answers in several views"
    return None if (prediction.roles == GRID).any() else "needs a view beside the reference"


def _no_views(truth: Any, prediction: Any) -> str | None:
    return None if isinstance(prediction, ViewPrediction) else "needs answers in several views"


def _metric(
    metric_id: str,
    column: Callable[[Rows], FloatArray],
    per_sample: Callable[[Any, Any], Rows],
    lacks: Callable[[Any, Any], str | None],
    words: tuple[str, str, str],
    task: Literal["classification", "segmentation"] = "classification",
    direction: Literal["higher", "lower"] = "higher",
) -> Metric:
    additive: Additive = mean_of(column)
    return Metric(
        id=metric_id,
        version=1,
        direction=direction,
        scale="unit",
        title=words[0],
        formula=words[1],
        source=words[2],
        per_sample=per_sample,
        reduce=additive.reduce,
        additive=additive,
        lacks=lacks,
        tasks=(task,),
        views=True,
    )


AGREEMENT_METRICS: tuple[Metric, ...] = (
    _metric(
        "all_views:top1",
        right_in_all,
        rows_by_view(ranking_rows),
        _no_views,
        (
            "Right in all views",
            "mean over samples of the least chance in any view that the true class is first",
            _WORST,
        ),
    ),
    _metric(
        "flip_rate",
        flips,
        rows_by_view(ranking_rows),
        _no_other,
        ("Flip rate", "share of (sample, other view) whose first place is not the reference's", _HENDRYCKS),
        direction="lower",
    ),
    _metric(
        "consistency",
        agreeing,
        rows_by_view(ranking_rows),
        _no_pair,
        ("Consistency", "share of (sample, pair of views) with the same first place", _HENDRYCKS),
    ),
    _metric(
        "all_views:iou_fg_macro",
        least_iou,
        rows_by_view(mask_rows),
        _no_views,
        (
            "Foreground IoU, worst view of each image",
            "mean over images of the least foreground IoU in any view",
            _WORST,
        ),
        "segmentation",
    ),
    _metric(
        "mask_consistency",
        lambda rows: rows["overlap"],
        overlap_rows,
        _no_pair,
        ("Consistency of masks", "mean over images and pairs of views of the IoU of the two answers", _JACCARD),
        "segmentation",
    ),
)
