"""Metrics over views: conformance, what each makes of the values of the views, and the interval of a worst one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensbench.errors import BenchmarkError, ModelError
from lensbench.masks.values import LabelMap
from lensbench.metrics import MaskPrediction, MaskTruth, Metric, Prediction, Truth, get_metric, rows_of, score
from lensbench.metrics.base import leave_one_out
from lensbench.metrics.conformance import CLASSIFICATION, MASKS, Maker, check_metric
from lensbench.metrics.scoring import METRICS, VIEW_METRICS
from lensbench.metrics.views import KINDS, ViewPrediction, rows_by_view, split_id, values_by_view
from lensbench.stats import extreme, jackknife

CLASSES = ("a", "b", "c")


REFERENCE = {"model": "a", "sha256": "0" * 64, "errors": {"v": 0.25, "w": 0.5}}


def in_views(maker: Maker, reference_right: bool = False, most: int = 4) -> Maker:
    """Answers in two to `most` views, each as awkward as the maker's; the reference of the grid, or beside it."""

    def draw(one: Any) -> Any:
        def drawn(rng: np.random.Generator, n: int) -> Any:
            truth, first = one(rng, n)
            views = int(rng.integers(2, most + 1))
            answers = [first, *(other(rng, first) for _ in range(views - 1))]
            reference = int(rng.integers(views))
            if reference_right:
                answers[reference] = like(first, maker.right(truth), truth)
            outside = views > 2 and bool(rng.random() < 0.5)
            grid = tuple(not outside or view != reference for view in range(views))
            return truth, woven(answers, tuple("vwxy"[:views]), reference, grid)

        return drawn

    def constant(certain: Any) -> Any:
        return lambda truth: woven([certain(truth)] * 2, ("v", "w"), 0, (True, True))

    return replace(
        maker,
        draw=draw(maker.draw),
        one_class=draw(maker.one_class),
        right=constant(maker.right),
        wrong=constant(maker.wrong),
        sizes=tuple(size for size in maker.sizes if size <= 300),
    )


def other(rng: np.random.Generator, answers: Any) -> Any:
    """The same answers, some of them given to other samples."""
    n = len(answers)
    return answers.take(np.where(rng.random(n) < 0.6, np.arange(n), rng.permutation(n)).astype(np.intp))


def like(first: Any, right: Any, truth: Any) -> Any:
    """All right, in the form that the others have."""
    if isinstance(first, MaskPrediction) or first.kind == right.kind:
        return right
    if first.scores is not None:
        return Prediction(np.log(np.maximum(right.scores, 1e-30)).astype(np.float32), "logits")
    top = np.full(first.top.shape, -1, np.int32)
    top[:, 0] = truth.label
    return Prediction(None, first.kind, top)


def woven(answers: list[Any], names: tuple[str, ...], reference: int, grid: tuple[bool, ...]) -> ViewPrediction:
    """One answer after another of each sample."""
    views, n = len(answers), len(answers[0])
    if isinstance(answers[0], MaskPrediction):
        values = [answers[view].values[row] for row in range(n) for view in range(views)]
        return ViewPrediction(MaskPrediction(values, answers[0].kind), names, reference, grid)
    field = "scores" if answers[0].scores is not None else "top"
    stacked = np.stack([getattr(one, field) for one in answers], axis=1)
    flat = replace(answers[0], **{field: stacked.reshape(n * views, -1)})
    return ViewPrediction(flat, names, reference, grid)


@pytest.mark.parametrize("what", [kind for kind in KINDS if "drop" not in kind and kind != "risp"])
@pytest.mark.parametrize("base", ["top1", "macro_f1", "nll", "ece", "macro_recall@plankton"])
def test_metrics_over_views_conform(what: str, base: str) -> None:
    check_metric(get_metric(f"{what}:{base}"), make=in_views(CLASSIFICATION))


@pytest.mark.parametrize("base", ["top1", "macro_f1", "nll", "ece", "macro_recall@plankton"])
def test_errors_relative_to_a_reference_model_conform(base: str) -> None:
    check_metric(get_metric(f"risp:{base}", REFERENCE), make=in_views(CLASSIFICATION, most=2))


def test_an_error_of_masks_relative_to_a_reference_model_conforms() -> None:
    metric = get_metric("risp:iou_fg", {**REFERENCE, "errors": {"v": 0.25, "x": 0.5}})
    draw = replace(
        in_views(MASKS), draw=masks, one_class=masks, right=answered(MASKS.right), wrong=answered(MASKS.wrong)
    )
    check_metric(metric, make=replace(draw, sizes=(1, 2, 3, 8)), seeds=range(1))


