"""The conformance suite every metric passes, ours and third parties', as scikit-learn has for estimators.

    from lensbench.metrics.conformance import check_metric
    check_metric(my_metric, oracle=my_slow_reference)

`check_metric` draws its own inputs and runs every check; `check_metric_on` runs those that hold for any input
on one you bring. A failure is a `MetricCheckError`, which names the metric, the check and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lensbench.masks.values import ClassMap, LabelMap, Masks, Value, to_masks
from lensbench.metrics.base import (
    ClassInfo,
    Metric,
    Prediction,
    Rows,
    Truth,
    concatenated,
    filtered,
    leave_one_out,
    leave_one_out_by_rows,
    n_rows,
)
from lensbench.metrics.masks import MaskPrediction, MaskTruth

TOLERANCE = 1e-9
"""Largest difference, relative above 1 and absolute below, between two ways of computing the same value."""

_BOUNDS = {"unit": (0.0, 1.0), "positive": (0.0, math.inf), "real": (-math.inf, math.inf)}


class MetricCheckError(AssertionError):
    """A metric does not keep what its declaration promises."""


class Samples(Protocol):
    """Truth or prediction of some samples, of which a part can be taken."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.intp], /) -> Self: ...  # noqa: D102  # said by the class


Oracle = Callable[[Any, Any], float | None]


@dataclass(frozen=True)
class Maker:
    """Where the suite's inputs come from.

    Args:
        draw: (generator, n) -> truth and prediction of n samples, as awkward as the format allows.
        one_class: the same with a single true class.
        right, wrong: truth -> the best and the worst prediction there is.
        sizes: numbers of samples to draw.
    """

    draw: Callable[[np.random.Generator, int], tuple[Any, Any]]
    one_class: Callable[[np.random.Generator, int], tuple[Any, Any]]
    right: Callable[[Any], Any]
    wrong: Callable[[Any], Any]
    sizes: tuple[int, ...] = (1, 2, 3, 20, 300, 1800)


def draw_classification(rng: np.random.Generator, n: int) -> tuple[Truth, Prediction]:
    """Classes without samples, all four kinds of prediction, ties, -inf and missing answers."""
    n_classes = int(rng.integers(2, 12))
    weights = rng.dirichlet(np.full(n_classes, 0.5))
    label = rng.choice(n_classes, size=n, p=weights).astype(np.int32)
    return _truth(label, n_classes), _draw_prediction(rng, label, n_classes)


def draw_one_class(rng: np.random.Generator, n: int) -> tuple[Truth, Prediction]:
    """As `draw_classification`, with one true class among several."""
    n_classes = int(rng.integers(2, 12))
    label = np.full(n, rng.integers(n_classes), dtype=np.int32)
    return _truth(label, n_classes), _draw_prediction(rng, label, n_classes)


def _truth(label: NDArray[np.int32], n_classes: int) -> Truth:
    names = tuple(f"class {c}" for c in range(n_classes))
    taxon = tuple(f"taxon {c % 3}" for c in range(n_classes))
    return Truth(label, names, ClassInfo(names, taxon, tuple(c % 4 != 1 for c in range(n_classes))))


def _draw_prediction(rng: np.random.Generator, label: NDArray[np.int32], n_classes: int) -> Prediction:
    n = len(label)
    kind = rng.choice(["logits", "logits", "probabilities", "labels", "topk"])
    if kind == "logits":
        scores = rng.normal(size=(n, n_classes)) * 3
        scores[np.arange(n), label] += 2
        if rng.random() < 0.5:
            scores = np.round(scores)  # ties
            scores[:, :-1][rng.random((n, n_classes - 1)) < 0.1] = -np.inf
        return Prediction(scores.astype(np.float32), "logits")
    if kind == "probabilities":
        counts = rng.integers(0, 4, size=(n, n_classes)) + np.eye(n_classes, dtype=int)[label]
        return Prediction((counts / counts.sum(axis=1, keepdims=True)).astype(np.float32), "probabilities")
    order = rng.permuted(np.tile(np.arange(n_classes, dtype=np.int32), (n, 1)), axis=1)
    easy = rng.random(n) < 0.6
    order[easy, 0] = label[easy]
    order[rng.random((n, n_classes)) < 0.05] = -1
    if kind == "labels":
        return Prediction(None, "labels", order[:, :1])
    return Prediction(None, "topk", order[:, : int(rng.integers(1, n_classes + 1))])


