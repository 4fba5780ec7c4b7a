"""The rows of a prepared split as Parquet shards, in the form in which the Hub shows and deduplicates them.

Rows, their order and the stored bytes of every image stay as they are. How rows are cut into groups and shards
depends on the rows alone, not on how many processes prepared them: equal data gives equal files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHARD = 500_000_000
"""Bytes of a Parquet file, unless a single row group is larger."""
GROUP = 32_000_000
"""Bytes of images in a row group, unless a single row has more: the Hub's viewer reads whole groups."""
ROWS = 1_000
"""Rows of a row group."""


@dataclass(frozen=True)
class Written:
    """The shards of one split, in row order, and what they hold; `num_bytes` is their size as Arrow data."""

    files: tuple[Path, ...]
    rows: int
    num_bytes: int
    schema: pa.Schema


def write_split(
    arrow: Sequence[Path], images: Collection[str], folder: Path, split: str, tick: Callable[[int], None] | None = None
) -> Written:
    """Write the rows of Arrow stream files as `<split>-<i>-of-<n>.parquet` into `folder`.

    `images`: the columns of images, structs with a field `bytes`. `tick` is told of every number of rows written.
    One row group is in memory at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = num_bytes = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal rows, num_bytes
        for group in row_groups(arrow, images):
            rows, num_bytes = rows + group.num_rows, num_bytes + group.nbytes
            yield group
            if tick is not None:
                tick(group.num_rows)

    groups = counted()
    first = next(groups)
    waiting, pieces = first, list[Path]()
    while waiting is not None:
        pieces.append(folder / f"{split}-{len(pieces):05}.parquet")
        waiting = _write_shard(pieces[-1], waiting, groups)
    names = [f"{split}-{i:05}-of-{len(pieces):05}.parquet" for i in range(len(pieces))]
    files = tuple(piece.rename(folder / name) for piece, name in zip(pieces, names, strict=True))
    return Written(files, rows, num_bytes, first.schema)


def _write_shard(path: Path, first: pa.Table, rest: Iterator[pa.Table]) -> pa.Table | None:
    """Write `first` and as many of `rest` as fit; returns the one that did not, or None after the last."""
    # Encoded images neither repeat nor shrink: a dictionary of them would only be built and thrown away.
    words = [field.name for field in first.schema if pa.types.is_string(field.type)]
    with (
        path.open("wb") as sink,
        pq.ParquetWriter(
            sink,
            first.schema,
            compression="zstd",
            use_dictionary=words,
            write_page_index=True,
            use_content_defined_chunking=True,  # the Hub stores pages that two configs share once
        ) as writer,
    ):
        writer.write_table(first, row_group_size=first.num_rows)
        for group in rest:
            if sink.tell() + group.nbytes > SHARD:
                return group
            writer.write_table(group, row_group_size=group.num_rows)
    return None


def row_groups(arrow: Sequence[Path], images: Collection[str]) -> Iterator[pa.Table]:
    """The rows of Arrow stream files in tables of at most `ROWS` rows, and `GROUP` bytes of images or one row."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in _batches(arrow):
        start = 0
        for row, weight in enumerate(_weights(batch, images)):
            if rows and (rows == ROWS or size + weight > GROUP):
                held.append(batch.slice(start, row - start))
                yield pa.Table.from_batches(held).combine_chunks()
                held, start, rows, size = [], row, 0, 0
            rows, size = rows + 1, size + weight
        held.append(batch.slice(start))
    yield pa.Table.from_batches(held).combine_chunks()


def _weights(batch: pa.RecordBatch, images: Collection[str]) -> list[int]:
    """Bytes of all images of each row."""
    sizes = [pc.fill_null(pc.binary_length(batch.column(name).field("bytes")), 0) for name in images]
    return [sum(row) for row in zip(*(size.to_pylist() for size in sizes), strict=True)]


def _batches(arrow: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for path in arrow:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
            yield from stream
