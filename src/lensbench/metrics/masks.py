"""Truth and prediction of segmentations, aligned by row, and what of one can be compared with the other.

The true maps hold instances or classes. An answer is a label map, a class map or masks:

* instances against a label map, or masks that do not overlap, are compared object by object; where masks overlap, a
  pixel goes to the one with the highest score; without scores that is refused, for no order is given;
* instances against a class map, and two classes against objects, are compared as foreground and background;
* several classes against objects, and objects against classes, have nothing in common to compare (``lacks``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError, LensbenchError, ModelError
from lensbench.masks import many
from lensbench.masks.protocol import DEFAULT, Scoring
from lensbench.masks.values import ClassMap, Kind, LabelMap, Masks, Value, to_labelmap

Map = NDArray[Any]
T = TypeVar("T")


class Taken(Sequence[T]):
    """Some entries of a sequence, each still read only when asked for."""

    def __init__(self, whole: Sequence[T], rows: NDArray[np.intp]) -> None:
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return Taken(self.whole, self.rows[index])
        return self.whole[int(self.rows[index])]


@dataclass(frozen=True, eq=False)
class MaskTruth:
    """The true maps of the evaluated images, in the order of their ids.

    Args:
        maps: one H×W each, decoded when asked for: instances (0 = background, every other value an object) or
            indices into ``classes``.
        classes: the names of the classes of a class map, background first; for instances background and the object.
        scoring: how label maps are compared.
        instances: whether ``maps`` hold instances.
        ids: the images' names, for messages.
        position: (n,) place of each image in the evaluated split, which a part of it carries along unchanged: ties
            between detections are broken by it.
    """

    maps: Sequence[Map]
    classes: tuple[str, ...]
    scoring: Scoring = DEFAULT.scoring
    instances: bool = True
    ids: tuple[str, ...] = ()
    position: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise BenchmarkError(f"a segmentation has background and other classes by name, not {self.classes}")
        if self.instances and len(self.classes) != 2:
            raise BenchmarkError(f"instances are of one class beside background, not of {len(self.classes) - 1}")
        if self.ids and len(self.ids) != len(self.maps):
            raise BenchmarkError(f"{len(self.ids)} ids for {len(self.maps)} true maps")
        if len(self.position) != len(self.maps):
            object.__setattr__(self, "position", np.arange(len(self.maps), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.maps)

    def take(self, rows: NDArray[np.intp]) -> MaskTruth:
        """These images, in this order, as part of the same evaluated split."""
        ids = tuple(self.ids[row] for row in rows.tolist()) if self.ids else ()
        return replace(self, maps=Taken(self.maps, rows), ids=ids, position=self.position[rows])

    def name(self, row: int) -> str:
        """What a message calls the image."""
        return repr(self.ids[row]) if self.ids else f"image {self.position[row]}"


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """What a model said about each image, aligned row by row with a `MaskTruth`.

    Args:
        values: the answers, all of one kind, read when asked for.
        kind: that kind, which a part carries along; told from the first answer when not given.
    """

    values: Sequence[Value]
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if self.kind is None and len(self.values):
            object.__setattr__(self, "kind", self.values[0].kind)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.intp]) -> MaskPrediction:
        """These images, in this order."""
        return MaskPrediction(Taken(self.values, rows), self.kind)

    @cached_property
    def scored(self) -> bool:
        """Whether every object of every image came with a score of its own."""
        return self.kind == "rle" and all(
            isinstance(value, Masks) and (value.scores is not None or not value.rle) for value in self.values
        )


def check_pair(truth: MaskTruth, prediction: MaskPrediction) -> None:
    """Refuse a prediction of another number of images; raises ModelError."""
    if len(truth) != len(prediction):
        raise ModelError(f"{len(prediction)} predictions for {len(truth)} images; give one per image")


def pairs(truth: MaskTruth, prediction: MaskPrediction) -> Iterator[tuple[str, Map, Value]]:
    """(name, true map, answer) of each image, checked: kinds, shapes, and that maps hold whole numbers.

    Raises ModelError for the answer, BenchmarkError for the truth.
    """
    check_pair(truth, prediction)
    for row in range(len(truth)):
        true, value, where = truth.maps[row], prediction.values[row], truth.name(row)
        _check_map(true, f"the truth of {where}", BenchmarkError)
        if value.kind != prediction.kind:
            raise ModelError(f"{where}: a {value.kind} among predictions of kind {prediction.kind}; give one kind")
        if not isinstance(value, Masks):
            _check_map(value.pixels, f"the prediction of {where}", ModelError)
        if value.shape != true.shape:
            turned = "; it looks transposed" if value.shape == true.shape[::-1] else ""
            sizes = " × ".join(map(str, value.shape)), " × ".join(map(str, true.shape))
            raise ModelError(f"{where}: the prediction is {sizes[0]}, the image {sizes[1]} (height × width){turned}")
        yield where, true, value


def instances(value: Value, where: str) -> Map:
    """The answer as a label map; raises ModelError for masks without scores that overlap."""
    if not isinstance(value, Masks):
        return value.pixels
    labels = many.paint_apart(*many.from_texts(value.rle, value.shape[0] * value.shape[1], where), value.shape)
    if labels is None:
        return to_labelmap(value, where, "refuse" if value.scores is None else "best").pixels
    return labels


def classes(value: Value, where: str, n_classes: int) -> Map:
    """The answer as a class map: objects are class 1; raises ModelError for a class beyond the last."""
    if isinstance(value, ClassMap):
        return checked_classes(value.pixels, n_classes, f"the prediction of {where}", ModelError)
    return _covered(value, where).view(np.uint8)


def checked_classes(pixels: Map, n_classes: int, where: str, error: type[LensbenchError]) -> Map:
    """`pixels`, all of which name one of the classes."""
    if pixels.size and int(pixels.max()) >= n_classes:
        raise error(f"{where} holds class {pixels.max()}, there are 0 to {n_classes - 1}")
    return pixels


def _covered(value: LabelMap | Masks, where: str) -> NDArray[np.bool_]:
    """Which pixels belong to some object."""
    if isinstance(value, LabelMap):
        return np.not_equal(value.pixels, 0)
    height, width = value.shape
    edges = np.zeros(height * width + 1, np.int32)
    _, spans = many.from_texts(value.rle, height * width, where)
    np.add.at(edges, spans[:, 0], 1)
    np.subtract.at(edges, spans[:, 1], 1)
    covered: NDArray[np.bool_] = np.cumsum(edges[:-1]) > 0
    return np.ascontiguousarray(covered.reshape(width, height).T)


def _check_map(pixels: Map, where: str, error: type[LensbenchError]) -> None:
    if pixels.ndim != 2 or not pixels.size:
        raise error(f"{where} has the shape {pixels.shape}, a map is H×W with one number a pixel")
    if pixels.dtype.kind not in "iu":
        raise error(f"{where} holds {pixels.dtype} values, a map holds whole numbers")
    if pixels.dtype.kind == "i" and int(pixels.min()) < 0:
        raise error(f"{where} holds {pixels.min()}: 0 is background, nothing lies below")
    if pixels.dtype.itemsize > 4 and int(pixels.max()) > 0xFFFF_FFFF:
        raise error(f"{where} holds {pixels.max()}, ids have 32 bits")
