"""The same parts as in `demosaic`, `colour`, `luma` and `tone`, compiled by numba: the same numbers, bit for bit.

Written for the compiler: plain loops along rows of contiguous planes, no index below 0, no fast maths. The formulas
are explained where they stand in numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.colour import Affine
from lensbench.isp.compiled import image, mosaic
from lensbench.isp.demosaic import PAD, REFLECTED, REPEATED, extended, mirrored
from lensbench.isp.engine import Box, Image, Raw
from lensbench.isp.levels import Levels
from lensbench.isp.luma import gaussian, median, sharpening
from lensbench.isp.tone import STEEPEST, coefficients
from lensbench.isp.view import View

Array = NDArray[Any]
NOTHING = np.empty(0, np.float32)


class Numba:
    """The parts, compiled."""

    def levels(self, raw: Raw, table: NDArray[np.int32]) -> Levels:
        """See `Engine`."""
        return mosaic.looked_up(np.ascontiguousarray(raw), table)  # type: ignore[no-any-return]

    def colours(self, levels: Levels, red: tuple[int, int], view: View, matrix: Affine) -> Image:
        """See `Engine`."""
        repeat = view.edges == "published" and view.demosaic != "menon2007"
        planes = mosaic.split(extended(levels, red, PAD[view.demosaic], REPEATED if repeat else REFLECTED))
        if view.demosaic == "menon2007":
            planes = _menon(planes, levels.shape, red)
        elif view.demosaic == "malvar2004":
            planes = mosaic.malvar(planes)
        else:
            planes = mosaic.bilinear(planes)
            if repeat:
                mosaic.repeat_edges(planes, levels, *red)
        found: Image = mosaic.matched(planes, matrix, *red, *levels.shape)
        return found

    def sharpened(self, y: Image, view: View) -> Image:
        """See `Engine`."""
        if view.sharpen == "none":
            return y
        weights = sharpening(view)
        done: Image
        if view.sharpen == "filter":
            done = image.cross(y, weights, view.edges == "published")
        elif view.sharpen == "unsharp-vertical":
            done = image.along_columns(y, weights)
        else:
            done = image.unsharp(y, weights, np.float32(view.sharpen_amount))
        return done

    def finished(self, y: Image, differences: Image, view: View, part: Box, out: Image, place: Box) -> None:
        """See `Engine`."""
        smooth = gaussian(view.denoise_sigma) if view.denoise == "gaussian" else NOTHING
        light = median(y) if view.denoise == "median" else y
        rows, columns = part
        inner = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
        curve = view.gamma > STEEPEST, coefficients(view.gamma), np.float32(view.contrast)
        image.finish(light, differences, smooth, curve, inner, out, place[0].start, place[1].start)


def _menon(planes: Array, shape: tuple[int, ...], red: tuple[int, int]) -> Array:
    found = mosaic.differences(planes)
    start = 4 + red[0], 4 + red[1], shape[0] // 2, shape[1] // 2
    flat_r, flat_b = mosaic.decided(mosaic.gradients(found, *start), *start)
    flat_r, flat_b = map(np.ascontiguousarray, mirrored(flat_r, flat_b, red))
    d = mosaic.chosen(found, flat_r, flat_b)
    better = mosaic.refined(d, mosaic.at_green(d), flat_r, flat_b)
    done: Array = mosaic.filled(planes, better, mosaic.at_green(better), flat_r, flat_b)
    return done
