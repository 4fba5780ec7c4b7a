"""Label maps in TIFF: also 32 bits, and signed integers, which `lensbench.images` has no use for.

The file is handed to `read_tiff` with another first directory that calls its samples float32 (of 32 bits) or
unsigned: every check there holds, no OpenCV has to know integers of 32 bits, and the bits come back as they are.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError
from lensbench.images.tiff import BYTE_ORDERS, MAX_SEGMENTS, NUMBERS, Tag, read_tiff

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
HORIZONTAL = 2
DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (8, SIGNED): np.dtype(np.int8),
    (16, SIGNED): np.dtype(np.int16),
    (32, SIGNED): np.dtype(np.int32),
    (32, UNSIGNED): np.dtype(np.uint32),
}
Entries = dict[int, bytes]
"""The twelve bytes of each entry of a directory, by tag."""


def read_label_tiff(data: bytes, where: str) -> NDArray[Any]:
    """What `read_tiff` gives, and integers H×W of 8, 16 and 32 bits, signed or not, as they are stored.

    Raises ArchiveError as `read_tiff` does.
    """
    order = BYTE_ORDERS.get(data[:4], "<")
    try:
        entries, following = _directory(data, order)
        bits, form, samples, predictor = (
            _one(data, order, entries, tag) for tag in (Tag.BITS, Tag.FORMAT, Tag.SAMPLES, Tag.PREDICTOR)
        )
        dtype = DTYPES.get((bits, form))
        if dtype is None or samples != 1:
            return read_tiff(data, where)
        _check_ends(data, order, entries)
    except struct.error as error:
        raise ArchiveError(f"{where}: the TIFF is cut short") from error
    entries[Tag.FORMAT] = struct.pack(order + "HHIHH", Tag.FORMAT, 3, 1, FLOAT if bits == 32 else UNSIGNED, 0)
    differences = bits == 32 and predictor == HORIZONTAL
    if differences:  # float32 has none of these: they are summed here
        entries[Tag.PREDICTOR] = struct.pack(order + "HHIHH", Tag.PREDICTOR, 3, 1, 1, 0)
    pixels = read_tiff(_rebuilt(data, order, entries, following), where).view(dtype)
    if differences:
        width = pixels.shape[1]
        step = _one(data, order, entries, Tag.TILE_WIDTH) if Tag.TILE_WIDTH in entries else width
        for x in range(0, width, step):
            np.cumsum(pixels[:, x : x + step], axis=1, dtype=dtype, out=pixels[:, x : x + step])
    return pixels


def _directory(data: bytes, order: str) -> tuple[Entries, bytes]:
    """(entries of the first directory, the four bytes behind it); of a tag that comes twice the first."""
    (at,) = struct.unpack_from(order + "I", data, 4)
    (number,) = struct.unpack_from(order + "H", data, at)
    end = at + 2 + 12 * number
    (following,) = struct.unpack_from("4s", data, end)
    entries: Entries = {}
    for begin in range(at + 2, end, 12):
        entries.setdefault(struct.unpack_from(order + "H", data, begin)[0], data[begin : begin + 12])
    return entries, following


def _numbers(data: bytes, order: str, entry: bytes) -> tuple[int, ...]:
    """The numbers an entry stands for, none where they are of no kind that is read."""
    _, kind, count = struct.unpack_from(order + "HHI", entry)
    if kind not in NUMBERS or count > MAX_SEGMENTS:
        return ()
    code, size = NUMBERS[kind]
    form = f"{order}{count}{code}"
    if count * size <= 4:
        return struct.unpack_from(form, entry, 8)
    return struct.unpack_from(form, data, struct.unpack_from(order + "I", entry, 8)[0])


def _one(data: bytes, order: str, entries: Entries, tag: int) -> int:
    """The number of an entry; 1, the default of all that are asked for, where it is not there or has several."""
    numbers = _numbers(data, order, entries[tag]) if tag in entries else ()
    return numbers[0] if len(numbers) == 1 else 1


def _check_ends(data: bytes, order: str, entries: Entries) -> None:
    """Raise struct.error where a strip or tile goes past the file: `read_tiff` would find the new directory there."""
    for at, size in ((Tag.STRIP_OFFSETS, Tag.STRIP_BYTES), (Tag.TILE_OFFSETS, Tag.TILE_BYTES)):
        if at in entries and size in entries:
            pairs = zip(_numbers(data, order, entries[at]), _numbers(data, order, entries[size]), strict=False)
            if any(begin + length > len(data) for begin, length in pairs):
                raise struct.error


def _rebuilt(data: bytes, order: str, entries: Entries, following: bytes) -> bytes:
    """The file with these entries in a directory behind it."""
    body = bytearray(data) + b"\0" * (len(data) % 2)
    body[4:8] = struct.pack(order + "I", len(body))
    table = b"".join(entry for _, entry in sorted(entries.items()))
    return bytes(body + struct.pack(order + "H", len(entries)) + table + following)
