"""Develop a raw frame: one view of it, or many that share what they have in common, whole or tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ViewError
from lensbench.isp.after import as_a_whole, finish_whole
from lensbench.isp.camera import Camera
from lensbench.isp.colour import Affine, affine
from lensbench.isp.demosaic import HALO
from lensbench.isp.engine import Box
from lensbench.isp.engines import get_engine
from lensbench.isp.frame import as_mosaic
from lensbench.isp.levels import stage, tables
from lensbench.isp.luma import radius_of
from lensbench.isp.view import View

Image = NDArray[np.float32]
Raw = NDArray[np.uint16]
TILE = 512
"""Pixels a side that are worked on at a time: the fastest of 128…768 on a frame of five megapixels."""


class Tile(NamedTuple):
    """A part of a developed frame."""

    view: int
    """Position of its view among those asked for."""
    top: int
    left: int
    image: Image
    """3×H×W in [0, 1]."""


def halo(view: View) -> int:
    """How many pixels beyond a tile decide about it: a whole number of cells."""
    reach = 2 * HALO[view.demosaic]
    if view.sharpen != "none":
        reach += 1 if view.sharpen == "filter" else radius_of(view.sharpen_sigma)
    if view.denoise != "none":
        reach += 1 if view.denoise == "median" else radius_of(view.denoise_sigma)
    return reach + reach % 2


class _Step(NamedTuple):
    """A view with what depends on it and the camera alone, and the keys under which parts are shared."""

    view: View
    table: NDArray[np.int32]
    matrix: Affine
    levels: tuple[Any, ...]
    colours: tuple[Any, ...]
    sharpened: tuple[Any, ...]


def _step(camera: Camera, view: View) -> _Step:
    table, scale = tables(camera, view)
    matrix = affine(camera, view, scale)
    levels = stage(view)
    colours = (*levels, view.demosaic, view.edges, matrix.tobytes())
    sharpened = (*colours, view.sharpen, view.sharpen_amount, view.sharpen_sigma)
    return _Step(view, table, matrix, levels, colours, sharpened)


class Developer:
    """Develops frames of one camera in the given views.

    What views share is done once a tile: levels, demosaic, colours, sharpening. Tiles change no bit of the result.
    """

    def __init__(self, camera: Camera, views: Sequence[View], engine: str | None = None, tile: int = TILE) -> None:
        if tile < 2 or tile % 2:
            raise ViewError(f"a tile is a whole number of cells: {tile} pixels a side are not")
        self.camera, self.views, self._tile = camera, tuple(views), tile
        self._engine = get_engine(engine)
        self._steps = [_step(camera, view) for view in views]
        self._halo = max(map(halo, views), default=0)

    def __call__(self, raw: NDArray[Any], out: Image | None = None, sample: str = "") -> Image:
        """views×3×H×W in [0, 1], float32; into `out` where that is given. Raises FrameError for an unfit frame.

        `sample` (its id) keys the random numbers of views that have any.
        """
        mosaic = as_mosaic(raw)
        shape = (len(self.views), 3, *mosaic.shape)
        image = np.empty(shape, np.float32) if out is None else out
        if image.shape != shape or image.dtype != np.float32:
            raise ValueError(f"out is {image.dtype} {image.shape}, not float32 {shape}")
        for box in _boxes(mosaic.shape, self._tile):
            self._develop(mosaic, box, image, box)
        for view, whole in zip(self.views, image, strict=True):
            finish_whole(whole, view, sample)
        return image

    def tiles(self, raw: NDArray[Any]) -> Iterator[Tile]:
        """The same, tile by tile and in a tile view by view: for frames whose views do not fit the memory.

        A tile's image is overwritten when the next tile begins. Raises ViewError where a view has a stage that
        needs the whole image (JPEG, corruptions).
        """
        for view in self.views:
            if as_a_whole(view):
                raise ViewError(f"view {view.name or view.digest[:8]} needs the whole image: it has no tiles")
        mosaic = as_mosaic(raw)
        buffer = np.empty((len(self.views), 3, self._tile, self._tile), np.float32)
        for box in _boxes(mosaic.shape, self._tile):
            place = slice(0, box[0].stop - box[0].start), slice(0, box[1].stop - box[1].start)
            self._develop(mosaic, box, buffer, place)
            for number, image in enumerate(buffer[:, :, *place]):
                yield Tile(number, box[0].start, box[1].start, image)

    def _develop(self, raw: Raw, box: Box, out: Image, place: Box) -> None:
        around = [slice(max(0, s.start - self._halo), s.stop + self._halo) for s in box]
        rows, columns = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
        mosaic = raw[around[0], around[1]]
        done: dict[tuple[Any, ...], Any] = {}
        for step, image in zip(self._steps, out, strict=True):
            if step.sharpened not in done:
                if step.colours not in done:
                    if step.levels not in done:
                        done[step.levels] = self._engine.levels(mosaic, step.table)
                    levels = done[step.levels]
                    done[step.colours] = self._engine.colours(levels, self.camera.red, step.view, step.matrix)
                done[step.sharpened] = self._engine.sharpened(done[step.colours][0], step.view)
            of = done[step.sharpened], done[step.colours][1:]
            self._engine.finished(*of, step.view, (rows, columns), image, place)


def _boxes(shape: tuple[int, ...], side: int) -> Iterator[Box]:
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def develop(raw: NDArray[Any], camera: Camera, view: View, engine: str | None = None, sample: str = "") -> Image:
    """3×H×W in [0, 1], float32: the frame in one view; `sample` (its id) keys the random numbers of a corruption."""
    image: Image = Developer(camera, [view], engine)(raw, sample=sample)[0]
    return image
