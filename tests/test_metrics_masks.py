"""Mask metrics against the slow oracle, on every awkward map that is known, and by the rules they state."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError, ModelError
from lensbench.masks.protocol import AITS_LEGACY, Scoring
from lensbench.masks.values import ClassMap, LabelMap, Masks, Value, to_masks
from lensbench.metrics import METRICS, MaskPrediction, MaskTruth, curve, get_metric, mask_rows, per_image, score
from lensbench.metrics.assignment import best_assignment
from lensbench.metrics.base import concatenated
from lensbench.metrics.overlap import BLOCK, overlap
from tests import mask_oracle as oracle

Labels = NDArray[Any]
NAMES = ("background", "nucleus")
PLAIN = Scoring()
IDS = [
    name
    for name, metric in METRICS.items()
    if "segmentation" in metric.tasks and not name.startswith("coco") and name != "boundary_iou"
]
OBJECT_IDS = [name for name in IDS if not name.startswith(("iou", "dice", "miou"))]


def values(
    maps: Sequence[Labels], mine: Sequence[Labels], scoring: Scoring = PLAIN, ids: Sequence[str] = IDS
) -> dict[str, float | None]:
    truth = MaskTruth(maps, NAMES, scoring)
    prediction = MaskPrediction([LabelMap(one) for one in mine])
    return {name: found.value for name, found in score(truth, prediction, ids, np.arange(len(maps))).items()}


def expect(maps: Sequence[Labels], mine: Sequence[Labels], scoring: Scoring = PLAIN) -> None:
    """Every metric is the oracle's."""
    found = values(maps, mine, scoring)
    images = [oracle.image(a, b, scoring.iou == ">") for a, b in zip(maps, mine, strict=True)]
    expected = {name: oracle.value(name, images, scoring.pooling == "image-mean") for name in IDS}
    for name in IDS:
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name


def grid(*rows: str) -> NDArray[np.uint32]:
    return np.array([[int(c) for c in row] for row in rows], np.uint32)


# ------------------------------------------------------------------ the oracle


@pytest.mark.parametrize("scoring", [Scoring(), Scoring(iou=">"), Scoring(pooling="image-mean")], ids=str)
def test_every_metric_is_the_oracles_on_random_maps(scoring: Scoring) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        pairs = [oracle.random_pair(rng) for _ in range(int(rng.integers(1, 4)))]
        expect([a for a, _ in pairs], [b for _, b in pairs], scoring)


def cells(most: int, size: int) -> st.SearchStrategy[NDArray[np.uint32]]:
    return st.lists(st.integers(0, most), min_size=size, max_size=size).map(lambda x: np.array([x], np.uint32))


@settings(max_examples=150)
@given(cells(3, 12), cells(3, 12), st.sampled_from([">=", ">"]))
def test_every_metric_is_the_oracles_on_any_small_map(true: Labels, mine: Labels, rule: Any) -> None:
    """Few pixels, so that halves, ties and stars are common."""
    expect([true], [mine], Scoring(iou=rule))


@given(cells(4, 30), cells(4, 30), st.randoms(use_true_random=False))
def test_renaming_objects_changes_no_bit(true: Labels, mine: Labels, random: Any) -> None:
    def renamed(labels: Labels) -> Labels:
        ids = [0, *random.sample(range(1, 2**32), 4)]
        return np.array(ids, np.uint32)[labels]

    assert values([renamed(true)], [renamed(mine)]) == values([true], [mine])


@given(st.lists(st.tuples(cells(3, 9), cells(3, 9)), min_size=2, max_size=5))
def test_rows_of_parts_are_the_parts_of_the_rows(pairs: list[tuple[Labels, Labels]]) -> None:
    truth = MaskTruth([a for a, _ in pairs], NAMES)
    prediction = MaskPrediction([LabelMap(b) for _, b in pairs])
    whole = mask_rows(truth, prediction)
    each = [mask_rows(truth.take(np.array([i])), prediction.take(np.array([i]))) for i in range(len(pairs))]
    merged = concatenated(each)
    assert all(np.array_equal(whole[name], merged[name]) for name in whole)