def _certain(truth: Truth, shift: int) -> Prediction:
    n_classes = len(truth.classes)
    return Prediction(np.eye(n_classes, dtype=np.float32)[(truth.label + shift) % n_classes], "probabilities")


CLASSIFICATION = Maker(
    draw=draw_classification,
    one_class=draw_one_class,
    right=lambda truth: _certain(truth, 0),
    wrong=lambda truth: _certain(truth, 1),
)


def draw_masks(rng: np.random.Generator, n: int) -> tuple[MaskTruth, MaskPrediction]:
    """Instances or classes in maps of several sizes, the first of which has an object and background; every kind of
    answer, objects shifted, cut, joined and numbered with gaps, images without any."""
    if rng.random() < 0.3:
        return _draw_classes(rng, n)
    maps = [_objects(rng, empty=i > 0 and rng.random() < 0.15) for i in range(n)]
    mine = [_mistaken(rng, one) for one in maps]
    if rng.random() < 0.2:
        values: list[Value] = [ClassMap((one > 0).astype(np.uint8)) for one in mine]
    elif rng.random() < 0.6:
        values = [LabelMap(one) for one in mine]
    else:
        masks = [to_masks(LabelMap(one)) for one in mine]
        values = [Masks(one.shape, one.rle, rng.integers(0, 9, len(one.rle)) / 8) for one in masks]
    return MaskTruth(maps, ("background", "object")), MaskPrediction(values)


def draw_one_object(rng: np.random.Generator, n: int) -> tuple[MaskTruth, MaskPrediction]:
    """As `draw_masks`, with the same object in every image."""
    one = np.zeros((9, 12), np.uint32)
    one[2:7, 3:8] = 70_000
    values = [LabelMap(_mistaken(rng, one)) for _ in range(n)]
    return MaskTruth([one] * n, ("background", "object")), MaskPrediction(values)


def _draw_classes(rng: np.random.Generator, n: int) -> tuple[MaskTruth, MaskPrediction]:
    n_classes = int(rng.integers(2, 5))
    shapes = rng.integers(3, 12, size=(n, 2))
    maps = [rng.integers(0, n_classes - (rng.random() < 0.3), size=shape).astype(np.uint8) for shape in shapes]
    maps[0].reshape(-1)[:2] = 0, 1
    wrong = [rng.random(one.shape) < 0.3 for one in maps]
    mine = [np.where(w, rng.integers(0, n_classes, one.shape), one) for w, one in zip(wrong, maps, strict=True)]
    names = ("background", *(f"class {c}" for c in range(1, n_classes)))
    values = [ClassMap(one.astype(np.uint8)) for one in mine]
    return MaskTruth(maps, names, instances=False), MaskPrediction(values)


def _objects(rng: np.random.Generator, *, empty: bool) -> NDArray[np.uint32]:
    """Rectangles over each other, some of them so large that all of COCO's sizes occur."""
    labels = np.zeros(rng.integers(6, 14, 2), np.uint32)
    for number in range(0 if empty else int(rng.integers(1, 7))):
        top, left = (int(rng.integers(side - 2)) for side in labels.shape)
        height, width = rng.integers(1, 6, 2)
        labels[top : top + height, left : left + width] = 1 + number * int(rng.integers(1, 9))
    labels[-1, -1] = 0
    return np.kron(labels, np.ones((32, 32), np.uint32)) if rng.random() < 0.15 else labels


