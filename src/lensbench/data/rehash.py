"""Hash again what is stored in prepared rows: whether the images are still those that each row's `sha256` names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from lensbench.errors import ArchiveError
from lensbench.images.content import part_sha256, sample_sha256


def rehash(batch: pa.RecordBatch | pa.Table, parts: Mapping[str, str], where: str) -> Iterator[tuple[str, str]]:
    """(id, sha256 of the sample) of every row, from its stored images alone; `where` names the file in messages.

    `parts`: image column → hash rule (`ImageBuilder.parts`); the columns are structs of `bytes` and `path`, as
    `datasets.Image` stores them in Arrow and in Parquet files. Raises ArchiveError for an image that is missing or
    cannot be decoded.
    """
    columns = {part: batch.column(part) for part in parts}
    for row, key in enumerate(batch.column("id").to_pylist()):
        hashes = {}
        for part, rule in parts.items():
            place = f"{where}, {part} of {key}"
            hashes[part] = part_sha256(_bytes(columns[part][row], place), rule, place)
        yield key, sample_sha256(hashes)


def _bytes(value: Any, where: str) -> bytes:
    data = value.as_py()["bytes"] if value.is_valid else None
    if data is None:
        raise ArchiveError(f"{where} is missing")
    return bytes(data)
