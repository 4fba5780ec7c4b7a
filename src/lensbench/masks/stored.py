"""What a segmentation run keeps: one Parquet row per sample id × view, the answer after post-processing.

Columns ``id``, ``view``, ``height``, ``width``, and by kind ``labelmap`` or ``classmap`` (binary), or ``rle`` (a
list of COCO's compressed counts) with ``score`` (a list of doubles; null where none were given). A map is kept as
its runs in raster order: their number (uint32), then deflated the lowest byte of every length and value, the next
byte of every one, and so on. Ids keep their 32 bits. The 10 test annotations of Aitslab-bioimaging1 take 38 KB so
(PNG of 8 bits: 84 KB at its smallest), at 0.7 ms to write and 0.45 ms to read a map whatever number of objects it
holds; COCO's text, compressed, takes 20 KB, but its time grows with the objects.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensbench.digest import canonical, sha256_rows
from lensbench.errors import ArchiveError, ModelError
from lensbench.images.inflate import check_size, inflate
from lensbench.masks.values import ClassMap, Kind, LabelMap, Masks, Value
from lensbench.paths import atomic
from lensbench.predictions import METADATA

GROUP = 64
"""Rows in a row group: all that is in memory, 0.3 MB of labels where an image has 50 objects."""
MAX_GROUP = 1 << 30
LEVEL = 6
KEYS = {"id": pa.string(), "view": pa.string(), "height": pa.int32(), "width": pa.int32()}
COLUMNS: Mapping[str, Mapping[str, pa.DataType]] = {
    "labelmap": {"labelmap": pa.binary()},
    "classmap": {"classmap": pa.binary()},
    "rle": {"rle": pa.list_(pa.binary()), "score": pa.list_(pa.float64())},
}


@dataclass(frozen=True, eq=False)
class Row:
    """One answer: which sample, under which view, what."""

    id: str
    view: str
    value: Value


def pack(pixels: NDArray[Any]) -> bytes:
    """The stored bytes of a map (uint32 or uint8 H×W)."""
    flat = pixels.reshape(-1)
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(starts, append=flat.size)
    runs = np.concatenate([lengths, flat[starts]]).astype("<u4")
    planes = np.ascontiguousarray(runs.view(np.uint8).reshape(-1, 4).T)
    return struct.pack("<I", len(starts)) + zlib.compress(planes.tobytes(), LEVEL)


def unpack_runs(data: bytes, pixels: int, where: str) -> NDArray[np.uint32]:
    """The runs in `pack`ed bytes, 2×n: lengths and values; raises ModelError unless they are `pixels` pixels."""
    number = int.from_bytes(data[:4], "little")
    if not 1 <= number <= pixels:
        raise ModelError(f"{where}: the stored map is damaged ({number} runs)")
    try:
        planes = inflate(memoryview(data)[4:], 8 * number, where)
    except ArchiveError as error:
        raise ModelError(str(error)) from error
    columns = np.frombuffer(planes, np.uint8).reshape(4, -1)
    runs = np.ascontiguousarray(columns.T).view("<u4").reshape(2, -1).astype(np.uint32, copy=False)
    if int(runs[0].sum(dtype=np.int64)) != pixels or not runs[0].all() or (runs[1][1:] == runs[1][:-1]).any():
        raise ModelError(f"{where}: the stored map is damaged (its runs are not the {pixels} pixels of the image)")
    return runs


def write_masks(path: Path, rows: Iterable[Row], kind: Kind, stated: Mapping[str, Any]) -> None:
    """Write `rows`, all of `kind`, whole or not at all, a row group at a time.

    `stated` (JSON: benchmark, plan, …) is kept in the file's metadata with the kind. The same rows give the same
    bytes. Raises ValueError for a row of another kind or a key that comes twice, ModelError where the disk is full.
    """
    schema = _schema(kind, stated)
    left = _once(rows, path)
    try:
        with atomic(path) as part, _writer(part, schema) as writer:
            while (group := _table(islice(left, GROUP), kind, schema)).num_rows:  # packed one by one: 64 maps are 5 GB
                writer.write_table(group)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space, then run again") from error


def _once(rows: Iterable[Row], path: Path) -> Iterator[Row]:
    """`rows` as they come; raises ValueError at a key that was there before."""
    seen = set[tuple[str, str]]()
    for row in rows:
        if (row.id, row.view) in seen:
            raise ValueError(f"{path}: an id × view comes twice")
        seen.add((row.id, row.view))
        yield row


def merge_masks(parts: Sequence[Path], path: Path) -> None:
    """Join shards of one run, in order, into `path`: the bytes do not depend on how the rows were cut.

    Raises ModelError for shards of another kind or run.
    """
    kind, stated = stated_of(parts[0])
    if any(stated_of(part) != (kind, stated) for part in parts):
        raise ModelError(f"{path}: {parts[0].parent} holds shards of several runs")
    write_masks(path, (row for part in parts for row in read_masks(part)), kind, stated)


def write_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write rows that are packed already, those of other stored files, as they come."""
    with _writer(path, schema) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=GROUP)


def stated_of(path: Path) -> tuple[Kind, dict[str, Any]]:
    """(kind, what was stated when it was written); raises ModelError for a file that `write_masks` did not write."""
    with _open(path) as file:
        return _stated(file, path)


