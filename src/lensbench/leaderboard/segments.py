"""What a board reads of a segmentation's record beside its metrics: protocol, each image, F1 over the threshold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lensbench.errors import BenchmarkError, RecordError
from lensbench.leaderboard.fields import (
    BOUNDS,
    LINE,
    NAME,
    PROSE,
    items,
    mapping,
    maybe_number,
    maybe_whole,
    number,
    text,
    texts,
    whole,
)
from lensbench.masks.postprocess import UNDECLARED, Interior, Output, Watershed
from lensbench.masks.protocol import Scoring, from_json

IMAGES = 100_000
THRESHOLDS = 20
RULE = re.compile(
    r"objects are the \d-connected components, the (?:foreground's|interior's, grown by (\d{1,6}) px)", re.ASCII
)
"""What `masks.postprocess` assumes where a model declares no post-processing."""
COUNTS = ("n_truth", "n_predicted", "tp", "fp", "fn", "splits", "merges")


@dataclass(frozen=True)
class ImageRow:
    """One image: counts at IoU .5 where objects were compared, its own F1 and foreground IoU where there are any."""

    id: str
    counts: Mapping[str, int | None]
    f1: float | None
    iou_fg: float | None


@dataclass(frozen=True)
class CurveRow:
    """The pooled counts at one threshold, and their F1."""

    threshold: float
    tp: int
    fp: int
    fn: int
    f1: float | None


@dataclass(frozen=True)
class Segments:
    """The part of a record that only segmentations have. `protocol` is the name, `made` how answers came about."""

    protocol: str
    scoring: Scoring
    made: str
    images: tuple[ImageRow, ...]
    curve: tuple[CurveRow, ...]

    @property
    def worst(self) -> list[ImageRow]:
        """The images from the worst on: by F1 where objects were compared, else by foreground IoU."""
        if any(image.f1 is not None for image in self.images):
            return sorted((i for i in self.images if i.f1 is not None), key=lambda i: (i.f1, i.id))
        return sorted((i for i in self.images if i.iou_fg is not None), key=lambda i: (i.iou_fg, i.id))


def parse_segments(result: Mapping[str, Any]) -> Segments:
    """The segmentation's part of a record; raises RecordError, naming the field."""
    found = mapping(result, "protocol")
    name = text(found.get("name"), "protocol.name", NAME)
    try:
        scoring = from_json({"name": name, "scoring": found.get("scoring")}, "protocol").scoring
    except BenchmarkError as error:
        raise RecordError(str(error)) from error
    images = items(result.get("images"), "images", IMAGES)
    curve = items(result.get("curve"), "curve", THRESHOLDS)
    return Segments(
        name,
        scoring,
        _made(found, texts(result.get("assumed"), "assumed", PROSE)),
        tuple(_image(value, f"images[{i}]") for i, value in enumerate(images)),
        tuple(_point(value, f"curve[{i}]") for i, value in enumerate(curve)),
    )


def _made(found: Mapping[str, Any], assumed: Sequence[str]) -> str:
    """How the answers were made of what a model gave, in words."""
    output = found.get("output")
    if output is None:
        return "maps as given"
    if isinstance(output, Mapping) and set(output) == {"threshold"}:
        threshold = number(output["threshold"], "protocol.output.threshold", BOUNDS["unit"])
        return f"scored masks, threshold {threshold:g}"
    try:
        protocol = from_json({"name": "declared", "output": output}, "protocol")
    except BenchmarkError as error:
        raise RecordError(str(error)) from error
    return made_text(protocol.output, assumed)


def compared_text(scoring: Mapping[str, Any]) -> str:
    """The rules of `masks.protocol.Scoring` in words."""
    words = ["IoU above the threshold" if scoring["iou"] == ">" else "IoU from the threshold on"]
    words.append("counts pooled" if scoring["pooling"] == "pooled" else "mean of the images")
    if scoring["dilation"] > 1:
        words.append(f"predicted objects widened by {scoring['dilation']}×{scoring['dilation']} px")
    if scoring["min_size"] > 1:
        words.append(f"objects from {scoring['min_size']} px on")
    return ", ".join(words)


def made_text(output: Output, assumed: Sequence[str] = ()) -> str:
    """A post-processing of planes in a few words; where none is declared, the one that was `assumed`.

    >>> made_text(Output(threshold=0.6, method=Watershed(8), min_size=10))
    'watershed 8 px, threshold 0.6, from 10 px on'
    >>> made_text(Output(), ["objects are the 4-connected components, the interior's, grown by 2 px"])
    'interior + 2 px (assumed)'
    """
    method = output.method
    if isinstance(method, Watershed):
        words = [f"watershed {method.min_distance} px"]
    elif isinstance(method, Interior):
        words = [f"interior + {method.grow} px"]
    else:
        words = ["components" if method else _assumed(assumed)]
    if output.threshold != UNDECLARED.threshold:
        words.append(f"threshold {output.threshold:g}")
    if output.connectivity != UNDECLARED.connectivity:
        words.append(f"{output.connectivity}-connected")
    if output.min_size:
        words.append(f"from {output.min_size} px on")
    return ", ".join(words)


def _assumed(words: Sequence[str]) -> str:
    """The rule by which objects were made of what declares none; a class map has no objects."""
    rule = next(filter(None, map(RULE.fullmatch, words)), None)
    if rule is None:
        return "classes by pixel"
    return f"interior + {rule[1]} px (assumed)" if rule[1] else "components (assumed)"


def _image(data: Any, where: str) -> ImageRow:
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    return ImageRow(
        text(data.get("id"), f"{where}.id", LINE),
        {name: maybe_whole(data.get(name), f"{where}.{name}") for name in COUNTS},
        maybe_number(data.get("f1"), f"{where}.f1", BOUNDS["unit"]),
        maybe_number(data.get("iou_fg"), f"{where}.iou_fg", BOUNDS["unit"]),
    )


def _point(data: Any, where: str) -> CurveRow:
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    tp, fp, fn = (whole(data.get(name), f"{where}.{name}") for name in ("tp", "fp", "fn"))
    threshold = number(data.get("threshold"), f"{where}.threshold", BOUNDS["unit"])
    return CurveRow(threshold, tp, fp, fn, maybe_number(data.get("f1"), f"{where}.f1", BOUNDS["unit"]))
