"""COCO's scores are pycocotools', by the kernel and by its IoU; nothing is cut, no score is made up."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.masks import many, rle
from lensbench.masks.values import LabelMap, Masks, to_masks
from lensbench.metrics import METRICS, MaskPrediction, MaskTruth, score
from lensbench.metrics.coco import coco_rows, most_detections
from tests.mask_oracle import random_pair

NAMES = ("background", "nucleus")
IDS = ("coco_ap", "coco_ap50", "coco_ap75", "coco_ar")
Labels = NDArray[np.uint32]


@dataclass
class Pycocotools:
    """The four scores by COCOeval itself, with maxDets as large as need be."""

    most: int

    def __call__(self, maps: Sequence[Labels], answers: Sequence[Masks]) -> dict[str, float]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        images: list[dict[str, Any]] = []
        truth: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        for i, (labels, answer) in enumerate(zip(maps, answers, strict=True), 1):
            height, width = labels.shape
            images.append({"id": i, "height": height, "width": width})
            for text in to_masks(LabelMap(labels)).rle:
                truth.append(self._entry(len(truth), i, text, labels.shape) | {"iscrowd": 0})
            scores = np.zeros(0) if answer.scores is None else answer.scores
            for text, sure in zip(answer.rle, scores.tolist(), strict=True):
                found.append(self._entry(len(found), i, text, labels.shape) | {"score": sure})
        with contextlib.redirect_stdout(io.StringIO()):
            sides = []
            for annotations in (truth, found):
                side = COCO()
                side.dataset = {"images": images, "categories": [{"id": 1}], "annotations": annotations}
                side.createIndex()
                sides.append(side)
            judge = COCOeval(*sides, "segm")
            judge.params.maxDets = [1, 10, self.most]
            judge.evaluate()
            judge.accumulate()
        precision, recall = judge.eval["precision"][:, :, 0, 0, 2], judge.eval["recall"][:, 0, 0, 2]
        return {
            "coco_ap": float(precision.mean()),
            "coco_ap50": float(precision[0].mean()),
            "coco_ap75": float(precision[5].mean()),
            "coco_ar": float(recall.mean()),
        }

    def _entry(self, number: int, image: int, text: bytes, shape: tuple[int, ...]) -> dict[str, Any]:
        from pycocotools import mask as api

        code = {"size": list(shape), "counts": text}
        area = float(api.area(code))
        box = api.toBbox(code).tolist()
        return {"id": number + 1, "image_id": image, "category_id": 1, "segmentation": code, "area": area, "bbox": box}


def values(maps: Sequence[Labels], answers: Sequence[Masks]) -> dict[str, float | None]:
    found = score(MaskTruth(maps, NAMES), MaskPrediction(answers), IDS, np.arange(len(maps)))
    return {name: found[name].value for name in IDS}


def scored(labels: Labels, rng: np.random.Generator, levels: int) -> Masks:
    """The objects in random order, with scores of so many levels."""
    masks = to_masks(LabelMap(labels))
    order = rng.permutation(len(masks.rle))
    return Masks(masks.shape, tuple(masks.rle[k] for k in order), rng.integers(0, levels, len(order)) / levels)


def widened(labels: Labels, rng: np.random.Generator) -> Masks:
    """Masks that overlap: some objects widened by a pixel, some given twice, one empty."""
    masks = []
    for key in np.unique(labels[labels > 0]):
        mask = (labels == key).astype(np.uint32)
        wide = np.maximum(mask, np.roll(mask, 1, axis=int(rng.integers(2))))
        masks += [wide if rng.random() < 0.6 else mask] * int(rng.integers(1, 3))
    texts = [to_masks(LabelMap(one)).rle[0] for one in masks] + [
        rle.text_of(np.empty((0, 2), np.int64), labels.size)
    ] * int(rng.integers(2))
    return Masks((labels.shape[0], labels.shape[1]), tuple(texts), np.round(rng.random(len(texts)), 1))


@pytest.mark.parametrize("levels", [1, 5, 10**9], ids=["all tied", "many ties", "no tie"])
def test_scored_label_maps_are_scored_as_pycocotools_does(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for _ in range(60):
        pairs = [random_pair(rng, 12, 9) for _ in range(int(rng.integers(1, 6)))]
        maps = [a for a, _ in pairs]
        if not any(one.any() for one in maps):
            continue
        answers = [scored(b, rng, levels) for _, b in pairs]
        assert values(maps, answers) == pytest.approx(Pycocotools(1000)(maps, answers), abs=1e-9)


def test_masks_that_overlap_are_scored_as_pycocotools_does() -> None:
    rng = np.random.default_rng(11)
    for _ in range(120):
        pairs = [random_pair(rng, 10, 8) for _ in range(int(rng.integers(1, 5)))]
        maps = [a for a, _ in pairs]
        if not any(one.any() for one in maps):
            continue
        answers = [widened(b, rng) for _, b in pairs]
        assert values(maps, answers) == pytest.approx(Pycocotools(1000)(maps, answers), abs=1e-9)


def test_both_ways_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(21)
    pairs = [random_pair(rng, 12, 9) for _ in range(40)]
    truth = MaskTruth([a for a, _ in pairs], NAMES)
    prediction = MaskPrediction([scored(b, rng, 3) for _, b in pairs])
    kernel = coco_rows(truth, prediction)
    monkeypatch.setattr(many, "paint_apart", lambda *_: None)
    api = coco_rows(truth, prediction)
    assert kernel["n_truth"].tolist() == api["n_truth"].tolist()
    for mine, its in zip(kernel["detections"], api["detections"], strict=True):
        assert mine.tolist() == its.tolist()


def grid_of(number: int) -> Labels:
    labels = np.zeros((4, 3 * number), np.uint32)
    for k in range(number):
        labels[1:3, 3 * k : 3 * k + 2] = k + 1
    return labels


def test_a_perfect_prediction_is_exactly_1_where_the_usual_100_would_cut_it() -> None:
    for number in (250, 1_200):
        labels = grid_of(number)
        masks = to_masks(LabelMap(labels))
        answer = Masks(masks.shape, masks.rle, np.linspace(0, 1, number))
        assert values([labels], [answer]) == dict.fromkeys(IDS, 1.0)
        if number == 250:
            assert Pycocotools(100)([labels], [answer])["coco_ap"] == pytest.approx(41 / 101)
        assert most_detections(MaskPrediction([answer])) == number


def test_max_dets_is_100_where_no_image_has_more() -> None:
    labels = grid_of(3)
    answer = Masks(labels.shape, to_masks(LabelMap(labels)).rle, np.ones(3))
    assert most_detections(MaskPrediction([answer])) == 100
    assert most_detections(MaskPrediction([LabelMap(grid_of(300))])) == 100


def test_of_equal_scores_the_earlier_image_and_the_earlier_object_come_first() -> None:
    labels = grid_of(1)
    right, wrong = to_masks(LabelMap(labels)).rle[0], to_masks(LabelMap((labels == 0).astype(np.uint32))).rle[0]
    first = Masks(labels.shape, (right, wrong), np.array([0.5, 0.5]))
    last = Masks(labels.shape, (wrong, right), np.array([0.5, 0.5]))
    assert values([labels], [first])["coco_ap50"] == 1.0
    assert values([labels], [last])["coco_ap50"] == 0.5
    empty = np.zeros_like(labels)
    lone, stray = (Masks(labels.shape, (text,), np.array([0.5])) for text in (right, wrong))
    assert values([labels, empty], [lone, stray])["coco_ap50"] == 1.0
    assert values([empty, labels], [stray, lone])["coco_ap50"] == 0.5


def test_ties_follow_the_images_places_in_the_split_in_whatever_order_rows_come() -> None:
    rng = np.random.default_rng(6)
    pairs = [random_pair(rng, 10, 8) for _ in range(9)]
    truth = MaskTruth([a for a, _ in pairs], NAMES)
    prediction = MaskPrediction([scored(b, rng, 2) for _, b in pairs])
    order = rng.permutation(9)
    metric = METRICS["coco_ap"]
    shuffled = coco_rows(truth.take(order), prediction.take(order))
    assert metric.reduce(shuffled) == metric.reduce(coco_rows(truth, prediction))


def test_without_real_scores_there_is_no_coco_ap() -> None:
    labels = grid_of(2)
    truth = MaskTruth([labels, labels], NAMES)
    masks = to_masks(LabelMap(labels))
    sure = Masks(masks.shape, masks.rle, np.ones(2))
    for prediction in (
        MaskPrediction([LabelMap(labels)] * 2),
        MaskPrediction([masks] * 2),
        MaskPrediction([sure, masks]),
    ):
        found = score(truth, prediction, IDS, np.arange(2))
        assert {one.value for one in found.values()} == {None}
        assert {one.reason for one in found.values()} == {
            "needs a score for every predicted object, and none is made up"
        }
    nothing = Masks(masks.shape, ())
    assert score(truth, MaskPrediction([sure, nothing]), ["coco_ar"], np.arange(2))["coco_ar"].value == 0.5


def test_nothing_to_find_is_none_and_nothing_found_is_0() -> None:
    labels, empty = grid_of(2), np.zeros((4, 6), np.uint32)
    stray = Masks((4, 6), to_masks(LabelMap(labels)).rle, np.ones(2))
    assert values([empty], [stray]) == dict.fromkeys(IDS)
    assert values([labels], [Masks((4, 6), (), np.zeros(0))]) == dict.fromkeys(IDS, 0.0)


@pytest.mark.parametrize("sure", [[np.nan, 1.0], [np.inf, 1.0], [1.0]], ids=str)
def test_scores_that_are_no_numbers_or_too_few_are_refused(sure: list[float]) -> None:
    labels = grid_of(2)
    answer = Masks(labels.shape, to_masks(LabelMap(labels)).rle, np.array(sure))
    with pytest.raises(ModelError, match="image 0: 2 masks need as many finite scores"):
        coco_rows(MaskTruth([labels], NAMES), MaskPrediction([answer]))