def test_sums_over_blocks_are_sums_over_the_image() -> None:
    """Runs are cut at the ends of blocks: no count may notice."""
    rng = np.random.default_rng(3)
    true, mine = (np.repeat(rng.integers(0, 5, BLOCK // 100), 257).astype(np.uint32)[None] for _ in range(2))
    assert true.size > 2 * BLOCK
    found = overlap(true, mine)
    dense = np.zeros((5, 5), np.int64)
    np.add.at(dense, (true, mine), 1)
    assert found.truth_areas.tolist() == dense[1:].sum(axis=1).tolist()
    assert found.predicted_areas.tolist() == dense[:, 1:].sum(axis=0).tolist()
    assert found.intersection.tolist() == dense[1:, 1:].reshape(-1).tolist()
    assert found.foreground.tolist() == [[dense[0, 0], dense[0, 1:].sum()], [dense[1:, 0].sum(), dense[1:, 1:].sum()]]


# ------------------------------------------------------------------ awkward maps


@pytest.mark.parametrize("k", range(1, 20))
def test_an_iou_of_exactly_k_twentieths_counts_from_there_on_and_not_above(k: int) -> None:
    true, mine = np.zeros((1, 21), np.uint32), np.zeros((1, 21), np.uint32)
    true[0, :20], mine[0, :k] = 9, 4
    for rule, offset in ((">=", 0), (">", 1)):
        tp = mask_rows(MaskTruth([true], NAMES, Scoring(iou=rule)), MaskPrediction([LabelMap(mine)]))["tp"][0]  # type: ignore[arg-type]
        assert tp.tolist() == [int(t + offset <= k) for t in range(10, 20)]
    expect([true], [mine])


def test_stars_of_exact_halves_match_once_both_ways() -> None:
    one, halves = grid("1111110"), grid("1112220")
    for true, mine in ((one, halves), (halves, one)):
        rows = mask_rows(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]))
        assert rows["tp"][0].tolist() == [1] + [0] * 9
        assert rows["strict"][0] == 0
        expect([true], [mine])
        expect([true], [mine], Scoring(iou=">"))


AWKWARD = {
    "no background": (np.ones((3, 4), np.uint32), np.ones((3, 4), np.uint32)),
    "no background, two objects": (grid("1122", "1122"), grid("1122", "1112")),
    "gaps and ids above 65,535": (grid("1005", "1005") * np.uint32(70_001), grid("9900", "9000") * np.uint32(4e8)),
    "an object in two parts": (grid("1010", "0000"), grid("1020", "0000")),
    "a diagonal touch": (grid("100", "010", "000"), grid("100", "020", "000")),
    "objects of one pixel": (grid("10203", "00000"), grid("10302", "00000")),
    "truth empty": (grid("000"), grid("110")),
    "prediction empty": (grid("110"), grid("000")),
    "one prediction over all": (grid("1122", "3344"), grid("1111", "1111")),
    "assignment breaks a match": (grid("11111111122222223333"), grid("44444111111111555533")),
}  # fmt: skip


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_maps_are_scored_as_the_oracle_does(case: str) -> None:
    true, mine = AWKWARD[case]
    expect([true], [mine])
    expect([true, mine], [mine, true], Scoring(pooling="image-mean"))


def test_the_best_assignment_may_leave_a_match_for_two_smaller_overlaps() -> None:
    """IoU .5625 of one pair against .28 + .30 of two: AJI+ is by its own assignment, not by the matches."""
    true = np.repeat(np.array([1, 2], np.uint32), [100, 29])[None]
    mine = np.repeat(np.array([3, 4], np.uint32), [28, 101])[None]
    found = values([true], [mine])
    assert found["aji_plus"] == pytest.approx((28 + 29) / (258 - 57))
    assert found["f1@0.5"] == 0.5
    expect([true], [mine])


@pytest.mark.parametrize("number", [60, 1_200])
def test_a_perfect_prediction_is_1_at_any_number_of_objects(number: int) -> None:
    labels = np.zeros((6, 3 * number), np.uint32)
    for k in range(number):
        labels[1:5, 3 * k : 3 * k + 2 + k % 2] = k + 1
    found = values([labels, labels], [labels, labels])
    undefined = {"recall_medium", "recall_large"}
    for name in IDS:
        expected = 0.0 if name in ("splits", "merges") else None if name in undefined else 1.0
        assert found[name] == expected, name


def test_losing_a_match_never_raises_f1() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        true, mine = oracle.random_pair(rng)
        before = values([true], [mine], ids=["f1@0.5"])["f1@0.5"]
        for matched in np.unique(mine[mine > 0]):
            less = np.where(mine == matched, 0, mine).astype(np.uint32)
            counted = mask_rows(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]))["tp"][0, 0]
            fewer = mask_rows(MaskTruth([true], NAMES), MaskPrediction([LabelMap(less)]))["tp"][0, 0]
            after = values([true], [less], ids=["f1@0.5"])["f1@0.5"]
            if fewer < counted:
                assert after is None or (before is not None and after < before)