def _mistaken(rng: np.random.Generator, labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Shifted by a pixel, a stripe cut out, two objects joined, or one cut in two."""
    found = np.roll(labels, int(rng.integers(-1, 2)), axis=int(rng.integers(2)))
    row = int(rng.integers(labels.shape[0]))
    change = rng.integers(5)
    if change == 0:
        found[row] = 0
    elif change == 1:
        found[found == found.max()] = 1
    elif change == 2:
        found[row:][found[row:] > 0] += np.uint32(100)
    return found


def _right_masks(truth: MaskTruth) -> MaskPrediction:
    if truth.instances:
        return MaskPrediction([LabelMap(one.astype(np.uint32)) for one in truth.maps], "labelmap")
    return MaskPrediction([ClassMap(one.astype(np.uint8)) for one in truth.maps], "classmap")


def _wrong_masks(truth: MaskTruth) -> MaskPrediction:
    """Every pixel of another class, all background one object."""
    if truth.instances:
        return MaskPrediction([LabelMap((one == 0).astype(np.uint32)) for one in truth.maps], "labelmap")
    n_classes = len(truth.classes)
    return MaskPrediction([ClassMap(((one + 1) % n_classes).astype(np.uint8)) for one in truth.maps], "classmap")


MASKS = Maker(draw_masks, draw_one_object, _right_masks, _wrong_masks, sizes=(1, 2, 3, 20))

MAKERS: Mapping[str, Maker] = {"classification": CLASSIFICATION, "segmentation": MASKS}


def check_metric(
    metric: Metric,
    *,
    oracle: Oracle | None = None,
    make: Maker | None = None,
    seeds: Iterable[int] = range(2),
) -> None:
    """Run every check on inputs drawn by ``make``.

    Args:
        metric: the metric.
        oracle: a slow and obvious (truth, prediction) -> value, written apart from the metric.
        make: draws inputs; the default makes those of the metric's first task.
        seeds: one round of inputs each.

    Raises:
        MetricCheckError: the first check that fails.
    """
    _check_declaration(metric)
    make = make or MAKERS[metric.tasks[0]]
    computed = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for n in make.sizes:
            for draw in (make.draw, make.one_class):
                truth, prediction = draw(rng, n)
                computed += check_metric_on(metric, truth, prediction, oracle=oracle) is not None
                _check_direction(metric, truth, prediction, make)
    _require(computed > 0, metric, "computed", "no input drawn gave a value: draw some where it is defined")


def check_metric_on(metric: Metric, truth: Any, prediction: Any, *, oracle: Oracle | None = None) -> float | None:
    """Run the checks that hold for any input on this one; nothing where the metric ``lacks`` something in it.

    Returns:
        The metric's value.

    Raises:
        MetricCheckError: the first check that fails.
    """
    if metric.lacks(truth, prediction):
        return None
    before = _frozen(truth), _frozen(prediction)
    rows = metric.per_sample(truth, prediction)
    value = _check_value(metric, rows, len(truth))
    unchanged = before == (_frozen(truth), _frozen(prediction))
    _require(unchanged, metric, "pure", "per_sample or reduce wrote into its inputs")
    _check_rows(metric, truth, prediction, rows)
    _check_empty(metric, truth, prediction)
    _check_permutation(metric, rows, value)
    _check_leave_one_out(metric, rows)
    if oracle is not None:
        expected = oracle(truth, prediction)
        _require(_close(value, expected), metric, "oracle", f"the oracle says {expected}, the metric {value}")
    return value


def _require(holds: bool, metric: Metric, check: str, what: str) -> None:
    if not holds:
        raise MetricCheckError(f"metric {metric.id!r} fails check {check!r}: {what}")


def _check_declaration(metric: Metric) -> None:
    for name in ("id", "title", "formula", "source"):
        _require(bool(getattr(metric, name).strip()), metric, "declaration", f"{name} is empty")
    _require(metric.version >= 1, metric, "declaration", f"version is {metric.version}, the first is 1")
    known = metric.direction in ("higher", "lower")
    _require(known, metric, "declaration", f"direction is higher or lower, not {metric.direction!r}")
    _require(metric.scale in _BOUNDS, metric, "declaration", f"scale is one of {', '.join(_BOUNDS)}")


def _check_value(metric: Metric, rows: Rows, n: int) -> float | None:
    for name, column in rows.items():
        _require(len(column) == n, metric, "rows", f"column {name!r} has {len(column)} rows for {n} samples")
    value = metric.reduce(rows)
    if value is None:
        return None
    _require(isinstance(value, float), metric, "value", f"a float or None, not {type(value).__name__}")
    _require(math.isfinite(value), metric, "value", f"finite, or None where undefined, not {value}")
    least, most = _BOUNDS[metric.scale]
    _require(least <= value <= most, metric, "bounds", f"{value} is outside the scale {metric.scale!r}")
    return value


def _check_rows(metric: Metric, truth: Samples, prediction: Samples, rows: Rows) -> None:
    """Rows of a part are the same bits as that part of the rows: then shards merge exactly."""

    def part(index: NDArray[np.intp]) -> Rows:
        return metric.per_sample(truth.take(index), prediction.take(index))

    n = len(truth)
    order = np.random.default_rng(n).permutation(n)
    same = _same_rows(part(order), filtered(rows, order))
    _require(same, metric, "aligned", "a row depends on other samples")
    cuts = np.split(np.arange(n), [n // 3, n // 3 + 1])
    merged = concatenated([part(cut) for cut in cuts])
    _require(_same_rows(merged, rows), metric, "merge", "rows of shards are not the rows of the whole")
    same = metric.reduce(merged) == metric.reduce(rows)
    _require(same, metric, "merge", "the value of merged shards differs from that of the whole")


def _check_empty(metric: Metric, truth: Samples, prediction: Samples) -> None:
    none = np.arange(0)
    value = metric.reduce(metric.per_sample(truth.take(none), prediction.take(none)))
    _require(value is None, metric, "empty", f"no sample gives None, not {value}")


def _check_permutation(metric: Metric, rows: Rows, value: float | None) -> None:
    n = n_rows(rows)
    for order in (np.arange(n)[::-1], np.random.default_rng(n + 1).permutation(n)):
        other = metric.reduce(filtered(rows, order))
        same = _close(value, other)
        _require(same, metric, "permutation", f"{value} becomes {other} in another order of samples")


def _check_leave_one_out(metric: Metric, rows: Rows) -> None:
    """Leaving groups out the fast way agrees with reducing the other rows anew, group by group."""
    if metric.additive is None and metric.without is None:
        return
    group = np.random.default_rng(7).integers(0, 6, size=n_rows(rows))
    fast = leave_one_out(metric, rows, group)
    over = np.ones(len(group), dtype=bool) if metric.keep is None else metric.keep(rows)
    names, index = np.unique(group[over], return_inverse=True)
    slow = leave_one_out_by_rows(metric, filtered(rows, over), index, len(names))
    same = fast.shape == slow.shape and np.allclose(fast, slow, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    _require(same, metric, "leave one out", f"the fast way {fast.tolist()}, by rows {slow.tolist()}")


def _check_direction(metric: Metric, truth: Any, prediction: Any, make: Maker) -> None:
    """Nothing is better than the right prediction, nothing worse than the wrong one."""
    right, wrong = make.right(truth), make.wrong(truth)
    if metric.lacks(truth, right) or metric.lacks(truth, wrong):
        return
    best, worst = check_metric_on(metric, truth, right), check_metric_on(metric, truth, wrong)
    if best is None:
        _require(worst is None, metric, "direction", f"all right is undefined, all wrong gives {worst}")
    if best is None or worst is None:
        return
    sign = 1 if metric.direction == "higher" else -1
    _require(sign * (best - worst) >= 0, metric, "direction", f"all right gives {best}, all wrong {worst}")
    if not metric.lacks(truth, prediction):
        value = metric.reduce(metric.per_sample(truth, prediction))
        better = value is not None and sign * (value - best) > TOLERANCE
        _require(not better, metric, "direction", f"all right gives {best}, another prediction {value}")


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _same_rows(a: Rows, b: Rows) -> bool:
    return a.keys() == b.keys() and all(_same_array(a[name], b[name]) for name in a)


def _same_array(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Equal to the bit; a column of objects holds an array for each sample."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == np.object_:
        return all(_same_array(one, other) for one, other in zip(a, b, strict=True))
    return a.tobytes() == b.tobytes()


def _frozen(value: Any) -> list[bytes]:
    """The bytes of every array in truth or prediction, in the maps and answers it holds too."""
    if isinstance(value, np.ndarray):
        return [value.tobytes()]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [data for entry in value for data in _frozen(entry)]
    return [data for entry in vars(value).values() for data in _frozen(entry)] if hasattr(value, "__dict__") else []
