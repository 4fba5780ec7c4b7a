"""What a dataset's builder found in a source: one row per sample, and the publisher's own lists of the splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from lensbench.data.keys import repeated
from lensbench.errors import DatasetError

REQUIRED = ("id", "label", "group")


LISTED = pa.schema([("id", pa.string()), ("label", pa.string())])


@dataclass(frozen=True)
class Listed:
    """A split as a list in the source has it: `rows` of `LISTED`, sorted by id. `where` names the list in messages."""

    where: str
    rows: pa.Table


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
        if not self.rows.num_rows:
            raise DatasetError("builder.py: index gives no sample: no file of the source is one to it")
        lacking = [name for name in REQUIRED if name not in self.rows.column_names]
        if lacking:
            raise DatasetError(f"an index needs the column {lacking[0]!r}")
        if self.rows["id"].null_count:
            raise DatasetError("a sample of the source has no id")
        if (twice := repeated(self.rows["id"])) is not None:
            raise DatasetError(f"two samples of the source have the id {twice!r}")

    def without_splits(self) -> Self:
        """The same samples without the publisher's splits: where a rule draws them, his are another config's."""
        names = [name for name in self.rows.column_names if name != "split"]
        return replace(self, rows=self.rows.select(names), lists={})
