"""Evaluate a model, or predictions made elsewhere, on a benchmark: `evaluate(model, benchmark)` is `bench eval`."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench import __version__
from lensbench.benchmark import Benchmark, benchmark_dataset, get_benchmark
from lensbench.digest import sha256_file, sha256_of
from lensbench.errors import DatasetError, ModelError
from lensbench.models.card import Card, read_card
from lensbench.record import Record, write_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lensbench.data.prepared import Prepared
    from lensbench.models.contract import Contract
    from lensbench.models.onnx import OnnxModel
    from lensbench.predictions import Answers
    from lensbench.runner import Images
    from lensbench.shards import Run
    from lensbench.sources import Progress
    from lensbench.splits import Manifest


@dataclass(frozen=True)
class Evaluated:
    """A record and the folder that holds it with the predictions."""

    record: Record
    folder: Path


def evaluate(
    model: str | Path,
    benchmark: str | Benchmark | None = None,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    source: str | Path | None = None,
    partial: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Evaluated:
    """Run an ONNX model over a benchmark's split and score it.

    Args:
        model: an `.onnx` file, or a folder with `model.toml`.
        benchmark: its name, or a Benchmark; None picks the one the model fits, where there is only one.
        config: another config of the benchmark's dataset (`specimen`).
        labels: the order of the model's outputs: a published order, a file with one name per line, or the names.
        source: archives or an unpacked copy on disk (else `LENSBENCH_SOURCE`, else fetched).
        partial: take a source that holds only part of the split; the record is then incomplete.
        out: the run's folder (default `runs/<benchmark>/<model>-<sha8 of the plan>/`). A killed run goes on in it.
        progress: told about files, images and notes.
        confirm: asked with the size before anything is downloaded.

    Raises:
        LensbenchError: one line saying what is wrong and how to mend it; nothing half-written is left.
    """
    from lensbench.models.contract import labels_given
    from lensbench.models.fit import chosen, scorable
    from lensbench.models.onnx import read_onnx

    started = time.perf_counter()
    onnx = read_onnx(Path(model))
    spec = scorable(chosen(onnx, benchmark, config))
    if labels is not None:
        onnx = replace(onnx, card=replace(onnx.card, labels=labels_given(labels, spec)))
    return _evaluate_onnx(onnx, spec, source, partial, out, progress, confirm, started)


def _evaluate_onnx(
    onnx: OnnxModel,
    spec: Benchmark,
    source: str | Path | None,
    partial: bool,
    out: str | Path | None,
    progress: Progress | None,
    confirm: Callable[[str], bool] | None,
    started: float,
) -> Evaluated:
    from lensbench.data.prepared import check_content, id_column
    from lensbench.data.store import prepare
    from lensbench.models.contract import bind, sized
    from lensbench.predictions import answers_of, stored_scores
    from lensbench.result import About, make_result
    from lensbench.runner import open_images, size_of
    from lensbench.shards import locked

    contract = bind(onnx.graph, onnx.card, spec, onnx.file)
    data = prepare(
        benchmark_dataset(spec),
        spec.version,
        spec.config,
        source=Path(source) if source else None,
        partial=partial,
        progress=progress,
        confirm=confirm,
        required=(spec.split,),
    )
    check_content(data, spec.split)
    ids = tuple(id_column(data, spec.split).to_pylist())
    spec, manifest = _rows(spec, data)
    images = open_images(data.arrow[spec.split])
    if len(images) != len(ids):
        raise DatasetError(f"{spec.dataset} ({spec.config}): {len(ids)} ids for {len(images)} images in the cache")
    if not contract.feed.height and len(images):
        tensor = next(i for i in onnx.graph.inputs if i.name == contract.feed.input)
        contract = replace(contract, feed=sized(contract.feed, *size_of(images, contract.feed), tensor, onnx.file))
    run = _run(onnx, contract, spec, data.digests[spec.split], len(images), out)
    run.refuse_others()
    with locked(run.folder), run.tidied():
        reused, loop = _infer(onnx, contract, run, images, data, spec, progress)
        answers = answers_of(ids, stored_scores(run.predictions), contract.kind)
        result = make_result(
            spec,
            manifest,
            answers,
            About(
                name=onnx.name,
                kind="onnx",
                sha256=onnx.sha256,
                labels=contract.labels,
                authors=onnx.card.authors,
                licence=onnx.card.licence,
                training=onnx.card.training,
                url=onnx.card.url,
                parameters=onnx.graph.parameters,
                bytes=len(onnx.data),
                declared=onnx.own.digest,
            ),
            data=data.digests[spec.split],
            unlisted=data.unlisted,
            elsewhere={split: cover.found for split, cover in data.coverage.items() if split != spec.split},
            assumed=[*contract.assumed, *_unverified(data, spec.split)],
        )
        seconds = {"loop": loop, "rest": time.perf_counter() - started - loop}
        speed = None if reused or not loop else len(images) / loop
        return _finish(result, run.record, seconds, speed)


def evaluate_predictions(
    predictions: str | Path,
    benchmark: str | Benchmark,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    name: str | None = None,
    card: Card | None = None,
    out: str | Path | None = None,
) -> Evaluated:
    """Score predictions made elsewhere (Parquet or CSV, see `lensbench.predictions`) with no image on disk.

    `labels` names the columns of a bare `scores` list; `card` (default: the `model.toml` beside the file) and `name`
    say whose they are. Raises LensbenchError in one line.
    """
    from lensbench.models.contract import label_order, labels_given
    from lensbench.models.fit import scorable
    from lensbench.predictions import read_predictions
    from lensbench.result import About, make_result
    from lensbench.shards import locked
    from lensbench.splits import read_manifest

    started = time.perf_counter()
    path = Path(predictions)
    spec = scorable(get_benchmark(benchmark, config) if isinstance(benchmark, str) else benchmark)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    card = card or _card_beside(path)
    declared = labels_given(labels, spec) if labels else card.labels
    order = None
    if declared:
        columns, _ = label_order(declared, spec, path.name)
        order = [label for _, label in sorted(zip(columns, spec.labels, strict=True))]
    dataset = benchmark_dataset(spec)
    answers = read_predictions(path, dataset, spec.labels, order)
    manifest = read_manifest(dataset, spec.config, spec.split)
    _check_ids(answers, manifest, spec, path)
    about = About(
        name=name or card.name or path.stem,
        kind="predictions",
        sha256=sha256_file(path),
        labels="by name",
        authors=card.authors,
        licence=card.licence,
        training=card.training,
        url=card.url,
        declared=card.digest,
    )
    notes = [f"{answers.prediction.kind} only: metrics that need scores are left out"] if _no_scores(answers) else []
    result = make_result(spec, manifest, answers, about, notes=notes)
    sha8 = result["digests"]["predictions"][:8]
    folder = Path(out) if out else Path("runs") / spec.slug / f"{slug(about.name)}-{sha8}"
    if (folder / "plan.json").exists():
        raise ModelError(f"{folder} holds the run of a model; give --out another folder")
    with locked(folder):
        return _finish(result, folder / "record.json", {"rest": time.perf_counter() - started}, None)


def _rows(spec: Benchmark, data: Prepared) -> tuple[Benchmark, Manifest]:
    """The evaluated manifest; a specimen of another size or seed has rows, digest and board of its own."""
    from lensbench.data.prepared import own_manifest
    from lensbench.splits import read_manifest

    if not (spec.synthetic and data.own_lists):
        return spec, read_manifest(benchmark_dataset(spec), spec.config, spec.split)
    manifest = own_manifest(data, spec.split, spec.cluster)
    return replace(spec.over(manifest.digest_for(spec.cluster)), absent=frozenset()), manifest


def _run(onnx: OnnxModel, contract: Contract, spec: Benchmark, data: str, rows: int, out: str | Path | None) -> Run:
    import cv2
    import numpy as np
    import onnxruntime

    from lensbench.shards import ROWS, Run

    plan = {
        "benchmark": spec.digest,
        "data": data,
        "model": onnx.sha256,
        "feed": asdict(contract.feed),
        "order": list(contract.order),
        "labels": list(spec.labels),
        "kind": contract.kind,
        "rows": rows,
        "shard": ROWS,
        "versions": {
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opencv": cv2.__version__,
        },
    }
    folder = Path(out) if out else Path("runs") / spec.slug / f"{slug(onnx.name)}-{sha256_of(plan)[:8]}"
    return Run(folder, plan, rows)


def _infer(
    onnx: OnnxModel,
    contract: Contract,
    run: Run,
    images: Images,
    data: Prepared,
    spec: Benchmark,
    progress: Progress | None,
) -> tuple[int, float]:
    """Fill the run's shards and merge them: (rows that were there already, seconds from first image to last shard)."""
    import numpy as np

    from lensbench.data.prepared import id_column
    from lensbench.models.onnx import open_session
    from lensbench.predictions import shard_table
    from lensbench.runner import CorruptImageError, infer_rows, probe
    from lensbench.shards import ROWS

    run.open()
    if run.holds(run.predictions, run.rows):
        return run.rows, 0.0
    infer = open_session(onnx.data, contract.feed.output, onnx.file)(contract.feed.input)
    done = [path for path, a, b in run.shards if run.holds(path, b - a)]
    reused = sum(b - a for path, a, b in run.shards if path in done)
    column = id_column(data, spec.split)
    order = np.array(contract.order)
    plain = bool((order == np.arange(len(order))).all())
    outs = [np.empty((min(ROWS, max(run.rows, 1)), contract.feed.classes), np.float32) for _ in range(2)]
    if progress:
        progress.start(f"{onnx.name} on {spec.slug}", run.rows, reused)

    def write(path: Path, start: int, out: NDArray[np.float32]) -> None:
        run.write(path, shard_table(column.slice(start, len(out)), out if plain else out[:, order], run.metadata))

    advance = progress.advance if progress else _nothing
    todo = [shard for shard in run.shards if shard[0] not in done]
    try:
        probe(images, contract.feed, infer)
        first = time.perf_counter()
        with ThreadPoolExecutor(1) as writer:  # a shard is written while the next one is inferred
            writing: Future[None] | None = None
            for k, (path, start, stop) in enumerate(todo):
                out = outs[k % 2][: stop - start]
                infer_rows(images, start, stop, contract.feed, infer, out, cores(), advance)
                if writing is not None:
                    writing.result()
                writing = writer.submit(write, path, start, out)
            if writing is not None:
                writing.result()
        loop = time.perf_counter() - first
    except CorruptImageError as error:
        raise DatasetError(_corrupt(data, spec.split, error.row)) from error
    finally:
        if progress:
            progress.finish()
    run.merge()
    return reused, loop


