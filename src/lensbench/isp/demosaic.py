"""Demosaicing: bilinear, Malvar, He & Cutler (2004) and Menon, Andriani & Calvagno (2007), in numpy.

Everything works on the four planes of the filter's cell (R, G1 in the red rows, G2 in the blue rows, B), each a
quarter of the frame. Levels are whole numbers, and so are all sums up to Menon's choice between the horizontal and
the vertical estimate: equal gradients are common in whole numbers, and a rounding error would decide them.

The result is 3×2×2×H/2×W/2 float32: channel, then the site in the cell (see `levels.joined`). Frames are continued
past their edges by reflection about the edge pixel, which keeps the filter's order. The published pipeline repeats
the edge pixel instead, for all but Menon; `edges="published"` does the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.isp.levels import Levels, joined, sites

Plane = NDArray[Any]
RGB = NDArray[np.float32]
HALO = {"bilinear": 2, "malvar2004": 2, "menon2007": 8}
"""How far a pixel looks, in whole cells."""
PAD = {"bilinear": 2, "malvar2004": 2, "menon2007": 10}
"""By how much the frame is continued: two pixels for each step that looks at neighbours."""
REFLECTED, REPEATED = cv2.BORDER_REFLECT_101, cv2.BORDER_REFLECT
THIRD = np.float32(1 / 3)


def demosaic(levels: Levels, method: str, red: tuple[int, int], edges: str) -> RGB:
    """The three channels of a mosaic whose cell has its red site at `red`."""
    repeat = edges == "published" and method != "menon2007"
    planes = sites(extended(levels, red, PAD[method], REPEATED if repeat else REFLECTED))
    if method == "menon2007":
        rgb = _menon(planes, levels.shape, red)
    else:
        rgb = (_bilinear if method == "bilinear" else _malvar)(*planes.reshape(4, *planes.shape[2:]))
    rgb = in_frame(rgb, levels.shape, red)
    if repeat and method == "bilinear":
        for (row, column), line in edge_lines(levels, red):
            pairs = line.reshape(3, -1, 2).transpose(0, 2, 1)
            if isinstance(row, int):
                rgb[:, row % 2, :, row // 2] = pairs
            else:
                rgb[:, :, column % 2, :, column // 2] = pairs
    return rgb


def extended(levels: Plane, red: tuple[int, int], pad: int, border: int) -> Plane:
    """The frame continued by `pad` on all sides, and by one more where that makes it begin with a red site."""
    down, right = (pad + offset for offset in red)
    return np.asarray(cv2.copyMakeBorder(levels, down, down, right, right, border))


def in_frame(rgb: RGB, shape: tuple[int, ...], red: tuple[int, int]) -> RGB:
    """What lies in the frame, of planes that begin with a red site: by the sites of the frame's own cell."""
    if red == (0, 0):
        return rgb
    (height, width), (top, left) = shape, red
    whole = joined(rgb)[:, top : top + height, left : left + width]
    return np.stack([sites(channel) for channel in whole])


def near(plane: Plane, down: int, right: int) -> Plane:
    """The neighbour of every pixel but the outermost, so many rows down and columns to the right."""
    height, width = plane.shape
    return plane[1 + down : height - 1 + down, 1 + right : width - 1 + right]


# -- bilinear ------------------------------------------------------------------------------------------------


def _bilinear(r: Plane, g1: Plane, g2: Plane, b: Plane) -> RGB:
    here = [near(plane, 0, 0) for plane in (r, g1, g2, b)]
    out = np.empty((3, 2, 2, *here[0].shape), np.float32)
    for site, (channel, plane) in enumerate(zip((0, 1, 1, 2), here, strict=True)):
        out[channel].reshape(4, *plane.shape)[site] = plane
    quarter, half = np.float32(0.25), np.float32(0.5)
    out[1, 0, 0] = (near(g1, 0, -1) + here[1] + near(g2, -1, 0) + here[2]) * quarter
    out[1, 1, 1] = (here[2] + near(g2, 0, 1) + here[1] + near(g1, 1, 0)) * quarter
    out[0, 1, 1] = (here[0] + near(r, 0, 1) + near(r, 1, 0) + near(r, 1, 1)) * quarter
    out[2, 0, 0] = (here[3] + near(b, 0, -1) + near(b, -1, 0) + near(b, -1, -1)) * quarter
    out[0, 0, 1] = (here[0] + near(r, 0, 1)) * half
    out[0, 1, 0] = (here[0] + near(r, 1, 0)) * half
    out[2, 1, 0] = (here[3] + near(b, 0, -1)) * half
    out[2, 0, 1] = (here[3] + near(b, -1, 0)) * half
    return out


