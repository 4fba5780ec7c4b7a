"""The tone curve: from luma and differences of colour to an image in [0, 1].

Values are clipped here and nowhere before. The gamma is x^¼ times a polynomial of degree 6 in x^⅛, which three square
roots give: square roots, products and sums are the same bits on every machine, and a power is not. It is within
2.5e-6 of ``x ** (1 / 2.2)``, and within 4e-6 for any gamma in 1…4.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TERMS = 7
STEEPEST = 2.5
"""The largest gamma that the polynomial serves: beyond it, half the gamma is taken of the square root."""
CHUNK = 1 << 15
"""Pixels worked on at a time: what they need stays in the cache, and there are few calls."""

Image = NDArray[np.float32]


@lru_cache(maxsize=256)
def coefficients(gamma: float) -> NDArray[np.float32]:
    """Of 1, t … t⁶ in ``t ** (8 / gamma - 2)``, interpolated at seven points that lie closer towards 0 and 1.

    Beyond `STEEPEST` those of half the gamma. Solved in fractions: no linear algebra library rounds here. Their sum,
    as it is rounded, reaches 1, so that white stays white.
    """
    power = (8 if gamma <= STEEPEST else 16) / gamma - 2
    angles = [math.pi * (k + 0.75) / (TERMS + 0.75) for k in range(1, TERMS + 1)]
    nodes = [Fraction(round(512 - 512 * math.cos(angle)), 1024) for angle in angles]
    slopes = [Fraction(float(node) ** power) for node in nodes]  # Newton's divided differences
    for step in range(1, TERMS):
        for k in range(TERMS - 1, step - 1, -1):
            slopes[k] = (slopes[k] - slopes[k - 1]) / (nodes[k] - nodes[k - step])
    powers = [Fraction(0)] * TERMS
    for slope, node in zip(reversed(slopes), reversed(nodes), strict=True):
        powers = [below - node * here for below, here in zip([Fraction(0), *powers[:-1]], powers, strict=True)]
        powers[0] += slope
    found = np.array([float(value) for value in powers], np.float32)
    while _factor(np.ones(1, np.float32), np.ones(1, np.float32), found) < 1:
        found[0] += np.float32(2**-24)
    return found


def developed(y: Image, differences: Image, gamma: float, contrast: float, out: Image) -> None:
    """Write the image of a luma plane and the channels' differences to it (R, G, B) into `out`, 3×H×W."""
    step = max(1, CHUNK // y.shape[1])
    for begin in range(0, y.shape[0], step):
        rows = slice(begin, begin + step)
        image = y[rows] + differences[:, rows]
        np.add(_curve(image, gamma, np.float32(contrast)), 0, out=out[:, rows])  # no zero has a sign


def _curve(x: Image, gamma: float, contrast: np.float32) -> Image:
    np.clip(x, 0, 1, out=x)
    if gamma > STEEPEST:
        np.sqrt(x, out=x)
    np.sqrt(x, out=x)
    fourth = np.sqrt(x)
    bent = _factor(np.sqrt(fourth, out=x), fourth, coefficients(gamma))
    bent *= fourth
    np.clip(bent, 0, 1, out=bent)
    if contrast:
        more = (np.float32(3) - bent - bent) * bent * bent
        more -= bent
        more *= contrast
        bent += more
        np.clip(bent, 0, 1, out=bent)
    return bent


def _factor(eighth: Image, fourth: Image, weights: NDArray[np.float32]) -> Image:
    """The polynomial: its even and its odd terms apart, so that a processor need not wait for one sum."""
    even, odd = fourth * weights[6], fourth * weights[5]
    even += weights[4]
    even *= fourth
    even += weights[2]
    even *= fourth
    even += weights[0]
    odd += weights[3]
    odd *= fourth
    odd += weights[1]
    odd *= eighth
    even += odd
    done: Image = even
    return done
