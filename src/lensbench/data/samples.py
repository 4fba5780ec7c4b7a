"""From a row of a plan to a sample: the published bytes, what their header says, and their sha256."""

from __future__ import annotations

import hashlib
import struct

import pyarrow as pa

from lensbench.data.source import Source
from lensbench.errors import ArchiveError
from lensbench.images.inflate import MAX_PIXELS

MODES = {1: "L", 3: "RGB"}
"""Components of a JPEG → what decoders call it."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame header; the three between are tables and extensions."""

ALONE = {0x00, 0x01, *range(0xD0, 0xDA)}
"""Markers without a segment, and the end of an image: none of them stands before a frame header."""


def header(data: bytes, where: str) -> tuple[int, int, str]:
    """(width, height, mode) of a JPEG from its frame header (ITU-T T.81, B.2.2); nothing is decoded.

    Raises ArchiveError naming `where` for what has no such header, is not greyscale or RGB, or is too large.
    """
    at = 2
    while data.startswith(b"\xff\xd8") and data[at : at + 1] == b"\xff" and at + 9 < len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in ALONE:  # it has no length: a decoder and this parser would read on at different places
            break
        elif marker in FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            if components not in MODES or not 0 < width * height <= MAX_PIXELS:
                raise ArchiveError(f"{where}: a {width}×{height} JPEG of {components} components, not 1 or 3")
            return width, height, MODES[components]
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ArchiveError(f"{where}: not a readable JPEG ({len(data)} bytes)")


def read_jpegs(source: Source, rows: pa.Table) -> dict[str, pa.Array]:
    """Columns `image` (struct of bytes and path), `width`, `height`, `mode`, `sha256` for rows of a plan."""
    images: list[dict[str, bytes | str]] = []
    facts: list[tuple[int, int, str]] = []
    hashes: list[str] = []
    for container, member in zip(rows["container"].to_pylist(), rows["member"].to_pylist(), strict=True):
        data = source.read(container, member)
        facts.append(header(data, source.where(container, member)))
        images.append({"bytes": data, "path": member})
        hashes.append(hashlib.sha256(data).hexdigest())
    widths, heights, modes = zip(*facts, strict=True)
    return {
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "width": pa.array(widths, pa.int32()),
        "height": pa.array(heights, pa.int32()),
        "mode": pa.array(modes, pa.string()),
        "sha256": pa.array(hashes, pa.string()),
    }
