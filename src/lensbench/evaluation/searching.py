"""The search of a benchmark with a worst case: question by question, each one's answers a file of the run.

The search knows nothing of the model but the metric that the headline is made of, of all frames in one view. Which
questions come is decided by the stored answers alone: a killed run reads what is there and goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lensbench.benchmark import Benchmark
from lensbench.digest import sha256_file
from lensbench.errors import ModelError
from lensbench.evaluation.run import Ground, Options, shown
from lensbench.isp.search import Found, read_found, worst_view
from lensbench.isp.view import View
from lensbench.metrics import Metric
from lensbench.metrics.scoring import base_of
from lensbench.paths import write_text
from lensbench.shards import WORST_VIEW, Run
from lensbench.viewrunner import Frames

FAILED = "failed-view.json"


@dataclass(frozen=True)
class Asking:
    """What a track does for the search: `probe` the model, `keep` its answers for all frames in one view in a file, and
    say what a metric makes of such a file."""

    probe: Callable[[], object]
    keep: Callable[[Frames, View, Path], object]
    value: Callable[[Metric, Path], float | None]


def finished(run: Run, ground: Ground) -> Ground | None:
    """The ground of a run that is over; after a search its benchmark knows the views that were asked about."""
    views = ground.spec.views
    if not run.holds(run.predictions, run.rows):
        return None
    if views is None or views.search is None:
        return ground
    told = run.folder / WORST_VIEW
    if not told.is_file() or run.found != sha256_file(told):  # lost, or not what was written beside these answers
        return None
    found = read_found(told, views.tier, views.search.budget, views.search.seed)
    return None if found is None else _knowing(ground, found)


def searched(
    asking: Asking, frames: Frames, run: Run, ground: Ground, title: str, options: Options
) -> tuple[Ground, int]:
    """Ask, merge the answers, and write down what was found: (the ground whose benchmark knows the views, rows that
    were there already)."""
    views = ground.spec.views
    assert views is not None and views.search is not None
    metric, n = scored_by(ground.spec), len(frames)
    sign = 1 if metric.direction == "higher" else -1
    there = [path for path in run.kept() if run.holds(path, n)]
    paths: list[Path] = []
    least = float("inf")

    def score(view: View) -> float:
        nonlocal least
        path = run.question(len(paths), view.digest)
        paths.append(path)
        if path not in there:
            _keep(asking, frames, view, path, run.folder / FAILED)
        value = asking.value(metric, path)
        if value is None:
            raise ModelError(f"{metric.id} is not defined on these samples: there is nothing to search")
        if sign * value < least:
            least = sign * value
            if options.progress and len(paths) > 1:
                options.progress.note(f"question {len(paths)}: {metric.id} {value:.4f} in {view.name}, the worst yet")
        return sign * value

    with shown(options, ground, f"{title}, {views.search.budget} views", run.rows, len(there) * n):
        asking.probe()
        found = worst_view(score, views.tier, views.search.budget, views.search.seed)
    try:
        write_text(run.folder / WORST_VIEW, json.dumps(found.record(), sort_keys=True, indent=1) + "\n")
    except OSError as error:
        raise ModelError(f"{run.folder}: cannot be written ({error.strerror}); free some space") from error
    run.predictions.unlink(missing_ok=True)  # left by a search whose `worst-view.json` is lost
    run.merge(paths, sha256_file(run.folder / WORST_VIEW))
    return _knowing(ground, found), len(there) * n


def _keep(asking: Asking, frames: Frames, view: View, path: Path, failed: Path) -> None:
    """Ask; the view in which a model fails is written down, for nobody else knows which it was."""
    failed.unlink(missing_ok=True)
    try:
        asking.keep(replace(frames, views=(view,), reference=0), view, path)
    except ModelError as error:
        write_text(failed, json.dumps({"view": view.spec}, sort_keys=True, indent=1) + "\n")
        raise ModelError(f"{error} (the view is in {failed})") from error


def scored_by(spec: Benchmark) -> Metric:
    """The metric that the headline is made of; raises ModelError where it is not one over views."""
    base = base_of(spec.headline, spec.arguments.get(spec.headline))
    if spec.views is None or base is None:
        raise ModelError(f"{spec.name} has no views: a worst one is looked for on benchmarks of developed frames")
    return base


def _knowing(ground: Ground, found: Found) -> Ground:
    spec = ground.spec
    assert spec.views is not None
    return replace(ground, spec=replace(spec, views=replace(spec.views, found=found)))
