"""The inner loop over views: raw frames in, one answer for each frame × view out. Knows no labels.

A frame is decoded once and developed in all of its views, which share what they have in common, and its images are
inferred before the next frame is looked at: what goes into a batch depends on the frame and the views alone, so a
resumed or sharded run computes the same numbers. Row frame × views + view is the answer in that view.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import DatasetError, FrameError, ModelError
from lensbench.isp.camera import Camera
from lensbench.isp.pipeline import Developer
from lensbench.isp.view import View
from lensbench.maskrunner import Network
from lensbench.masks.values import Value
from lensbench.models.contract import Feed, batch_size
from lensbench.models.inputs import Entry
from lensbench.models.model import Infer
from lensbench.runner import CorruptImageError, Images, check_outputs, check_steady, decoded
from lensbench.workers import share

DEVELOPED_BYTES = 128 << 20
"""Developed pixels that a thread holds: a whole frame of twenty megapixels is developed view by view."""
LAST_BIT = 2**-12
"""Share of the white level that a saturated pixel may lack: 12 bits in 16, as the drone has them, end at 65520."""

Image = NDArray[np.float32]
Answer = tuple[Value, tuple[str, ...]]
Blank = Literal["black", "saturated"]


@dataclass(frozen=True, eq=False)
class Frames:
    """Raw frames with their cameras, and the views that each is developed in.

    `recordings`: per cent of the full intensity → the column of frames recorded so. `names` (the ids) key the random
    numbers of views that have any. `reference`: the view that frames are tried in first.
    """

    views: tuple[View, ...]
    recordings: Mapping[int, Images]
    cameras: tuple[Camera, ...]
    names: tuple[str, ...]
    reference: int = 0

    def __len__(self) -> int:
        return len(self.cameras)

    def raw(self, frame: int, intensity: int) -> NDArray[np.uint16]:
        """A recording of a frame; raises CorruptImageError, or DatasetError for one that is no raw frame."""
        pixels = decoded(self.recordings[intensity].slices(frame, frame + 1)[0], frame, 1, mosaic=True)
        if pixels.dtype != np.uint16 or pixels.ndim != 2:
            raise DatasetError(f"{self.names[frame]}: {pixels.dtype} {pixels.shape}, not a raw frame of 16 bits")
        return pixels

    def shot(self, frame: int, intensity: int) -> tuple[NDArray[np.uint16], tuple[int, int]]:
        """A recording, and the height and width of it that are shown; raises as `raw` does."""
        pixels = self.raw(frame, intensity)
        return pixels, (pixels.shape[0], pixels.shape[1])

    def size(self) -> tuple[int, int]:
        """(height, width) of the first frame."""
        return self.shot(0, self.views[self.reference].intensity)[1]

    def blank(self, frame: int) -> Blank | None:
        """Whether nothing can be seen on a frame's brightest recording: no pixel is above its site's black level
        (rounded up to a whole number), or none below the camera's white level (less `LAST_BIT`)."""
        raw, camera = self.raw(frame, max(self.recordings)), self.cameras[frame]
        if (raw >= camera.white * (1 - LAST_BIT)).all():
            return "saturated"
        sites = (raw[row::2, column::2] for row in (0, 1) for column in (0, 1))
        black = all((site <= ceil(level)).all() for site, level in zip(sites, camera.black, strict=True))
        return "black" if black else None

    def room(self) -> Darkroom:
        """What develops them, for one thread."""
        return Darkroom(self)


