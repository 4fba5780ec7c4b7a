"""The best one-to-one assignment of true to predicted objects over sparse overlaps, for AJI+.

Best is the largest sum of IoU; of sums equal to about nine digits, the one that shares the most pixels, so that no
numbering of the objects decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.overlap import Overlap

Indices = NDArray[np.intp]
TIE = 2.0**-30


def best_assignment(found: Overlap) -> Indices:
    """The pairs of the best assignment, as indices into those of `found`."""
    weight = found.iou + TIE * found.intersection / found.intersection.max(initial=1)
    left, taken = np.arange(len(weight)), []
    while len(left):
        truth, predicted = found.truth[left], found.predicted[left]
        dominant = weight[left] > _other(truth, weight[left]) + _other(predicted, weight[left])
        if not dominant.any():
            taken.append(_by_component(truth, predicted, weight[left], left))
            break
        taken.append(left[dominant])
        free = ~np.isin(truth, truth[dominant]) & ~np.isin(predicted, predicted[dominant])
        left = left[free]
    return np.sort(np.concatenate([*taken, left[:0]]))


def _other(objects: Indices, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each pair the largest weight among the other pairs of its object; 0 without any.

    A pair heavier than the best other of its true and the best other of its predicted object together is in every
    best assignment: to swap it for those two would lose.
    """
    number = int(objects.max()) + 1
    order = np.argsort(weight, kind="stable")
    best = np.zeros(number, np.intp)
    best[objects[order]] = order  # of several the last assigned, so the heaviest, stays
    rest = np.ones(len(weight), np.bool_)
    rest[best[objects]] = False
    second = np.zeros(number)
    np.maximum.at(second, objects[rest], weight[rest])
    return np.where(rest, weight[best[objects]], second[objects])


def _by_component(truth: Indices, predicted: Indices, weight: NDArray[np.float64], pairs: Indices) -> Indices:
    """The assignment of pairs that compete, each connected group of them by itself."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, row = np.unique(truth, return_inverse=True)
    columns, column = np.unique(predicted, return_inverse=True)
    size = len(rows) + len(columns)
    graph = coo_array((np.ones(len(pairs)), (row, len(rows) + column)), shape=(size, size))
    component = connected_components(graph, directed=False)[1][row]
    order = np.argsort(component, kind="stable")
    taken = []
    for group in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        own_rows, i = np.unique(row[group], return_inverse=True)
        own_columns, j = np.unique(column[group], return_inverse=True)
        value = np.zeros((len(own_rows), len(own_columns)))
        which = np.full(value.shape, -1)
        value[i, j], which[i, j] = weight[group], group
        chosen = which[linear_sum_assignment(value, maximize=True)]
        taken.append(chosen[chosen >= 0])
    found: Indices = pairs[np.concatenate(taken)]
    return found
