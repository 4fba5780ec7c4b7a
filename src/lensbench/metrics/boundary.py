"""Boundary IoU of matched objects: how well outlines agree, where the insides would hide it.

It costs several times what all other mask metrics cost together, so it has rows of its own, made only when asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.base import FloatArray, Rows
from lensbench.metrics.instances import mask_metric, quotient
from lensbench.metrics.maskrows import scored
from lensbench.metrics.masks import MaskPrediction, MaskTruth, instances, pairs
from lensbench.metrics.overlap import number_objects, overlap

WIDTH = 2
"""Pixels from the outline that count as boundary. The paper's 2 % of the diagonal (31 pixels of a 1104 × 1104 image)
would take a nucleus whole."""


def boundary_rows(truth: MaskTruth, prediction: MaskPrediction) -> Rows:
    """``boundary`` (n, 2) float64 the summed boundary IoU of the pairs matched at IoU .50, and their number;
    ``confusion`` and ``image_mean`` as of `mask_rows`."""
    sums = np.zeros((len(truth), 2))
    pixels = np.zeros((len(truth), 2, 2), np.int64)
    for row, (where, true, value) in enumerate(pairs(truth, prediction)):
        scoring = truth.scoring
        ours, theirs = scored(scoring, true), scored(scoring, instances(value, where), predicted=True)
        whole = overlap(ours, theirs)
        pixels[row] = whole.foreground
        at = whole.matched[scoring.matches(whole.intersection[whole.matched], whole.union[whole.matched], 10)]
        bands = overlap(band(ours), band(theirs))  # every object has a boundary: the numbers of both agree
        width = max(len(whole.predicted_areas), 1)
        shared = np.zeros(len(at), np.int64)
        keys = bands.truth * width + bands.predicted
        wanted = whole.truth[at] * width + whole.predicted[at]
        place = np.searchsorted(keys, wanted)
        there = np.flatnonzero(np.append(keys, -1)[place] == wanted)
        shared[there] = bands.intersection[place[there]]
        areas = bands.truth_areas[whole.truth[at]] + bands.predicted_areas[whole.predicted[at]]
        sums[row] = math.fsum((shared / (areas - shared)).tolist()), len(at)
    return {
        "boundary": sums,
        "confusion": pixels,
        "image_mean": np.full(len(truth), truth.scoring.pooling == "image-mean"),
    }


def band(labels: NDArray[Any]) -> NDArray[np.float32]:
    """The pixels of each object within `WIDTH` of another object, of background or of the image's edge; else 0.

    Within: in the square of side 2 · `WIDTH` + 1. Objects are numbered 1, 2, … by ascending id.
    """
    import cv2

    numbers = number_objects(labels).astype(np.float32)  # exact to 16,777,216 objects
    square = np.ones((2 * WIDTH + 1, 2 * WIDTH + 1), np.uint8)
    least = cv2.erode(numbers, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    most = cv2.dilate(numbers, square)
    numbers[least == most] = 0
    return numbers


def _parts(rows: Rows) -> FloatArray:
    return np.asarray(rows["boundary"])


BOUNDARY_IOU = replace(
    mask_metric(
        "boundary_iou",
        quotient(_parts, empty=False),
        "Boundary IoU of matched objects",
        f"mean over pairs matched at IoU 0.5 of the IoU of their pixels within {WIDTH} of the outline",
        "Cheng et al., CVPR 2021, its distance 2 % of the diagonal",
    ),
    per_sample=boundary_rows,
)
