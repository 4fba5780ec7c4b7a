"""Read a lossless image exactly as it is stored, and write one.

Nothing is converted: 16 bits stay 16 bits, no orientation, gamma or transparency is applied, and a file that
would be read in part is refused. What a header claims is checked before anything is allocated for it.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ArchiveError
from lensbench.images.inflate import check_size
from lensbench.images.png import SIGNATURE, read_png
from lensbench.images.tiff import BYTE_ORDERS, check_dng, read_tiff

PNG_OPTIONS = (
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),  # three times as fast to write as deflate's search,
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),  # and smaller on label maps and mosaics alike
)


def decode(data: bytes, where: str) -> NDArray[Any]:
    """The stored samples of a PNG or TIFF, H×W or H×W×C with the channels in the order R, G, B, A.

    uint8 or uint16, float32 from a TIFF that holds it; see `read_png` and `read_tiff` for what is accepted.
    Raises ArchiveError naming `where` for anything else, for damage and for sizes past the limit.
    """
    if data.startswith(SIGNATURE):
        return read_png(data, where)
    if data[:4] in BYTE_ORDERS:
        return read_tiff(data, where)
    raise ArchiveError(f"{where}: neither a PNG nor a TIFF" if data else f"{where}: an empty file")


def mosaic(data: bytes, where: str) -> NDArray[np.uint16]:
    """A raw mosaic, uint16 H×W, from a PNG or TIFF of 16 bits, or of float32 whose values are integers in 0…65535.

    Raises ArchiveError for any other image: no value is rounded, clipped or scaled.
    """
    pixels = decode(data, where)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.float32):
        raise ArchiveError(f"{where}: a raw mosaic is 16-bit grey, not {pixels.dtype} {pixels.shape}")
    if pixels.dtype == np.uint16:
        return pixels
    fits = (pixels >= 0) & (pixels <= 65535) & (pixels == np.rint(pixels))  # false for NaN, too
    if not fits.all():
        raise ArchiveError(f"{where}: holds {pixels[~fits][0]}, a raw mosaic holds integers in 0…65535")
    return pixels.astype(np.uint16)


def dng(data: bytes, where: str) -> NDArray[np.uint16]:
    """The raw mosaic of a DNG: uint16 H×W, the active area, before black level and white balance.

    Read by LibRaw (uncompressed, packed, deflate or lossless JPEG). Raises ArchiveError for a file that is no
    DNG, is damaged, or holds no mosaic, and where rawpy is not installed.
    """
    check_dng(data, where)
    try:
        import rawpy
    except ImportError:
        raise ArchiveError(f'{where}: reading DNG needs rawpy: pip install "lensbench[formats]"') from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_size(raw.sizes.raw_width, raw.sizes.raw_height, 2, where)
            pixels = raw.raw_image_visible
            if pixels is None or pixels.ndim != 2:
                raise ArchiveError(f"{where}: the DNG holds no mosaic of one plane")
            return np.array(pixels, np.uint16)
    except rawpy.LibRawError as error:
        raise ArchiveError(f"{where}: the DNG cannot be read ({_words(error)})") from error


def encode_png(array: NDArray[Any]) -> bytes:
    """A PNG of uint8 or uint16 H×W, or uint8 RGB H×W×3: the same bytes for the same pixels, on one OpenCV.

    Raises ValueError for another dtype or shape.
    """
    grey = array.ndim == 2 and array.dtype.name in ("uint8", "uint16")
    colour = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if not (grey or colour) or not array.size:
        raise ValueError(f"a PNG is made of uint8 or uint16 H×W, or uint8 H×W×3, not {array.dtype} {array.shape}")
    pixels = np.ascontiguousarray(array if grey else array[..., ::-1], array.dtype.newbyteorder("="))
    done, data = cv2.imencode(".png", pixels, PNG_OPTIONS)
    if not done:
        raise ValueError(f"OpenCV could not encode {array.dtype} {array.shape} as PNG")
    return data.tobytes()


def _words(error: Exception) -> str:
    text = error.args[0] if error.args else type(error).__name__
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
