"""Samples that have files of their own, are a part of a larger frame, or both: read them, cut them, compare them.

A row of the index says of each of its images where it lies: `own`, its file, and `whole`, the frame it is a part of;
lists in the order of the images, of type `FILES`, null where there is none. Where in the frame it lies are its
`tile_row` and `tile_col`, counted in tiles of `tile` pixels a side; null for all of the frame, whose size is
`frame_shape`. An image that is in both must be the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.data.source import Source
from lensbench.errors import ArchiveError
from lensbench.images.decode import decode, dng, mosaic

Place = tuple[int, str]
"""Container and member name."""
Row = Mapping[str, Any]
FILES = pa.list_(pa.struct([("container", pa.int16()), ("member", pa.string())]))


def as_file(place: Place | None) -> dict[str, Any] | None:
    """A place as the index holds it."""
    return None if place is None else {"container": place[0], "member": place[1]}


def readable(own: Sequence[Place | None], whole: Sequence[Place | None]) -> list[Place | None]:
    """Of the frames `whole`, those to be read: a DNG that cannot be is left out where the sample has its own file."""
    if find_spec("rawpy") is not None:
        return list(whole)
    return [p if p and (o is None or not _is_dng(p)) else None for o, p in zip(own, whole, strict=True)]


def report(rows: Sequence[Row], parts: Sequence[str]) -> dict[str, str]:
    """Where each image comes from, in words."""
    words = {(True, True): "compared", (True, False): "not compared", (False, True): "from frames"}
    found = {}
    for number, part in enumerate(parts):
        states = {(row["own"][number] is not None, row["whole"][number] is not None) for row in rows}
        found[part] = " / ".join(sorted(words.get(state, "absent") for state in states))
    return found


def pixels_of(
    source: Source, rows: Sequence[Row], number: int, read: Callable[[Source, Place], NDArray[Any]]
) -> Iterator[tuple[Place, NDArray[Any]] | None]:
    """Image `number` of each row, and where it was read; None where there is none.

    Rows of one frame stand together: it is read once. Raises ArchiveError for a size or content that does not fit.
    """
    frame = lru_cache(maxsize=1)(lambda place: read(source, place))
    for row in rows:
        own, whole = (_place(row[name][number]) for name in ("own", "whole"))
        if own is not None:
            pixels = read(source, own)
            if pixels.shape != (row["tile"], row["tile"]):
                raise ArchiveError(f"{source.where(*own)}: {_size(pixels)} pixels, a tile has {row['tile']} a side")
            if whole and not np.array_equal(_crop(source, row, whole, frame(whole)), pixels):
                raise ArchiveError(not_the_crop(source, own, row["id"], whole, (row["tile_row"], row["tile_col"])))
            yield own, pixels
        else:
            yield (whole, _crop(source, row, whole, frame(whole))) if whole else None


def not_the_crop(source: Source, own: Place, key: str, whole: Place, at: tuple[int, int]) -> str:
    """What to say of a file that is not the part of the frame where it belongs."""
    return (
        f"{source.where(*own)} is not what {source.where(*whole)} shows in tile row {at[0]}, column {at[1]}, "
        f"where tile {key} belongs"
    )


def _crop(source: Source, row: Row, place: Place, frame: NDArray[Any]) -> NDArray[Any]:
    if list(frame.shape) != row["frame_shape"]:
        expected = " × ".join(map(str, row["frame_shape"]))
        raise ArchiveError(f"{source.where(*place)}: {_size(frame)} pixels, and the frame's mask has {expected}")
    if row["tile_row"] is None:
        return frame
    top, left = row["tile_row"] * row["tile"], row["tile_col"] * row["tile"]
    return frame[top : top + row["tile"], left : left + row["tile"]]


# -- one file ----------------------------------------------------------------------------------------------------


def read_mosaic(source: Source, place: Place) -> NDArray[np.uint16]:
    """A raw mosaic of a DNG, TIFF or PNG."""
    read = dng if _is_dng(place) else mosaic
    return read(source.read(*place), source.where(*place))


def read_mask(source: Source, place: Place) -> NDArray[np.uint8]:
    """A mask of one channel: 1 for whatever is not 0."""
    pixels = decode(source.read(*place), source.where(*place))
    if pixels.ndim != 2:
        raise ArchiveError(f"{source.where(*place)}: a mask has one channel, this one {pixels.shape[2]}")
    return (pixels > 0).astype(np.uint8)


def _place(file: Mapping[str, Any] | None) -> Place | None:
    return None if file is None else (file["container"], file["member"])


def _is_dng(place: Place) -> bool:
    return place[1].lower().endswith(".dng")


def _size(pixels: NDArray[Any]) -> str:
    return " × ".join(map(str, pixels.shape))