def edge_lines(levels: Levels, red: tuple[int, int]) -> Iterator[tuple[tuple[Any, ...], RGB]]:
    """(where in the frame, 3×n values) of its outermost rows and columns as the published pipeline has them.

    It interpolates each channel as a plane that is 0 where another filter sits, and continues that plane by
    repeating its edge: a pixel then counts twice, or its neighbour is missing.
    """
    every = slice(None)
    for axis, lines in enumerate((levels, levels.T)):
        last = len(lines) - 1
        for edge, beside in ((0, 1), (last, last - 1)):
            with_red = edge % 2 == red[axis]
            line = _edge(lines[edge], lines[beside], 0 if with_red else 2, red[1 - axis] ^ (not with_red))
            yield ((edge, every) if axis == 0 else (every, edge)), line


def _edge(here: Plane, beside: Plane, channel: int, at: int) -> RGB:
    """Red, green and blue of an outermost line that has `channel` (0 or 2) at every other pixel from `at` on."""
    own, other = np.zeros_like(here), np.zeros_like(here)
    own[at::2], other[1 - at :: 2] = here[at::2], beside[1 - at :: 2]
    green, under = here - own, beside - other
    out = np.empty((3, len(here)), np.float32)
    out[channel] = 3 * _spread(own, 2)
    out[2 - channel] = _spread(other, 2)
    out[1] = _spread(green, 5) + under
    return out * np.float32(0.25)


def _spread(line: Plane, middle: int) -> Plane:
    total: Plane = middle * line
    total[1:] += line[:-1]
    total[:-1] += line[1:]
    total[0] += line[0]
    total[-1] += line[-1]
    return total


# -- Malvar --------------------------------------------------------------------------------------------------


def _malvar(r: Plane, g1: Plane, g2: Plane, b: Plane) -> RGB:
    """Bilinear estimates corrected by the Laplacian of the filter that is there; weights in sixteenths."""
    around = {id(p): (near(p, 0, -1) + near(p, 0, 1), near(p, -1, 0) + near(p, 1, 0)) for p in (r, g1, g2, b)}
    here = [near(plane, 0, 0) for plane in (r, g1, g2, b)]
    out = np.empty((3, 2, 2, *here[0].shape), np.float32)
    for site, (channel, plane) in enumerate(zip((0, 1, 1, 2), here, strict=True)):
        out[channel].reshape(4, *plane.shape)[site] = plane
    g_r = near(g1, 0, -1) + here[1] + near(g2, -1, 0) + here[2]
    g_b = here[2] + near(g2, 0, 1) + here[1] + near(g1, 1, 0)
    r_b = here[0] + near(r, 0, 1) + near(r, 1, 0) + near(r, 1, 1)
    b_r = here[3] + near(b, 0, -1) + near(b, -1, 0) + near(b, -1, -1)
    eighth, sixteenth = np.float32(1 / 8), np.float32(1 / 16)
    for site, plane, green, other in ((0, r, g_r, b_r), (1, b, g_b, r_b)):
        ring = sum(around[id(plane)])
        centre = near(plane, 0, 0)
        out[1, site, site] = (4 * centre + 2 * green - ring) * eighth
        out[2 - 2 * site, site, site] = (12 * centre + 4 * other - 3 * ring) * sixteenth
    diagonal = {
        id(g1): here[2] + near(g2, 0, 1) + near(g2, -1, 0) + near(g2, -1, 1),
        id(g2): here[1] + near(g1, 0, -1) + near(g1, 1, 0) + near(g1, 1, -1),
    }
    pairs = (
        *((0, 0, 1, g1, here[0] + near(r, 0, 1), 0), (2, 0, 1, g1, here[3] + near(b, -1, 0), 1)),
        *((0, 1, 0, g2, here[0] + near(r, 1, 0), 1), (2, 1, 0, g2, here[3] + near(b, 0, -1), 0)),
    )
    for channel, row, column, green, two, along in pairs:
        ends, across = around[id(green)][along], around[id(green)][1 - along]
        total = 10 * near(green, 0, 0) + 8 * two - 2 * (ends + diagonal[id(green)]) + across
        out[channel, row, column] = total * sixteenth
    return out


