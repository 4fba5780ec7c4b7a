"""Run a model over an image of any size: whole where it can, in overlapping tiles where its input is fixed.

All that is known of the model is ``infer``: float32 N×C×h×w → floats N×K×h×w. What it gives is blended as it is,
before any activation or threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError

Planes = NDArray[np.float32]
Infer = Callable[[Planes], NDArray[Any]]
MOST_PLANES = 256
MOST_VALUES = 1 << 28
"""In one batch: a GiB of float32."""
MOST_DIVISOR = 1024
MOST_TILES = 1 << 16
"""In one image: a frame of 4416×4416 px takes 48,841 tiles of 32 px."""


@dataclass(frozen=True)
class Size:
    """What a model takes: `height` and `width` in pixels, None where any multiple of `divisor` will do.

    `batch` images go in at a time, at most; where `fixed`, exactly: a short batch is filled with zeros.
    """

    height: int | None = None
    width: int | None = None
    divisor: int = 1
    batch: int = 1
    fixed: bool = False


@dataclass(frozen=True)
class Tiling:
    """How tiles overlap, in pixels; None: an eighth of the tile, rounded down.

    Along each axis a tile's weight is 0 for `halo` pixels at either end, then rises evenly over `ramp` pixels
    (1/(ramp+1), 2/(ramp+1), …) to 1. At an end that is the image's own edge it is 1 throughout. A pixel's value
    is the mean of its tiles', weighted by the product of both axes' weights. There are as few tiles as let the
    ramps of neighbours meet, as evenly spread as whole pixels allow. So a model that sees no farther than `halo`
    pixels gives what it would give for the whole image.
    """

    halo: int | None = None
    ramp: int | None = None

    def of(self, tile: int) -> tuple[int, int]:
        """(halo, ramp) in pixels for a tile of `tile` pixels."""
        return tile // 8 if self.halo is None else self.halo, tile // 8 if self.ramp is None else self.ramp


ANY_SIZE, EIGHTHS = Size(), Tiling()


def run(
    infer: Infer, image: Planes, where: str, size: Size = ANY_SIZE, tiling: Tiling = EIGHTHS
) -> tuple[Planes, tuple[str, ...]]:
    """(float32 K×H×W, what was done to fit in words) for an image float32 C×H×W.

    An axis of any size is padded to a multiple of the divisor, one that is shorter than the tile to the tile: at its
    end, by reflection that leaves out the edge pixel; the result is cut back. Beside the image and one batch, memory
    holds the result and one plane of weights. Raises ModelError naming `where` if the model does not fit.
    """
    height, width = image.shape[1:]
    rows = _Axis.of(height, size.height, size.divisor, tiling, where)
    columns = _Axis.of(width, size.width, size.divisor, tiling, where)
    if size.batch < 1 or size.batch * len(image) * rows.tile * columns.tile > MOST_VALUES:
        shape = (size.batch, len(image), rows.tile, columns.tile)
        raise ModelError(f"{where}: takes batches of {shape}, at most {MOST_VALUES:,} values are given at a time")
    if len(rows.spans) * len(columns.spans) > MOST_TILES:
        raise ModelError(
            f"{where}: an image of {height}×{width} px would take {len(rows.spans) * len(columns.spans):,} tiles of "
            f"{rows.tile}×{columns.tile} px, at most {MOST_TILES:,} are run"
        )
    padded = np.pad(image, [(0, 0), (0, rows.length - height), (0, columns.length - width)], "reflect")
    tiles = list(product(rows.spans, columns.spans))
    if len(tiles) == 1:  # nothing to blend
        (whole,) = _infer(infer, padded, tiles, size, where)
        return np.ascontiguousarray(whole[:, :height, :width], np.float32), _words(rows, columns, height, width)
    total: Planes | None = None
    weight = np.zeros(padded.shape[1:], np.float32)
    for first in range(0, len(tiles), size.batch):
        chosen = tiles[first : first + size.batch]
        for (y, x), answer in zip(chosen, _infer(infer, padded, chosen, size, where), strict=True):
            if total is None:
                total = np.zeros((len(answer), *weight.shape), np.float32)
            if len(answer) != len(total):
                raise ModelError(f"{where}: gives {len(total)} planes for one tile and {len(answer)} for another")
            share = np.outer(rows.weights(y), columns.weights(x))
            weight[y, x] += share
            share = np.divide(share, weight[y, x], out=share, where=share > 0)
            total[:, y, x] += (answer - total[:, y, x]) * share  # a running mean leaves equal values as they are
    assert total is not None
    return np.ascontiguousarray(total[:, :height, :width]), _words(rows, columns, height, width)


@dataclass(frozen=True)
class _Axis:
    """One axis of the padded image: its length, and where the tiles lie that have this halo and ramp."""

    length: int
    tile: int
    halo: int
    ramp: int
    spans: tuple[slice, ...]

    @classmethod
    def of(cls, length: int, fixed: int | None, divisor: int, tiling: Tiling, where: str) -> Self:
        """For an image of `length` pixels, and a model that takes `fixed` of them or any multiple of `divisor`."""
        if length < 1 or not 1 <= divisor <= MOST_DIVISOR:
            raise ModelError(f"{where}: {length} pixels cannot be made a multiple of {divisor} (1 to {MOST_DIVISOR})")
        if fixed is None or length <= fixed:
            tile = fixed or -(-length // divisor) * divisor
            return cls(tile, tile, 0, 0, (slice(0, tile),))
        halo, ramp = tiling.of(fixed)
        stride = fixed - 2 * halo - ramp
        if min(halo, ramp) < 0 or stride < 1:
            raise ModelError(
                f"{where}: tiles of {fixed} px have no room for two halos of {halo} and a ramp of {ramp} px"
            )
        rest = length - fixed
        steps = -(-rest // stride)
        starts = (rest * step // steps for step in range(steps + 1))
        return cls(length, fixed, halo, ramp, tuple(slice(start, start + fixed) for start in starts))

    def weights(self, span: slice) -> Planes:
        """The weight of each pixel of one tile: float32, `tile` long."""
        rise = np.clip((np.arange(self.tile) - self.halo + 1) / (self.ramp + 1), 0, 1).astype(np.float32)
        whole = np.ones_like(rise)
        return np.minimum(rise if span.start else whole, rise[::-1] if span.stop < self.length else whole)


def _infer(
    infer: Infer, image: Planes, tiles: Sequence[tuple[slice, slice]], size: Size, where: str
) -> NDArray[np.floating[Any]]:
    """What the model gives for some tiles, floats n×K×h×w, checked."""
    number = size.batch if size.fixed else len(tiles)
    batch = np.zeros((number, len(image), *image[0][tiles[0]].shape), np.float32)
    for place, tile in zip(batch, tiles, strict=False):
        place[:] = image[:, *tile]
    given = infer(batch)
    wanted = (number, *batch.shape[2:])
    if given.ndim != 4 or (given.shape[0], *given.shape[2:]) != wanted or not 1 <= given.shape[1] <= MOST_PLANES:
        raise ModelError(
            f"{where}: gives {given.shape} for an input of {batch.shape}, expected N×K×h×w of the same N, h and w "
            f"and at most {MOST_PLANES} planes"
        )
    if given.dtype.kind != "f":
        raise ModelError(f"{where}: gives {given.dtype} values, expected floats")
    if not np.isfinite(given).all():
        raise ModelError(f"{where}: gives NaN or infinity")
    return given[: len(tiles)]


def _words(rows: _Axis, columns: _Axis, height: int, width: int) -> tuple[str, ...]:
    words = []
    if (rows.length, columns.length) != (height, width):
        words.append(f"padded by reflection to {rows.length}×{columns.length} px (height×width)")
    if len(rows.spans) * len(columns.spans) > 1:
        axes = " and ".join(
            f"{name} {axis.tile} px, halo {axis.halo}, ramp {axis.ramp}"
            for name, axis in (("height", rows), ("width", columns))
            if len(axis.spans) > 1
        )
        words.append(f"run in {len(rows.spans)}×{len(columns.spans)} tiles ({axes})")
    return tuple(words)
