"""Between the demosaic and the luma filters: white balance, colour matrix, saturation and hue are one affine map.

It gives Y (Rec. 601 luma), R − Y, G − Y and B − Y. Sharpening and denoising change Y alone, so the differences are
kept as they are, and whatever is negative or above 1 stays so until the tone curve adds them to it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.camera import Camera
from lensbench.isp.levels import Scale, joined
from lensbench.isp.view import View

LUMA = (0.299, 0.587, 0.114)
U_OF, V_OF = 0.436 / (1 - LUMA[2]), 0.615 / (1 - LUMA[0])  # of B − Y and R − Y, as in PAL's YUV

Affine = NDArray[np.float32]
"""4×4: rows Y, R − Y, G − Y and B − Y; columns red, green and blue level, and 1."""


def affine(camera: Camera, view: View, scale: Scale) -> Affine:
    """The map from levels to Y and the channels' differences to it."""
    gains = np.ones(3)
    if view.balance == "after":
        gains = np.array([g * w for g, w in zip(camera.gains, view.gains, strict=True)])
    linear = np.array(camera.matrix).reshape(3, 3) * gains
    luma = (np.array(LUMA)[:, None] * linear).sum(axis=0)
    blue, red = _turned(linear[2] - luma, linear[0] - luma, view)
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    rows = np.stack([luma, red, green, blue])
    constant = -(rows * np.array(scale.offset)).sum(axis=1)
    return np.column_stack([rows / scale.unit, constant]).astype(np.float32)


def _turned(blue: NDArray[Any], red: NDArray[Any], view: View) -> tuple[NDArray[Any], NDArray[Any]]:
    """The colour differences after saturation and hue, which scale and turn the U-V plane."""
    if view.saturation == 1 and view.hue == 0:
        return blue, red
    angle = math.radians(view.hue)
    cos, sin = math.cos(angle) * view.saturation, math.sin(angle) * view.saturation
    u, v = blue * U_OF, red * V_OF
    return (cos * u - sin * v) / U_OF, (sin * u + cos * v) / V_OF


def luma_differences(planes: NDArray[np.float32], matrix: Affine) -> NDArray[np.float32]:
    """4×H×W (Y, R − Y, G − Y, B − Y) of levels by channel and site."""
    red, green, blue = planes
    out = np.empty((len(matrix), *red.shape), np.float32)
    part = np.empty(red.shape, np.float32)
    for number, row in enumerate(matrix):
        np.multiply(red, row[0], out=out[number])
        for channel, weight in ((green, row[1]), (blue, row[2])):
            np.multiply(channel, weight, out=part)
            out[number] += part
        out[number] += row[3]
    return joined(out)
