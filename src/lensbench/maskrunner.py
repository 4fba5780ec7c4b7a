"""The inner loop of segmentation: a row range of an image column in, one answer per image out. Knows no ids, no truth.

Threads (one per core) share one model and take one image at a time; each decodes it, runs the model over it, whole or
in tiles, and makes objects or classes of what comes out, while the other ones infer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import DatasetError, ModelError
from lensbench.masks.postprocess import class_map, detections, label_map
from lensbench.masks.tiling import run
from lensbench.masks.values import ClassMap, LabelMap, Value
from lensbench.models.inputs import Entry
from lensbench.models.maskcontract import MaskFeed
from lensbench.models.model import Call
from lensbench.runner import CorruptImageError, Images, decoded
from lensbench.workers import share

DIVISORS = (1, 2, 4, 8, 16, 32, 64, 128)
"""What the sides of an image may have to be multiples of: a network halves them so many times."""
Planes = NDArray[np.float32]
Shape = tuple[int, int]
Raw = tuple[NDArray[Any], ...]
"""What a model gave for one image: planes K×H×W, or a map H×W, or boxes, masks and scores."""
LARGEST = np.iinfo(np.uint32).max


@dataclass(frozen=True, eq=False)
class Network:
    """A model ready to run over images of any size; shared by threads. `where` is what messages call it."""

    feed: MaskFeed
    call: Call
    where: str
    fits: dict[Shape, int] = field(default_factory=dict)
    """Shape of an image → the divisor that was found to do."""
    trying: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, image: Planes, row: int) -> tuple[Value, tuple[str, ...]]:
        """The answer for an image C×H×W, and what was assumed for it; raises ModelError."""
        raw, words = self.raw(image, row)
        shape, where, feed = _shape(image), self._named(row), self.feed
        if len(raw) > 1:
            boxes, pixels, scores = raw
            masks, _, more = detections(boxes, pixels, scores, shape, where, threshold=feed.output.threshold)
            return masks, (*words, *more)
        if raw[0].ndim == 2:
            return _map(raw[0], feed.classes, where), words
        if feed.classes is None:
            made = label_map(raw[0], shape, where, feed.output)
        else:
            made = class_map(raw[0], feed.classes, shape, where, feed.output)
        return made.value, (*words, *made.assumed)

    def raw(self, image: Planes, row: int) -> tuple[Raw, tuple[str, ...]]:
        """What the model gives for an image C×H×W, before anything is made of it, and how the image was fitted in."""
        where, shape = self._named(row), _shape(image)
        if not self.feed.whole:
            planes, words = self._fitted(image, where)
            return (planes,), words
        given = self._once(image, where)
        if len(given) > 1:
            return tuple(_bare(array, wanted) for array, wanted in zip(given, (2, 3, 1), strict=True)), ()
        if given[0].dtype.kind == "f":
            planes = _planes(given[0], shape)
            return (planes[0] if planes.ndim == 4 else planes,), ()
        pixels = given[0] if self.feed.size.batch == 1 else given[0][0]
        if pixels.shape != shape and _sides(pixels.shape) == shape:
            pixels = pixels.reshape(shape)
        if pixels.shape != shape:
            turned = "; it looks transposed" if _sides(pixels.shape) == shape[::-1] else ""
            raise ModelError(f"{where}: gives a map {given[0].shape} for an image of {shape}{turned}")
        return (pixels,), ()

    def _named(self, row: int) -> str:
        return f"{self.where}: image {row + 1}"

    def _once(self, image: Planes, where: str) -> list[NDArray[Any]]:
        """The outputs for one image as it is."""
        size, shape = self.feed.size, _shape(image)
        if size.height not in (None, shape[0]) or size.width not in (None, shape[1]):
            raise ModelError(
                f"{where}: is {shape[0]}×{shape[1]}, and the model takes {size.height or 'H'}×{size.width or 'W'}; it "
                "gives no planes of floats, which alone can be put together from tiles: export it with free sides"
            )
        return self._call(np.repeat(image[None], size.batch, axis=0))

    def _call(self, batch: Planes) -> list[NDArray[Any]]:
        """The outputs for a batch N×C×h×w, in the layout and type that the model takes."""
        entry = self.feed.entry
        fed = batch if entry.layout == "NCHW" else np.ascontiguousarray(np.moveaxis(batch, 1, -1))
        given = self.call((fed[0] if entry.bare else fed).astype(entry.dtype, copy=False))
        return [array[None] for array in given] if entry.bare and len(given) == 1 else given

    def _fitted(self, image: Planes, where: str) -> tuple[Planes, tuple[str, ...]]:
        """Planes K×H×W of an image, in tiles, or whole and padded to the least divisor that the model runs with."""
        shape = _shape(image)
        if shape in self.fits:
            return self._run(image, where, self.fits[shape])
        with self.trying:
            if shape not in self.fits:
                return self._tried(image, where)
        return self._run(image, where, self.fits[shape])

    def _tried(self, image: Planes, where: str) -> tuple[Planes, tuple[str, ...]]:
        refused: ModelError | None = None
        seen: set[Shape] = set()
        for divisor in DIVISORS:
            sides = tuple(-(-side // divisor) * divisor for side in _shape(image))
            if sides in seen:
                continue
            seen.add((sides[0], sides[1]))
            try:
                found = self._run(image, where, divisor)
            except ModelError as error:  # of the image as it is, not of one that was padded further
                refused = refused or error
                continue
            self.fits[_shape(image)] = divisor
            return found
        assert refused is not None
        raise refused

    def _run(self, image: Planes, where: str, divisor: int) -> tuple[Planes, tuple[str, ...]]:
        def infer(batch: Planes) -> NDArray[Any]:
            return _planes(self._call(batch)[0], (batch.shape[2], batch.shape[3]))

        return run(infer, image, where, replace(self.feed.size, divisor=divisor), self.feed.tiling)


def load(view: memoryview, row: int, entry: Entry) -> Planes:
    """An encoded image as the model is given it: float32 C×H×W. Raises DatasetError naming `row`."""
    image = decoded(view, row, entry.channels, entry.mosaic)
    wanted = np.uint16 if entry.mosaic else np.uint8
    if image.dtype != wanted or (entry.mosaic and image.ndim != 2):
        raise DatasetError(
            f"row {row}: a {image.dtype} image of {image.ndim} dimensions, and this benchmark gives "
            f"{'raw frames of 16' if entry.mosaic else 'images of 8'} bits"
        )
    return planes_of(image, entry)


def planes_of(image: NDArray[Any], entry: Entry) -> Planes:
    """A decoded image, H×W or H×W×3 (B, G, R), as the model is given it: float32 C×H×W."""
    planes = [image] if image.ndim == 2 else cv2.split(image if entry.bgr else image[..., ::-1])
    fed = np.empty((len(planes), *image.shape[:2]), np.float32)
    for k, (plane, scale, shift) in enumerate(zip(planes, entry.scale, entry.shift, strict=True)):
        np.multiply(plane, np.float32(scale), out=fed[k])
        if shift:
            fed[k] += np.float32(shift)
    return fed


def answer_rows(
    images: Images, start: int, stop: int, network: Network, threads: int, advance: Callable[[int], object]
) -> tuple[list[Value], list[str]]:
    """The answers for rows start … stop − 1, and what was assumed for any of them.

    `advance(1)` is called from the threads after every image. Raises CorruptImageError or ModelError.
    """
    cv2.setNumThreads(1)
    answers: dict[int, tuple[Value, tuple[str, ...]]] = {}

    def begin(_: threading.Event) -> Callable[[int], None]:
        def do(row: int) -> None:
            image = load(images.slices(row, row + 1)[0], row, network.feed.entry)
            answers[row] = network.answer(image, row)
            advance(1)

        return do

    errors = share(range(start, stop), begin, threads)
    if errors:
        raise min(errors, key=lambda e: e.row if isinstance(e, CorruptImageError) else -1)
    ordered = [answers[row] for row in range(start, stop)]
    return [value for value, _ in ordered], list(dict.fromkeys(word for _, words in ordered for word in words))


def probe(images: Images, network: Network) -> None:
    """Run the first image twice: an answer must not depend on chance. Raises ModelError."""
    check_steady(load(images.slices(0, 1)[0], 0, network.feed.entry), network)


def check_steady(image: Planes, network: Network) -> None:
    """Run an image twice; see `probe`."""
    first, again = network.raw(image, 0)[0], network.raw(image, 0)[0]
    if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, again, strict=True)):
        raise ModelError(f"{network.where}: gives different answers for the same image: it is random or keeps state")
    network.answer(image, 0)


def _shape(image: Planes) -> Shape:
    return image.shape[1], image.shape[2]


def _planes(given: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """What a model gave as N×K×h×w, be its planes first, last, or one only. Another shape stays as it is."""
    if given.ndim == 3 and given.shape[1:] == shape:
        return given[:, None]
    if given.ndim == 4 and given.shape[2:] != shape and given.shape[1:3] == shape:
        return np.moveaxis(given, -1, 1)
    return given


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` without axes of one entry in front or behind, down to two."""
    while len(shape) > 2 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:-1]
    return shape


def _bare(array: NDArray[Any], rank: int) -> NDArray[Any]:
    """`array` without a batch axis of one image in front, if it has more than `rank` axes."""
    return array[0] if array.ndim > rank and len(array) == 1 else array


def _map(pixels: NDArray[Any], classes: int | None, where: str) -> LabelMap | ClassMap:
    if pixels.dtype.kind not in "iu":
        what = "which pixels, not which object" if pixels.dtype.kind == "b" else "no numbers of objects"
        raise ModelError(f"{where}: gives a map of {pixels.dtype}: {what}; give integers, or planes of floats")
    low, high = int(pixels.min()), int(pixels.max())
    most = LARGEST if classes is None else classes - 1
    if low < 0 or high > most:
        raise ModelError(f"{where}: gives a map with {low if low < 0 else high}; it holds 0 to {most:,}")
    return LabelMap(pixels.astype(np.uint32)) if classes is None else ClassMap(pixels.astype(np.uint8))
