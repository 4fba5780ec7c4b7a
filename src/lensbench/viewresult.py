"""What a record says of views beside its metrics: each view on its own, each stage, and the frames that lose most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.isp.search import VERSION, parameters
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
from lensbench.metrics.base import FloatArray, PerSample, Rows, n_rows
from lensbench.metrics.scoring import base_of, rows_of, with_interval
from lensbench.metrics.views import (
    GRID,
    REFERENCE,
    ROLE,
    ViewPrediction,
    by_view,
    rows_by_view,
    rows_of_view,
    values_by_view,
)
from lensbench.stats import jackknife
from lensbench.viewspec import Views

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
    """``grid``, ``views``, ``stages`` and ``frames`` of a result, and its ``search`` where there was one; `computed`
    holds rows that are there already.

    Of a search, ``views`` has what it asks first and the worst that it found; the others are in ``search``.
    """
    views = benchmark.views
    assert views is not None

    def rows(metric: Metric) -> Rows:
        work = rows_by_view(metric.per_sample)
        if work not in computed:
            computed[work] = rows_of(work, truth, given)
        return computed[work]

    bases = [metric for metric in _bases(benchmark) if not metric.lacks(truth, given.flat)]
    headline = bases[0] if bases and bases[0].id == _bases(benchmark)[0].id else None
    asked, told, worst = dict[str, Any](), tuple(range(len(views.names))), None
    if views.found is not None and headline is not None and n_rows(rows(headline)):
        scores = values_by_view(headline, rows(headline))
        worst = int(scores.argmin() if headline.direction == "higher" else scores.argmax())
        asked, told = search_part(views, worst, scores), views.told(worst)
    each: list[dict[str, Any]] = []
    for place in told:
        view = views.shown[place]
        values = {base.id: with_interval(base, rows_of_view(rows(base), place), clusters).to_json() for base in bases}
        each.append({"name": view.name, "digest": view.digest, "compared": views.grid[place], "metrics": values})
    return {
        "grid": {
            "tier": views.tier.name,
            "digest": views.tier.digest,
            "reference": views.reference.name,
            "metric": _bases(benchmark)[0].id,
        },
        "views": each,
        "stages": [] if headline is None else _stages(views.series, headline, rows(headline), clusters),
        "frames": _frames(truth, given, ids, computed, worst),
        **asked,
    }


def search_part(views: Views, worst: int, scores: FloatArray) -> dict[str, Any]:
    """``search`` of a result: every question with its score, and the worst view in full."""
    found, search = views.found, views.search
    assert found is not None and search is not None
    trials = [
        [trial.branch, list(parameters(views.tier, trial.view).values()), trial.view.digest, float(score)]
        for trial, score in zip(found.trials, scores, strict=True)
    ]
    view = views.shown[worst]
    return {
        "search": {
            "version": VERSION,
            "budget": search.budget,
            "seed": search.seed,
            "parameters": [name.removesuffix("_log2") for name in views.tier.box],
            "trials": trials,
            "worst": {"name": view.name, "digest": view.digest, "score": float(scores[worst]), "view": view.spec},
        }
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


def _frames(
    truth: Truth | MaskTruth, given: ViewPrediction, ids: Sequence[str], computed: Computed, worst: int | None
) -> list[Any]:
    """The frames that lose most in some view, or in the `worst` that a search found: by what they lose, then their
    least score, then their mean."""
    work = rows_by_view(mask_rows if isinstance(truth, MaskTruth) else ranking_rows)
    if work not in computed:
        computed[work] = rows_of(work, truth, given)
    rows = computed[work]
    if not n_rows(rows):
        return []
    scores = image_iou(rows) if isinstance(truth, MaskTruth) else rows["hit"]
    compared = np.flatnonzero(rows[ROLE][0] & GRID)
    reference = int(np.flatnonzero(rows[ROLE][0] & REFERENCE)[0])
    mean, tried = scores[:, compared].mean(axis=1), compared if worst is None else np.array([worst])
    least = scores[:, tried].min(axis=1)
    loss = scores[:, reference] - least
    order = sorted(range(len(ids)), key=lambda row: (-loss[row], least[row], mean[row], ids[row]))[:WORST]
    return [
        {
            "id": ids[row],
            "reference": float(scores[row, reference]),
            "mean": float(mean[row]),
            "least": float(least[row]),
            "view": given.names[tried[int(scores[row, tried].argmin())]],
        }
        for row in order
    ]
