"""`luma` and `tone`, compiled: sharpening, smoothing and the tone curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.compiled.jit import compiled

Array = NDArray[Any]
ONE, THREE, ZERO = np.float32(1), np.float32(3), np.float32(0)


@compiled
def reflected(index: int, length: int) -> int:
    """The pixel that stands for one past the edge: the edge is repeated."""
    while index < 0 or index >= length:
        index = -1 - index if index < 0 else 2 * length - 1 - index
    return index


@compiled
def add_pair(one: Array, other: Array, weight: Any, out: Array) -> None:
    """Add two lines times a weight."""
    for k in range(len(out)):
        out[k] += (one[k] + other[k]) * weight


@compiled
def column_sum(y: Array, i: int, weights: Array, out: Array) -> None:
    """Row `i` of `y` under a symmetric kernel along the columns."""
    here = y[i]
    for k in range(len(out)):
        out[k] = here[k] * weights[0]
    for j in range(1, len(weights)):
        add_pair(y[reflected(i - j, y.shape[0])], y[reflected(i + j, y.shape[0])], weights[j], out)


@compiled
def row_sum(line: Array, weights: Array, out: Array) -> None:
    """A padded line (by ``len(weights) - 1`` on both sides, filled in here) under a symmetric kernel along it."""
    reach, width = len(weights) - 1, len(out)
    for k in range(reach):
        line[k] = line[reach + reflected(k - reach, width)]
        line[reach + width + k] = line[reach + reflected(width + k, width)]
    for k in range(width):
        out[k] = line[reach + k] * weights[0]
    for j in range(1, reach + 1):
        add_pair(line[reach - j : reach - j + width], line[reach + j : reach + j + width], weights[j], out)


@compiled
def along_columns(y: Array, weights: Array) -> Array:
    """A symmetric kernel along the columns."""
    out = np.empty_like(y)
    for i in range(y.shape[0]):
        column_sum(y, i, weights, out[i])
    return out


@compiled
def cross(y: Array, weights: Array, zero: bool) -> Array:
    """The 3×3 kernel without corners."""
    height, width = y.shape
    out, line, blank = np.empty_like(y), np.zeros(width + 2, y.dtype), np.zeros(width, y.dtype)
    for i in range(height):
        here, to = y[i], out[i]
        above = blank if zero and i == 0 else y[reflected(i - 1, height)]
        below = blank if zero and i == height - 1 else y[reflected(i + 1, height)]
        line[1 : width + 1] = here
        if not zero:
            line[0], line[width + 1] = here[0], here[width - 1]
        for k in range(width):
            to[k] = here[k] * weights[0] + (above[k] + below[k] + line[k] + line[k + 2]) * weights[1]
    return out


@compiled
def unsharp(y: Array, weights: Array, amount: Any) -> Array:
    """Isotropic unsharp masking."""
    reach, (height, width) = len(weights) - 1, y.shape
    out, line = np.empty_like(y), np.empty(width + 2 * reach, y.dtype)
    for i in range(height):
        column_sum(y, i, weights, line[reach : reach + width])
        row_sum(line, weights, out[i])
        here, to = y[i], out[i]
        for k in range(width):
            to[k] = (here[k] - to[k]) * amount + here[k]
    return out


@compiled
def bend(light: Array, difference: Array, root: bool, c: Array, contrast: Any, out: Array) -> None:
    """Write a line of one channel: the sum, clipped and bent."""
    c0, c1, c2, c3, c4, c5, c6 = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
    for k in range(len(out)):
        x = min(max(light[k] + difference[k], ZERO), ONE)
        if root:
            x = math.sqrt(x)
        fourth = math.sqrt(math.sqrt(x))
        eighth = math.sqrt(fourth)
        even = ((fourth * c6 + c4) * fourth + c2) * fourth + c0
        odd = ((fourth * c5 + c3) * fourth + c1) * eighth
        out[k] = clipped((even + odd) * fourth)
    if contrast != ZERO:
        for k in range(len(out)):
            v = out[k]
            out[k] = clipped(((THREE - v - v) * v * v - v) * contrast + v)


@compiled
def clipped(v: Any) -> Any:
    """In 0…1, and no zero with a sign."""
    return min(v if v > ZERO else ZERO, ONE)


@compiled
def finish(y: Array, differences: Array, smooth: Array, curve: Any, part: Any, out: Array, top: int, left: int) -> None:
    """Smooth the luma where `smooth` has weights, and write the image of a part to where `out` has `top`, `left`.

    `part` is its first row and column, its height and width; `curve` is what `bend` has to know.
    """
    (first, begin, height, columns), (root, c, contrast), width = part, curve, y.shape[1]
    reach = max(len(smooth) - 1, 0)
    line, smoothed = np.empty(width + 2 * reach, y.dtype), np.empty(width, y.dtype)
    for i in range(height):
        light = y[first + i]
        if len(smooth) > 0:
            column_sum(y, first + i, smooth, line[reach : reach + width])
            row_sum(line, smooth, smoothed)
            light = smoothed
        for channel in range(3):
            difference, to = differences[channel, first + i, begin:], out[channel, top + i, left : left + columns]
            bend(light[begin:], difference, root, c, contrast, to)