class Darkroom:
    """Develops frames for one thread, and gives models what comes out; keeps what depends on camera and views alone."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._kept: dict[tuple[Camera, tuple[int, ...]], Developer] = {}

    def images(self, frame: int) -> Iterator[tuple[tuple[int, ...], Image]]:
        """(places of some views, these views of the frame n×3×H×W in [0, 1]) until all views were there."""
        frames = self._frames
        recorded: dict[int, list[int]] = {}
        for place, view in enumerate(frames.views):
            recorded.setdefault(view.intensity, []).append(place)
        for intensity, places in recorded.items():
            raw, shown = frames.shot(frame, intensity)
            most = max(1, DEVELOPED_BYTES // (12 * raw.size))
            for start in range(0, len(places), most):
                some = tuple(places[start : start + most])
                yield some, self.developed(frame, raw, some)[..., : shown[0], : shown[1]]

    def developed(self, frame: int, raw: NDArray[np.uint16], places: tuple[int, ...]) -> Image:
        """The frame in the views at `places`; raises DatasetError naming the frame."""
        frames = self._frames
        key = (frames.cameras[frame], places)
        if key not in self._kept:
            self._kept[key] = Developer(frames.cameras[frame], [frames.views[place] for place in places])
        try:
            return self._kept[key](raw, sample=frames.names[frame])
        except FrameError as error:
            raise DatasetError(f"{frames.names[frame]}: {error}") from error

    def reference(self, frame: int) -> Image:
        """3×H×W: the frame in the reference view."""
        place = self._frames.reference
        raw, shown = self._frames.shot(frame, self._frames.views[place].intensity)
        image: Image = self.developed(frame, raw, (place,))[0, :, : shown[0], : shown[1]]
        return image

    def fed(self, images: Image, feed: Feed, frame: int) -> NDArray[Any]:
        """Images n×3×H×W in [0, 1] of a frame as a classifier takes them, in its layout."""
        given = fed(images, feed)
        return np.ascontiguousarray(np.moveaxis(given, 1, -1)) if feed.layout == "NHWC" else given

    def planes(self, images: Image, entry: Entry) -> Iterator[Image]:
        """The same images, one by one, as a segmentation model takes them: C×H×W."""
        yield from fed(images, entry)


def fed(images: Image, how: Feed | Entry) -> Image:
    """Images n×3×H×W in [0, 1] as the model wants them: value × scale + shift, in its colour order."""
    given = images[:, ::-1] if how.bgr else images
    if set(how.scale) != {1.0}:
        given = given * np.array(how.scale, np.float32).reshape(-1, 1, 1)
    if any(how.shift):
        given = given + np.array(how.shift, np.float32).reshape(-1, 1, 1)
    return np.ascontiguousarray(given)


# -- classification ------------------------------------------------------------------------------------------


def infer_views(
    frames: Frames,
    start: int,
    stop: int,
    feed: Feed,
    infer: Infer,
    out: NDArray[np.float32],
    threads: int,
    advance: Callable[[int], object],
) -> None:
    """Fill `out` (float32, frames × views rows of classes) with the outputs for frames start … stop − 1.

    `advance(n)` is called from the threads after every frame. Raises CorruptImageError, DatasetError or ModelError;
    then `out` is not to be used.
    """
    cv2.setNumThreads(1)
    views = len(frames.views)

    def begin(stopped: threading.Event) -> Callable[[int], None]:
        room = frames.room()

        def do(frame: int) -> None:
            first = (frame - start) * views
            for places, images in room.images(frame):
                where = partial(_named, frames, frame, places)
                scores = _scores(room.fed(images, feed, frame), feed, infer, stopped, where)
                out[[first + place for place in places]] = scores
            advance(views)

        return do

    _raise_first(share(range(start, stop), begin, threads))


def _scores(
    given: NDArray[Any],
    feed: Feed,
    infer: Infer,
    stopped: threading.Event,
    where: Callable[[slice], AbstractContextManager[None]],
) -> NDArray[np.float32]:
    """The outputs for what a model is given, batch by batch; a fixed batch is filled up with its last image."""
    batch = feed.batch if feed.fixed else batch_size(given[0].size)
    scores = np.empty((len(given), feed.classes), np.float32)
    for first in range(0, len(given), batch):
        if stopped.is_set():
            break
        some = slice(first, first + batch)
        with where(some):
            scores[some] = _outputs(given[some], feed, infer)
    return scores


def _outputs(some: NDArray[Any], feed: Feed, infer: Infer) -> NDArray[np.float32]:
    n = feed.batch if feed.fixed else len(some)
    outputs = infer(_filled(some, n))
    check_outputs(outputs, n, feed.classes)
    return outputs[: len(some)]


def _filled(some: NDArray[Any], n: int) -> NDArray[Any]:
    return np.concatenate([some, np.repeat(some[-1:], n - len(some), axis=0)]) if n > len(some) else some


def probe_views(frames: Frames, feed: Feed, infer: Infer) -> None:
    """As `runner.probe`, of the first frames in the reference view: a score depends neither on chance nor on others."""
    room = frames.room()
    shown = [room.reference(frame) for frame in range(min(feed.batch, len(frames)))]
    shown = [image for image in shown if image.shape == shown[0].shape]
    if not shown:
        return
    given = room.fed(np.stack(shown), feed, 0)
    check_steady(_filled(given, feed.batch) if feed.fixed else given, len(shown), feed, infer)


# -- segmentation --------------------------------------------------------------------------------------------


def answer_views(
    frames: Frames, start: int, stop: int, network: Network, threads: int, advance: Callable[[int], object]
) -> tuple[list[Value], list[str]]:
    """The answers for frames start … stop − 1 in every view, and what was assumed for any of them.

    `advance(n)` is called from the threads after every frame. Raises CorruptImageError, DatasetError or ModelError.
    """
    cv2.setNumThreads(1)
    views = len(frames.views)
    answers: dict[int, Answer] = {}

    def begin(stopped: threading.Event) -> Callable[[int], None]:
        room = frames.room()

        def do(frame: int) -> None:
            for places, images in room.images(frame):
                for place, image in zip(places, room.planes(images, network.feed.entry), strict=True):
                    if stopped.is_set():
                        return
                    with _named(frames, frame, (place,), slice(1)):
                        answers[frame * views + place] = network.answer(image, frame)
            advance(views)

        return do

    _raise_first(share(range(start, stop), begin, threads))
    ordered = [answers[row] for row in range(start * views, stop * views)]
    return [value for value, _ in ordered], list(dict.fromkeys(word for _, words in ordered for word in words))


def reference_image(frames: Frames, frame: int, entry: Entry) -> Image:
    """C×H×W: a frame in the reference view, as the model is given it."""
    room = frames.room()
    return next(room.planes(room.reference(frame)[None], entry))


@contextmanager
def _named(frames: Frames, frame: int, places: Sequence[int], some: slice) -> Iterator[None]:
    """Say of a model's error on which frame, and in which views of a batch, it came."""
    try:
        yield
    except ModelError as error:
        names = [frames.views[place].name for place in places[some]]
        views = names[0] if len(names) == 1 else f"one of {', '.join(names)}"
        raise ModelError(f"{frames.names[frame]} in {views}: {error}") from error


def _raise_first(errors: Sequence[Exception]) -> None:
    if errors:
        raise min(errors, key=lambda e: e.row if isinstance(e, CorruptImageError) else -1)
