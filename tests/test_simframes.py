"""8-bit images as raw frames: any size comes back as it was, and a model gets what it would get from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lensbench.errors import DatasetError
from lensbench.images.decode import encode_png
from lensbench.isp import View, develop, get_camera
from lensbench.isp.after import eight_bits
from lensbench.isp.inverse import PLAIN, simulate
from lensbench.isp.view import Corruption
from lensbench.maskrunner import load
from lensbench.models.contract import Feed
from lensbench.models.inputs import Entry
from lensbench.runner import CorruptImageError, Images, infer_rows
from lensbench.simframes import SimulatedFrames
from lensbench.viewrunner import infer_views, probe_views, reference_image

CAMERA = get_camera("raw_drone")
VIEWS = (View(name="a"), View(name="b", demosaic="menon2007", denoise="median", sharpen="unsharp"), View("c", jpeg=60))
FEED = Feed("x", "y", 10, 6, 3, "NCHW", "float32", False, (1 / 255,) * 3, (0.0,) * 3, 3, False, 4)


def column(encoded: Sequence[bytes]) -> Images:
    return Images((pa.array(list(encoded), pa.binary()),), (len(encoded),))


def frames(encoded: Sequence[bytes], grey: bool = False, views: tuple[View, ...] = VIEWS) -> SimulatedFrames:
    names = tuple(f"image {number}" for number in range(len(encoded)))
    return SimulatedFrames(views, {100: column(encoded)}, (CAMERA,) * len(encoded), names, 0, grey)


def picture(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth colours with noise: what a demosaic can bring back, and what it cannot."""
    rows, columns = np.mgrid[:height, :width]
    waves = [120 + 80 * np.sin(rows / 5 + k) * np.cos(columns / 7) for k in range(channels)]
    noise = np.random.default_rng(height * 1000 + width).integers(-9, 10, (height, width, channels))
    pixels: NDArray[np.uint8] = (np.stack(waves, axis=-1) + noise).astype(np.uint8)
    return pixels if channels > 1 else pixels[..., 0]


def shown(image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """An image in a view, 8 bits: the same by other means, numpy's mirror and `develop`."""
    height, width = image.shape[:2]
    margins = ((0, height % 2), (0, width % 2), (0, 0))[: image.ndim]
    raw = simulate(np.pad(image, margins, mode="reflect"), CAMERA).raw
    return eight_bits(develop(raw, CAMERA, view))[:height, :width]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 1), (2, 2), (2, 5), (3, 3), (7, 9), (8, 8), (33, 20)])
def test_every_size_comes_back_as_it_was(size: tuple[int, int]) -> None:
    image = picture(*size)
    one = frames([encode_png(image)], views=(*VIEWS, View("d", corruption=Corruption("elastic", 3))))
    assert one.size() == size
    ((places, images),) = one.room().images(0)
    assert places == (0, 1, 2, 3) and images.shape == (4, 3, *size) and np.isfinite(images).all()
    for view, found in zip(VIEWS, images, strict=False):
        assert np.array_equal(eight_bits(found), shown(image, view)), view.name