def test_the_order_of_images_changes_no_value() -> None:
    rng = np.random.default_rng(4)
    pairs = [oracle.random_pair(rng) for _ in range(7)]
    forward = values([a for a, _ in pairs], [b for _, b in pairs])
    backward = values([a for a, _ in pairs[::-1]], [b for _, b in pairs[::-1]])
    for name in IDS:
        assert forward[name] == pytest.approx(backward[name], abs=1e-14), name


# ------------------------------------------------------------------ empty images, nothing to measure


EMPTY = np.zeros((3, 4), np.uint32)
ONE = grid("1100", "1100", "0000")


def test_nothing_to_measure_is_none_with_a_reason_never_a_number() -> None:
    truth, prediction = MaskTruth([EMPTY], NAMES), MaskPrediction([LabelMap(EMPTY)])
    for name, found in score(truth, prediction, OBJECT_IDS, np.zeros(1, int)).items():
        assert found.value is None, name
        assert found.reason
    assert values([EMPTY], [EMPTY], ids=["iou_fg", "dice_fg"]) == {"iou_fg": None, "dice_fg": None}
    assert values([EMPTY], [EMPTY], ids=["miou"]) == {"miou": 1.0}  # background is a class, and is there
    assert values([EMPTY], [ONE], ids=["recall@0.5", "seg", "precision@0.5"]) == {
        "recall@0.5": None,
        "seg": None,
        "precision@0.5": 0.0,
    }


def test_an_empty_image_adds_nothing_to_pooled_counts_and_is_1_in_an_image_mean() -> None:
    half = grid("1000", "1000", "0000")
    pooled = values([ONE, EMPTY], [half, EMPTY])
    alone = values([ONE], [half])
    assert {name: pooled[name] for name in OBJECT_IDS} == {name: alone[name] for name in OBJECT_IDS}
    mean = values([ONE, EMPTY], [half, EMPTY], Scoring(pooling="image-mean"))
    assert mean["pq"] == 0.5  # (0 + 1) / 2
    assert mean["f1@0.5"] == 1.0
    assert mean["sq"] is None
    assert mean["iou_fg"] == pooled["iou_fg"] == 0.5
    assert mean["iou_fg_macro"] == pooled["iou_fg_macro"] == 0.75


def test_an_image_of_which_a_ratio_says_nothing_is_left_out_of_the_mean() -> None:
    mean = values([ONE, ONE], [ONE, EMPTY], Scoring(pooling="image-mean"))
    assert mean["precision@0.5"] == 1.0
    assert mean["recall@0.5"] == 0.5


# ------------------------------------------------------------------ protocols


def test_a_protocol_widens_and_removes_before_anything_is_counted() -> None:
    true = np.zeros((12, 12), np.uint32)
    true[2:7, 2:7], true[9:11, 9:11] = 1, 2
    mine = np.zeros_like(true)
    mine[3:6, 3:6] = 5
    scoring = AITS_LEGACY.scoring
    found = values([true], [mine], scoring)
    assert found["f1@0.95"] == 1.0  # 3 × 3 widened to 5 × 5; the object of 4 pixels does not count
    assert found["iou_fg"] == 1.0
    assert values([true], [mine])["f1@0.5"] == 0.0
    rows = mask_rows(MaskTruth([true], NAMES, replace(scoring, min_size=0)), MaskPrediction([LabelMap(mine)]))
    assert rows["objects"].tolist() == [[2, 1]]


# ------------------------------------------------------------------ kinds of answers


