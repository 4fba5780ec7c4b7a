"""One row per image of what every segmentation metric needs: one decode and one pass of the kernel a pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError
from lensbench.masks.protocol import Scoring
from lensbench.masks.values import ClassMap
from lensbench.metrics.assignment import best_assignment
from lensbench.metrics.base import Rows
from lensbench.metrics.masks import MaskPrediction, MaskTruth, checked_classes, classes, instances, pairs
from lensbench.metrics.overlap import Overlap, confusion, overlap

TWENTIETHS = tuple(range(10, 20))
"""The ten thresholds .50, .55 … .95 in twentieths: compared with pixel counts in integers."""

LIMITS = (32**2, 96**2)
"""COCO's size bins by the true object's area in pixels: small below the first, large from the second on."""

_SHAPES: dict[str, tuple[type, tuple[int, ...]]] = {
    "tp": (np.int64, (len(TWENTIETHS),)),
    "objects": (np.int64, (2,)),
    "sizes": (np.int64, (3, 2)),
    "strict": (np.int64, ()),
    "iou_sum": (np.float64, ()),
    "aji": (np.int64, (2,)),
    "seg": (np.float64, ()),
    "fragments": (np.int64, (2,)),
}


def mask_rows(truth: MaskTruth, prediction: MaskPrediction) -> Rows:
    """What each image adds to the metrics.

    Returns:
        ``confusion`` (n, C, C) int64 pixels by true and predicted class, and ``classes`` (n, C) their names;
        ``image_mean`` (n,) bool whether the protocol averages over images. Where both sides have objects also
        ``objects`` (n, 2) int64 true and predicted ones; ``tp`` (n, 10) int64 matches at .50, .55 … .95; ``sizes``
        (n, 3, 2) int64 true objects matched at .50 and all, by size; ``strict`` (n,) int64 pairs with an IoU above
        1/2 and ``iou_sum`` (n,) float64 their IoU; ``aji`` (n, 2) int64 pixels shared and pixels in all under the
        best assignment; ``seg`` (n,) float64 the IoU of every true object that a predicted one covers by more than
        half; ``fragments`` (n, 2) int64 true objects that are split and predicted ones that merge several.
    """
    objects = truth.instances and prediction.kind != "classmap"
    n_classes = len(truth.classes)
    shapes = {"confusion": (np.int64, (n_classes, n_classes)), **(_SHAPES if objects else {})}
    columns: dict[str, list[Any]] = {name: [] for name in shapes}
    for row in _object_rows(truth, prediction) if objects else _pixel_rows(truth, prediction):
        for name, cell in row.items():
            columns[name].append(cell)
    rows: dict[str, NDArray[Any]] = {
        name: np.array(cells, shapes[name][0]).reshape(len(truth), *shapes[name][1]) for name, cells in columns.items()
    }
    rows["classes"] = np.array([truth.classes] * len(truth), dtype=np.str_).reshape(len(truth), n_classes)
    rows["image_mean"] = np.full(len(truth), truth.scoring.pooling == "image-mean")
    return rows


def scored(scoring: Scoring, labels: NDArray[Any], *, predicted: bool = False) -> NDArray[Any]:
    """The label map as the protocol compares it; without work where it changes nothing."""
    if scoring.min_size <= 1 and (scoring.dilation == 1 or not predicted):
        return labels
    return scoring.prediction(labels) if predicted else scoring.truth(labels)


def object_row(found: Overlap, scoring: Scoring) -> dict[str, Any]:
    """The columns of one image that are about its objects."""
    pairs, shared, union = found.matched, found.intersection, found.union
    matches = [scoring.matches(shared[pairs], union[pairs], k) for k in TWENTIETHS]
    size = np.searchsorted(LIMITS, found.truth_areas, side="right")
    hit = size[found.truth[pairs[matches[0]]]]
    strict = np.flatnonzero(2 * shared > union)
    covered = np.flatnonzero(2 * shared > found.truth_areas[found.truth])
    joint = int(shared[best_assignment(found)].sum())
    areas = int(found.truth_areas.sum() + found.predicted_areas.sum())
    near = 10 * shared > union
    return {
        "tp": [np.count_nonzero(match) for match in matches],
        "objects": (len(found.truth_areas), len(found.predicted_areas)),
        "sizes": np.stack([np.bincount(hit, minlength=3), np.bincount(size, minlength=3)], axis=1),
        "strict": len(strict),
        "iou_sum": math.fsum(found.iou[strict].tolist()),  # rounded once: the order of objects changes no bit
        "aji": (joint, areas - joint),
        "seg": math.fsum(found.iou[covered].tolist()),
        "fragments": (_several(found.truth[near]), _several(found.predicted[near])),
    }


def _several(objects: NDArray[np.intp]) -> int:
    """How many objects come more than once."""
    return int(np.count_nonzero(np.bincount(objects) > 1))


def class_maps(truth: MaskTruth, prediction: MaskPrediction) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(true, predicted) class of every pixel, image by image; instances are the foreground that the protocol leaves."""
    n_classes = len(truth.classes)
    for where, true, value in pairs(truth, prediction):
        if not truth.instances:
            checked = checked_classes(true, n_classes, f"the truth of {where}", BenchmarkError)
            yield checked.astype(np.uint8, copy=False), classes(value, where, n_classes)
            continue
        if isinstance(value, ClassMap):  # without objects that could be widened or too small
            mine = value.pixels
        else:
            mine = scored(truth.scoring, instances(value, where), predicted=True)
        yield (scored(truth.scoring, true) != 0).view(np.uint8), (mine != 0).view(np.uint8)


def _object_rows(truth: MaskTruth, prediction: MaskPrediction) -> Iterator[dict[str, Any]]:
    for where, true, value in pairs(truth, prediction):
        scoring = truth.scoring
        found = overlap(scored(scoring, true), scored(scoring, instances(value, where), predicted=True))
        yield object_row(found, scoring) | {"confusion": found.foreground}


def _pixel_rows(truth: MaskTruth, prediction: MaskPrediction) -> Iterator[dict[str, Any]]:
    for true, mine in class_maps(truth, prediction):
        yield {"confusion": confusion(true, mine, len(truth.classes))}
