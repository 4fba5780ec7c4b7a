"""Raw frames of a prepared split, with what is known of the cameras that took them."""

from __future__ import annotations

from lensbench.data.prepared import column_names, columns_of
from lensbench.errors import DatasetError, FrameError
from lensbench.evaluation.run import Ground
from lensbench.isp.camera import Camera, camera_of
from lensbench.runner import open_images
from lensbench.viewrunner import Frames

CAMERA = ("cfa", "white_level", "black_level", "white_balance", "ccm")
"""The columns that say what a frame was recorded with."""


def open_frames(ground: Ground) -> Frames:
    """The frames of the evaluated split in the benchmark's views; raises DatasetError where they cannot be developed.

    Every row brings its own camera: nothing of it is assumed.
    """
    views, spec = ground.spec.views, ground.spec
    assert views is not None
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


def _cameras(ground: Ground) -> tuple[Camera, ...]:
    cameras = []
    for path in ground.files:
        for row in columns_of(path, CAMERA).to_pylist():
            try:
                cameras.append(camera_of(row))
            except FrameError as error:
                raise DatasetError(f"{ground.ids[len(cameras)]}: {error}") from error
    return tuple(cameras)
