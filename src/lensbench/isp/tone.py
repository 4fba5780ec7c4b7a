"""The tone curve: from luma and colour differences to an image in [0, 1].

Values are clipped here and nowhere before. The gamma is a polynomial of degree 8 in the eighth root, which three
square roots give: square roots, products and sums are the same bits on every machine, and a power is not.
It is within 2e-6 of ``x ** (1 / 2.2)`` and within 2e-5 for any gamma in 1…4.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.colour import LUMA

DEGREE = 8
CHUNK = 32
"""Rows worked on at a time: what they need stays in the cache."""

Image = NDArray[np.float32]
GREEN = np.array([-LUMA[2] / LUMA[1], -LUMA[0] / LUMA[1]], np.float32)
"""Weights of B − Y and R − Y in G − Y."""


@lru_cache(maxsize=256)
def coefficients(gamma: float) -> NDArray[np.float32]:
    """Of t, t² … t⁸ in ``t ** (8 / gamma)``, interpolated where Chebyshev's polynomial has its extremes, 1 included.

    Solved in fractions: no linear algebra library rounds here.
    """
    nodes = [Fraction(round(512 - 512 * math.cos(math.pi * k / DEGREE)), 1024) for k in range(1, DEGREE + 1)]
    slopes = [Fraction(float(node) ** (8 / gamma - 1)) for node in nodes]  # Newton's divided differences
    for step in range(1, DEGREE):
        for k in range(DEGREE - 1, step - 1, -1):
            slopes[k] = (slopes[k] - slopes[k - 1]) / (nodes[k] - nodes[k - step])
    powers = [Fraction(0)] * DEGREE
    for slope, node in zip(reversed(slopes), reversed(nodes), strict=True):
        powers = [below - node * here for below, here in zip([Fraction(0), *powers[:-1]], powers, strict=True)]
        powers[0] += slope
    return np.array([float(power) for power in powers], np.float32)


def developed(y: Image, chroma: Image, gamma: float, contrast: float, out: Image) -> None:
    """Write the image of a luma plane and its colour differences (B − Y, R − Y) into `out`, 3×H×W."""
    weights, shape = coefficients(gamma), np.float32(contrast)
    for begin in range(0, y.shape[0], CHUNK):
        rows = slice(begin, begin + CHUNK)
        luma, (blue, red) = y[rows], chroma[:, rows]
        image = np.empty((3, *luma.shape), np.float32)
        np.add(luma, red, out=image[0])
        np.add(luma, blue, out=image[2])
        np.multiply(blue, GREEN[0], out=image[1])
        image[1] += red * GREEN[1]
        image[1] += luma
        out[:, rows] = _curve(image, weights, shape)


def _curve(x: Image, weights: NDArray[np.float32], contrast: np.float32) -> Image:
    np.clip(x, 0, 1, out=x)
    for _ in range(3):
        np.sqrt(x, out=x)
    total = x * weights[-1]
    for weight in weights[-2::-1]:
        total += weight
        total *= x
    np.clip(total, 0, 1, out=total)
    total += 0  # no zero has a sign
    if contrast:
        bent = (np.float32(3) - total - total) * total * total
        bent -= total
        bent *= contrast
        total += bent
        np.clip(total, 0, 1, out=total)
        total += 0
    done: Image = total
    return done
