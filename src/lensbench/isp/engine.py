"""The parts of the pipeline that exist twice: in numpy, and compiled by numba where that is installed.

Both give the same bits: whole numbers first, then float32 sums in one order without fused multiply-add.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.colour import Affine, luma_differences
from lensbench.isp.demosaic import demosaic
from lensbench.isp.levels import Levels, levels_of
from lensbench.isp.luma import denoised, sharpened
from lensbench.isp.tone import developed
from lensbench.isp.view import View

Image = NDArray[np.float32]
Raw = NDArray[np.uint16]
Box = tuple[slice, slice]


class Engine(Protocol):
    """How the parts are called."""

    def levels(self, raw: Raw, table: NDArray[np.int32]) -> Levels:
        """The levels of a mosaic, by the table of each site of its cell."""

    def colours(self, levels: Levels, red: tuple[int, int], view: View, matrix: Affine) -> Image:
        """4×H×W: Y, R − Y, G − Y and B − Y of a mosaic."""

    def sharpened(self, y: Image, view: View) -> Image:
        """The luma after sharpening."""

    def finished(self, y: Image, differences: Image, view: View, part: Box, out: Image, place: Box) -> None:
        """Denoise, and write the image of the rows and columns in `part` into those in `place` of `out`."""


class Numpy:
    """The parts in numpy and OpenCV."""

    def levels(self, raw: Raw, table: NDArray[np.int32]) -> Levels:
        """See `Engine`."""
        return levels_of(raw, table)

    def colours(self, levels: Levels, red: tuple[int, int], view: View, matrix: Affine) -> Image:
        """See `Engine`."""
        return luma_differences(demosaic(levels, view.demosaic, red, view.edges), matrix)

    def sharpened(self, y: Image, view: View) -> Image:
        """See `Engine`."""
        return sharpened(y, view)

    def finished(self, y: Image, differences: Image, view: View, part: Box, out: Image, place: Box) -> None:
        """See `Engine`."""
        of = denoised(y, view)[part], differences[:, *part]
        developed(*of, view.gamma, view.contrast, out[:, *place])
