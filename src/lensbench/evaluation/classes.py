"""Classification: batches of images to rows of class scores, in shards; and class predictions made elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensbench import shards
from lensbench.benchmark import Benchmark, benchmark_dataset
from lensbench.data.prepared import id_column
from lensbench.errors import DatasetError, ModelError
from lensbench.evaluation.frames import blank_notes, open_frames, pixel_digests
from lensbench.evaluation.run import (
    Brought,
    Evaluated,
    Ground,
    Options,
    about,
    advance_of,
    check_ids,
    cores,
    cut,
    finish,
    plan_of,
    prepared,
    run_folder,
    shown,
    slug,
)
from lensbench.evaluation.searching import Asking, finished, searched
from lensbench.isp.view import View
from lensbench.metrics import Metric, rows_of
from lensbench.models.contract import Contract, bind, label_order, labels_given, sized
from lensbench.models.model import Model, one
from lensbench.predictions import VIEW, answers_of, read_predictions, shard_table, stored_scores
from lensbench.result import make_result, truth_of
from lensbench.runner import Images, infer_rows, open_images, probe, size_of
from lensbench.shards import Run, locked
from lensbench.splits import read_manifest
from lensbench.viewrunner import Frames, infer_views, probe_views


def evaluate_model(model: Model, spec: Benchmark, labels: str | Sequence[str] | None, options: Options) -> Evaluated:
    """Run a classifier over the split and score it; `labels` is the order of its outputs, where its card names none."""
    if labels is not None:
        model = model.declaring(replace(model.card, labels=labels_given(labels, spec)))
    graph = model.graph_for(spec)
    contract = bind(graph, model.card, spec, model.file)
    ground = prepared(spec, options)
    images: Images | Frames = open_images(ground.files) if spec.views is None else open_frames(ground)
    if len(images) != len(ground.ids):
        raise DatasetError(
            f"{spec.dataset} ({spec.config}): {len(ground.ids)} ids for {len(images)} images in the cache"
        )
    if not contract.feed.height and len(images):
        tensor = next(i for i in graph.inputs if i.name == contract.feed.input)
        size = images.size() if isinstance(images, Frames) else size_of(images, contract.feed)
        contract = replace(contract, feed=sized(contract.feed, *size, tensor, model.file))
    run = _run(model, contract, ground, options)
    run.refuse_others()
    with locked(run.folder), run.tidied():
        ground, reused, loop = _infer(model, contract, run, images, ground, options)
        names = ground.spec.views.names if ground.spec.views else ()
        answers = answers_of(ground.ids, stored_scores(run.predictions), contract.kind, names)
        result = make_result(
            ground.spec,
            ground.manifest,
            answers,
            about(model, contract.labels),
            origin=ground.origin,
            assumed=[*model.assumed, *contract.assumed, *ground.unverified],
            notes=blank_notes(images, cores()) if isinstance(images, Frames) else (),
        )
        seconds = {"loop": loop, "rest": time.perf_counter() - options.started - loop}
        speed = None if reused or not loop else run.rows / loop
        if spec.views is None:
            return finish(result, run.record, seconds, speed)
        return finish(result, run.record, seconds, speed, ground, pixel_digests(ground, result))


def score_predictions(
    brought: Brought, spec: Benchmark, labels: str | Sequence[str] | None, options: Options
) -> Evaluated:
    """Score class predictions made elsewhere with no image on disk; `labels` names the columns of bare scores."""
    path, dataset = brought.path, benchmark_dataset(spec)
    if not path.is_file():
        raise ModelError(f"{path}: not a file; class predictions are one .parquet or .csv file")
    declared = labels_given(labels, spec) if labels else brought.card.labels
    order = None
    if declared:
        columns, _ = label_order(declared, spec, path.name)
        order = [label for _, label in sorted(zip(columns, spec.labels, strict=True))]
    answers = read_predictions(path, dataset, spec.labels, order, spec.views.names if spec.views else ())
    manifest = read_manifest(dataset, spec.config, spec.split)
    if answers.ids or not answers.gaps:
        check_ids(set(answers.ids), manifest, spec, path.name)
    who = brought.about("by name")
    plain = answers.prediction.scores is None
    notes = [f"{answers.prediction.kind} only: metrics that need scores are left out"] if plain else []
    notes += answers.gaps
    result = make_result(spec, manifest, answers, who, notes=notes)
    sha8 = result["digests"]["predictions"][:8]
    folder = Path(options.out) if options.out else Path("runs") / spec.slug / f"{slug(who.name)}-{sha8}"
    if (folder / "plan.json").exists():
        raise ModelError(f"{folder} holds the run of a model; give --out another folder")
    with locked(folder):
        return finish(result, folder / "record.json", {"rest": time.perf_counter() - options.started}, None)


def _run(model: Model, contract: Contract, ground: Ground, options: Options) -> Run:
    rows, shard = cut(ground, shards.ROWS)
    more = {"order": list(contract.order), "labels": list(ground.spec.labels), "kind": contract.kind}
    plan = plan_of(model, ground, contract.feed, rows, shard, **more)
    return Run(run_folder(options.out, ground.spec, model.name, plan), plan, rows, shard)


def _infer(
    model: Model, contract: Contract, run: Run, images: Images | Frames, ground: Ground, options: Options
) -> tuple[Ground, int, float]:
    """Fill the run's shards and merge them: (the ground, rows that were there already, seconds it took)."""
    run.open()
    if done := finished(run, ground):
        return done, run.rows, 0.0
    feed, order = contract.feed, np.array(contract.order)
    infer = one(model.open(feed.input, (feed.output,)))
    advance, column = advance_of(options), id_column(ground.data, ground.spec.split)

    def write(path: Path, start: int, out: NDArray[np.float32], names: Sequence[str]) -> None:
        ids = column.slice(start // len(names), len(out) // len(names))
        plain = bool((order == np.arange(len(order))).all())
        run.write(path, shard_table(ids, out if plain else out[:, order], run.metadata, names))

    def answer(frames: Images | Frames, start: int, stop: int, out: NDArray[np.float32]) -> None:
        if isinstance(frames, Frames):
            views = len(frames.views)
            infer_views(frames, start // views, stop // views, feed, infer, out, cores(), advance)
        else:
            infer_rows(frames, start, stop, feed, infer, out, cores(), advance)

    def keep(frames: Frames, view: View, path: Path) -> None:
        out = np.empty((len(frames), feed.classes), np.float32)
        answer(frames, 0, len(frames), out)
        write(path, 0, out, (view.name,))

    def tried() -> None:
        if isinstance(images, Frames):
            probe_views(images, feed, infer)
        else:
            probe(images, feed, infer)

    first = time.perf_counter()
    if isinstance(images, Frames) and ground.spec.views and ground.spec.views.search:
        asking = Asking(tried, keep, partial(_value, ground, contract.kind))
        ground, reused = searched(asking, images, run, ground, model.name, options)
        return ground, reused, time.perf_counter() - first
    todo = [shard for shard in run.shards if not run.holds(shard[0], shard[2] - shard[1])]
    reused = run.rows - sum(stop - start for _, start, stop in todo)
    outs = [np.empty((min(run.shard, max(run.rows, 1)), feed.classes), np.float32) for _ in range(2)]
    names = ground.spec.views.names if ground.spec.views else (VIEW,)
    with shown(options, ground, model.name, run.rows, reused):
        tried()
        first = time.perf_counter()
        with ThreadPoolExecutor(1) as writer:  # a shard is written while the next one is inferred
            writing: Future[None] | None = None
            for k, (path, start, stop) in enumerate(todo):
                out = outs[k % 2][: stop - start]
                answer(images, start, stop, out)
                if writing is not None:
                    writing.result()
                writing = writer.submit(write, path, start, out, names)
            if writing is not None:
                writing.result()
        loop = time.perf_counter() - first
    run.merge()
    return ground, reused, loop


def _value(ground: Ground, kind: str | None, metric: Metric, path: Path) -> float | None:
    """What a metric makes of the stored answers in one view, as `make_result` does of each."""
    spec = ground.spec
    expected = ground.manifest.without(spec.absent)
    answers = answers_of(ground.ids, stored_scores(path), kind).on(expected.ids)
    truth = truth_of(spec, expected, answers.ids)
    if metric.lacks(truth, answers.prediction):
        return None
    return metric.reduce(rows_of(metric.per_sample, truth, answers.prediction))
