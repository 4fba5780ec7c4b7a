"""The kernel: two maps of one image, reduced to the runs in which both stay the same, and to sparse overlaps.

A *run* is a stretch of pixels in raster order over which neither map changes. What any comparison of objects needs
is the area of each and the pixels each pair shares; both are sums over runs, so past one scan of the pixels, in
blocks, time and memory grow with the runs and never with pixels or with objects × objects. All of it is integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BLOCK = 1 << 17
"""Pixels scanned at a time: what is compared stays in cache, and no mask of the whole image is made."""

FEW = 1 << 16
"""Counters that cost less than a sort, whatever the number of runs."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """The objects of two label maps and every pair that shares a pixel.

    Args:
        truth_areas: (G,) pixels of each true object, by ascending id.
        predicted_areas: (P,) the same of the predicted ones.
        truth, predicted: (K,) which objects share pixels, as indices into the areas, by ascending truth, then
            predicted.
        intersection: (K,) how many.
        pixels: pixels of the image.
    """

    truth_areas: Ints
    predicted_areas: Ints
    truth: NDArray[np.intp]
    predicted: NDArray[np.intp]
    intersection: Ints
    pixels: int

    @cached_property
    def union(self) -> Ints:
        """(K,) pixels that belong to either object of a pair."""
        areas: Ints = self.truth_areas[self.truth] + self.predicted_areas[self.predicted]
        return areas - self.intersection

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union of each pair: the float nearest to it."""
        ratio: NDArray[np.float64] = self.intersection / self.union
        return ratio

    @cached_property
    def matched(self) -> NDArray[np.intp]:
        """Which pairs are matched at an IoU of at least 1/2, each object at most once.

        Two pairs of one object can only both reach 1/2 if both have exactly that, and then the others of them touch
        nothing else (docs/metrics.md has the proof): taking the first of each object loses no match at any
        threshold from 1/2 on.
        """
        return self.matched_by(None)

    def matched_by(self, rank: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """The same where, of several exact halves, the predicted object of the lowest rank (P,) is taken."""
        near = np.flatnonzero(2 * self.intersection >= self.union)
        if rank is not None:
            near = near[np.argsort(rank[self.predicted[near]], kind="stable")]
        truth, predicted = self.truth[near], self.predicted[near]
        first: NDArray[np.intp] = near[
            _first(truth, len(self.truth_areas)) & _first(predicted, len(self.predicted_areas))
        ]
        return first

    @cached_property
    def foreground(self) -> Ints:
        """(2, 2) pixels by truth (background, object) and prediction."""
        both, true, predicted = (int(x.sum()) for x in (self.intersection, self.truth_areas, self.predicted_areas))
        return np.array([[self.pixels - true - predicted + both, predicted - both], [true - both, both]], np.int64)


def runs(first: NDArray[Any], second: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any], Ints]]:
    """(values of the first map, values of the second, lengths) of the runs of each block of pixels."""
    a, b = first.reshape(-1), second.reshape(-1)
    changes, other = np.empty(BLOCK, np.bool_), np.empty(BLOCK, np.bool_)
    changes[0] = other[0] = True
    for start in range(0, a.size, BLOCK):
        x, y = a[start : start + BLOCK], b[start : start + BLOCK]
        here, there = changes[: x.size], other[: x.size]
        np.not_equal(x[1:], x[:-1], out=here[1:])
        np.not_equal(y[1:], y[:-1], out=there[1:])
        at = np.flatnonzero(np.logical_or(here, there, out=there))
        yield x[at], y[at], np.diff(at, append=x.size)


def overlap(truth: NDArray[Any], predicted: NDArray[Any]) -> Overlap:
    """The objects of two label maps of one shape (whole numbers, 0 for background) and what they share."""
    found = []
    for true, mine, lengths in runs(truth, predicted):
        inside = (true != 0) | (mine != 0)
        found.append((true[inside], mine[inside], lengths[inside]))
    true, mine, lengths = (np.concatenate(column) for column in zip(*found, strict=True))
    truth_index, truth_areas = _numbered(true, lengths)
    predicted_index, predicted_areas = _numbered(mine, lengths)
    both = np.flatnonzero((truth_index >= 0) & (predicted_index >= 0))
    width = max(len(predicted_areas), 1)
    key = truth_index[both] * width + predicted_index[both]
    cells, shared = _summed(key, lengths[both], len(truth_areas) * width)
    return Overlap(truth_areas, predicted_areas, cells // width, cells % width, shared, truth.size)


def confusion(truth: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> Ints:
    """(C, C) pixels by true and predicted class of two class maps of one shape."""
    counts = np.zeros(n_classes * n_classes)
    for true, mine, lengths in runs(truth, predicted):
        counts += np.bincount(true.astype(np.intp) * n_classes + mine, weights=lengths, minlength=len(counts))
    return counts.astype(np.int64).reshape(n_classes, n_classes)


def number_objects(labels: NDArray[Any]) -> NDArray[np.intp]:
    """The label map with its objects numbered 1, 2, … by ascending id, as `Overlap` counts them."""
    found = []
    for values, _, lengths in runs(labels, labels):
        found.append((values, lengths))
    values, lengths = (np.concatenate(column) for column in zip(*found, strict=True))
    return np.repeat(_numbered(values, lengths)[0] + 1, lengths).reshape(labels.shape)


def _numbered(values: NDArray[Any], lengths: Ints) -> tuple[NDArray[np.intp], Ints]:
    """(each run's object as a number from 0 on, -1 for background; the objects' areas)."""
    values = values.astype(np.intp)
    ids, areas = _summed(values, lengths, int(values.max(initial=0)) + 1)
    background = int(len(ids) > 0 and ids[0] == 0)
    number: NDArray[np.intp]
    if len(ids) and ids[-1] < max(FEW, 4 * len(values)):
        places = np.empty(int(ids[-1]) + 1, np.intp)
        places[ids] = np.arange(len(ids))
        number = places[values]
    else:
        number = np.searchsorted(ids, values)
    return number - background, areas[background:]


def _summed(keys: NDArray[np.intp], weights: Ints, limit: int) -> tuple[NDArray[np.intp], Ints]:
    """(the keys that occur, ascending; the sum of the weights of each); all keys lie below `limit`.

    The sums are of pixels: floats hold them exactly.
    """
    if limit <= max(FEW, 4 * len(keys)):
        counts = np.bincount(keys, weights=weights)
        present = np.flatnonzero(counts)
        return present, counts[present].astype(np.int64)
    present, index = np.unique(keys, return_inverse=True)
    return present, np.bincount(index, weights=weights, minlength=len(present)).astype(np.int64)


def _first(objects: NDArray[np.intp], number: int) -> NDArray[np.bool_]:
    """Where each object stands for the first time."""
    order = np.arange(len(objects))
    place = np.empty(number, np.intp)
    place[objects[::-1]] = order[::-1]  # of several the last assigned, so the first, stays
    first: NDArray[np.bool_] = place[objects] == order
    return first
