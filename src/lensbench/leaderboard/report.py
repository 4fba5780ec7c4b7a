"""`report.html` of a segmentation run: the record's scores, and its worst images as they lie on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.errors import LensbenchError, ModelError
from lensbench.evaluation.run import Evaluated, Ground
from lensbench.leaderboard.gallery import Report, report_text, within_budget, worst_first
from lensbench.leaderboard.outlines import Drawing, draw
from lensbench.leaderboard.segments import compared_text
from lensbench.masks.stored import read_masks
from lensbench.masktruth import TrueMaps
from lensbench.metrics import CurvePoint, ImageScore, get_metric
from lensbench.paths import write_text
from lensbench.runner import open_images
from lensbench.shards import REPORT

MOST = 24
"""Pictures on a page."""


def write_report(done: Evaluated) -> Path:
    """Write the report of a run that has just been scored, beside its record; returns where.

    Raises LensbenchError in one line.
    """
    assert done.ground is not None
    report = report_of(done.record.result, done.ground.spec)
    worst = [name for name, _ in worst_first(report.images)[:MOST]]
    drawn = dict(_drawings(set(worst), done.ground, done.folder / "predictions.parquet"))
    path = done.folder / REPORT
    try:
        write_text(path, report_text(report, within_budget((name, drawn[name]) for name in worst)))
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space") from error
    return path


def report_of(result: Mapping[str, Any], spec: Benchmark) -> Report:
    """What the result of a record on the segmentation `spec` says, for the page."""
    benchmark, model, coverage = result["benchmark"], result["model"], result["coverage"]
    scores = [
        (get_metric(key, spec.arguments.get(key)).title, one["value"], one["low"], one["high"])
        for key, one in result["metrics"].items()
    ]
    return Report(
        title=f"{model['name']} on {benchmark['name']}",
        synthetic=benchmark["synthetic"],
        facts=[
            ("Benchmark", f"{benchmark['name']} ({benchmark['config']}, {benchmark['split']})"),
            ("Protocol", result["protocol"]["name"]),
            ("Images", f"{coverage['scored']:,} of {coverage['expected']:,}"),
            ("Compared", compared_text(result["protocol"]["scoring"])),
            ("Made", _made(result["protocol"]["output"])),
        ],
        scores=scores,
        curve=[CurvePoint(**point) for point in result["curve"]],
        images=[(one["id"], ImageScore(**{key: one[key] for key in one if key != "id"})) for one in result["images"]],
        notes=[f"Assumed: {text}" for text in result["assumed"]] + list(result["notes"]),
    )


def _made(output: Mapping[str, Any] | None) -> str:
    """How objects or classes were made of a model's output, as far as the record says it, in words."""
    if output is None:
        return "ready-made"
    words = [f"probability from {output['threshold']:g} on"]
    method = output.get("method")
    if method:
        given = ", ".join(f"{key.replace('_', ' ')} {value} px" for key, value in method.items() if key != "name")
        words.append(f"{method['name']} ({given})" if given else method["name"])
    if output.get("min_size", 0) > 1:
        words.append(f"objects from {output['min_size']} px on")
    return ", ".join(words)


def _drawings(wanted: set[str], ground: Ground, answers: Path) -> Iterator[tuple[str, Drawing]]:
    """(id, picture) of the images asked for, in the order in which the answers are stored."""
    spec = ground.spec
    assert spec.protocol is not None
    images, instances = open_images(ground.files), spec.truth == "labelmap"
    truth = TrueMaps.of(ground.files, ground.ids, instances)
    place = {key: row for row, key in enumerate(ground.ids)}
    for row in read_masks(answers):
        if row.id in wanted:
            at = place[row.id]
            pixels = _pixels(images.slices(at, at + 1)[0], ground.corrupt(at))
            classes = 0 if instances else len(spec.labels)
            yield row.id, draw(pixels, truth[at], row.value, spec.protocol.scoring, row.id, classes)


def _pixels(data: memoryview, corrupt: LensbenchError) -> NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise corrupt
    return pixels
