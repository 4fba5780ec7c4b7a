"""Which benchmark a model is for, and whether that one can be scored yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lensbench.benchmark import Benchmark, benchmark_dataset, benchmark_names, get_benchmark
from lensbench.digest import UNKNOWN
from lensbench.errors import BenchmarkError
from lensbench.models.contract import output_sizes
from lensbench.models.maskcontract import segments

if TYPE_CHECKING:
    from lensbench.models.model import Model


def scorable(spec: Benchmark) -> Benchmark:
    """`spec`, if it can be scored: raises LensbenchError for one whose ids, or what its metrics need, are not there."""
    from lensbench.metrics.scoring import ready_metrics
    from lensbench.splits import read_manifest

    if spec.manifest == UNKNOWN:
        read_manifest(benchmark_dataset(spec), spec.config, spec.split)  # says which file is missing
    ready_metrics(spec.metrics, "segmentation" if spec.protocol else "classification", spec.arguments)
    return spec


def fitting(model: Model, config: str | None) -> list[Benchmark]:
    """The benchmarks that the model's outputs fit: by the number of classes, or as pixels where masks are scored.

    Those of several views have to be named: each dataset has a handful, and all of them fit.
    """
    found = []
    for name in benchmark_names():
        spec = get_benchmark(name, config if name == model.card.benchmark or model.card.benchmark is None else None)
        if spec.views is not None:
            continue
        graph = model.graph_for(spec)
        sizes = output_sizes(graph)
        if segments(graph) if spec.task == "segmentation" else len(spec.labels) in sizes or None in sizes:
            found.append(spec)
    return found


def chosen(model: Model, benchmark: str | Benchmark | None, config: str | None) -> Benchmark:
    """The benchmark that the user or the model's card names, else the only one that the model fits."""
    if isinstance(benchmark, Benchmark):
        return benchmark
    if benchmark or model.card.benchmark:
        return get_benchmark(str(benchmark or model.card.benchmark), config or model.card.config)
    fits = fitting(model, config)
    if len(fits) == 1:
        return fits[0]
    names = [spec.name for spec in fits] or benchmark_names()
    what = "fits more than one benchmark" if fits else "fits no benchmark by its number of outputs"
    raise BenchmarkError(f"{model.file} {what}; name one: " + " or ".join(f"--benchmark {name}" for name in names))
