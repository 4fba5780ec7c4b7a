"""The inner loop: a row range of an image column in, one row of outputs per image out. Knows no ids, no labels.

Threads (one per core) share one inference function and take chunks of 64 rows under a lock; each decodes,
resizes, normalises into its own buffer and infers its own chunk. Where a batch begins and ends depends on the row
range alone, so a resumed or sharded run computes the same numbers. Imports numpy, OpenCV and pyarrow, nothing
of `datasets`: the whole loop can move into a child process.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.errors import DatasetError, ModelError
from lensbench.models.contract import Feed
from lensbench.models.onnx import Infer

CHUNK = 64


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
    lock = threading.Lock()
    stopped = threading.Event()
    errors: list[Exception] = []
    chunk = CHUNK if not feed.fixed else -(-CHUNK // feed.batch) * feed.batch
    todo = iter(range(start, stop, chunk))

    def work() -> None:
        buffers = Buffers(feed)
        try:
            while not stopped.is_set():
                with lock:
                    first = next(todo, None)
                if first is None:
                    return
                last = min(first + chunk, stop)
                _chunk(images.slices(first, last), first, feed, infer, buffers, out[first - start : last - start])
                advance(last - first)
        except Exception as error:
            errors.append(error)
            stopped.set()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(max(1, threads))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    finally:
        stopped.set()
    if errors:
        raise min(errors, key=lambda e: e.row if isinstance(e, CorruptImageError) else -1)


class Buffers:
    """One thread's preallocated batch: decoded bytes, and what the model is fed."""

    def __init__(self, feed: Feed) -> None:
        n, h, w, c = feed.batch, feed.height, feed.width, feed.channels
        self.decoded = np.zeros((n, h, w, c), np.uint8)
        shape = (n, c, h, w) if feed.layout == "NCHW" else (n, h, w, c)
        self.fed = np.zeros(shape, feed.dtype)


def _chunk(
    views: Sequence[memoryview],
    row: int,
    feed: Feed,
    infer: Infer,
    buffers: Buffers,
    out: NDArray[np.float32],
) -> None:
    for first in range(0, len(views), feed.batch):
        batch = views[first : first + feed.batch]
        for i, view in enumerate(batch):
            decode(view, row + first + i, feed, buffers.decoded[i])
        n = feed.batch if feed.fixed else len(batch)
        outputs = infer(normalise(feed, buffers, n))
        check_outputs(outputs, n, feed.classes)
        out[first : first + len(batch)] = outputs[: len(batch)]


def decode(view: memoryview, row: int, feed: Feed, slot: NDArray[np.uint8]) -> None:
    """Decode one image as `cv2.imread` would and resize it into `slot` (h × w × c, uint8, BGR or grey)."""
    flag = cv2.IMREAD_COLOR if feed.channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(view, np.uint8), flag)
    except cv2.error:  # an empty buffer, or dimensions past OpenCV's limits
        image = None
    if image is None:
        raise CorruptImageError(row)
    target = slot if feed.channels == 3 else slot[:, :, 0]
    cv2.resize(image, (feed.width, feed.height), dst=target, interpolation=cv2.INTER_LINEAR)


def normalise(feed: Feed, buffers: Buffers, n: int) -> NDArray[Any]:
    """The first `n` decoded images as the model wants them: byte × scale + shift, per channel, in its layout."""
    decoded, fed = buffers.decoded[:n], buffers.fed[:n]
    for c in range(feed.channels):
        source = decoded[..., c if feed.bgr else feed.channels - 1 - c]
        target = fed[:, c] if feed.layout == "NCHW" else fed[..., c]
        if feed.dtype == "uint8":
            target[...] = source
            continue
        np.multiply(source, np.float32(feed.scale[c]), out=target)
        if feed.shift[c]:
            target += np.float32(feed.shift[c])
    return fed


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
    for i, view in enumerate(images.slices(0, n)):
        decode(view, i, feed, buffers.decoded[i])
    fed = normalise(feed, buffers, feed.batch if feed.fixed else n)
    first = infer(fed)
    check_outputs(first, len(fed), feed.classes)
    if not np.array_equal(first, infer(fed)):
        raise ModelError("the model gives different scores for the same images: it is random or keeps state")
    if feed.fixed:
        alone = infer(np.ascontiguousarray(fed[::-1]))[::-1]
    else:
        alone = np.concatenate([infer(fed[i : i + 1]) for i in range(n)])
    if alone.shape != first.shape or not np.allclose(first, alone, rtol=1e-3, atol=1e-3):
        raise ModelError("an image's scores depend on which others are in its batch: export the model for inference")
