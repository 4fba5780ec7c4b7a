"""From what a model gives for one image to the answer that is stored: a label map, a class map, or scored masks.

Nothing is guessed in silence: what nobody declared is taken by the rules of `Output`, and comes back in words beside
the answer, for the record's `assumed`. Wrong shapes, NaN and infinities are refused in one line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.images.labelmap import renumber
from lensbench.masks import rle
from lensbench.masks.classic import Mask, components, drop_small, grow, watershed
from lensbench.masks.values import ClassMap, LabelMap, Masks, to_labelmap

Activation = Literal["logits", "probabilities"]
Connectivity = Literal[4, 8]
BACKGROUND, INTERIOR = 0, 1
"""Channels of a model with three classes; the third is the boundary."""
SLACK = 1e-3
"""How far a declared probability may lie outside [0, 1]: half precision rounds, a resampling overshoots."""


@dataclass(frozen=True)
class Components:
    """Objects are the connected components of the foreground."""

    name: ClassVar = "components"


@dataclass(frozen=True)
class Watershed:
    """Objects are the foreground's components, cut as `classic.watershed` does with this `min_distance` (pixels)."""

    name: ClassVar = "watershed"
    min_distance: int = 10


@dataclass(frozen=True)
class Interior:
    """Objects are the components of the interior, grown into foreground by `grow` pixels as `classic.grow` does.

    Needs three classes. Foreground farther from any interior is no object.
    """

    name: ClassVar = "interior"
    grow: int = 2


Method = Components | Watershed | Interior


@dataclass(frozen=True)
class Output:
    """What a model's planes C×H×W mean and how objects are made of them.

    `activation`: what the planes hold; None is taken as logits. `threshold`: with one plane (sigmoid) or two
    (softmax, the second is the foreground) a pixel is foreground if its probability is at least this, compared as
    if calculated without rounding: the logit, or the difference of the two, is ≥ log(t / (1 - t)). Three planes are
    background, interior and boundary, a pixel has the class of its largest plane, of equal ones the first, and
    foreground is all that is not background. `method` None: `Components`, with three planes `Interior()`.
    Objects of fewer than `min_size` pixels are dropped.
    """

    activation: Activation | None = None
    threshold: float = 0.5
    method: Method | None = None
    connectivity: Connectivity = 4
    min_size: int = 0


UNDECLARED = Output()


def label_map(planes: NDArray[Any], shape: tuple[int, int], where: str, output: Output = UNDECLARED) -> Answer:
    """The objects of an image of `shape` (height, width) from a model's floats C×H×W, C = 1, 2 or 3.

    Numbered by first appearance in raster order. Raises ModelError naming `where`.
    """
    _check(planes, shape, where, output)
    channels, method = len(planes), output.method
    if channels > 3:
        raise ModelError(
            f"{where}: has {channels} planes; objects are made of one (foreground), two (background, foreground) or "
            "three (background, interior, boundary)"
        )
    method = method or (Interior() if channels == 3 else Components())
    if isinstance(method, Interior) and channels != 3:
        raise ModelError(f"{where}: interior + expansion needs three planes, the model gives {channels}")
    classes = _classes(planes, output)
    foreground: Mask = classes != BACKGROUND
    if isinstance(method, Interior):
        labels = grow(
            components(classes == INTERIOR, output.connectivity), foreground, method.grow, output.connectivity
        )
    elif isinstance(method, Watershed):
        labels = watershed(foreground, method.min_distance, output.connectivity)
    else:
        labels = components(foreground, output.connectivity)
    return Answer(LabelMap(drop_small(labels, output.min_size)), _assumed(planes, output, method))


def class_map(
    planes: NDArray[Any], classes: int, shape: tuple[int, int], where: str, output: Output = UNDECLARED
) -> Answer:
    """The class (0 … `classes` - 1) of every pixel from a model's floats C×H×W.

    C is `classes`; for two classes one plane will do, too, or background, interior and boundary, of which the last
    two are the foreground. From three planes on the largest decides, of equal ones the first. Raises ModelError
    naming `where`.
    """
    _check(planes, shape, where, output)
    channels = len(planes)
    if channels != classes and not (classes == 2 and channels in (1, 3)):
        raise ModelError(f"{where}: has {channels} planes, the benchmark has {classes} classes")
    found = _classes(planes, output)
    if channels == classes and channels > 2:
        return Answer(ClassMap(found), ())
    return Answer(ClassMap(np.minimum(found, 1)), _assumed(planes, output, None))