def _unverified(data: Prepared, split: str) -> list[str]:
    """What a reader has to take on trust about where the images came from: less where a pin of their content held."""
    from lensbench.data.prepared import pinned_content

    loose, pin = _unpinned(data), pinned_content(data, split)  # `prepare` has refused other content than the pinned
    if pin is None or not loose:
        return loose
    copy = pin.provenance == "copy"
    return ["that the images are the publisher's: their content is that of a re-encoded copy"] if copy else []


def _unpinned(data: Prepared) -> list[str]:
    """Which files, or that all of them, are pinned by no digest."""
    if "folder" in data.source:
        return ["that the images are the publisher's: read from an unpacked folder, which no digest covers"]
    pinned = {f.name: f.sha256 or f.md5 for f in data.dataset.versions[data.version].files}
    pinned |= {f.name: f.sha256 for f in data.dataset.config(data.config).files}
    loose = [f["name"] for f in data.source.get("files", []) if not pinned.get(f["name"])]
    return [f"that {name} is the publisher's: its digest is not pinned yet" for name in loose]


def _corrupt(data: Prepared, split: str, row: int) -> str:
    from lensbench.data.prepared import member_name

    return (
        f"{member_name(data, split, row)}: this image of {data.dataset.name} {data.version} does not decode; "
        "fetch the archive again, or report it to the dataset's maintainers if its sha256 is the pinned one"
    )


