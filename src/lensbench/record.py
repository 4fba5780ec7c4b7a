"""The result record: `result` (deterministic, canonical, hashed) and `run` (when, how fast; outside the hash).

A record holds no host name and no path. Reading one checks its hash: a record that was edited by hand is
refused rather than ranked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensbench.digest import sha256_of
from lensbench.errors import RecordError
from lensbench.paths import write_text

SCHEMA = 1
LIMIT = 16 << 20
"""A record is a page of numbers: anything larger is not one."""


@dataclass(frozen=True)
class Record:
    """One scored model. `result` and `run` are plain JSON values; see docs/record.md for every field."""

    result: Mapping[str, Any]
    run: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Hex sha256 over the canonical JSON of `result`."""
        return sha256_of(self.result)

    def value(self, metric: str) -> float | None:
        """The value of one metric, or None where it could not be computed."""
        entry = self.result["metrics"].get(metric)
        value = None if entry is None else entry["value"]
        return None if value is None else float(value)

    def to_json(self) -> str:
        """The record as it is stored: sorted keys, one space of indent, LF."""
        data = {"schema": SCHEMA, "result": self.result, "sha256": self.sha256, "run": self.run}
        return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_record(record: Record, path: Path) -> None:
    """Write a record, whole or not at all."""
    write_text(path, record.to_json())


def read_record(path: Path) -> Record:
    """Read and check a stored record; raises RecordError naming the file and what is wrong with it."""
    try:
        if path.stat().st_size > LIMIT:
            raise RecordError(f"{path}: {path.stat().st_size:,} bytes is more than a record can be")
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not valid JSON: {error}") from error
    return check_record(data, str(path))


def check_record(data: Any, where: str) -> Record:
    """The Record in parsed JSON, after checking its schema, the fields a board relies on and its hash."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise RecordError(f"{where}: not a lensbench record of schema {SCHEMA}")
    result, run = data.get("result"), data.get("run")
    if not isinstance(result, dict) or not isinstance(run, dict):
        raise RecordError(f"{where}: `result` or `run` is missing")
    for key, kind in REQUIRED.items():
        if not isinstance(result.get(key), kind):
            raise RecordError(f"{where}: result.{key} is missing or not of type {kind.__name__}")
    for metric, entry in result["metrics"].items():
        if not isinstance(entry, dict) or not {"value", "low", "high", "method", "groups"} <= entry.keys():
            raise RecordError(f"{where}: metric {metric!r} lacks one of value, low, high, method, groups")
    record = Record(result, run)
    try:
        found = record.sha256
    except (ValueError, RecursionError) as error:  # JSON spells numbers past a double and lone surrogates
        raise RecordError(f"{where}: holds a value that no record can: {error}") from error
    if data.get("sha256") != found:
        raise RecordError(f"{where}: its sha256 is not that of its result: it was changed after it was made")
    return record


REQUIRED: Mapping[str, type] = {
    "benchmark": dict,
    "digests": dict,
    "model": dict,
    "complete": bool,
    "coverage": dict,
    "metrics": dict,
    "assumed": list,
}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number a record can hold")