def answered(certain: Any) -> Any:
    """The same answers in the views of `masks`."""
    return lambda truth: woven([certain(truth)] * 3, ("v", "w", "x"), 1, (True, False, True))


@pytest.mark.parametrize("what", ["drop_mean", "drop_max", "relative_drop"])
def test_drops_conform_where_the_reference_is_all_right(what: str) -> None:
    """A drop says nothing of a reference that others are better than: there, less than none is possible."""
    check_metric(get_metric(f"{what}:top1"), make=in_views(CLASSIFICATION, reference_right=True))


@pytest.mark.parametrize("metric", ["worst_view:iou_fg", "mean_view:miou", "clean:f1@0.5"])
def test_metrics_of_masks_over_views_conform(metric: str) -> None:
    check_metric(get_metric(metric), make=replace(in_views(MASKS), draw=masks, sizes=(1, 2, 3, 8)), seeds=range(1))


def masks(rng: np.random.Generator, n: int) -> tuple[MaskTruth, ViewPrediction]:
    """Maps of one size, so that answers of one image can be given to another."""
    maps = [(rng.random((6, 8)) < 0.4).astype(np.uint32) for _ in range(n)]
    maps[0].reshape(-1)[:2] = 0, 1
    answers = [MaskPrediction([LabelMap((rng.random((6, 8)) < 0.4).astype(np.uint32)) for _ in maps]) for _ in range(3)]
    return MaskTruth(maps, ("background", "object")), woven(answers, ("v", "w", "x"), 1, (True, False, True))


AGREEMENT = list(VIEW_METRICS.values())


@pytest.mark.parametrize("metric", AGREEMENT, ids=[metric.id for metric in AGREEMENT])
def test_agreement_conforms(metric: Metric) -> None:
    maker = in_views(CLASSIFICATION if "classification" in metric.tasks else MASKS)
    if "segmentation" in metric.tasks:
        maker = replace(maker, draw=masks, one_class=masks, sizes=(1, 2, 3, 8))
    check_metric(metric, make=maker)


def example() -> tuple[Truth, ViewPrediction]:
    """Six samples in three views; the first is the reference and of the grid."""
    truth = Truth(np.array([0, 0, 1, 1, 2, 2], np.int32), CLASSES)
    said = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 2], [1, 1, 1], [2, 0, 0], [2, 2, 0]], np.int32)
    flat = Prediction(None, "labels", said.reshape(-1, 1))
    return truth, ViewPrediction(flat, ("v", "w", "x"), 0, (True, True, True))


def test_what_is_made_of_the_values_by_hand() -> None:
    """Of the three views 6, 4 and 3 of six samples are right."""
    truth, given_ = example()
    ids = [f"{what}:top1" for what in KINDS] + ["all_views:top1", "flip_rate", "consistency"]
    stated = {"risp:top1": {**REFERENCE, "errors": {"v": 0.25, "w": 0.5, "x": 0.5}}}
    found = {key: one.value for key, one in score(truth, given_, ids, np.arange(6), arguments=stated).items()}
    assert found == pytest.approx(
        {
            "clean:top1": 1.0,
            "mean_view:top1": 13 / 18,
            "worst_view:top1": 1 / 2,
            "std_view:top1": np.std([1, 4 / 6, 3 / 6]),
            "drop_mean:top1": (2 / 6 + 3 / 6) / 2,
            "drop_max:top1": 1 / 2,
            "relative_drop:top1": (2 / 6 + 3 / 6) / 2,
            "risp:top1": (0 + 2 / 6 + 3 / 6) / 1.25,
            "all_views:top1": 2 / 6,
            "flip_rate": 5 / 12,
            "consistency": (3 + 1 + 1 + 3 + 1 + 1) / 18,
        }
    )


def test_a_reference_beside_the_grid_is_compared_with_and_not_counted() -> None:
    truth, whole = example()
    beside = replace(whole, grid=(False, True, True))
    found = score(truth, beside, ["clean:top1", "mean_view:top1", "drop_mean:top1", "consistency"], np.arange(6))
    assert [one.value for one in found.values()] == pytest.approx([1.0, 7 / 12, 5 / 12, 3 / 6])


