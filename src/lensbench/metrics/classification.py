"""Classification metrics that depend on which classes rank first: top-k, precision, recall, F1.

Ties. Every value is its expectation when tied classes are put in random order. With k places, g classes
scored higher than the true one and t classes scored the same (itself included), a sample is a hit with
probability clip((k - g) / t, 0, 1). In the confusion counts a sample whose best score is shared by m classes
counts 1/m for each.

Averages. Macro means run over the classes with support in the evaluated samples; the others are left out (and
named by `lensbench.metrics.unsupported`), but a sample predicted as one of them is still an error of its true
class. A class that is never predicted has precision 0, and so F1 0 (scikit-learn's ``zero_division=0``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.base import (
    Additive,
    FloatArray,
    Metric,
    Prediction,
    Rows,
    Truth,
    check_aligned,
    subset,
)

IntArray = NDArray[np.int32]

BLOCK = 2048
"""Rows worked on at a time, so that temporary arrays stay in cache; no value depends on it."""

ABSENT = np.int32(np.iinfo(np.int32).max)
"""The rank of a true class that is not among the classes given: a miss for every k."""

SUPPORT_BINS: tuple[tuple[str, int, float], ...] = (
    ("support<=50", 1, 50),
    ("support51-200", 51, 200),
    ("support201-800", 201, 800),
    ("support>800", 801, np.inf),
)

_ILSVRC = "Russakovsky et al., IJCV 115:211-252 (2015); ties: McSherry and Najork, ECIR 2008"
_AVERAGES = "Sokolova and Lapalme, Information Processing and Management 45:427-437 (2009)"
_MACRO_F1 = "Opitz and Burst, arXiv:1911.03347 (2019), the mean of F1 scores"
_PANAIOTIS = "Panaïotis et al., Earth System Science Data 18:945 (2026)"


def ranking_rows(truth: Truth, prediction: Prediction) -> Rows:
    """Where the true class of each sample ranks, and which classes rank first.

    Returns:
        ``label`` (n,) int32 the true class; ``greater`` (n,) int32 classes ranked above it, `ABSENT` where
        the classes given do not hold it; ``tied`` (n,) int32 classes scored like it, itself included; ``hit``
        (n,) float64 the chance that it ranks first; ``best`` (n, ceil(C/8)) uint8 the classes sharing the
        first place, as packed bits, none set where nothing was predicted; ``support`` (n,) int64 its class's
        support in the whole split; and, if the dataset says so, ``plankton`` (n,) bool whether its class is
        plankton.
    """
    check_aligned(truth, prediction)
    label = truth.label
    if prediction.scores is not None:
        greater, tied = _rank_in_scores(prediction.scores, label)
    else:
        assert prediction.top is not None
        greater, tied = _rank_in_top(prediction.top, label)
    rows = {
        "label": label,
        "greater": greater,
        "tied": tied,
        "hit": np.where(greater == 0, 1.0 / tied, 0.0),
        "best": _first_places(prediction, len(truth.classes)),
        "support": truth.support[label],
    }
    if truth.info is not None and truth.info.plankton is not None:
        rows["plankton"] = np.array(truth.info.plankton, dtype=bool)[label]
    return rows


def _rank_in_scores(scores: NDArray[np.float32], label: IntArray) -> tuple[IntArray, IntArray]:
    greater, tied = np.empty(len(label), dtype=np.int32), np.empty(len(label), dtype=np.int32)
    for start in range(0, len(label), BLOCK):
        part = slice(start, start + BLOCK)
        block = scores[part]
        true = np.take_along_axis(block, label[part, None], axis=1)
        greater[part] = np.count_nonzero(block > true, axis=1)
        tied[part] = np.count_nonzero(block == true, axis=1)
    return greater, tied


def _rank_in_top(top: IntArray, label: IntArray) -> tuple[IntArray, IntArray]:
    found = top == label[:, None]
    greater = np.where(found.any(axis=1), found.argmax(axis=1).astype(np.int32), ABSENT)
    return greater, np.ones(len(label), dtype=np.int32)


def _first_places(prediction: Prediction, n_classes: int) -> NDArray[np.uint8]:
    """(n, ceil(C/8)) packed bits: the classes that share each sample's first place."""
    best = np.zeros((len(prediction), (n_classes + 7) // 8), dtype=np.uint8)
    if prediction.scores is not None:
        for start in range(0, len(best), BLOCK):
            block = prediction.scores[start : start + BLOCK]
            best[start : start + BLOCK] = np.packbits(block == block.max(axis=1, keepdims=True), axis=1)
    elif prediction.top is not None:
        given = np.flatnonzero(prediction.top[:, 0] >= 0)
        first = prediction.top[given, 0]
        best[given, first // 8] = 128 >> (first % 8)
    return best


def _unpacked(best: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(sample, class) of each bit set. Almost every byte is 0, so only the others are unpacked."""
    sample, byte = np.nonzero(best)
    which, bit = np.nonzero(np.unpackbits(best[sample, byte][:, None], axis=1))
    return sample[which], byte[which] * 8 + bit


def coarse_rows(truth: Truth, prediction: Prediction) -> Rows:
    """The same for the coarse taxa of the true and of the predicted class (not for summed probabilities).

    Mapping the predicted class is what Panaïotis et al. do, and it needs no probabilities.

    Returns:
        ``label`` (n,) int32 the true taxon, as an index into the sorted taxa; ``votes`` (n, T) uint16 how
        many of the classes sharing the first place belong to each taxon; ``hit`` (n,) float64 the share of
        the true one.
    """
    check_aligned(truth, prediction)
    assert truth.info is not None and truth.info.taxon is not None
    taxa = {name: index for index, name in enumerate(sorted(set(truth.info.taxon)))}
    taxon = np.array([taxa[name] for name in truth.info.taxon], dtype=np.int32)
    sample, predicted = _unpacked(_first_places(prediction, len(truth.classes)))
    shape = (len(truth), len(taxa))
    votes = np.bincount(sample * len(taxa) + taxon[predicted], minlength=shape[0] * shape[1]).reshape(shape)
    label = taxon[truth.label]
    mine = np.take_along_axis(votes, label[:, None], axis=1)[:, 0]
    return {"label": label, "votes": votes.astype(np.uint16), "hit": mine / np.maximum(votes.sum(axis=1), 1)}


def expected_confusion(rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """(sample, predicted class, share) of each class in a first place; a sample's shares sum to 1."""
    if "votes" in rows:
        sample, predicted = np.nonzero(rows["votes"])
        votes = rows["votes"][sample, predicted].astype(np.float64)
    else:
        sample, predicted = _unpacked(rows["best"])
        votes = np.ones(len(sample))
    return sample, predicted, votes / np.bincount(sample, weights=votes)[sample]


def mean_of(column: Callable[[Rows], FloatArray]) -> Additive:
    """The mean of a number each sample has."""

    def sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
        x = column(rows)
        totals = np.bincount(group, weights=x, minlength=n_groups)
        return np.stack([totals, np.bincount(group, minlength=n_groups)], axis=-1)

    return Additive(sums, lambda sums: _ratio(sums[..., 0], sums[..., 1], otherwise=np.nan))


def recall_sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    """(G, 2, classes): expected hits and support of each class."""
    label = rows["label"]
    n_classes = int(label.max()) + 1 if len(label) else 1
    cell, shape = group * n_classes + label, (n_groups, n_classes)
    hits = np.bincount(cell, weights=rows["hit"], minlength=n_groups * n_classes).reshape(shape)
    return np.stack([hits, np.bincount(cell, minlength=n_groups * n_classes).reshape(shape)], axis=1)


def confusion_sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    """(G, 3, classes): expected hits, support and expected predictions of each class."""
    sample, predicted, share = expected_confusion(rows)
    n_classes = rows["votes"].shape[1] if "votes" in rows else rows["best"].shape[1] * 8
    cell = group[sample] * n_classes + predicted
    counts = np.bincount(cell, weights=share, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    sums = np.zeros((n_groups, 3, n_classes))
    per_true = recall_sums(rows, group, n_groups)
    sums[:, :2, : per_true.shape[2]] = per_true
    sums[:, 2] = counts
    return sums


def _ratio(a: FloatArray, b: FloatArray, *, otherwise: float) -> FloatArray:
    ratio: FloatArray = np.divide(a, b, out=np.full(np.shape(a), otherwise), where=b > 0)
    return ratio


def class_recall(sums: FloatArray) -> FloatArray:
    """Hits / support of each class; 0 without support."""
    return _ratio(sums[..., 0, :], sums[..., 1, :], otherwise=0.0)


def class_precision(sums: FloatArray) -> FloatArray:
    """Hits / predictions of each class; 0 where it is never predicted."""
    return _ratio(sums[..., 0, :], sums[..., 2, :], otherwise=0.0)


def class_f1(sums: FloatArray) -> FloatArray:
    """2 hits / (support + predictions) of each class; 0 where both are 0."""
    return _ratio(2 * sums[..., 0, :], sums[..., 1, :] + sums[..., 2, :], otherwise=0.0)


def _macro(per_class: Callable[[FloatArray], FloatArray], sums: FloatArray) -> FloatArray:
    supported = sums[..., 1, :] > 0
    total = np.sum(per_class(sums), axis=-1, where=supported)
    return _ratio(total, supported.sum(axis=-1).astype(np.float64), otherwise=np.nan)


def _weighted(per_class: Callable[[FloatArray], FloatArray], sums: FloatArray) -> FloatArray:
    support = sums[..., 1, :]
    total: FloatArray = np.sum(per_class(sums) * support, axis=-1)
    return _ratio(total, support.sum(axis=-1), otherwise=np.nan)


def _top_hit(rows: Rows, k: int) -> FloatArray:
    chance: FloatArray = np.clip((k - rows["greater"]) / rows["tied"], 0.0, 1.0)
    return chance


def _too_few_places(truth: Truth, prediction: Prediction, k: int) -> str | None:
    if prediction.top is None or prediction.top.shape[1] >= min(k, len(truth.classes)):
        return None
    return f"needs scores or the {k} best classes, the predictions give {prediction.top.shape[1]}"


def _no_plankton(truth: Truth, prediction: Prediction) -> str | None:
    known = truth.info is not None and truth.info.plankton is not None
    return None if known else "needs the dataset to say which classes are plankton"


def _no_taxon(truth: Truth, prediction: Prediction) -> str | None:
    known = truth.info is not None and truth.info.taxon is not None
    return None if known else "needs the dataset to give each class a coarse taxon"


def _metric(metric_id: str, additive: Additive, title: str, formula: str, source: str) -> Metric:
    return Metric(
        id=metric_id,
        version=1,
        direction="higher",
        scale="unit",
        title=title,
        formula=formula,
        source=source,
        per_sample=ranking_rows,
        reduce=additive.reduce,
        additive=additive,
    )


def _top(k: int) -> Metric:
    formula = f"mean of clip(({k} - classes scored higher) / classes tied with the true one, 0, 1)"
    metric = _metric(f"top{k}", mean_of(partial(_top_hit, k=k)), f"Top-{k} accuracy", formula, _ILSVRC)
    return replace(metric, lacks=partial(_too_few_places, k=k))


def _averaged() -> list[Metric]:
    formulas = {
        "recall": (class_recall, "hits / support"),
        "precision": (class_precision, "hits / predictions (0 if never predicted)"),
        "f1": (class_f1, "2 hits / (support + predictions)"),
    }
    metrics = []
    for name, (per_class, formula) in formulas.items():
        sums = recall_sums if name == "recall" else confusion_sums
        title = "F1" if name == "f1" else name
        source = _MACRO_F1 if name == "f1" else _AVERAGES
        macro = Additive(sums, partial(_macro, per_class))
        weighted = Additive(sums, partial(_weighted, per_class))
        over = f"mean over classes with support of {formula}"
        metrics += [
            _metric(f"macro_{name}", macro, f"Macro {title}", over, source),
            _metric(f"weighted_{name}", weighted, f"Weighted {title}", f"{over}, weighted by support", source),
        ]
    return metrics


def _coarse(metric: Metric) -> Metric:
    return replace(
        metric,
        id=f"{metric.id}@coarse",
        title=f"{metric.title}, coarse taxa",
        formula=f"{metric.formula}; over the coarse taxa of the true and of the predicted class",
        source=_PANAIOTIS,
        per_sample=coarse_rows,
        lacks=_no_taxon,
    )


def _is_plankton(rows: Rows) -> NDArray[np.bool_]:
    return rows["plankton"]


def _has_support(rows: Rows, least: int, most: float) -> NDArray[np.bool_]:
    return (rows["support"] >= least) & (rows["support"] <= most)


def _all() -> tuple[Metric, ...]:
    accuracy = _metric(
        "top1",
        mean_of(lambda rows: rows["hit"]),
        "Top-1 accuracy",
        "mean of 1 / classes tied first, if true",
        _ILSVRC,
    )
    averaged = {metric.id: metric for metric in _averaged()}
    recall = averaged["macro_recall"]
    balanced = replace(
        recall,
        id="balanced_accuracy",
        title="Balanced accuracy",
        formula=f"macro_recall under its other name: {recall.formula}",
        source="Brodersen et al., ICPR 2010",
    )
    bins = [
        subset(
            recall,
            f"macro_recall@{name}",
            partial(_has_support, least=least, most=most),
            title=f"Macro recall, classes with {name.removeprefix('support')} evaluated samples",
            source="support bins as LifeWatch reports its classifier",
        )
        for name, least, most in SUPPORT_BINS
    ]
    plankton = [
        subset(
            metric,
            f"{metric.id}@plankton",
            _is_plankton,
            title=f"{metric.title}, true class is plankton",
            source=_PANAIOTIS,
            lacks=_no_plankton,
        )
        for metric in (accuracy, recall)
    ]
    coarse = [_coarse(metric) for metric in (accuracy, recall, averaged["macro_f1"])]
    return (accuracy, _top(3), _top(5), *averaged.values(), balanced, *bins, *plankton, *coarse)


RANKING_METRICS: tuple[Metric, ...] = _all()
