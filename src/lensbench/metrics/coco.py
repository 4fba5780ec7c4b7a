"""COCO's average precision and recall, of predictions that brought a score for every object.

As pycocotools' COCOeval has them for masks (Lin et al., ECCV 2014): detections go from the highest score down, each
takes the free true object with which its IoU is largest, if that reaches the threshold; precision is made monotone
and read at 101 recalls. Two things differ. No detection is cut: maxDets is the largest number of predictions of an
image, at least 100 (with the usual 100 a perfect answer to 200 objects scores one half). And precision is TP / n
where COCOeval has TP / (n + 2e-16): a perfect answer scores exactly 1.

Equal scores are ordered by the image's place among the ids, then the object's number in its image. Masks are
compared as they are given: a protocol's dilation and minimum size are of label maps and do not touch them.

Where no two masks of an image overlap, the kernel finds who matches whom; the others go through pycocotools' IoU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.masks import many
from lensbench.masks.values import LabelMap, Masks, to_masks
from lensbench.metrics.base import FloatArray, Metric, Rows
from lensbench.metrics.instances import no_objects
from lensbench.metrics.maskrows import TWENTIETHS
from lensbench.metrics.masks import MaskPrediction, MaskTruth, pairs
from lensbench.metrics.overlap import Overlap, overlap

DETECTION = np.dtype([("score", np.float64), ("hits", np.uint16)])
"""One detection: its score, and a bit for each of the ten thresholds, the lowest for .50."""

RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""maxDets where no image has more predictions: COCO's own."""

_LIN = "Lin et al., ECCV 2014 (COCO)"


def coco_rows(truth: MaskTruth, prediction: MaskPrediction) -> Rows:
    """What each image adds to COCO's scores.

    Returns:
        ``detections`` (n,) object, an array of `DETECTION` each, by falling score; ``n_truth`` (n,) int64 its true
        objects; ``position`` (n,) int64 its place in the evaluated split.
    """
    detections = np.empty(len(truth), np.object_)
    n_truth = np.zeros(len(truth), np.int64)
    for row, (where, true, value) in enumerate(pairs(truth, prediction)):
        if not isinstance(value, Masks):
            raise ModelError(f"{where}: COCO's scores need masks with a score each")
        detections[row], n_truth[row] = _detections(true, value, where)
    return {"detections": detections, "n_truth": n_truth, "position": truth.position}


def most_detections(prediction: MaskPrediction) -> int:
    """maxDets: the largest number of predictions of an image, at least 100."""
    return max([MOST, *(len(value.rle) for value in prediction.values if isinstance(value, Masks))])


def _detections(true: NDArray[Any], masks: Masks, where: str) -> tuple[NDArray[Any], int]:
    """(the image's detections by falling score, the number of its true objects)."""
    scores = np.zeros(0) if masks.scores is None else np.asarray(masks.scores, np.float64)
    if len(scores) != len(masks.rle) or not np.isfinite(scores).all():
        raise ModelError(f"{where}: {len(masks.rle)} masks need as many finite scores")
    order = np.argsort(-scores, kind="stable")
    cuts, spans = many.from_texts(masks.rle, masks.shape[0] * masks.shape[1], where)
    labels = many.paint_apart(cuts, spans, masks.shape)
    if labels is None:
        hits, number = _hits_of_masks(true, [masks.rle[k] for k in order.tolist()])
    else:
        found = overlap(true, labels)
        hits, number = np.zeros(len(order), np.uint16), len(found.truth_areas)
        hits[np.flatnonzero(np.diff(cuts))] = _hits_of_maps(found, _ranks(order)[np.flatnonzero(np.diff(cuts))])
        hits = hits[order]
    detections = np.empty(len(order), DETECTION)
    detections["score"], detections["hits"] = scores[order], hits
    return detections, number


def _ranks(order: NDArray[np.intp]) -> NDArray[np.intp]:
    ranks = np.empty(len(order), np.intp)
    ranks[order] = np.arange(len(order))
    return ranks


def _hits_of_maps(found: Overlap, rank: NDArray[np.intp]) -> NDArray[np.uint16]:
    """(P,) hit bits of the objects of a label map, which come in the order of `rank`.

    Of several predicted objects with exactly half of one true object the first by rank takes it; one over two true
    objects takes either (see `Overlap.matched`).
    """
    near = found.matched_by(rank)
    shared, union = found.intersection[near], found.union[near]
    hits = np.zeros(len(found.predicted_areas), np.uint16)
    for bit, k in enumerate(TWENTIETHS):
        hits[found.predicted[near]] |= (20 * shared >= k * union).astype(np.uint16) << np.uint16(bit)
    return hits