def test_masks_that_do_not_overlap_are_their_label_map() -> None:
    rng = np.random.default_rng(8)
    pairs = [oracle.random_pair(rng) for _ in range(6)]
    truth = MaskTruth([a for a, _ in pairs], NAMES)
    maps = MaskPrediction([LabelMap(b) for _, b in pairs])
    masks = MaskPrediction([to_masks(LabelMap(b)) for _, b in pairs])
    clusters = np.arange(6)
    assert score(truth, maps, IDS, clusters) == score(truth, masks, IDS, clusters)


def test_where_masks_overlap_the_surer_one_keeps_the_pixel_and_without_scores_nobody() -> None:
    first, second = (to_masks(LabelMap(grid(row))).rle[0] for row in ("111000", "001110"))
    truth = MaskTruth([grid("110000")], NAMES)
    sure = Masks((1, 6), (first, second), np.array([0.2, 0.9]))
    rows = mask_rows(truth, MaskPrediction([sure]))
    assert rows["iou_sum"].tolist() == [1.0]
    with pytest.raises(ModelError, match="image 0: masks 1 and 2 overlap"):
        mask_rows(truth, MaskPrediction([Masks((1, 6), (first, second))]))


def test_a_class_map_is_scored_by_its_foreground_and_not_by_objects() -> None:
    truth = MaskTruth([ONE], NAMES)
    prediction = MaskPrediction([ClassMap((ONE > 0).astype(np.uint8) * 3)])
    found = score(truth, prediction, ["iou_fg", "f1@0.5", "miou"], np.zeros(1, int))
    assert (found["iou_fg"].value, found["miou"].value) == (1.0, 1.0)
    assert found["f1@0.5"].reason == "needs objects, the predictions are class maps"


def test_objects_are_the_foreground_of_two_classes_and_nothing_of_three() -> None:
    pixels = (ONE > 0).astype(np.uint8)
    overlapping = Masks(ONE.shape, to_masks(LabelMap(ONE)).rle * 2)
    answers: list[Value] = [LabelMap(ONE), to_masks(LabelMap(ONE)), overlapping]
    for answer in answers:
        truth = MaskTruth([pixels], ("background", "car"), instances=False)
        found = score(truth, MaskPrediction([answer]), ["iou_fg", "miou", "iou@car", "pq"], np.zeros(1, int))
        assert [found[name].value for name in ("iou_fg", "miou", "iou@car")] == [1.0, 1.0, 1.0]
        assert found["pq"].reason == "needs objects, the benchmark's truth is a class map"
        three = MaskTruth([pixels], ("background", "car", "road"), instances=False)
        found = score(three, MaskPrediction([answer]), ["iou_fg", "miou"], np.zeros(1, int))
        assert {one.reason for one in found.values()} == {
            "needs class maps of 3 classes, the predictions are objects without a class"
        }


def test_semantic_scores_are_scikit_learns() -> None:
    from sklearn.metrics import f1_score, jaccard_score

    rng = np.random.default_rng(2)
    names = ("background", "car", "road", "never")
    true = [rng.integers(0, 3, (20, 30)).astype(np.uint8) for _ in range(5)]
    mine = [np.where(rng.random(t.shape) < 0.4, rng.integers(0, 4, t.shape), t).astype(np.uint8) for t in true]
    truth = MaskTruth(true, names, instances=False)
    ids = ["miou", "iou@car", "iou@never", "iou_fg", "dice_fg", "iou@sky"]
    found = score(truth, MaskPrediction([ClassMap(one) for one in mine]), ids, np.arange(5))
    y, p = (np.concatenate([one.reshape(-1) for one in side]) for side in (true, mine))
    each = jaccard_score(y, p, labels=[0, 1, 2, 3], average=None)
    assert found["miou"].value == pytest.approx(each[:3].mean(), abs=1e-12)
    assert found["iou@car"].value == pytest.approx(each[1], abs=1e-12)
    assert found["iou@never"].value == 0.0
    assert found["iou_fg"].value == pytest.approx(jaccard_score(y > 0, p > 0), abs=1e-12)
    assert found["dice_fg"].value == pytest.approx(f1_score(y > 0, p > 0), abs=1e-12)
    assert found["iou@sky"].reason == "no class 'sky'; the classes are background, car, road, never"


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (np.zeros((3, 4), np.float32), "holds float32 values"),
        (np.zeros((3, 4), np.bool_), "holds bool values"),
        (np.zeros((3, 4, 3), np.uint8), r"has the shape \(3, 4, 3\)"),
        (np.full((3, 4), -1, np.int32), "holds -1"),
        (np.full((3, 4), 2**32, np.int64), "ids have 32 bits"),
        (np.zeros((4, 3), np.uint32), "it looks transposed"),
        (np.zeros((3, 5), np.uint32), "the prediction is 3 × 5, the image 3 × 4"),
        (np.zeros((0, 4), np.uint32), r"has the shape \(0, 4\)"),
    ],
)
def test_what_is_no_label_map_of_the_image_is_refused_by_name(pixels: Labels, what: str) -> None:
    truth = MaskTruth([EMPTY, EMPTY], NAMES, ids=("a.png", "b.png"))
    with pytest.raises(ModelError, match=f"b.png.*{what}"):
        mask_rows(truth, MaskPrediction([LabelMap(EMPTY), LabelMap(pixels)]))


