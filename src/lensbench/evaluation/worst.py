"""Look for the view in which a model does worst: a search over the box of tier W, with a model's score as what it asks.

It knows nothing of the model but the metric that the benchmark's headline is made of, taken of all frames in one view.
The view that it finds can be rendered, and scored again as any other (a tier of that one view).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.errors import ModelError
from lensbench.evaluation import read_model
from lensbench.evaluation.frames import open_frames
from lensbench.evaluation.run import Ground, Options, cores, prepared
from lensbench.isp.search import BUDGET, Found, worst_view
from lensbench.isp.tiers import get_tier
from lensbench.isp.view import View
from lensbench.maskrunner import Network, check_steady
from lensbench.masktruth import TrueMaps
from lensbench.metrics import MaskPrediction, MaskTruth, Metric, get_metric, rows_of
from lensbench.metrics.views import split_id
from lensbench.models.contract import bind, labels_given, sized
from lensbench.models.fit import scorable
from lensbench.models.maskcontract import bind_masks
from lensbench.models.model import Model, one
from lensbench.predictions import answers_of
from lensbench.result import truth_of
from lensbench.viewrunner import Frames, answer_views, infer_views, probe_views, reference_image

BOX = "worst"


def search_worst(
    model: str | Path,
    benchmark: str | Benchmark,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    source: str | Path | None = None,
    budget: int = BUDGET,
    seed: int = 0,
) -> Found:
    """The worst view that `budget` questions find for a model on a benchmark with views (`config`, `labels` and
    `source` as for `evaluate`).

    Only samples of the split that are there are asked about. Raises LensbenchError in one line.
    """
    spec = scorable(get_benchmark(benchmark, config) if isinstance(benchmark, str) else benchmark)
    base = split_id(spec.headline)
    if spec.views is None or base is None:
        raise ModelError(f"{spec.name} has no views: a worst one is looked for on benchmarks of developed frames")
    metric, ground = get_metric(base[1], spec.arguments.get(spec.headline)), prepared(spec, Options(source))
    read = read_model(model)
    score = _masks(read, ground, metric) if spec.task == "segmentation" else _classes(read, ground, metric, labels)
    sign = 1 if metric.direction == "higher" else -1
    return worst_view(lambda view: sign * score(view), get_tier(BOX), budget, seed)


def _classes(
    model: Model, ground: Ground, metric: Metric, labels: str | Sequence[str] | None
) -> Callable[[View], float]:
    spec, frames = ground.spec, open_frames(ground)
    if labels is not None:
        model = model.declaring(replace(model.card, labels=labels_given(labels, spec)))
    graph = model.graph_for(spec)
    contract = bind(graph, model.card, spec, model.file)
    tensor = next(i for i in graph.inputs if i.name == contract.feed.input)
    feed = sized(contract.feed, *frames.size(), tensor, model.file)
    infer = one(model.open(feed.input, (feed.output,)))
    probe_views(frames, feed, infer)
    truth = truth_of(spec, ground.manifest.without(spec.absent), ground.ids)

    def score(view: View) -> float:
        out = np.empty((len(frames), feed.classes), np.float32)
        infer_views(_in(frames, view), 0, len(frames), feed, infer, out, cores(), _nothing)
        given = answers_of(ground.ids, out[:, list(contract.order)], contract.kind).prediction
        return _value(metric.reduce(rows_of(metric.per_sample, truth, given)))

    return score


def _masks(model: Model, ground: Ground, metric: Metric) -> Callable[[View], float]:
    spec, frames = ground.spec, open_frames(ground)
    contract = bind_masks(model.graph_for(spec), model.card, spec, model.file)
    network = Network(contract.feed, model.open(contract.feed.entry.name, contract.feed.outputs), model.file)
    check_steady(reference_image(frames, 0, contract.feed.entry), network)
    maps = TrueMaps.of(ground.files, ground.ids, spec.truth == "labelmap")
    assert spec.protocol is not None
    truth = MaskTruth(maps, spec.labels, spec.protocol.scoring, spec.truth == "labelmap", ground.ids)

    def score(view: View) -> float:
        answers, _ = answer_views(_in(frames, view), 0, len(frames), network, cores(), _nothing)
        return _value(metric.reduce(rows_of(metric.per_sample, truth, MaskPrediction(answers))))

    return score


def _in(frames: Frames, view: View) -> Frames:
    return replace(frames, views=(view,), reference=0)


def _value(value: float | None) -> float:
    if value is None:
        raise ModelError("the metric is not defined on these samples: there is nothing to search")
    return value


def _nothing(_: int) -> None:
    return None
