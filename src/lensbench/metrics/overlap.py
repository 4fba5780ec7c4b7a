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

BLOCK = 1 << 18
"""Pixels scanned at a time: what is compared stays in cache, and no mask of the whole image is made."""

FEW = 1 << 16
"""Counters that cost less than a sort, whatever the number of runs."""

MANY = 1 << 17
"""Runs that are held before they are summed."""

Cells = tuple[NDArray[Any], NDArray[Any], Ints]
"""Values of the first map, values of the second, pixels."""


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


def runs(first: NDArray[Any], second: NDArray[Any]) -> Iterator[Cells]:
    """(values of the first map, values of the second, lengths) of the runs of each block of pixels."""
    a, b = first.reshape(-1), second.reshape(-1)
    changes, other = np.zeros(BLOCK, np.bool_), np.zeros(BLOCK, np.bool_)
    for start in range(0, a.size, BLOCK):
        x, y = a[start : start + BLOCK], b[start : start + BLOCK]
        changes[x.size :] = other[x.size :] = False
        np.not_equal(x[1:], x[:-1], out=changes[1 : x.size])
        np.not_equal(y[1:], y[:-1], out=other[1 : x.size])
        np.logical_or(changes, other, out=changes)
        changes[0] = True
        at = _where(changes)
        lengths = np.empty_like(at)
        np.subtract(at[1:], at[:-1], out=lengths[:-1])
        lengths[-1] = x.size - at[-1]
        yield x[at], y[at], lengths


def overlap(truth: NDArray[Any], predicted: NDArray[Any]) -> Overlap:
    """The objects of two label maps of one shape (whole numbers, 0 for background) and what they share."""
    true, mine, counts = _table(runs(truth, predicted))
    truth_index, truth_areas = _numbered(true, counts)
    predicted_index, predicted_areas = _numbered(mine, counts)
    both = np.flatnonzero((true != 0) & (mine != 0))
    return Overlap(truth_areas, predicted_areas, truth_index[both], predicted_index[both], counts[both], truth.size)


def confusion(truth: NDArray[Any], predicted: NDArray[Any], n_classes: int) -> Ints:
    """(C, C) pixels by true and predicted class of two class maps of one shape."""
    true, mine, counts = _table(runs(truth, predicted))
    pixels = np.zeros((n_classes, n_classes), np.int64)
    pixels[true.astype(np.intp), mine.astype(np.intp)] = counts
    return pixels


def number_objects(labels: NDArray[Any]) -> NDArray[np.intp]:
    """The label map with its objects numbered 1, 2, … by ascending id, as `Overlap` counts them."""
    values, _, lengths = (np.concatenate(column) for column in zip(*runs(labels, labels), strict=True))
    return np.repeat(_numbered(values, lengths)[0] + 1, lengths).reshape(labels.shape)


def _where(changes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where it is True: words of eight first, for in few of them anything is."""
    words = changes.view(np.uint64)
    some = np.flatnonzero(words != 0)
    bit = np.flatnonzero(words[some].view(np.bool_))
    places: NDArray[np.intp] = some[bit >> 3] * 8 + (bit & 7)
    return places


def _table(blocks: Iterator[Cells]) -> Cells:
    """(value of the first map, of the second, pixels) of every pair of values that occurs, ascending.

    What is held is summed whenever it has doubled: memory goes with the pairs, not with the runs.
    """
    held: list[Cells] = []
    number, most = 0, MANY
    for block in blocks:
        held.append(block)
        number += len(block[2])
        if number > most:
            held = [_summed(held)]
            number = len(held[0][2])
            most = max(MANY, 2 * number)
    return _summed(held)


def _summed(held: list[Cells]) -> Cells:
    first, second, counts = (np.concatenate(column) for column in zip(*held, strict=True))
    width = int(second.max()) + 1
    if (int(first.max()) + 1) * width <= max(FEW, 4 * len(counts)):
        sums = np.bincount(
            first.astype(np.intp) * width + second.astype(np.intp), weights=counts
        )  # of pixels: floats hold them exactly
        keys = np.flatnonzero(sums)
        return keys // width, keys % width, sums[keys].astype(np.int64)
    wide = first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
    pairs, index = np.unique(wide, return_inverse=True)
    sums = np.bincount(index, weights=counts)
    return pairs >> np.uint64(32), pairs & np.uint64(0xFFFF_FFFF), sums.astype(np.int64)


def _numbered(values: NDArray[Any], counts: Ints) -> tuple[NDArray[np.intp], Ints]:
    """(the number of each value's object from 0 on, -1 for background; the objects' areas)."""
    ids, index = np.unique(values, return_inverse=True)
    areas = np.bincount(index, weights=counts).astype(np.int64)
    background = int(ids[0] == 0)
    return index - background, areas[background:]


def _first(objects: NDArray[np.intp], number: int) -> NDArray[np.bool_]:
    """Where each object stands for the first time."""
    order = np.arange(len(objects))
    place = np.empty(number, np.intp)
    place[objects[::-1]] = order[::-1]  # of several the last assigned, so the first, stays
    first: NDArray[np.bool_] = place[objects] == order
    return first
