"""Unique texts in columns, found by their hash: 8 bytes a key, where a hash table of them takes 200.

What is found is compared for real, so an unlucky hash costs memory and never an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BLOCK = 8192
"""Keys that are Python objects at one time."""


def repeated(column: pa.ChunkedArray) -> str | None:
    """The first text that occurs again in `column`; None where all differ."""
    hashes = np.sort(_hashes(column))
    alike = frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    counts = Counter(key for key in _each(column) if hash(key) in alike) if alike else Counter[str]()
    return next((key for key, count in counts.items() if count > 1), None)


def places(keys: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.Array:
    """Where each of `keys` stands in `among`, whose texts all differ: int64, null for one that does not."""
    theirs, ours = _hashes(among), _hashes(keys)
    order = np.argsort(theirs)
    near = np.searchsorted(theirs, ours, sorter=order)
    near[near == len(order)] = 0
    at = order[near] if len(order) else near
    hit = theirs[at] == ours if len(order) else np.zeros(len(ours), bool)
    found = pa.array(at, mask=~hit)
    for start in range(0, len(keys), BLOCK):
        same = pc.equal(among.take(found.slice(start, BLOCK)), keys.slice(start, BLOCK))
        if not pc.all(same, min_count=0).as_py():  # two texts of one hash: look for real
            return pc.index_in(keys, value_set=pa.chunked_array(among).combine_chunks()).cast(pa.int64())
    return found


def _hashes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.fromiter(map(hash, _each(column)), np.int64, len(column))


def _each(column: pa.ChunkedArray) -> Iterator[str]:
    for start in range(0, len(column), BLOCK):
        yield from column.slice(start, BLOCK).to_pylist()
