"""One image with what a model made of it, as SVG: the grey picture, small and lossy, under outlines that stay sharp.

Instances: every object by its fate. What was matched, what was found without being there, and what merges several
true objects is drawn as it was predicted; what was missed or split as it is in truth. Classes: the pixels that are
right, wrong or missed, as areas. Colours are those of Okabe and Ito, and every fate has a dash pattern of its own:
no colour has to be told apart from another.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.images.labelmap import objects
from lensbench.leaderboard.escape import as_html
from lensbench.masks.protocol import Scoring
from lensbench.masks.values import ClassMap, Value
from lensbench.metrics.maskrows import scored
from lensbench.metrics.masks import classes as class_pixels
from lensbench.metrics.masks import instances
from lensbench.metrics.overlap import Overlap, overlap

FATES: Mapping[str, str] = {
    "hit": "matched",
    "false": "false positive",
    "miss": "missed",
    "split": "split",
    "merge": "merging",
}
"""What becomes of an object, in the order of drawing, in words."""
AREAS: Mapping[str, str] = {"hit": "right", "false": "false positive", "miss": "missed", "split": "another class"}
"""What becomes of a pixel of a class map."""
SHOWN = (("miss", "split"), ("hit", "false", "merge"))
"""Which fates are drawn as the true object lies, and which as the predicted one."""
SIDE, QUALITY = 736, 60
"""Longest side in pixels, and WebP quality, of the picture under the outlines."""
TINY = 14
"""Objects whose box is smaller than this, in pixels of the shown picture, get a ring unless they were matched."""
MOST = 4_000
"""Objects of a side, or outlines of an area, that are drawn; noise has a hundred thousand."""
QUARTERS = 4
"""Units of the drawing to a pixel of the image: outlines run between pixels, in whole numbers."""


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG, and how many objects (or pixels, of classes) have each fate; `cut` if not all are drawn."""

    svg: str
    counts: Mapping[str, int]
    cut: bool = False


@dataclass(frozen=True, eq=False)
class Fates:
    """What becomes of each true and each predicted object, by ascending id, and of how many in all.

    An object with several partners of an IoU above 1/10 is split, or merging, whether or not one of them matches:
    it is drawn so, and counts under both.
    """

    truth: NDArray[np.str_]
    predicted: NDArray[np.str_]
    counts: Mapping[str, int]


def draw(image: NDArray[Any], true: NDArray[Any], value: Value, scoring: Scoring, label: str, classes: int) -> Drawing:
    """The picture of an answer beside the true map, as the protocol compares both.

    `true` is a map of `classes` classes, or for 0 of objects; objects against a class map are drawn as foreground.
    Raises ModelError naming `label`.
    """
    if classes or isinstance(value, ClassMap):
        truth = true if classes else (scored(scoring, true) != 0)
        answer = class_pixels(value, label, classes or 256)
        return draw_classes(image, truth.astype(np.uint8), answer if classes else (answer != 0).view(np.uint8), label)
    truth, found = scored(scoring, true), scored(scoring, instances(value, label), predicted=True)
    return draw_objects(image, truth, found, object_fates(overlap(truth, found), scoring), label)


def object_fates(found: Overlap, scoring: Scoring) -> Fates:
    """The fates at an IoU of 1/2, as the protocol compares."""
    pairs = found.matched
    pairs = pairs[scoring.matches(found.intersection[pairs], found.union[pairs], 10)]
    near = 10 * found.intersection > found.union
    sides, counts = [], {"hit": len(pairs)}
    for number, partner, none, several in (
        (len(found.predicted_areas), found.predicted, "false", "merge"),
        (len(found.truth_areas), found.truth, "miss", "split"),
    ):
        own = np.full(number, none, "<U5")
        own[partner[pairs]] = "hit"
        many = np.bincount(partner[near], minlength=number) > 1
        counts |= {none: number - len(pairs), several: int(many.sum())}
        own[many] = several
        sides.append(own)
    return Fates(sides[1], sides[0], counts)


