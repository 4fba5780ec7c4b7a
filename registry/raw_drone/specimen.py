"""A synthetic Raw-Drone archive of any size, in the publisher's folders.

Nothing in it is a photograph: boxes on a smooth ground stand for cars, seen through an RGGB mosaic. What is true
to the original is everything a reader meets on the way: folders, file names, frame order, tiles numbered by a
running index, float32 and uint16 tiles, masks of several encodings, values in steps of 16, and a frame whose
sides no tile divides.

Pixels are decided in integer arithmetic alone, from the seed and the frame's number. TIFF and DNG are the same bytes
everywhere; PNG is written by OpenCV and the archive by zlib: its digest is what they make it.

The file is loaded by path.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.images.splitmix import splitmix
from lensbench.images.tiles import tiles
from lensbench.images.write_tiff import dng, tiff

ARCHIVE = "raw_drone_specimen.zip"  # how the publisher names the archives is not known
LAYOUTS = ("1.0.0",)
DEFAULT_SIZE = 156
LARGEST = 100_000  # tiles: one of the twelve frames is held in memory, with all of its layers
FRAMES = 12
SCALES = (1, 5, 10, 25, 50, 75, 100)  # per cent of the full intensity
THRESHOLD = 100  # a tile shows a car if more than one pixel in so many does
SHUFFLE_SEED = 72  # of the publisher's balanced draw
STEP = 16  # 12 bits, left-justified to 16
BLACK, TOP = 256, 4095  # of the 12-bit sensor
MODEL = "L1D-20c specimen"
RESPONSE = (89, 256, 148)  # R, G, B of a grey object in 256ths: the inverse of the published white balance
PAINTS = (  # R, G, B of cars, 12-bit
    *((3400, 3400, 3300), (2300, 2350, 2400), (180, 180, 190)),
    *((2900, 420, 380), (330, 700, 2800), (3100, 2500, 300)),
)
GROUNDS = ((1000, 1000, 1020), (620, 1000, 480), (1350, 1180, 820), (850, 900, 760))
UNMARKED = 4  # per cent of cars without a mask
LOOSE = 25  # per cent of masks that are drawn a little beside their car
FAINT = 4  # per cent of cars that are painted like the ground

Plane = NDArray[np.int32]
Mosaic = NDArray[np.uint16]
Mask = NDArray[np.uint8]
Cell = tuple[int, int]


# -- integer arithmetic --------------------------------------------------------------------------------------


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def _noise(key: int, shape: tuple[int, int]) -> Plane:
    """Sums of two bytes less their mean: -255 … 255."""
    count = shape[0] * shape[1]
    octets = splitmix(key, (count + 3) // 4).astype("<u8").view(np.uint8)[: 2 * count]
    sums: Plane = octets.reshape(-1, 2).sum(axis=1, dtype=np.int32).reshape(shape)
    return sums - 255


class _Dice:
    """Whole numbers from SplitMix64 sequences, in the order in which they are asked for."""

    def __init__(self, key: int) -> None:
        self._values = self._draw(key)

    @staticmethod
    def _draw(key: int) -> Iterator[int]:
        while True:
            yield from splitmix(key, 1024).tolist()
            key = _key("next", key)

    def between(self, low: int, high: int) -> int:
        return low + next(self._values) % (high - low + 1)

    def chance(self, per_cent: int) -> bool:
        return self.between(0, 99) < per_cent

    def shuffled(self, cells: list[Cell]) -> list[Cell]:
        keyed = [(next(self._values), cell) for cell in cells]
        return [cell for _, cell in sorted(keyed)]


# Cosine and sine of sixteen directions in half a turn, in 256ths.
_COS = (256, 251, 237, 213, 181, 142, 98, 50, 0)
_TURNS = [(_COS[k], _COS[8 - k]) for k in range(8)] + [(-_COS[8 - k], _COS[k]) for k in range(8)]


# -- what a frame shows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One frame: ``light`` (12-bit, above black) and ``mask`` (0 or 1), both (height, width)."""

    number: int  # place in the sorted list of file names
    key: int
    light: Plane
    mask: Mask

    @property
    def stem(self) -> str:
        """The file's name without its ending. Sorted as text, ``DJI_10`` comes before ``DJI_5``."""
        return sorted(f"DJI_{5 + k}" for k in range(FRAMES))[self.number]

    def mosaic(self, scale: int) -> Mosaic:
        """What the sensor stores at ``scale`` per cent of the light: (height, width) uint16.

        Noise falls more slowly than light, so no intensity is another one rescaled.
        """
        light = self.light * scale // 100
        value = BLACK + light + (_noise(_key(self.key, scale), light.shape) * (8 + light // 64) >> 12)
        flat = value.reshape(-1)
        flat[:: flat.size // 3 - 7] = 0  # dead pixels
        flat[5 :: flat.size // 2 - 3] = TOP  # and hot ones
        return (np.clip(value, 0, TOP) * STEP).astype(np.uint16)


@dataclass(frozen=True)
class _Canvas:
    """The frame while it is painted; planes are (height, width)."""

    light: Plane  # before the sensor's response
    site: NDArray[np.intp]  # 0 R, 1 G, 2 B
    mask: Mask
    tile: int

    def around(self, centre: Cell) -> tuple[slice, slice]:
        """The part of the frame that a car at ``centre`` can reach."""
        rows, columns = (slice(max(0, at - self.tile), at + self.tile) for at in centre)
        return rows, columns

    def cells(self, where: NDArray[np.bool_], origin: Cell) -> set[Cell]:
        """The tiles that the pixels ``where`` lie in; (-1, -1) stands for the rest that is in none."""
        points = np.argwhere(where) + np.asarray(origin)
        cells = points // self.tile
        beyond = (cells >= np.asarray(self.light.shape) // self.tile).any(axis=1)
        cells[beyond] = -1
        return {(row, column) for row, column in np.unique(cells, axis=0).tolist()}


def _paint(light: Plane, site: NDArray[np.intp], where: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    light[where] = np.asarray(colour, np.int32)[site[where]]


def _ground(key: int, site: NDArray[np.intp], tile: int) -> Plane:
    """A smooth ground of one colour, with a road across it: (height, width)."""
    dice = _Dice(_key(key, "ground"))
    height, width = site.shape
    block = max(2, tile // 2)
    coarse = _noise(_key(key, "relief"), (height // block + 2, width // block + 2)) // 3
    relief = np.repeat(np.repeat(coarse, block, axis=0), block, axis=1)[:height, :width]
    for axis in (0, 1, 0, 1):
        relief = (np.roll(relief, block // 2, axis) + np.roll(relief, -block // 2, axis)) >> 1
    colour = np.asarray(GROUNDS[dice.between(0, len(GROUNDS) - 1)], np.int32)
    light = colour[site] * (256 + relief) >> 8
    cosine, sine = _TURNS[dice.between(0, 15)]
    y, x = np.mgrid[:height, :width].astype(np.int32)
    across = ((x - width // 2) * sine - (y - height // 2) * cosine >> 8) - dice.between(-tile, tile)
    road: Plane = np.where(abs(across) < tile * 2 // 3, light * 5 // 8, light)
    return road


def _car(canvas: _Canvas, dice: _Dice, centre: Cell, allowed: set[Cell]) -> set[Cell]:
    """Paint one car, unless it would leave the tiles ``allowed``; the tiles that its mask touches."""
    unit, turn, paint = canvas.tile, _TURNS[dice.between(0, 15)], PAINTS[dice.between(0, len(PAINTS) - 1)]
    length, breadth = max(2, dice.between(5, 7) * unit // 32), max(1, dice.between(5, 6) * unit // 64)
    window = canvas.around(centre)
    light, site = canvas.light[window], canvas.site[window]
    origin = window[0].start, window[1].start
    y, x = np.mgrid[: light.shape[0], : light.shape[1]].astype(np.int32)
    dy, dx = y + (origin[0] - centre[0]), x + (origin[1] - centre[1])
    along, across = (dx * turn[0] + dy * turn[1]) // length, (dy * turn[0] - dx * turn[1]) // breadth
    body = (abs(along) <= 256) & (abs(across) <= 256)
    drawn = np.roll(body, 1 if dice.chance(50) else -1, dice.between(0, 1)) if dice.chance(LOOSE) else body
    faint, unmarked = dice.chance(FAINT), dice.chance(UNMARKED)
    if not canvas.cells(body | drawn, origin) <= allowed:
        return set()
    shadow = (abs(along) <= 270) & (across > 256) & (across < 480)
    light[shadow] = light[shadow] * 2 // 3
    if not faint:
        _paint(light, site, body, paint)
        _paint(light, site, body & (along > 60) & (along < 150), (160, 170, 190))  # the windscreen
    if unmarked:
        return set()
    canvas.mask[window][drawn] = 1
    return canvas.cells(drawn, origin)


def _specks(canvas: _Canvas, cells: list[Cell]) -> None:
    """Masks at the edge of what counts, one to a tile: one per cent (no car), a pixel more (a car), one pixel."""
    share = canvas.tile**2 // THRESHOLD
    for (row, column), size in zip(cells, (share, share + 1, 1), strict=False):
        window = tuple(slice(at * canvas.tile, (at + 1) * canvas.tile) for at in (row, column))
        speck = np.arange(canvas.tile**2).reshape(canvas.tile, canvas.tile) < size
        canvas.mask[window][speck] = 1
        _paint(canvas.light[window], canvas.site[window], speck, PAINTS[0])


def scene(seed: int, number: int, target: int, grid: Cell, tile: int) -> Frame:
    """Frame ``number`` of ``grid`` tiles and a rest, with exactly ``target`` tiles that have a mask."""
    key = _key("raw_drone", seed, number)
    dice = _Dice(_key(key, "cars"))
    # as in the original's 3648 x 5472: a quarter of a tile too many rows, three eighths too many columns
    height, width = grid[0] * tile + tile // 4, grid[1] * tile + 3 * tile // 8
    site = np.asarray([[0, 1], [1, 2]], np.intp)[np.arange(height)[:, None] % 2, np.arange(width)[None, :] % 2]
    canvas = _Canvas(_ground(key, site, tile), site, np.zeros((height, width), np.uint8), tile)
    cells = dice.shuffled([(row, column) for row in range(grid[0]) for column in range(grid[1])])
    specks = cells[: 1 if number else 3]
    _specks(canvas, specks)
    anywhere, kept = {*cells[len(specks) :], (-1, -1)}, set(specks)
    for cell in itertools.cycle(cells[len(specks) :]):
        if len(kept) == target:
            break
        border = target - len(kept) >= 4 and dice.chance(40)
        low, high = (tile // 4, tile * 5 // 4) if border else (tile // 4, tile * 3 // 4)
        row, column = (at * tile + dice.between(low, high) for at in cell)
        kept |= _car(canvas, dice, (row, column), anywhere if border else {cell}) - {(-1, -1)}
    light = canvas.light * np.asarray(RESPONSE, np.int32)[site] >> 8
    return Frame(number, key, light, canvas.mask)


# -- files ---------------------------------------------------------------------------------------------------


def _png(mask: Mask, bilevel: bool = False) -> bytes:
    """A grey PNG of 8 bits, or of one."""
    done, data = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, int(bilevel)])
    if not done:
        raise ValueError("OpenCV could not encode a mask")
    return bytes(data)


# -- writing -------------------------------------------------------------------------------------------------


def balanced(covered: NDArray[np.int64], tile: int) -> tuple[list[int], list[int]]:
    """The tiles of one frame, raster numbers, that the publisher's car / no car set takes of it.

    ``covered`` counts the pixels of cars in each tile. One per cent or less, but not nothing, is neither. Of the
    larger class, the first few after a shuffle are left out.
    """
    with_car = np.flatnonzero(covered * THRESHOLD > tile**2).tolist()
    without = np.flatnonzero(covered == 0).tolist()
    larger = list(with_car if len(with_car) > len(without) else without)
    random.Random(SHUFFLE_SEED).shuffle(larger)
    dropped = set(larger[: abs(len(with_car) - len(without))])
    return [k for k in with_car if k not in dropped], [k for k in without if k not in dropped]


def _targets(size: int) -> list[int]:
    """How many tiles with a mask each frame has: 11 to 17 parts of ``size``."""
    parts = [11 + 5 * k % 7 for k in range(FRAMES)]
    sums = [sum(parts[:k]) * size // sum(parts) for k in range(FRAMES + 1)]
    return [after - before for before, after in itertools.pairwise(sums)]


def _grid(targets: list[int]) -> Cell:
    """Rows and columns of a frame, so that a fifth of the fullest one stays empty."""
    cells = max(max(targets) * 5 // 4, max(targets) + 2)
    rows = math.isqrt(cells)
    return rows, -(-cells // rows)


@dataclass(frozen=True)
class _Set:
    """Tiles of one frame as the publisher files them: raster numbers, in the order in which they are numbered."""

    images: str  # folder, with a {scale}
    masks: str
    where: list[int]


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"drone/{name}")  # without clock, user or machine
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    archive.writestr(info, data)


def _images(
    archive: zipfile.ZipFile, frame: Frame, scale: int, sets: list[_Set], tile: int, *, floats: bool, full: bool
) -> None:
    """One intensity of a frame: the whole one if ``full``, and the tiles of ``sets``."""
    pixels = frame.mosaic(scale)
    if full:
        folder = f"images_full/raw_scale{scale:03d}"
        if scale == 100:
            _add(
                archive,
                f"{folder}/{frame.stem}.DNG",
                dng(pixels, MODEL, BLACK * STEP, TOP * STEP, preview=frame.number % 2 == 1),
            )
        else:
            _add(archive, f"{folder}/{frame.stem}.tif", tiff(pixels))
    for one in sets:
        for k, cut in enumerate(tiles(pixels, tile)[one.where]):
            data = tiff(cut.astype(np.float32) if floats else np.ascontiguousarray(cut))
            _add(archive, f"{one.images.format(scale=f'{scale:03d}')}/{frame.number:02d}_{k:05d}.tif", data)


def _masks(archive: zipfile.ZipFile, frame: Frame, sets: list[_Set], tile: int, full: bool) -> None:
    """A frame's masks. What is not 0 is a car: 1, 200, 255 or anything else; some are PNGs of one bit."""
    if full:
        grey = (255, 1, np.arange(frame.mask.shape[1]) % 255 + 1)[frame.number % 3]
        _add(archive, f"masks_full/{frame.stem}_mask.png", _png((frame.mask * grey).astype(np.uint8)))
    for one in sets:
        for k, cut in enumerate(tiles(frame.mask, tile)[one.where]):
            data = _png(cut * np.uint8((255, 1, 200)[frame.number % 3]), bilevel=frame.number % 2 == 1)
            _add(archive, f"{one.masks}/{frame.number:02d}_{k:05d}.png", data)


def make(
    folder: Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    layout: str = LAYOUTS[0],
    tile: int = 32,
    grid: Cell | None = None,
    scales: Collection[int] = SCALES,
    full: Collection[int] = SCALES,
    dtype: str = "mixed",
    classification: str | None = None,
) -> list[Path]:
    """Write a specimen into ``folder`` and return the paths written.

    ``size`` counts the tiles of the segmentation set: those with a mask, of twelve frames together. Frames are as
    large as that needs, or ``grid`` (rows, columns) of tiles; the original's are (14, 21) with ``tile`` 256.
    ``scales`` are the intensities and ``full`` those of which whole frames are there, too: none, and no masks of
    them, if it is empty. ``dtype`` is that of the tiles: "float32", "uint16" or "mixed" (by frame).
    ``classification`` adds the publisher's own car / no car set: "0 = car", or "1 = car" as an older table may
    have it.

    One frame is in memory at a time. Raises ``ValueError`` for a size that its frames cannot hold, an unknown
    layout, dtype or classification.
    """
    if layout not in LAYOUTS or dtype not in ("mixed", "float32", "uint16"):
        raise ValueError(f"no layout {layout!r} with tiles of {dtype!r}; layouts are {', '.join(LAYOUTS)}")
    if classification not in (None, "0 = car", "1 = car"):
        raise ValueError(f"no classification {classification!r}: it is '0 = car' or '1 = car'")
    if size > LARGEST:
        raise ValueError(f"a specimen of {size:,} tiles is too large: at most {LARGEST:,}")
    targets = _targets(size)
    grid = grid or _grid(targets)
    if min(targets) < 3 or max(targets) > grid[0] * grid[1] - 2:
        raise ValueError(f"twelve frames of {grid[0]} x {grid[1]} tiles cannot hold {size} tiles with a mask")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".specimen-") as name:
        path = Path(name) / ARCHIVE
        with zipfile.ZipFile(path, "w", compresslevel=9) as archive:
            table = {}
            for number in (*range(7, FRAMES), *range(7)):  # by the number in the name: not the publisher's order
                frame = scene(seed, number, targets[number], grid, tile)
                sets, table[number] = _sets(frame, tile, classification)
                floats = number % 2 == 1 if dtype == "mixed" else dtype == "float32"
                for scale in scales:
                    _images(archive, frame, scale, sets, tile, floats=floats, full=scale in full)
                _masks(archive, frame, sets, tile, bool(full))
            if classification:
                lines = [line for number in sorted(table) for line in table[number]]
                text = "".join(f"{k},{line}\n" for k, line in enumerate(lines))
                listed = f"classification/dataset_tiles_{tile}_{SHUFFLE_SEED}_0.01.csv"
                _add(archive, listed, f",file name,label\n{text}".encode())
            _add(archive, "masks_full/.bzEmpty", b"")  # the publisher's store has such files
            developed = f"images_tiles_{tile}/processed_views/ma_s_ga/00_00000.tif"
            _add(archive, developed, tiff(np.zeros((tile, tile), np.float32)))
        return [path.replace(folder / ARCHIVE)]


def _sets(frame: Frame, tile: int, classification: str | None) -> tuple[list[_Set], list[str]]:
    """The sets of tiles that are taken of a frame, and its lines of the car / no car table."""
    covered = tiles(frame.mask, tile).sum(axis=(1, 2), dtype=np.int64)
    sets = [_Set(f"images_tiles_{tile}/raw_scale{{scale}}", f"masks_tiles_{tile}", np.flatnonzero(covered).tolist())]
    if not classification:
        return sets, []
    with_car, without = balanced(covered, tile)
    images = f"classification/images_tiles_{tile}/raw_scale{{scale}}_thr_0.01"
    sets.append(_Set(images, f"classification/masks_tiles_{tile}_thr_0.01", with_car + without))
    labels = [int(classification == "1 = car")] * len(with_car) + [int(classification == "0 = car")] * len(without)
    return sets, [f"{frame.number:02d}_{k:05d},{label}" for k, label in enumerate(labels)]
