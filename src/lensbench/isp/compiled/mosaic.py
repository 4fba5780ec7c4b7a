"""`levels`, `demosaic` and `colour`, compiled: from a raw frame to luma and colour differences.

Planes are 4×H/2×W/2: R, G1, G2 and B of the filter's cell; a continued frame's begin with a red site.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.isp.compiled.jit import compiled
from lensbench.isp.demosaic import THIRD

Array = NDArray[Any]
HALF, QUARTER = np.float32(0.5), np.float32(0.25)
EIGHTH, SIXTEENTH = np.float32(1 / 8), np.float32(1 / 16)


@compiled
def looked_up(raw: Array, table: Array) -> Array:
    """The entry of each pixel in the table of its site."""
    height, width = raw.shape
    out = np.empty((height, width), np.int32)
    for i in range(height):
        even, odd = table[2 * (i % 2)], table[2 * (i % 2) + 1]
        here, to = raw[i], out[i]
        for k in range(width // 2):
            to[2 * k], to[2 * k + 1] = even[here[2 * k]], odd[here[2 * k + 1]]
    return out


@compiled
def split(levels: Array) -> Array:
    """H×W as 4×H/2×W/2."""
    height, width = levels.shape
    out = np.empty((4, height // 2, width // 2), levels.dtype)
    for a in range(height // 2):
        even, odd = levels[2 * a], levels[2 * a + 1]
        r, g1, g2, b = out[0, a], out[1, a], out[2, a], out[3, a]
        for k in range(width // 2):
            r[k], g1[k], g2[k], b[k] = even[2 * k], even[2 * k + 1], odd[2 * k], odd[2 * k + 1]
    return out


@compiled
def matched(planes: Array, matrix: Array, top: int, left: int, height: int, width: int) -> Array:
    """4×H×W of 3×4 planes by channel and site: the affine map, and the sites put together.

    The frame begins at `top`, `left` of what the planes hold.
    """
    out = np.empty((4, height, width), np.float32)
    red, green, blue = np.empty((3, 2 * planes.shape[3]), np.float32)
    for i in range(height):
        row, a = (i + top) % 2, (i + top) // 2
        for channel, line in ((0, red), (1, green), (2, blue)):
            even, odd = planes[channel, 2 * row, a], planes[channel, 2 * row + 1, a]
            for k in range(len(even)):
                line[2 * k], line[2 * k + 1] = even[k], odd[k]
        r, g, b = red[left:], green[left:], blue[left:]
        for number in range(4):
            w0, w1, w2, w3 = matrix[number, 0], matrix[number, 1], matrix[number, 2], matrix[number, 3]
            to = out[number, i]
            for k in range(width):
                to[k] = r[k] * w0 + g[k] * w1 + b[k] * w2 + w3
    return out


@compiled
def as_float(level: int) -> Any:
    """A level as float32: cut to the 32 bits that it fits in, of which eight at a time can be converted."""
    return np.float32(np.int32(level))


@compiled
def bilinear(planes: Array) -> Array:
    """3×4 planes of a continued mosaic's four."""
    height, width = planes.shape[1] - 2, planes.shape[2] - 2
    out = np.empty((3, 4, height, width), np.float32)
    for a in range(height):
        r, g1, g2, b = planes[0, a + 1], planes[1, a + 1], planes[2, a + 1], planes[3, a + 1]
        r_below, g1_below, g2_above, b_above = planes[0, a + 2], planes[1, a + 2], planes[2, a], planes[3, a]
        for k in range(width):
            out[0, 0, a, k] = r[k + 1]
            out[1, 1, a, k] = g1[k + 1]
            out[1, 2, a, k] = g2[k + 1]
            out[2, 3, a, k] = b[k + 1]
        for k in range(width):
            out[1, 0, a, k] = as_float(g1[k] + g1[k + 1] + g2_above[k + 1] + g2[k + 1]) * QUARTER
            out[1, 3, a, k] = as_float(g2[k + 1] + g2[k + 2] + g1[k + 1] + g1_below[k + 1]) * QUARTER
        for k in range(width):
            out[0, 3, a, k] = as_float(r[k + 1] + r[k + 2] + r_below[k + 1] + r_below[k + 2]) * QUARTER
            out[2, 0, a, k] = as_float(b[k + 1] + b[k] + b_above[k + 1] + b_above[k]) * QUARTER
        for k in range(width):
            out[0, 1, a, k] = as_float(r[k + 1] + r[k + 2]) * HALF
            out[0, 2, a, k] = as_float(r[k + 1] + r_below[k + 1]) * HALF
            out[2, 2, a, k] = as_float(b[k + 1] + b[k]) * HALF
            out[2, 1, a, k] = as_float(b[k + 1] + b_above[k + 1]) * HALF
    return out


