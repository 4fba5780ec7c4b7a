"""Both sides of a segmentation on disk, read one image at a time: a split's true masks, a run's stored answers."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensbench.errors import ArchiveError, DatasetError, ModelError
from lensbench.images.decode import decode
from lensbench.images.png import SIGNATURE
from lensbench.masks.stored import read_masks
from lensbench.masks.values import Value
from lensbench.runner import Images, open_images

MASK = "mask"
"""The column of masks: PNG, 8 or 16 bits, one number a pixel."""


class TrueMaps(Sequence[NDArray[Any]]):
    """The true map of each image, H×W: uint32 instances, or uint8 classes."""

    def __init__(self, masks: Images, names: Sequence[str], instances: bool) -> None:
        self._masks, self._names, self._instances = masks, names, instances
        if len(masks) != len(names):
            raise DatasetError(f"{len(names)} ids for {len(masks)} masks in the cache")

    @classmethod
    def of(cls, files: Sequence[Path], names: Sequence[str], instances: bool) -> TrueMaps:
        """The masks in Arrow stream files, in row order; `names` are what messages call them."""
        return cls(open_images(files, MASK), names, instances)

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, row: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, row: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, row: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        try:
            pixels = decode(bytes(self._masks.slices(row, row + 1)[0]), f"mask of {self._names[row]}")
        except ArchiveError as error:
            raise DatasetError(str(error)) from error
        if pixels.ndim != 2 or pixels.dtype.kind != "u":
            raise DatasetError(f"mask of {self._names[row]}: is {pixels.dtype} {pixels.shape}, expected numbers H×W")
        return pixels.astype(np.uint32) if self._instances else pixels

    def shape(self, row: int) -> tuple[int, int]:
        """(height, width) of one mask, from its header alone."""
        head = bytes(self._masks.slices(row, row + 1)[0][:24])
        if len(head) < 24 or not head.startswith(SIGNATURE):
            raise DatasetError(f"mask of {self._names[row]}: is no PNG")
        width, height = struct.unpack(">II", head[16:24])
        return height, width

    def shapes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """(name, (height, width)) of every mask."""
        for row, name in enumerate(self._names):
            yield name, self.shape(row)


class Stored(Sequence[Value]):
    """The answers in a stored file, in its order. Reading on is cheap, going back begins anew."""

    def __init__(self, path: Path) -> None:
        self._path, self.ids = path, ids_of(path)
        self._rows, self._next = read_masks(path), 0

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, row: int) -> Value: ...
    @overload
    def __getitem__(self, row: slice) -> list[Value]: ...
    def __getitem__(self, row: int | slice) -> Value | list[Value]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        if row < self._next:
            self._rows, self._next = read_masks(self._path), 0
        for found in self._rows:
            self._next += 1
            if self._next > row:
                return found.value
        raise IndexError(row)


def ids_of(path: Path) -> tuple[str, ...]:
    """The ids of a stored file, in its order; raises ModelError for one that cannot be read."""
    return tuple(key for key, _ in keys_of(path))


def keys_of(path: Path) -> list[tuple[str, str]]:
    """(id, view) of every row of a stored file, in its order; raises ModelError for one that cannot be read."""
    try:
        columns = pq.ParquetFile(path).read(columns=["id", "view"])
        return list(zip(columns["id"].to_pylist(), columns["view"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ModelError(f"{path.name}: cannot be read: {' '.join(str(error).split())[:200]}") from error
