"""From answers to the `result` of a record: align by id, score, and say what is complete, missing and assumed.

Needs the manifest only: no image, no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark, benchmark_dataset
from lensbench.digest import UNKNOWN
from lensbench.metrics import (
    ClassInfo,
    MaskPrediction,
    Prediction,
    Truth,
    confusion,
    per_class,
    ranking_rows,
    rows_of,
    score,
    unsupported,
)
from lensbench.metrics.views import ViewPrediction
from lensbench.predictions import Answers
from lensbench.splits import HASHED, Manifest, label_indices
from lensbench.stats import hash_groups
from lensbench.viewresult import Computed, view_parts, viewed

SHOWN = 10
"""How many missing ids a record names; it counts them all."""


@dataclass(frozen=True)
class About:
    """What a record says of a model. No path, no host."""

    name: str
    kind: str
    sha256: str | None
    labels: str
    authors: tuple[str, ...] = ()
    licence: str | None = None
    training: str | None = None
    url: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    declared: str | None = None
    """Digest of the model's card."""


@dataclass(frozen=True)
class Origin:
    """Where images were read: `data` is the content digest of the evaluated split, `unlisted` the number of images in
    the source that no list names, `elsewhere` how many are in other splits. By default none was read."""

    data: str = UNKNOWN
    unlisted: int | None = None
    elsewhere: Mapping[str, int] | None = None


UNREAD = Origin()


def make_result(
    benchmark: Benchmark,
    manifest: Manifest,
    answers: Answers,
    about: About,
    *,
    origin: Origin = UNREAD,
    assumed: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Score `answers` on `benchmark`, whose evaluated rows are `manifest`; every value is plain JSON.

    Of a benchmark with views, classes and confusion are those of the reference view.
    """
    expected = manifest.without(benchmark.absent)
    mine = answers.on(expected.ids)
    truth = truth_of(benchmark, expected, mine.ids)
    groups = clusters(benchmark, expected, mine.ids)
    given: Prediction | ViewPrediction = mine.prediction
    plain: Prediction | MaskPrediction = mine.prediction
    parts, computed = dict[str, Any](), Computed()
    if benchmark.views is not None:
        given = viewed(benchmark, mine.prediction)
        plain = given.view(given.reference)
    values = score(truth, given, benchmark.metrics, groups, arguments=benchmark.arguments, computed=computed)
    if isinstance(given, ViewPrediction):
        parts = view_parts(benchmark, truth, given, groups, mine.ids, computed)
    rows = computed[ranking_rows] if ranking_rows in computed else rows_of(ranking_rows, truth, plain)
    without = unsupported(truth)
    told = [f"no test image, so not in macro means: {', '.join(without)}"] if without else []
    found = {
        **head(benchmark, expected, mine.ids, len(answers.ids) - len(mine.ids), about, origin, mine.digest),
        "metrics": {key: value.to_json() for key, value in values.items()},
        "classes": [_class(entry) for entry in per_class(rows, truth.classes)],
        "confusion": [list(cell) for cell in confusion(rows)],
        **parts,
        "assumed": [*assumed, *answers.assumed, *pretended(benchmark)],
        "notes": [*notes, *told],
    }
    return rounded(found)


def head(
    benchmark: Benchmark,
    expected: Manifest,
    scored: Sequence[str],
    extra: int,
    about: About,
    origin: Origin,
    predictions: str,
) -> dict[str, Any]:
    """What every result begins with, whatever was scored: benchmark, digests, model, complete and coverage.

    `scored` are the ids of `expected` that have an answer, `extra` counts answers to others, `predictions` is their
    digest.
    """
    have = set(scored)
    missing = [key for key in expected.ids if key not in have]
    return {
        "benchmark": {
            "name": benchmark.name,
            "revision": benchmark.revision,
            "title": benchmark.title,
            "task": benchmark.task,
            "dataset": benchmark.dataset,
            "version": benchmark.version,
            "config": benchmark.config,
            "split": benchmark.split,
            "synthetic": benchmark.synthetic,
            **({} if benchmark.simulation is None else {"simulated": True}),
        },
        "digests": {
            "benchmark": benchmark.digest,
            "manifest": benchmark.manifest,
            "data": origin.data,
            "model": about.sha256,
            "declared": about.declared,
            "predictions": predictions,
        },
        "model": {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in asdict(about).items()
            if k not in ("sha256", "declared")
        },
        "complete": not missing,
        "coverage": {
            "expected": len(expected.ids),
            "scored": len(scored),
            "absent": len(benchmark.absent),
            "missing": len(missing),
            "missing_ids": missing[:SHOWN],
            "extra": extra,
            "unlisted": origin.unlisted,
            "elsewhere": None if origin.elsewhere is None else dict(origin.elsewhere),
        },
    }


def pretended(benchmark: Benchmark) -> list[str]:
    """What is assumed of a benchmark's images before any is looked at: whose camera simulated frames are of."""
    made = benchmark.simulation
    if made is None:
        return []
    return [f"that a {made.camera} camera took the images: their raw frames are simulated (inverse {made.version})"]


def rounded(result: dict[str, Any]) -> dict[str, Any]:
    """The result as it is recorded: floats to 12 significant digits."""
    found = _round(result)
    assert isinstance(found, dict)
    return found


def _round(value: Any) -> Any:
    """Floats to 12 significant digits: the last bits of exp and log differ between CPUs, a record's hash must not."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: _round(inner) for key, inner in value.items()}
    return [_round(inner) for inner in value] if isinstance(value, list) else value


def clusters(benchmark: Benchmark, manifest: Manifest, ids: Sequence[str]) -> NDArray[np.int64]:
    """The group of every id that an interval leaves out at once: hashed, or the value of a manifest's column.

    Raises DatasetError for a column that is not known of every row.
    """
    if benchmark.cluster == HASHED:
        return hash_groups(ids).astype(np.int64)
    group = dict(zip(manifest.ids, manifest.clusters(benchmark.cluster), strict=True))
    index = {name: i for i, name in enumerate(sorted({group[key] for key in ids}))}
    return np.array([index[group[key]] for key in ids], dtype=np.int64)


def truth_of(benchmark: Benchmark, manifest: Manifest, ids: Sequence[str]) -> Truth:
    """The true classes of `ids`, as part of the whole `manifest`."""
    index = np.array(label_indices(manifest.labels, benchmark.labels), dtype=np.int32)
    support = np.bincount(index, minlength=len(benchmark.labels)).astype(np.int64)
    if len(ids) != len(manifest.ids):
        row = {key: i for i, key in enumerate(manifest.ids)}
        index = index[np.array([row[key] for key in ids], dtype=np.intp)]
    return Truth(index, benchmark.labels, class_info(benchmark), support)


def class_info(benchmark: Benchmark) -> ClassInfo:
    """The attributes of the benchmark's classes that coarse and plankton scores need."""
    dataset = benchmark_dataset(benchmark)
    taxon, plankton = dataset.attribute("taxon"), dataset.attribute("plankton")
    return ClassInfo(
        benchmark.labels,
        None if taxon is None else tuple(taxon[name] for name in benchmark.labels),
        None if plankton is None else tuple(plankton[name] == "true" for name in benchmark.labels),
    )


def _class(entry: Any) -> Mapping[str, Any]:
    fields = asdict(entry)
    fields["recall_low"], fields["recall_high"] = fields.pop("low"), fields.pop("high")
    return fields
