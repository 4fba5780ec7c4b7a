"""TIFF: one plain page is checked here, and OpenCV (libtiff) unpacks it.

OpenCV reads more than it should: only the first of several pages, planar colours as noise, white-is-zero
inverted, transparency multiplied in, orientation applied; all without a word (measured on 5.0.0). So what is not
plain is refused, and OpenCV is shown a directory that holds nothing but the tags checked here.
Format: TIFF 6.0, with deflate and floating point as in Adobe's TIFF technical notes; DNG 1.7.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError
from lensbench.images.inflate import MAX_BYTES, check_size, inflate


class Tag(IntEnum):
    """The tags that are read; whatever else a page holds is passed over."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_PAGES = 330
    FORMAT = 339
    DNG_VERSION = 50706


Tags = dict[Tag, tuple[int, ...]]

BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
NUMBERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 13: ("I", 4)}  # field types BYTE, SHORT, LONG, IFD
DEFAULTS = {Tag.STRIP_ROWS: 0xFFFFFFFF, Tag.DNG_VERSION: 0, Tag.PHOTOMETRIC: -1}  # where it is not 1
LONG = (Tag.STRIP_OFFSETS, Tag.STRIP_BYTES, Tag.TILE_OFFSETS, Tag.TILE_BYTES)
DTYPES: dict[tuple[int, int], np.dtype[Any]] = {  # by bits and sample format
    (8, 1): np.dtype(np.uint8),
    (16, 1): np.dtype(np.uint16),
    (32, 3): np.dtype(np.float32),
}
PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
GREY, RGB, MOSAIC = 1, 2, 32803
MAX_PAGES = 16
MAX_SEGMENTS = 1 << 16
MAX_SAMPLES = 16
QUIET = threading.Lock()


def read_tiff(data: bytes, where: str) -> NDArray[Any]:
    """The stored samples of a TIFF of one page: uint8, uint16 or float32 H×W, or uint8 or uint16 RGB H×W×3.

    Uncompressed, LZW, deflate or PackBits; strips or tiles; either byte order. Raises ArchiveError for a file
    that is damaged or cut, and for whatever else a TIFF may hold.
    """
    order, pages = _pages(data, 2, where)
    if len(pages) != 1:
        raise ArchiveError(f"{where}: the TIFF holds {'several pages' if pages else 'no page'}; one image is one page")
    tags = pages[0]
    dtype, samples = _samples(tags, where)
    for at, size, unpacked in _segments(data, tags, dtype.itemsize * samples, where):
        if _one(tags, Tag.COMPRESSION) in (DEFLATE, OLD_DEFLATE):  # libtiff stops before the checksum
            inflate(memoryview(data)[at : at + size], unpacked, where)
        elif _one(tags, Tag.COMPRESSION) == PLAIN and size != unpacked:
            raise ArchiveError(f"{where}: a strip or tile of the TIFF has {size} bytes, not {unpacked}")
    image = _quietly(_rebuilt(data, order, tags))
    shape = (_one(tags, Tag.HEIGHT), _one(tags, Tag.WIDTH), samples)[: 1 + samples]
    if image is None or image.dtype != dtype or image.shape != shape:
        raise ArchiveError(f"{where}: the TIFF cannot be decoded")
    return np.ascontiguousarray(image[..., ::-1]) if samples == 3 else image


def check_dng(data: bytes, where: str) -> None:
    """Raise ArchiveError unless `data` is a DNG with a mosaic of a sane size that lies whole within the file."""
    order, pages = _pages(data, MAX_PAGES, where)
    if not pages or not _one(pages[0], Tag.DNG_VERSION):
        raise ArchiveError(f"{where}: not a DNG (a TIFF with a DNG version)")
    inner = (_tags(data, order, at, where)[0] for page in pages for at in page.get(Tag.SUB_PAGES, ()))
    mosaics = [page for page in (*pages, *islice(inner, MAX_PAGES)) if _one(page, Tag.PHOTOMETRIC) == MOSAIC]
    if not mosaics:
        raise ArchiveError(f"{where}: the DNG holds no mosaic")
    for page in mosaics:
        _segments(data, page, 2, where)


def _samples(tags: Tags, where: str) -> tuple[np.dtype[Any], int]:
    """(dtype, samples per pixel: 1 or 3) of a plain page."""
    bits, formats = {*tags.get(Tag.BITS, (1,))}, {*tags.get(Tag.FORMAT, (1,))}
    dtype = DTYPES.get((min(bits), min(formats))) if len(bits) == len(formats) == 1 else None
    if dtype is None:
        raise ArchiveError(f"{where}: a TIFF is read where its samples are uint8, uint16 or float32")
    compressions, predictors = (PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS), (1, 3 if dtype.kind == "f" else 2)
    if _one(tags, Tag.COMPRESSION) not in compressions or _one(tags, Tag.PREDICTOR) not in predictors:
        raise ArchiveError(f"{where}: this TIFF's compression is not read; save it uncompressed or with deflate")
    look = (_one(tags, Tag.SAMPLES), _one(tags, Tag.PHOTOMETRIC))
    plain = look == (1, GREY) or (look == (3, RGB) and dtype.kind == "u" and _one(tags, Tag.PLANAR) == 1)
    if not plain or _one(tags, Tag.FILL_ORDER) != 1:
        raise ArchiveError(f"{where}: a TIFF is read where it is grey (0 is black) or RGB without further channels")
    return dtype, look[0]


