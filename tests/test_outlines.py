"""Pictures of segmentations: fates by their definition, outlines that enclose what they should, sound SVG."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from lensbench.errors import ModelError
from lensbench.leaderboard.outlines import (
    FATES,
    MOST,
    QUARTERS,
    SIDE,
    Drawing,
    Fates,
    backdrop,
    draw,
    draw_classes,
    draw_objects,
    object_fates,
)
from lensbench.masks.protocol import AITS_LEGACY, DEFAULT, Scoring
from lensbench.masks.values import ClassMap, LabelMap, to_masks
from lensbench.metrics.overlap import overlap

Labels = NDArray[Any]
MAPS = hnp.arrays(np.uint32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 3, 70_000]))


def by_definition(truth: Labels, predicted: Labels, scoring: Scoring) -> tuple[list[str], list[str]]:
    """The fates, pair by pair."""
    ids = [[int(key) for key in np.unique(labels) if key] for labels in (truth, predicted)]
    table = np.zeros((len(ids[0]), len(ids[1])))
    for n, own in enumerate(ids[0]):
        for m, other in enumerate(ids[1]):
            both = (truth == own) & (predicted == other)
            table[n, m] = both.sum() / ((truth == own) | (predicted == other)).sum()
    hits: list[tuple[int, int]] = []
    for n, m in np.argwhere(table > 0.5 if scoring.iou == ">" else table >= 0.5).tolist():
        if all(n != a and m != b for a, b in hits):
            hits.append((n, m))
    sides = []
    for axis, none, several in ((0, "miss", "split"), (1, "false", "merge")):
        matched = {hit[axis] for hit in hits}
        many = (table > 0.1).sum(1 - axis) > 1
        sides.append([several if many[n] else "hit" if n in matched else none for n in range(table.shape[axis])])
    return sides[0], sides[1]


@settings(deadline=None, max_examples=200)
@given(MAPS, MAPS, st.sampled_from([DEFAULT.scoring, AITS_LEGACY.scoring]))
def test_fates_are_those_of_the_definition(truth: Labels, predicted: Labels, scoring: Scoring) -> None:
    fates = object_fates(overlap(truth, predicted), scoring)
    wanted = by_definition(truth, predicted, scoring)
    assert (fates.truth.tolist(), fates.predicted.tolist()) == wanted
    counts = fates.counts
    assert counts["split"] == wanted[0].count("split") and counts["merge"] == wanted[1].count("merge")
    assert counts["hit"] + counts["miss"] == len(wanted[0]) and counts["hit"] + counts["false"] == len(wanted[1])


def paths(drawing: Drawing) -> dict[str, str]:
    root = ElementTree.fromstring(drawing.svg)
    return {str(path.get("class")): str(path.get("d")) for path in root.iter("path")}


def filled(data: str, shape: tuple[int, int]) -> Labels:
    """Which pixels' centres the outlines of a path enclose, rings left aside."""
    polygons = []
    for part in re.findall(r"M(-?\d+) (-?\d+)l([-\d ]+)z", data):
        steps = np.array(part[2].split(), int).reshape(-1, 2)
        polygons.append(np.cumsum(np.vstack([[int(part[0]), int(part[1])], steps]), axis=0).astype(np.int32))
    canvas = np.zeros((QUARTERS * shape[0], QUARTERS * shape[1]), np.uint8)
    cv2.fillPoly(canvas, polygons, 1)
    inside: Labels = canvas[2::QUARTERS, 2::QUARTERS] != 0
    return inside


def everything(labels: Labels, fate: str) -> Fates:
    number = len(np.unique(labels[labels != 0]))
    return Fates(np.array([], "<U5"), np.full(number, fate), dict.fromkeys(FATES, 0) | {fate: number})


@settings(deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_an_outline_encloses_its_object(mask: Labels) -> None:
    image = np.zeros(mask.shape, np.uint8)
    drawing = draw_objects(image, np.zeros(mask.shape, np.uint32), mask.astype(np.uint32), everything(mask, "hit"), "x")
    drawn = filled(paths(drawing).get("hit", ""), mask.shape)
    deep = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > 1.5
    far = ndimage.distance_transform_edt(~mask) > 1.5 if mask.any() else ~mask
    assert drawn[deep].all() and not drawn[far].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (3, 3), (5, 9)])
def test_a_box_is_outlined_to_the_pixel(size: tuple[int, int]) -> None:
    truth = np.zeros((12, 14), np.uint32)
    truth[2 : 2 + size[0], 4 : 4 + size[1]] = 9
    drawing = draw_objects(truth, truth, np.zeros_like(truth), Fates(np.array(["miss"]), np.array([]), {}), "x")
    assert np.array_equal(filled(paths(drawing)["miss"], (12, 14)), truth != 0)