@compiled
def repeat_edges(planes: Array, levels: Array, top: int, left: int) -> None:
    """Overwrite the outermost pixels of bilinear `planes`, where the frame begins at `top`, `left`.

    As `demosaic.edge_lines` has them: each channel a plane that is 0 at other sites, its edge repeated.
    """
    height, width = levels.shape
    for i in range(height):
        step = 1 if i in (0, height - 1) else width - 1
        for k in range(0, width, step):
            sums = np.zeros(3, np.int32)
            for a in range(i - 1, i + 2):
                for b in range(k - 1, k + 2):
                    row, column = min(max(a, 0), height - 1), min(max(b, 0), width - 1)
                    channel = (row + top) % 2 + (column + left) % 2  # red, green or blue
                    weight = (2 - abs(a - i)) * (2 - abs(b - k))  # 4, 2, 1 from the middle outwards; of green 4, 1, 0
                    sums[channel] += levels[row, column] * (weight * weight // 4 if channel == 1 else weight)
            row, column = i + top, k + left
            for channel in range(3):
                site = 2 * (row % 2) + column % 2
                planes[channel, site, row // 2, column // 2] = as_float(sums[channel]) * QUARTER


@compiled
def malvar(planes: Array) -> Array:
    """3×4 planes of a continued mosaic's four."""
    height, width = planes.shape[1] - 2, planes.shape[2] - 2
    out = np.empty((3, 4, height, width), np.float32)
    for a in range(height):
        r_a, g1_a, g2_a, b_a = planes[0, a], planes[1, a], planes[2, a], planes[3, a]
        r, g1, g2, b = planes[0, a + 1], planes[1, a + 1], planes[2, a + 1], planes[3, a + 1]
        r_b, g1_b, g2_b, b_b = planes[0, a + 2], planes[1, a + 2], planes[2, a + 2], planes[3, a + 2]
        for k in range(width):
            out[0, 0, a, k] = r[k + 1]
            out[1, 1, a, k] = g1[k + 1]
            out[1, 2, a, k] = g2[k + 1]
            out[2, 3, a, k] = b[k + 1]
        for k in range(width):
            ring = r[k] + r[k + 2] + r_a[k + 1] + r_b[k + 1]
            green = g1[k] + g1[k + 1] + g2_a[k + 1] + g2[k + 1]
            blue = b[k + 1] + b[k] + b_a[k + 1] + b_a[k]
            out[1, 0, a, k] = as_float(4 * r[k + 1] + 2 * green - ring) * EIGHTH
            out[2, 0, a, k] = as_float(12 * r[k + 1] + 4 * blue - 3 * ring) * SIXTEENTH
        for k in range(width):
            ring = b[k] + b[k + 2] + b_a[k + 1] + b_b[k + 1]
            green = g2[k + 1] + g2[k + 2] + g1[k + 1] + g1_b[k + 1]
            red = r[k + 1] + r[k + 2] + r_b[k + 1] + r_b[k + 2]
            out[1, 3, a, k] = as_float(4 * b[k + 1] + 2 * green - ring) * EIGHTH
            out[0, 3, a, k] = as_float(12 * b[k + 1] + 4 * red - 3 * ring) * SIXTEENTH
        for k in range(width):
            diagonal = g2[k + 1] + g2[k + 2] + g2_a[k + 1] + g2_a[k + 2]
            row, column = g1[k] + g1[k + 2], g1_a[k + 1] + g1_b[k + 1]
            red, blue = r[k + 1] + r[k + 2], b[k + 1] + b_a[k + 1]
            out[0, 1, a, k] = as_float(10 * g1[k + 1] + 8 * red - 2 * (row + diagonal) + column) * SIXTEENTH
            out[2, 1, a, k] = as_float(10 * g1[k + 1] + 8 * blue - 2 * (column + diagonal) + row) * SIXTEENTH
        for k in range(width):
            diagonal = g1[k + 1] + g1[k] + g1_b[k + 1] + g1_b[k]
            row, column = g2[k] + g2[k + 2], g2_a[k + 1] + g2_b[k + 1]
            red, blue = r[k + 1] + r_b[k + 1], b[k + 1] + b[k]
            out[0, 2, a, k] = as_float(10 * g2[k + 1] + 8 * red - 2 * (column + diagonal) + row) * SIXTEENTH
            out[2, 2, a, k] = as_float(10 * g2[k + 1] + 8 * blue - 2 * (row + diagonal) + column) * SIXTEENTH
    return out


@compiled
def differences(planes: Array) -> Array:
    """4×…: four times the difference to green at red sites along the row and the column, then at blue sites."""
    height, width = planes.shape[1] - 2, planes.shape[2] - 2
    out = np.empty((4, height, width), np.int32)
    for a in range(height):
        r_a, g1, g2_a = planes[0, a], planes[1, a + 1], planes[2, a]
        r, g2, b = planes[0, a + 1], planes[2, a + 1], planes[3, a + 1]
        r_b, g1_b, b_a, b_b = planes[0, a + 2], planes[1, a + 2], planes[3, a], planes[3, a + 2]
        h_r, v_r, h_b, v_b = out[0, a], out[1, a], out[2, a], out[3, a]
        for k in range(width):
            centre = 2 * r[k + 1]
            h_r[k] = centre - 2 * (g1[k] + g1[k + 1]) + r[k] + r[k + 2]
            v_r[k] = centre - 2 * (g2_a[k + 1] + g2[k + 1]) + r_a[k + 1] + r_b[k + 1]
        for k in range(width):
            centre = 2 * b[k + 1]
            h_b[k] = centre - 2 * (g2[k + 1] + g2[k + 2]) + b[k] + b[k + 2]
            v_b[k] = centre - 2 * (g1[k + 1] + g1_b[k + 1]) + b_a[k + 1] + b_b[k + 1]
    return out


@compiled
def gradients(found: Array, top: int, left: int, rows: int, columns: int) -> Array:
    """Of each estimate along its own direction, 0 outside the frame; red sites begin at `top`, `left`, blue at 4, 4."""
    out = np.zeros_like(found)
    for plane in range(4):
        first, begin = (top, left) if plane < 2 else (4, 4)
        for a in range(first, first + rows):
            here, to = found[plane, a], out[plane, a]
            other = found[plane, a + 1, begin:] if plane % 2 else found[plane, a, begin + 1 :]
            source, target = here[begin:], to[begin:]
            for k in range(columns):
                target[k] = abs(np.int32(source[k] - other[k]))
    return out


@compiled
def decided(grads: Array, top: int, left: int, rows: int, columns: int) -> Array:
    """2×rows×columns: where the horizontal estimate is taken, at red and at blue sites."""
    out = np.empty((2, rows, columns), np.bool_)
    for colour in range(2):
        first, begin = (top, left) if colour == 0 else (4, 4)
        h, v = grads[2 * colour], grads[2 * colour + 1]
        h_o, v_o = grads[2 - 2 * colour], grads[3 - 2 * colour]
        up = 1 - colour  # the other colour's rows beside a row of this one: one above and this, or this and one below
        for n in range(rows):
            a = first + n
            left_of = begin - 1
            h_a, h_0, h_b = h[a - 1, left_of:], h[a, left_of:], h[a + 1, left_of:]
            v_a, v_0 = v[a - 1, left_of:], v[a, left_of:]
            o_a, o_b = h_o[a - up, begin - up :], h_o[a + 1 - up, begin - up :]
            w = v_o[a - up, begin - up :]
            flat = out[colour, n]
            for k in range(columns):
                along = h_a[k] + h_a[k + 1] + h_b[k] + h_b[k + 1] + 3 * (h_0[k] + h_0[k + 1]) + o_a[k] + o_b[k]
                down = v_0[k] + v_0[k + 2] + v_a[k] + v_a[k + 2] + 3 * (v_0[k + 1] + v_a[k + 1]) + w[k] + w[k + 1]
                flat[k] = np.int32(down) >= np.int32(along)
    return out


@compiled
def chosen(found: Array, flat_r: Array, flat_b: Array) -> Array:
    """2×…: the difference to green at red and at blue sites."""
    out = np.empty((2, *flat_r.shape), np.float32)
    for a in range(flat_r.shape[0]):
        for colour in range(2):
            flat = flat_r[a] if colour == 0 else flat_b[a]
            h, v, to = found[2 * colour, a], found[2 * colour + 1, a], out[colour, a]
            for k in range(len(flat)):
                to[k] = np.float32(h[k] if flat[k] else v[k]) * QUARTER
    return out


@compiled
def at_green(d: Array) -> Array:
    """4×…: mean differences of red at G1 and G2, then of blue."""
    height, width = d.shape[1] - 2, d.shape[2] - 2
    out = np.empty((4, height, width), np.float32)
    for a in range(height):
        r, r_b, b, b_a = d[0, a + 1], d[0, a + 2], d[1, a + 1], d[1, a]
        r_1, r_2, b_1, b_2 = out[0, a], out[1, a], out[2, a], out[3, a]
        for k in range(width):
            r_1[k] = (r[k + 1] + r[k + 2]) * HALF
            r_2[k] = (r[k + 1] + r_b[k + 1]) * HALF
            b_1[k] = (b_a[k + 1] + b[k + 1]) * HALF
            b_2[k] = (b[k] + b[k + 1]) * HALF
    return out


@compiled
def refined(d: Array, c: Array, flat_r: Array, flat_b: Array) -> Array:
    """4×…: refined differences to green at red and blue sites, then unrefined R − B at red and blue sites."""
    height, width = c.shape[1] - 2, c.shape[2] - 2
    out = np.empty((4, height, width), np.float32)
    for a in range(height):
        r_1, r_2, r_2a, r_1b = c[0, a + 1], c[1, a + 1], c[1, a], c[0, a + 2]
        b_1, b_2, b_2a, b_1b = c[2, a + 1], c[3, a + 1], c[3, a], c[2, a + 2]
        d_r, d_b, flat, flat_ = d[0, a + 2], d[1, a + 2], flat_r[a + 2], flat_b[a + 2]
        o_r, o_b, m_r, m_b = out[0, a], out[1, a], out[2, a], out[3, a]
        for k in range(width):
            two = r_1[k] + r_1[k + 1] if flat[k + 2] else r_2a[k + 1] + r_2[k + 1]
            o_r[k] = (two + d_r[k + 2]) * THIRD
            row = (r_1[k] - b_1[k]) + (r_1[k + 1] - b_1[k + 1])
            column = (r_2a[k + 1] - b_2a[k + 1]) + (r_2[k + 1] - b_2[k + 1])
            m_r[k] = (row if flat[k + 2] else column) * HALF
        for k in range(width):
            two = b_2[k + 1] + b_2[k + 2] if flat_[k + 2] else b_1[k + 1] + b_1b[k + 1]
            o_b[k] = (two + d_b[k + 2]) * THIRD
            row = (r_2[k + 1] - b_2[k + 1]) + (r_2[k + 2] - b_2[k + 2])
            column = (r_1[k + 1] - b_1[k + 1]) + (r_1b[k + 1] - b_1b[k + 1])
            m_b[k] = (row if flat_[k + 2] else column) * HALF
    return out


@compiled
def filled(planes: Array, d: Array, c: Array, flat_r: Array, flat_b: Array) -> Array:
    """3×4 planes: `d` and `c` are refined."""
    height, width = c.shape[1] - 2, c.shape[2] - 2
    out = np.empty((3, 4, height, width), np.float32)
    for a in range(height):
        r, g1, g2, b = planes[0, a + 5], planes[1, a + 5], planes[2, a + 5], planes[3, a + 5]
        r_1, r_2, r_2a, r_1b = c[0, a + 1], c[1, a + 1], c[1, a], c[0, a + 2]
        b_1, b_2, b_2a, b_1b = c[2, a + 1], c[3, a + 1], c[3, a], c[2, a + 2]
        d_r, d_b, m_r, m_b = d[0, a + 2], d[1, a + 2], d[2, a + 2], d[3, a + 2]
        flat, flat_ = flat_r[a + 4], flat_b[a + 4]
        for k in range(width):
            row = (r_1[k] - b_1[k]) + (r_1[k + 1] - b_1[k + 1])
            column = (r_2a[k + 1] - b_2a[k + 1]) + (r_2[k + 1] - b_2[k + 1])
            value = np.float32(r[k + 5])
            out[0, 0, a, k] = value
            out[1, 0, a, k] = value - d_r[k + 2]
            out[2, 0, a, k] = value - ((row if flat[k + 4] else column) + m_r[k + 2]) * THIRD
        for k in range(width):
            value = np.float32(g1[k + 5])
            out[0, 1, a, k] = value + r_1[k + 1]
            out[1, 1, a, k] = value
            out[2, 1, a, k] = value + b_1[k + 1]
        for k in range(width):
            value = np.float32(g2[k + 5])
            out[0, 2, a, k] = value + r_2[k + 1]
            out[1, 2, a, k] = value
            out[2, 2, a, k] = value + b_2[k + 1]
        for k in range(width):
            row = (r_2[k + 1] - b_2[k + 1]) + (r_2[k + 2] - b_2[k + 2])
            column = (r_1[k + 1] - b_1[k + 1]) + (r_1b[k + 1] - b_1b[k + 1])
            value = np.float32(b[k + 5])
            out[0, 3, a, k] = value + ((row if flat_[k + 4] else column) + m_b[k + 2]) * THIRD
            out[1, 3, a, k] = value - d_b[k + 2]
            out[2, 3, a, k] = value
    return out
