"""lensbench: a data-versioned registry of scientific imaging benchmarks and the harness that scores models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensbench.data.loading import load_dataset as load_dataset
    from lensbench.evaluation import evaluate as evaluate
    from lensbench.evaluation import evaluate_predictions as evaluate_predictions
    from lensbench.leaderboard import Leaderboard as Leaderboard

__version__ = "0.1.0"

_EXPORTS = {
    "Leaderboard": "lensbench.leaderboard",
    "evaluate": "lensbench.evaluation",
    "evaluate_predictions": "lensbench.evaluation",
    "load_dataset": "lensbench.data.loading",
}
"""Public name → the module that defines it, imported when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'lensbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
