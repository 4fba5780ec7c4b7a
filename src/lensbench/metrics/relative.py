"""The errors of a reference model view by view, which a relative error (`risp:<id>`) is divided by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lensbench.errors import BenchmarkError
from lensbench.metrics.base import Metric

ENTRIES = ("model", "sha256", "errors")
NOT_SCORED = "no reference model has been scored on these frames in these views"


@dataclass(frozen=True)
class ReferenceErrors:
    """What the reference model makes wrong in each view of the grid: constants, whose own uncertainty is nowhere."""

    model: str
    sha256: str
    errors: Mapping[str, float]

    @property
    def total(self) -> float:
        """Their sum, which no order of views changes."""
        return math.fsum(self.errors.values())


def error_in(value: Any, direction: str) -> Any:
    """How wrong a value, or an array of values, is: 1 - value where higher is better, else the value itself."""
    return 1 - value if direction == "higher" else value


def reference_errors(metric_id: str, base: Metric, arguments: Mapping[str, Any] | None) -> ReferenceErrors | None:
    """Those that the arguments of a metric state; None where there are none.

    Raises:
        BenchmarkError: the base says nothing of errors, or the arguments are not a model's errors; names the view.
    """
    if base.scale == "real" or (base.scale == "positive" and base.direction == "higher"):
        raise BenchmarkError(
            f"metric {metric_id!r}: a {base.scale} value of which {base.direction} is better is no error"
        )
    if not arguments:
        return None
    if set(arguments) != set(ENTRIES):
        raise BenchmarkError(f"metric {metric_id!r} takes {', '.join(ENTRIES)}, got {', '.join(map(str, arguments))}")
    model, sha256, errors = (arguments[name] for name in ENTRIES)
    if not isinstance(model, str) or not isinstance(sha256, str) or not isinstance(errors, Mapping):
        raise BenchmarkError(f"metric {metric_id!r}: model and sha256 are text, errors a table by view")
    most = 1.0 if base.scale == "unit" else math.inf
    for view, error in errors.items():
        number = isinstance(error, int | float) and not isinstance(error, bool) and math.isfinite(error)
        if not number or not 0 <= error <= most:
            ends = "from 0 to 1" if base.scale == "unit" else "of 0 and above"
            raise BenchmarkError(
                f"metric {metric_id!r}: the reference's error in view {view!r} is {error!r}, no number {ends}"
            )
    found = ReferenceErrors(model, sha256, {str(view): float(error) for view, error in errors.items()})
    if not (0 < found.total < math.inf):
        raise BenchmarkError(
            f"metric {metric_id!r}: the reference's errors sum to {found.total}: nothing is relative to that"
        )
    return found
