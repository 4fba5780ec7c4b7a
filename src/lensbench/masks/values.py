"""One image's answer: objects that do not overlap (`LabelMap`), classes (`ClassMap`), or any masks (`Masks`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.masks.rle import Spans, encode, from_text, overlap, paint

Kind = Literal["labelmap", "classmap", "rle"]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Instances: `pixels` is uint32 H×W, 0 for background, every other value one object."""

    kind: ClassVar[Kind] = "labelmap"
    pixels: NDArray[np.uint32]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Semantic: `pixels` is uint8 H×W, each the index of a class."""

    kind: ClassVar[Kind] = "classmap"
    pixels: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class Masks:
    """Instances that may overlap: for each one COCO's compressed counts, and with `scores` (float64, n) how sure.

    `shape` is (height, width). `scores` is None where nobody gave any: none is ever invented.
    """

    kind: ClassVar[Kind] = "rle"
    shape: tuple[int, int]
    rle: tuple[bytes, ...]
    scores: NDArray[np.float64] | None = None

    def spans(self, where: str) -> list[Spans]:
        """The spans of each mask; raises ModelError naming `where` for counts that are not valid."""
        pixels = self.shape[0] * self.shape[1]
        return [from_text(text, pixels, f"{where}, mask {n}") for n, text in enumerate(self.rle, 1)]


Value = LabelMap | ClassMap | Masks


def to_masks(labels: LabelMap) -> Masks:
    """The objects of a label map by ascending id, without scores."""
    return Masks(labels.shape, tuple(encode(labels.pixels)[1]))


def to_labelmap(masks: Masks, where: str, overlaps: Literal["refuse", "best"] = "refuse") -> LabelMap:
    """The masks as a label map, numbered 1, 2, … in their order; an empty mask leaves its number out.

    A pixel of several masks is an error (``refuse``), or goes to the one with the highest score, of equal ones to
    the first (``best``). Raises ModelError naming `where`.
    """
    spans = masks.spans(where)
    ids = np.arange(1, len(spans) + 1, dtype=np.uint32)
    shared = overlap(spans)
    if shared is None:
        return LabelMap(paint(spans, ids, masks.shape))
    if overlaps == "refuse" or masks.scores is None:
        what = "say which one a pixel belongs to" if overlaps == "refuse" else "without scores no order is given"
        raise ModelError(f"{where}: masks {shared[0] + 1} and {shared[1] + 1} overlap: {what}")
    flat = np.zeros(masks.shape[0] * masks.shape[1], np.uint32)
    for number in np.argsort(-masks.scores, kind="stable")[::-1].tolist():  # the best is painted last
        for begin, end in spans[number].tolist():
            flat[begin:end] = number + 1
    return LabelMap(np.ascontiguousarray(flat.reshape(masks.shape[::-1]).T))
