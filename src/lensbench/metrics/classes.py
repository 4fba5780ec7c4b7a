"""What a board shows beside the headline numbers: each class on its own, and which classes are taken for
which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensbench.metrics.base import Rows, Truth
from lensbench.metrics.classification import (
    class_f1,
    class_precision,
    class_recall,
    confusion_sums,
    expected_confusion,
)
from lensbench.stats import wilson


@dataclass(frozen=True)
class ClassScore:
    """One class: ``support`` and (expected) ``predicted`` samples, and its scores in [0, 1].

    ``recall``, ``f1`` and the ends of recall's Wilson 95 % interval are None without support; ``precision``
    is 0 for a class with support that is never predicted, and None for one with neither. Wilson's interval
    takes the samples as independent; where they come in clusters it is too narrow.
    """

    name: str
    support: int
    predicted: float
    precision: float | None
    recall: float | None
    f1: float | None
    low: float | None
    high: float | None


def per_class(rows: Rows, classes: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Every class in order, from the rows of `lensbench.metrics.ranking_rows`."""
    sums = confusion_sums(rows, np.zeros(len(rows["label"]), dtype=np.intp), 1)[0]
    precision, recall, f1 = class_precision(sums), class_recall(sums), class_f1(sums)
    scores = []
    for c, name in enumerate(classes):
        hits, support, predicted = float(sums[0, c]), int(sums[1, c]), float(sums[2, c])
        if support:
            low, high = wilson(hits, support)
            score = ClassScore(name, support, predicted, float(precision[c]), float(recall[c]), float(f1[c]), low, high)
        else:
            score = ClassScore(name, 0, predicted, 0.0 if predicted else None, None, None, None, None)
        scores.append(score)
    return tuple(scores)


def confusion(rows: Rows) -> list[tuple[int, int, float]]:
    """(true class, predicted class, expected count) of every pair that occurs, in that order.

    A sample without a prediction is in no pair: a class's counts then sum to less than its support.
    """
    sample, predicted, share = expected_confusion(rows)
    true = rows["label"][sample].astype(np.intp)
    width = int(predicted.max()) + 1 if len(predicted) else 1
    cells, index = np.unique(true * width + predicted, return_inverse=True)
    counts = np.bincount(index, weights=share, minlength=len(cells))
    return [(int(cell) // width, int(cell) % width, float(n)) for cell, n in zip(cells, counts, strict=True)]


def unsupported(truth: Truth) -> tuple[str, ...]:
    """The classes without a sample in the evaluated split: no macro mean includes them."""
    return tuple(name for name, support in zip(truth.classes, truth.support, strict=True) if not support)
