"""Which benchmark a model is for, and whether that one can be scored yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lensbench.benchmark import Benchmark, benchmark_dataset, benchmark_names, get_benchmark
from lensbench.digest import UNKNOWN
from lensbench.errors import BenchmarkError
from lensbench.models.contract import output_sizes

if TYPE_CHECKING:
    from lensbench.models.onnx import OnnxModel


def scorable(spec: Benchmark) -> Benchmark:
    """`spec`, if it can be scored: raises LensbenchError for one whose ids or metrics are not there yet."""
    from lensbench.splits import read_manifest

    if spec.manifest == UNKNOWN:
        read_manifest(benchmark_dataset(spec), spec.config, spec.split)  # says which file is missing
    if spec.task != "classification":
        raise BenchmarkError(
            f"{spec.name} is a {spec.task} benchmark: this version validates it, and cannot score it yet"
        )
    return spec


def fitting(onnx: OnnxModel, config: str | None) -> list[Benchmark]:
    """The benchmarks whose input and number of classes the model's graph fits."""
    sizes = output_sizes(onnx.graph)
    found = []
    for name in benchmark_names():
        spec = get_benchmark(name, config if name == onnx.card.benchmark or onnx.card.benchmark is None else None)
        if spec.task == "classification" and (len(spec.labels) in sizes or None in sizes):
            found.append(spec)
    return found


def chosen(onnx: OnnxModel, benchmark: str | Benchmark | None, config: str | None) -> Benchmark:
    """The benchmark that the user or the model's card names, else the only one that the model fits."""
    if isinstance(benchmark, Benchmark):
        return benchmark
    if benchmark or onnx.card.benchmark:
        return get_benchmark(str(benchmark or onnx.card.benchmark), config or onnx.card.config)
    fits = fitting(onnx, config)
    if len(fits) == 1:
        return fits[0]
    names = [spec.name for spec in fits] or benchmark_names()
    what = "fits more than one benchmark" if fits else "fits no benchmark by its number of outputs"
    raise BenchmarkError(f"{onnx.file} {what}; name one: " + " or ".join(f"--benchmark {name}" for name in names))