def test_an_error_relative_to_a_reference_counts_the_grid_alone_and_has_the_interval_of_its_own_sum() -> None:
    truth, whole = example()
    beside = replace(whole, grid=(False, True, True))
    stated = {"risp:top1": {**REFERENCE, "errors": {"w": 0.25, "x": 0.5}}}
    found = score(truth, beside, ["risp:top1"], np.arange(6), arguments=stated)["risp:top1"]
    value = (2 / 6 + 3 / 6) / 0.75
    assert found.value == pytest.approx(value) and found.method == "jackknife-log"
    right = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [0, 0], [1, 0]])  # the samples in views w and x
    without = np.array([2 - np.delete(right, row, axis=0).mean(axis=0).sum() for row in range(6)]) / 0.75
    expected = jackknife(without, value, "positive")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_without_a_reference_on_these_views_a_relative_error_is_null_with_the_reason() -> None:
    truth, given_ = example()
    for stated in ({}, {"risp:top1": REFERENCE}):
        found = score(truth, given_, ["risp:top1"], np.arange(6), arguments=stated)["risp:top1"]
        assert found.value is None and found.reason is not None and found.reason.startswith("no reference model has")


@pytest.mark.parametrize(
    ("base", "change", "what"),
    [
        ("top1", {"errors": {"v": 0.1, "w": 1.5}}, "the reference's error in view 'w' is 1.5, no number from 0 to 1"),
        ("top1", {"errors": {"v": -0.1}}, "in view 'v' is -0.1"),
        ("nll", {"errors": {"v": -0.1}}, "in view 'v' is -0.1, no number of 0 and above"),
        ("top1", {"errors": {"v": float("nan")}}, "in view 'v' is nan"),
        ("top1", {"errors": {"v": True}}, "in view 'v' is True"),
        ("top1", {"errors": {"v": "0.1"}}, "in view 'v' is '0.1'"),
        ("top1", {"errors": {"v": 0.0, "w": 0.0}}, "sum to 0.0"),
        ("top1", {"errors": {}}, "sum to 0"),
        ("top1", {"errors": [0.1]}, "errors a table by view"),
        ("top1", {"sha256": 5}, "are text"),
        ("top1", {"more": 5}, "takes model, sha256, errors, got model, sha256, errors, more"),
        ("torchmetrics:classification.MulticlassF1Score", {}, "is no error"),
    ],
)
def test_errors_that_are_none_are_refused(base: str, change: dict[str, Any], what: str) -> None:
    with pytest.raises(BenchmarkError, match=what):
        get_metric(f"risp:{base}", {**REFERENCE, **change})


def test_where_less_is_better_the_worst_is_the_most_and_a_drop_is_a_rise() -> None:
    truth = Truth(np.array([0, 1], np.int32), CLASSES[:2])
    scores = np.array([[2, 0], [1, 0], [0, 2], [1, 0]], np.float32)
    given_ = ViewPrediction(Prediction(scores, "logits"), ("v", "w"), 0, (True, True))
    found = score(truth, given_, ["clean:nll", "worst_view:nll", "drop_max:nll"], np.arange(2))
    clean, worst, drop = (one.value for one in found.values())
    assert clean is not None and worst is not None and drop is not None
    assert worst > clean and drop == pytest.approx(worst - clean)
    assert get_metric("worst_view:nll").direction == get_metric("drop_max:top1").direction == "lower"


def test_consistency_of_masks_by_hand() -> None:
    answers = np.zeros((3, 1, 8), np.uint32)
    answers[0, 0, :4] = answers[1, 0, 2:6] = 1  # 2 of 6 shared; the third answer is empty
    truth = MaskTruth([np.zeros((1, 8), np.uint8)], ("background", "car"), instances=False)
    given_ = ViewPrediction(MaskPrediction([LabelMap(one) for one in answers]), ("v", "w", "x"), 0, (True,) * 3)
    assert score(truth, given_, ["mask_consistency"], np.arange(1))["mask_consistency"].value == pytest.approx(1 / 9)


def test_a_group_is_left_out_of_all_views_at_once() -> None:
    truth, given_ = example()
    metric = get_metric("drop_mean:top1")
    group = np.array([0, 0, 1, 1, 2, 2])
    found = leave_one_out(metric, rows_of(metric.per_sample, truth, given_), group)
    for left in range(3):
        kept = np.flatnonzero(group != left)
        value = score(truth.take(kept), given_.take(kept), [metric.id], group[kept])[metric.id].value
        assert found[left] == pytest.approx(value)


def test_a_view_alone_scores_as_its_part_of_the_matrix() -> None:
    truth, given_ = example()
    rows = rows_of(rows_by_view(get_metric("top1").per_sample), truth, given_)
    for view, value in enumerate(values_by_view(get_metric("top1"), rows)):
        alone = given_.view(view)
        assert isinstance(alone, Prediction)
        assert score(truth, alone, ["top1"], np.arange(6))["top1"].value == value


