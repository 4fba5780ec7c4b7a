"""Segmentation: images to label maps, class maps or scored masks, in shards; and masks made elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lensbench.benchmark import Benchmark
from lensbench.errors import DatasetError, ModelError
from lensbench.evaluation.frames import blank_notes, open_frames, pixel_digests
from lensbench.evaluation.maskrun import MaskRun, shard_of
from lensbench.evaluation.run import (
    Brought,
    Evaluated,
    Ground,
    Options,
    about,
    advance_of,
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
from lensbench.evaluation.viewfolder import store_folder
from lensbench.isp.view import View
from lensbench.maskresult import aligned, make_mask_result
from lensbench.maskrunner import Network, answer_rows, check_steady, probe
from lensbench.masks.read import open_masks
from lensbench.masks.stored import Row, read_masks, stated_of, write_masks
from lensbench.masks.values import Kind, Value
from lensbench.masktruth import Stored, TrueMaps, keys_of
from lensbench.metrics import Metric, rows_of
from lensbench.models.maskcontract import MaskContract, bind_masks
from lensbench.models.model import Model
from lensbench.paths import atomic
from lensbench.predictions import VIEW, whole_ids
from lensbench.runner import Images, open_images
from lensbench.shards import locked
from lensbench.viewrunner import Frames, answer_views, reference_image


def evaluate_model(model: Model, spec: Benchmark, options: Options) -> Evaluated:
    """Run a segmentation model over the split and score it."""
    contract = bind_masks(model.graph_for(spec), model.card, spec, model.file)
    ground = prepared(spec, options)
    images: Images | Frames = open_images(ground.files) if spec.views is None else open_frames(ground)
    truth = _truth(ground)
    if len(images) != len(ground.ids):
        raise DatasetError(
            f"{spec.dataset} ({spec.config}): {len(ground.ids)} ids for {len(images)} images in the cache"
        )
    run = _run(model, contract, ground, truth, options)
    run.refuse_others()
    with locked(run.folder), run.tidied():
        ground, reused, loop = _infer(model, contract, run, images, ground, truth, options)
        assumed = run.assumed()
        result = make_mask_result(
            ground.spec,
            ground.manifest,
            truth,
            ground.ids,
            run.predictions,
            about(model, "by name"),
            origin=ground.origin,
            protocol=_as_used(contract),
            assumed=[*model.assumed, *contract.assumed, *assumed, *ground.unverified],
            notes=blank_notes(images, cores()) if isinstance(images, Frames) else (),
        )
        seconds = {"loop": loop, "rest": time.perf_counter() - options.started - loop}
        speed = None if reused or not loop else run.rows / loop
        pixels = pixel_digests(ground, result) if spec.views else None
        return finish(result, run.record, seconds, speed, ground, pixels)


def score_predictions(brought: Brought, spec: Benchmark, options: Options) -> Evaluated:
    """Score masks made elsewhere: a folder or file that `masks.read` knows, or a run's stored Parquet."""
    assert spec.protocol is not None
    if options.out and (Path(options.out) / "plan.json").exists():
        raise ModelError(f"{options.out} holds the run of a model; give --out another folder")
    ground = prepared(spec, options)
    truth, who = _truth(ground), brought.about("by name")
    with TemporaryDirectory(prefix="lensbench-") as scratch:
        taken = _take(brought.path, ground, truth, Path(scratch) / "predictions.parquet", options)
        result = make_mask_result(
            ground.spec,
            ground.manifest,
            truth,
            ground.ids,
            taken.path,
            who,
            origin=ground.origin,
            protocol={**spec.protocol.to_json(), "output": None, "tiling": None},
            extra=taken.extra,
            assumed=ground.unverified,
            notes=taken.notes,
        )
        sha8 = result["digests"]["predictions"][:8]
        folder = Path(options.out) if options.out else Path("runs") / ground.spec.slug / f"{slug(who.name)}-{sha8}"
        if (folder / "plan.json").exists():
            raise ModelError(f"{folder} holds the run of a model; give --out another folder")
        with locked(folder):
            _put(taken.path, folder / "predictions.parquet")
            return finish(result, folder / "record.json", {"rest": time.perf_counter() - options.started}, None, ground)


