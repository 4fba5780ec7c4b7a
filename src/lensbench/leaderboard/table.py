"""The board as a table: one row a record, ranked, then apart, then references; and that table as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from lensbench.benchmark import Reference
from lensbench.leaderboard.entry import Entry
from lensbench.leaderboard.escape import as_csv, clean
from lensbench.leaderboard.standing import Standing

LEADING = ("rank", "model", "status")
TRAILING = (
    "overlaps_first", "reason", "authors", "licence", "kind", "parameters", "bytes", "expected", "scored",
    "model_sha256", "record_sha256", "source", "url",
)  # fmt: skip
PROTOCOL = ("protocol", "post_processing")
"""Columns that only boards of segmentation benchmarks have."""
WHOLE = ("rank", "parameters", "bytes", "expected", "scored")


def header(board: Standing) -> list[str]:
    """Column names: rank, model, status, each metric with its interval, and what else is known."""
    metrics = [f"{column.id}{end}" for column in board.columns for end in ("", "_low", "_high")]
    return [*LEADING, *(PROTOCOL if board.benchmark.protocol else ()), *metrics, *TRAILING]


def rows(board: Standing) -> list[dict[str, Any]]:
    """One dict a row; a column that a row has no value for is not in it."""
    ranked = [
        {
            "rank": row.rank,
            "status": "ranked",
            "overlaps_first": row.overlaps,
            **_of_entry(board, row.entry),
        }
        for row in board.ranked
    ]
    apart = [{"status": "apart", "reason": row.reason, **_of_entry(board, row.entry)} for row in board.apart]
    return [*ranked, *apart, *(_of_reference(reference) for reference in board.references)]


def _of_entry(board: Standing, entry: Entry) -> dict[str, Any]:
    scores = {column.id: entry.score(column.id) for column in board.columns}
    row: dict[str, Any] = {
        "model": entry.name,
        **{name: score.value for name, score in scores.items()},
        **{f"{name}_low": score.low for name, score in scores.items()},
        **{f"{name}_high": score.high for name, score in scores.items()},
        "protocol": entry.segments.protocol if entry.segments else None,
        "post_processing": entry.segments.made if entry.segments else None,
        "authors": ", ".join(entry.authors) or None,
        "licence": entry.licence,
        "kind": entry.kind,
        "parameters": entry.parameters,
        "bytes": entry.bytes,
        "expected": entry.coverage.expected,
        "scored": entry.coverage.scored,
        "model_sha256": entry.digests["model"],
        "record_sha256": entry.sha256,
        "url": entry.url,
    }
    return {name: value for name, value in row.items() if value is not None}


def _of_reference(reference: Reference) -> dict[str, Any]:
    return {
        "model": clean(reference.name, 200),
        "status": "reference",
        "reason": "as published, not re-run",
        **reference.values,
        "source": clean(reference.source, 400),
        "url": reference.url,
    }


def csv_text(board: Standing) -> str:
    """The table as CSV: numbers in their shortest exact form, text that is never taken for a formula."""
    out = io.StringIO()
    names = header(board)
    writer = csv.DictWriter(out, names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows(board):
        writer.writerow({name: as_csv(value) if isinstance(value, str) else value for name, value in row.items()})
    return out.getvalue()
