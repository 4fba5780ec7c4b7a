"""The errors of a reference model, pinned in a file beside a benchmark: what its `risp:<id>` are relative to.

The file is JSON, a table for each config on which the reference was scored:

    {"specimen": {"model": NAME, "sha256": OF THE MODEL, "manifest": OF THE ROWS, "tier": OF THE VIEWS,
                  "errors": {ID OF A METRIC: {VIEW: ERROR, …}, …}}}

`scripts/pin_reference.py` writes it. Errors that were measured on other rows or in other views than the benchmark has
now are no errors on these: they are left out, and the metric is null with that reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lensbench.errors import BenchmarkError
from lensbench.paths import read_regular

RELATIVE = "risp:"
"""What the id of a metric that is relative to a reference model begins with."""


def read_references(path: Path) -> dict[str, Any]:
    """The file's table by config; raises BenchmarkError for a file that is none."""
    try:
        found = json.loads(read_regular(path).decode("utf-8"))
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise BenchmarkError(f"{path}: not a table of the reference's errors by config")
    return found


def reference_arguments(
    path: Path, config: str, ids: Iterable[str], manifest: str, tier: str, grid: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Arguments of the relative metrics among `ids`, as the file pins them for these rows in these views.

    Raises:
        BenchmarkError: the entry lacks something, or its errors are not of exactly the views of the grid.
    """
    entry = read_references(path).get(config, {})
    if (entry.get("manifest"), entry.get("tier")) != (manifest, tier):
        return {}
    views, found = set(grid), {}
    for metric in ids:
        if not metric.startswith(RELATIVE):
            continue
        base = metric.removeprefix(RELATIVE)
        try:
            errors = dict(entry["errors"][base])
            found[metric] = {"model": entry["model"], "sha256": entry["sha256"], "errors": errors}
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"{path}: {config}: no errors by view of {base}, or whose they are") from error
        if odd := sorted(views ^ errors.keys()):
            lack = "lack" if odd[0] in views else "are also of"
            raise BenchmarkError(f"{path}: {config}: errors of {base} {lack} the view {odd[0]!r}")
    return found


def unrelated(arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Arguments without a reference model's errors, for rows that it was not scored on."""
    return {metric: given for metric, given in arguments.items() if not metric.startswith(RELATIVE)}
