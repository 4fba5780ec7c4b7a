"""From a developed 8-bit image back to a mosaic: a simulation, for datasets that have no raw frames.

What is undone: the tone curve (x ** 2.2), the colour matrix, the white balance; then one filter a pixel is kept,
and the black level is added. What cannot be undone, and makes it a simulation: clipping, 8-bit rounding, the noise
that sharpening, denoising and JPEG took away or put in, and the colour of the camera that really was there. So
numbers on such frames compare processing, and say nothing about raw data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import FrameError
from lensbench.isp.camera import TOP, Camera, get_camera
from lensbench.isp.view import View

GAMMA = 2.2
CAMERA = "raw_drone"
"""The camera that frames are simulated of where none is named: its matrix is a colour camera's."""
VERSION = 1
"""Raised whenever `simulate` gives other values."""


class Simulated(NamedTuple):
    """A mosaic that no sensor recorded, and the camera that it pretends to be of."""

    raw: NDArray[np.uint16]
    camera: Camera
    simulated: bool = True


def simulate(image: NDArray[np.uint8], camera: Camera | None = None) -> Simulated:
    """A mosaic that, developed without sharpening and denoising, looks like `image` (uint8, H×W×3 or grey H×W).

    An odd last row or column is left off. Without `camera` it is the drone's (`CAMERA`).
    Raises FrameError for another kind of image, and for a camera whose matrix cannot be undone.
    """
    kind = camera or get_camera(CAMERA)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise FrameError(f"an image to simulate a mosaic from is uint8, grey or RGB, not {image.dtype} {image.shape}")
    height, width = (length - length % 2 for length in image.shape[:2])
    if not (height and width):
        raise FrameError(f"an image of {image.shape[0]}×{image.shape[1]} pixels has no whole cell of 2×2")
    planes = [image] * 3 if image.ndim == 2 else [image[..., colour] for colour in range(3)]
    shares, raw = _shares(kind), np.empty((height, width), np.uint16)
    for site, channel in enumerate(kind.cfa):
        row, column = divmod(site, 2)
        red, green, blue = (plane[row:height:2, column:width:2] for plane in planes)
        of = shares["RGB".index(channel)]
        value = (of[0][red] + of[1][green] + of[2][blue]) * kind.span + kind.black[site]
        raw[row::2, column::2] = np.rint(np.clip(value, 0, min(kind.white, TOP))).astype(np.uint16)
    return Simulated(raw, kind)


def _shares(camera: Camera) -> NDArray[np.float64]:
    """3×3×256: by filter, by colour of the image and by its 8 bits, the light that the colour adds to the filter's."""
    total: NDArray[Any] = np.array(camera.matrix).reshape(3, 3) * np.array(camera.gains)
    if abs(np.linalg.det(total)) < 1e-9:
        raise FrameError("this camera's gains and colour matrix cannot be undone")
    linear = (np.arange(256) / 255) ** GAMMA
    shares: NDArray[np.float64] = np.linalg.inv(total)[:, :, None] * linear
    return shares


@dataclass(frozen=True)
class Inverse:
    """How a benchmark's images are taken back to mosaics: of which camera, and by which version of `simulate`."""

    camera: str = CAMERA
    version: int = VERSION

    @cached_property
    def kind(self) -> Camera:
        """The camera."""
        return get_camera(self.camera)

    @property
    def pinned(self) -> dict[str, Any]:
        """What of it is in a benchmark's digest: all that decides a pixel."""
        camera = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.kind).items()}
        return {"version": self.version, "camera": camera}


PLAIN = View(name="plain", sharpen="none", denoise="none")
"""The view that `simulate` is the inverse of, as far as there is one."""