def _put(stored: Path, into: Path) -> None:
    try:
        with atomic(into) as part:
            shutil.copyfile(stored, part)
    except OSError as error:
        raise ModelError(f"{into}: cannot be written ({error.strerror}); free some space, or give --out") from error


def _truth(ground: Ground) -> TrueMaps:
    if not ground.ids:
        raise DatasetError(f"the source holds no image of the {ground.spec.split} split of {ground.spec.dataset}")
    return TrueMaps.of(ground.files, ground.ids, ground.spec.truth == "labelmap")


def _as_used(contract: MaskContract) -> Mapping[str, Any]:
    """The protocol of a record; null is what had no part in it: the post-processing of planes where there were none."""
    used, feed = contract.protocol.to_json(), contract.feed
    if contract.ready:
        used["output"] = None
    if len(feed.outputs) > 1:
        used["output"] = {"threshold": feed.output.threshold}
    if feed.whole:
        used["tiling"] = None
    return used


# -- a model -------------------------------------------------------------------------------------------------


def _run(model: Model, contract: MaskContract, ground: Ground, truth: TrueMaps, options: Options) -> MaskRun:
    rows, shard = cut(ground, shard_of(truth.shape(0)))
    more = {"protocol": contract.protocol.to_json(), "kind": contract.feed.kind}
    plan = plan_of(model, ground, contract.feed, rows, shard, **more)
    return MaskRun(run_folder(options.out, ground.spec, model.name, plan), plan, rows, shard)


