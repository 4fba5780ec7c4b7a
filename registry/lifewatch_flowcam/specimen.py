"""A synthetic LifeWatch FlowCam archive of any size, in the publisher's own layout.

Nothing in it is a photograph and no class resembles its namesake: 12 outlines and 8 textures make 95 classes
that differ in spatial structure more than in brightness or size. What is true to the original is everything
a reader meets on the way: file names, folders, lists, label orders, JPEG modes and the publisher's
irregularities.

Pixels are decided in integer arithmetic alone, from the image's id, its class and nothing else, so they are
equal on every machine. The JPEG encoder and zlib are not ours: an archive's digest is what they make it.

The file is loaded by path (layout 1.0.0 needs py7zr).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import math
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.images.splitmix import splitmix

CLASSES = Path(__file__).with_name("classes.csv")
DEFAULT_SIZE = 3_200
LARGEST = 5_000_000  # files: lensbench reads no archive with more members
JPEG_QUALITY = 60
ARCHIVES = {
    "2.0.0": "Flowcam_images_training_split_metadata.zip",
    "1.0.0": "phytoplankton_images_and_datasplit.7z",
}
MODEL_RECORD = "Phytoplankton_EfficientNetV2B0.tar.gz"
SPLITS = ("train", "validation", "test")
LIST_FILES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}

# Test images per class of the published split decrop2025, in its label order (the publisher's own list).
# A specimen follows their square roots: long-tailed as well, but 9 : 1 where the original is 83 : 1.
_PUBLISHED_TEST_COUNTS = """
    23 36 189 310 393 377 879 37 46 72 879 826 880 34 880 28 536 879 14 25 880 11 199 160
    22 79 13 90 11 42 30 879 120 879 264 58 880 47 879 832 207 81 11 31 242 659 13 708
    754 734 880 879 880 68 106 876 214 36 519 40 16 524 879 20 90 880 10 26 30 28 66 523
    177 11 880 880 880 880 34 192 63 573 108 880 247 47 19 64 341 880 96 693 48 104 873
"""
# The classes without a single validation image in the published split equal400.
NO_VALIDATION = (
    "Bellerochea_horologicalis",
    "Brockmanniella_brockmannii",
    "Ceratium_horridum+C._longipes",
    "Chaetoceros_socialis",
    "Coscinodiscus_concinnus",
    "Pennate_Diatom_colony",
    "Protoperidinium_pentagonum",
)
STATIONS = (
    *("130", "780", "330", "230", "710", "215", "ZG02", "120", "700"),
    *("LW01", "LW02", "435", "W07bis", "W08", "W09", "W10", "421"),
)
METADATA_COLUMNS = (
    "image_path",
    "sample_datetime",
    "flowcam_version",
    "station",
    "accepted_label",
    "accepted_aphia_id",
    "original_reference_id",
)
ABSENT = {"train": 3, "test": 2}  # lines without a file: the publisher's two lists have such lines as well
UNLISTED = 4  # files that stand in no list
LABEL_NOISE = 5  # per cent of images that show another class than their label says
SAMPLES = 60  # water samples per split; none is shared between splits

Grey = NDArray[np.uint8]
Plane = NDArray[np.int32]


# -- what is in a specimen -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Class:
    """One row of ``classes.csv``: the folder's name, the display name, AphiaID, both published indices."""

    name: str
    display: str
    aphia_id: str
    decrop2025: int
    equal400: int

    @property
    def aphia_text(self) -> str:
        """The AphiaID as the publisher writes it: a class without one has its display name in that place."""
        return self.aphia_id or self.display


@dataclass(frozen=True)
class Row:
    """One image: ``split`` is None for a file in no list, ``shipped`` false for a line without a file."""

    id: str
    folder: str
    split: str | None
    shipped: bool = True
    thin: bool = False

    @property
    def file(self) -> str:
        """The publisher's file name."""
        return f"ecotaxa_{self.folder}_{self.id}.jpg"


