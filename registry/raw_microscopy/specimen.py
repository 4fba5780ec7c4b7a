"""A synthetic Raw-Microscopy archive of any size, in the publisher's own layout.

Nothing in it is a micrograph: nine simple drawings of a stained cell, seen through a Bayer mosaic at seven
intensities with shot noise. Frames are small (36 × 36 where the original has 256 × 256), because noise does not
compress and a specimen must. What is true to the original is everything a reader meets on the way: folders, file
names, the label file and its order, classes and a file that the publisher's rule drops, uint16 TIFF.

Pixels are decided in integer arithmetic alone, from the crop's name, its class, the seed and nothing else, so they
are equal on every machine. TIFF headers and zlib are not ours: an archive's digest is what they make it.

The file is loaded by path.
"""

from __future__ import annotations

import csv
import hashlib
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.images.splitmix import splitmix

CLASSES = Path(__file__).with_name("classes.csv")
ARCHIVES = {"1.0.0": "microscopy.zip"}  # the publisher's name for it could not be read offline
DEFAULT_SIZE = 112
LARGEST = 100_000  # frames: the plan of all is held in memory
FRAME = 36  # pixels a side
SCALES = (1, 5, 10, 25, 50, 75, 100)  # per cent of the full intensity
SLIDES = 4
LABEL_NOISE = 4  # per cent of frames that show another class than their label says
RARE = {"EBO": 1, "MYB": 2, "PMO": 4}  # classes with at most four lines, which the publisher's rule drops
DROPPED = (3, 13, 2)  # slide, zone and crop of the one file that it drops by name
LAMP = (37_100, 9_200, 4_780)  # the empty field in R, G and B; means of the original are .566, .140, .073 of 65535
GAIN = 4  # DN per electron of the specimen's camera; the original's is not published

Raw = NDArray[np.uint16]
Plane = NDArray[np.int64]
Mask = NDArray[np.bool_]


# -- what is in a specimen -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """One line of the label file, or (`label` None) a frame that has none."""

    slide: int
    zone: int
    crop: int
    label: str | None

    @property
    def name(self) -> str:
        """The publisher's file name without its suffix: ``lame`` is French for slide."""
        return f"Ma190c_lame{self.slide}_zone{self.zone}_composite_Mcropped_{self.crop}"


def published_counts() -> dict[str, int]:
    """Frames per class in the original, in its label order."""
    with CLASSES.open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["published"]))
    return {row["name"]: int(row["images"]) for row in rows}