def test_what_is_undone_is_done_again_but_for_the_demosaic() -> None:
    smooth = cv2.GaussianBlur(picture(64, 48), (0, 0), 3)
    one = frames([encode_png(smooth)], views=(PLAIN,))
    found = eight_bits(one.room().reference(0))
    assert np.abs(found.astype(int) - smooth).mean() < 2.0


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bgr": True, "scale": (0.01, 0.02, 0.03), "shift": (-1.0, 0.0, 0.5)},
        {"dtype": "uint8", "scale": (1.0,) * 3},
        {"batch": 5, "fixed": True},
        {"batch": 2, "fixed": True},
        {"own": True, "resize": False, "height": 9, "width": 7},
    ],
)
def test_a_classifier_gets_what_it_would_get_from_files(layout: str, changes: dict[str, Any]) -> None:
    feed = replace(FEED, layout=layout, **changes)
    pictures = [picture(9, 7), picture(20, 31), picture(9, 7)]
    files = [encode_png(shown(image, view)) for image in pictures for view in VIEWS]
    given, expected = (np.full((9, 4), np.nan, np.float32) for _ in range(2))

    def answer(batch: NDArray[Any]) -> NDArray[np.float32]:
        assert batch.dtype == feed.dtype
        planes = np.moveaxis(batch, -1, 1) if layout == "NHWC" else batch
        means = planes.astype(np.float64).mean(axis=(2, 3))
        return np.concatenate([means, planes[:, :1, 0, -1]], axis=1).astype(np.float32)

    infer_views(frames([encode_png(image) for image in pictures]), 0, 3, feed, answer, given, 2, lambda _: None)
    infer_rows(column(files), 0, 9, feed, answer, expected, 1, lambda _: None)
    np.testing.assert_allclose(given, expected, rtol=1e-6)
    probe_views(frames([encode_png(image) for image in pictures]), feed, answer)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_image_stays_one(channels: int) -> None:
    image = picture(9, 12, 1)
    found = frames([encode_png(image)], grey=True)
    entry = Entry("x", "NCHW", channels, "float32", False, (0.5,) * channels, (1.0,) * channels, False, None, (9, 12))
    colour = shown(image, VIEWS[0])
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    planes = reference_image(found, 0, entry)
    assert np.array_equal(planes, load(memoryview(encode_png(grey)), 0, entry)) and planes.shape == (channels, 9, 12)
    assert np.array_equal(planes, np.repeat(planes[:1], channels, axis=0))
    assert np.abs(grey.astype(int) - image).mean() < 12, "it is still that image"


def test_a_segmentation_model_gets_what_it_would_get_from_files() -> None:
    image = picture(15, 17)
    entry = Entry("x", "NCHW", 3, "float32", True, (0.1, 0.2, 0.3), (0.0, 1.0, 2.0), False, None, (None, None))
    room = frames([encode_png(image)]).room()
    ((_, images),) = room.images(0)
    for view, planes in zip(VIEWS, room.planes(images, entry), strict=True):
        assert np.array_equal(planes, load(memoryview(encode_png(shown(image, view))), 0, entry))


def test_one_channel_of_a_colour_image_is_its_luma() -> None:
    image, feed = picture(8, 8), replace(FEED, channels=1, own=True, resize=False, scale=(1.0,), shift=(0.0,))
    room = frames([encode_png(image)]).room()
    fed = room.fed(room.reference(0)[None], feed, 0)
    assert np.array_equal(fed[0, 0], cv2.cvtColor(shown(image, VIEWS[0]), cv2.COLOR_RGB2GRAY))


def test_black_and_white_images_are_told_and_shown() -> None:
    black, white = np.zeros((5, 4, 3), np.uint8), np.full((5, 4, 3), 255, np.uint8)
    nearly = black.copy()
    nearly[2, 2, 1] = 1
    found = frames([encode_png(image) for image in (black, white, nearly, picture(5, 4))])
    assert [found.blank(frame) for frame in range(4)] == ["black", "saturated", None, None]
    assert eight_bits(found.room().reference(0)).max() <= 3, "a level that is no whole number, rounded"
    red, green, blue = eight_bits(found.room().reference(1)).transpose(2, 0, 1)
    assert min(red.min(), blue.min()) >= 253 and green.min() >= 240, "black and white are too much"


def test_what_is_no_image_of_8_bits_is_named() -> None:
    deep = encode_png(picture(6, 6, 1).astype(np.uint16) * 200)
    for grey in (True, False):
        with pytest.raises(DatasetError, match="image 1: a uint16 image; frames are simulated from 8-bit ones"):
            frames([encode_png(picture(6, 6)), deep], grey).raw(1, 100)
    with pytest.raises(CorruptImageError) as caught:
        frames([encode_png(picture(6, 6)), b"none"]).raw(1, 100)
    assert caught.value.row == 1
    feed = replace(FEED, resize=False)
    with pytest.raises(DatasetError, match="row 1: an image of 6×6, and this benchmark gives images of 10×6"):
        out = np.empty((6, 4), np.float32)
        two = frames([encode_png(picture(10, 6)), encode_png(picture(6, 6))])
        infer_views(two, 0, 2, feed, lambda batch: np.zeros((len(batch), 4), np.float32), out, 1, lambda _: None)