def classes() -> list[Class]:
    """The 95 classes in the order of ``decrop2025``."""
    with CLASSES.open(newline="", encoding="utf-8") as file:
        rows = [
            Class(row["name"], row["display"], row["aphia_id"], int(row["decrop2025"]), int(row["equal400"]))
            for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.decrop2025)


def uuid(*key: object) -> str:
    """An upper-case version 4 UUID, the SHA-256 of ``key``."""
    digits = hashlib.sha256("/".join(map(str, key)).encode()).hexdigest()[:32]
    text = f"{digits[:12]}4{digits[13:16]}{'89ab'[int(digits[16], 16) % 4]}{digits[17:]}".upper()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _roll(purpose: str, image_id: str) -> int:
    """A 32-bit number that depends on the image and on what it is for."""
    return int(hashlib.sha256(f"{purpose}/{image_id}".encode()).hexdigest()[:8], 16)


def _apportion(total: int, weights: list[int], floor: int) -> list[int]:
    """``total`` seats by largest remainder, ``floor`` at least wherever the weight is positive."""
    floor = min(floor, total // max(1, sum(weight > 0 for weight in weights)))
    counts = [floor if weight else 0 for weight in weights]
    left = total - sum(counts)
    quotas = [divmod(left * weight, sum(weights)) for weight in weights]
    counts = [count + whole for count, (whole, _) in zip(counts, quotas, strict=True)]
    order = sorted(range(len(weights)), key=lambda k: -quotas[k][1])
    for k in order[: total - sum(counts)]:
        counts[k] += 1
    return counts


def plan(
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    *,
    test_size: int | None = None,
    validation_size: int | None = None,
) -> Iterator[Row]:
    """Rows of a specimen with ``size`` image files, class by class in the order of ``equal400``.

    Without ``test_size`` and ``validation_size``, 70 % of the files are test images and 10 % validation: a
    specimen is there to be scored. The rest is train, but for four files in no list; five more lines have no
    file. Two frames, one in train and one in test, are one pixel high.
    """
    test = size * 7 // 10 if test_size is None else test_size
    validation = size // 10 if validation_size is None else validation_size
    train = size - test - validation - UNLISTED
    if min(test, validation, train) < 1:
        raise ValueError(f"a specimen of {size} files cannot hold {test} test and {validation} validation images")
    ordered = sorted(classes(), key=lambda row: row.equal400)
    published = [int(count) for count in _PUBLISHED_TEST_COUNTS.split()]
    roots = [math.isqrt(10_000 * published[row.decrop2025]) for row in ordered]
    listed = [0 if row.name in NO_VALIDATION else root for row, root in zip(ordered, roots, strict=True)]
    counts: dict[str | None, list[int]] = {
        "train": _apportion(train, roots, 1),
        "validation": _apportion(validation, listed, 1),
        "test": _apportion(test, roots, 3),
        None: [int(k < UNLISTED) for k in range(len(ordered))],
    }
    for k, row in enumerate(ordered):
        rows = []
        for split, numbers in counts.items():
            extra = int(k < ABSENT.get(split or "", 0))
            for j in range(numbers[k] + extra):
                shipped, thin = j < numbers[k], k == 0 and j == 0 and split in ("train", "test")
                rows.append(Row(uuid("lifewatch", seed, row.name, split, j), row.name, split, shipped, thin))
        yield from sorted(rows, key=lambda item: item.id)


# -- integer arithmetic --------------------------------------------------------------------------------------


def _isqrt(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """Floor of the square root, by Newton's method from above."""
    root = np.full_like(value, 1 << 20)
    for _ in range(40):
        root = np.minimum(root, (root + value // np.maximum(root, 1)) >> 1)
    return root


def _cosine_table() -> Plane:
    """256 cos(2 pi k / 1024) for k = 0 … 1023, by Bhaskara's rational approximation (error below 0.5)."""
    x = np.arange(512, dtype=np.int64)
    product = 4 * x * (512 - x)
    half = (256 * 4 * product + 1) // (5 * 512 * 512 - product)  # sine over half a turn
    sine = np.concatenate([half, -half])
    return np.roll(sine, -256).astype(np.int32)


def _polar_tables() -> tuple[Plane, Plane]:
    """Radius (in units) and angle (1024 to the turn) of the points (2i - 512, 2j - 512), both (512, 512)."""
    axis = 2 * np.arange(512, dtype=np.int64) - 512
    x, y = np.meshgrid(axis, axis)
    radius = _isqrt(x * x + y * y)
    low, high = np.minimum(abs(x), abs(y)), np.maximum(np.maximum(abs(x), abs(y)), 1)
    z = (low << 10) // high
    angle = (z * (128 * 1024 + 44 * (1024 - z))) >> 20  # z (pi/4 + 0.273 (1 - z)), pi = 512
    angle = np.where(abs(y) > abs(x), 256 - angle, angle)
    angle = np.where(x < 0, 512 - angle, angle)
    angle = np.where(y < 0, -angle, angle) & 1023
    return radius.astype(np.int32), angle.astype(np.int32)


_COS = _cosine_table()
_RADIUS, _ANGLE = _polar_tables()


def _cos(angle: Plane) -> Plane:
    return np.take(_COS, angle & 1023)


def _polar(u: Plane, v: Plane) -> tuple[Plane, Plane]:
    """Radius and angle of points clipped to ±511 units."""
    where = (np.clip(v, -511, 511) + 512) >> 1, (np.clip(u, -511, 511) + 512) >> 1
    return _RADIUS[where], _ANGLE[where]


class _Dice:
    """Whole numbers from one SplitMix64 sequence, in the order in which they are asked for."""

    def __init__(self, key: int) -> None:
        self._values = iter(splitmix(key, 96).tolist())

    def between(self, low: int, high: int) -> int:
        return int(low + next(self._values) % (high - low + 1))

    def chance(self, per_cent: int) -> bool:
        return self.between(0, 99) < per_cent


def _wave(angle: Plane, dice: _Dice) -> Plane:
    return _cos(angle + dice.between(0, 1023))


# -- drawing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Particle:
    """Where every pixel lies, in units of 1/256 of the particle's half-length.

    ``u`` runs along the particle and ``v`` across it; ``width`` is its half-width; ``radius`` and ``angle``
    (1024 to the turn) are polar coordinates after stretching the particle to a circle. Planes are (height,
    width) int32.
    """

    u: Plane
    v: Plane
    radius: Plane
    angle: Plane
    width: int


# An outline is a plane that is positive inside and grows by about one per unit of distance from the edge.
_Outline = Callable[[_Particle, _Dice], Plane]
# A texture is what the inside adds to the particle's darkness, -256 … 256; its second argument is the
# outline.
_Texture = Callable[[_Particle, Plane, _Dice], Plane]


def _blob(p: _Particle, dice: _Dice) -> Plane:
    ripple = (dice.between(4, 14) * _cos(3 * p.angle + dice.between(0, 1023))) >> 8
    return (230 + ripple - p.radius) * p.width >> 8


def _rod(p: _Particle, dice: _Dice) -> Plane:
    return np.minimum(p.width - abs(p.v), 244 - abs(p.u))


def _needle(p: _Particle, dice: _Dice) -> Plane:
    return ((250 - abs(p.u)) * p.width >> 8) - abs(p.v)


def _lobes(count: int, least: int) -> _Outline:
    def outline(p: _Particle, dice: _Dice) -> Plane:
        depth = least + dice.between(-10, 10)
        return (246 - depth + ((depth * _cos(count * p.angle)) >> 8) - p.radius) * p.width >> 8

    return outline


def _cells(p: _Particle, dice: _Dice) -> tuple[Plane, int]:
    """``u`` within each of three to five cells of a chain, and a cell's half-length."""
    half = 246 // dice.between(3, 5)
    return np.where(abs(p.u) > 246, np.int32(512), (p.u + 246) % (2 * half) - half), half


def _chain_of_boxes(p: _Particle, dice: _Dice) -> Plane:
    local, half = _cells(p, dice)
    return np.minimum(p.width - abs(p.v), (half * 13 >> 4) - abs(local))


def _chain_of_discs(p: _Particle, dice: _Dice) -> Plane:
    local, half = _cells(p, dice)
    return (half - _polar(local, p.v * half // p.width)[0]) * p.width // half


def _tadpole(p: _Particle, dice: _Dice) -> Plane:
    head = p.width - _polar(p.u + 256 - p.width, p.v)[0]
    return np.maximum(head, np.where(abs(p.u) < 246, 26 - abs(p.v), -64))


# Outline, least and greatest half-width (units), greatest bending (units).
_OUTLINES: tuple[tuple[_Outline, int, int, int], ...] = (
    (_blob, 205, 256, 0),
    (_blob, 110, 165, 0),
    (_rod, 50, 80, 15),
    (_needle, 70, 110, 15),
    (_rod, 140, 210, 0),
    (_lobes(3, 46), 215, 256, 0),
    (_lobes(5, 56), 215, 256, 0),
    (_chain_of_discs, 66, 96, 30),
    (_chain_of_boxes, 66, 96, 30),
    (_blob, 70, 100, 150),
    (_tadpole, 95, 130, 40),
    (_lobes(4, 40), 215, 256, 0),
)


def _even(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return np.zeros_like(p.u)


def _nested(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return _wave(dice.between(9, 12) * 160 // p.width * inside, dice)


def _spokes(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return _wave(dice.between(5, 7) * p.angle, dice)


def _bands_across(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return _wave(dice.between(9, 12) * p.u, dice)


def _bands_along(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return _wave(dice.between(9, 12) * 128 // p.width * p.v, dice)


def _slanting_bands(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    return _wave(dice.between(9, 12) * (p.u + p.v), dice)


def _pores(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    pitch = dice.between(9, 12)
    return (_wave(pitch * p.u, dice) + _wave(pitch * p.v, dice)) >> 1


def _hollow(p: _Particle, inside: Plane, dice: _Dice) -> Plane:
    du, dv = p.u - dice.between(-110, 110), p.v - dice.between(-p.width, p.width) // 3
    nucleus = du * du + dv * dv < dice.between(15, 30) * p.width * p.width // 100
    return np.where(nucleus, np.int32(256), np.int32(-150))


_TEXTURES: tuple[_Texture, ...] = (
    *(_even, _nested, _spokes, _bands_across),
    *(_pores, _bands_along, _hollow, _slanting_bands),
)


def _pose(dice: _Dice, half: int, width: int, bend: int) -> tuple[Plane, Plane]:
    """(u, v) of every pixel of a frame fit for a particle ``2 * half`` pixels long; some frames cut it."""
    turn = dice.between(0, 1023)
    cosine, sine = int(_COS[turn]), int(_COS[(turn - 256) & 1023])
    thick = half * (width + abs(bend) // 3) // 256
    columns, rows = (
        2 * (abs(c) * half + abs(s) * thick) // 256 + 1 + dice.between(3, 14)
        for c, s in ((cosine, sine), (sine, cosine))
    )
    shift_x, shift_y = (
        dice.between(-size // 4, size // 4) if dice.chance(10) else dice.between(-3, 3) for size in (columns, rows)
    )
    x = 2 * np.arange(columns, dtype=np.int32)[None, :] - columns + 2 * shift_x
    y = 2 * np.arange(rows, dtype=np.int32)[:, None] - rows + 2 * shift_y
    zoom = (256 << 7) // half
    u, v = ((x * cosine + y * sine) * zoom) >> 16, ((y * cosine - x * sine) * zoom) >> 16
    return u, v + ((bend * ((u * u) >> 8)) >> 8) - bend // 3


def _particle(dice: _Dice, half: int, outline: tuple[_Outline, int, int, int]) -> _Particle:
    shape, narrow, broad, bending = outline
    width = dice.between(narrow, broad)
    bend = dice.between(bending * 2 // 3, bending) * (1 if dice.chance(50) else -1)
    u, v = _pose(dice, half, width, bend)
    return _Particle(u, v, *_polar(u, v if shape is _rod else v * 256 // width), width)


def _box_blur(plane: Plane) -> Plane:
    padded = np.pad(plane, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred: Plane = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) // 9
    return blurred


def _noise(key: int, shape: tuple[int, ...]) -> Plane:
    """Sums of four bytes less their mean: nearly Gaussian, standard deviation 148."""
    count = int(np.prod(shape))
    octets = splitmix(key, (count + 1) // 2).astype("<u8").view(np.uint8)[: 4 * count]
    sums: Plane = octets.reshape(-1, 4).sum(axis=1, dtype=np.int32).reshape(shape)
    return sums - 510


def draw(image_id: str, shape: int) -> Grey:
    """Class ``shape`` (its ``decrop2025`` index) as image ``image_id`` shows it: (height, width) uint8."""
    key = int.from_bytes(hashlib.sha256(f"{image_id}/{shape}".encode()).digest()[:8], "big")
    dice = _Dice(key)
    outline, texture = _OUTLINES[shape % len(_OUTLINES)], _TEXTURES[shape // len(_OUTLINES)]
    half = dice.between(18, 40)
    pixel = 256 // half  # units to the pixel
    p = _particle(dice, half, outline)
    inside = outline[0](p, dice)
    if dice.chance(12):  # bristles are a nuisance, the mark of no class
        inside = np.where((p.angle * dice.between(9, 14) & 1023) < 160, inside + 40, inside)
    cover = np.clip(inside * 128 // (pixel * dice.between(1, 3)) + 128, 0, 256)
    rim = np.where(abs(inside) < pixel * 2, dice.between(0, 30), 0)
    depth, contrast = dice.between(50, 105), dice.between(55, 95)
    dark = cover * (depth + ((depth * contrast // 100 * texture(p, inside, dice)) >> 9) + rim) >> 8
    scene = dice.between(150, 215) + ((p.u * dice.between(-24, 24) + p.v * dice.between(-24, 24)) >> 9) - dark
    if dice.chance(50):  # debris
        du, dv = p.u - dice.between(-300, 300), p.v - dice.between(-300, 300)
        scene = np.where(du * du + dv * dv < dice.between(20, 55) ** 2, scene - dice.between(15, 60), scene)
    if dice.chance(40):  # out of focus
        scene = _box_blur(scene)
    scene = scene + (_noise(key ^ 0x5EED, scene.shape) * dice.between(2, 9) >> 8)
    image: Grey = np.clip(scene, 0, 255).astype(np.uint8)
    return image


def picture(row: Row, index: dict[str, int]) -> Grey:
    """What the file of ``row`` shows before encoding; ``index`` maps folders to their ``decrop2025`` index.

    A few images show another class than their folder says, and a few frames are one pixel high.
    """
    roll = _roll("label noise", row.id)
    shape = index[row.folder]
    if roll % 100 < LABEL_NOISE:
        shape = (shape + 1 + roll // 100 % (len(index) - 1)) % len(index)
    image = draw(row.id, shape)
    return image[:1] if row.thin else image


def is_colour(image_id: str) -> bool:
    """Whether the file is an RGB JPEG with three equal channels (80 %) or a greyscale one."""
    return _roll("mode", image_id) % 5 > 0


def encode(row: Row, index: dict[str, int]) -> bytes:
    """The JPEG file of ``row``."""
    grey = picture(row, index)
    pixels = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) if is_colour(row.id) else grey
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"OpenCV could not encode {row.file}")
    return bytes(data)


# -- writing -------------------------------------------------------------------------------------------------


def make(
    folder: Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    layout: str = "2.0.0",
    test_size: int | None = None,
    validation_size: int | None = None,
    rows: Iterable[tuple[str, str, str | None]] | None = None,
    absent: Collection[str] = (),
    inner: str = "deflated",
    model_record: bool = False,
    model_rows: Iterable[tuple[str, str, str]] | None = None,
) -> list[Path]:
    """Write a specimen into ``folder`` and return the paths written.

    ``size`` counts image files; ``test_size`` and ``validation_size`` those of the two splits
    (:func:`plan`). ``layout`` is the dataset version whose archive is imitated: "2.0.0" (a zip in a zip;
    ``inner`` says whether the outer one holds the inner one "stored" or "deflated") or "1.0.0" (a 7z, needs
    py7zr).

    ``rows`` replaces the plan by ids of one's own: (id, folder, split), split one of ``train``,
    ``validation``, ``test`` or None for a file in no list; the ids in ``absent`` are listed, but get no
    file.

    ``model_record`` adds the stand-in of the model record, which carries the lists of ``decrop2025``:
    ``model_rows``, or a partition drawn per class as the publisher's code draws it (80/10/10), which is
    another one than the archive's.

    Memory stays constant, except that a model record keeps one entry per image. Raises ``ValueError`` for a
    size that cannot hold its splits, an unknown layout, folder or split.
    """
    if layout not in ARCHIVES or inner not in ("stored", "deflated"):
        raise ValueError(f"no layout {layout!r} with an inner zip {inner!r}; layouts are {', '.join(ARCHIVES)}")
    if rows is None and size > LARGEST:
        raise ValueError(f"a specimen of {size:,} files is too large: at most {LARGEST:,}")
    if rows is None:
        planned = plan(size, seed, test_size=test_size, validation_size=validation_size)
        chosen: Iterable[Row] = itertools.chain([next(planned)], planned)  # a size that cannot be is said here
    else:
        chosen = (Row(key, name, split, key not in absent) for key, name, split in rows)
    if model_record and model_rows is None:
        chosen = list(chosen)
        model_rows = _partition(chosen)
    write = _write_zip
    if layout != "2.0.0":
        import py7zr  # noqa: F401  (where it is missing, that is said before a folder is made)

        write = _write_7z
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".specimen-") as name:
        scratch = Path(name)
        done = [scratch / ARCHIVES[layout]]
        write(done[0], chosen, scratch, zipfile.ZIP_DEFLATED if inner == "deflated" else zipfile.ZIP_STORED)
        if model_rows is not None:
            done.append(scratch / MODEL_RECORD)
            _write_model_record(done[1], model_rows)
        return [file.replace(folder / file.name) for file in done]


def _partition(rows: Iterable[Row]) -> Iterator[tuple[str, str, str]]:
    """The listed rows dealt anew per class: a tenth test, four fifths train, validation the rest."""
    order = {row.name: row.decrop2025 for row in classes()}
    listed = sorted((order[row.folder], uuid("decrop2025", row.id), row) for row in rows if row.split)
    for label in range(len(order)):
        members = [row for index, _, row in listed if index == label]
        test, train = max(1, len(members) // 10), len(members) * 8 // 10
        for k, row in enumerate(members):
            yield row.id, row.folder, "test" if k < test else "train" if k < test + train else "validation"


def _sample(row: Row) -> tuple[str, str, str]:
    """Time, instrument and station of the sample that ``row`` comes from; empty for three rows in 100."""
    roll = _roll("sample", row.id)
    if roll % 100 < 3:
        return "", "", ""
    month, turn = roll // 100 % SAMPLES, SPLITS.index(row.split) if row.split else len(SPLITS)
    day, station = 1 + 7 * turn + month % 7, STATIONS[(5 * month + turn) % len(STATIONS)]
    time = f"{2018 + month // 12}-{month % 12 + 1:02}-{day:02} {8 + month % 9:02}:{7 * month % 60:02}:00.000"
    return time, "VS-4", station


def _spill(
    rows: Iterable[Row], scratch: Path, ordered: list[Class], table: Path, add: Callable[[Row, bytes], None]
) -> list[Path]:
    """Hand every file to ``add`` and write the lists and the metadata table into ``scratch``, in one pass."""
    index = {row.name: row.decrop2025 for row in ordered}
    label = {row.name: k for k, row in enumerate(ordered)}
    by_name = {row.name: row for row in ordered}
    names = scratch / "classes.txt"
    names.write_text("".join(f"{row.display}\n" for row in ordered), encoding="ascii", newline="\n")
    with ExitStack() as stack:
        lists = {
            split: stack.enter_context((scratch / name).open("w", encoding="ascii", newline="\n"))
            for split, name in LIST_FILES.items()
        }
        records = csv.writer(stack.enter_context(table.open("w", encoding="utf-8", newline="")), lineterminator="\n")
        records.writerow(METADATA_COLUMNS)
        for row in rows:
            if row.folder not in label or row.split not in (*SPLITS, None):
                raise ValueError(f"{row.id}: no class {row.folder!r} or no split {row.split!r}")
            path = f"{row.folder}/{row.file}"
            if row.split is not None:
                lists[row.split].write(f"{path} {label[row.folder]}\n")
            if row.shipped:
                add(row, encode(row, index))
                kind = by_name[row.folder]
                records.writerow([path, *_sample(row), kind.display, kind.aphia_text, row.id])
    return [names, *(scratch / name for name in LIST_FILES.values())]


def _member(name: str, compression: int) -> zipfile.ZipInfo:
    """A zip member's header without clock, user or machine."""
    info = zipfile.ZipInfo(name)
    info.compress_type, info.create_system, info.external_attr = compression, 3, 0o644 << 16
    return info


def _write_zip(path: Path, rows: Iterable[Row], scratch: Path, compression: int) -> None:
    root = Path(path.stem)
    ordered = sorted(classes(), key=lambda row: row.equal400)
    images, table = scratch / "Flowcam_images_training.zip", scratch / "Flowcam_images_training_metadata.csv"
    with zipfile.ZipFile(images, "w") as archive:

        def add(row: Row, data: bytes) -> None:
            archive.writestr(_member(f"{row.folder}/{row.file}", zipfile.ZIP_STORED), data)

        lists = _spill(rows, scratch, ordered, table, add)
    members = [(root / images.name, images, compression), (root / table.name, table, zipfile.ZIP_DEFLATED)]
    members += [(root / "dataset_files_equal" / file.name, file, zipfile.ZIP_DEFLATED) for file in lists]
    with zipfile.ZipFile(path, "w", compresslevel=9) as archive:
        for name, file, kind in members:
            info = _member(name.as_posix(), kind)
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _write_7z(path: Path, rows: Iterable[Row], scratch: Path, compression: int) -> None:
    import py7zr

    ordered = sorted(classes(), key=lambda row: row.equal400)
    file = scratch / "image.jpg"  # 7z keeps file times: a file of our own has the one we give it
    with py7zr.SevenZipFile(path, "w") as archive:

        def add(row: Row, data: bytes) -> None:
            file.write_bytes(data)
            os.utime(file, (0, 0))
            archive.write(file, f"images_DS/{row.folder}/{row.file}")

        lists = _spill(rows, scratch, ordered, scratch / "metadata.csv", add)
        for item in lists:
            os.utime(item, (0, 0))
            archive.write(item, f"dataset_files/{item.name}")


def _write_model_record(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    ordered = classes()
    label = {row.name: row.decrop2025 for row in ordered}
    texts = {
        "classes.txt": "".join(f"{row.name}\n" for row in ordered),
        "aphia_ids.txt": "".join(f"{row.aphia_text}\n" for row in ordered),
        **dict.fromkeys(LIST_FILES.values(), ""),
    }
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for key, name, split in rows:
        lines[split].append(f"{name}/{Row(key, name, split).file} {label[name]}\n")
    texts |= {LIST_FILES[split]: "".join(lines[split]) for split in SPLITS}
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in texts.items():
            info = tarfile.TarInfo(f"dataset_files/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode("ascii")))
