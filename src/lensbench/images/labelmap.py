"""Instance label maps: 0 is background, every other value is one object, however many parts it has.

All work goes over runs (pixels in a row with one value), of which a label map has a few thousand where it has a
million pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Object:
    """One object of a label map: `area` in pixels, `bbox` = (x, y, width, height) of its first column, row, extent."""

    id: int
    area: int
    bbox: tuple[int, int, int, int]
    touches_border: bool


def from_colours(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The label map of an annotation where every object has a 24-bit colour: uint8 H×W×3 → uint32 H×W.

    Black is background; the colours are numbered 1, 2, … in the order in which they first appear, row by row.
    All three channels count: one of them alone merges objects. Raises ValueError for another dtype or shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an annotation in colours is uint8 H×W×3, not {rgb.dtype} {rgb.shape}")
    packed = rgb[..., 0].astype(np.uint32) << 16
    packed |= rgb[..., 1].astype(np.uint32) << 8
    packed |= rgb[..., 2]
    return renumber(packed)


def renumber(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """The same objects numbered 1, 2, … by first appearance in raster order: integers H×W → uint32 H×W.

    Two maps of the same objects are equal after it, whatever their ids were. Raises ValueError for negative
    ids, and for an array that is not integers H×W.
    """
    flat = _checked(labels).reshape(-1)
    starts = _starts(flat)
    values = flat[starts]
    ids, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first[ids != 0], kind="stable")
    new = np.zeros(len(ids), np.uint32)
    new[np.flatnonzero(ids)[order]] = np.arange(1, len(order) + 1, dtype=np.uint32)
    return np.repeat(new[inverse], np.diff(starts, append=len(flat))).reshape(labels.shape)


def objects(labels: NDArray[Any]) -> list[Object]:
    """Every object of a label map (integers H×W), by ascending id; raises ValueError as `renumber` does."""
    height, width = _checked(labels).shape
    flat = labels.reshape(-1)
    starts = _starts(flat, width)
    ends = np.append(starts[1:], len(flat))
    inside = flat[starts] != 0
    starts, ends = starts[inside], ends[inside]
    if not len(starts):
        return []
    ids, of = np.unique(flat[starts], return_inverse=True)
    order = np.argsort(of, kind="stable")  # runs of one object together, still in raster order
    cut = np.flatnonzero(np.diff(of[order], prepend=-1))
    starts, ends = starts[order], ends[order]
    rows, left, right = starts // width, starts % width, (ends - 1) % width + 1
    area = np.add.reduceat(ends - starts, cut)
    x0, x1 = np.minimum.reduceat(left, cut), np.maximum.reduceat(right, cut)
    y0, y1 = np.minimum.reduceat(rows, cut), np.maximum.reduceat(rows, cut) + 1
    border = (x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height)
    columns = (ids, area, x0, y0, x1 - x0, y1 - y0, border)
    return [
        Object(key, size, (x, y, w, h), edge)
        for key, size, x, y, w, h, edge in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _checked(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"a label map is integers H×W, not {labels.dtype} {labels.shape}")
    if np.issubdtype(labels.dtype, np.signedinteger) and labels.size and labels.min() < 0:
        raise ValueError(f"a label map has no negative ids, this one {labels.min()}")
    return labels


def _starts(flat: NDArray[Any], width: int = 0) -> NDArray[np.int64]:
    """Where the runs of equal values begin; with `width`, no run goes over the end of a row."""
    begins = np.empty(len(flat), np.bool_)
    begins[:1] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    if width:
        begins[::width] = True
    return np.flatnonzero(begins).astype(np.int64, copy=False)