def _finish(result: dict[str, Any], path: Path, seconds: Mapping[str, float], speed: float | None) -> Evaluated:
    import numpy as np

    run = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "images_per_second": None if speed is None else round(speed, 1),
        "cores": cores(),
        "machine": platform.machine(),
        "versions": {"lensbench": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
    record = Record(result, run)
    try:
        write_record(record, path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space, or give --out") from error
    return Evaluated(record, path.parent)


def _check_ids(answers: Answers, manifest: Manifest, spec: Benchmark, path: Path) -> None:
    if not set(answers.ids) & set(manifest.ids):
        raise ModelError(
            f"{path.name}: none of its {len(answers.ids)} ids is in the {spec.split} split of {spec.dataset} "
            f"({spec.config}); ids look like {manifest.ids[0]!r}, and {answers.ids[0]!r} was given"
        )


def _card_beside(path: Path) -> Card:
    beside = path.parent / "model.toml"
    card = read_card(beside) if beside.is_file() else Card()
    return card if card.file == path.name else Card()


def _no_scores(answers: Answers) -> bool:
    return answers.prediction.scores is None


def slug(name: str) -> str:
    """A file name for a model's name: lower-case letters, digits and dashes, at most 60 of them.

    >>> slug("Small CNN (specimen)"), slug("../..")
    ('small-cnn-specimen', 'model')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "model"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nothing(_: int) -> None:
    return None


__all__ = ["Evaluated", "evaluate", "evaluate_predictions"]
