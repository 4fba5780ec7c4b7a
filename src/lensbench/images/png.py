"""PNG: the file is checked whole here, and OpenCV unfilters the pixels.

OpenCV never sees the file itself, but one rebuilt from the chunks that hold pixels: no gamma, colour profile,
orientation or transparent colour can change a stored sample, and no damaged file makes libpng print.
Format: W3C PNG specification, third edition.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError
from lensbench.images.inflate import check_size, inflate

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DECODED = CHANNELS | {PALETTE: 3, GREY_ALPHA: 4}
"""Channels that are held at once while decoding: a palette's colours, and OpenCV's own four."""
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
ORDER = {RGB: [2, 1, 0], GREY_ALPHA: [0, 3], RGBA: [2, 1, 0, 3]}  # of OpenCV's channels, B G R A
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class Header:
    """IHDR, validated."""

    width: int
    height: int
    depth: int
    kind: int
    interlaced: bool

    def passes(self) -> list[tuple[int, int]]:
        """(rows, bytes in a row with its filter byte) of each pass that holds pixels, in the order of the stream."""
        steps = ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in steps]
        bits = CHANNELS[self.kind] * self.depth
        return [(rows, 1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0]


def read_png(data: bytes, where: str) -> NDArray[Any]:
    """The stored samples of a PNG: uint8 or uint16, H×W (grey) or H×W×C (grey + alpha, RGB, RGBA).

    Grey of 1, 2 or 4 bits keeps its stored values (0…1, 0…3, 0…15); a plain palette gives its RGB colours.
    Raises ArchiveError for a file that is damaged or cut, and for a palette with transparency.
    """
    header, palette, stream = _parse(data, where)
    _check_filters(header, inflate(stream, sum(rows * size for rows, size in header.passes()), where), where)
    kind = GREY if header.kind == PALETTE else header.kind  # a palette's indices are read as if they were grey
    ihdr = struct.pack(">IIBBBBB", header.width, header.height, header.depth, kind, 0, 0, header.interlaced)
    plain = SIGNATURE + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")
    image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ArchiveError(f"{where}: the PNG cannot be decoded")
    if header.depth < 8:  # OpenCV spreads few bits over 0…255
        image = image // np.uint8(255 // ((1 << header.depth) - 1))
    if header.kind == PALETTE:
        if image.max() >= len(palette):
            raise ArchiveError(f"{where}: a pixel's index is not in the palette of {len(palette)} colours")
        colours: NDArray[Any] = palette[image]
        return colours
    return np.ascontiguousarray(image[..., ORDER[kind]]) if kind in ORDER else image


def _parse(data: bytes, where: str) -> tuple[Header, NDArray[Any], bytes]:
    """(header, palette n×3, compressed pixels) of a file whose every chunk is whole."""
    header: Header | None = None
    palette, clear, pixels, last, at = b"", True, list[bytes](), b"", len(SIGNATURE)
    while last != b"IEND":
        size, last_but_one = int.from_bytes(data[at : at + 4], "big"), last
        last, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            raise ArchiveError(f"{where}: the PNG is cut short")
        body = data[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(last)) != int.from_bytes(data[end - 4 : end], "big"):
            raise ArchiveError(f"{where}: the PNG is damaged (checksum of a chunk)")
        if (header is None) != (last == b"IHDR"):
            raise ArchiveError(f"{where}: the PNG does not begin with one header")
        if last == b"IHDR":
            header = _header(body, where)
        elif last == b"PLTE":
            palette = body
        elif last == b"tRNS":
            clear = False
        elif last == b"acTL":  # its first frame is all that would be read
            raise ArchiveError(f"{where}: an animated PNG holds several images; one image is one file")
        elif last == b"IDAT" and (not pixels or last_but_one == b"IDAT"):
            pixels.append(body)
        elif last != b"IEND" and not last[0] & 0x20:  # an upper-case first letter: cannot be read without it
            raise ArchiveError(f"{where}: the PNG has a chunk {last!r} that is not understood there")
        at = end
    assert header is not None  # the loop raised where the first chunk was another
    if header.kind == PALETTE and (len(palette) % 3 or not clear):
        raise ArchiveError(f"{where}: a palette PNG is read only where it is plain: save it as RGB or grey")
    colours = np.frombuffer(palette if header.kind == PALETTE else b"", np.uint8).reshape(-1, 3)
    return header, colours, b"".join(pixels)


def _header(body: bytes, where: str) -> Header:
    if len(body) != 13:
        raise ArchiveError(f"{where}: the PNG is damaged (header of {len(body)} bytes)")
    width, height, depth, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if depth not in DEPTHS.get(kind, ()) or compression or filtering or interlace > 1:
        raise ArchiveError(f"{where}: the PNG's header is not valid (colour type {kind}, {depth} bits)")
    check_size(width, height, DECODED[kind] * (1 + depth // 16), where)
    return Header(width, height, depth, kind, bool(interlace))


def _check_filters(header: Header, raw: bytes, where: str) -> None:
    at = 0
    for rows, size in header.passes():
        if max(raw[at : at + rows * size : size]) > 4:
            raise ArchiveError(f"{where}: the PNG is damaged (unknown filter of a row)")
        at += rows * size


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
