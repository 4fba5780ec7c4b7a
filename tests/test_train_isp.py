"""The baselines of the ISP track: what sets the two of a task apart, what is committed of them, and what they score."""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx
import pytest

from lensbench.isp.tiers import REFERENCE
from lensbench.models.card import read_card
from scripts.train_isp import MOST_BYTES, TASKS, TIER, VIEWS, batches, developed, hits, iou, score
from tests.conftest import ROOT

SUBMISSIONS = ROOT / "leaderboards" / "submissions"
EACH = pytest.mark.parametrize("name", list(TASKS))


def test_two_networks_of_a_task_are_shown_the_same_images_in_the_same_order() -> None:
    frames = np.random.default_rng(3).random((70, 1, 3, 6, 6)).astype(np.float16)
    equal = np.repeat(frames, 12, axis=1)  # what the views show is no difference here
    truth = np.arange(70 * 36).reshape(70, 6, 6)
    one, all_of_them = (islice(batches(equal, truth, views), 3) for views in VIEWS.values())
    for (given, wanted), (other, other_wanted) in zip(one, all_of_them, strict=True):
        assert np.array_equal(given, other) and np.array_equal(wanted, other_wanted)


def test_one_network_is_shown_the_reference_view_alone_and_the_other_one_all_twelve() -> None:
    number = np.broadcast_to(np.arange(12, dtype=np.float16)[None, :, None, None, None], (70, 12, 3, 4, 4))
    shown = {}
    for which, views in VIEWS.items():
        images = [given for given, _ in islice(batches(number, np.zeros(70, int), views), 20)]
        shown[which] = {TIER.views[int(view)].name for view in np.unique(images)}
    assert shown == {"one-view": {"bi-s-ga"}, "all-views": {view.name for view in TIER.views}}


def test_a_turned_image_keeps_its_mask() -> None:
    mask = np.arange(70 * 64).reshape(70, 8, 8) % 7
    images = np.broadcast_to(mask[:, None, None], (70, 12, 3, 8, 8)).astype(np.float16)
    for given, wanted in islice(batches(images, mask, VIEWS["all-views"]), 8):
        assert np.array_equal(given[:, 0], wanted)


@EACH
@pytest.mark.slow
def test_no_image_that_is_scored_was_trained_on(name: str) -> None:
    frames, truth = TASKS[name].read()
    kept, _ = TASKS[name].kept()
    assert len(frames) == len(truth) > 1000
    assert not {frame.tobytes() for frame in frames} & {frame.tobytes() for frame in kept}


@EACH
@pytest.mark.parametrize("which", list(VIEWS))
def test_what_is_committed_is_small_and_says_in_which_views_it_was_trained(name: str, which: str) -> None:
    folder = SUBMISSIONS / f"{name}-{which}"
    data = (folder / "model.onnx").read_bytes()
    assert len(data) <= MOST_BYTES
    (entry,) = onnx.load_from_string(data).graph.input
    free = [bool(axis.dim_param) for axis in entry.type.tensor_type.shape.dim]
    assert free == [True, False, True, True] and entry.type.tensor_type.shape.dim[1].dim_value == 3
    assert str(ROOT).encode() not in data and b"site-packages" not in data
    card = read_card(folder / "model.toml")
    assert card.benchmark == TASKS[name].benchmark
    whole = len(VIEWS[which]) == len(TIER.views)
    assert card.views == ((TIER.name,) if whole else (f"{TIER.name}/{REFERENCE}",))
    assert card.trained is not None and f"in the views {TIER.name}" in card.trained


@EACH
def test_robust_beats_fragile_on_the_specimen(name: str) -> None:
    task = TASKS[name]
    frames, truth = task.kept()
    images, measure = developed(frames, task.dataset), hits if task.labels else iou
    found = {}
    for which in VIEWS:
        views = score((SUBMISSIONS / f"{name}-{which}" / "model.onnx").read_bytes(), images, truth, measure)
        found[which] = np.array(list(views.values()))
    one, every = found["one-view"], found["all-views"]
    assert every.min() > one.min() and every.mean() > one.mean() and np.ptp(every) < np.ptp(one)
