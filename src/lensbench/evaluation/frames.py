"""Raw frames of a prepared split, with what is known of the cameras that took them, or images in their place."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lensbench.data.prepared import column_names, columns_of
from lensbench.errors import DatasetError, FrameError
from lensbench.evaluation.run import Ground
from lensbench.isp.camera import Camera, camera_of
from lensbench.runner import open_images
from lensbench.simframes import SimulatedFrames
from lensbench.viewrunner import Blank, Frames
from lensbench.workers import share

CAMERA = ("cfa", "white_level", "black_level", "white_balance", "ccm")
"""The columns that say what a frame was recorded with."""
SHOWN = 10
"""Frames in which nothing can be seen that a record names; it counts them all."""
PRINTED = 4
"""Frames whose developed pixels a record has digests of."""
BLANK: Mapping[Blank, str] = {
    "black": "all black, no pixel above the black level",
    "saturated": "saturated, no pixel below the white level",
}


def open_frames(ground: Ground) -> Frames:
    """The frames of the evaluated split in the benchmark's views; raises DatasetError where they cannot be developed.

    Every row brings its own camera: nothing of it is assumed, unless the frames are simulated.
    """
    views, spec = ground.spec.views, ground.spec
    assert views is not None
    if spec.simulation is not None:
        images, camera = open_images(ground.files), spec.simulation.kind
        cameras, grey = (camera,) * len(images), spec.input.colour == "grey"
        return SimulatedFrames(views.shown, {100: images}, cameras, ground.ids, views.at, grey)
    columns = {intensity: views.column(intensity) for intensity in views.recordings}
    held = [set(column_names(path)) for path in ground.files]
    missing = [name for name in (*columns.values(), *CAMERA) if not all(name in names for names in held)]
    if missing:
        raise DatasetError(
            f"{spec.dataset} ({spec.config}) has no column {missing[0]!r}: its frames cannot be developed"
        )
    recordings = {intensity: open_images(ground.files, name) for intensity, name in columns.items()}
    cameras = _cameras(ground)
    for images in recordings.values():
        if len(images) != len(ground.ids) or len(cameras) != len(ground.ids):
            raise DatasetError(
                f"{spec.dataset} ({spec.config}): {len(ground.ids)} ids for {len(images)} frames in the cache"
            )
    return Frames(views.shown, recordings, cameras, ground.ids, views.at)


def blank_notes(frames: Frames, threads: int) -> list[str]:
    """How many frames are all black and how many saturated, with some of their ids; nothing where none is.

    Each is read once more for it, so a record says the same of a run in parts. They are scored like any other.
    """
    found: dict[Blank, list[str]] = {kind: [] for kind in BLANK}

    def begin(_: threading.Event) -> Callable[[int], None]:
        def do(frame: int) -> None:
            kind = frames.blank(frame)
            if kind is not None:
                found[kind].append(frames.names[frame])

        return do

    errors = share(range(len(frames)), begin, threads)
    if errors:
        raise errors[0]
    return [
        f"{len(ids)} of {len(frames)} frames {'are' if len(ids) > 1 else 'is'} {BLANK[kind]}: "
        f"{', '.join(sorted(ids)[:SHOWN])}{', …' if len(ids) > SHOWN else ''}"
        for kind, ids in found.items()
        if ids
    ]


def pixel_digests(ground: Ground, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the views of a result looked like on this machine: of each the sha256 over the first frames' pixels.

    Pixels are float32 in [0, 1], 3×H×W, little-endian, frame after frame in the order of the split.
    """
    frames, names = open_frames(ground), {view["name"] for view in result["views"]}
    frames = replace(frames, views=tuple(view for view in frames.views if view.name in names), reference=0)
    room, count = frames.room(), min(PRINTED, len(frames))
    digests = [hashlib.sha256() for _ in frames.views]
    for frame in range(count):
        for places, images in room.images(frame):
            for place, image in zip(places, images, strict=True):
                digests[place].update(np.ascontiguousarray(image, "<f4").tobytes())
    found = {view.name: digest.hexdigest() for view, digest in zip(frames.views, digests, strict=True)}
    return {"frames": list(frames.names[:count]), "sha256": found}


def _cameras(ground: Ground) -> tuple[Camera, ...]:
    cameras = []
    for path in ground.files:
        for row in columns_of(path, CAMERA).to_pylist():
            try:
                cameras.append(camera_of(row))
            except FrameError as error:
                raise DatasetError(f"{ground.ids[len(cameras)]}: {error}") from error
    return tuple(cameras)