def _hits_of_masks(true: NDArray[Any], texts: list[bytes]) -> tuple[NDArray[np.uint16], int]:
    """(hit bits of masks that may overlap, by falling score; the number of true objects)."""
    from pycocotools import mask as api

    size = list(true.shape)
    truth = to_masks(LabelMap(true)).rle
    hits = np.zeros(len(texts), np.uint16)
    if not truth:
        return hits, 0
    runs = [[{"size": size, "counts": text} for text in side] for side in (texts, truth)]
    iou = np.asarray(api.iou(*runs, [0] * len(truth)), np.float64)
    for bit, k in enumerate(TWENTIETHS):
        free = np.ones(len(truth), np.bool_)
        for one in np.flatnonzero((iou >= k / 20).any(axis=1)).tolist():
            open_to = np.where(free & (iou[one] >= k / 20), iou[one], -1.0)
            best = len(truth) - 1 - int(open_to[::-1].argmax())  # of equal ones COCOeval takes the last
            if open_to[best] >= 0:
                free[best] = False
                hits[one] |= np.uint16(1 << bit)
    return hits, len(truth)


Curve = Callable[[NDArray[np.uint16], int], float]
"""(hit bits of all detections by falling score, number of true objects, at least 1) → value."""


def average_precision(hits: NDArray[np.uint16], n_truth: int, bits: tuple[int, ...]) -> float:
    """The mean over thresholds and 101 recalls of the best precision at that recall or beyond."""
    total = 0.0
    for bit in bits:
        at = np.flatnonzero(hits >> np.uint16(bit) & np.uint16(1))
        found = np.arange(1, len(at) + 1)
        precision = np.maximum.accumulate((found / (at + 1))[::-1])[::-1]
        first = np.searchsorted(found / n_truth, RECALLS, side="left")
        total += float(np.sum(precision[first[first < len(at)]])) / len(RECALLS)
    return total / len(bits)


def average_recall(hits: NDArray[np.uint16], n_truth: int) -> float:
    """The mean over thresholds of found / true objects."""
    bits = np.arange(len(TWENTIETHS), dtype=np.uint16)
    return int(np.count_nonzero(hits[:, None] >> bits & 1)) / (n_truth * len(bits))


def _pooled(rows: Rows) -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """(hit bits of all detections by falling score, the row of each)."""
    images = np.argsort(rows["position"], kind="stable")
    every = np.concatenate([np.empty(0, DETECTION), *rows["detections"][images]])
    image = np.repeat(images, [len(one) for one in rows["detections"][images]])
    order = np.argsort(-every["score"], kind="stable")
    return every["hits"][order], image[order]


def _reduce(rows: Rows, value: Curve) -> float | None:
    n_truth = int(rows["n_truth"].sum())
    return value(_pooled(rows)[0], n_truth) if n_truth else None


def _without(rows: Rows, group: NDArray[np.intp], n_groups: int, value: Curve) -> FloatArray:
    """The value without each group, sorted once for all."""
    hits, image = _pooled(rows)
    of = group[image]
    left = rows["n_truth"].sum() - np.bincount(group, weights=rows["n_truth"], minlength=n_groups).astype(np.int64)
    return np.array([value(hits[of != g], int(left[g])) if left[g] else np.nan for g in range(n_groups)])


def _no_scores(truth: MaskTruth, prediction: MaskPrediction) -> str | None:
    if reason := no_objects(truth, prediction):
        return reason
    return None if prediction.scored else "needs a score for every predicted object, and none is made up"


def _metric(metric_id: str, value: Curve, title: str, formula: str) -> Metric:
    return Metric(
        id=metric_id,
        version=1,
        direction="higher",
        scale="unit",
        title=title,
        formula=formula,
        source=_LIN,
        per_sample=coco_rows,
        reduce=partial(_reduce, value=value),
        without=partial(_without, value=value),
        lacks=_no_scores,
        tasks=("segmentation",),
    )


def _precision(bits: tuple[int, ...]) -> Curve:
    return lambda hits, n_truth: average_precision(hits, n_truth, bits)


_AP = "mean over 101 recalls of the best precision at that recall or beyond"
COCO_METRICS: tuple[Metric, ...] = (
    _metric("coco_ap", _precision(tuple(range(10))), "COCO AP", f"mean over t = .50, .55 … .95 of the {_AP}"),
    _metric("coco_ap50", _precision((0,)), "COCO AP at IoU 0.5", f"{_AP}, at IoU 0.5"),
    _metric("coco_ap75", _precision((5,)), "COCO AP at IoU 0.75", f"{_AP}, at IoU 0.75"),
    _metric("coco_ar", average_recall, "COCO AR", "mean over t = .50, .55 … .95 of TP / (TP + FN)"),
)
