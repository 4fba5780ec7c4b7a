"""Classification: batches of images to rows of class scores, in shards; and class predictions made elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lensbench import shards
from lensbench.benchmark import Benchmark, benchmark_dataset
from lensbench.data.prepared import id_column
from lensbench.errors import DatasetError, ModelError
from lensbench.evaluation.frames import blank_notes, open_frames
from lensbench.evaluation.run import (
    Brought,
    Evaluated,
    Ground,
    Options,
    about,
    check_ids,
    cores,
    finish,
    prepared,
    run_folder,
    slug,
)
from lensbench.models.contract import Contract, bind, label_order, labels_given, sized
from lensbench.models.model import Model, one
from lensbench.predictions import VIEW, answers_of, read_predictions, shard_table, stored_scores
from lensbench.result import make_result
from lensbench.runner import CorruptImageError, Images, infer_rows, open_images, probe, size_of
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
        reused, loop = _infer(model, contract, run, images, ground, options)
        names = spec.views.names if spec.views else ()
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
        return finish(result, run.record, seconds, speed, ground if spec.views else None)


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
    views = len(ground.spec.views.names) if ground.spec.views else 1
    rows, size = len(ground.ids) * views, max(1, shards.ROWS // views) * views  # a frame's views are in one shard
    plan = {
        "benchmark": ground.spec.digest,
        "data": ground.digest,
        "model": model.sha256,
        "feed": asdict(contract.feed),
        "order": list(contract.order),
        "labels": list(ground.spec.labels),
        "kind": contract.kind,
        "rows": rows,
        "shard": size,
        "versions": {
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opencv": cv2.__version__,
        },
    }
    return Run(run_folder(options.out, ground.spec, model.name, plan), plan, rows, size)


def _infer(
    model: Model, contract: Contract, run: Run, images: Images | Frames, ground: Ground, options: Options
) -> tuple[int, float]:
    """Fill the run's shards and merge them: (rows that were there already, seconds from first image to last shard)."""
    run.open()
    if run.holds(run.predictions, run.rows):
        return run.rows, 0.0
    feed, progress = contract.feed, options.progress
    infer = one(model.open(feed.input, (feed.output,)))
    done = [path for path, a, b in run.shards if run.holds(path, b - a)]
    reused = sum(b - a for path, a, b in run.shards if path in done)
    column = id_column(ground.data, ground.spec.split)
    order = np.array(contract.order)
    plain = bool((order == np.arange(len(order))).all())
    outs = [np.empty((min(run.shard, max(run.rows, 1)), feed.classes), np.float32) for _ in range(2)]
    if progress:
        progress.start(f"{model.name} on {ground.spec.slug}", run.rows, reused)

    names = ground.spec.views.names if ground.spec.views else (VIEW,)

    def write(path: Path, start: int, out: NDArray[np.float32]) -> None:
        ids = column.slice(start // len(names), len(out) // len(names))
        run.write(path, shard_table(ids, out if plain else out[:, order], run.metadata, names))

    advance = progress.advance if progress else _nothing
    todo = [shard for shard in run.shards if shard[0] not in done]
    try:
        if isinstance(images, Frames):
            probe_views(images, feed, infer)
        else:
            probe(images, feed, infer)
        first = time.perf_counter()
        with ThreadPoolExecutor(1) as writer:  # a shard is written while the next one is inferred
            writing: Future[None] | None = None
            for k, (path, start, stop) in enumerate(todo):
                out = outs[k % 2][: stop - start]
                if isinstance(images, Frames):
                    first_frame, last_frame = start // len(names), stop // len(names)
                    infer_views(images, first_frame, last_frame, feed, infer, out, cores(), advance)
                else:
                    infer_rows(images, start, stop, feed, infer, out, cores(), advance)
                if writing is not None:
                    writing.result()
                writing = writer.submit(write, path, start, out)
            if writing is not None:
                writing.result()
        loop = time.perf_counter() - first
    except CorruptImageError as error:
        raise ground.corrupt(error.row) from error
    finally:
        if progress:
            progress.finish()
    run.merge()
    return reused, loop


def _nothing(_: int) -> None:
    return None
