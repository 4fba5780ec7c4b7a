"""Member names as columns: numbered in the archive's order, found by name, some 90 bytes a member.

A third of a million names take 100 MB as Python strings in a dict. Here they are one Arrow array, beside it
their hashes in order: a name is looked up by bisection, and compared for real before it counts as found.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.errors import ArchiveError


class Member(NamedTuple):
    """One regular file in an archive: its POSIX path inside, normalised, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True, eq=False)
class Names:
    """Distinct names by number: `column` has them as strings of length n."""

    column: pa.StringArray
    _hashes: NDArray[np.int64]
    _numbers: NDArray[np.int32]

    @classmethod
    def of(cls, names: Iterable[str], label: str) -> Self:
        """Number `names` in their order; one that comes twice is an ArchiveError naming the archive `label`."""
        text, ends, hashes = bytearray(), array("i", [0]), array("q")
        for name in names:
            text += name.encode()
            ends.append(len(text))
            hashes.append(hash(name))
        column = pa.StringArray.from_buffers(len(hashes), pa.py_buffer(ends), pa.py_buffer(text))
        unsorted = np.frombuffer(hashes, np.int64)
        numbers = np.argsort(unsorted, kind="stable").astype(np.int32)
        made = cls(column, unsorted[numbers], numbers)
        alike = numbers[1:][made._hashes[1:] == made._hashes[:-1]].tolist()
        twice = [number for number in alike if made.find(made[number]) != number]
        if twice:
            raise ArchiveError(f"{label}: member {made[min(twice)]!r} is there twice; refused")
        return made

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str:
        name: str = self.column[number].as_py()
        return name

    def at(self, numbers: Sequence[int]) -> list[str]:
        """Many at once, which costs a tenth of one by one; IndexError for one that is not there."""
        names: list[str] = self.column.take(pa.array(numbers, pa.int64())).to_pylist()
        return names

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), 1024):
            yield from self.column[start : start + 1024].to_pylist()

    def find(self, name: str) -> int | None:
        """The number of `name`, None where there is no such name."""
        wanted = hash(name)
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self) and self._hashes[place] == wanted:
            number = int(self._numbers[place])
            if self[number] == name:
                return number
            place += 1
        return None


class Listing(Sequence[Member]):
    """The members of an archive, each made when it is looked at. `sizes`: their sizes in bytes, int64, length n."""

    def __init__(self, names: Names, sizes: NDArray[np.int64]) -> None:
        self._names = names
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, number: int, /) -> Member: ...
    @overload
    def __getitem__(self, number: slice, /) -> Sequence[Member]: ...
    def __getitem__(self, number: int | slice, /) -> Member | Sequence[Member]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return Member(self._names[number], int(self._sizes[number]))

    def __iter__(self) -> Iterator[Member]:
        return map(Member, self._names, map(int, self._sizes))
