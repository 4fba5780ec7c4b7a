"""torchmetrics by name: the same values as scikit-learn and our own, intervals of ours, and names that are refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lensbench.errors import BenchmarkError
from lensbench.masks.protocol import Scoring
from lensbench.masks.values import ClassMap, LabelMap
from lensbench.metrics import MaskPrediction, MaskTruth, Prediction, Truth, get_metric, ready_metrics, score
from lensbench.metrics.conformance import CLASSIFICATION, MASKS, check_metric, draw_classification, draw_masks
from lensbench.metrics.torch_metrics import LOWER, NO_NUMBER, measured

MCC = "torchmetrics:classification.MulticlassMatthewsCorrCoef"
needs_torch = pytest.mark.needs("torch")
NAMES = ("a", "b", "c")


def logits(n: int = 300, n_classes: int = 3) -> tuple[Truth, Prediction]:
    rng = np.random.default_rng(3)
    label = rng.integers(0, n_classes, n).astype(np.int32)
    scores = rng.normal(size=(n, n_classes)).astype(np.float32)
    scores[np.arange(n), label] += 1
    return Truth(label, NAMES[:n_classes]), Prediction(scores, "logits")


def segmentation(n: int = 6) -> tuple[MaskTruth, MaskPrediction]:
    rng = np.random.default_rng(4)
    maps = [rng.integers(0, 3, (9, 7 + i)).astype(np.uint8) for i in range(n)]
    mine = [np.where(rng.random(one.shape) < 0.3, rng.integers(0, 3, one.shape), one).astype(np.uint8) for one in maps]
    return MaskTruth(maps, NAMES, instances=False), MaskPrediction([ClassMap(one) for one in mine])


# ------------------------------------------------------------------ values


@needs_torch
def test_a_classification_metric_is_what_scikit_learn_says_with_our_interval() -> None:
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    truth, prediction = logits()
    assert prediction.scores is not None
    auroc = "torchmetrics:MulticlassAUROC"
    arguments: dict[str, dict[str, Any]] = {MCC: {"num_classes": 3}, auroc: {"num_classes": 3}}
    found = score(truth, prediction, [MCC, auroc], np.arange(300) % 20, arguments=arguments)
    best = prediction.scores.argmax(axis=1)
    assert found[MCC].value == pytest.approx(matthews_corrcoef(truth.label, best), abs=1e-6)
    p = np.exp(prediction.scores.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert found[auroc].value == pytest.approx(roc_auc_score(truth.label, p, multi_class="ovr"), abs=1e-6)
    kept = [np.arange(300) % 20 != g for g in range(20)]
    left = np.array([matthews_corrcoef(truth.label[k], best[k]) for k in kept])
    error = np.sqrt(19 / 20 * np.sum((left - left.mean()) ** 2))
    mcc = found[MCC]
    assert mcc.high is not None and mcc.low is not None
    assert (mcc.high - mcc.low) / 2 == pytest.approx(2.093024 * error, rel=1e-4)
    assert (mcc.method, mcc.groups) == ("jackknife", 20)


@needs_torch
def test_two_classes_are_given_as_the_second_ones_probability() -> None:
    from sklearn.metrics import roc_auc_score

    truth, prediction = logits(200, 2)
    assert prediction.scores is not None
    name = "torchmetrics:classification.BinaryAUROC"
    found = score(truth, prediction, [name], np.arange(200) % 9)
    gap = prediction.scores[:, 1] - prediction.scores[:, 0]
    assert found[name].value == pytest.approx(roc_auc_score(truth.label, gap), abs=1e-6)
    three = score(*logits(), [name], np.arange(300) % 9)
    assert three[name].reason == "needs two classes, there are 3"


@needs_torch
def test_predicted_labels_are_enough_where_every_sample_has_one() -> None:
    truth, prediction = logits()
    assert prediction.scores is not None
    top = prediction.scores.argmax(axis=1).astype(np.int32)[:, None]
    arguments = {MCC: {"num_classes": 3}}
    by_label = score(truth, Prediction(None, "labels", top), [MCC], np.arange(300), arguments=arguments)
    by_score = score(truth, prediction, [MCC], np.arange(300), arguments=arguments)
    assert by_label[MCC] == by_score[MCC]
    top = top.copy()
    top[7] = -1
    found = score(truth, Prediction(None, "labels", top), [MCC], np.arange(300), arguments=arguments)
    assert found[MCC].reason == "needs an answer for every sample, 1 have none"


@needs_torch
def test_over_pixels_they_are_our_own_scores() -> None:
    truth, prediction = segmentation()
    jaccard, mean = "torchmetrics:classification.MulticlassJaccardIndex", "torchmetrics:segmentation.MeanIoU"
    arguments: dict[str, dict[str, Any]] = {
        jaccard: {"num_classes": 3},
        mean: {"num_classes": 3, "input_format": "index"},
    }
    found = score(truth, prediction, [jaccard, mean, "miou"], np.arange(6), arguments=arguments)
    assert found[jaccard].value == pytest.approx(found["miou"].value, abs=1e-6)
    each = [
        score(truth.take(np.array([i])), prediction.take(np.array([i])), ["miou"], np.zeros(1, int))["miou"].value
        for i in range(6)
    ]
    assert found[mean].value == pytest.approx(np.mean([x for x in each if x is not None]), abs=1e-6)


@needs_torch
def test_instances_are_scored_as_the_foreground_that_the_protocol_leaves() -> None:
    labels = np.zeros((8, 8), np.uint32)
    labels[1:4, 1:4], labels[6, 6] = 5, 9
    truth = MaskTruth([labels], ("background", "nucleus"), Scoring(min_size=2))
    mine = np.where(labels == 5, 1, 0).astype(np.uint32)
    name = "torchmetrics:classification.BinaryJaccardIndex"
    assert score(truth, MaskPrediction([LabelMap(mine)]), [name], np.zeros(1, int))[name].value == 1.0


@needs_torch
@pytest.mark.parametrize("name", ["MulticlassMatthewsCorrCoef", "MulticlassHammingDistance", "MulticlassJaccardIndex"])
def test_the_metrics_conform_in_both_tracks(name: str) -> None:
    metric = get_metric(f"torchmetrics:classification.{name}", {"num_classes": 3})
    classes = replace(CLASSIFICATION, draw=_three_classes, one_class=_three_classes, sizes=(1, 3, 20))
    check_metric(metric, make=classes, seeds=[0])
    instances = replace(MASKS, draw=_two_classes, one_class=_two_classes, sizes=(1, 3))
    check_metric(get_metric(f"torchmetrics:{name}", {"num_classes": 5}), make=instances, seeds=[0])


def _three_classes(rng: np.random.Generator, n: int) -> tuple[Truth, Prediction]:
    while len((pair := draw_classification(rng, n))[0].classes) != 3:
        pass
    return pair


def _two_classes(rng: np.random.Generator, n: int) -> tuple[MaskTruth, MaskPrediction]:
    while not (pair := draw_masks(rng, n))[0].instances:
        pass
    return pair


# ------------------------------------------------------------------ names


@needs_torch
def test_what_we_know_of_the_names_without_torch_is_what_torchmetrics_says() -> None:
    from torchmetrics import Metric, classification, segmentation

    seen = 0
    for module in (classification, segmentation):
        for name in module.__all__:
            better = getattr(getattr(module, name), "higher_is_better", None)
            if name.startswith("Multilabel") or measured(name) in NO_NUMBER or better is None:
                continue
            assert better is (measured(name) not in LOWER), name
            seen += issubclass(getattr(module, name), Metric)
    assert seen > 30
    assert get_metric("torchmetrics:segmentation.HausdorffDistance").direction == "lower"
    assert get_metric("torchmetrics:segmentation.MeanIoU").tasks == ("segmentation",)


@pytest.mark.parametrize(
    "name",
    [
        *("", "os.system", "classification.", "classification.os.system", "classification.x", "classification.__all__"),
        *("image.FrechetInceptionDistance", "detection.MeanAveragePrecision", "wrappers.BootStrapper"),
        "classification.Binary AUROC",
    ],
)
def test_other_names_are_refused_without_importing_anything(name: str) -> None:
    with pytest.raises(BenchmarkError, match="the metrics of torchmetrics are named"):
        get_metric(f"torchmetrics:{name}")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("classification.MulticlassROC", "is no single number"),
        ("classification.BinaryRecallAtFixedPrecision", "is no single number"),
        ("classification.MultilabelAccuracy", "several labels each"),
    ],
)
def test_curves_tables_and_several_labels_are_refused(name: str, what: str) -> None:
    with pytest.raises(BenchmarkError, match=what):
        get_metric(f"torchmetrics:{name}")


@needs_torch
@pytest.mark.parametrize(
    ("name", "arguments", "what"),
    [
        ("classification.Nonsense", {}, r"torchmetrics [0-9.]+ has no classification\.Nonsense"),
        ("classification.MulticlassAccuracy", {}, "torchmetrics says: .*num_classes"),
        ("classification.MulticlassAccuracy", {"num_classes": 3, "colour": 1}, "torchmetrics says: .*colour"),
        ("classification.MulticlassAccuracy", {"num_classes": 2}, "torchmetrics says: "),
        ("classification.MulticlassAccuracy", {"num_classes": 3, "average": "none"}, "gives several numbers"),
    ],
)
def test_what_torchmetrics_refuses_is_told_in_one_line(name: str, arguments: dict[str, Any], what: str) -> None:
    metric_id = f"torchmetrics:{name}"
    with pytest.raises(BenchmarkError, match=what) as raised:
        score(*logits(), [metric_id], np.arange(300) % 5, arguments={metric_id: arguments})
    assert "\n" not in str(raised.value)


def test_arguments_of_our_own_metrics_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="metric 'top1' takes no arguments"):
        ready_metrics(["top1"], "classification", {"top1": {"k": 3}})


def test_without_torch_the_install_line_comes_before_anything_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(BenchmarkError, match=r'needs torch and torchmetrics: pip install "lensbench\[torch\]"'):
        ready_metrics(["top1", MCC], "classification", {MCC: {"num_classes": 3}})
    assert get_metric(MCC).direction == "higher"
