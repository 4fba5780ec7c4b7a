"""Records as `lensbench.evaluation` writes them, made up from a seed: for the tests of boards."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lensbench.benchmark import Benchmark, Input, Reference
from lensbench.metrics import METRICS
from lensbench.record import Record
from lensbench.stats import wilson

REGISTRY = Path(__file__).resolve().parent.parent / "registry" / "lifewatch_flowcam"

with (REGISTRY / "classes.csv").open(encoding="utf-8", newline="") as _handle:
    CLASSES = tuple(row["name"] for row in csv.DictReader(_handle))

IDS = (
    "macro_recall", "top1", "top3", "top5", "macro_precision", "macro_f1", "weighted_f1", "nll", "brier",
    "ece", "macro_recall@support<=50", "macro_recall@support>800", "top1@plankton", "macro_f1@coarse",
)  # fmt: skip

SHARES = ("recall", "precision", "f1")

PAPER = Reference("EfficientNetV2-B0 (paper)", "Decrop et al. 2025", "https://doi.org/10.3389/fmars.2025.1699781",
                  {"macro_recall": 0.776, "top1": 0.8634})  # fmt: skip


def benchmark(**changes: Any) -> Benchmark:
    """The paper's benchmark, or a variant of it."""
    fields: dict[str, Any] = {
        "name": "lifewatch_flowcam",
        "revision": 1,
        "title": "LifeWatch FlowCam plankton, 95 classes (paper's split)",
        "task": "classification",
        "dataset": "lifewatch_flowcam",
        "version": "2.0.0",
        "config": "decrop2025",
        "split": "test",
        "cluster": "hash200",
        "input": Input(100, 100, "opencv-linear", "RGB", (0.0, 1.0)),
        "kinds": ("logits", "probabilities"),
        "metrics": {name: METRICS[name].version for name in IDS},
        "labels": CLASSES,
        "absent": frozenset(),
        "manifest": "5e" * 32,
        "synthetic": False,
        "references": (PAPER,),
        "folder": REGISTRY,
    }
    return Benchmark(**{**fields, **changes})


def result(of: Benchmark, name: str = "cnn", skill: float = 0.7, seed: int = 0) -> dict[str, Any]:
    """The result of a model that is right on about `skill` of the samples of each class."""
    chance = random.Random(f"{name} {seed}")
    support = [max(3, round(1200 / (1 + 0.4 * i))) for i in range(len(of.labels))]
    chance.shuffle(support)
    confusion, classes = _predict(of.labels, support, skill, chance)
    total = sum(support)
    means = {f"macro_{name}": sum(entry[name] for entry in classes) / len(classes) for name in SHARES}
    means |= {f"weighted_{name}": sum(e[name] * e["support"] for e in classes) / total for name in SHARES}
    top1 = sum(count for true, predicted, count in confusion if true == predicted) / total
    return {
        "benchmark": {
            key: getattr(of, key)
            for key in (
                "name",
                "revision",
                "title",
                "task",
                "dataset",
                "version",
                "config",
                "split",
                "synthetic",
            )
        },
        "digests": {
            "benchmark": of.digest,
            "manifest": of.manifest,
            "data": "unknown",
            "model": f"{chance.getrandbits(256):064x}",
            "predictions": f"{chance.getrandbits(256):064x}",
        },
        "model": {
            "name": name,
            "kind": "onnx",
            "labels": "decrop2025",
            "authors": ["The lensbench authors"],
            "licence": "Apache-2.0",
            "training": f"{of.dataset}@{of.version}/train",
            "url": None,
            "parameters": chance.randrange(10_000, 7_000_000),
            "bytes": chance.randrange(100_000, 30_000_000),
        },
        "complete": True,
        "coverage": {
            "expected": total,
            "scored": total,
            "absent": 0,
            "missing": 0,
            "missing_ids": [],
            "extra": 0,
            "unlisted": None,
        },
        "metrics": {key: metric(_value(key, means, top1)) for key in of.metrics},
        "classes": classes,
        "confusion": confusion,
        "assumed": ["layout NCHW, from the shape of the input"],
        "notes": [],
    }


def _predict(
    labels: tuple[str, ...], support: list[int], skill: float, chance: random.Random
) -> tuple[list[list[float]], list[dict[str, Any]]]:
    n = len(labels)
    cells: dict[tuple[int, int], int] = {}
    for true in range(n):
        ease = min(0.99, max(0.02, chance.gauss(skill, 0.15)))
        likely = [chance.randrange(n) for _ in range(6)]
        for _ in range(support[true]):
            predicted = true if chance.random() < ease else likely[min(int(chance.expovariate(0.7)), 5)]
            cells[true, predicted] = cells.get((true, predicted), 0) + 1
    predicted_as = [sum(count for (_, j), count in cells.items() if j == c) for c in range(n)]
    classes = []
    for c, name in enumerate(labels):
        hits = cells.get((c, c), 0)
        low, high = wilson(hits, support[c])
        classes.append(
            {
                "name": name,
                "support": support[c],
                "predicted": float(predicted_as[c]),
                "precision": hits / predicted_as[c] if predicted_as[c] else 0.0,
                "recall": hits / support[c],
                "f1": 2 * hits / (support[c] + predicted_as[c]),
                "recall_low": low,
                "recall_high": high,
            }
        )
    return [[i, j, float(count)] for (i, j), count in sorted(cells.items())], classes


def _value(key: str, means: dict[str, float], top1: float) -> float:
    rest = 1 - top1
    known = {
        **means,
        "top1": top1,
        "top3": 1 - rest / 2,
        "top5": 1 - rest / 3,
        "nll": 4 * rest,
        "ece": rest / 6,
    }
    return known.get(key, means["macro_recall"])  # fmt: skip


def metric(value: float | None, half: float = 0.012) -> dict[str, Any]:
    """A metric's entry; None stands with the reason."""
    if value is None:
        return {
            "value": None,
            "low": None,
            "high": None,
            "method": "none",
            "groups": 0,
            "reason": "needs scores",
        }
    return {
        "value": value,
        "low": max(value - half, 0.0),
        "high": value + half if value > 1 else min(value + half, 1.0),
        "method": "jackknife-logit",
        "groups": 200,
    }


def record(
    of: Benchmark, name: str = "cnn", change: Callable[[dict[str, Any]], object] | None = None, **how: Any
) -> Record:
    """A record of `of`, after `change` did something to its result."""
    made = result(of, name, **how)
    if change:
        change(made)
    return Record(made, {"started": "2026-11-20T10:00:00Z", "cores": 2})