def _infer(
    model: Model,
    contract: MaskContract,
    run: MaskRun,
    images: Images | Frames,
    ground: Ground,
    truth: TrueMaps,
    options: Options,
) -> tuple[Ground, int, float]:
    """Fill the run's shards and merge them: (the ground, rows that were there already, seconds it took)."""
    run.open()
    if done := finished(run, ground):
        return done, run.rows, 0.0
    feed = contract.feed
    network = Network(feed, model.open(feed.entry.name, feed.outputs), model.file)
    advance = advance_of(options)

    def answer(frames: Images | Frames, start: int, stop: int) -> tuple[list[Value], list[str]]:
        if isinstance(frames, Frames):
            views = len(frames.views)
            return answer_views(frames, start // views, stop // views, network, cores(), advance)
        return answer_rows(frames, start, stop, network, cores(), advance)

    def keep(frames: Frames, view: View, path: Path) -> None:
        answers, words = answer(frames, 0, len(frames))
        run.keep(path, ground.ids, answers, words, (view.name,))

    def tried() -> None:
        if isinstance(images, Frames):
            check_steady(reference_image(images, 0, feed.entry), network)
        else:
            probe(images, network)

    first = time.perf_counter()
    if isinstance(images, Frames) and ground.spec.views and ground.spec.views.search:
        asking = Asking(tried, keep, partial(_value, ground, truth))
        ground, reused = searched(asking, images, run, ground, model.name, options)
        return ground, reused, time.perf_counter() - first
    todo = [shard for shard in run.shards if not run.holds(shard[0], shard[2] - shard[1])]
    reused = run.rows - sum(stop - start for _, start, stop in todo)
    names = ground.spec.views.names if ground.spec.views else (VIEW,)
    with shown(options, ground, model.name, run.rows, reused):
        if todo:
            tried()
        first = time.perf_counter()
        with ThreadPoolExecutor(1) as writer:  # a shard is packed and written while the next one is inferred
            writing: Future[None] | None = None
            for path, start, stop in todo:
                answers, words = answer(images, start, stop)
                if writing is not None:
                    writing.result()
                ids = ground.ids[start // len(names) : stop // len(names)]
                writing = writer.submit(run.keep, path, ids, answers, words, names)
            if writing is not None:
                writing.result()
        loop = time.perf_counter() - first
    run.merge()
    return ground, reused, loop


def _value(ground: Ground, truth: TrueMaps, metric: Metric, path: Path) -> float | None:
    """What a metric makes of the stored answers in one view, as `make_mask_result` does of each."""
    paired = aligned(ground.spec, ground.manifest.without(ground.spec.absent), truth, ground.ids, Stored(path))
    if metric.lacks(paired.true, paired.given):
        return None
    return metric.reduce(rows_of(metric.per_sample, paired.true, paired.given))


# -- masks made elsewhere ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Taken:
    """What was brought, as it is stored: in the benchmark's order, nothing but its images."""

    path: Path
    extra: int
    notes: tuple[str, ...]


def _take(path: Path, ground: Ground, truth: TrueMaps, into: Path, options: Options) -> _Taken:
    """Read what was brought and store it; raises ModelError naming the file and the image that is not fit."""
    shapes = dict(truth.shapes())
    progress = options.progress

    def counted(rows: Iterator[Row], total: int) -> Iterator[Row]:
        if progress:
            progress.start(f"{path.name} on {ground.spec.slug}", total, 0)
        try:
            for row in rows:
                yield row
                if progress:
                    progress.advance(1)
        finally:
            if progress:
                progress.finish()

    stated = {"benchmark": ground.spec.digest}
    if path.suffix.lower() == ".parquet" and path.is_file():
        found = _stored(path, ground, shapes)
        write_masks(into, counted(_of(path, shapes, found), found.rows), found.kind, stated)
        return _Taken(into, found.extra, found.gaps)
    if ground.spec.views is not None:
        if not path.is_dir():
            raise ModelError(
                f"{path.name}: masks in {len(ground.spec.views.names)} views are brought in a folder with one "
                "sub-folder for each view, or in one .parquet as `bench eval` stores them"
            )
        return _Taken(into, *store_folder(path, ground.spec, shapes, into, stated, counted))
    with open_masks(path, shapes, ground.spec.truth, len(ground.spec.labels)) as files:
        rows = (Row(key, VIEW, value) for key, value in files)
        kind = "rle" if path.suffix.lower() in (".json", ".csv") and path.is_file() else ground.spec.truth
        write_masks(into, counted(rows, len(files.ids)), kind, stated)
        report = files.report
    return _Taken(into, len(report.extra), report.words)


@dataclass(frozen=True)
class _Stored:
    """A stored file, checked: its kind, the ids of the benchmark that it answers in every view, what else it holds."""

    kind: Kind
    ids: frozenset[str]
    rows: int
    extra: int
    gaps: tuple[str, ...]


def _stored(path: Path, ground: Ground, shapes: Mapping[str, tuple[int, int]]) -> _Stored:
    """Raises ModelError for a file of another kind, another order, or about no image of the benchmark."""
    kind, _ = stated_of(path)
    if kind not in ground.spec.kinds:
        raise ModelError(f"{path.name}: holds a {kind}, and {ground.spec.name} takes {', '.join(ground.spec.kinds)}")
    views = ground.spec.views.names if ground.spec.views else (VIEW,)
    keys = keys_of(path)
    whole, gaps = whole_ids(keys, views, path)
    place = {view: at for at, view in enumerate(views)}
    if keys != sorted(keys, key=lambda key: (key[0], place[key[1]])):
        order = " and of each id in the order of the views" if len(views) > 1 else ""
        raise ModelError(f"{path.name}: its rows are not sorted by id{order}, as `bench eval` stores them")
    ids = {key for key, _ in keys}
    if not ids & shapes.keys():
        raise ModelError(
            f"{path.name}: none of its {len(ids)} ids is in the {ground.spec.split} split of {ground.spec.dataset}; "
            f"ids look like {ground.ids[0]!r}"
        )
    mine = frozenset(whole) & shapes.keys()
    return _Stored(kind, mine, len(mine) * len(views), len(ids - shapes.keys()), gaps)


def _of(path: Path, shapes: Mapping[str, tuple[int, int]], found: _Stored) -> Iterator[Row]:
    """The rows of a stored file that are about the benchmark's images."""
    for row in read_masks(path):
        if row.id not in found.ids:
            continue
        if row.value.shape != shapes[row.id]:
            raise ModelError(f"{path.name}: {row.id!r} is {row.value.shape}, the image is {shapes[row.id]}")
        yield row
