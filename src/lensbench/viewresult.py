"""What a record says of views beside its metrics: each view on its own, each stage, and the frames that lose most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.metrics import (
    MaskPrediction,
    MaskTruth,
    Metric,
    MetricValue,
    Prediction,
    Truth,
    mask_rows,
    ranking_rows,
)
from lensbench.metrics.agreement import image_iou
from lensbench.metrics.base import PerSample, Rows, n_rows
from lensbench.metrics.scoring import base_of, rows_of, with_interval
from lensbench.metrics.views import (
    GRID,
    REFERENCE,
    ROLE,
    ViewPrediction,
    by_view,
    rows_by_view,
    rows_of_view,
)
from lensbench.stats import jackknife

WORST = 10
"""Frames that a record names."""

Computed = dict[PerSample, Rows]


def viewed(benchmark: Benchmark, flat: Prediction | MaskPrediction) -> ViewPrediction:
    """The answers, id by id, in the benchmark's views."""
    views = benchmark.views
    assert views is not None
    return ViewPrediction(flat, views.names, views.at, views.grid)


def view_parts(
    benchmark: Benchmark,
    truth: Truth | MaskTruth,
    given: ViewPrediction,
    clusters: NDArray[np.integer[Any]],
    ids: Sequence[str],
    computed: Computed,
) -> dict[str, Any]:
    """``grid``, ``views``, ``stages`` and ``frames`` of a result; `computed` holds rows that are there already."""
    views = benchmark.views
    assert views is not None

    def rows(metric: Metric) -> Rows:
        work = rows_by_view(metric.per_sample)
        if work not in computed:
            computed[work] = rows_of(work, truth, given)
        return computed[work]

    bases = [metric for metric in _bases(benchmark) if not metric.lacks(truth, given.flat)]
    each: list[dict[str, Any]] = []
    for place, view in enumerate(views.shown):
        values = {base.id: with_interval(base, rows_of_view(rows(base), place), clusters).to_json() for base in bases}
        each.append({"name": view.name, "digest": view.digest, "compared": views.grid[place], "metrics": values})
    headline = bases[0] if bases and bases[0].id == _bases(benchmark)[0].id else None
    return {
        "grid": {
            "tier": views.tier.name,
            "digest": views.tier.digest,
            "reference": views.reference.name,
            "metric": _bases(benchmark)[0].id,
        },
        "views": each,
        "stages": [] if headline is None else _stages(views.series, headline, rows(headline), clusters),
        "frames": _frames(truth, given, ids, computed),
    }


def _bases(benchmark: Benchmark) -> list[Metric]:
    """The metrics that the benchmark's are made of, each once, the headline's first."""
    found = (base_of(metric, benchmark.arguments.get(metric)) for metric in benchmark.metrics)
    return list({base.id: base for base in found if base}.values())


def _stages(
    series: Mapping[str, tuple[int, ...]], base: Metric, rows: Rows, clusters: NDArray[np.integer[Any]]
) -> list[dict[str, Any]]:
    """What each stage costs: the mean over its severities of what the reference is better by."""
    if not n_rows(rows):
        return []
    values, without = by_view(base, rows, clusters)
    reference = int(np.flatnonzero(rows[ROLE][0] & REFERENCE)[0])
    sign = 1 if base.direction == "higher" else -1
    found = []
    for name, places in series.items():
        loss, losses = (sign * (each[reference] - each[list(places)]).mean(axis=0) for each in (values, without))
        value = float(loss)
        if np.isnan(value):
            continue
        end = jackknife(losses, value, "real")
        stated = MetricValue(value, end.low, end.high, end.method, end.groups, end.reason).to_json()
        found.append({"name": name, "views": len(places), "drop": stated})
    return found


def _frames(truth: Truth | MaskTruth, given: ViewPrediction, ids: Sequence[str], computed: Computed) -> list[Any]:
    """The frames that lose most in some view: by what they lose, then their least score."""
    work = rows_by_view(mask_rows if isinstance(truth, MaskTruth) else ranking_rows)
    if work not in computed:
        computed[work] = rows_of(work, truth, given)
    rows = computed[work]
    if not n_rows(rows):
        return []
    scores = image_iou(rows) if isinstance(truth, MaskTruth) else rows["hit"]
    compared = np.flatnonzero(rows[ROLE][0] & GRID)
    reference = int(np.flatnonzero(rows[ROLE][0] & REFERENCE)[0])
    least, mean = scores[:, compared].min(axis=1), scores[:, compared].mean(axis=1)
    loss = scores[:, reference] - least
    order = sorted(range(len(ids)), key=lambda row: (-loss[row], least[row], ids[row]))[:WORST]
    return [
        {
            "id": ids[row],
            "reference": float(scores[row, reference]),
            "mean": float(mean[row]),
            "least": float(least[row]),
            "view": given.names[compared[int(scores[row, compared].argmin())]],
        }
        for row in order
    ]
