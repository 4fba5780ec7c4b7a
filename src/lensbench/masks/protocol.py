"""Named protocols: every rule between a model's output and a segmentation score, as one frozen value.

Two figures of one prediction set that differ in any of these rules are two different measurements, so the protocol
is part of the benchmark's digest and stands in every row. Its canonical JSON names it; a protocol read back from
its JSON is equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.digest import canonical, sha256_of
from lensbench.errors import BenchmarkError, nearest
from lensbench.masks.classic import Labels, dilate, drop_small
from lensbench.masks.postprocess import UNDECLARED, Components, Interior, Output, Watershed
from lensbench.masks.tiling import EIGHTHS, Tiling

Rule = Literal[">=", ">"]
Pooling = Literal["pooled", "image-mean"]
METHODS = {method.name: method for method in (Components, Watershed, Interior)}
MOST_PIXELS = 10_000
"""Largest side, distance, growth, halo or minimum size: none is longer than an image is wide."""


@dataclass(frozen=True)
class Scoring:
    """How label maps are compared.

    `iou`: a pair matches from the threshold on (``>=``) or above it (``>``). `pooling`: counts are summed over the
    split and then divided, or each image has its own value and they are averaged. `dilation`: side in pixels of
    the square by which predicted objects are widened first, 1 for none (`classic.dilate`). `min_size`: then objects
    of fewer pixels are removed from truth and prediction alike.
    """

    iou: Rule = ">="
    pooling: Pooling = "pooled"
    dilation: int = 1
    min_size: int = 0

    def truth(self, labels: NDArray[Any]) -> Labels:
        """The true label map as it is compared: any label map → label map, numbered in raster order."""
        return drop_small(labels, self.min_size)

    def prediction(self, labels: NDArray[Any]) -> Labels:
        """The predicted label map as it is compared: any label map → label map, numbered in raster order."""
        return drop_small(dilate(labels, self.dilation), self.min_size) if self.dilation > 1 else self.truth(labels)

    def matches(self, intersection: NDArray[np.int64], union: NDArray[np.int64], twentieths: int) -> NDArray[np.bool_]:
        """Whether pairs match at the threshold `twentieths`/20: int64 of one shape → bool, exact, no float involved."""
        left, right = 20 * intersection, twentieths * union
        return left > right if self.iou == ">" else left >= right


@dataclass(frozen=True)
class Protocol:
    """A name and its rules: how a model is run, what is made of its output, how that is compared with the truth."""

    name: str
    tiling: Tiling = EIGHTHS
    output: Output = UNDECLARED
    scoring: Scoring = Scoring()

    @property
    def digest(self) -> str:
        """Hex sha256 of the canonical JSON."""
        return sha256_of(self.to_json())

    @property
    def text(self) -> str:
        """The canonical JSON."""
        return canonical(self.to_json()).decode("utf-8")

    def to_json(self) -> dict[str, Any]:
        """Plain values; null is what the number of planes, or the size of a tile, decides."""
        output = asdict(self.output)
        if self.output.method is not None:
            output["method"] = {"name": self.output.method.name, **asdict(self.output.method)}
        return {"name": self.name, "tiling": asdict(self.tiling), "output": output, "scoring": asdict(self.scoring)}


DEFAULT = Protocol("default")
AITS_LEGACY = Protocol("aits_legacy", scoring=Scoring(iou=">", pooling="image-mean", dilation=3, min_size=10))
"""As the publisher of Aitslab-bioimaging1 scored (github.com/Aitslab/imageanalysis, evaluation notebooks of 2022/23).

