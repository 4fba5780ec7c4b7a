"""Metrics of the probabilities themselves: negative log-likelihood, Brier score, expected calibration error.

Logits become probabilities by a softmax in float64 with the row's maximum taken off first; given
probabilities are divided by their row's sum in float64, so that a file rounded to four digits is not punished
for its rounding. The log is natural, and the probability of the true class is taken as at least the smallest
positive normal float32, 1.18e-38 (a loss of at most 87.34): the same model scores the same whether it exports
logits or float32 probabilities.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.base import Additive, FloatArray, Metric, Prediction, Rows, Truth, check_aligned
from lensbench.metrics.classification import BLOCK, mean_of

ECE_BINS = 15
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)


def probability_rows(truth: Truth, prediction: Prediction) -> Rows:
    """What each sample's probabilities are worth, each value computed from its own row alone.

    Returns:
        (n,) float64 each: ``nll`` in [0, 87.34]; ``brier`` in [0, 2]; ``confidence`` the highest probability;
        ``hit`` the chance that the true class ranks first (1/m if m classes share the highest float32 score).
    """
    check_aligned(truth, prediction)
    assert prediction.scores is not None
    n = len(truth)
    rows = {name: np.empty(n) for name in ("nll", "brier", "confidence", "hit")}
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        scores, label = prediction.scores[part], truth.label[part, None]
        p, log_p = (_from_logits if prediction.kind == "logits" else _from_probabilities)(scores, label)
        rows["nll"][part] = -np.maximum(log_p, np.log(LEAST_PROBABILITY))
        rows["confidence"][part] = p.max(axis=1)
        best = scores == scores.max(axis=1, keepdims=True)
        share = np.take_along_axis(best, label, axis=1)[:, 0] / np.count_nonzero(best, axis=1)
        rows["hit"][part] = share
        np.put_along_axis(p, label, np.take_along_axis(p, label, axis=1) - 1, axis=1)
        rows["brier"][part] = np.square(p, out=p).sum(axis=1)
    return rows


def probabilities(prediction: Prediction) -> FloatArray:
    """(n, C) float64 of scores: the softmax of logits, probabilities divided by their sum."""
    assert prediction.scores is not None
    any_class = np.zeros((len(prediction), 1), np.int32)
    return (_from_logits if prediction.kind == "logits" else _from_probabilities)(prediction.scores, any_class)[0]


def _from_logits(scores: NDArray[np.float32], label: NDArray[np.int32]) -> tuple[FloatArray, FloatArray]:
    z = scores.astype(np.float64, order="C")
    z -= z.max(axis=1, keepdims=True)
    true = np.take_along_axis(z, label, axis=1)[:, 0]
    p = np.exp(z, out=z)
    total = p.sum(axis=1)
    p /= total[:, None]
    return p, true - np.log(total)


def _from_probabilities(scores: NDArray[np.float32], label: NDArray[np.int32]) -> tuple[FloatArray, FloatArray]:
    p = scores.astype(np.float64, order="C")
    p /= p.sum(axis=1, keepdims=True)
    true = np.take_along_axis(p, label, axis=1)[:, 0]
    return p, np.log(np.maximum(true, LEAST_PROBABILITY))


def _ece_sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    """(G, bins + 1): hits minus confidence in each bin, then the number of samples."""
    # Bin m holds confidences in ((m-1)/15, m/15], as Guo et al. draw them.
    index = np.clip(np.ceil(rows["confidence"] * ECE_BINS).astype(np.intp) - 1, 0, ECE_BINS - 1)
    gap = np.bincount(
        group * ECE_BINS + index, weights=rows["hit"] - rows["confidence"], minlength=n_groups * ECE_BINS
    ).reshape(n_groups, ECE_BINS)
    return np.concatenate([gap, np.bincount(group, minlength=n_groups)[:, None]], axis=1)


def _ece_value(sums: FloatArray) -> FloatArray:
    # sum_m n_m / n * |accuracy_m - confidence_m|: the bin's own count cancels.
    total, n = np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1]
    # The gaps of a bin cancel to within rounding, which could carry the value past 1.
    value: FloatArray = np.minimum(np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0), 1.0)
    return value


def _no_scores(truth: Truth, prediction: Prediction) -> str | None:
    return "needs scores" if prediction.scores is None else None


_lower = partial(Metric, version=1, direction="lower", per_sample=probability_rows, lacks=_no_scores)
_NLL = mean_of(lambda rows: rows["nll"])
_BRIER = mean_of(lambda rows: rows["brier"])
_ECE = Additive(_ece_sums, _ece_value)

CALIBRATION_METRICS: tuple[Metric, ...] = (
    _lower(
        id="nll",
        scale="positive",
        title="Negative log-likelihood",
        formula="mean of -ln p(true class), p at least 1.18e-38",
        source="Good, Journal of the Royal Statistical Society B 14:107-114 (1952)",
        reduce=_NLL.reduce,
        additive=_NLL,
    ),
    _lower(
        id="brier",
        scale="positive",
        title="Brier score",
        formula="mean over samples of the sum over classes of (p - [class is true])^2, in 0..2",
        source="Brier, Monthly Weather Review 78:1-3 (1950)",
        reduce=_BRIER.reduce,
        additive=_BRIER,
    ),
    _lower(
        id="ece",
        scale="unit",
        title="Expected calibration error",
        formula="sum over 15 equal-width bins of confidence of n_bin / n * |accuracy - mean confidence|",
        source="Naeini et al., AAAI 2015; Guo et al., ICML 2017",
        reduce=_ECE.reduce,
        additive=_ECE,
    ),
)
