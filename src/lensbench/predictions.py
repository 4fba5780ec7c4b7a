"""Predictions as they are stored and as strangers bring them: one row per sample id × view, Parquet or CSV.

Stored: ``id`` and ``view`` (strings), ``scores`` (fixed-size list of float32 in the benchmark's label order); the
label names travel in the file's metadata. Brought from elsewhere: ``id`` and one of ``label``, ``top1 … topK``,
one column per class (by name), or ``scores``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lensbench.digest import canonical
from lensbench.errors import ModelError, nearest
from lensbench.metrics.base import SUM_TOLERANCE, Prediction
from lensbench.registry import Dataset

VIEW = "original"
"""The one view of a benchmark without a view grid."""
TOP = re.compile(r"top_?([1-9][0-9]?)\Z")
METADATA = b"lensbench"
MAX_ROWS = 10_000_000
MAX_BYTES = 8 << 30


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered, aligned with `ids`, or id by id with `views`."""

    ids: tuple[str, ...]
    prediction: Prediction
    assumed: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    """Of a benchmark with views: each id has a row in every one of them, in this order."""
    gaps: tuple[str, ...] = ()
    """What was brought and lacks views, in words: of such an id nothing is scored."""

    def on(self, wanted: Sequence[str]) -> Answers:
        """The answers to those of `wanted` that have one, in the order of `wanted`."""
        row = {key: i for i, key in enumerate(self.ids)}
        found = [key for key in wanted if key in row]
        if tuple(found) == self.ids:
            return self
        rows = np.array([row[key] for key in found], dtype=np.intp)
        if self.views:
            rows = (rows[:, None] * len(self.views) + np.arange(len(self.views))).reshape(-1)
        return replace(self, ids=tuple(found), prediction=self.prediction.take(rows))

    @property
    def digest(self) -> str:
        """Hex sha256 over ids, kind and the exact values, in row order: the same whatever file they came in."""
        scores, top = self.prediction.scores, self.prediction.top
        values = scores if scores is not None else top
        assert values is not None
        views = [list(self.views)] if self.views else []
        body = hashlib.sha256(canonical([list(self.ids), self.prediction.kind, list(values.shape), *views]))
        body.update(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
        return body.hexdigest()


def tell_kind(scores: NDArray[np.float32]) -> str:
    """``probabilities`` where every row is in [0, 1] and sums to 1, else ``logits``."""
    sums = scores.sum(axis=1, dtype=np.float64)
    inside = bool((scores >= 0).all()) and bool((np.abs(sums - 1) <= SUM_TOLERANCE).all())
    return "probabilities" if inside and len(scores) else "logits"


def _refuse_scaled(scores: NDArray[np.float32]) -> None:
    """Percentages, or counts of votes, read as logits would score wrongly without a word."""
    sums = scores.sum(axis=1, dtype=np.float64)
    if len(scores) > 1 and (scores >= 0).all() and sums[0] > 0 and np.allclose(sums, sums[0], rtol=SUM_TOLERANCE):
        raise ModelError(
            f"scores are all ≥ 0 and every row sums to {sums[0]:g}: probabilities must sum to 1; divide them, or "
            'declare kind = "logits" in model.toml if that is what they are'
        )


def answers_of(
    ids: Iterable[str], scores: NDArray[np.float32], kind: str | None, views: tuple[str, ...] = ()
) -> Answers:
    """Answers from scores whose kind was declared, or else is told from the values (and said so)."""
    told = kind or tell_kind(scores)
    if kind is None and told == "logits":
        _refuse_scaled(scores)
    assumed = () if kind else (f"output kind {told} (told from the values)",)
    return Answers(tuple(ids), Prediction(scores, told), assumed, views)  # type: ignore[arg-type]


def shard_table(
    ids: pa.Array, scores: NDArray[np.float32], metadata: Mapping[bytes, bytes], views: Sequence[str] = (VIEW,)
) -> pa.Table:
    """The stored form of some rows, id by id in every view.

    Built from buffers: `pa.array(ndarray)` would import pandas (0.3 s).
    """
    n, width = scores.shape
    flat = pa.Array.from_buffers(pa.float32(), n * width, [None, pa.py_buffer(np.ascontiguousarray(scores))])
    kind = pa.list_(pa.float32(), width)
    column = pa.Array.from_buffers(kind, n, [None], children=[flat])
    schema = pa.schema([("id", pa.string()), ("view", pa.string()), ("scores", kind)], metadata=metadata)
    names = pa.array(list(views) * (n // len(views)), pa.string())
    keys = ids.cast(pa.string())
    if len(views) > 1:
        keys = pa.array([key for key in keys.to_pylist() for _ in views], pa.string())
    return pa.Table.from_arrays([keys, names, column], schema=schema)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Uncompressed, no dictionary, no statistics: scores do not compress, and 5 ms a shard is 2 % of a fast run."""
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)


def stored_scores(path: Path) -> NDArray[np.float32]:
    """The `scores` of a run's own Parquet file as an (n, classes) float32 array, read one row group at a time."""
    file = pq.ParquetFile(path, memory_map=True)
    width = file.schema_arrow.field("scores").type.list_size
    out = _on_disk(path.parent, (file.metadata.num_rows, width))
    start = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["scores"])
        out[start : start + len(table)] = _matrix(table)
        start += len(table)
    return out


def _on_disk(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """An array in an unlinked file of `folder`, mapped: its pages are the system's to drop, not private memory."""
    if not shape[0] * shape[1]:
        return np.empty(shape, np.float32)
    with TemporaryFile(dir=folder) as handle:
        return np.memmap(handle, np.float32, "w+", shape=shape)


def _matrix(table: pa.Table) -> NDArray[np.float32]:
    """The `scores` column of a table. Through buffers: `to_numpy` would import pandas."""
    width = table.schema.field("scores").type.list_size
    chunks = [np.empty((0, width), np.float32)]
    for chunk in table["scores"].chunks:
        flat = chunk.flatten()
        if flat.null_count:
            raise ModelError("a row of scores holds nulls: every class needs a number")
        values = np.frombuffer(flat.buffers()[1], np.float32)[flat.offset : flat.offset + len(flat)]
        chunks.append(values.reshape(-1, width))
    return np.concatenate(chunks)


def read_predictions(
    path: Path,
    dataset: Dataset,
    labels: Sequence[str],
    order: Sequence[str] | None = None,
    views: tuple[str, ...] = (),
) -> Answers:
    """Read a prediction file; scores come out in the order of `labels`. No image is needed.

    `order` names the columns of a bare ``scores`` list. With `views` a row is of one id in one view (column
    ``view``), and an id that lacks a view is left out. Raises ModelError in one line for a file that cannot be
    read, an id (with its view) that occurs twice, an unknown class or view, or a row without an answer.
    """
    table = _read(path)
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise ModelError(f"{path.name}: column {twice!r} occurs twice")
    if "id" not in table.column_names:
        raise ModelError(f"{path.name}: no column `id` (the sample id); columns: {', '.join(table.column_names[:8])}")
    ids = _strings(table, "id", path)
    if not ids:
        raise ModelError(f"{path.name}: no rows")
    if views:
        table, ids, gaps = _by_view(table, ids, views, path)
        return replace(_answers(table, ids, path, dataset, labels, order), views=views, gaps=gaps)
    if len(set(ids)) != len(ids):
        again = next(a for a, b in pairwise(sorted(ids)) if a == b)
        raise ModelError(f"{path.name}: id {again!r} has more than one row")
    return _answers(table, ids, path, dataset, labels, order)


def _by_view(
    table: pa.Table, ids: Sequence[str], views: tuple[str, ...], path: Path
) -> tuple[pa.Table, list[str], tuple[str, ...]]:
    """(rows id by id in the order of `views`, the ids that have all of them, words on the others)."""
    if "view" not in table.column_names:
        raise ModelError(
            f"{path.name}: no column `view`; this benchmark has {len(views)} views and wants a row for each id in each"
        )
    places, gaps = whole_ids(list(zip(ids, _strings(table, "view", path), strict=True)), views, path)
    order = pa.array([row for rows in places.values() for row in rows], pa.int64())
    return table.drop_columns("view").take(order), list(places), gaps


def whole_ids(
    keys: Sequence[tuple[str, str]], views: tuple[str, ...], path: Path
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """(id → its rows in the order of `views`, for ids that have all of them; words on the others).

    `keys` are (id, view) of every row. Raises ModelError for an unknown view, or a key that comes twice.
    """
    known = set(views)
    rows: dict[str, dict[str, int]] = {}
    for row, (key, view) in enumerate(keys):
        if view not in known:
            raise ModelError(f"{path.name}: {view!r} is no view of this benchmark{nearest(view, views)}")
        if view in rows.setdefault(key, {}):
            raise ModelError(f"{path.name}: id {key!r} has more than one row for the view {view!r}")
        rows[key][view] = row
    lacking = [key for key, mine in rows.items() if len(mine) < len(views)]
    if not lacking:
        return {key: [mine[view] for view in views] for key, mine in rows.items()}, ()
    first = next(view for view in views if view not in rows[lacking[0]])
    words = f"{len(lacking)} ids lack views and are not scored: {lacking[0]!r}, for one, has no {first!r}"
    return {key: [mine[view] for view in views] for key, mine in rows.items() if len(mine) == len(views)}, (words,)


def _answers(
    table: pa.Table,
    ids: list[str],
    path: Path,
    dataset: Dataset,
    labels: Sequence[str],
    order: Sequence[str] | None,
) -> Answers:
    columns = [name for name in table.column_names if name not in ("id", "view")]
    display = {label.name: label.display for label in dataset.classes}
    known = {display[name]: name for name in labels} | {name: name for name in labels}
    tops = sorted((int(m[1]), name) for name in columns if (m := TOP.match(name)))
    if "scores" in columns:
        return _listed(table, ids, path, labels, order)
    if columns == ["label"]:
        top = _indices(_strings(table, "label", path), known, labels, path)
        return Answers(tuple(ids), Prediction(None, "labels", top[:, None]))
    if tops and len(tops) == len(columns):
        if [k for k, _ in tops] != list(range(1, len(tops) + 1)):
            raise ModelError(f"{path.name}: columns {', '.join(columns)} are not top1 … top{len(tops)}")
        ranks = [_indices(_strings(table, name, path, empty=k > 1), known, labels, path) for k, name in tops]
        return Answers(tuple(ids), Prediction(None, "topk", np.stack(ranks, axis=1)))
    where = {known[name]: name for name in columns if name in known}
    if len(where) < sum(name in known for name in columns):
        raise ModelError(f"{path.name}: two columns are of one class (its folder and its display name)")
    missing = [name for name in labels if name not in where]
    strange = [name for name in columns if name not in known]
    if missing or strange:
        what = f"column {strange[0]!r} is none of them" if strange else f"{missing[0]!r} is missing"
        raise ModelError(
            f"{path.name}: expected a column `label`, `top1`…`topK`, or one per class ({len(labels)} names); {what}"
        )
    scores = np.stack([_floats(table, where[name], path) for name in labels], axis=1)
    return answers_of(ids, scores, None)


def _listed(table: pa.Table, ids: list[str], path: Path, labels: Sequence[str], order: Sequence[str] | None) -> Answers:
    kind = table.schema.field("scores").type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32() or kind.list_size != len(labels):
        raise ModelError(f"{path.name}: scores is {kind}, expected fixed_size_list<float>[{len(labels)}]")
    if table["scores"].null_count:
        raise ModelError(f"{path.name}: rows without scores")
    if "view" in table.column_names and set(table["view"].unique().to_pylist()) - {VIEW}:
        raise ModelError(f"{path.name}: holds other views than {VIEW!r}, and this benchmark has only that one")
    meta = _metadata(table, path)
    names = order or meta.get("labels")
    if order and isinstance(meta.get("labels"), list) and list(order) != meta["labels"]:
        raise ModelError(f"{path.name}: names its classes in another order than the labels given; leave --labels out")
    if not isinstance(names, list | tuple) or sorted(map(str, names)) != sorted(labels):
        raise ModelError(f"{path.name}: its metadata does not name the {len(labels)} classes in order; give --labels")
    columns = [list(names).index(name) for name in labels]
    declared = meta.get("kind")
    if declared not in (None, "logits", "probabilities"):
        raise ModelError(f"{path.name}: unknown kind of scores {declared!r}")
    return answers_of(ids, np.ascontiguousarray(_matrix(table)[:, columns]), declared)


def _metadata(table: pa.Table, path: Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(METADATA)
    if raw is None:
        return {}
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path.name}: its metadata is not valid JSON") from error
    return data if isinstance(data, dict) else {}


def _read(path: Path) -> pa.Table:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            file = pq.ParquetFile(path)
            size = sum(file.metadata.row_group(g).total_byte_size for g in range(file.num_row_groups))
            if file.metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
                raise ModelError(
                    f"{path.name}: {file.metadata.num_rows:,} rows are more than a prediction file can have"
                )
            return file.read()
        if suffix in (".csv", ".tsv", ".txt"):
            texts = dict.fromkeys(("id", "view", "label"), pa.string()) | {
                f"top{u}{k}": pa.string() for u in ("", "_") for k in range(1, 100)
            }
            return pa.csv.read_csv(
                path,
                parse_options=pa.csv.ParseOptions(delimiter="," if suffix == ".csv" else "\t"),
                convert_options=pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=False),
            )
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path.name}: cannot be read: {reason}") from error
    raise ModelError(f"{path.name}: predictions are a .parquet or .csv file")


def _strings(table: pa.Table, name: str, path: Path, empty: bool = False) -> list[str]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise ModelError(f"{path.name}: column {name!r} is {column.type}, expected text")
    values = [(value or "").strip() for value in column.to_pylist()]
    if not empty and "" in values:
        raise ModelError(f"{path.name}: row {values.index('') + 1} has no {name}")
    return values


def _indices(names: list[str], known: Mapping[str, str], labels: Sequence[str], path: Path) -> NDArray[np.int32]:
    index = {alias: labels.index(name) for alias, name in known.items()} | {"": -1}
    unknown = next((name for name in names if name not in index), None)
    if unknown is not None:
        tail = nearest(unknown, labels).split(" known:")[0].rstrip(";")
        raise ModelError(f"{path.name}: {unknown!r} is not one of the {len(labels)} classes{tail}")
    return np.array([index[name] for name in names], dtype=np.int32)


def _floats(table: pa.Table, name: str, path: Path) -> NDArray[np.float32]:
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) or column.null_count:
        raise ModelError(f"{path.name}: column {name!r} must hold a number in every row")
    return np.asarray(pc.cast(column, pa.float32(), safe=False).to_numpy())
