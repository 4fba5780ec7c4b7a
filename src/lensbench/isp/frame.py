"""A raw frame, checked: what cannot be a mosaic is refused with a word; all black and saturated frames are frames."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import FrameError
from lensbench.images.decode import decode, dng
from lensbench.images.tiff import BYTE_ORDERS
from lensbench.isp.camera import CFAS, Camera, get_camera

Raw = NDArray[np.uint16]
JPEG = b"\xff\xd8\xff"


class Frame(NamedTuple):
    """A mosaic and the camera that recorded it."""

    raw: Raw
    camera: Camera


def as_mosaic(array: NDArray[Any], where: str = "the frame") -> Raw:
    """`array` as uint16 H×W. Integers, and floats that are integers, in 0…65535; both sides even.

    Raises FrameError for everything else; no value is rounded, clipped or scaled.
    """
    shape = "×".join(map(str, array.shape))
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        raise FrameError(f"{where} has {array.shape[-1]} channels ({shape}): it is demosaiced already, not raw")
    if array.ndim != 2:
        raise FrameError(f"{where} is {shape}: a mosaic is height × width")
    if not array.size or array.shape[0] % 2 or array.shape[1] % 2:
        raise FrameError(f"{where} is {shape} pixels: a mosaic has whole cells of 2×2; crop it to even sides")
    if array.dtype == np.uint16:
        return array
    if array.dtype.kind not in "uif":
        raise FrameError(f"{where} is {array.dtype}: a mosaic holds integers in 0…65535")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FrameError(f"{where} holds {array[~np.isfinite(array)][0]}: a mosaic holds integers in 0…65535")
    fits = (array >= 0) & (array <= 65535) & (array == np.rint(array))
    if not fits.all():
        raise FrameError(f"{where} holds {array[~fits][0]}: a mosaic holds integers in 0…65535, not scaled values")
    return array.astype(np.uint16)


def read_frame(path: Path, camera: Camera | None = None, white: float | None = None) -> Frame:
    """The raw frame in a DNG, TIFF or PNG file.

    A DNG brings its camera; without `camera` the others are taken for the plain one. `white` is where the sensor
    saturates; without it, at the largest value of 8 or 16 bits. A PNG whose channels are all equal is a mosaic, too.
    Raises FrameError, or ArchiveError for a file that cannot be read.
    """
    data, where = path.read_bytes(), path.name
    if data.startswith(JPEG):
        raise FrameError(f"{where} is a JPEG: it is demosaiced already, not raw (--simulate takes an image back)")
    if data[:4] in BYTE_ORDERS and path.suffix.lower() == ".dng":
        raw = as_mosaic(dng(data, where), where)
        own = camera or _camera_of_dng(data, where)
        return Frame(raw, own.rescaled(white) if white else own)
    pixels = decode(data, where)
    top = 255 if pixels.dtype == np.uint8 else 65535
    raw = as_mosaic(_grey(pixels), where)
    return Frame(raw, (camera or get_camera("plain")).rescaled(white or top))


def read_developed(path: Path) -> NDArray[np.uint8]:
    """The 8-bit grey or RGB image in a PNG, TIFF or JPEG file, H×W or H×W×3; raises FrameError for another."""
    data, where = path.read_bytes(), path.name
    pixels: NDArray[Any] | None
    if data.startswith(JPEG):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise FrameError(f"{where}: the JPEG cannot be decoded")
    else:
        pixels = decode(data, where)
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] == 2):
        raise FrameError(f"{where}: a developed image has 8 bits, grey or RGB, not {pixels.dtype} {pixels.shape}")
    return np.ascontiguousarray(pixels[..., :3] if pixels.ndim == 3 else pixels, np.uint8)


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """One channel of an image whose colours are all equal and whose last is opaque; any other image as it is."""
    if pixels.ndim != 3:
        return pixels
    colours = pixels[..., : 3 if pixels.shape[2] >= 3 else 1]
    opaque = pixels.shape[2] in (1, 3) or (pixels[..., -1] == np.iinfo(pixels.dtype).max).all()
    same = (colours == colours[..., :1]).all()
    return np.ascontiguousarray(pixels[..., 0]) if same and opaque else pixels


def _camera_of_dng(data: bytes, where: str) -> Camera:
    """What a DNG says of its camera: filter order, levels, white balance as shot, matrix to sRGB (as LibRaw has it)."""
    import rawpy

    try:
        return _described(rawpy, data, where)
    except (rawpy.LibRawError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise FrameError(f"{where}: what it says of its camera cannot be read; name a camera") from error


def _described(rawpy: Any, data: bytes, where: str) -> Camera:
    with rawpy.imread(io.BytesIO(data)) as raw:
        names = raw.color_desc.decode("ascii", "replace")
        colours = np.array(raw.raw_colors_visible[:12, :12])
        cell = colours[:2, :2]
        repeated = np.tile(cell, (6, 6))[: colours.shape[0], : colours.shape[1]]
        cfa = "".join(names[index] if index < len(names) else "?" for index in cell.ravel())
        if not np.array_equal(colours, repeated) or cfa not in CFAS:
            raise FrameError(f"{where}: its filter is not one of {', '.join(CFAS)}, repeated ({cfa} of {names})")
        black = [float(raw.black_level_per_channel[index]) for index in cell.ravel()]
        shot = [float(gain) for gain in raw.camera_whitebalance[:3]]
        gains = shot if all(gain > 0 for gain in shot) else [float(gain) for gain in raw.daylight_whitebalance[:3]]
        matrix = np.array(raw.color_matrix, float)[:3, :3]
        white = float(raw.white_level)
    if not np.any(matrix):
        matrix = np.eye(3)
    if not all(gain > 0 for gain in gains):
        raise FrameError(f"{where}: says no white balance; name a camera")
    levels, balance = (black[0], black[1], black[2], black[3]), (gains[0] / gains[1], 1.0, gains[2] / gains[1])
    span = white - sum(black) / 4
    return Camera(cfa, levels, white, span, balance, tuple(matrix.ravel().tolist()))
