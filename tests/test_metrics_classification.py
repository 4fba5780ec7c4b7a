"""Classification metrics: slow oracles on awkward inputs, scikit-learn, torchmetrics, a published model."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics as sk

from lensbench.errors import BenchmarkError, ModelError
from lensbench.metrics import (
    METRICS as ALL_METRICS,
)
from lensbench.metrics import (
    ClassInfo,
    Metric,
    MetricValue,
    Prediction,
    Truth,
    confusion,
    get_metric,
    per_class,
    ranking_rows,
    score,
    unsupported,
)
from lensbench.metrics.base import leave_one_out
from lensbench.metrics.calibration import probability_rows
from lensbench.metrics.conformance import check_metric_on
from lensbench.stats import wilson

METRICS = {name: metric for name, metric in ALL_METRICS.items() if "classification" in metric.tasks}

# ------------------------------------------------------------------ slow and obvious references


def _first(prediction: Prediction, i: int) -> list[int]:
    """The classes that share first place in row i."""
    if prediction.top is not None:
        return [int(prediction.top[i, 0])] if prediction.top[i, 0] >= 0 else []
    assert prediction.scores is not None
    row = prediction.scores[i].tolist()
    return [c for c, s in enumerate(row) if s == max(row)]


def _top_k(truth: Truth, prediction: Prediction, k: int) -> float:
    """Average over the places the true class can take among its ties."""
    total = 0.0
    for i, label in enumerate(truth.label.tolist()):
        if prediction.top is not None:
            total += label in prediction.top[i, :k].tolist()
            continue
        assert prediction.scores is not None
        row = prediction.scores[i].tolist()
        above = sum(s > row[label] for s in row)
        places = range(above, above + sum(s == row[label] for s in row))
        total += sum(place < k for place in places) / len(places)
    return total / len(truth)


def _class_table(
    truth: Truth, prediction: Prediction, named: Callable[[int], Any], kept: Callable[[int], bool]
) -> tuple[dict[Any, float], Counter[Any], dict[Any, float]]:
    hits: dict[Any, float] = defaultdict(float)
    support: Counter[Any] = Counter()
    predicted: dict[Any, float] = defaultdict(float)
    for i, label in enumerate(truth.label.tolist()):
        if not kept(label):
            continue
        support[named(label)] += 1
        first = _first(prediction, i)
        for c in first:
            predicted[named(c)] += 1 / len(first)
            hits[named(label)] += (named(c) == named(label)) / len(first)
    return hits, support, predicted


def _averaged(
    truth: Truth,
    prediction: Prediction,
    *,
    what: str,
    weighted: bool = False,
    named: Callable[[int], Any] = lambda c: c,
    kept: Callable[[int], bool] = lambda c: True,
) -> float | None:
    hits, support, predicted = _class_table(truth, prediction, named, kept)
    if not support:
        return None
    values, weights = [], []
    for c, n in support.items():
        recall = hits[c] / n
        precision = hits[c] / predicted[c] if predicted[c] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        values.append({"recall": recall, "precision": precision, "f1": f1, "hits": hits[c]}[what])
        weights.append(n if weighted else 1)
    if what == "hits":
        return sum(values) / support.total()
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _probabilities(prediction: Prediction, i: int) -> list[float]:
    assert prediction.scores is not None
    row = prediction.scores[i].tolist()
    if prediction.kind == "logits":
        row = [math.exp(s - max(row)) for s in row]
    return [p / math.fsum(row) for p in row]


def _nll(truth: Truth, prediction: Prediction) -> float:
    least = float(np.finfo(np.float32).tiny)
    losses = [-math.log(max(_probabilities(prediction, i)[y], least)) for i, y in enumerate(truth.label.tolist())]
    return math.fsum(losses) / len(losses)


def _brier(truth: Truth, prediction: Prediction) -> float:
    losses = [
        math.fsum((p - (c == y)) ** 2 for c, p in enumerate(_probabilities(prediction, i)))
        for i, y in enumerate(truth.label.tolist())
    ]
    return math.fsum(losses) / len(losses)


def _ece(truth: Truth, prediction: Prediction) -> float:
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for i, y in enumerate(truth.label.tolist()):
        confidence = max(_probabilities(prediction, i))
        first = _first(prediction, i)
        inside = [m for m in range(1, 16) if (m - 1) / 15 < confidence <= m / 15]
        bins[inside[0]].append(((y in first) / len(first), confidence))
    gaps = [len(b) * abs(np.mean([h for h, _ in b]) - np.mean([c for _, c in b])) for b in bins.values()]
    return float(sum(gaps)) / len(truth)


def _in_bin(least: int, most: float) -> Callable[[Truth, Prediction], float | None]:
    def oracle(truth: Truth, prediction: Prediction) -> float | None:
        return _averaged(truth, prediction, what="recall", kept=lambda c: least <= truth.support[c] <= most)

    return oracle


def _plankton(what: str) -> Callable[[Truth, Prediction], float | None]:
    def oracle(truth: Truth, prediction: Prediction) -> float | None:
        plankton = truth.info.plankton if truth.info else None
        assert plankton is not None
        return _averaged(truth, prediction, what=what, kept=lambda c: plankton[c])

    return oracle


def _coarse(what: str) -> Callable[[Truth, Prediction], float | None]:
    def oracle(truth: Truth, prediction: Prediction) -> float | None:
        taxon = truth.info.taxon if truth.info else None
        assert taxon is not None
        return _averaged(truth, prediction, what=what, named=lambda c: taxon[c])

    return oracle


ORACLES: dict[str, Callable[[Truth, Prediction], float | None]] = {
    **{f"top{k}": partial(_top_k, k=k) for k in (1, 3, 5)},
    **{f"macro_{what}": partial(_averaged, what=what) for what in ("recall", "precision", "f1")},
    **{f"weighted_{w}": partial(_averaged, what=w, weighted=True) for w in ("recall", "precision", "f1")},
    "balanced_accuracy": partial(_averaged, what="recall"),
    "macro_recall@support<=50": _in_bin(1, 50),
    "macro_recall@support51-200": _in_bin(51, 200),
    "macro_recall@support201-800": _in_bin(201, 800),
    "macro_recall@support>800": _in_bin(801, math.inf),
    "top1@plankton": _plankton("hits"),
    "macro_recall@plankton": _plankton("recall"),
    "top1@coarse": _coarse("hits"),
    "macro_recall@coarse": _coarse("recall"),
    "macro_f1@coarse": _coarse("f1"),
    "nll": _nll,
    "brier": _brier,
    "ece": _ece,
}


# ------------------------------------------------------------------ inputs

Case = tuple[Truth, Prediction]


def _truth(label: NDArray[np.int32], n_classes: int) -> Truth:
    names = tuple(f"c{c}" for c in range(n_classes))
    info = ClassInfo(names, tuple("abc"[c % 3] for c in range(n_classes)), tuple(c % 3 != 1 for c in range(n_classes)))
    return Truth(label, names, info)


@st.composite
def _scored(draw: st.DrawFn) -> Case:
    """Few distinct scores, so ties abound; -inf; classes without a sample; one class; one sample."""
    n, n_classes = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    label = draw(hnp.arrays(np.int32, n, elements=st.integers(0, n_classes - 1)))
    if draw(st.booleans()):
        values = st.sampled_from([-np.inf, -2.5, 0.0, 1.0, 3.0, 100.0]) | st.floats(-20, 20, width=32)
        logits = draw(hnp.arrays(np.float32, (n, n_classes), elements=values))
        logits[:, 0] = np.where(np.isneginf(logits).all(axis=1), 0, logits[:, 0])
        return _truth(label, n_classes), Prediction(logits, "logits")
    counts = draw(hnp.arrays(np.float32, (n, n_classes), elements=st.integers(0, 5)))
    counts[counts.sum(axis=1) == 0] = 1
    return _truth(label, n_classes), Prediction(counts / counts.sum(axis=1, keepdims=True), "probabilities")


@st.composite
def _ranked(draw: st.DrawFn) -> Case:
    n, n_classes = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    k = draw(st.integers(1, n_classes))
    label = draw(hnp.arrays(np.int32, n, elements=st.integers(0, n_classes - 1)))
    top = draw(hnp.arrays(np.int32, (n, k), elements=st.integers(-1, n_classes - 1)))
    return _truth(label, n_classes), Prediction(None, "labels" if k == 1 else "topk", top)


def _random(n: int, n_classes: int, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]).astype(np.int32)
    scores = rng.normal(size=(n, n_classes)) * 2
    scores[np.arange(n), label] += 1.5
    return _truth(label, n_classes), Prediction(scores.astype(np.float32), "logits")


def _values(truth: Truth, prediction: Prediction, *ids: str) -> list[float | None]:
    scored = score(truth, prediction, ids or tuple(METRICS), np.arange(len(truth)) % 7)
    return [value.value for value in scored.values()]


# ------------------------------------------------------------------ every metric against its oracle


def test_every_metric_has_an_oracle() -> None:
    assert ORACLES.keys() == METRICS.keys()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=_scored() | _ranked())
def test_metric_is_its_oracle(metric: Metric, case: Case) -> None:
    check_metric_on(metric, *case, oracle=ORACLES[metric.id])


@pytest.mark.parametrize("metric_id", [name for name in METRICS if "@support" in name])
def test_support_bins_are_their_oracle_at_their_edges(metric_id: str) -> None:
    label = np.repeat(np.arange(6, dtype=np.int32), [50, 51, 200, 201, 800, 801])
    scores = np.random.default_rng(0).normal(size=(len(label), 6)).astype(np.float32)
    case = _truth(label, 6), Prediction(scores, "logits")
    assert check_metric_on(METRICS[metric_id], *case, oracle=ORACLES[metric_id]) is not None


# ------------------------------------------------------------------ ties


@given(st.integers(1, 40))
def test_a_constant_model_scores_chance(n_classes: int) -> None:
    truth = _truth(np.arange(n_classes, dtype=np.int32), n_classes)
    constant = Prediction(np.zeros((n_classes, n_classes), np.float32), "logits")
    ids = ("top1", "top3", "macro_recall", "macro_precision", "nll")
    expected = [1 / n_classes, min(1, 3 / n_classes), 1 / n_classes, 1 / n_classes, math.log(n_classes)]
    assert _values(truth, constant, *ids) == pytest.approx(expected)


def test_ties_do_not_depend_on_class_order() -> None:
    truth, prediction = _random(200, 9)
    assert prediction.scores is not None
    rounded = np.round(prediction.scores)
    order = np.random.default_rng(1).permutation(9)
    renamed = Truth(np.argsort(order).astype(np.int32)[truth.label], truth.classes)
    ids = [name for name, metric in METRICS.items() if "@" not in name and metric.scale == "unit"]
    one = _values(truth, Prediction(rounded, "logits"), *ids)
    other = _values(renamed, Prediction(rounded[:, order], "logits"), *ids)
    assert one == pytest.approx(other, abs=1e-12)


# ------------------------------------------------------------------ parity


def test_parity_with_scikit_learn() -> None:
    truth, prediction = _random(800, 12)
    assert prediction.scores is not None
    y, best = truth.label, prediction.scores.argmax(axis=1)
    p = np.exp(prediction.scores.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    expected = {f"top{k}": sk.top_k_accuracy_score(y, prediction.scores, k=k) for k in (1, 3, 5)}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(y, best, average=average, zero_division=0)
        expected |= {f"{average}_precision": precision, f"{average}_recall": recall, f"{average}_f1": f1}
    expected["balanced_accuracy"] = sk.balanced_accuracy_score(y, best)
    expected["nll"] = sk.log_loss(y, p)
    expected["brier"] = sk.brier_score_loss(y, p)
    assert _values(truth, prediction, *expected) == pytest.approx(list(expected.values()), rel=1e-12)
    assert _values(truth, Prediction(p.astype(np.float32), "probabilities"), "nll", "brier") == pytest.approx(
        [expected["nll"], expected["brier"]], rel=1e-6
    )
    table = per_class(ranking_rows(truth, prediction), truth.classes)
    arrays = sk.precision_recall_fscore_support(y, best, zero_division=0)
    ours = [[getattr(row, name) for row in table] for name in ("precision", "recall", "f1", "support")]
    assert np.allclose(ours, arrays, rtol=1e-12)


def test_parity_with_scikit_learn_where_classes_lack_support() -> None:
    """scikit-learn leaves a class out only when told the labels; predicting it stays an error."""
    truth, prediction = _random(300, 8)
    assert prediction.scores is not None
    few = np.flatnonzero(truth.label < 5)
    truth, prediction = Truth(truth.label[few], truth.classes), prediction.take(few)
    assert prediction.scores is not None
    best = prediction.scores.argmax(axis=1)
    assert (best >= 5).any()
    expected = sk.precision_recall_fscore_support(truth.label, best, labels=range(5), average="macro", zero_division=0)
    ids = ("macro_precision", "macro_recall", "macro_f1")
    assert _values(truth, prediction, *ids) == pytest.approx(expected[:3], rel=1e-12)
    assert unsupported(truth) == ("c5", "c6", "c7")


@pytest.mark.slow  # importing torch takes seconds
@pytest.mark.needs("torch")
def test_parity_with_torchmetrics() -> None:
    import torch
    from torchmetrics import classification as tm

    truth, prediction = _random(600, 7)
    assert prediction.scores is not None
    logits, target = torch.from_numpy(prediction.scores), torch.from_numpy(truth.label).long()
    metrics = {
        "top1": tm.MulticlassAccuracy(7, average="micro"),
        "top3": tm.MulticlassAccuracy(7, average="micro", top_k=3),
        "macro_recall": tm.MulticlassRecall(7),
        "macro_precision": tm.MulticlassPrecision(7),
        "macro_f1": tm.MulticlassF1Score(7),
        "weighted_f1": tm.MulticlassF1Score(7, average="weighted"),
        "ece": tm.MulticlassCalibrationError(7, n_bins=15, norm="l1"),
    }
    expected = [float(metric(logits, target)) for metric in metrics.values()]
    assert _values(truth, prediction, *metrics) == pytest.approx(expected, abs=2e-6)


# ------------------------------------------------------------------ a published model


@pytest.mark.needs("realdata")
def test_published_recalls_give_the_published_scores(realdata: Path) -> None:
    """LifeWatch's EfficientNetV2-B0 on its 33,718 test images: hits per class = round(recall * support)."""
    with (realdata / "lifewatch_flowcam" / "class_table.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    support = np.array([int(row["test_E"]) for row in table])
    hits = np.round([float(row["effnet_test_recall"]) for row in table] * support).astype(int)
    label = np.repeat(np.arange(95, dtype=np.int32), support)
    place = np.concatenate([np.arange(n) for n in support])
    predicted = np.where(place < hits[label], label, (label + 1) % 95).astype(np.int32)
    names = tuple(row["folder"] for row in table)
    truth, prediction = Truth(label, names), Prediction(None, "labels", predicted[:, None])
    rows = ranking_rows(truth, prediction)
    scores = score(truth, prediction, ["top1", "macro_recall"], np.arange(len(label)) % 200)
    assert (len(label), rows["hit"].sum()) == (33_718, 29_113)
    assert round(scores["top1"].value or 0, 6) == 0.863426
    assert round(scores["macro_recall"].value or 0, 6) == 0.776243


# ------------------------------------------------------------------ what the kinds of prediction allow


def test_what_cannot_be_known_is_none_with_a_reason() -> None:
    truth, prediction = _random(60, 12)
    assert prediction.scores is not None
    order = np.argsort(-prediction.scores, axis=1).astype(np.int32)
    full = score(truth, prediction, METRICS, np.arange(60) % 7)
    for kind, k, known in (
        ("labels", 1, {"top1"}),
        ("topk", 3, {"top1", "top3"}),
        ("topk", 12, {"top1", "top3", "top5"}),
    ):
        partial_ = Prediction(None, kind, order[:, :k])  # type: ignore[arg-type]  # a literal in the tuple above
        for metric_id, value in score(truth, partial_, METRICS, np.arange(60) % 7).items():
            needs_more = metric_id in {"top1", "top3", "top5", "nll", "brier", "ece"} - known
            if needs_more:
                assert (value.value, value.low, value.high) == (None, None, None)
                assert value.reason is not None
                assert "needs scores" in value.reason
            else:
                assert value == full[metric_id]


def test_a_missing_answer_is_an_error_of_its_class() -> None:
    truth = Truth(np.array([0, 0, 1], np.int32), ("a", "b"))
    prediction = Prediction(None, "labels", np.array([[0], [-1], [1]], np.int32))
    assert _values(truth, prediction, "top1", "macro_recall", "macro_precision") == [2 / 3, 0.75, 1.0]
    assert confusion(ranking_rows(truth, prediction)) == [(0, 0, 1.0), (1, 1, 1.0)]


def test_a_class_that_was_not_given_is_missed_at_every_k() -> None:
    """As many slots as classes, but a slot left empty, or used twice, leaves the list incomplete."""
    truth = Truth(np.array([0, 0, 0], np.int32), ("a", "b", "c"))
    prediction = Prediction(None, "topk", np.array([[1, -1, 2], [1, 1, 2], [-1, 0, 0]], np.int32))
    assert _values(truth, prediction, "top1", "top3", "top5") == [0.0, 1 / 3, 1 / 3]


def test_class_attributes_are_asked_for() -> None:
    truth, prediction = _random(40, 5)
    bare = Truth(truth.label, truth.classes)
    ids = [name for name in METRICS if name.endswith(("@plankton", "@coarse"))]
    assert len(ids) == 5
    groups = np.arange(40) % 4
    assert all("needs the dataset" in (value.reason or "") for value in score(bare, prediction, ids, groups).values())
    assert score(bare, prediction, ids, groups, truth.info) == score(truth, prediction, ids, groups)


def test_the_mapped_class_decides_a_coarse_taxon_not_summed_probabilities() -> None:
    info = ClassInfo(("a1", "a2", "b"), ("a", "a", "b"), None)
    truth = Truth(np.array([0], np.int32), info.names, info)
    prediction = Prediction(np.array([[0.3, 0.3, 0.4]], np.float32), "probabilities")
    assert _values(truth, prediction, "top1@coarse") == [0.0]


def test_an_empty_support_bin_is_none_with_a_reason() -> None:
    truth, prediction = _random(40, 5)
    value = score(truth, prediction, ["macro_recall@support>800"], np.arange(40))["macro_recall@support>800"]
    assert value == MetricValue(None, None, None, "none", 0, "no evaluated sample that it is over")


# ------------------------------------------------------------------ probabilities


@given(_scored())
@settings(deadline=None)
def test_logits_and_their_float32_probabilities_score_alike(case: Case) -> None:
    truth, prediction = case
    if prediction.kind != "logits":
        return
    probabilities = np.array([_probabilities(prediction, i) for i in range(len(truth))], np.float32)
    other = probability_rows(truth, Prediction(probabilities, "probabilities"))
    rows = probability_rows(truth, prediction)
    # Below the smallest normal float32 a probability has fewer digits, and its log is clipped in both.
    assert np.allclose(rows["nll"], other["nll"], rtol=1e-5, atol=1e-5)
    assert np.allclose(rows["brier"], other["brier"], atol=1e-5)


def test_a_certain_error_costs_the_stated_clip() -> None:
    truth = Truth(np.array([0], np.int32), ("a", "b"))
    for scores, kind in (
        ([[-np.inf, 0.0]], "logits"),
        ([[0.0, 1.0]], "probabilities"),
        ([[-500.0, 0.0]], "logits"),
    ):
        prediction = Prediction(np.array(scores, np.float32), kind)  # type: ignore[arg-type]
        assert _values(truth, prediction, "nll", "brier") == pytest.approx([-math.log(2.0**-126), 2.0])


def test_confidence_bins_of_the_calibration_error() -> None:
    """Guo et al.: ((m-1)/15, m/15]. A right answer at 1.0 shares a bin with a wrong one above 14/15 only."""
    truth = Truth(np.array([0, 1], np.int32), ("a", "b"))
    same = Prediction(np.array([[1, 0], [0.94, 0.06]], np.float32), "probabilities")
    apart = Prediction(np.array([[1, 0], [0.93, 0.07]], np.float32), "probabilities")
    assert _values(truth, same, "ece") == pytest.approx([abs(1 - 1.94) / 2], abs=1e-6)
    assert _values(truth, apart, "ece") == pytest.approx([0.93 / 2], abs=1e-6)


def test_probabilities_rounded_in_a_file_are_not_punished() -> None:
    truth = Truth(np.array([0, 1], np.int32), ("a", "b", "c"))
    rounded = np.array([[0.333, 0.333, 0.333], [0.1, 0.8, 0.1]], np.float32)
    assert _values(truth, Prediction(rounded, "probabilities"), "nll")[0] == pytest.approx(
        (math.log(3) - math.log(0.8)) / 2, rel=1e-6
    )


# ------------------------------------------------------------------ intervals


def test_intervals_are_of_the_groups_that_take_part() -> None:
    truth, prediction = _random(400, 6)
    groups = np.arange(400) % 20
    groups[truth.label % 3 != 1] %= 5  # plankton, by `_truth`, in five groups only
    values = score(truth, prediction, ["top1", "top1@plankton", "macro_recall"], groups)
    assert values["top1"].groups == 20
    assert values["top1@plankton"].groups == 5
    for value in values.values():
        assert value.value is not None
        assert value.low is not None
        assert value.high is not None
        assert 0 < value.low < value.value < value.high < 1
        assert value.method == "jackknife-logit"


def test_group_numbers_do_not_matter_only_who_is_together() -> None:
    truth, prediction = _random(100, 6)
    groups = np.arange(100) % 9
    assert score(truth, prediction, METRICS, groups) == score(truth, prediction, METRICS, groups * 1000 - 5)


def test_leave_one_out_is_the_score_of_the_others() -> None:
    truth, prediction = _random(120, 6)
    groups = np.arange(120) % 4
    metric = get_metric("macro_f1")
    values = leave_one_out(metric, metric.per_sample(truth, prediction), groups)
    for g in range(4):
        others = np.flatnonzero(groups != g)
        assert _values(truth.take(others), prediction.take(others), "macro_f1")[0] == pytest.approx(values[g])


def test_values_do_not_depend_on_the_grouping() -> None:
    truth, prediction = _random(300, 6)
    one = score(truth, prediction, METRICS, np.zeros(300, dtype=int))
    many = score(truth, prediction, METRICS, np.arange(300))
    assert [value.value for value in one.values()] == [value.value for value in many.values()]
    assert {value.reason for value in one.values() if value.value is not None} == {
        "an interval needs at least two groups"
    }


# ------------------------------------------------------------------ tables


def test_per_class_table() -> None:
    truth = Truth(np.array([0, 0, 0, 1], np.int32), ("a", "b", "c", "d"))
    scores = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]], np.float32)
    a, b, c, d = per_class(ranking_rows(truth, Prediction(scores, "logits")), truth.classes)
    assert (a.support, a.predicted, a.precision, a.recall) == (3, 2.5, 0.6, 0.5)
    assert a.f1 == pytest.approx(6 / 11)
    assert (a.low, a.high) == wilson(1.5, 3)
    assert (b.support, b.predicted, b.precision, b.recall, b.f1) == (1, 0.5, 0.0, 0.0, 0.0)
    assert (c.support, c.predicted, c.precision, c.recall, c.f1, c.low) == (0, 1.0, 0.0, None, None, None)
    assert (d.support, d.predicted, d.precision, d.recall) == (0, 0.0, None, None)


