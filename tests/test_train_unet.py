"""The segmentation baselines: what they are trained to say, what is committed of them, and what they score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from lensbench.evaluation import evaluate
from lensbench.images.labelmap import renumber
from lensbench.masks.postprocess import Interior, Output, label_map
from lensbench.masks.values import LabelMap
from lensbench.models.card import read_card
from scripts.train_unet import MOST_BYTES, f1, targets
from tests.conftest import ROOT

SUBMISSIONS = ROOT / "leaderboards" / "submissions"
MAPS = hnp.arrays(np.int64, (14, 15), elements=st.sampled_from([0, 0, 0, 0, 1, 2])).map(
    lambda m: np.kron(m, np.ones((3, 3), np.int64))
)


@settings(deadline=None, max_examples=40)
@given(MAPS)
def test_the_boundary_is_a_rim_of_two_pixels_where_that_leaves_an_inside(labels: NDArray[Any]) -> None:
    classes, weights = targets(labels)
    assert np.array_equal(classes != 0, labels != 0)
    for key in np.unique(labels[labels != 0]):
        mask = labels == key
        for rim in (2, 1, 0):
            inside = mask if not rim else ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=rim, border_value=1)
            if inside.any():
                break
        assert np.array_equal((classes == 1) & mask, inside)
    assert weights.min() >= 1 and weights.max() <= 4 + 6


def test_what_lies_between_two_objects_weighs_more_and_so_do_small_ones() -> None:
    labels = np.zeros((60, 60), np.int64)
    labels[5:45, 5:20], labels[5:45, 23:40], labels[50:54, 50:54] = 1, 2, 3
    _, weights = targets(labels)
    assert weights[25, 21] > 5 and weights[25, 2] < 1.1 and weights[52, 52] == pytest.approx(4, abs=0.1)
    assert weights[25, 6] == pytest.approx(np.sqrt(1500 / 600), abs=0.1)  # far from the other one


def test_perfect_planes_give_the_objects_back_and_f1_of_one() -> None:
    labels = np.zeros((60, 60), np.int64)
    labels[5:45, 5:20], labels[5:45, 20:40], labels[50:53, 50:53] = 1, 2, 3  # two of them touch
    planes = np.eye(3, dtype=np.float32)[targets(labels)[0]].transpose(2, 0, 1)
    value = label_map(planes, labels.shape, "x", Output(method=Interior(4))).value
    assert isinstance(value, LabelMap) and np.array_equal(value.pixels, renumber(labels))
    assert f1([(labels, value.pixels)]).tolist() == [1.0] * 10
    half = np.where(labels == 2, 0, value.pixels).astype(np.uint32)
    assert f1([(labels, half), (labels, value.pixels)]).tolist() == [10 / 11] * 10


@pytest.mark.parametrize("name", ["unet-nuclei", "unet-cars"])
def test_what_is_committed_is_small_free_of_size_and_says_what_it_was_trained_on(name: str) -> None:
    path, card = SUBMISSIONS / name / "model.onnx", read_card(SUBMISSIONS / name / "model.toml")
    assert path.stat().st_size <= MOST_BYTES
    graph = onnx.load(path).graph
    for value, channels in ((graph.input[0], 1), (graph.output[0], 3 if name == "unet-nuclei" else 1)):
        sides = value.type.tensor_type.shape.dim
        assert sides[1].dim_value == channels and all(sides[k].dim_param for k in (0, 2, 3))
    assert card.kind == "logits" and card.training
    assert ("real images" in card.training) == (name == "unet-nuclei") and ("synthetic" in card.training) == (
        name == "unet-cars"
    )


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(("name", "metric", "least"), [("unet-nuclei", "f1@0.5", 0.5), ("unet-cars", "iou_fg", 0.7)])
def test_they_score_on_the_specimen_of_their_benchmark(name: str, metric: str, least: float) -> None:
    card = read_card(SUBMISSIONS / name / "model.toml")
    done = evaluate(SUBMISSIONS / name, card.benchmark, config="specimen")
    assert done.record.result["complete"]
    assert done.record.result["metrics"][metric]["value"] > least


@pytest.mark.slow
@pytest.mark.needs("realdata")
@pytest.mark.usefixtures("workspace")
def test_the_nuclei_of_the_real_test_split_are_found(realdata: Path) -> None:
    source = realdata / "aitslab_bioimaging1"
    done = evaluate(SUBMISSIONS / "unet-nuclei", "aitslab_bioimaging1", source=source)
    values = {key: entry["value"] for key, entry in done.record.result["metrics"].items()}
    assert values["f1@0.5"] > 0.89 and values["ap_dsb"] > 0.66 and values["iou_fg"] > 0.91
