"""What happens to a developed image as a whole, after its tiles are put together: a JPEG, then a corruption."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.isp.view import View

Image = NDArray[np.float32]
FULL_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def as_a_whole(view: View) -> bool:
    """Whether a view has a stage that needs the whole image."""
    return view.jpeg is not None or view.corruption is not None


def finish_whole(image: Image, view: View, sample: str) -> None:
    """Put the image (3×H×W in [0, 1]) through these stages, in place. `sample` keys the random numbers."""
    if view.jpeg is not None:
        image[:] = through_jpeg(image, view.jpeg)
    if view.corruption is not None:
        from lensbench.isp.corruptions import corrupted, random_of

        image[:] = corrupted(image, view.corruption, random_of(sample, view.digest))


def eight_bits(image: Image) -> NDArray[np.uint8]:
    """H×W×3 uint8 of 3×H×W in [0, 1], rounded to nearest."""
    return np.ascontiguousarray((image * 255 + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 0))


def through_jpeg(image: Image, quality: int) -> Image:
    """The image as a JPEG of this quality shows it (OpenCV's libjpeg: baseline, colour at full resolution).

    Half resolution alone moves an image of small noisy frames farther than the first severities may.
    """
    bgr = np.ascontiguousarray(eight_bits(image)[..., ::-1])
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *FULL_COLOUR])
    if not done:
        raise ValueError(f"OpenCV could not encode {bgr.shape} as JPEG")
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1].transpose(2, 0, 1)).astype(np.float32) * np.float32(1 / 255)
