"""`luma` and `tone`, compiled: sharpening, smoothing and the tone curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.compiled.jit import compiled
from lensbench.isp.tone import GREEN

Array = NDArray[Any]
ONE, THREE, ZERO = np.float32(1), np.float32(3), np.float32(0)
GREEN_BLUE, GREEN_RED = GREEN


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
def curve(x: Array, c: Array, contrast: Any) -> None:
    """Clip and bend a line in place."""
    c1, c2, c3, c4, c5, c6, c7, c8 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    for k in range(len(x)):
        t = x[k]
        t = t if t > ZERO else ZERO
        t = t if t < ONE else ONE
        t = math.sqrt(math.sqrt(math.sqrt(t)))
        x[k] = (((((((t * c8 + c7) * t + c6) * t + c5) * t + c4) * t + c3) * t + c2) * t + c1) * t
    if contrast != ZERO:
        for k in range(len(x)):
            v = x[k]
            v = v if v > ZERO else ZERO
            v = v if v < ONE else ONE
            x[k] = ((THREE - v - v) * v * v - v) * contrast + v
    for k in range(len(x)):
        v = x[k]
        v = v if v > ZERO else ZERO
        x[k] = v if v < ONE else ONE


@compiled
def finish(
    y: Array, chroma: Array, smooth: Array, top: int, left: int, curve_of: Array, contrast: Any, out: Array
) -> None:
    """Smooth the luma where `smooth` has weights, and write the image of the part that begins at `top`, `left`.

    `out` is rows×3×columns.
    """
    width, (height, _, columns) = y.shape[1], out.shape
    reach = max(len(smooth) - 1, 0)
    line, smoothed = np.empty(width + 2 * reach, y.dtype), np.empty(width, y.dtype)
    r, g, b = np.empty(columns, y.dtype), np.empty(columns, y.dtype), np.empty(columns, y.dtype)
    for i in range(height):
        light = y[i + top]
        if len(smooth) > 0:
            column_sum(y, i + top, smooth, line[reach : reach + width])
            row_sum(line, smooth, smoothed)
            light = smoothed
        light, blue, red = light[left:], chroma[0, i + top, left:], chroma[1, i + top, left:]
        for k in range(columns):
            r[k] = light[k] + red[k]
            g[k] = blue[k] * GREEN_BLUE + red[k] * GREEN_RED + light[k]
            b[k] = light[k] + blue[k]
        curve(r, curve_of, contrast)
        curve(g, curve_of, contrast)
        curve(b, curve_of, contrast)
        to_r, to_g, to_b = out[i, 0], out[i, 1], out[i, 2]
        for k in range(columns):
            to_r[k] = r[k]
        for k in range(columns):
            to_g[k] = g[k]
        for k in range(columns):
            to_b[k] = b[k]