def test_misses_lie_as_in_truth_and_the_rest_as_predicted() -> None:
    truth, predicted = np.zeros((2, 900, 1000), np.uint32)
    truth[100:200, 100:200], predicted[101:202, 100:200] = 5, 8  # matched
    truth[300:303, 300:302] = 6  # missed, and small
    predicted[500:600, 500:600] = 2  # there is nothing
    truth[700:800, 100:300], predicted[700:800, 100:205], predicted[700:800, 205:300] = 9, 3, 4  # split
    truth[700:800, 500:595], truth[700:800, 595:700], predicted[700:800, 500:700] = 11, 12, 7  # merged
    fates = object_fates(overlap(truth, predicted), Scoring())
    drawing = draw_objects(np.zeros((900, 1000), np.uint16), truth, predicted, fates, "a <b>")
    assert dict(drawing.counts) == {"hit": 3, "false": 2, "miss": 2, "split": 1, "merge": 1}
    shown = {name: filled(data, (900, 1000)) for name, data in paths(drawing).items()}
    areas = {"false": [2, 4], "hit": [8, 3], "merge": [7], "miss": [6, 11], "split": [9]}
    for name, ids in areas.items():
        labels = predicted if name in ("hit", "false", "merge") else truth
        wrong = np.count_nonzero(shown[name] != np.isin(labels, ids))
        assert wrong == 0, (name, wrong)
    rings = {name: data.count("a") for name, data in paths(drawing).items()}
    assert rings == {"hit": 0, "false": 0, "miss": 2, "split": 0, "merge": 0}
    assert ElementTree.fromstring(drawing.svg).get("aria-label") == "a <b>"


def test_classes_are_areas_with_their_pixels() -> None:
    truth, predicted = np.zeros((2, 20, 30), np.uint8)
    truth[2:10, 2:10], predicted[4:10, 2:14] = 1, 1
    truth[12:18, 3:9], predicted[12:18, 3:9] = 2, 1
    drawing = draw_classes(np.zeros((20, 30, 3), np.uint8), truth, predicted, "x")
    assert dict(drawing.counts) == {"hit": 48, "false": 24, "miss": 16, "split": 36}
    assert {name: int(filled(data, (20, 30)).sum()) for name, data in paths(drawing).items()} == drawing.counts
    nothing = draw_classes(truth, np.zeros_like(truth), np.zeros_like(truth), "x")
    assert not paths(nothing) and not any(nothing.counts.values())


def test_an_answer_is_drawn_as_the_protocol_compares_it() -> None:
    image, truth = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint32)
    truth[4:14, 4:14], truth[20:22, 20:22] = 1, 2
    other = np.where(truth == 1, 7, 0).astype(np.uint32)
    counts = {"hit": 1, "false": 0, "miss": 1, "split": 0, "merge": 0}
    for value in (LabelMap(other), to_masks(LabelMap(other))):
        assert dict(draw(image, truth, value, Scoring(), "x", 0).counts) == counts
        assert dict(draw(image, truth, value, Scoring(min_size=5), "x", 0).counts) == counts | {"miss": 0}
    wide = draw(image, truth, LabelMap(other), Scoring(dilation=3), "x", 0)
    assert filled(paths(wide)["hit"], (30, 40)).sum() == 144
    foreground = ClassMap((other > 0).astype(np.uint8))
    assert dict(draw(image, truth, foreground, Scoring(), "x", 0).counts) == {
        "hit": 100,
        "false": 0,
        "miss": 4,
        "split": 0,
    }
    three = draw(image, truth.astype(np.uint8), ClassMap(np.uint8(2) * foreground.pixels), Scoring(), "x", 3)
    assert dict(three.counts) == {"hit": 0, "false": 0, "miss": 4, "split": 100}
    with pytest.raises(ModelError, match="x holds class 2"):
        draw(image, truth.astype(np.uint8), ClassMap(np.uint8(2) * foreground.pixels), Scoring(), "x", 2)


def test_noise_is_drawn_in_part_and_says_so() -> None:
    noise = np.indices((200, 200)).sum(axis=0) % 2 == 0
    number = int(noise.sum())
    labels = np.zeros((200, 200), np.uint32)
    labels[noise] = np.arange(1, number + 1)
    empty = np.zeros_like(labels)
    objects = draw(empty, empty, LabelMap(labels), Scoring(), "x", 0)
    spots = np.zeros((200, 200), np.uint8)
    spots[::2, ::2] = 1
    areas = draw(empty, empty, ClassMap(spots), Scoring(), "x", 2)
    assert objects.cut and areas.cut
    assert objects.counts["false"] == number == 20_000 and areas.counts["false"] == 10_000
    assert paths(objects)["false"].count("l") == paths(areas)["false"].count("l") == MOST
    assert not draw(empty, empty, LabelMap(empty), Scoring(), "x", 0).cut


@pytest.mark.parametrize(
    ("shape", "size"), [((1104, 1104), (SIDE, SIDE)), ((32, 48), (32, 48)), ((9, 4000, 3), (2, SIDE)), ((1, 1), (1, 1))]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_picture_below_is_small_and_grey(shape: tuple[int, ...], size: tuple[int, int], dtype: Any) -> None:
    ramp = np.broadcast_to(np.arange(shape[1]).reshape([1, -1] + [1] * (len(shape) - 2)), shape)
    data = backdrop((ramp * (1 / 4000 if dtype == np.float32 else 1)).astype(dtype))
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    assert found.shape[:2] == size and np.ptp(found.astype(int), axis=2).max() <= 2
    if shape[1] > 40 and dtype != np.uint8:
        assert found[0, 0, 0] < 40 and found[-1, -1, 0] > 215


def test_a_picture_carries_its_image_and_nothing_from_outside() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    empty = np.zeros((40, 50), np.uint32)
    svg = draw_objects(image, empty, empty, object_fates(overlap(empty, empty), Scoring()), "x").svg
    (href,) = re.findall(r'href="([^"]*)"', svg)
    head, _, data = href.partition(",")
    assert head == "data:image/webp;base64" and base64.b64decode(data, validate=True) == backdrop(image)