def test_a_true_map_that_is_none_is_the_benchmarks_fault() -> None:
    with pytest.raises(BenchmarkError, match="truth of image 0 holds float64"):
        mask_rows(MaskTruth([np.zeros((3, 4))], NAMES), MaskPrediction([LabelMap(EMPTY)]))
    with pytest.raises(BenchmarkError, match="truth of image 0 holds class 2"):
        mask_rows(MaskTruth([EMPTY + 2], NAMES, instances=False), MaskPrediction([ClassMap(EMPTY.astype(np.uint8))]))


def test_answers_that_do_not_fit_are_refused() -> None:
    truth = MaskTruth([ONE, ONE], NAMES)
    with pytest.raises(ModelError, match="1 predictions for 2 images"):
        mask_rows(truth, MaskPrediction([LabelMap(ONE)]))
    mixed: list[Value] = [LabelMap(ONE), ClassMap(ONE.astype(np.uint8))]
    with pytest.raises(ModelError, match="image 1: a classmap among predictions of kind labelmap"):
        mask_rows(truth, MaskPrediction(mixed))
    classes = MaskTruth([(ONE > 0).astype(np.uint8)], NAMES, instances=False)
    with pytest.raises(ModelError, match="the prediction of image 0 holds class 7, there are 0 to 1"):
        mask_rows(classes, MaskPrediction([ClassMap(np.full(ONE.shape, 7, np.uint8))]))
    with pytest.raises(BenchmarkError, match="metric 'top1' is of classification"):
        score(truth, MaskPrediction([LabelMap(ONE)] * 2), ["top1"], np.arange(2))
    with pytest.raises(BenchmarkError, match=r"unknown metric 'f1@0\.51'; did you mean 'f1@0\.5'"):
        get_metric("f1@0.51")


# ------------------------------------------------------------------ beside the metrics


def test_each_image_and_the_curve_are_told_by_their_counts() -> None:
    true, mine = grid("1100220033", "0000000000"), grid("1100200304", "0000000000")
    truth = MaskTruth([true, EMPTY], NAMES)
    rows = mask_rows(truth, MaskPrediction([LabelMap(mine), LabelMap(EMPTY)]))
    first, second = per_image(rows)
    assert (first.n_truth, first.n_predicted, first.tp, first.fp, first.fn) == (3, 4, 3, 1, 0)
    assert first.f1 == 6 / 7
    assert first.iou_fg == 4 / 7
    assert (second.n_truth, second.f1, second.iou_fg) == (0, None, None)
    points = curve(rows)
    assert [point.threshold for point in points] == [k / 20 for k in range(10, 20)]
    assert (points[0].tp, points[0].fp, points[0].fn, points[0].f1) == (3, 1, 0, 6 / 7)
    assert (points[1].tp, points[9].tp) == (1, 1)


def test_without_objects_an_image_has_its_pixels_only() -> None:
    rows = mask_rows(MaskTruth([ONE], NAMES), MaskPrediction([ClassMap((ONE > 0).astype(np.uint8))]))
    (only,) = per_image(rows)
    assert only.iou_fg == 1.0
    assert (only.tp, only.f1, only.n_truth) == (None, None, None)
    assert curve(rows) == []


