"""The inner loop: a row range of an image column in, one row of outputs per image out. Knows no ids, no labels.

Threads (one per core) share one inference function and take chunks of 128 rows under a lock; each decodes and
resizes a block, then normalises and infers it batch by batch. Where a batch begins and ends depends on the row
range alone, so a resumed or sharded run computes the same numbers. Imports numpy, OpenCV and pyarrow, nothing
of `datasets`: the whole loop can move into a child process.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, takewhile
from pathlib import Path
from typing import Any

from lensbench.images.inflate import MAX_PIXELS

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # read when OpenCV is imported

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.errors import DatasetError, ModelError
from lensbench.models.contract import Feed, batch_size
from lensbench.models.model import Infer
from lensbench.workers import share

CHUNK = 128
"""Rows handed to a thread at a time."""
BLOCK_BYTES = 4 << 20
"""Decoded bytes a thread holds before it infers them."""


class CorruptImageError(DatasetError):
    """Row `row` of the image column does not decode. The caller knows the image's name; the loop does not."""

    def __init__(self, row: int) -> None:
        super().__init__(f"image in row {row} does not decode")
        self.row = row


@dataclass(frozen=True)
class Images:
    """The `bytes` child of an Arrow image column, memory-mapped: nothing is copied until it is decoded."""

    columns: tuple[pa.BinaryArray, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def slices(self, start: int, stop: int) -> list[memoryview]:
        """Encoded bytes of rows start…stop−1 as views into the mapped file."""
        views: list[memoryview] = []
        part = bisect_right(self.ends, start)
        while start < stop:
            column = self.columns[part]
            first = self.ends[part] - len(column)
            upto = min(stop, self.ends[part])
            _, offsets, data = column.buffers()
            dtype = np.int64 if pa.types.is_large_binary(column.type) else np.int32
            a, b = column.offset + start - first, column.offset + upto - first
            at = np.frombuffer(offsets, dtype)[a : b + 1].tolist()
            whole = memoryview(data)
            views += [whole[i:j] for i, j in pairwise(at)]
            start, part = upto, part + 1
        return views


def open_images(files: Sequence[Path], column: str = "image") -> Images:
    """Map the image column of Arrow stream files as `datasets` writes them; raises DatasetError for null bytes."""
    arrays: list[pa.BinaryArray] = []
    for path in files:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        for batch in reader:
            array = batch.column(column).field("bytes")
            if array.null_count:
                raise DatasetError(f"{path.name}: rows without embedded image bytes")
            if len(array):
                arrays.append(array)
    return Images(tuple(arrays), tuple(accumulate(len(a) for a in arrays)))


def infer_rows(
    images: Images,
    start: int,
    stop: int,
    feed: Feed,
    infer: Infer,
    out: NDArray[np.float32],
    threads: int,
    advance: Callable[[int], object],
) -> None:
    """Fill ``out[: stop - start]`` (float32, n × classes) with the model's outputs for rows start…stop−1.

    `advance(n)` is called from the threads after every chunk. Raises CorruptImageError or ModelError; then `out`
    is not to be used.
    """
    cv2.setNumThreads(1)
    chunk = CHUNK if not feed.fixed else -(-CHUNK // feed.batch) * feed.batch

    def begin(stopped: threading.Event) -> Callable[[int], None]:
        buffers = Buffers(feed)

        def do(first: int) -> None:
            last = min(first + chunk, stop)
            views, into = images.slices(first, last), out[first - start : last - start]
            (_own_sizes if feed.own else _chunk)(views, first, feed, infer, buffers, into, stopped)
            advance(last - first)

        return do

    errors = share(range(start, stop, chunk), begin, threads)
    if errors:
        raise min(errors, key=lambda e: e.row if isinstance(e, CorruptImageError) else -1)


class Buffers:
    """One thread's memory: a block of decoded images, and one batch as the model is fed.

    A block is decoded before any of it is inferred: decoder and kernels evict each other from the caches and the
    branch predictor, and taking turns per batch cost a small network 10 % of its speed.
    """

    def __init__(self, feed: Feed) -> None:
        n, h, w, c = feed.batch, feed.height, feed.width, feed.channels
        self.feed = feed
        kind = np.dtype(np.uint16 if feed.mosaic else np.uint8)
        self.block = n * max(1, min(CHUNK, BLOCK_BYTES // (h * w * c * kind.itemsize)) // n)
        self.decoded: NDArray[Any] = np.zeros((self.block, h, w, c), kind)
        self.turned: list[NDArray[Any]] = [np.zeros((n * h, w), kind) for _ in range(c)]
        if feed.layout == "NHWC":
            self.turned = [np.zeros((n * h, w, c), kind)]
        shape = (n, c, h, w) if feed.layout == "NCHW" else (n, h, w, c)
        self.fed: NDArray[Any] = np.zeros(shape, feed.dtype)
        sides = (c, 1, 1) if feed.layout == "NCHW" else (c,)
        self.shift = np.array(feed.shift, np.float32).reshape(sides)
        uniform = len(set(feed.scale)) == 1  # a scalar is twice as fast as a broadcast
        self.scale = np.array(feed.scale[:1] if uniform else feed.scale, np.float32).reshape(() if uniform else sides)

    def load(self, i: int, view: memoryview, row: int) -> None:
        """Decode one image as `cv2.imread` would into place `i` of the block; raises CorruptImageError naming `row`."""
        self.place(i, decoded(view, row, self.feed.channels, self.feed.mosaic), row)

    def place(self, i: int, image: NDArray[Any], row: int) -> None:
        """Put a decoded image into place `i`, resized where the benchmark says so; raises DatasetError naming `row`."""
        feed = self.feed
        target = self.decoded[i] if feed.channels == 3 else self.decoded[i, :, :, 0]
        if feed.mosaic:
            if image.dtype != np.uint16 or image.shape != target.shape:
                raise DatasetError(
                    f"row {row}: {image.dtype} {image.shape}, not a raw frame of {target.shape} like others"
                )
        elif image.dtype != np.uint8:
            raise DatasetError(
                f"row {row}: a {image.dtype} image, and this benchmark gives 8-bit ones: cut down it would be another "
                "image (one of colour 'mosaic' gives 16-bit frames whole)"
            )
        elif not feed.resize and image.shape != target.shape:
            raise DatasetError(
                f"row {row}: an image of {image.shape[0]}×{image.shape[1]}, and this benchmark gives images of "
                f"{feed.height}×{feed.width} as they are (resize 'none')"
            )
        if not feed.resize:
            target[:] = image
            return
        cv2.resize(image, (feed.width, feed.height), dst=target, interpolation=cv2.INTER_LINEAR)

    def batch(self, first: int, n: int) -> NDArray[Any]:
        """Images first…first+n−1 of the block as the model wants them: byte × scale + shift, or the bytes themselves.

        Few calls, each over the whole batch: every call of OpenCV and numpy hands the interpreter lock around.
        """
        feed, fed = self.feed, self.fed[:n]
        rows = self.decoded[first : first + n].reshape(n * feed.height, feed.width, feed.channels)
        if feed.layout == "NCHW":
            planes = cv2.split(rows, [plane[: len(rows)] for plane in self.turned])
            for k, plane in enumerate(planes if feed.bgr else reversed(planes)):
                np.copyto(fed[:, k], plane.reshape(n, feed.height, feed.width))
        else:
            turned = (
                rows if feed.bgr or feed.channels == 1 else cv2.cvtColor(rows, cv2.COLOR_BGR2RGB, dst=self.turned[0])
            )
            np.copyto(fed, turned.reshape(-1, feed.height, feed.width, feed.channels)[:n])
        if feed.dtype == "float32":  # cast first, then scale in place: half the time of one mixed multiplication
            np.multiply(fed, self.scale, out=fed)
            if self.shift.any():
                np.add(fed, self.shift, out=fed)
        return fed


def decoded(view: memoryview, row: int, channels: int, mosaic: bool) -> NDArray[Any]:
    """An encoded image as `cv2.imread` would give it in 1 or 3 (B, G, R) channels, or a raw frame as it is.

    Raises CorruptImageError naming `row`.
    """
    flag = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
    try:
        image = cv2.imdecode(np.frombuffer(view, np.uint8), cv2.IMREAD_UNCHANGED if mosaic else flag)
    except cv2.error:  # an empty buffer, or dimensions past OpenCV's limits
        image = None
    if image is None:
        raise CorruptImageError(row)
    return image


def size_of(images: Images, feed: Feed) -> tuple[int, int]:
    """(height, width) of the first image."""
    height, width = decoded(images.slices(0, 1)[0], 0, feed.channels, feed.mosaic).shape[:2]
    return int(height), int(width)


def _chunk(
    views: Sequence[memoryview],
    row: int,
    feed: Feed,
    infer: Infer,
    buffers: Buffers,
    out: NDArray[np.float32],
    stopped: threading.Event,
) -> None:
    for start in range(0, len(views), buffers.block):
        block = views[start : start + buffers.block]
        for i, view in enumerate(block):
            buffers.load(i, view, row + start + i)
        _infer_block(buffers, infer, out[start : start + len(block)], stopped)


def _own_sizes(
    views: Sequence[memoryview],
    row: int,
    feed: Feed,
    infer: Infer,
    buffers: Buffers,
    out: NDArray[np.float32],
    stopped: threading.Event,
) -> None:
    """As `_chunk`, every image at its own size: those next to each other that share one go together."""
    first = 0
    for i, view in enumerate(views):
        image = decoded(view, row + i, feed.channels, feed.mosaic)
        size = (buffers.feed.height, buffers.feed.width)
        if i > first and (image.shape[:2] != size or i - first == buffers.block):
            _infer_block(buffers, infer, out[first:i], stopped)
            first = i
        if image.shape[:2] != size:
            height, width = image.shape[:2]
            batch = feed.batch if feed.fixed else batch_size(height * width * feed.channels)
            buffers = Buffers(replace(feed, height=height, width=width, batch=batch))
        buffers.place(i - first, image, row + i)
    _infer_block(buffers, infer, out[first : len(views)], stopped)


def _infer_block(buffers: Buffers, infer: Infer, out: NDArray[np.float32], stopped: threading.Event) -> None:
    """The outputs of the first images of the block, as many as `out` has rows, batch by batch."""
    feed = buffers.feed
    for first in range(0, len(out), feed.batch):
        if stopped.is_set():
            return
        wanted = min(feed.batch, len(out) - first)
        n = feed.batch if feed.fixed else wanted  # a fixed batch is filled up with what lay there before
        outputs = infer(buffers.batch(first, n))
        check_outputs(outputs, n, feed.classes)
        out[first : first + wanted] = outputs[:wanted]


def check_outputs(outputs: Any, n: int, classes: int) -> None:
    """onnxruntime returns NaN, 7 classes or a dropped batch axis without a word: raise ModelError for each."""
    if not isinstance(outputs, np.ndarray) or outputs.dtype != np.float32:
        raise ModelError(f"the model gave {getattr(outputs, 'dtype', type(outputs).__name__)}, not float32")
    if outputs.shape != (n, classes):
        raise ModelError(f"the model gave shape {outputs.shape} for {n} images, expected {(n, classes)}")
    if not np.isfinite(outputs).all():
        bad = "NaN" if np.isnan(outputs).any() else "infinite values"
        raise ModelError(f"the model gave {bad}: every score must be a finite number")


def probe(images: Images, feed: Feed, infer: Infer) -> None:
    """Run the first images twice, and one of them alone: a score must not depend on chance or on its neighbours.

    Raises ModelError. Tolerance for the neighbours is 1e-3 relative: kernels may sum in another order.
    """
    n = min(feed.batch, len(images))
    if not n:
        return
    buffers = Buffers(feed)
    shown = [decoded(view, i, feed.channels, feed.mosaic) for i, view in enumerate(images.slices(0, n))]
    if feed.own:
        shown = list(takewhile(lambda image: image.shape == shown[0].shape, shown))
        n = len(shown)
    for i, image in enumerate(shown):
        buffers.place(i, image, i)
    check_steady(buffers.batch(0, feed.batch if feed.fixed else n), n, feed, infer)


def check_steady(fed: NDArray[Any], n: int, feed: Feed, infer: Infer) -> None:
    """Infer a batch, of which the first `n` images count, again and each of them alone; see `probe`."""
    first = infer(fed)
    check_outputs(first, len(fed), feed.classes)
    if not np.array_equal(first, infer(fed)):
        raise ModelError("the model gives different scores for the same images: it is random or keeps state")
    fill = feed.batch if feed.fixed else 1
    alone = [infer(np.repeat(fed[i : i + 1], fill, axis=0))[:1] for i in range(n)]  # its only neighbour is itself
    if any(one.shape != first[:1].shape for one in alone) or not np.allclose(
        first[:n], np.concatenate(alone), rtol=1e-3, atol=1e-3
    ):
        raise ModelError("an image's scores depend on which others are in its batch: export the model for inference")