def holds(path: Path, rows: int, kind: Kind, stated: Mapping[str, Any]) -> bool:
    """Whether `path` is a whole file of that run with `rows` rows."""
    try:
        with _open(path) as file:
            return bool(file.metadata.num_rows == rows and _stated(file, path) == (kind, dict(stated)))
    except ModelError:
        return False


def read_masks(path: Path) -> Iterator[Row]:
    """The rows in order, one in memory at a time beside its row group; raises ModelError for a damaged file."""
    for key, view, shape, kind, row in _rows(path):
        where = f"{path.name}: {key!r}"
        if kind == "rle":
            scores = row["score"]
            value: Value = Masks(shape, tuple(row["rle"]), None if scores is None else np.array(scores, np.float64))
        else:
            lengths, values = unpack_runs(row[kind], shape[0] * shape[1], where)
            pixels = np.repeat(values, lengths).reshape(shape)
            if kind == "classmap" and values.max() > 255:
                raise ModelError(f"{where}: holds class {values.max()}, a classmap holds 0 to 255")
            value = LabelMap(pixels) if kind == "labelmap" else ClassMap(pixels.astype(np.uint8))
        yield Row(key, view, value)


def masks_digest(path: Path) -> str:
    """Hex sha256 over every row in order: id, view, kind, shape and the exact answer, however it was compressed.

    A map counts by its runs (lengths, then values, little-endian uint32), masks by their text and scores.
    """

    def lines() -> Iterator[list[Any]]:
        for key, view, shape, kind, row in _rows(path):
            yield [key, view, kind, *shape, _content(row, kind, shape, f"{path.name}: {key!r}")]

    return sha256_rows(lines())


def _content(row: Mapping[str, Any], kind: Kind, shape: tuple[int, int], where: str) -> str:
    if kind == "rle":
        texts, scores = [text.decode("latin-1") for text in row["rle"]], row["score"]
        return hashlib.sha256(canonical([texts, scores])).hexdigest()
    runs = unpack_runs(row[kind], shape[0] * shape[1], where)
    return hashlib.sha256(np.ascontiguousarray(runs, "<u4").data).hexdigest()


def _schema(kind: Kind, stated: Mapping[str, Any]) -> pa.Schema:
    metadata = {METADATA: canonical({"kind": kind, "stated": stated})}
    return pa.schema(list({**KEYS, **COLUMNS[kind]}.items()), metadata=metadata)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_statistics=False)


def _table(rows: Iterable[Row], kind: Kind, schema: pa.Schema) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in rows:
        value = row.value
        if value.kind != kind:
            raise ValueError(f"{row.id!r}: a {value.kind} among rows of {kind}")
        height, width = value.shape
        _check_shape(height, width, repr(row.id))
        cells: dict[str, Any] = {"id": row.id, "view": row.view, "height": height, "width": width}
        if isinstance(value, Masks):
            scores = value.scores
            if scores is not None and (len(scores) != len(value.rle) or not np.isfinite(scores).all()):
                raise ValueError(f"{row.id!r}: {len(value.rle)} masks need as many finite scores")
            cells |= {"rle": list(value.rle), "score": None if scores is None else scores.tolist()}
        else:
            cells[kind] = pack(value.pixels)
        for name, cell in cells.items():
            columns[name].append(cell)
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _check_shape(height: int, width: int, where: str) -> None:
    try:
        check_size(width, height, 4, where)
    except ArchiveError as error:
        raise ModelError(str(error)) from error


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ModelError(f"{path.name}: cannot be read: {' '.join(str(error).split())[:200]}") from error


def _stated(file: pq.ParquetFile, path: Path) -> tuple[Kind, dict[str, Any]]:
    """(kind, what was stated) of a file whose columns are those of its kind."""
    try:
        known = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b"null"))
        kind, stated = known["kind"], known["stated"]
        types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        fits = types == {**KEYS, **COLUMNS[kind]} and isinstance(stated, dict)
    except (ValueError, TypeError, KeyError, RecursionError):
        fits = False
    if not fits:
        raise ModelError(f"{path.name}: not the stored masks of a run")
    return kind, stated


def _rows(path: Path) -> Iterator[tuple[str, str, tuple[int, int], Kind, Mapping[str, Any]]]:
    """(id, view, shape, kind, cells) of every row, its sizes checked and its texts there."""
    with _open(path) as file:
        kind, _ = _stated(file, path)
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).total_byte_size > MAX_GROUP:
                raise ModelError(f"{path.name}: a row group of more than {MAX_GROUP >> 20} MiB")
            try:
                rows = file.read_row_group(group).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise ModelError(f"{path.name}: is damaged: {' '.join(str(error).split())[:200]}") from error
            for row in rows:
                key, view, height, width = (row[name] for name in KEYS)
                texts, scores = row.get("rle", []), row.get("score")
                if None in (key, view, height, width, row[kind]) or None in texts:
                    raise ModelError(f"{path.name}: a row has a gap")
                if not all(score is not None and math.isfinite(score) for score in scores or ()):
                    raise ModelError(f"{path.name}: {key!r} has a score that is no finite number")
                if scores is not None and len(scores) != len(texts):
                    raise ModelError(f"{path.name}: {key!r} has {len(scores)} scores of {len(texts)} masks")
                _check_shape(height, width, f"{path.name}: {key!r}")
                yield key, view, (height, width), kind, row
