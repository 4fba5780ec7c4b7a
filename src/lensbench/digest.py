"""Canonical JSON and sha256: how everything that pins a number is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""A fact that nobody could read yet. It is filled and pinned when it is first seen; no guess stands for it."""


def canonical(value: Any) -> bytes:
    """`value` as JSON with sorted keys, no spaces, UTF-8 and no NaN or infinity: one text for one value.

    Floats are written as Python's shortest text that reads back to the same double.

    >>> canonical({"b": 1.0, "a": ["é", None]}).decode()
    '{"a":["é",null],"b":1.0}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def sha256_of(value: Any) -> str:
    """Hex sha256 over the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256_rows(rows: Iterable[list[Any]]) -> str:
    """`sha256_of(list(rows))`, a thousand rows at a time: the list is never in memory.

    >>> sha256_rows(iter([["a", 1], ["b", 2]])) == sha256_of([["a", 1], ["b", 2]])
    True
    """
    digest, comma, rest = hashlib.sha256(b"["), b"", iter(rows)
    while part := list(islice(rest, 1_000)):
        digest.update(comma + canonical(part)[1:-1])
        comma = b","
    digest.update(b"]")
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in constant memory."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
