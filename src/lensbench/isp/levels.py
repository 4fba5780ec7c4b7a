"""From a raw frame to levels: whole numbers that the demosaic works on, so that its decisions are exact.

Exposure, bit depth, black level and, where it comes first, white balance act on one pixel alone. So they are one
table of 65,536 entries for each site of the filter's cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.camera import TOP, Camera
from lensbench.isp.view import View

LARGEST = 1 << 22
"""No level's magnitude exceeds it: the sums of the demosaic then fit 32 bits (its largest is below 300 levels)."""

Levels = NDArray[np.int32]


@dataclass(frozen=True)
class Scale:
    """What a level stands for: light = level / `unit` − `offset`, by channel."""

    unit: float
    offset: tuple[float, float, float]


def stage(view: View) -> tuple[Any, ...]:
    """What `tables` reads of a view: views that agree on it share their levels."""
    gains = view.gains if view.balance == "before" else None
    return view.exposure, view.bits, view.black, view.balance, gains


def tables(camera: Camera, view: View) -> tuple[NDArray[np.int32], Scale]:
    """(four tables by site of the cell, row by row: raw value → level; what a level stands for).

    The unit is a power of two, the finest that keeps every level within `LARGEST`. What rounding takes off the
    black level (the mean over the two green sites) is given back by the scale's offset.
    """
    gains = _gains(camera, view)
    raw = _exposed(camera, view)
    most = max(abs(gain) for gain in gains.values()) * (1 + abs(view.black)) * TOP
    unit = 2.0 ** math.floor(math.log2(LARGEST / max(most, 1.0)))
    found, rest = [], {channel: list[float]() for channel in "RGB"}
    for site, channel in enumerate(camera.cfa):
        black = camera.black[site] + view.black * camera.span
        factor = gains[channel] * unit
        if factor == unit:  # raw values are whole: only the black level is rounded, and that is given back
            whole = math.floor(black * unit + 0.5)
            table = np.rint(raw[site] * unit) - whole
            rest[channel].append(black * unit - whole)
        else:
            table = np.rint((raw[site] - black) * factor)
            rest[channel].append(0.0)
        found.append(table.astype(np.int32))
    per_light = unit * camera.span
    red, green, blue = (sum(values) / len(values) / per_light for values in rest.values())
    return np.stack(found), Scale(per_light, (red, green, blue))


def _gains(camera: Camera, view: View) -> dict[str, float]:
    if view.balance == "after":
        return dict.fromkeys("RGB", 1.0)
    return {c: g * w for c, g, w in zip("RGB", camera.gains, view.gains, strict=True)}


def _exposed(camera: Camera, view: View) -> NDArray[np.float64]:
    """4 × 65,536: each raw value as another exposure and a coarser converter would have recorded it."""
    raw = np.tile(np.arange(TOP + 1, dtype=np.float64), (4, 1))
    if view.exposure != 1:
        black = np.array(camera.black)[:, None]
        raw = np.rint(np.clip(black + (raw - black) * view.exposure, 0, np.maximum(raw, camera.white)))
    if view.bits < 16:
        steps = (2.0**view.bits - 1) / camera.white
        raw = np.rint(raw * steps) / steps
    return raw


def sites(levels: NDArray[Any]) -> NDArray[Any]:
    """H×W as 2×2×H/2×W/2, one contiguous plane for each site of the cell."""
    height, width = levels.shape
    return np.ascontiguousarray(levels.reshape(height // 2, 2, width // 2, 2).transpose(1, 3, 0, 2))


def joined(planes: NDArray[Any]) -> NDArray[Any]:
    """…×2×2×H/2×W/2 as …×H×W: the inverse of `sites`, for any number of leading axes."""
    *lead, _, _, height, width = planes.shape
    out = np.empty((*lead, 2 * height, 2 * width), planes.dtype)
    for site in range(4):  # as the transpose of an array of six axes it takes five times as long
        row, column = divmod(site, 2)
        out[..., row::2, column::2] = planes[..., row, column, :, :]
    return out


def levels_of(raw: NDArray[np.uint16], table: NDArray[np.int32]) -> Levels:
    """The levels of a mosaic, H×W, both even."""
    out = np.empty(raw.shape, np.int32)
    for site in range(4):
        row, column = divmod(site, 2)
        out[row::2, column::2] = table[site].take(raw[row::2, column::2])
    return out
