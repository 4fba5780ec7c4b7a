"""Whole numbers for synthetic images: the same ones on every machine, decided in integer arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def splitmix(key: int, count: int) -> NDArray[np.uint64]:
    """`count` numbers of the SplitMix64 sequence that starts at `key` (Steele, Lea & Flood 2014).

    >>> splitmix(0, 2).tolist()
    [16294208416658607535, 7960286522194355700]
    """
    start = np.uint64(key & 0xFFFF_FFFF_FFFF_FFFF)
    z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))