# ------------------------------------------------------------------ boundary IoU


def slow_boundary(true: Labels, mine: Labels) -> float | None:
    """By each object alone: what a square of two pixels either way does not keep inside."""

    def outline(mask: Labels) -> Labels:
        padded = np.pad(mask, 2)
        height, width = mask.shape
        inside = mask.copy()
        for y in range(5):
            for x in range(5):
                inside &= padded[y : y + height, x : x + width]
        return mask & ~inside

    found = []
    for key in np.unique(true[true > 0]):
        for other in np.unique(mine[mine > 0]):
            a, b = true == key, mine == other
            if 2 * (a & b).sum() > (a | b).sum():
                found.append((outline(a) & outline(b)).sum() / (outline(a) | outline(b)).sum())
    return float(np.mean(found)) if found else None


def test_boundary_iou_is_of_each_matched_pairs_outlines() -> None:
    rng = np.random.default_rng(9)
    defined = 0
    for _ in range(40):
        true, mine = oracle.random_pair(rng, 18)
        found = values([true], [mine], Scoring(iou=">"), ["boundary_iou"])["boundary_iou"]
        expected = slow_boundary(true, mine)
        defined += expected is not None
        assert found == pytest.approx(expected, abs=1e-12)
    assert defined > 20


def test_boundary_iou_sees_what_iou_forgives() -> None:
    true = np.zeros((60, 60), np.uint32)
    true[5:55, 5:55] = 1
    mine = np.zeros_like(true)
    mine[7:53, 7:53] = 8
    found = values([true], [mine], ids=["boundary_iou", "sq"])
    assert found == {"boundary_iou": 0.0, "sq": 46**2 / 50**2}
    assert values([true], [true * 3], ids=["boundary_iou"]) == {"boundary_iou": 1.0}
    assert values([true], [np.zeros_like(true)], ids=["boundary_iou"]) == {"boundary_iou": None}


# ------------------------------------------------------------------ size, and maps meant to be costly


def peak(work: Any) -> float:
    """MiB held at most, beside what there was."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def scored_rows(true: Labels, mine: Labels) -> Any:
    return mask_rows(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]))


def cells_of(side: int, size: int, shift: int = 0) -> Labels:
    """Squares of `size` pixels, one beside the other, numbered row by row."""
    y, x = np.mgrid[shift : side + shift, shift : side + shift] // size
    numbers: Labels = 1 + y * (side // size + 2) + x
    return numbers.astype(np.uint32)


@pytest.mark.slow
def test_4416_squared_with_5000_objects_takes_less_than_100_mib() -> None:
    side, size = 4416, 62
    true, mine = cells_of(side, size), cells_of(side, size, 3)
    true[::size], mine[:, ::size] = 0, 0
    assert len(np.unique(true)) > 5_000
    assert peak(lambda: scored_rows(true, mine)) < 100


def test_stripes_over_thousands_of_objects_are_one_tangle_and_take_little() -> None:
    """Every true object competes with every other: a dense table of them would be 84 MiB, and cubic in time."""
    true = cells_of(1104, 16)
    mine = np.broadcast_to(np.arange(1, 1105, dtype=np.uint32)[:, None], true.shape).copy()
    assert peak(lambda: scored_rows(true, mine)) < 50
    # a stripe shares 16 pixels with each of 69 squares: 1,104 of the 4,761 get one each
    assert scored_rows(true, mine)["aji"].tolist() == [[1_104 * 16, 2 * 1_104**2 - 1_104 * 16]]


def test_in_a_tangle_the_assignment_is_the_best_there_is() -> None:
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(10)
    for _ in range(30):
        true, mine = (rng.integers(0, int(rng.integers(3, 30)), (1, 300)).astype(np.uint32) for _ in range(2))
        found = overlap(true, mine)
        chosen = best_assignment(found)
        for side in (found.truth, found.predicted):
            assert len(np.unique(side[chosen])) == len(chosen)
        dense = np.zeros((len(found.truth_areas), len(found.predicted_areas)))
        dense[found.truth, found.predicted] = found.iou
        best = dense[linear_sum_assignment(dense, maximize=True)].sum()
        assert found.iou[chosen].sum() == pytest.approx(best, abs=1e-7)