def draw_objects(
    image: NDArray[Any], truth: NDArray[Any], predicted: NDArray[Any], fates: Fates, label: str
) -> Drawing:
    """The picture of two label maps of one image with the `fates` of their objects."""
    paths: dict[str, list[str]] = {name: [] for name in FATES}
    least = TINY * max(1.0, max(truth.shape) / SIDE)
    for labels, own, shown in zip((truth, predicted), (fates.truth, fates.predicted), SHOWN, strict=True):
        for one, fate in zip(objects(labels)[:MOST], own[:MOST].tolist(), strict=True):
            if fate not in shown:
                continue
            x, y, width, height = one.bbox
            paths[fate].append(_outline(labels[y : y + height, x : x + width] == one.id, y, x))
            if fate != "hit" and max(width, height) < least:
                paths[fate].append(_ring(x + width / 2, y + height / 2, least))
    return Drawing(
        _svg(image, paths, label, "objects"), fates.counts, max(len(fates.truth), len(fates.predicted)) > MOST
    )


def draw_classes(image: NDArray[Any], truth: NDArray[np.uint8], predicted: NDArray[np.uint8], label: str) -> Drawing:
    """The picture of two class maps, background being 0."""
    areas = {
        "hit": (truth == predicted) & (truth != 0),
        "false": (truth == 0) & (predicted != 0),
        "miss": (truth != 0) & (predicted == 0),
        "split": (truth != predicted) & (truth != 0) & (predicted != 0),
    }
    paths = {name: [_outline(mask, 0, 0)] if mask.any() else [] for name, mask in areas.items()}
    cut = any(data.count("M") == MOST for one in paths.values() for data in one)
    return Drawing(_svg(image, paths, label, "areas"), {name: int(mask.sum()) for name, mask in areas.items()}, cut)


def _outline(mask: NDArray[Any], top: int, left: int) -> str:
    """SVG path data around a mask whose first pixel is (`top`, `left`) of the image, in quarter pixels."""
    thick = np.repeat(np.repeat(np.pad(mask, 1), 2, axis=0), 2, axis=1)  # half a pixel thin is no line
    found, _ = cv2.findContours(thick.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in found[:MOST]:
        smooth = cv2.approxPolyDP(contour, 0.8, True) if len(contour) > 8 else contour
        points = (2 * smooth[:, 0].astype(int) + 1 + QUARTERS * np.array([left - 1, top - 1])).tolist()
        steps = np.diff(np.array(points), axis=0).tolist()
        parts.append(f"M{points[0][0]} {points[0][1]}l" + " ".join(f"{x} {y}" for x, y in steps) + "z")
    return "".join(parts)


def _ring(x: float, y: float, radius: float) -> str:
    """SVG path data of a circle."""
    x, y, r = (round(QUARTERS * size) for size in (x, y, radius))
    return f"M{x - r} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0"


def _svg(image: NDArray[Any], paths: Mapping[str, list[str]], label: str, kind: str) -> str:
    height, width = (QUARTERS * side for side in image.shape[:2])
    data = base64.b64encode(backdrop(image)).decode()
    drawn = "".join(f'<path class="{name}" d="{"".join(parts)}"/>' for name, parts in paths.items() if parts)
    return (
        f'<svg class="shot {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{as_html(label)}">'
        f'<image width="{width}" height="{height}" href="data:image/webp;base64,{data}"/>{drawn}</svg>'
    )


def backdrop(image: NDArray[Any]) -> bytes:
    """An image H×W or H×W×3 as grey WebP of at most `SIDE` pixels a side, stretched, its dark parts lifted."""
    grey: NDArray[Any] = image.astype(np.float32)
    if grey.ndim == 3:
        grey = grey[..., :3].mean(2)
    scale = SIDE / max(grey.shape)
    if scale < 1:
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(grey, [0.1, 99.9]).tolist()
    light = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) ** 0.6
    done, data = cv2.imencode(".webp", (255 * light).astype(np.uint8), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    assert done
    return data.tobytes()
