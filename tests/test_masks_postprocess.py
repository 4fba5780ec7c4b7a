"""From planes to objects, classes and masks: each rule restated, each assumption said, each misfit refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy import ndimage

from lensbench.errors import ModelError
from lensbench.images.labelmap import renumber
from lensbench.masks.classic import grow, watershed
from lensbench.masks.postprocess import (
    Components,
    Interior,
    Output,
    Watershed,
    class_map,
    detections,
    label_map,
)
from lensbench.masks.values import ClassMap, LabelMap

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
VALUES = st.floats(-8, 8, width=32)
Planes = NDArray[Any]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0


def planes(channels: int) -> st.SearchStrategy[Planes]:
    return SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, (channels, *shape), elements=VALUES))


def objects(given: Planes, output: Output = Output()) -> NDArray[np.uint32]:  # noqa: B008 - frozen
    value = label_map(given, (given.shape[1], given.shape[2]), "x", output).value
    assert isinstance(value, LabelMap) and value.pixels.dtype == np.uint32
    return value.pixels


def scipys(mask: Planes, connectivity: int = 4) -> Planes:
    """The components of a mask in the order of their first pixels."""
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    return renumber(ndimage.label(mask, structure)[0])


# -- label maps ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(planes(1), st.sampled_from([0.25, 0.5, 0.9]), st.sampled_from([4, 8]))
def test_one_plane_is_a_sigmoid(given: Planes, threshold: float, connectivity: Any) -> None:
    mask = given[0].astype(np.float64) >= math.log(threshold / (1 - threshold))
    found = objects(given, Output(threshold=threshold, connectivity=connectivity))
    assert np.array_equal(found, scipys(mask, connectivity))
    sigmoid = 1 / (1 + np.exp(-given[0].astype(np.float64)))
    clear = np.abs(sigmoid - threshold) > 1e-9
    assert np.array_equal((found != 0)[clear], (sigmoid >= threshold)[clear])


@settings(deadline=None)
@given(planes(2), st.sampled_from([0.25, 0.5, 0.9]))
def test_two_planes_are_a_softmax(given: Planes, threshold: float) -> None:
    found = objects(given, Output(threshold=threshold))
    powers = np.exp(given.astype(np.float64))
    share = powers[1] / powers.sum(0)
    clear = np.abs(share - threshold) > 1e-9
    assert np.array_equal((found != 0)[clear], (share >= threshold)[clear])
    assert np.array_equal(found, scipys(found != 0))


def test_exactly_the_threshold_is_foreground() -> None:
    assert objects(np.array([[[0.0, -1e-30, 1e-30]]], np.float32)).tolist() == [[1, 0, 2]]
    assert objects(np.full((2, 1, 1), 3.7, np.float32)).tolist() == [[1]]
    declared = Output(activation="probabilities", threshold=0.25)
    assert objects(np.array([[[0.25, 0.24999, 0.5]]]), declared).tolist() == [[1, 0, 2]]
    two = np.array([[[0.75, 0.76]], [[0.25, 0.24]]], np.float32)
    assert objects(two, declared).tolist() == [[1, 0]]


@settings(deadline=None)
@given(planes(3), st.integers(0, 3))
def test_three_planes_are_background_interior_and_boundary(given: Planes, steps: int) -> None:
    classes = np.array(
        [[max(range(3), key=lambda k: given[k, y, x]) for x in range(given.shape[2])] for y in range(given.shape[1])]
    )
    wanted = renumber(grow(scipys(classes == 1).astype(np.uint32), classes != 0, steps))
    assert np.array_equal(objects(given, Output(method=Interior(steps))), wanted)
    if steps == 2:
        assert np.array_equal(objects(given), wanted)
    assert np.array_equal(objects(given, Output(method=Components())), scipys(classes != 0))
    assert np.array_equal(objects(given, Output(method=Watershed(1))), watershed(classes != 0, 1))


def test_small_objects_are_dropped_at_the_end() -> None:
    logits = np.array([[[1, -1, 1, 1, -1, 1, 1, 1]]], np.float16)
    assert objects(logits, Output(min_size=2)).tolist() == [[0, 0, 1, 1, 0, 2, 2, 2]]


ONE, TWO, THREE = (np.linspace(-1, 1, n * 6).reshape(n, 2, 3).astype(np.float32) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("given", "output", "words"),
    [
        (
            ONE,
            Output(),
            ("one plane holds logits: sigmoid, foreground from 0.5 on", "4-connected components, the foreg"),
        ),
        (TWO, Output(), ("two planes hold logits: softmax", "4-connected components, the foreground's")),
        (
            THREE,
            Output(),
            ("background, interior and boundary", "4-connected components, the interior's, grown by 2 px"),
        ),
        (np.abs(ONE), Output(method=Components()), ("one plane holds logits", "lie in [0, 1]: declare probabilities")),
        (np.abs(ONE), Output("probabilities", method=Watershed()), ()),
        (ONE, Output("logits", 0.3, Components()), ()),
        (ONE, Output("logits", connectivity=8), ("8-connected components",)),
    ],
)
def test_what_nobody_declared_is_said(given: Planes, output: Output, words: tuple[str, ...]) -> None:
    assumed = label_map(given, (2, 3), "x", output).assumed
    assert len(assumed) == len(words)
    for part, line in zip(words, assumed, strict=True):
        assert part in line


LABEL_UNFIT: dict[str, tuple[Planes, Output, str]] = {
    "turned": (np.zeros((1, 3, 2), np.float32), Output(), r"gives \(1, 3, 2\) for an image of \(2, 3\)"),
    "channels-last": (np.zeros((2, 3, 1), np.float32), Output(), "is the layout H×W×C"),
    "flat": (np.zeros((2, 3), np.float32), Output(), "expected C×H×W"),
    "none": (np.zeros((0, 2, 3), np.float32), Output(), "gives 0 planes"),
    "four": (np.zeros((4, 2, 3), np.float32), Output(), "has 4 planes; objects are made of one"),
    "interior-of-two": (TWO, Output(method=Interior()), "interior . expansion needs three planes, the model gives 2"),
    "integers": (np.zeros((1, 2, 3), np.int64), Output(), "the output holds int64 values, expected floats"),
    "nan": (np.full((1, 2, 3), np.nan), Output(), "NaN or infinity"),
    "infinity": (np.full((1, 2, 3), np.inf), Output(), "NaN or infinity"),
    "logits-as-probabilities": (ONE, Output("probabilities"), "holds -1, no probability; are these logits"),
    "above-one": (np.full((1, 2, 3), 1.5), Output("probabilities"), "holds 1.5, no probability"),
}


@pytest.mark.parametrize("name", LABEL_UNFIT)
def test_planes_that_fit_no_image_are_refused(name: str) -> None:
    given, output, words = LABEL_UNFIT[name]
    with pytest.raises(ModelError, match=rf"\Ax: .*{words}"):
        label_map(given, (2, 3), "x", output)


def test_a_probability_may_be_rounded_past_one() -> None:
    assert objects(np.full((1, 2, 3), 1.0005), Output("probabilities")).tolist() == [[1] * 3] * 2


# -- class maps ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(3, 6).flatmap(planes))
def test_of_many_classes_the_largest_plane_wins_and_of_equal_ones_the_first(given: Planes) -> None:
    given = np.round(given)
    answer = class_map(given, len(given), (given.shape[1], given.shape[2]), "x")
    assert isinstance(answer.value, ClassMap) and answer.value.pixels.dtype == np.uint8 and not answer.assumed
    for y, x in np.ndindex(answer.value.shape):
        column = given[:, y, x].tolist()
        assert answer.value.pixels[y, x] == column.index(max(column))


@settings(deadline=None)
@given(st.integers(1, 3).flatmap(planes))
def test_two_classes_are_what_the_objects_are_made_of(given: Planes) -> None:
    shape = (given.shape[1], given.shape[2])
    answer = class_map(given, 2, shape, "x")
    assert np.array_equal(answer.value.pixels, objects(given, Output(method=Components())) != 0)
    assert len(answer.assumed) >= 1


def test_a_model_of_other_classes_is_refused() -> None:
    for logits, classes in ((THREE, 4), (ONE, 3), (TWO, 3), (np.zeros((4, 2, 3), np.float32), 2)):
        with pytest.raises(ModelError, match=rf"x: has {len(logits)} planes, the benchmark has {classes} classes"):
            class_map(logits, classes, (2, 3), "x")


# -- boxes, masks and scores ---------------------------------------------------------------------------------


def value_at(mask: Planes, y: float, x: float) -> float:
    """Between the four nearest samples; those beyond the mask are 0."""
    total = 0.0
    for v in (math.floor(y), math.floor(y) + 1):
        for u in (math.floor(x), math.floor(x) + 1):
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1]:
                total += max(0.0, 1 - abs(y - v)) * max(0.0, 1 - abs(x - u)) * float(mask[v, u])
    return total


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 1)),
    st.tuples(*[st.floats(-4, 16, width=16)] * 4),
)
def test_a_mask_is_pasted_into_its_box_pixel_by_pixel(mask: Planes, corners: tuple[float, ...]) -> None:
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    shape = (11, 13)
    masks, labels, _ = detections(
        np.array([[left, top, right, bottom]]), mask[None], np.array([0.5]), shape, "x", threshold=0.3
    )
    found = coco.decode({"size": list(shape), "counts": masks.rle[0]}).astype(bool)
    assert np.array_equal(labels.pixels != 0, found)
    for y, x in np.ndindex(shape):
        if not (left <= x + 1 and x < right and top <= y + 1 and y < bottom) or left == right or top == bottom:
            assert not found[y, x]
            continue
        v = (y + 0.5 - top) / (bottom - top) * mask.shape[0] - 0.5
        u = (x + 0.5 - left) / (right - left) * mask.shape[1] - 0.5
        value = value_at(mask, v, u)
        if abs(value - 0.3) > 1e-9:
            assert found[y, x] == (value >= 0.3), (y, x, value)


def square(y: int, x: int, side: int) -> Planes:
    mask = np.zeros((8, 10), np.float32)
    mask[y : y + side, x : x + side] = 1
    return mask


def test_masks_of_the_whole_image_keep_their_overlap_and_the_map_goes_by_score() -> None:
    masks = np.stack([square(0, 0, 4), square(2, 2, 4), square(0, 0, 0), square(3, 3, 1)])[:, None]
    scores = np.array([0.9, 0.4, 0.8, 0.4], np.float32)
    found, labels, assumed = detections(np.zeros((4, 4), np.float32), masks, scores, (8, 10), "x")
    assert found.scores is not None and found.scores.tolist() == scores.astype(float).tolist()
    for text, mask in zip(found.rle, masks[:, 0], strict=True):
        assert np.array_equal(coco.decode({"size": [8, 10], "counts": text}), mask)
    wanted = np.zeros((8, 10), np.uint32)
    wanted[2:6, 2:6] = 2
    wanted[0:4, 0:4] = 1
    assert np.array_equal(labels.pixels, wanted)  # the last has no pixel of its own, the third none at all
    assert assumed == ("masks hold probabilities, an object's pixels from 0.5 on", "a mask covers the whole image")


def test_no_detection_is_an_answer() -> None:
    nothing = np.zeros((0, 4), np.float32)
    found, labels, assumed = detections(nothing, np.zeros((0, 1, 28, 28), np.float32), nothing[:, 0], (8, 10), "x")
    assert found.rle == () and found.scores is not None and not len(found.scores)
    assert not labels.pixels.any() and labels.shape == (8, 10) and "covers its box" in assumed[1]


BOX, MASK, SCORE = np.array([[1.0, 1, 5, 5]]), np.ones((1, 4, 4)), np.ones(1)
UNFIT: dict[str, tuple[Planes, Planes, Planes, str]] = {
    "flat-box": (BOX[0], MASK, SCORE, "expected boxes n×4"),
    "two-boxes": (np.tile(BOX, (2, 1)), MASK, SCORE, r"not \(2, 4\), \(1, 4, 4\) and \(1,\)"),
    "two-masks": (BOX, np.ones((2, 4, 4)), SCORE, "expected boxes n×4"),
    "classes": (BOX, np.ones((1, 3, 4, 4)), SCORE, "expected boxes n×4"),
    "score-column": (BOX, MASK, np.ones((1, 1)), "expected boxes n×4"),
    "nan-box": (BOX * np.nan, MASK, SCORE, "the boxes holds NaN"),
    "nan-score": (BOX, MASK, SCORE * np.nan, "the scores holds NaN"),
    "integer-masks": (BOX, MASK.astype(np.uint8), SCORE, "the masks holds uint8"),
    "logits": (BOX, MASK * -3, SCORE, "holds -3, no probability"),
    "turned-box": (BOX[:, [2, 1, 0, 3]], MASK, SCORE, "a box ends before it begins"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_detections_that_do_not_fit_are_refused(name: str) -> None:
    boxes, masks, scores, words = UNFIT[name]
    with pytest.raises(ModelError, match=rf"\Ax: .*{words}"):
        detections(boxes, masks, scores, (8, 10), "x")


@pytest.mark.filterwarnings("error")
def test_boxes_of_any_size_cost_no_more_than_the_image() -> None:
    boxes = np.array([[-1e30, -1e30, 1e30, 1e30], [3.0, 3.0, np.nextafter(3.0, 4), 3.5], [2.0, 2.0, 2.0, 4.0]])
    found, _, _ = detections(boxes, np.ones((3, 2, 2)), np.ones(3), (8, 10), "x")
    areas = [int(coco.area({"size": [8, 10], "counts": text})) for text in found.rle]
    assert areas == [80, 0, 0]
