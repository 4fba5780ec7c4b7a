"""A synthetic Aitslab-bioimaging1 of any size, in the publisher's own layout: three zips of images and annotations.

Nothing in it was seen through a microscope. What is true to the original is everything a reader meets on the way:
folders, names, wells that are in two splits, annotations as 24-bit colours in the order of CVAT, nuclei that touch
by an edge or by a corner, cut by the border or with a hole, fragments of a few pixels, intensities stretched image
by image. Beyond it: one image with more than 255 objects, one in colours of no palette, one whose palette skips an
entry, frames that are not square, fragments of a single pixel.

Pixels are decided in integer arithmetic alone, from the image's name and its options, so they are equal on every
machine. The PNG encoder and zlib are not ours: an archive's digest is what they make it.

The file is loaded by path and needs numpy and OpenCV only.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

DEFAULT_SIZE = 40
LARGEST = 1_000_000  # images: all names are held in memory
SIDE = 256
LAYOUT = "1.0.0"
FOLDERS = {"train": "training_nuclei", "validation": "development_nuclei", "test": "test_nuclei"}
C01_FOLDER = "original"  # ours: nobody has said where the publisher's originals lie
PLATES = 8
# Fields of one well: in two splits, as the publisher's split has them, and twice in train.
SHARED = {("test", 0): ("train", 0), ("validation", 1): ("train", 1), ("train", 3): ("train", 2)}
QUIRKS = {("test", 0): "crowded", ("test", 1): "shuffled", ("train", 1): "gap"}

Plane = NDArray[np.int64]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


# -- what is in a specimen -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One field of view: its name without extension, its split, and what is odd about it."""

    name: str
    split: str
    quirk: str = ""


