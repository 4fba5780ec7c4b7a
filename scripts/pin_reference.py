"""Pin the errors of the reference models, which `risp:<id>` are relative to: `python -m scripts.pin_reference`.

    python -m scripts.pin_reference [BENCHMARK …] [--config specimen] [--source DIR]

Runs the reference submission of each benchmark that has such metrics over the evaluated split of a config, and writes
what it makes wrong in each view of the grid into the file that the benchmark names (`relative_to`), with the model's
name and sha256 and the digests of the rows and views. Tables of other configs stay. The values by view that it reads
from the records depend on nothing in that file, so a second run writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from lensbench.benchmark import Benchmark, benchmark_names, benchmark_root, get_benchmark, read_spec
from lensbench.errors import BenchmarkError, LensbenchError, printable
from lensbench.evaluation import evaluate
from lensbench.metrics.relative import error_in
from lensbench.metrics.scoring import base_of
from lensbench.paths import write_text
from lensbench.reference import RELATIVE, read_references
from lensbench.registry import SPECIMEN

SUBMISSIONS = Path(__file__).resolve().parent.parent / "leaderboards" / "submissions"
REFERENCES = {
    ("raw_microscopy", "classification"): "cells-one-view",
    ("raw_drone", "classification"): "tiles-one-view",
    ("raw_drone", "segmentation"): "cars-one-view",
}
"""The submission that is the reference, by dataset and task: trained on the reference view alone."""
DIGITS = 9


def measured(spec: Benchmark, source: Path | None) -> dict[str, Any]:
    """The table of one config: whose errors, on which rows, in which views, and the errors by metric and view."""
    submission = REFERENCES.get((spec.dataset, spec.task))
    if submission is None or spec.views is None:
        raise BenchmarkError(f"{spec.name}: no submission is the reference of {spec.dataset}, {spec.task}")
    with tempfile.TemporaryDirectory() as folder:
        result = evaluate(SUBMISSIONS / submission, spec, source=source, out=folder).record.result
    if not result["complete"]:
        raise BenchmarkError(f"{spec.name}: images of the {spec.split} split are missing: give all of them")
    errors = {}
    for base in (base_of(metric) for metric in spec.metrics if metric.startswith(RELATIVE)):
        assert base is not None
        shown = ((one["name"], one["metrics"][base.id]["value"]) for one in result["views"] if one["compared"])
        errors[base.id] = {view: round(error_in(value, base.direction), DIGITS) for view, value in shown}
    return {
        "model": result["model"]["name"],
        "sha256": result["digests"]["model"],
        "manifest": spec.manifest,
        "tier": spec.views.tier.digest,
        "errors": errors,
    }


def pin(name: str, config: str, source: Path | None) -> Path:
    """Write the table of that config into the benchmark's file; its path."""
    if name not in relative():
        raise BenchmarkError(f"{name}: has no metric that is relative to a reference")
    path = benchmark_root() / str(read_spec(benchmark_root() / f"{name}.toml")["metrics"]["relative_to"])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "{}\n")
    spec = get_benchmark(name, config)
    found = {**read_references(path), spec.config: measured(spec, source)}
    write_text(path, json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    return path


def relative() -> list[str]:
    """The benchmarks that name such a file."""
    root = benchmark_root()
    return [name for name in benchmark_names() if "relative_to" in read_spec(root / f"{name}.toml").get("metrics", {})]


def main(argv: list[str] | None = None) -> None:
    """Pin those asked for; a user's mistake is one line and exit code 2, as of `bench`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("benchmarks", nargs="*", help="default: all that have relative metrics")
    parser.add_argument("--config", default=SPECIMEN, help="default: the specimen")
    parser.add_argument("--source", type=Path, help="the archives, or an unpacked copy")
    args = parser.parse_args(argv)
    try:
        for name in args.benchmarks or relative():
            print(pin(name, args.config, args.source), flush=True)
    except LensbenchError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
