"""Cellomics C01: four bytes, then a zlib stream of a little-endian device-independent bitmap.

Layout (read in Bio-Formats' `CellomicsReader.java`): big-endian int32 16; inflated: width int32 at 4, height
int32 at 8, planes int16 at 12, bits int16 at 14, pixels from 52 on, rows from the top. No published C01 was at
hand when this was written, so whatever goes beyond that layout is refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError
from lensbench.images.inflate import check_size, inflate

MAGIC = (16).to_bytes(4, "big")
HEADER = 52
DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 16: np.dtype("<u2")}


def read_c01(data: bytes, where: str) -> NDArray[Any]:
    """The pixels of a C01 file: uint8 or uint16, H×W; raises ArchiveError for anything else than one grey plane."""
    if data[:4] != MAGIC:
        raise ArchiveError(f"{where}: not a C01 file (it must begin with {MAGIC.hex()})")
    stream = memoryview(data)[4:]
    try:
        header = zlib.decompressobj().decompress(stream, HEADER)
    except zlib.error as error:
        raise ArchiveError(f"{where}: the C01 file is damaged ({error})") from error
    if len(header) < HEADER:
        raise ArchiveError(f"{where}: the C01 file is cut short")
    width, height, planes, bits = struct.unpack_from("<iihh", header, 4)
    if planes != 1 or bits not in DTYPES:
        raise ArchiveError(f"{where}: a C01 file of {planes} planes of {bits} bits is not understood (1 of 8 or 16)")
    dtype = DTYPES[bits]
    check_size(width, height, dtype.itemsize, where)
    bitmap = inflate(stream, HEADER + width * height * dtype.itemsize, where)
    return np.frombuffer(bitmap, dtype, offset=HEADER).reshape(height, width).astype(dtype.newbyteorder("="))
