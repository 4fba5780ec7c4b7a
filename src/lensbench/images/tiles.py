"""A plane cut into square tiles."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def tiles(plane: NDArray[Any], side: int) -> NDArray[Any]:
    """Every whole tile of `plane` in raster order, (tiles, side, side); what is left at two edges is in none.

    >>> import numpy as np
    >>> tiles(np.arange(15).reshape(3, 5), 2).tolist()
    [[[0, 1], [5, 6]], [[2, 3], [7, 8]]]
    """
    rows, columns = (length // side for length in plane.shape)
    whole = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return whole.swapaxes(1, 2).reshape(-1, side, side)
