"""Columns of a builder that no digest would speak for: images outside its parts, and what changes at every build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from lensbench.data.loader import load_builder
from lensbench.data.locate import Located, locate
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.registry import Config, Dataset
from lensbench.verify.facts import Checked, verdict


def check_hashed(dataset: Dataset) -> Iterator[Checked]:
    """Every column that holds images or bytes is a part: else "every stored image hashed again" would be untrue."""
    kind = load_builder(dataset.folder)
    problems = {
        f"column {name!r} holds images or bytes and is not in parts(): no digest would cover it": None
        for config in dataset.configs.values()
        for name, feature in kind.columns(config).items()
        if name not in kind.parts(config) and _holds_bytes(feature)
    }
    yield from verdict("builder.py images", problems, "all of them are parts of the sample's hash")


def check_read_twice(dataset: Dataset) -> Iterator[Checked]:
    """Two readings of each specimen give equal columns: a digest is over few of them."""
    for name in dataset.specimens:
        config = dataset.configs[name]
        located = locate(dataset, dataset.version(None), config, None, None)
        first, second = (_columns(dataset, config, located) for _ in range(2))
        problems = [
            f"column {column!r} is not the same when the specimen is read again"
            for column in {**first, **second}
            if first.get(column) != second.get(column)
        ]
        yield from verdict(f"{name} read twice", problems, f"{len(first)} columns, equal")


def _holds_bytes(feature: Any) -> bool:
    """Whether a `datasets` feature is, or holds, anything but numbers, times, text and class labels."""
    import datasets

    if isinstance(feature, Mapping):
        return any(map(_holds_bytes, feature.values()))
    if isinstance(feature, list | tuple):
        return any(map(_holds_bytes, feature))
    if isinstance(feature, datasets.Value):
        return "binary" in feature.dtype
    if isinstance(feature, datasets.ClassLabel):
        return False
    return _holds_bytes(feature.feature) if hasattr(feature, "feature") else True


def _columns(dataset: Dataset, config: Config, located: Located) -> dict[str, str]:
    """Every column the builder makes of a source, each as text (so that a NaN equals itself)."""
    kind, source = load_builder(dataset.folder), Source(located.spec)
    rows = kind.index(source, Request(dataset, dataset.version(None), config, own_lists=located.own_lists)).rows
    parts = (rows.slice(start, kind.STEP) for start in range(0, rows.num_rows, kind.STEP))
    read = pa.concat_tables([pa.table(kind.take(source, part, config)) for part in parts])
    columns = {name: repr(table[name].to_pylist()) for table in (rows, read) for name in table.column_names}
    return columns | {"of_class": repr([sorted(kind.of_class(label).items()) for label in dataset.classes])}
