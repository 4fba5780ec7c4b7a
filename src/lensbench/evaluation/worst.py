"""Look for the view in which a model does worst, on any benchmark with views and with any budget: from Python.

It is the evaluation of a benchmark with a search (`lensbench.evaluation.searching`) for its headline alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.errors import ModelError
from lensbench.evaluation import evaluate
from lensbench.evaluation.searching import scored_by
from lensbench.isp.search import BUDGET, Found, read_found
from lensbench.isp.tiers import REFERENCE, get_tier
from lensbench.metrics.views import base_arguments
from lensbench.shards import WORST_VIEW
from lensbench.viewspec import searching

BOX = "worst"


def search_worst(
    model: str | Path,
    benchmark: str | Benchmark,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    source: str | Path | None = None,
    partial: bool = False,
    budget: int = BUDGET,
    seed: int = 0,
) -> Found:
    """The worst view that `budget` questions find for a model on a benchmark with views (`config`, `labels`, `source`
    and `partial` as for `evaluate`).

    Raises LensbenchError in one line.
    """
    spec = get_benchmark(benchmark, config) if isinstance(benchmark, str) else benchmark
    metric, views = scored_by(spec), searching(get_tier(BOX), REFERENCE, budget, seed)
    headline = f"worst_view:{metric.id}"
    given = base_arguments(spec.headline.partition(":")[0], spec.arguments.get(spec.headline))
    arguments = {headline: given} if given else {}
    spec = replace(spec, views=views, metrics={headline: metric.version}, arguments=arguments)
    with TemporaryDirectory(prefix="lensbench-") as scratch:
        done = evaluate(model, spec, labels=labels, source=source, partial=partial, out=Path(scratch) / "run")
        found = read_found(done.folder / WORST_VIEW, views.tier, budget, seed)
    if found is None:
        raise ModelError(f"{spec.name}: the search left no readable {WORST_VIEW}")
    return found