# -- Menon ---------------------------------------------------------------------------------------------------

Pair = tuple[Plane, Plane]
"""Of the horizontal and the vertical estimate."""


def _menon(planes: Plane, shape: tuple[int, ...], red: tuple[int, int]) -> RGB:
    r, g1, g2, b = planes.reshape(4, *planes.shape[2:])
    of_r = _differences(r, near(g1, 0, -1) + near(g1, 0, 0), near(g2, -1, 0) + near(g2, 0, 0))
    of_b = _differences(b, near(g2, 0, 0) + near(g2, 0, 1), near(g1, 0, 0) + near(g1, 1, 0))
    flat_r, flat_b = mirrored(*_decide(of_r, of_b, shape, red), red)
    quarter = np.float32(0.25)
    d_r = np.where(flat_r, *of_r).astype(np.float32) * quarter
    d_b = np.where(flat_b, *of_b).astype(np.float32) * quarter
    inside = [plane[5:-5, 5:-5].astype(np.float32) for plane in (r, g1, g2, b)]
    return _filled(inside, d_r, d_b, flat_r, flat_b)


def _differences(plane: Plane, beside: Plane, above: Plane) -> Pair:
    """Four times the difference of a colour to its green, estimated along the row and along the column."""
    centre = 2 * near(plane, 0, 0)
    along_row = centre - 2 * beside + near(plane, 0, -1) + near(plane, 0, 1)
    along_column = centre - 2 * above + near(plane, -1, 0) + near(plane, 1, 0)
    return along_row, along_column