def test_metrics_that_need_several_views_say_so() -> None:
    truth, given_ = example()
    alone = given_.view(0)
    assert isinstance(alone, Prediction)
    found = score(truth, alone, ["worst_view:top1", "flip_rate", "consistency"], np.arange(6))
    assert {one.reason for one in found.values()} == {"needs answers in several views"}
    single = ViewPrediction(alone, ("v",), 0, (True,))
    found = score(truth, single, ["drop_max:top1", "flip_rate", "consistency", "worst_view:top1"], np.arange(6))
    reasons = [one.reason for one in found.values()][:3]
    assert reasons == ["needs a view beside the reference"] * 2 + ["needs two views to compare"]
    assert found["worst_view:top1"].value == 1.0


def test_ids_over_views_are_told_from_others() -> None:
    assert split_id("worst_view:iou@car") == ("worst_view", "iou@car")
    assert split_id("torchmetrics:classification.MulticlassF1Score") is None and split_id("all_views:top1") is None
    with pytest.raises(BenchmarkError, match="is over views already"):
        get_metric("worst_view:mean_view:top1")
    with pytest.raises(BenchmarkError, match="unknown metric 'worst_veiw:top1'"):
        get_metric("worst_veiw:top1")
    with pytest.raises(ModelError, match="5 answers are not the same number in each of 3 views"):
        ViewPrediction(Prediction(None, "labels", np.zeros((5, 1), np.int32)), ("v", "w", "x"), 0, (True,) * 3)
    assert not any(metric.views for metric in METRICS.values())


# -- the interval of a worst view -----------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["unit", "real"]))
def test_the_interval_of_an_extreme_holds_it_and_is_no_shorter_than_its_own(
    seed: int, largest: bool, scale: Any
) -> None:
    rng = np.random.default_rng(seed)
    hits = rng.random((int(rng.integers(2, 9)), int(rng.integers(3, 20))))
    values, without = hits.mean(axis=1), (hits.sum(axis=1, keepdims=True) - hits) / (hits.shape[1] - 1)
    found = extreme(without, values, scale, largest=largest)
    best = int(values.argmax() if largest else values.argmin())
    alone = jackknife(without[best], float(values[best]), scale)
    assert found.low is not None and found.high is not None and alone.low is not None and alone.high is not None
    assert found.low <= values[best] <= found.high
    assert found.high >= alone.high if largest else found.low <= alone.low
    assert found.method == "jackknife-extreme"


def test_views_that_are_the_same_count_once_and_one_alone_is_a_jackknife() -> None:
    hits = np.random.default_rng(0).random(12)
    value, without = float(hits.mean()), (hits.sum() - hits) / 11
    alone = jackknife(without, value, "unit")
    for copies in (1, 5):
        found = extreme(np.stack([without] * copies), np.full(copies, value), "unit", largest=False)
        assert (found.low, found.high) == (alone.low, alone.high)


def test_no_interval_of_a_largest_drop_says_that_a_score_of_at_most_1_loses_more_than_1() -> None:
    truth = Truth(np.zeros(12, np.int32), CLASSES)
    right, wrong = np.zeros((12, 1), np.int32), np.ones((12, 1), np.int32)
    wrong[:2] = 0  # the worst view has two of twelve samples right, both in one of six groups
    answers = [Prediction(None, "labels", top) for top in (right, wrong)]
    given = woven(answers, ("v", "w"), 0, (True, True))
    clusters = np.repeat(np.arange(6), 2)
    drop = score(truth, given, ["drop_max:top1"], clusters)["drop_max:top1"]
    losses = np.array([1.0, *[0.8] * 5])
    plain = extreme(losses[None], np.array([10 / 12]), "real", largest=True)
    assert drop.value == pytest.approx(10 / 12) and drop.low == pytest.approx(plain.low)
    assert plain.high is not None and plain.high > 1 and drop.high == 1


def test_an_extreme_that_no_group_changes_has_no_interval() -> None:
    moved = np.linspace(0.6, 0.8, 12)
    still = np.full(12, 0.5)
    found = extreme(np.stack([moved, still]), np.array([0.7, 0.5]), "unit", largest=False)
    assert found.low is None and found.reason is not None and "no group changes" in found.reason
    found = extreme(np.stack([moved, still]), np.array([0.7, 0.5]), "unit", largest=True)
    assert found.low is not None and found.low <= 0.7
    broken = extreme(np.stack([moved, np.full(12, np.nan)]), np.array([0.7, 0.9]), "unit", largest=False)
    assert broken.low is None and "undefined" in str(broken.reason)