@given(_scored() | _ranked())
def test_confusion_is_the_slow_count(case: Case) -> None:
    truth, prediction = case
    counts: dict[tuple[int, int], float] = defaultdict(float)
    for i, label in enumerate(truth.label.tolist()):
        first = _first(prediction, i)
        for c in first:
            counts[label, c] += 1 / len(first)
    pairs = confusion(ranking_rows(truth, prediction))
    assert [pair[:2] for pair in pairs] == sorted(counts)
    assert [pair[2] for pair in pairs] == pytest.approx([counts[key] for key in sorted(counts)])


def test_rows_are_small() -> None:
    truth, prediction = _random(1000, 95)
    for metric in METRICS.values():
        rows = metric.per_sample(truth, prediction)
        assert sum(column.nbytes for column in rows.values()) <= 48 * 1000


# ------------------------------------------------------------------ errors


def _scores(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Prediction(_scores([0.0, math.nan]), "logits"),
            "NaN or infinite scores in 1 predictions, first in row 0",
        ),
        (lambda: Prediction(_scores([0.0], [math.inf]), "logits"), "first in row 1"),
        (lambda: Prediction(_scores([-math.inf, -math.inf]), "logits"), "no finite score"),
        (lambda: Prediction(_scores([3.0, -2.0]), "probabilities"), r"outside 0\.\.1"),
        (lambda: Prediction(_scores([0.4, 0.4]), "probabilities"), "do not sum to 1"),
        (lambda: Prediction(np.zeros((2, 2), np.float16), "logits"), "must be float32"),
        (lambda: Prediction(np.zeros(2, np.float32), "logits"), "must be float32 of shape"),
        (lambda: Prediction(None, "logits"), "given as scores"),
        (lambda: Prediction(_scores([1.0]), "labels"), "given as top"),
        (lambda: Prediction(None, "labels", np.zeros((2, 2), np.int32)), "use kind 'topk'"),
        (lambda: Prediction(None, "topk", np.zeros((2, 2))), "must be int32"),  # type: ignore[arg-type]
        (lambda: Prediction(None, "labels", np.array([[-2]], np.int32)), "below -1"),
        (lambda: Prediction(_scores([1.0]), "mask"), "unknown kind of prediction 'mask'"),  # type: ignore[arg-type]
    ],
)
def test_a_prediction_that_cannot_be_one_is_refused(make: Callable[[], Prediction], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make()


def test_a_prediction_of_something_else_is_refused() -> None:
    truth = Truth(np.array([0, 1], np.int32), ("a", "b"))
    for prediction, message in (
        (Prediction(_scores([1, 0]), "logits"), "1 predictions for 2 samples"),
        (Prediction(_scores([1, 0, 0], [1, 0, 0]), "logits"), "3 scores per sample for 2 classes"),
        (Prediction(None, "labels", np.array([[0], [2]], np.int32)), "class indices above 1 .* row 1"),
    ):
        for metric_id in ("top1", "nll"):
            if METRICS[metric_id].lacks(truth, prediction) is None:
                with pytest.raises(ModelError, match=message):
                    score(truth, prediction, [metric_id], np.arange(2))


def test_a_truth_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(BenchmarkError, match=r"labels must lie in 0\.\.1, got 0\.\.2"):
        Truth(np.array([0, 2], np.int32), ("a", "b"))
    with pytest.raises(BenchmarkError, match="must be int32"):
        Truth(np.array([0, 1], np.int64), ("a", "b"))
    with pytest.raises(BenchmarkError, match="or in another order"):
        Truth(np.array([0], np.int32), ("a", "b"), ClassInfo(("b", "a")))
    with pytest.raises(BenchmarkError, match="'taxon' has 1 entries for 2 classes"):
        ClassInfo(("a", "b"), ("x",))


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(BenchmarkError, match=r"unknown metric 'macro_f2'; did you mean 'macro_f1'\? known: "):
        get_metric("macro_f2")


def test_clusters_must_be_one_per_sample() -> None:
    truth, prediction = _random(10, 3)
    with pytest.raises(BenchmarkError, match=r"clusters must have shape \(10,\)"):
        score(truth, prediction, ["top1"], np.arange(9))
