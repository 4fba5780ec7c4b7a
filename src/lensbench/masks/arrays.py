"""One array of a stranger's as an answer: PNG, TIFF or NumPy, refused unless its every pixel is one number."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError, ModelError
from lensbench.images.decode import decode
from lensbench.images.png import PALETTE, SIGNATURE
from lensbench.images.tiff import BYTE_ORDERS
from lensbench.masks.labeltiff import read_label_tiff
from lensbench.masks.values import ClassMap, LabelMap

MapKind = Literal["labelmap", "classmap"]
NPY = b"\x93NUMPY"
HEADER = re.compile(
    rb"\{\s*'descr':\s*'([^']*)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([0-9, ]*)\),?\s*\}\s*"
)
NUMBER = re.compile(r"[<>|=]?([?]|b1|[iu][1248]|f[248])")
MAX_HEADER = 256
"""Longest .npy header of plain numbers; NumPy pads them to 118 bytes."""
LARGEST = {"labelmap": 0xFFFF_FFFF, "classmap": 0xFF}


def read_map(data: bytes, where: str, kind: MapKind, shape: tuple[int, int], classes: int = 256) -> LabelMap | ClassMap:
    """The answer in the bytes of a PNG, TIFF or .npy for an image of `shape` (height, width).

    `kind` is what the benchmark asks for; a class map's values lie below `classes`. Raises ModelError naming
    `where`: for what cannot be read, colours, floats, negative ids, bools given as a label map, another shape.
    """
    try:
        pixels = _decode(data, where)
    except ArchiveError as error:
        raise ModelError(str(error)) from error
    _refuse(pixels, where, kind, shape)
    low, high = int(pixels.min()), int(pixels.max())
    most = min(LARGEST[kind], classes - 1) if kind == "classmap" else LARGEST[kind]
    if low < 0:
        raise ModelError(f"{where}: holds the negative id {low}; 0 is background, objects count from 1 on")
    if high > most:
        raise ModelError(f"{where}: holds {high}, a {kind} holds 0 to {most}")
    return LabelMap(pixels.astype(np.uint32)) if kind == "labelmap" else ClassMap(pixels.astype(np.uint8))


def _decode(data: bytes, where: str) -> NDArray[Any]:
    if data.startswith(NPY):
        return _npy(data, where)
    if data.startswith(SIGNATURE) and data[25:26] == bytes([PALETTE]):  # the header's colour type
        raise ModelError(f"{where}: is a palette image, whose colours name no object; save the numbers as grey PNG")
    if data[:4] in BYTE_ORDERS:
        return read_label_tiff(data, where)
    return decode(data, where)


def _refuse(pixels: NDArray[Any], where: str, kind: MapKind, shape: tuple[int, int]) -> None:
    """Raise for an array that is no map of numbers, or of another image's shape."""
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        raise ModelError(
            f"{where}: is in colours (RGB), a {kind} has one number a pixel; pack each colour into one "
            "(65536 R + 256 G + B) and save it as 32-bit TIFF or npz"
        )
    if pixels.ndim != 2:
        raise ModelError(f"{where}: has the shape {pixels.shape}, expected H×W {shape}")
    if pixels.dtype.kind == "f":
        raise ModelError(f"{where}: holds {pixels.dtype} values; a {kind} is integers, not scores or probabilities")
    if pixels.dtype.kind == "b" and kind == "labelmap":
        raise ModelError(f"{where}: is true and false: which pixels, not which object; number the objects")
    if pixels.dtype.kind not in "iub":
        raise ModelError(f"{where}: holds {pixels.dtype} values, expected integers")
    if pixels.shape != shape:
        turned = "; it looks transposed" if pixels.shape == shape[::-1] else ""
        raise ModelError(f"{where}: is {_size(pixels.shape)}, the image is {_size(shape)} (height×width){turned}")


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _npy(data: bytes, where: str) -> NDArray[Any]:
    """The array in a .npy file, whose header is matched, not evaluated: nothing is unpickled or allocated for it."""
    wide = data[6:7] != b"\1"  # format 1 has two bytes for the header's length, 2 and 3 have four
    begin = 12 if wide else 10
    end = begin + int.from_bytes(data[8:begin], "little")
    header = HEADER.fullmatch(data[begin : min(end, begin + MAX_HEADER)])
    if header is None:
        raise ModelError(f"{where}: not a NumPy array of plain numbers (of objects or records, say), or damaged")
    descr, by_columns, sides = (part.decode("latin-1") for part in header.groups())
    if not NUMBER.fullmatch(descr):
        raise ModelError(f"{where}: holds {descr[:20]!r} values, expected integers")
    dtype, found = np.dtype(descr), tuple(int(side) for side in sides.replace(",", " ").split())
    number = math.prod(found)
    if not number or len(data) - end != number * dtype.itemsize:
        raise ModelError(f"{where}: the NumPy array is cut short, or empty")
    return np.frombuffer(data, dtype, number, end).reshape(found, order="F" if by_columns == "True" else "C")
