"""Counts and scores of masks are those of stardist, cellpose and torchmetrics, wherever those are defined.

The peers are no dependency (tests/peers.txt); the slow oracle of test_metrics_masks.py always runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.images.decode import decode
from lensbench.images.labelmap import from_colours
from lensbench.masks.classic import otsu_watershed
from lensbench.masks.values import LabelMap
from lensbench.metrics import MaskPrediction, MaskTruth, mask_rows, score
from tests.mask_oracle import random_pair
from tests.peer_process import Peers

Labels = NDArray[np.uint32]
NAMES = ("background", "nucleus")
THRESHOLDS = [k / 20 for k in range(10, 20)]


def pairs(number: int = 200) -> list[tuple[Labels, Labels]]:
    """Random maps with background and objects on both sides: without, both peers answer otherwise (see below)."""
    rng = np.random.default_rng(77)
    found: list[tuple[Labels, Labels]] = []
    while len(found) < number:
        side = int(rng.integers(6, 40))
        true, mine = random_pair(rng, side, int(rng.integers(2, 12)))
        if true.any() and mine.any() and (true == 0).any() and (mine == 0).any():
            found.append((true, mine))
    return found


def rows_of(true: Labels, mine: Labels) -> Any:
    return mask_rows(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]))


def real_pairs(folder: Path) -> list[tuple[Labels, Labels]]:
    """The test images of Aitslab-bioimaging1 and what Otsu's threshold and a watershed make of them."""
    found = []
    for path in sorted((folder / "aitslab_bioimaging1/test_nuclei/images").glob("*.png")):
        annotation = path.parent.parent / "annotations" / f"{path.stem}_objects.png"
        mine = otsu_watershed(decode(path.read_bytes(), path.name))
        true = decode(annotation.read_bytes(), annotation.name)
        found.append((from_colours(true) if true.ndim == 3 else true.astype(np.uint32), mine))
    return found


def check_stardist(peers: Peers, pairs: list[tuple[Labels, Labels]]) -> None:
    for true, mine in pairs:
        rows = rows_of(true, mine)
        for at, t in enumerate(THRESHOLDS):
            theirs = peers.stardist(true.astype(np.int64), mine.astype(np.int64), t)
            n_truth, n_predicted = rows["objects"][0]
            tp = rows["tp"][0, at]
            assert (tp, n_predicted - tp, n_truth - tp) == (theirs["tp"], theirs["fp"], theirs["fn"])
        # their matches at .5 include exact halves, PQ's (Kirillov et al.) do not
        exact = peers.stardist(true.astype(np.int64), mine.astype(np.int64), 0.5 + 1e-6)
        pq = score(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]), ["pq"], np.zeros(1, int))["pq"].value
        assert pq == pytest.approx(exact["panoptic_quality"], abs=1e-6)  # theirs in float32


def check_cellpose(peers: Peers, pairs: list[tuple[Labels, Labels]]) -> None:
    for true, mine in pairs:
        # their thresholds are compared with float64 quotients: k/20 itself is exact in both
        ids = [np.unique(one, return_inverse=True)[1].reshape(one.shape).astype(np.int32) for one in (true, mine)]
        ap, tp, fp, fn = peers.cellpose(ids[0], ids[1], THRESHOLDS)
        rows = rows_of(true, mine)
        n_truth, n_predicted = rows["objects"][0]
        assert rows["tp"][0].tolist() == tp.tolist()
        assert (n_predicted - rows["tp"][0]).tolist() == fp.tolist()
        assert (n_truth - rows["tp"][0]).tolist() == fn.tolist()
        found = score(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]), ["ap_dsb"], np.zeros(1, int))
        assert found["ap_dsb"].value == pytest.approx(float(ap.mean()), abs=1e-6)


@pytest.mark.slow
@pytest.mark.needs("peers")
def test_counts_are_stardists(peers: Peers) -> None:
    check_stardist(peers, pairs())


@pytest.mark.slow
@pytest.mark.needs("peers")
def test_counts_are_cellposes(peers: Peers) -> None:
    check_cellpose(peers, pairs())


@pytest.mark.slow
@pytest.mark.needs("peers")
@pytest.mark.needs("realdata")
def test_counts_on_the_real_test_set_are_both_peers(peers: Peers, realdata: Path) -> None:
    found = real_pairs(realdata)
    assert len(found) == 10
    check_stardist(peers, found)
    check_cellpose(peers, found)


@pytest.mark.needs("peers")
def test_where_the_peers_answers_are_no_numbers_ours_are(peers: Peers) -> None:
    """Why random maps above have background and objects: measured, so that a mended peer is noticed."""
    full, empty = np.ones((4, 4), np.int64), np.zeros((4, 4), np.int64)
    assert not np.isfinite(peers.cellpose(full, full, [0.5])[0]).any()
    assert np.isnan(peers.cellpose(empty, empty, [0.5])[0]).all()
    assert peers.stardist(empty, empty, 0.5)["f1"] == 0
    truth = MaskTruth([full, empty], NAMES)
    found = score(truth, MaskPrediction([LabelMap(full), LabelMap(empty)]), ["ap_dsb", "f1@0.5"], np.arange(2))  # type: ignore[arg-type]
    assert [one.value for one in found.values()] == [1.0, 1.0]
    assert not {"stardist", "cellpose", "fastremap"} & sys.modules.keys()  # they are in the other process


def test_what_goes_wrong_in_the_process_of_the_peers_fails_the_test_that_asked(tmp_path: Path) -> None:
    with Peers(tmp_path) as peers, pytest.raises(RuntimeError, match="No module named 'stardist'"):
        peers.stardist(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.5)
    with Peers(tmp_path) as peers, pytest.raises(RuntimeError, match="the process of the peers ended with -9"):
        peers.process.kill()
        peers.stardist(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.5)


@pytest.mark.needs("torch")
def test_panoptic_quality_is_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.detection import panoptic_quality

    for true, mine in pairs(40):
        both = [
            torch.from_numpy(np.stack([(one > 0).astype(np.int64), one.astype(np.int64)], axis=-1)[None])
            for one in (mine, true)
        ]
        # background is the "stuff" of theirs; its quality is left out of what is returned by class
        theirs = panoptic_quality(
            *both, things={1}, stuffs={0}, return_per_class=True, return_sq_and_rq=True
        )  # (1, classes, 3)
        ours = score(MaskTruth([true], NAMES), MaskPrediction([LabelMap(mine)]), ["pq", "sq", "rq"], np.zeros(1, int))
        expected = theirs[..., 0, :].reshape(-1).tolist()
        for name, value in zip(("pq", "sq", "rq"), expected, strict=True):
            assert (ours[name].value or 0.0) == pytest.approx(value, abs=1e-6)
