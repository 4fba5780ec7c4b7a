"""What all metrics with all intervals cost, beside scikit-learn computing the same values without intervals.

    python tests/benchmarks/bench_metrics.py [--samples 33718] [--classes 95] [--rounds 7]

A script, not a timed test: it prints medians and ratios and fails nothing. Random logits, 200 hashed groups;
the two sides take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics import METRICS as ALL_METRICS
from lensbench.metrics import ClassInfo, Prediction, Truth, score
from lensbench.stats import hash_groups

METRICS = [name for name, metric in ALL_METRICS.items() if "classification" in metric.tasks]
IntArray = NDArray[np.integer[Any]]


def specimen(n: int, n_classes: int) -> tuple[Truth, Prediction]:
    """Random logits of a long-tailed classification, each class with a sample."""
    rng = np.random.default_rng(0)
    tail = rng.choice(n_classes, size=n - n_classes, p=rng.dirichlet(np.full(n_classes, 0.5)))
    label = np.concatenate([np.arange(n_classes), tail]).astype(np.int32)
    logits = rng.normal(size=(n, n_classes)).astype(np.float32)
    logits[np.arange(n), label] += 3
    names = tuple(f"class {c}" for c in range(n_classes))
    taxon = tuple(f"taxon {c % 9}" for c in range(n_classes))
    return Truth(label, names, ClassInfo(names, taxon, tuple(c % 5 > 0 for c in range(n_classes)))), Prediction(
        logits, "logits"
    )


def ours(truth: Truth, prediction: Prediction, ids: list[str]) -> dict[str, float]:
    """Every metric with its interval, hashing of the ids included."""
    values = score(truth, prediction, METRICS, hash_groups(ids))
    return {name: value.value for name, value in values.items() if value.value is not None}


def scikit_learns(truth: Truth, prediction: Prediction) -> dict[str, float]:
    """The same values (ece apart, which scikit-learn lacks) by its public functions, each called once."""
    from sklearn import metrics as sk

    assert prediction.scores is not None
    assert truth.info is not None
    assert truth.info.taxon is not None
    y, logits = truth.label, prediction.scores
    best = logits.argmax(axis=1)
    p = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    p /= p.sum(axis=1, keepdims=True)
    every = list(range(len(truth.classes)))
    values = {f"top{k}": sk.top_k_accuracy_score(y, logits, k=k, labels=every) for k in (1, 3, 5)}
    values["balanced_accuracy"] = sk.balanced_accuracy_score(y, best)
    values["nll"], values["brier"] = sk.log_loss(y, p), sk.brier_score_loss(y, p, labels=every)

    def averages(y: IntArray, best: IntArray, average: str) -> tuple[float, float, float]:
        scores = sk.precision_recall_fscore_support(y, best, labels=np.unique(y), average=average, zero_division=0)
        return float(scores[0]), float(scores[1]), float(scores[2])

    for average in ("macro", "weighted"):
        names = (f"{average}_precision", f"{average}_recall", f"{average}_f1")
        values |= zip(names, averages(y, best, average), strict=True)
    taxon = np.unique(truth.info.taxon, return_inverse=True)[1]
    values["top1@coarse"] = sk.accuracy_score(taxon[y], taxon[best])
    _, values["macro_recall@coarse"], values["macro_f1@coarse"] = averages(taxon[y], taxon[best], "macro")
    kept = {"plankton": np.array(truth.info.plankton)[y]}
    support = np.bincount(y)[y]
    for name, least, most in (
        ("<=50", 1, 50),
        ("51-200", 51, 200),
        ("201-800", 201, 800),
        (">800", 801, np.inf),
    ):
        kept[f"support{name}"] = (support >= least) & (support <= most)
    values["top1@plankton"] = sk.accuracy_score(y[kept["plankton"]], best[kept["plankton"]])
    for name, mask in kept.items():
        if mask.any():
            values[f"macro_recall@{name}"] = averages(y[mask], best[mask], "macro")[1]
    return values


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def import_seconds(module: str) -> float:
    """Seconds to import a module in a fresh process, numpy already imported."""
    code = f"import numpy, time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=33_718)
    parser.add_argument("--classes", type=int, default=95)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    truth, prediction = specimen(args.samples, args.classes)
    ids = [f"sample-{i}" for i in range(args.samples)]

    mine, theirs = ours(truth, prediction, ids), scikit_learns(truth, prediction)
    differences = [abs(mine[name] - value) for name, value in theirs.items()]
    times: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
    for _ in range(args.rounds):
        times["ours"].append(seconds(lambda: ours(truth, prediction, ids)))
        times["scikit-learn"].append(seconds(lambda: scikit_learns(truth, prediction)))
    median = {name: statistics.median(runs) for name, runs in times.items()}
    print(f"random logits {args.samples} x {args.classes}, 200 groups, median (least) of {args.rounds} runs")
    print(f"{'':44}{'seconds':>16}{'ratio':>8}")
    for name, what in (
        ("ours", f"lensbench: {len(mine)} values, each with an interval"),
        ("scikit-learn", f"scikit-learn: {len(theirs)} of them, no interval"),
    ):
        shown = f"{median[name]:.3f} ({min(times[name]):.3f})"
        print(f"{what:44}{shown:>16}{median[name] / median['ours']:8.1f}")
    print(f"largest difference between the two: {max(differences):.1e}")
    for module in ("lensbench.metrics", "sklearn.metrics"):
        runs = [import_seconds(module) for _ in range(3)]
        print(f"import {module:37}{statistics.median(runs):>16.3f}")


if __name__ == "__main__":
    main()