def counts_of(size: int) -> dict[str, int]:
    """`size` frames shared out by the square roots of the published counts, six at least to a class."""
    roots = {name: math.isqrt(10_000 * count) for name, count in published_counts().items()}
    if size < 6 * len(roots):
        raise ValueError(f"a specimen of {size} frames has fewer than 6 of each of {len(roots)} classes")
    left, total = size - 6 * len(roots), sum(roots.values())
    counts = {name: 6 + left * root // total for name, root in roots.items()}
    counts[max(roots, key=roots.__getitem__)] += size - sum(counts.values())
    return counts


def plan(counts: Mapping[str, int], seed: int = 0) -> list[Crop]:
    """Lines of the label file, in its order: `counts` frames of each class, and those that the rule drops.

    Frames are dealt at random into zones of one to four crops and zones to slides in turn. The file goes slide by
    slide, zones in no order.
    """
    labels = [label for label, count in {**counts, **RARE}.items() for _ in range(count)]
    deck = sorted(range(len(labels)), key=lambda k: _roll("deal", seed, k))
    zones: dict[tuple[int, int], list[Crop]] = {DROPPED[:2]: [Crop(*DROPPED, "LYT")]}
    turn = 0
    while deck:
        slide, zone = turn % SLIDES + 1, turn // SLIDES + 4
        free = [crop for crop in range(1, 6) if (slide, zone, crop) != DROPPED]
        taken = [deck.pop() for _ in range(min(len(deck), 1 + _roll("zone", seed, turn) % 4))]
        crops = [Crop(slide, zone, crop, labels[card]) for crop, card in zip(free, taken, strict=False)]
        zones[slide, zone] = sorted([*zones.get((slide, zone), []), *crops], key=lambda crop: crop.crop)
        turn += 1
    order = sorted(zones, key=lambda key: (key[0], _roll("order", seed, *key)))
    return [crop for key in order for crop in zones[key]]


def _roll(*key: object) -> int:
    """A 32-bit number that depends on `key`."""
    return int(hashlib.sha256("/".join(map(str, key)).encode()).hexdigest()[:8], 16)


# -- integer arithmetic --------------------------------------------------------------------------------------


def _noise(key: int, shape: tuple[int, ...]) -> Plane:
    """Sums of four bytes less their mean: nearly Gaussian, standard deviation 148."""
    count = math.prod(shape)
    octets = splitmix(key, (count + 1) // 2).astype("<u8").view(np.uint8)[: 4 * count]
    sums: Plane = octets.reshape(-1, 4).sum(axis=1, dtype=np.int64).reshape(shape)
    return sums - 510


def _isqrt(value: Plane) -> Plane:
    """Floor of the square root of numbers below 2**32, by Newton's method from above."""
    root = np.full_like(value, 1 << 16)
    for _ in range(24):
        root = np.minimum(root, (root + value // np.maximum(root, 1)) >> 1)
    return root


class _Dice:
    """Whole numbers from one SplitMix64 sequence, in the order in which they are asked for."""

    def __init__(self, key: int) -> None:
        self._values = iter(splitmix(key, 64).tolist())

    def between(self, low: int, high: int) -> int:
        return int(low + next(self._values) % (high - low + 1))


# -- drawing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scene:
    """Coordinates of every pixel, 512 units to the frame's side, turned with the cell; and light let through.

    ``u`` and ``v`` are (height, width) int64; ``light`` is (3, height, width), 256 where nothing absorbs.
    """

    u: Plane
    v: Plane
    light: Plane
    radius: int

    def disc(self, u: int, v: int, radius: int) -> Mask:
        """A disc; all three in hundredths of the cell's radius."""
        du, dv, reach = (self.u - u * self.radius // 100, self.v - v * self.radius // 100, radius * self.radius // 100)
        inside: Mask = du * du + dv * dv < reach * reach
        return inside

    def checks(self, pitch: int) -> Mask:
        """Granules: every other field of a board whose fields are `pitch` units wide."""
        board: Mask = ((self.u + 1024) // pitch + (self.v + 1024) // pitch) % 2 == 0
        return board

    def stain(self, where: Mask, tint: tuple[int, int, int]) -> None:
        """Let only `tint` (of 256, in R, G and B) through in `where`."""
        for plane, share in zip(self.light, tint, strict=True):
            plane[where] = plane[where] * share // 256


RED_CELL, CYTOPLASM, NUCLEUS = (250, 165, 105), (215, 222, 240), (115, 62, 140)
EOSIN, DARK = (235, 105, 70), (60, 40, 90)


def _basophil(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 100), CYTOPLASM)
    s.stain(s.disc(0, 0, 95) & s.checks(s.radius // 3), DARK)


def _eosinophil(s: _Scene, dice: _Dice) -> None:
    nucleus = s.disc(-38, 0, 36) | s.disc(38, 0, 36)
    s.stain(s.disc(0, 0, 100) & ~nucleus, EOSIN)
    s.stain(nucleus, NUCLEUS)


def _smudge(s: _Scene, dice: _Dice) -> None:
    streak = abs(s.v + s.u * dice.between(-60, 60) // 256) < s.radius * 2 // 5
    s.stain(streak & (abs(s.u) < 2 * s.radius), (170, 130, 190))


def _atypical_lymphocyte(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 90) | s.disc(90, 50, 45) | s.disc(-90, 50, 45) | s.disc(0, -100, 45), (165, 190, 235))
    s.stain(s.disc(-15, 10, 50), NUCLEUS)


def _lymphocyte(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 70), CYTOPLASM)
    s.stain(s.disc(0, 0, 60), NUCLEUS)


def _monocyte(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 120), (190, 200, 225))
    s.stain(s.disc(0, 0, 85) & ~s.disc(60, 0, 60), (140, 90, 165))


def _band(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 100), CYTOPLASM)
    s.stain(s.disc(0, 0, 78) & ~s.disc(0, 0, 42) & (s.u < s.radius // 3), NUCLEUS)


def _segmented(s: _Scene, dice: _Dice) -> None:
    s.stain(s.disc(0, 0, 100), CYTOPLASM)
    s.stain(s.disc(-55, -30, 26) | s.disc(-15, 48, 26) | s.disc(45, 35, 26) | s.disc(35, -40, 26), NUCLEUS)


def _debris(s: _Scene, dice: _Dice) -> None:
    for _ in range(3):
        s.stain(s.disc(dice.between(-110, 110), dice.between(-110, 110), dice.between(14, 24)), (150, 110, 180))


# In the published label order.
_CELLS: tuple[Callable[[_Scene, _Dice], None], ...] = (
    *(_basophil, _eosinophil, _smudge, _atypical_lymphocyte, _lymphocyte),
    *(_monocyte, _band, _segmented, _debris),
)
# Turns that need no sine: Pythagorean triples (a, b, c) with a**2 + b**2 = c**2.
_TURNS = ((1, 0, 1), (4, 3, 5), (12, 5, 13), (15, 8, 17), (24, 7, 25), (21, 20, 29), (3, 4, 5), (5, 12, 13))


def light(key: int, shape: int, frame: int) -> Plane:
    """Light that reaches the sensor's pixels behind each filter: (3, frame, frame) DN at full intensity, no noise."""
    dice = _Dice(key)
    axis = (2 * np.arange(frame, dtype=np.int64) + 1 - frame) * 256 // frame
    x, y = np.meshgrid(axis - dice.between(-30, 30), axis - dice.between(-30, 30))
    a, b, c = _TURNS[dice.between(0, len(_TURNS) - 1)]
    a, b = a * (1 - 2 * dice.between(0, 1)), b * (1 - 2 * dice.between(0, 1))
    bright = 256 + (x * dice.between(-12, 12) + y * dice.between(-12, 12)) // 256  # the lamp is a little uneven
    scene = _Scene((x * a + y * b) // c, (y * a - x * b) // c, np.stack([bright] * 3), dice.between(120, 150))
    scene.stain(scene.disc(dice.between(170, 240), dice.between(-240, 240), 75), RED_CELL)
    scene.stain(scene.disc(dice.between(-240, -170), dice.between(-240, 240), 75), RED_CELL)
    _CELLS[shape](scene, dice)
    strength = dice.between(230, 272)
    lamp = np.array(LAMP, dtype=np.int64)[:, None, None]
    planes: Plane = lamp * strength // 256 * scene.light // 256
    return planes


def bayer(planes: Plane) -> Plane:
    """The RGGB mosaic of (3, height, width) planes: red at even rows and columns, blue at odd ones."""
    mosaic: Plane = planes[1].copy()
    mosaic[0::2, 0::2] = planes[0, 0::2, 0::2]
    mosaic[1::2, 1::2] = planes[2, 1::2, 1::2]
    return mosaic


def mosaics(crop: Crop, seed: int = 0, frame: int = FRAME) -> dict[int, Raw]:
    """The crop at each of `SCALES`: (frame, frame) uint16, shot noise of its own in each.

    In one crop of five the first pixel is dead (0) and the last one hot (65535), at every scale.
    """
    names = list(published_counts())
    shape = names.index(crop.label) if crop.label in names else _roll("rare", crop.name) % len(names)
    roll = _roll("label noise", seed, crop.name)
    if roll % 100 < LABEL_NOISE:
        shape = (shape + 1 + roll // 100 % (len(names) - 1)) % len(names)
    key = int.from_bytes(hashlib.sha256(f"{seed}/{crop.name}/{shape}".encode()).digest()[:8], "big")
    electrons = bayer(light(key, shape, frame)) // GAIN
    edges = _roll("edges", seed, crop.name) % 5 == 0
    return {scale: _expose(electrons * scale // 100, key + scale, edges) for scale in SCALES}


def _expose(electrons: Plane, key: int, edges: bool) -> Raw:
    """Electrons counted with Gaussian shot noise (their square root, floor), times the gain."""
    counted = electrons + _isqrt(electrons << 16) * _noise(key, electrons.shape) // (148 * 256)
    raw: Raw = np.clip(counted * GAIN, 0, 65535).astype(np.uint16)
    if edges:
        raw[0, 0], raw[-1, -1] = 0, 65535
    return raw


# -- writing -------------------------------------------------------------------------------------------------


def make(
    folder: Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    layout: str = "1.0.0",
    counts: Mapping[str, int] | None = None,
    frame: int = FRAME,
) -> list[Path]:
    """Write a specimen of `size` frames into `folder` and return the path of its archive.

    `counts` (frames per class) replaces `size`; `frame` is the side in pixels, even. `layout` is the dataset version
    whose archive is imitated. Raises ``ValueError`` for a size, side, class or layout that cannot be.
    """
    if layout not in ARCHIVES:
        raise ValueError(f"no layout {layout!r}; layouts are {', '.join(ARCHIVES)}")
    if frame < 2 or frame % 2:
        raise ValueError(f"a frame of {frame} pixels a side holds no whole number of RGGB cells")
    if counts is None and size > LARGEST:
        raise ValueError(f"a specimen of {size:,} frames is too large: at most {LARGEST:,}")
    chosen = counts_of(size) if counts is None else dict(counts)
    if unknown := chosen.keys() - published_counts().keys():
        raise ValueError(f"no class {min(unknown)!r}")
    crops = plan(chosen, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".specimen-") as name:
        path = Path(name) / ARCHIVES[layout]
        with zipfile.ZipFile(path, "w", compresslevel=9) as archive:
            for member, data in _members(crops, seed, frame):
                info = zipfile.ZipInfo(member)  # no clock, user or machine
                info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                archive.writestr(info, data)
        return [path.replace(folder / path.name)]


def _members(crops: list[Crop], seed: int, frame: int) -> Iterator[tuple[str, bytes]]:
    """Label file, frames, and the folders that a reader of raw frames passes over."""
    lines = "".join(f"{crop.name} {crop.label}\n" for crop in crops)
    yield "microscopy/labels/Ma190c_annotations.dat", lines.encode("ascii")
    unlabelled = Crop(SLIDES, 3, 1, None)
    for crop in sorted([*crops, unlabelled], key=lambda crop: crop.name):
        for scale, raw in mosaics(crop, seed, frame).items():
            yield f"microscopy/images/raw_scale{scale:03d}/{crop.name}.tiff", _tiff(raw)
    first = crops[0].name
    grey = np.full((frame, frame, 3), 30_000, dtype=np.uint16)
    yield f"microscopy/images/rgb_scale100/{first}.tiff", _tiff(grey)
    yield f"microscopy/images/processed_views/bi_s_me/{first}.tiff", _tiff(grey)


def _tiff(pixels: Raw) -> bytes:
    """An uncompressed TIFF."""
    done, data = cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    if not done:
        raise ValueError("OpenCV could not encode a TIFF")
    return bytes(data)
