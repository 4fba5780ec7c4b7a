"""Inflate a zlib stream whose size is known beforehand: neither a bomb nor a cut stream gets through."""

from __future__ import annotations

import zlib

from lensbench.errors import ArchiveError

MAX_BYTES = 1 << 28
"""Most bytes of decoded pixels in one image, all channels (256 MiB; a full drone frame has 40 MB)."""
MAX_PIXELS = MAX_BYTES >> 2
"""Most pixels where a decoder is asked that gives no count of bytes first: four channels of 8 bits fit."""
MAX_SIDE = 1 << 20
"""Most pixels on one side: OpenCV's own limit."""


def check_size(width: int, height: int, bytes_per_pixel: int, where: str) -> None:
    """Refuse a size that a header claims before anything is allocated for it; raises ArchiveError."""
    if width < 1 or height < 1:
        raise ArchiveError(f"{where}: the header gives a size of {width}×{height} pixels")
    if max(width, height) > MAX_SIDE or width * height * bytes_per_pixel > MAX_BYTES:
        raise ArchiveError(f"{where}: {width}×{height} pixels is more than one image may have ({MAX_BYTES >> 20} MiB)")


def inflate(stream: bytes | memoryview, size: int, where: str) -> bytes:
    """The `size` bytes that a whole zlib `stream` holds, checksum verified.

    Raises ArchiveError for a damaged or cut stream, for one that holds more or less, and for bytes after it.
    """
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(stream, size + 1)
    except zlib.error as error:
        raise ArchiveError(f"{where}: the compressed pixels are damaged ({error})") from error
    if len(found) > size:
        raise ArchiveError(f"{where}: more pixels are compressed in it than its header says")
    if not inflater.eof or len(found) < size:
        raise ArchiveError(f"{where}: the compressed pixels end too early")
    if inflater.unused_data:
        raise ArchiveError(f"{where}: bytes follow the compressed pixels")
    return found