Predicted objects are widened by a 3×3 square, objects below 10 px then removed from both sides, a pair matches if its
IoU is strictly above t; F1 is calculated per image, then averaged over images, then over t = .50, .55 … .95. (Their
t are `np.arange(.5, 1, .05)`, up to 4e-16 above k/20: with the strict rule that decides no pair of pixel counts
otherwise than k/20 does.) Their "Jaccard" is the mean over predicted objects of the best IoU. Their truth is the
connected regions of one colour; as no object of this dataset has two parts, those are its objects. Their other tables
take 25 or 100 px. How their networks' outputs became objects is not part of it: label maps come ready-made, and
what is not is turned into objects as under ``default``.
"""
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (DEFAULT, AITS_LEGACY)}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name; BenchmarkError with the nearest one if there is none."""
    if name not in PROTOCOLS:
        raise BenchmarkError(f"no protocol {name!r}{nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def from_json(data: Any, where: str) -> Protocol:
    """The protocol of parsed JSON or TOML, checked; what is left out is as under ``default``, but the name.

    Raises BenchmarkError naming `where` and the entry.
    """
    top = _table(data, where, Protocol)
    name = top.get("name")
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= 100:
        raise BenchmarkError(f"{where}: name is 1 to 100 printable characters, not {str(name)[:40]!r}")
    tiling = _table(top.get("tiling", {}), f"{where}: tiling", Tiling)
    for key, value in tiling.items():
        if value is not None:
            _whole(value, f"{where}: tiling.{key}", 0)
    scoring = _table(top.get("scoring", {}), f"{where}: scoring", Scoring)
    _choice(scoring, "iou", (">=", ">"), f"{where}: scoring")
    _choice(scoring, "pooling", ("pooled", "image-mean"), f"{where}: scoring")
    if _whole(scoring.get("dilation", 1), f"{where}: scoring.dilation", 1) % 2 == 0:
        raise BenchmarkError(f"{where}: scoring.dilation is odd, not {scoring['dilation']}")
    _whole(scoring.get("min_size", 0), f"{where}: scoring.min_size", 0)
    return Protocol(name, Tiling(**tiling), _output(top.get("output", {}), f"{where}: output"), Scoring(**scoring))


def _output(data: Any, where: str) -> Output:
    output = _table(data, where, Output)
    _choice(output, "activation", ("logits", "probabilities", None), where)
    _choice(output, "connectivity", (4, 8), where)
    _whole(output.get("min_size", 0), f"{where}.min_size", 0)
    threshold = output.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise BenchmarkError(f"{where}.threshold lies between 0 and 1, not {str(threshold)[:40]}")
    method = output.get("method")
    if method is not None:
        if not isinstance(method, dict) or method.get("name") not in tuple(METHODS):
            raise BenchmarkError(f"{where}.method is a table with a name, one of {', '.join(METHODS)}")
        kind = METHODS[method["name"]]
        given = _table({key: value for key, value in method.items() if key != "name"}, f"{where}.method", kind)
        for key, value in given.items():
            _whole(value, f"{where}.method.{key}", 1 if key == "min_distance" else 0)
        output = {**output, "method": kind(**given)}
    return Output(**{**output, "threshold": float(threshold)})


def _table(data: Any, where: str, kind: type) -> dict[str, Any]:
    """`data` as a table that has no other entries than the fields of `kind`."""
    known = [field.name for field in fields(kind)]
    if not isinstance(data, dict):
        raise BenchmarkError(f"{where}: expected a table")
    unknown = sorted(set(map(str, data)) - set(known))
    if unknown:
        raise BenchmarkError(f"{where}: unknown entry {unknown[0][:40]!r}{nearest(unknown[0][:40], known)}")
    return dict(data)


def _choice(table: Mapping[str, Any], key: str, known: tuple[Any, ...], where: str) -> None:
    value = table.get(key, known[0])
    if isinstance(value, bool) or value not in known:
        raise BenchmarkError(f"{where}.{key} is one of {', '.join(map(str, known))}, not {str(value)[:40]!r}")


def _whole(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_PIXELS:
        raise BenchmarkError(f"{where} is a whole number of {least} to {MOST_PIXELS:,}, not {str(value)[:40]!r}")
    return value