def plan(size: int = DEFAULT_SIZE, seed: int = 0, *, test_size: int | None = None) -> Iterator[Row]:
    """Rows of a specimen with `size` images, split by split: about half train, a seventh validation, a third test.

    Every split goes over all plates. Raises ValueError for a size that cannot hold its splits.
    """
    counts = {"test": size * 35 // 100 if test_size is None else test_size, "validation": size * 15 // 100}
    counts["train"] = size - sum(counts.values())
    if min(counts.values()) < 1:
        parts = ", ".join(f"{count} {split}" for split, count in counts.items())
        raise ValueError(f"a specimen of {size} images would have {parts} images, and each split needs one")
    plates = max(PLATES, size // 48)

    def well(split: str, number: int) -> str:
        split, number = SHARED.get((split, number), (split, number))
        plate, place = number % plates, 128 * list(FOLDERS).index(split) + number // plates
        place = (145 * place + 31 * plate) % 384  # a permutation: 145 has no divisor in common with 384
        return f"9{seed % 100_000:05}{plate:04}01_{'ABCDEFGHIJKLMNOP'[place % 16]}{place // 16 + 1:02}"

    for split, start in (("train", 0), ("validation", 5), ("test", 10)):
        for number in range(counts[split]):
            field = (3 * number + start) % 16
            name = f"MFGTMPcx7_{well(split, number)}f{field:02}d0"
            yield Row(name, split, QUIRKS.get((split, number), ""))


# -- integer arithmetic --------------------------------------------------------------------------------------


class _Dice:
    """Whole numbers from PCG64, whose stream NumPy guarantees, in the order in which they are asked for."""

    def __init__(self, *key: object) -> None:
        text = "/".join(map(str, key))
        self._stream = np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))

    def between(self, low: int, high: int) -> int:
        return low + self._stream.random_raw() % (high - low + 1)

    def chance(self, per_cent: int) -> bool:
        return self.between(0, 99) < per_cent

    def noise(self, shape: tuple[int, int]) -> Plane:
        """Sums of four bytes less their mean: nearly Gaussian, standard deviation 148."""
        count = shape[0] * shape[1]
        octets = self._stream.random_raw((count + 1) // 2).astype("<u8").view(np.uint8)[: 4 * count]
        sums: Plane = octets.reshape(-1, 4).sum(axis=1, dtype=np.int64).reshape(shape) - 510
        return sums


def _box_blur(plane: Plane) -> Plane:
    padded = np.pad(plane, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred: Plane = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) // 9
    return blurred


# -- drawing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Blob:
    """A bent ellipse in its window of the frame: `q` is 0 in the middle and 1,024 on the outline."""

    window: Window
    q: Plane


def _blob(dice: _Dice, shape: tuple[int, int], centre: tuple[int, int], axes: tuple[int, int]) -> _Blob | None:
    """Turned and bent by `dice`; None where it lies outside the frame of `shape`. `axes`: half-lengths in pixels."""
    (x, y), (a, b) = centre, (16 * axis for axis in axes)
    reach = max(axes) * 3 // 2 + 2
    window = (slice(max(0, y - reach), max(0, y + reach)), slice(max(0, x - reach), max(0, x + reach)))
    dy = np.arange(window[0].start, min(window[0].stop, shape[0]), dtype=np.int64)[:, None] - y
    dx = np.arange(window[1].start, min(window[1].stop, shape[1]), dtype=np.int64)[None, :] - x
    if not dx.size or not dy.size:
        return None
    t = dice.between(-16, 16)  # a rational point on the unit circle: no sine needed
    cosine, sine, length = 256 - t * t, 32 * t, 256 + t * t
    u, v = 16 * (dx * cosine + dy * sine) // length, 16 * (dy * cosine - dx * sine) // length
    v = v + dice.between(-22, 22) * (u * u // a) // 64
    return _Blob(window, 1024 * u * u // (a * a) + 1024 * v * v // (b * b))


class _Scene:
    """A frame that is being drawn: `light` (12-bit camera counts above background) and `labels`, both (H, W)."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.light: Plane = np.zeros(shape, np.int64)
        self.labels: NDArray[np.int32] = np.zeros(shape, np.int32)
        self.objects = 0

    def is_clear(self, window: Window, cover: Mask) -> bool:
        """Whether `cover` is not empty and keeps a pixel's distance from every object."""
        y, x = (max(0, side.start - 1) for side in window)
        around = (self.labels[y : window[0].stop + 1, x : window[1].stop + 1] > 0).astype(np.uint8)
        taken = cv2.dilate(around, np.ones((3, 3), np.uint8))[window[0].start - y :, window[1].start - x :]
        return bool(cover.any()) and not taken[: cover.shape[0], : cover.shape[1]][cover].any()

    def add(self, window: Window, cover: Mask, light: Plane | int) -> None:
        """A new object of the pixels `cover` of `window`."""
        self.objects += 1
        self.labels[window][cover] = self.objects
        self.light[window] = np.where(cover, light, self.light[window])


def _nucleus(dice: _Dice, scene: _Scene, centre: tuple[int, int], axes: tuple[int, int], *, sister: bool) -> bool:
    """Draw a nucleus if there is room. A `sister` may overlap others: it gets the pixels that are left."""
    blob, amplitude = _blob(dice, scene.shape, centre, axes), dice.between(500, 2300)
    hole, grain = dice.chance(6), dice.noise((12, 12))
    if blob is None:
        return False
    cover = (blob.q <= 1024) & ((blob.q > 90) | (not hole))
    if sister:
        cover &= scene.labels[blob.window] == 0
        parts, _ = cv2.connectedComponents(cover.astype(np.uint8), connectivity=4)
        if parts != 2 or 2 * cover.sum() < axes[0] * axes[1]:
            return False
    elif not scene.is_clear(blob.window, cover):
        return False
    texture = np.kron(grain, np.ones((4, 4), np.int64))[: cover.shape[0], : cover.shape[1]]
    scene.add(blob.window, cover, amplitude * (1700 - blob.q // 2 + texture) // 1700)
    return True


# Outlines of fragments, 1 to 6 pixels each, and of two micronuclei that share a corner.
_FRAGMENTS = ("#", "##", "##\n#.", "##\n##", ".#.\n###\n.#.", "###\n###")
_CORNER = (".##...\n###...\n###...\n......\n......\n......", "......\n......\n......\n...###\n...###\n...##.")


def _stencil(text: str) -> Mask:
    return np.array([[cell == "#" for cell in line] for line in text.split("\n")])


def _fragments(dice: _Dice, scene: _Scene, outlines: tuple[str, ...]) -> bool:
    """Lay these outlines over one free place, each an object of its own; whether one was found."""
    covers = [_stencil(text) for text in outlines]
    height, width = covers[0].shape
    for _ in range(20):
        y, x = (dice.between(0, side - extent) for side, extent in zip(scene.shape, (height, width), strict=True))
        window = slice(y, y + height), slice(x, x + width)
        if scene.is_clear(window, np.logical_or.reduce(covers)):
            for cover in covers:
                scene.add(window, cover, dice.between(1100, 2400))
            return True
    return False


def _populate(dice: _Dice, scene: _Scene) -> None:
    height, width = scene.shape
    for _ in range(dice.between(15, 25) * height * width >> 16):
        for _ in range(12):
            centre, axes = (dice.between(-3, width + 2), dice.between(-3, height + 2)), _axes(dice)
            if _nucleus(dice, scene, centre, axes, sister=False):
                if dice.chance(30):
                    step = max(axes) * 3 // 2
                    beside = centre[0] + dice.between(-step, step), centre[1] + (step if dice.chance(50) else -step)
                    _nucleus(dice, scene, beside, _axes(dice), sister=True)
                break
    for _ in range(dice.between(0, 3)):
        _fragments(dice, scene, (_FRAGMENTS[dice.between(0, len(_FRAGMENTS) - 1)],))
    if dice.chance(40):
        _fragments(dice, scene, _CORNER)


def _axes(dice: _Dice) -> tuple[int, int]:
    a = dice.between(7, 12)
    return a, a * dice.between(60, 95) // 100


def _crowd(dice: _Dice, scene: _Scene) -> None:
    """One small nucleus per 15 × 15 pixels: 289 in a frame of the default side."""
    for y in range(8, scene.shape[0], 15):
        for x in range(8, scene.shape[1], 15):
            axes = dice.between(3, 5), dice.between(2, 4)
            _nucleus(dice, scene, (x + dice.between(-1, 1), y + dice.between(-1, 1)), axes, sister=False)


def draw(row: Row, side: int = SIDE) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """What the camera saw of `row` (12 bits in uint16) and its label map, numbered as drawn; both (H, W)."""
    dice = _Dice("aitslab", row.name, row.quirk, side)
    height, width = side, side * 5 // 4 if dice.chance(15) and not row.quirk else side
    scene = _Scene((height, width))
    (_crowd if row.quirk == "crowded" else _populate)(dice, scene)
    haze: Plane = np.zeros(scene.shape, np.int64)  # what is out of focus, and no one annotates
    for _ in range(dice.between(1, 4) * height * width >> 16):
        centre = dice.between(0, width - 1), dice.between(0, height - 1)
        blob = _blob(dice, scene.shape, centre, (dice.between(14, 26), dice.between(10, 22)))
        if blob is not None:
            haze[blob.window] += dice.between(60, 260) * np.maximum(0, 1024 - blob.q) // 1024
    x, y = np.arange(width, dtype=np.int64)[None, :], np.arange(height, dtype=np.int64)[:, None]
    shading = dice.between(-80, 80) * x // width + dice.between(-80, 80) * y // height
    plane = 300 + shading + haze + _box_blur(_box_blur(scene.light))
    plane = plane + dice.noise(scene.shape) * dice.between(12, 30) // 256
    return np.clip(plane, 0, 4095).astype(np.uint16), scene.labels


def stretched(raw: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The 8-bit image, (H, W): from the 0.1st to the 99.9th percentile of its own pixels, as the publisher does it."""
    ordered, rest = np.sort(raw, axis=None).astype(np.int64), raw.size // 1000
    low, high = ordered[rest], ordered[-1 - rest]
    image: NDArray[np.uint8] = np.clip((raw.astype(np.int64) - low) * 255 // max(1, high - low), 0, 255).astype(
        np.uint8
    )
    return image


# -- annotations ---------------------------------------------------------------------------------------------


def voc_colour(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Packed 0xRRGGBB of entries of the Pascal VOC palette: its bits dealt to red, green and blue, highest first."""
    packed = np.zeros_like(number)
    for bit in range(24):
        channel, rank = bit % 3, bit // 3
        packed |= (number >> bit & 1) << (16 - 8 * channel + 7 - rank)
    return packed


def coloured(labels: NDArray[np.int32], quirk: str = "") -> NDArray[np.uint8]:
    """The annotation, (H, W, 3) RGB, background black: palette entries in the order in which objects were drawn."""
    number = np.arange(int(labels.max()) + 1, dtype=np.int64)
    if quirk == "shuffled":
        packed = number * 0x9E37_79B1 & 0xFF_FFFF  # odd, so no two are alike
    else:
        packed = voc_colour(number + (number > 4) if quirk == "gap" else number)
    palette = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
    rgb: NDArray[np.uint8] = palette[labels]
    return rgb


# -- writing -------------------------------------------------------------------------------------------------


def c01(raw: NDArray[np.uint16]) -> bytes:
    """A `.C01` file of one plane, (H, W): big-endian 16, then deflated: a 52-byte header and little-endian pixels."""
    head = struct.pack("<iiihh", 40, raw.shape[1], raw.shape[0], 1, 16).ljust(52, b"\0")
    return struct.pack(">i", 16) + zlib.compress(head + raw.astype("<u2").tobytes(), 9)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(
        ".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    if not done:
        raise ValueError("OpenCV could not encode a PNG")
    return bytes(data)


def files(row: Row, side: int = SIDE, *, originals: bool = False) -> Iterator[tuple[str, bytes]]:
    """(name in its archive, bytes) of the image, the annotation and, on request, the `.C01` file of `row`."""
    folder, (raw, labels) = FOLDERS[row.split], draw(row, side)
    yield f"{folder}/images/{row.name}.png", _png(stretched(raw))
    yield f"{folder}/annotations/{row.name}_objects.png", _png(coloured(labels, row.quirk))
    if originals:
        yield f"{folder}/{C01_FOLDER}/{row.name}.C01", c01(raw)


def make(
    folder: Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
    layout: str = LAYOUT,
    test_size: int | None = None,
    side: int = SIDE,
    originals: bool = False,
    names: Iterable[tuple[str, str]] | None = None,
) -> list[Path]:
    """Write a specimen into `folder`, one zip per split, and return the paths written.

    `size` counts images, `test_size` those of test (:func:`plan`); they are `side` pixels high and as wide, some a
    quarter wider. `originals` adds the 16-bit `.C01` files. `names` replaces the plan by names of one's own: (name
    without extension, split); a split without one gets no archive. Memory does not grow with `size`.

    Raises ValueError for a size that cannot hold its splits, frames under 32 pixels, an unknown layout or split.
    """
    if layout != LAYOUT or side < 32:
        raise ValueError(f"no layout {layout!r} with frames of {side} pixels; the layout is {LAYOUT!r}, from 32 pixels")
    if names is None and size > LARGEST:
        raise ValueError(f"a specimen of {size:,} images is too large: at most {LARGEST:,}")
    rows = list(plan(size, seed, test_size=test_size) if names is None else (Row(*pair) for pair in names))
    if unknown := {row.split for row in rows} - FOLDERS.keys():
        raise ValueError(f"no split {min(unknown)!r}; there are {', '.join(FOLDERS)}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".specimen-") as scratch:
        done = []
        for split, name in FOLDERS.items():
            mine = [row for row in rows if row.split == split]
            if mine:
                done.append(Path(scratch, f"{name}.zip"))
                _write(done[-1], mine, side, originals)
        return [file.replace(folder / file.name) for file in done]


def _write(path: Path, rows: list[Row], side: int, originals: bool) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for row in rows:
            for name, data in files(row, side, originals=originals):
                info = zipfile.ZipInfo(name)  # without clock, user or machine
                info.create_system, info.external_attr = 3, 0o644 << 16
                archive.writestr(info, data)
