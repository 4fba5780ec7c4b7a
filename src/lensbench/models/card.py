"""What a model says of itself: `model.toml` beside it, or one JSON value under `lensbench` in its ONNX metadata.

A stranger wrote it: every field is checked for type and length, and nothing in it names a file outside its folder.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lensbench.digest import sha256_of
from lensbench.errors import BenchmarkError, ModelError
from lensbench.models.gate import read_file

TEXT = 500
LABELS = 100_000
VIEWS = 1_000
SIZE = 1 << 20
KINDS = ("logits", "probabilities", "labelmap", "classmap", "detections")
OBJECTS = ("threshold", "method", "connectivity", "min_size")
"""Entries of [output] that say how a segmentation's objects are made; see `masks.postprocess.Output`."""
FUNCTIONS = ("lensbench.masks.classic:otsu_watershed",)
"""What `function` may name: code that comes with lensbench, and no other, for a stranger may have written the card."""
TABLES = {
    "": (
        "name",
        "authors",
        "licence",
        "benchmark",
        "config",
        "file",
        "function",
        "labels",
        "input",
        "output",
        "training",
        "url",
    ),
    "input": ("layout", "colour", "range", "mean", "std"),
    "output": ("kind", "name", *OBJECTS),
    "training": ("data", "views", "script"),
}


@dataclass(frozen=True)
class Card:
    """The declared part of the model contract; None means not declared."""

    name: str | None = None
    authors: tuple[str, ...] = ()
    licence: str | None = None
    url: str | None = None
    training: str | None = None
    views: tuple[str, ...] = ()
    """Of raw frames: in which views it was shown its training images."""
    benchmark: str | None = None
    config: str | None = None
    file: str | None = None
    function: str | None = None
    """One of `FUNCTIONS`, in place of a file."""
    labels: str | tuple[str, ...] | None = None
    layout: str | None = None
    colour: str | None = None
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    kind: str | None = None
    output: str | None = None
    objects: Mapping[str, Any] | None = None
    """Those of `OBJECTS` that are declared."""

    @property
    def digest(self) -> str:
        """Hex sha256 of what is declared: another declaration is another submission."""
        stated = asdict(self)
        for entry in ("objects", "function", "views"):  # younger than the others: a card without keeps its digest
            if stated[entry] in (None, ()):
                del stated[entry]
        return sha256_of(stated)

    @property
    def trained(self) -> str | None:
        """What it was trained on, in words."""
        views = f"in the views {', '.join(self.views)}" if self.views else None
        return "; ".join(text for text in (self.training, views) if text) or None

    def over(self, other: Card) -> Card:
        """This card, with what it leaves open taken from `other`."""
        mine = {k: v for k, v in vars(self).items() if v not in (None, ())}
        return Card(**{**vars(other), **mine})


def read_card(path: Path) -> Card:
    """Read `model.toml`; raises ModelError naming the file and the entry that is wrong."""
    try:
        data = tomllib.loads(read_file(path, SIZE).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, numbers of 5,000 digits
        raise ModelError(f"{path}: not valid TOML: {error}") from error
    return card(data, str(path))


def metadata_card(metadata: Mapping[str, str]) -> Card:
    """The card in ONNX `metadata_props`: JSON of the same shape as model.toml under the key ``lensbench``."""
    if "lensbench" not in metadata:
        return Card()
    try:
        data = json.loads(metadata["lensbench"])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"metadata_props['lensbench'] is not valid JSON: {error}") from error
    return card(data, "metadata_props['lensbench']")


def card(data: Any, where: str) -> Card:
    """A Card from parsed TOML or JSON."""
    if not isinstance(data, dict):
        raise ModelError(f"{where}: expected a table")
    tables = {"": data} | {name: data.get(name, {}) for name in ("input", "output", "training")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ModelError(f"{where}: [{name}] is not a table")
        unknown = sorted(set(map(str, table)) - set(TABLES[name]))
        if unknown:
            raise ModelError(f"{where}: unknown entry {unknown[0]!r} (known: {', '.join(TABLES[name])})")
    top, given, output, training = (tables[name] for name in ("", "input", "output", "training"))
    if "function" in top and "file" in top:
        raise ModelError(f"{where}: names a file and a function; a submission is one of them, take the other out")
    labels = top.get("labels")
    return Card(
        name=_text(top, "name", where),
        authors=tuple(_texts(top.get("authors", []), "authors", where, 100)),
        licence=_text(top, "licence", where),
        url=_text(top, "url", where),
        training=_text(training, "data", where),
        views=tuple(_texts(training.get("views", []), "views", where, VIEWS)),
        benchmark=_text(top, "benchmark", where),
        config=_text(top, "config", where),
        file=_file(top, where),
        function=_choice(top, "function", FUNCTIONS, where),
        labels=tuple(_texts(labels, "labels", where, LABELS))
        if isinstance(labels, list)
        else _text(top, "labels", where),
        layout=_choice(given, "layout", ("NCHW", "NHWC"), where),
        colour=_choice(given, "colour", ("RGB", "BGR"), where),
        range=_range(given, where),
        mean=_numbers(given, "mean", where),
        std=_std(given, where),
        kind=_choice(output, "kind", KINDS, where),
        output=_text(output, "name", where),
        objects=_objects(output, where),
    )


def _objects(output: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
    given = {key: output[key] for key in OBJECTS if key in output}
    if not given:
        return None
    from lensbench.masks.protocol import from_json

    try:
        from_json({"name": "declared", "output": given}, where)
    except BenchmarkError as error:
        raise ModelError(str(error)) from error
    return given


def _text(table: Mapping[str, Any], key: str, where: str) -> str | None:
    value = table.get(key)
    return None if value is None else _texts([value], key, where, 1)[0]


def _texts(values: Any, key: str, where: str, most: int) -> list[str]:
    if not isinstance(values, list) or len(values) > most:
        raise ModelError(f"{where}: {key} must be a list of at most {most} texts")
    for value in values:
        if not isinstance(value, str) or not value.strip() or len(value) > TEXT or not value.isprintable():
            raise ModelError(
                f"{where}: {key} must be printable text of 1 to {TEXT} characters, not {str(value)[:40]!r}"
            )
    return values


def _file(table: Mapping[str, Any], where: str) -> str | None:
    name = _text(table, "file", where)
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise ModelError(f"{where}: file {name!r} must be the name of a file beside model.toml")
    return name


def _choice(table: Mapping[str, Any], key: str, known: Sequence[str], where: str) -> str | None:
    value = _text(table, key, where)
    if value is not None and value not in known:
        raise ModelError(f"{where}: {key} {value!r} is not one of {', '.join(known)}")
    return value


def _numbers(table: Mapping[str, Any], key: str, where: str) -> tuple[float, ...] | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) not in (1, 2, 3):
        raise ModelError(f"{where}: {key} must be a list of one number per channel")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 1e6:
            raise ModelError(f"{where}: {key} must hold finite numbers, not {number!r}")
    return tuple(float(number) for number in value)


def _std(table: Mapping[str, Any], where: str) -> tuple[float, ...] | None:
    std = _numbers(table, "std", where)
    if std is not None and min(std) < 1e-6:
        raise ModelError(f"{where}: std must be above 0")
    return std


def _range(table: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    value = _numbers(table, "range", where)
    if value is None:
        return None
    if len(value) != 2 or not value[0] < value[1]:
        raise ModelError(f"{where}: range must be [low, high]")
    return value[0], value[1]
