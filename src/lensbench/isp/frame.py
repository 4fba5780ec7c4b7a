"""A raw frame, checked: what cannot be a mosaic is refused with a word; all black and saturated frames are frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import FrameError

Raw = NDArray[np.uint16]


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
