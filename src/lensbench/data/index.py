"""What a dataset's builder found in a source: one row per sample, and the publisher's own lists of the splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lensbench.errors import DatasetError
from lensbench.splits import Manifest

REQUIRED = ("id", "label", "group")


@dataclass(frozen=True)
class Listed:
    """A split as a list in the source has it; `where` names the list in messages."""

    where: str
    manifest: Manifest


@dataclass(frozen=True)
class Index:
    """The samples of a source, in the publisher's order, which split rules may depend on.

    `rows` has the columns ``id`` (unique), ``label`` (a class name, or null) and ``group`` (or null), may have
    ``split`` (where the publisher put the sample, by folder for one), and whatever the builder's `read` and
    `columns` need. `strays`: files that should be samples and are not. `report`: how tables were read.
    """

    rows: pa.Table
    lists: Mapping[str, Listed] = field(default_factory=dict)
    strays: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lacking = [name for name in REQUIRED if name not in self.rows.column_names]
        if lacking:
            raise DatasetError(f"an index needs the column {lacking[0]!r}")
        if self.rows["id"].null_count or len(self.rows["id"].unique()) != self.rows.num_rows:
            counts = self.rows["id"].value_counts().to_pylist()
            twice = next(entry["values"] for entry in counts if entry["values"] is None or entry["counts"] > 1)
            raise DatasetError(f"two samples of the source have the id {twice!r}")
