"""Objects from a foreground without any learning: connected components, EDT watershed, growth, Otsu + watershed.

Everything here is decided in integers, so that no thread, vector unit or order of work changes a pixel. Objects are
numbered 1, 2, … by first appearance in raster order; `connectivity` is 4 (edges) or 8 (edges and corners).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.images.labelmap import renumber

Labels = NDArray[np.uint32]
Mask = NDArray[np.bool_]


def otsu_watershed(image: NDArray[Any], *, min_distance: int = 10, min_size: int = 10) -> Labels:
    """Bright objects on dark ground: Otsu's threshold, then `watershed` and `drop_small`: H×W → label map.

    `image` is grey, H×W, 1×H×W or H×W×1: uint8, uint16, or floats in [0, 1], which are taken as 8 bits
    (rounded × 255). Foreground is what lies above the threshold of Otsu (1979), 10.1109/TSMC.1979.4310076.
    Raises ModelError for anything else.
    """
    import cv2

    grey = _grey(image)
    _, mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return drop_small(watershed(mask != 0, min_distance), min_size)


def components(mask: Mask, connectivity: int = 4) -> Labels:
    """The connected components of a mask: bool H×W → label map."""
    import cv2

    return renumber(cv2.connectedComponents(_bytes(mask), connectivity=connectivity, ltype=cv2.CV_32S)[1])


def watershed(mask: Mask, min_distance: int, connectivity: int = 4) -> Labels:
    """A mask cut where it narrows between two peaks of the distance to the background: bool H×W → label map.

    Distance is Euclidean, from pixel centre to the nearest background pixel's centre; beyond the image's edge there
    is no background. Each connected component is treated by itself:

    1. A *peak* is a pixel than which none of the component is farther from the background within `min_distance`
       pixels (a square of side 2 · `min_distance` + 1).
    2. Peaks not more than `min_distance` apart in x and y, directly or through others, are one *marker*. Markers
       are numbered by first appearance in raster order. A component has at least one.
    3. Pixels join by whole pixels of distance, the farthest from the background first. Within such a level, in
       rounds: every pixel of this or an earlier level that has no marker yet and touches some takes the smallest.

    `min_distance` is at least 1. No component is lost, none is joined to another.
    """
    import cv2

    count, parts, stats, _ = cv2.connectedComponentsWithStats(_bytes(mask), connectivity=connectivity, ltype=cv2.CV_32S)
    squared = squared_distance(mask)
    boxes = stats[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    small = boxes[:, 2:].max(1) <= min_distance + 1  # no two of its pixels are farther apart: one marker
    small[0] = False
    markers = np.where(small[parts], parts, 0).astype(np.uint32)
    free = count
    for part in np.flatnonzero(~small[1:]) + 1:
        x, y, width, height = boxes[part].tolist()
        window = np.s_[y : y + height, x : x + width]
        own = _markers(parts[window] == part, squared[window], min_distance)
        markers[window][own != 0] = own[own != 0] + np.uint32(free)
        free += int(own.max())
    level = np.sqrt(squared, dtype=np.float64).astype(np.int32)
    return renumber(_flood(renumber(markers), mask, level, connectivity))


def squared_distance(mask: Mask) -> NDArray[np.int32]:
    """Exact squared distance of every pixel to the nearest one that is False; 1 everywhere if there is none.

    OpenCV's distances are within 3e-4 of the true ones, whose squares are integers: rounding makes them exact for
    distances below 500 pixels; farther ones are cut to 500. (From 922 on its answer depends on its threads.)
    """
    import cv2

    if mask.all():
        return np.ones(mask.shape, np.int32)
    distance = cv2.distanceTransform(_bytes(mask), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    squared: NDArray[np.int32] = np.rint(np.minimum(distance, 500) ** 2).astype(np.int32)
    return squared


def grow(labels: Labels, allowed: Mask, steps: int, connectivity: int = 4) -> Labels:
    """Objects grown into the `allowed` pixels, `steps` times by one pixel; the numbers stay as they are.

    In each step every allowed pixel of no object that touches some joins the one with the smallest number, all
    pixels at once. Pixels of objects stay, allowed or not.
    """
    grown, places = np.pad(labels, 1), np.pad(allowed & (labels == 0), 1)
    _pull(grown.reshape(-1), np.flatnonzero(places), _offsets(grown.shape[1], connectivity), steps)
    return np.ascontiguousarray(grown[1:-1, 1:-1])


def drop_small(labels: NDArray[Any], min_size: int) -> Labels:
    """The objects of at least `min_size` pixels: any label map → label map."""
    numbered = renumber(labels)
    if min_size <= 1:
        return numbered
    keep = np.bincount(numbered.reshape(-1)) >= min_size
    return renumber(np.where(keep[numbered], numbered, 0))


def dilate(labels: NDArray[Any], side: int) -> Labels:
    """Every object widened by a square of `side` (odd) pixels, centred: any label map → label map.

    Of several objects that reach a pixel, its own one among them, the one that appears last in raster order takes
    it: the grey dilation of the map numbered in that order, whatever its ids were. Raises ValueError for an even side.
    """
    import cv2

    if side < 1 or side % 2 == 0:
        raise ValueError(f"the side of a dilation is odd and at least 1, not {side}")
    numbered = renumber(labels).astype(np.float64)  # exact, and a type that OpenCV dilates
    return renumber(cv2.dilate(numbered, np.ones((side, side), np.uint8)).astype(np.uint32))


def _bytes(mask: Mask) -> NDArray[np.uint8]:
    return np.ascontiguousarray(mask).view(np.uint8)


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    plane = np.squeeze(image, tuple(axis for axis in (0, 2) if image.ndim == 3 and image.shape[axis] == 1)[:1])
    if plane.ndim != 2 or not plane.size:
        raise ModelError(f"Otsu's threshold takes one grey image H×W, not {image.dtype} {image.shape}")
    if plane.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(plane)
    if plane.dtype.kind != "f" or not ((plane >= 0) & (plane <= 1)).all():  # false for NaN, too
        raise ModelError("Otsu's threshold takes uint8, uint16, or floats in [0, 1]")
    return np.rint(plane.astype(np.float64) * 255).astype(np.uint8)


def _markers(part: Mask, squared: NDArray[np.int32], reach: int) -> Labels:
    """The markers of one component within its box, numbered from 1."""
    import cv2

    height = np.where(part, squared, 0).astype(np.float32)  # exact: at most 500²
    peaks = part & (height == cv2.dilate(height, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)))
    # Squares of side `reach` touch, corners counted, exactly if their centres are not more than `reach` apart.
    squares = cv2.dilate(_bytes(np.pad(peaks, reach)), np.ones((reach, reach), np.uint8))
    joined = cv2.connectedComponents(squares, connectivity=8, ltype=cv2.CV_32S)[1][reach:-reach, reach:-reach]
    return np.where(peaks, joined, 0).astype(np.uint32)


def _flood(markers: Labels, mask: Mask, level: NDArray[np.int32], connectivity: int) -> Labels:
    """The third step of `watershed`."""
    labels = np.pad(markers, 1)
    flat, offsets = labels.reshape(-1), _offsets(labels.shape[1], connectivity)
    places = np.flatnonzero(np.pad(mask & (markers == 0), 1))
    levels = np.pad(level, 1).reshape(-1)[places]
    order = np.argsort(-levels, kind="stable")
    waiting = places[:0]
    for joining in np.split(places[order], np.flatnonzero(np.diff(levels[order])) + 1):
        waiting = _pull(flat, np.concatenate([waiting, joining]), offsets)
    return np.ascontiguousarray(labels[1:-1, 1:-1])


def _pull(flat: Labels, places: NDArray[np.int64], offsets: NDArray[np.int64], rounds: int = -1) -> NDArray[np.int64]:
    """Give the unlabelled `places` of a framed map the smallest label they touch, in rounds; returns those left."""
    while len(places) and rounds:
        nearest = (flat[places[:, None] + offsets] - np.uint32(1)).min(1) + np.uint32(1)  # 0 wraps round to the largest
        reached = nearest != 0
        if not reached.any():
            break
        flat[places[reached]] = nearest[reached]
        places = places[~reached]
        rounds -= 1
    return places


def _offsets(width: int, connectivity: int) -> NDArray[np.int64]:
    edges = [-width, -1, 1, width]
    corners = [-width - 1, -width + 1, width - 1, width + 1]
    return np.array(edges + corners if connectivity == 8 else edges, np.int64)
