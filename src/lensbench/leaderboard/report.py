"""`report.html` of a run whose images are at hand: the record's scores, and its worst images as they lie on disk.

Of a segmentation the worst images with what was found in them; of frames in several views the scores of each view,
and the worst frames in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.errors import LensbenchError, ModelError
from lensbench.evaluation.frames import open_frames
from lensbench.evaluation.run import Evaluated, Ground
from lensbench.isp.after import eight_bits
from lensbench.isp.sheet import sheet_of
from lensbench.leaderboard.columns import column_of
from lensbench.leaderboard.driftcharts import DRIFT, Line, curves_of, drift_html
from lensbench.leaderboard.escape import as_html
from lensbench.leaderboard.gallery import Report, report_text, within_budget, worst_first
from lensbench.leaderboard.outlines import Drawing, draw
from lensbench.leaderboard.segments import compared_text
from lensbench.leaderboard.viewcharts import frames_html, views_html
from lensbench.leaderboard.viewing import Viewing, parse_views
from lensbench.masks.stored import read_masks
from lensbench.masktruth import TrueMaps
from lensbench.metrics import CurvePoint, ImageScore, get_metric
from lensbench.paths import write_text
from lensbench.predictions import VIEW
from lensbench.runner import open_images
from lensbench.shards import REPORT
from lensbench.viewrunner import Image
from lensbench.viewspec import OUTSIDE, Views

MOST = 24
"""Pictures on a page."""
SHEETS, SHEETS_BYTES = 3, 3 << 20
"""Frames shown in every view, and what they may take of a page."""
VIEWS, SMALLEST, LARGEST = 24, 120, 360
"""Views on a sheet (of more, the reference and the most severe of each kind), and pixels of a picture's longer side."""


def write_report(done: Evaluated) -> Path:
    """Write the report of a run that has just been scored, beside its record; returns where.

    Raises LensbenchError in one line.
    """
    assert done.ground is not None
    report = report_of(done.record.result, done.ground.spec)
    if done.ground.spec.views is not None:
        report = replace(report, sheets=tuple(_sheets(done.record.result, done.ground)))
    worst = [name for name, _ in worst_first(report.images)[:MOST]]
    drawn = dict(_drawings(set(worst), done.ground, done.folder / "predictions.parquet")) if worst else {}
    path = done.folder / REPORT
    try:
        write_text(path, report_text(report, within_budget((name, drawn[name]) for name in worst)))
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space") from error
    return path


def report_of(result: Mapping[str, Any], spec: Benchmark) -> Report:
    """What the result of a record on `spec` says, for the page."""
    benchmark, model, coverage = result["benchmark"], result["model"], result["coverage"]
    scores = [
        (get_metric(key, spec.arguments.get(key)).title, one["value"], one["low"], one["high"])
        for key, one in result["metrics"].items()
    ]
    return Report(
        title=f"{model['name']} on {benchmark['name']}",
        synthetic=benchmark["synthetic"],
        simulated=benchmark.get("simulated", False),
        facts=[
            ("Benchmark", f"{benchmark['name']} ({benchmark['config']}, {benchmark['split']})"),
            ("Images", f"{coverage['scored']:,} of {coverage['expected']:,}"),
            *_how(result),
        ],
        scores=scores,
        curve=[CurvePoint(**point) for point in result.get("curve", [])],
        images=[
            (one["id"], ImageScore(**{key: one[key] for key in one if key != "id"})) for one in result.get("images", [])
        ],
        views=_views(parse_views(result), spec) if "grid" in result else "",
        notes=[f"Assumed: {text}" for text in result["assumed"]] + list(result["notes"]),
    )


def _how(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How answers were made and compared, and in which views."""
    facts = []
    if "protocol" in result:
        protocol = result["protocol"]
        facts = [
            ("Protocol", protocol["name"]),
            ("Compared", compared_text(protocol["scoring"])),
            ("Made", _made(protocol["output"])),
        ]
    if "grid" in result:
        grid = result["grid"]
        compared = sum(view["compared"] for view in result["views"])
        count = f"{result['search']['budget']} asked about in" if "search" in result else f"{compared} of"
        where = "beside them" if grid["reference"] == OUTSIDE else grid["reference"]
        facts.append(("Views", f"{count} {grid['tier']}, reference {where}"))
        told = "images as published, answers of the reference view"  # a mask is drawn on what lies on disk
        masks = result["benchmark"].get("simulated") and "images" in result
        facts.append(("Images and pictures", told if masks else "of the reference view"))
    return facts


def _views(viewing: Viewing, spec: Benchmark) -> str:
    """Drift curves where a stage has several severities, each view, and the frames that lose most."""
    frames, of = frames_html(viewing), column_of(viewing.base)
    line = Line("the model", viewing.scores(of.id))
    drift = drift_html(curves_of(spec.views), [line], of, viewing.reference)
    return (
        (f"<p class=quiet>{as_html(of.title)} {DRIFT}</p>{drift}" if drift else "")
        + views_html(viewing)
        + (f"<h3>Frames that lose most</h3>{frames}" if frames else "")
    )


def _sheets(result: Mapping[str, Any], ground: Ground) -> Iterator[tuple[str, bytes]]:
    """Contact sheets of the frames that fared worst, as PNG, as many as a page has room for."""
    views, budget = ground.spec.views, SHEETS_BYTES
    assert views is not None
    shown = _shown(views, result)
    frames = replace(open_frames(ground), views=tuple(views.shown[place] for place in shown), reference=0)
    room = frames.room()
    for one in result["frames"][: SHEETS * 2 if "search" in result else SHEETS]:
        at = ground.ids.index(one["id"])
        developed: dict[int, Image] = {}
        for places, images in room.images(at):
            developed.update(zip(places, images, strict=True))
        pictures = [(view.name, _fitted(eight_bits(developed[place]))) for place, view in enumerate(frames.views)]
        sheet = sheet_of(pictures, pictures[0][1].shape[:2], len(pictures))
        written, png = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))
        budget -= png.size
        if not written or budget < 0:
            return
        told = f"{one['id']}: {one['reference']:.3f} in the reference view, {one['least']:.3f} in {one['view']}"
        yield told, png.tobytes()


def _shown(views: Views, result: Mapping[str, Any]) -> list[int]:
    """Which views a sheet has room for; of a search the reference and the worst."""
    if "search" in result:
        return [views.at, views.names.index(result["search"]["worst"]["name"])]
    last = {places[-1] for places in views.series.values()}
    return [at for at in range(len(views.names)) if len(views.names) <= VIEWS or at in {views.at, *last}]


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small picture with every pixel as a square, so that the name above it has room; a large one made smaller."""
    side = max(picture.shape[:2])
    if side > LARGEST:
        height, width = (max(1, length * LARGEST // side) for length in picture.shape[:2])
        smaller: NDArray[Any] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return smaller
    times = -(-SMALLEST // side)
    return picture.repeat(times, axis=0).repeat(times, axis=1)


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
    reference = spec.views.reference.name if spec.views else VIEW
    for row in read_masks(answers):
        if row.id in wanted and row.view == reference:
            at = place[row.id]
            pixels = _pixels(images.slices(at, at + 1)[0], ground.corrupt(at))
            classes = 0 if instances else len(spec.labels)
            yield row.id, draw(pixels, truth[at], row.value, spec.protocol.scoring, row.id, classes)


def _pixels(data: memoryview, corrupt: LensbenchError) -> NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise corrupt
    return pixels
