"""The inner loop over views: black, saturated and unequal frames are scored, what is no raw frame is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lensbench import viewrunner
from lensbench.errors import DatasetError
from lensbench.images.decode import encode_png
from lensbench.isp import View, develop, get_camera
from lensbench.models.contract import Feed
from lensbench.runner import CorruptImageError, Images
from lensbench.viewrunner import Darkroom, Frames, infer_views

VIEWS = (View(), View(demosaic="menon2007", denoise="median"), View(sharpen="unsharp"))
FEED = Feed("x", "y", 8, 8, 3, "NCHW", "float32", False, (1.0,) * 3, (0.0,) * 3, 2, False, 4, own=True)


def frames(encoded: Sequence[bytes], views: tuple[View, ...] = VIEWS) -> Frames:
    column = pa.array(list(encoded), pa.binary())
    names = tuple(f"frame {number}" for number in range(len(encoded)))
    camera = get_camera("raw_microscopy")
    return Frames(views, {100: Images((column,), (len(column),))}, (camera,) * len(encoded), names)


def noise(height: int = 8, width: int = 12) -> NDArray[np.uint16]:
    return np.random.default_rng(height).integers(0, 65536, (height, width), dtype=np.uint16)


def summed(batch: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of each colour, and of all."""
    means = batch.mean(axis=(2, 3))
    return np.concatenate([means, means.mean(axis=1, keepdims=True)], axis=1).astype(np.float32)


def scores(found: Frames, threads: int = 2) -> NDArray[np.float32]:
    out = np.full((len(found) * len(found.views), 4), np.nan, np.float32)
    infer_views(found, 0, len(found), FEED, summed, out, threads, lambda _: None)
    return out.reshape(len(found), len(found.views), 4)


def test_black_saturated_and_unequal_frames_are_developed_and_scored() -> None:
    raws = [np.zeros((8, 12), np.uint16), np.full((8, 12), 65535, np.uint16), noise(), noise(6, 4), noise(16, 10)]
    found = scores(frames([encode_png(raw) for raw in raws]))
    assert np.isfinite(found).all()
    for raw, mine in zip(raws, found, strict=True):
        for view, score in zip(VIEWS, mine, strict=True):
            expected = summed(develop(raw, get_camera("raw_microscopy"), view)[None])[0]
            np.testing.assert_allclose(score, expected, rtol=1e-6)
    assert np.array_equal(found, scores(frames([encode_png(raw) for raw in raws]), threads=1))


def test_a_frame_is_told_black_or_saturated_by_its_cameras_levels() -> None:
    drone = get_camera("raw_drone")  # black levels of 4095.9 and 4102.5, white 65535
    raws = [np.full((4, 6), value, np.uint16) for value in (0, 4096, 4097, 65519, 65520, 65535)]
    raws[2][:, ::2] = 4096  # the sites whose level is the lower
    raws += [raws[1].copy(), raws[4].copy()]
    raws[6][0, 0], raws[7][0, 0] = 4097, 65518
    found = replace(frames([encode_png(raw) for raw in raws]), cameras=(drone,) * len(raws))
    told = [found.blank(number) for number in range(len(raws))]
    assert told == ["black", "black", "black", None, "saturated", "saturated", None, None]


def test_views_that_do_not_fit_the_memory_go_in_parts_and_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    one = frames([encode_png(noise())])
    whole = dict(zip(*next(iter(Darkroom(one).images(0))), strict=True))
    monkeypatch.setattr(viewrunner, "DEVELOPED_BYTES", 12 * 8 * 12 * 2)
    parts = list(Darkroom(one).images(0))
    assert [places for places, _ in parts] == [(0, 1), (2,)]
    for places, images in parts:
        for place, image in zip(places, images, strict=True):
            assert np.array_equal(image, whole[place])


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (encode_png(noise(7, 8)), r"frame 1: .*7×8 pixels: a mosaic has whole cells"),
        (encode_png(noise().astype(np.uint8)), r"frame 1: uint8 \(8, 12\), not a raw frame of 16 bits"),
        (cv2.imencode(".png", np.dstack([noise()] * 3))[1].tobytes(), r"frame 1: uint16 \(8, 12, 3\), not a raw frame"),
    ],
)
def test_what_is_no_raw_frame_is_named(encoded: bytes, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        scores(frames([encode_png(noise()), encoded]))


def test_a_frame_that_does_not_decode_is_told_by_its_row() -> None:
    with pytest.raises(CorruptImageError) as caught:
        scores(frames([encode_png(noise()), b"no image", encode_png(noise())]))
    assert caught.value.row == 1
