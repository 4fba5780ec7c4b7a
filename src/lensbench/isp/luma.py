"""Sharpening and denoising of the luma plane, in numpy; OpenCV takes the median.

Sums are taken in a stated order, float32, without fused multiply-add: the compiled kernels give the same bits.
Past its edges a plane is continued by repeating them (SciPy's ``reflect``), or by zeros under the published
pipeline's 3×3 sharpening.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.isp.view import View

Plane = NDArray[np.float32]


def radius_of(sigma: float) -> int:
    """Pixels on each side that a Gaussian is cut to."""
    return int(4 * sigma + 0.5)


def gaussian(sigma: float) -> NDArray[np.float32]:
    """The weights of a cut Gaussian, from its middle outwards; with both sides they sum to 1."""
    half = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius_of(sigma) + 1)]
    total = half[0] + 2 * sum(half[1:])
    return np.array([weight / total for weight in half], np.float32)


def sharpening(view: View) -> NDArray[np.float32]:
    """Weights of the stage's symmetric kernel along a column, from its middle outwards."""
    amount = view.sharpen_amount
    if view.sharpen == "filter":
        return np.array([1 + 4 * amount, -amount], np.float32)
    weights = gaussian(view.sharpen_sigma).astype(np.float64)
    if view.sharpen == "unsharp-vertical":
        weights *= -amount
        weights[0] += 1 + amount
    return weights.astype(np.float32)


def sharpened(y: Plane, view: View) -> Plane:
    """The luma after the view's sharpening."""
    if view.sharpen == "none":
        return y
    weights = sharpening(view)
    if view.sharpen == "filter":
        return _cross(y, weights, zero=view.edges == "published")
    if view.sharpen == "unsharp-vertical":
        return along(y, weights, axis=0)
    blurred = along(along(y, weights, axis=0), weights, axis=1)
    np.subtract(y, blurred, out=blurred)
    blurred *= np.float32(view.sharpen_amount)
    blurred += y
    return blurred


def denoised(y: Plane, view: View) -> Plane:
    """The luma after the view's denoising."""
    if view.denoise == "none":
        return y
    if view.denoise == "median":
        return median(y)
    weights = gaussian(view.denoise_sigma)
    return along(along(y, weights, axis=0), weights, axis=1)


def median(y: Plane) -> Plane:
    """The median of 3×3 pixels."""
    return np.asarray(cv2.medianBlur(y, 3), np.float32)


def along(y: Plane, weights: NDArray[np.float32], axis: int) -> Plane:
    """A symmetric kernel along one axis: the middle first, then pair by pair outwards."""
    reach, length = len(weights) - 1, y.shape[axis]
    down, right = (reach, 0) if axis == 0 else (0, reach)
    padded: Plane = np.asarray(cv2.copyMakeBorder(y, down, down, right, right, cv2.BORDER_REFLECT), np.float32)

    def shifted(by: int) -> Plane:
        begin = reach + by
        return padded[begin : begin + length] if axis == 0 else padded[:, begin : begin + length]

    out: Plane = y * weights[0]
    pair = np.empty_like(y)
    for k in range(1, reach + 1):
        np.add(shifted(-k), shifted(k), out=pair)
        pair *= weights[k]
        out += pair
    return out


def _cross(y: Plane, weights: NDArray[np.float32], *, zero: bool) -> Plane:
    padded = cv2.copyMakeBorder(y, 1, 1, 1, 1, cv2.BORDER_CONSTANT if zero else cv2.BORDER_REFLECT)
    pair = padded[:-2, 1:-1] + padded[2:, 1:-1]
    pair += padded[1:-1, :-2]
    pair += padded[1:-1, 2:]
    pair *= weights[1]
    out: Plane = y * weights[0]
    out += pair
    return out