def detections(
    boxes: NDArray[Any],
    masks: NDArray[Any],
    scores: NDArray[Any],
    shape: tuple[int, int],
    where: str,
    *,
    threshold: float = 0.5,
) -> tuple[Masks, LabelMap, tuple[str, ...]]:
    """Scored masks that may overlap, their label map, and what was assumed, from what a Mask R-CNN gives.

    `boxes` floats n×4 (left, top, right, bottom, in pixels), `scores` floats n, `masks` probabilities n×h×w or
    n×1×h×w: of the image's own `shape`, or (any other h×w) sampled evenly over the box. In the latter case the value
    at a pixel's centre is interpolated between the four nearest samples, those beyond the box being 0. A pixel
    belongs to a mask from `threshold` on. A mask without pixels stays among the masks, where it counts as an
    object, and is none of the label map's. In the label map a pixel of several masks goes to the highest score, of
    equal ones to the first. Raises ModelError naming `where`.
    """
    boxes, masks, scores = (
        _floats(array, where, what) for array, what in ((boxes, "boxes"), (masks, "masks"), (scores, "scores"))
    )
    number = len(scores)
    masks = masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if scores.ndim != 1 or boxes.shape != (number, 4) or masks.ndim != 3 or len(masks) != number:
        raise ModelError(
            f"{where}: expected boxes n×4, masks n×h×w (or n×1×h×w) and scores n, "
            f"not {boxes.shape}, {masks.shape} and {scores.shape}"
        )
    _check_probabilities(masks, where)
    if (boxes[:, :2] > boxes[:, 2:]).any():
        raise ModelError(f"{where}: a box ends before it begins; boxes are (left, top, right, bottom)")
    whole = masks.shape[1:] == shape
    texts = []
    for box, mask in zip(boxes, masks, strict=True):
        pixels = mask >= threshold if whole else _paste(box, mask, shape) >= threshold
        texts.append(rle.text_of(rle.spans_of(pixels), shape[0] * shape[1]))
    found = Masks(shape, tuple(texts), scores.astype(np.float64))
    labels = to_labelmap(found, where, overlaps="best")
    assumed = (
        f"masks hold probabilities, an object's pixels from {threshold:g} on",
        "a mask covers the whole image" if whole else "a mask covers its box (left, top, right, bottom, in pixels)",
    )
    return found, LabelMap(renumber(labels.pixels)), assumed


@dataclass(frozen=True, eq=False)
class Answer:
    """One image's answer, and what had to be assumed to make it, one line each."""

    value: LabelMap | ClassMap
    assumed: tuple[str, ...]


def _classes(planes: NDArray[Any], output: Output) -> NDArray[np.uint8]:
    """The class of every pixel; with one or two planes, 1 is the foreground."""
    if len(planes) > 2:
        largest: NDArray[np.uint8] = planes.argmax(0).astype(np.uint8)
        return largest
    if output.activation == "probabilities":
        foreground: Mask = planes[-1] >= output.threshold
    else:
        logit = planes[-1].astype(np.float64)
        if len(planes) == 2:
            logit -= planes[0]
        foreground = logit >= math.log(output.threshold / (1 - output.threshold))
    return foreground.view(np.uint8)


def _assumed(planes: NDArray[Any], output: Output, method: Method | None) -> tuple[str, ...]:
    """What nobody declared, in words; `method` is the one used, None for a class map."""
    channels, words = len(planes), []
    if channels == 3:
        words.append("three planes are background, interior and boundary; a pixel has the class of the largest")
    elif output.activation is None:
        name = "one plane holds logits: sigmoid" if channels == 1 else "two planes hold logits: softmax"
        words.append(f"{name}, foreground from {output.threshold:g} on")
        if channels == 1 and planes.min() >= 0 and planes.max() <= 1:
            words.append("logits, though all of an image lie in [0, 1]: declare probabilities if a sigmoid is built in")
    if method is not None and output.method is None:
        grown = f"the interior's, grown by {method.grow} px" if isinstance(method, Interior) else "the foreground's"
        words.append(f"objects are the {output.connectivity}-connected components, {grown}")
    return tuple(words)


def _check(planes: NDArray[Any], shape: tuple[int, int], where: str, output: Output) -> None:
    if planes.ndim != 3 or planes.shape[1:] != shape:
        turned = "; is the layout H×W×C?" if planes.ndim == 3 and planes.shape[:2] == shape else ""
        raise ModelError(f"{where}: gives {planes.shape} for an image of {shape}, expected C×H×W{turned}")
    if not 1 <= len(planes) <= 256:
        raise ModelError(f"{where}: gives {len(planes)} planes, expected 1 to 256")
    _floats(planes, where, "output")
    if output.activation == "probabilities":
        _check_probabilities(planes, where)


def _floats(values: NDArray[Any], where: str, what: str) -> NDArray[Any]:
    if values.dtype.kind != "f":
        raise ModelError(f"{where}: the {what} holds {values.dtype} values, expected floats")
    if not np.isfinite(values).all():
        raise ModelError(f"{where}: the {what} holds NaN or infinity")
    return values


def _check_probabilities(values: NDArray[Any], where: str) -> None:
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low < -SLACK or high > 1 + SLACK:
        raise ModelError(f"{where}: holds {low if low < -SLACK else high:g}, no probability; are these logits?")


def _paste(box: NDArray[Any], mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The value of every pixel of an image of `shape` from samples h×w spread over a box."""
    image = np.zeros(shape)
    if not mask.size:
        return image
    left, top, right, bottom = box.astype(np.float64).tolist()
    x0, x1 = (int(np.clip(at, 0, shape[1])) for at in (math.floor(left), math.ceil(right)))
    y0, y1 = (int(np.clip(at, 0, shape[0])) for at in (math.floor(top), math.ceil(bottom)))
    if right > left and bottom > top:
        rows = _weights(y0, y1, top, bottom, mask.shape[0])
        columns = _weights(x0, x1, left, right, mask.shape[1])
        image[y0:y1, x0:x1] = rows @ mask.astype(np.float64) @ columns.T
    return image


def _weights(begin: int, end: int, low: float, high: float, samples: int) -> NDArray[np.float64]:
    """Linear interpolation along one axis: (pixels begin … end, samples), from samples spread over [low, high]."""
    at = (np.arange(begin, end) + 0.5 - low) / (high - low) * samples - 0.5
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(samples)))
    return weights
