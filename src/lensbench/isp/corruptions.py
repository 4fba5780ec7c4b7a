"""Common corruptions of a developed image: ten kinds at five severities, in the published strengths for small images.

After Hendrycks & Dietterich (2019), in the CIFAR strengths that the published comparison used. Random numbers come
from Philox keyed by (sample, view): the same for whoever asks, in any order. What differs from the original is said
at each function; lengths that were pixels of 32 are shares of the image's side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.luma import along, gaussian
from lensbench.isp.view import CORRUPTIONS, Corruption

Image = NDArray[np.float32]
Random = np.random.Generator


def random_of(sample: str, view: str) -> Random:
    """The random numbers of one sample in one view (its digest, which holds kind and severity)."""
    key = hashlib.sha256(f"{len(sample)}/{sample}/{view}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def corrupted(image: Image, corruption: Corruption, random: Random) -> Image:
    """The image (3×H×W in [0, 1]) after a corruption, clipped to [0, 1]."""
    work, strengths = KINDS[corruption.name]
    done = work(image, strengths[corruption.severity - 1], random)
    return np.asarray(np.clip(done, 0, 1), np.float32)


def _gaussian_noise(image: Image, sigma: float, random: Random) -> NDArray[Any]:
    return image + sigma * random.standard_normal(image.shape)


def _shot_noise(image: Image, photons: float, random: Random) -> NDArray[Any]:
    return random.poisson(image.astype(np.float64) * photons) / photons


def _impulse_noise(image: Image, share: float, random: Random) -> NDArray[Any]:
    roll = random.random(image.shape)
    return np.where(roll < share / 2, 0, np.where(roll < share, 1, image))


def _speckle_noise(image: Image, sigma: float, random: Random) -> NDArray[Any]:
    return image + image * (sigma * random.standard_normal(image.shape))


def _gaussian_blur(image: Image, sigma: float, _: Random) -> NDArray[Any]:
    weights = gaussian(sigma)
    return np.stack([along(along(plane, weights, axis=0), weights, axis=1) for plane in image])


def _zoom_blur(image: Image, largest: float, _: Random) -> NDArray[Any]:
    """The mean of the image and of itself, zoomed about its centre in steps of one per cent."""
    steps = np.arange(1, round(100 * (largest - 1)) + 1) / 100
    total = image.astype(np.float64)
    for step in steps:
        total += _zoomed(_zoomed(image, 1 + step, axis=1), 1 + step, axis=2)
    return total / (1 + len(steps))


def _zoomed(image: NDArray[Any], factor: float, axis: int) -> NDArray[Any]:
    length = image.shape[axis]
    middle = (length - 1) / 2
    at = (np.arange(length) - middle) / factor + middle
    below = np.floor(at).astype(int)
    share = (at - below).reshape([-1 if a == axis else 1 for a in range(3)])
    above = np.minimum(below + 1, length - 1)
    return np.asarray(image.take(below, axis) * (1 - share) + image.take(above, axis) * share)


def _contrast(image: Image, factor: float, _: Random) -> NDArray[Any]:
    mean: NDArray[Any] = image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray((image - mean) * factor + mean)


def _brightness(image: Image, more: float, _: Random) -> NDArray[Any]:
    """Raises the value of HSV: the largest channel grows by `more` at most to 1, the others in proportion."""
    value = image.max(axis=0).astype(np.float64)
    raised = np.minimum(value + more, 1)
    factor = np.divide(raised, value, out=np.zeros_like(value), where=value > 0)
    return np.asarray(np.where(value > 0, image * factor, raised))


def _saturate(image: Image, change: tuple[float, float], _: Random) -> NDArray[Any]:
    """Scales and shifts the saturation of HSV; grey has no hue and stays grey, where the original turns it red."""
    value, least = image.max(axis=0).astype(np.float64), image.min(axis=0)
    saturation = np.divide(value - least, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(saturation * change[0] + change[1], 0, 1)
    factor = np.divide(wanted, saturation, out=np.ones_like(value), where=saturation > 0)
    return np.asarray(value - (value - image) * factor)


def _elastic(image: Image, change: tuple[float, float, float], random: Random) -> NDArray[Any]:
    """Moves pixels by smoothed noise and by an affine map of three points; lengths are shares of the shorter side."""
    from scipy import ndimage

    _, height, width = image.shape
    side = min(height, width)
    noise, smooth, affine = (share * side for share in change)
    points = np.array([[1, 1, 1], [1, -1, 1], [-1, -1, 1]]) * [side / 3, side / 3, 1]
    moved = points[:, :2] + random.uniform(-affine, affine, (3, 2))
    matrix = np.linalg.solve(points, moved).T
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    at = [row[0] * y + row[1] * x + row[2] for row in matrix]
    for axis, centre in enumerate(((height - 1) / 2, (width - 1) / 2)):
        shift = random.uniform(-1, 1, (height, width)) * noise
        at[axis] += centre + (ndimage.gaussian_filter(shift, smooth, truncate=3) if noise else 0)
    return np.stack([ndimage.map_coordinates(plane, at, order=1, mode="reflect") for plane in image])


KINDS: Mapping[str, tuple[Callable[[Image, Any, Random], NDArray[Any]], tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": (_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "zoom_blur": (_zoom_blur, (1.05, 1.10, 1.15, 1.20, 1.25)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "saturate": (_saturate, ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))),
    "elastic": (
        _elastic,
        ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
}
"""Function and five strengths of each kind."""
assert tuple(KINDS) == CORRUPTIONS
