"""8-bit images as raw frames: each is taken back to a mosaic, developed in the views, and enters a model as its like.

From the developed view on, everything is as for an image that was read from disk: 8 bits, then the benchmark's own
input contract. Between the two an image has even sides, as mosaics have: where one is odd, its last row or column but
one is repeated behind it (a mirror, so the pattern of edges goes on), and cut off again once it is developed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import DatasetError
from lensbench.isp.after import eight_bits
from lensbench.isp.inverse import simulate
from lensbench.maskrunner import planes_of
from lensbench.models.contract import Feed
from lensbench.models.inputs import Entry
from lensbench.runner import Buffers, decoded
from lensbench.viewrunner import Blank, Darkroom, Frames, Image


@dataclass(frozen=True, eq=False)
class SimulatedFrames(Frames):
    """Images that pretend to be raw frames of `cameras`; `grey`: the benchmark gives them in one channel."""

    grey: bool = False

    def image(self, frame: int) -> NDArray[np.uint8]:
        """The image as it was published: H×W, or H×W×3 (B, G, R). Raises CorruptImageError, or DatasetError."""
        (encoded,) = self.recordings[100].slices(frame, frame + 1)
        pixels = decoded(encoded, frame, 1 if self.grey else 3, mosaic=False)
        if pixels.dtype != np.uint8:
            raise DatasetError(f"{self.names[frame]}: a {pixels.dtype} image; frames are simulated from 8-bit ones")
        return pixels

    def raw(self, frame: int, intensity: int) -> NDArray[np.uint16]:
        """The mosaic that an image is taken back to, with even sides; raises as `image` does."""
        return self.shot(frame, intensity)[0]

    def shot(self, frame: int, intensity: int) -> tuple[NDArray[np.uint16], tuple[int, int]]:
        """The mosaic, and the image's own height and width."""
        image = self.image(frame)
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT_101)
        rgb: NDArray[Any] = even if self.grey else even[..., ::-1]
        return simulate(rgb, self.cameras[frame]).raw, (height, width)

    def blank(self, frame: int) -> Blank | None:
        """See `Frames`: of the image that the frame is made of, whose levels are 0 and 255."""
        image = self.image(frame)
        return "black" if not image.any() else "saturated" if (image == 255).all() else None

    def room(self) -> Darkroom:
        """See `Frames`."""
        return _Room(self)


class _Room(Darkroom):
    """Gives a model 8-bit images, by the very code that gives it those on disk."""

    def __init__(self, frames: SimulatedFrames) -> None:
        super().__init__(frames)
        self._grey = frames.grey
        self._buffers: dict[tuple[int, ...], Buffers] = {}

    def fed(self, images: Image, feed: Feed, frame: int) -> NDArray[Any]:
        """See `Darkroom`."""
        n, height, width = len(images), *images.shape[2:]
        if not feed.own:
            height, width = feed.height, feed.width
        key = (n, height, width)
        if key not in self._buffers:
            self._buffers = {key: Buffers(replace(feed, height=height, width=width, batch=n))}
        buffers = self._buffers[key]
        for place, image in enumerate(images):
            buffers.place(place, self._decoded(image, feed.channels), frame)
        return buffers.batch(0, n)

    def planes(self, images: Image, entry: Entry) -> Iterator[Image]:
        """See `Darkroom`."""
        for image in images:
            yield planes_of(self._decoded(image, entry.channels), entry)

    def _decoded(self, image: Image, channels: int) -> NDArray[Any]:
        """A developed image as decoding would give it: H×W, or H×W×3 (B, G, R), of a grey one three times the same."""
        pixels: NDArray[Any] = eight_bits(image)
        if not self._grey and channels == 3:
            return np.ascontiguousarray(pixels[..., ::-1])
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return grey if channels == 1 else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
