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
            taken.append(_competing(truth, predicted, weight[left], left))
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


def _competing(truth: Indices, predicted: Indices, weight: NDArray[np.float64], pairs: Indices) -> Indices:
    """The assignment of pairs that compete, sparse: a map of stripes or noise has thousands in one tangle.

    Every true object may also stay alone, by an edge of weight 0 to a partner of its own, so that a full matching
    of least cost exists; what is added to make costs positive is the same for every full matching.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row, column = (np.unique(side, return_inverse=True)[1] for side in (truth, predicted))
    number, width = int(row.max()) + 1, int(column.max()) + 1
    alone = np.arange(number)
    most = float(weight.max()) + 1
    cost = np.concatenate([most - weight, np.full(number, most)])
    rows, columns = np.concatenate([row, alone]), np.concatenate([column, width + alone])
    graph = csr_array((cost, (rows, columns)), shape=(number, width + number))
    _, chosen = min_weight_full_bipartite_matching(graph)
    found: Indices = pairs[chosen[row] == column]
    return found