def _segments(data: bytes, tags: Tags, pixel: int, where: str) -> list[tuple[int, int, int]]:
    """(offset, bytes, bytes when unpacked) of each strip or tile, at `pixel` bytes per pixel; all lie in the file."""
    if Tag.WIDTH not in tags or Tag.HEIGHT not in tags:
        raise ArchiveError(f"{where}: the TIFF does not say its size")
    width, height = _one(tags, Tag.WIDTH), _one(tags, Tag.HEIGHT)
    check_size(width, height, pixel, where)
    if Tag.TILE_OFFSETS in tags:
        across, down = _one(tags, Tag.TILE_WIDTH), _one(tags, Tag.TILE_HEIGHT)
        check_size(across, down, pixel, where)
        at, size = tags[Tag.TILE_OFFSETS], tags.get(Tag.TILE_BYTES, ())
        number = -(-width // across) * -(-height // down)
        rows, left = [down] * len(at), across
    else:
        each = min(_one(tags, Tag.STRIP_ROWS), height) or height
        at, size = tags.get(Tag.STRIP_OFFSETS, ()), tags.get(Tag.STRIP_BYTES, ())
        rows, left = [min(each, height - y) for y in range(0, height, each)], width
        number = len(rows)
    if not len(at) == len(size) == number:
        raise ArchiveError(f"{where}: the TIFF lists {len(at)} strips or tiles, not {number}")
    if sum(rows) * left * pixel > 2 * MAX_BYTES:  # padded tiles, each of which may be a bomb
        raise ArchiveError(f"{where}: the TIFF's tiles hold far more than its pixels")
    if any(begin + length > len(data) for begin, length in zip(at, size, strict=True)):
        raise ArchiveError(f"{where}: the TIFF is cut short")
    return [(begin, length, r * left * pixel) for begin, length, r in zip(at, size, rows, strict=True)]


def _one(tags: Tags, tag: Tag) -> int:
    return tags[tag][0] if tag in tags else DEFAULTS.get(tag, 1)


def _pages(data: bytes, most: int, where: str) -> tuple[str, list[Tags]]:
    """(byte order, tags of each page in the main chain, up to `most`)."""
    order = BYTE_ORDERS.get(data[:4])
    if order is None:
        raise ArchiveError(f"{where}: not a TIFF of the classic kind")
    return order, list(islice(_chain(data, order, where), most))


def _chain(data: bytes, order: str, where: str) -> Iterator[Tags]:
    at = int.from_bytes(data[4:8], "little" if order == "<" else "big")
    while at:
        tags, at = _tags(data, order, at, where)
        yield tags


def _tags(data: bytes, order: str, at: int, where: str) -> tuple[Tags, int]:
    """(numbers by tag, offset of the next page) of the directory at `at`."""
    tags: Tags = {}
    try:
        (number,) = struct.unpack_from(order + "H", data, at)
        for entry in range(at + 2, at + 2 + 12 * number, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
            if tag not in KNOWN or kind not in NUMBERS or not count or tag in tags:
                continue
            code, size = NUMBERS[kind]
            begin = entry + 8 if count * size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
            if tag in LONG and count > MAX_SEGMENTS:
                raise ArchiveError(f"{where}: the TIFF lists {count} strips or tiles, more than {MAX_SEGMENTS}")
            taken = count if tag in LONG else min(count, MAX_SAMPLES)  # of the bits of 254 channels, say
            tags[Tag(tag)] = struct.unpack_from(f"{order}{taken}{code}", data, begin)
        (following,) = struct.unpack_from(order + "I", data, at + 2 + 12 * number)
    except struct.error as error:
        raise ArchiveError(f"{where}: the TIFF is cut short") from error
    return tags, following


KNOWN = frozenset(Tag)


def _rebuilt(data: bytes, order: str, tags: Tags) -> bytes:
    """The file with another directory behind it, of the tags that were checked: every offset stays what it was."""
    body, entries = bytearray(data) + b"\0" * (len(data) % 2), []
    for tag, values in sorted(tags.items()):
        if tag in (Tag.SUB_PAGES, Tag.DNG_VERSION):
            continue
        kind, code = (4, "I") if tag in LONG or max(values) > 0xFFFF else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            at = struct.pack(order + "I", len(body))
            body += packed + b"\0" * (len(packed) % 2)
            packed = at
        entries.append(struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0"))
    body[4:8] = struct.pack(order + "I", len(body))
    return bytes(body + struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0" * 4)


def _quietly(plain: bytes) -> NDArray[Any] | None:
    """What OpenCV makes of `plain`, or None; it logs damage of LZW and PackBits, which nothing before it can see."""
    log = cv2.utils.logging
    with QUIET:  # the level is the process's
        level = log.setLogLevel(log.LOG_LEVEL_SILENT)
        try:
            return cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
        finally:
            log.setLogLevel(level)