def _decide(of_r: Pair, of_b: Pair, shape: tuple[int, ...], red: tuple[int, int]) -> Pair:
    """Where the horizontal estimate is taken, at the red and the blue sites of the frame: its gradients are not larger.

    Gradients count 0 outside the frame.
    """
    starts = [4 + offset for offset in red], [4, 4]
    (h_r, v_r), (h_b, v_b) = (_gradients(pair, shape, start) for pair, start in zip((of_r, of_b), starts, strict=True))
    sums_r = (
        _own(h_r) + near(h_b, -1, -1) + near(h_b, 0, -1),
        _own(v_r.T).T + near(v_b, -1, -1) + near(v_b, -1, 0),
    )
    sums_b = (
        _own(h_b) + near(h_r, 0, 0) + near(h_r, 1, 0),
        _own(v_b.T).T + near(v_r, 0, 0) + near(v_r, 0, 1),
    )
    half = [length // 2 for length in shape]
    crops = [tuple(slice(s - 1, s - 1 + n) for s, n in zip(start, half, strict=True)) for start in starts]
    flat_r, flat_b = ((v >= h)[crop] for (h, v), crop in zip((sums_r, sums_b), crops, strict=True))
    return flat_r, flat_b


def _gradients(pair: Pair, shape: tuple[int, ...], start: list[int]) -> Pair:
    """Of each estimate along its own direction; 0 outside the frame, which begins at `start` in these planes."""
    rows, columns = (slice(s, s + length // 2) for s, length in zip(start, shape, strict=True))
    across, down = (np.zeros_like(plane) for plane in pair)
    h, v = pair
    across[rows, columns] = np.abs(h[rows, columns] - h[rows, columns.start + 1 : columns.stop + 1])
    down[rows, columns] = np.abs(v[rows, columns] - v[rows.start + 1 : rows.stop + 1, columns])
    return across, down


def _own(d: Plane) -> Plane:
    """The weighted sum over the horizontal gradients at sites of one colour."""
    two = d[:, 1:] + d[:, :-1]  # at a pixel, and two to its left
    total: Plane = two[:-2, :-1] + two[2:, :-1] + 3 * two[1:-1, :-1]
    return total


def mirrored(flat_r: Plane, flat_b: Plane, red: tuple[int, int]) -> Pair:
    """The choices at red and blue sites, continued past the frame's edges as the frame is."""
    row, column = red
    whole = np.zeros([2 * length for length in flat_r.shape], np.uint8)
    whole[row::2, column::2] = flat_r
    whole[1 - row :: 2, 1 - column :: 2] = flat_b
    whole = extended(whole, red, PAD["menon2007"] - 2, REFLECTED).view(np.bool_)
    return whole[0::2, 0::2], whole[1::2, 1::2]


def _filled(inside: list[Plane], d_r: Plane, d_b: Plane, flat_r: Plane, flat_b: Plane) -> RGB:
    """All channels, from the differences of red and blue to green at their own sites (`d_r`, `d_b`).

    A refined difference is the mean over three pixels in the chosen direction; of R − B, at red and blue sites, the
    value in the middle is the mean of its two neighbours.
    """
    half = np.float32(0.5)
    flat_r2, flat_b2 = _core(flat_r, 2), _core(flat_b, 2)
    r_1, r_2, b_1, b_2 = _at_green(d_r, d_b)
    refined_r = (_beside_red(flat_r2, r_1, r_2) + _core(d_r, 2)) * THIRD
    refined_b = (_beside_blue(flat_b2, b_1, b_2) + _core(d_b, 2)) * THIRD
    at_r = _core(_beside_red(flat_r2, r_1 - b_1, r_2 - b_2) * half, 2)
    at_b = _core(_beside_blue(flat_b2, r_1 - b_1, r_2 - b_2) * half, 2)
    r_1, r_2, b_1, b_2 = _at_green(refined_r, refined_b)
    at_r = (_beside_red(_core(flat_r, 4), r_1 - b_1, r_2 - b_2) + at_r) * THIRD
    at_b = (_beside_blue(_core(flat_b, 4), r_1 - b_1, r_2 - b_2) + at_b) * THIRD
    r, g1, g2, b = inside
    out = np.empty((3, 2, 2, *r.shape), np.float32)
    out[0, 0, 0], out[1, 0, 0], out[2, 0, 0] = r, r - _core(refined_r, 2), r - at_r
    out[0, 0, 1], out[1, 0, 1], out[2, 0, 1] = g1 + _core(r_1, 1), g1, g1 + _core(b_1, 1)
    out[0, 1, 0], out[1, 1, 0], out[2, 1, 0] = g2 + _core(r_2, 1), g2, g2 + _core(b_2, 1)
    out[0, 1, 1], out[1, 1, 1], out[2, 1, 1] = b + at_b, b - _core(refined_b, 2), b
    return out


def _core(plane: Plane, margin: int) -> Plane:
    return plane[margin:-margin, margin:-margin]


def _at_green(d_r: Plane, d_b: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    """Mean differences at G1 and G2: of the two red, then of the two blue neighbours."""
    half = np.float32(0.5)
    return (
        (near(d_r, 0, 0) + near(d_r, 0, 1)) * half,
        (near(d_r, 0, 0) + near(d_r, 1, 0)) * half,
        (near(d_b, -1, 0) + near(d_b, 0, 0)) * half,
        (near(d_b, 0, -1) + near(d_b, 0, 0)) * half,
    )


def _beside_red(flat: Plane, at_g1: Plane, at_g2: Plane) -> Plane:
    """The sum over a red site's two green neighbours in the chosen direction."""
    found: Plane = np.where(flat, near(at_g1, 0, -1) + near(at_g1, 0, 0), near(at_g2, -1, 0) + near(at_g2, 0, 0))
    return found


def _beside_blue(flat: Plane, at_g1: Plane, at_g2: Plane) -> Plane:
    return np.where(flat, near(at_g2, 0, 0) + near(at_g2, 0, 1), near(at_g1, 0, 0) + near(at_g1, 1, 0))
