"""Write plain TIFF and DNG files of one grey plane: what specimens of raw data are made of.

Uncompressed, little-endian, one strip, the same bytes everywhere. Format: TIFF 6.0 and DNG 1.7.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = tuple[int, int, Any]
"""Tag, type of its numbers (1 BYTE, 2 ASCII, 3 SHORT, 4 LONG), and these or the bytes of a text."""
HEADER = 8


def tiff(pixels: NDArray[np.uint16] | NDArray[np.float32]) -> bytes:
    """A TIFF of (height, width) uint16 or float32."""
    return (
        _header(HEADER + pixels.nbytes) + pixels.tobytes() + _directory(pixels, 1, (), HEADER + pixels.nbytes, HEADER)
    )


def dng(pixels: NDArray[np.uint16], model: str, black: int, white: int, preview: bool = False) -> bytes:
    """A DNG of an RGGB mosaic, (height, width) uint16; with `preview` it lies behind a small grey picture."""
    version: Field = (50706, 1, (1, 4, 0, 0))
    levels = ((50708, 2, model.encode() + b"\0"), (50714, 4, (black,)), (50717, 4, (white,)))
    cells = ((33421, 3, (2, 2)), (33422, 1, (0, 1, 1, 2)))  # two by two: R G / G B
    start = HEADER + pixels.nbytes
    body = pixels.tobytes() + _directory(pixels, 32803, (*cells, version, *levels), start, HEADER)
    if not preview:
        return _header(start) + body
    small = (pixels[::8, ::8] >> 8).astype(np.uint8)
    at = HEADER + len(body)
    picture = small.tobytes() + b"\0" * (small.nbytes % 2)
    first = at + len(picture)
    return _header(first) + body + picture + _directory(small, 1, ((330, 4, (start,)), version), first, at)


def _header(first: int) -> bytes:
    return struct.pack("<2sHI", b"II", 42, first)


def _directory(pixels: NDArray[Any], photometric: int, extra: tuple[Field, ...], start: int, at: int) -> bytes:
    """A directory that lies at offset `start`, of an image whose one strip lies at `at`."""
    height, width = pixels.shape
    kind, bits = (3 if pixels.dtype.kind == "f" else 1), 8 * pixels.itemsize
    entries = [
        *((254, 4, (0 if bits > 8 else 1,)), (256, 4, (width,)), (257, 4, (height,)), (258, 3, (bits,))),
        *((259, 3, (1,)), (262, 3, (photometric,)), (273, 4, (at,)), (277, 3, (1,)), (278, 4, (height,))),
        *((279, 4, (pixels.nbytes,)), (284, 3, (1,)), (339, 3, (kind,)), *extra),
    ]
    head, tail, beyond = struct.pack("<H", len(entries)), b"", start + 6 + 12 * len(entries)
    for tag, form, values in sorted(entries, key=lambda entry: entry[0]):
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{' BsHI'[form]}", *values)
        if len(data) > 4:
            data, tail = struct.pack("<I", beyond + len(tail)), tail + data + b"\0" * (len(data) % 2)
        head += struct.pack("<HHI", tag, form, len(values)) + data.ljust(4, b"\0")
    return head + struct.pack("<I", 0) + tail
