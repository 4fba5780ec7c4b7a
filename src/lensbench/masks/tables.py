"""Masks in one file for all images: COCO's results in JSON, Kaggle's run lengths in CSV.

Only text is kept; an image's masks are checked and made when it is asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from lensbench.errors import ModelError
from lensbench.masks import rle
from lensbench.masks.values import Masks

MAX_BYTES = 1 << 29
"""Largest table (512 MiB): ten thousand images of 200 objects have 200 MB."""
ROWS = ("annotations", "results")
COLUMNS = ("ImageId", "EncodedPixels")
SIZE = ("Height", "Width")


@dataclass(frozen=True)
class Table:
    """The rows of each image by the name the file has for it; an empty list says that it has no object."""

    where: str
    rows: Mapping[str, list[Any]]
    files: bool
    """Whether the names are those of files."""
    scored: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Images:
    """How a COCO file names its images, by the id that its rows give; None where it does not say."""

    names: Mapping[int | str, str] | None = None

    def name(self, image: Any, where: str) -> str:
        """The name of the image that a row gives."""
        if type(image) not in (int, str):
            raise ModelError(f"{where}: its image_id is {str(image)[:40]}, expected an id or a number")
        if self.names is None:
            if isinstance(image, int):
                raise ModelError(f'{where}: image_id {str(image)[:20]} is a number, and no "images" say whose')
            return str(image)
        if image not in self.names:
            raise ModelError(f"{where}: image_id {str(image)[:40]!r} is not among its images")
        return self.names[image]


def read_coco(path: Path) -> Table:
    """The rows of a COCO results file: a list of them, or an object with ``images`` and ``annotations``.

    Each has ``image_id``, ``segmentation`` (RLE) and, all or none, ``score``. Raises ModelError in one line.
    """
    data = _json(path)
    rows: Any = data
    images = _Images()
    if isinstance(data, dict):
        rows = next((data[key] for key in ROWS if key in data), None)
        images = _images(data.get("images"), path.name)
    if not isinstance(rows, list):
        raise ModelError(f'{path.name}: neither a list of COCO results nor an object with "annotations"')
    found: dict[str, list[Any]] = {name: [] for name in (images.names or {}).values()}
    kinds: set[str] = set()
    scored = 0
    for number, row in enumerate(rows, 1):
        where = f"{path.name}: result {number}"
        if not isinstance(row, dict) or not {"image_id", "segmentation"} <= row.keys():
            raise ModelError(f"{where} has no image_id or no segmentation")
        if row.get("iscrowd"):
            raise ModelError(f"{where} is a crowd: predictions are single objects")
        scored += row.get("score") is not None
        kinds.add(json.dumps(row.get("category_id")))
        found.setdefault(images.name(row["image_id"], where), []).append(
            (number, row["segmentation"], row.get("score"))
        )
    if 0 < scored < len(rows):
        raise ModelError(f"{path.name}: {len(rows) - scored} of {len(rows)} results have no score; give all or none")
    if len(kinds) > 1:
        raise ModelError(f"{path.name}: holds several category_ids; this benchmark has one kind of object")
    hint = 'an image without a result counts as missing; name it under "images" to say it has no object'
    given = images.names is not None
    return Table(path.name, found, files=given, scored=scored > 0, notes=() if given else (hint,))


def coco_masks(table: Table, name: str, where: str, shape: tuple[int, int]) -> Masks:
    """The masks of one image; raises ModelError naming `where` for what is no RLE of its shape, or no score."""
    texts, scores = list[bytes](), list[float]()
    for number, segmentation, score in table.rows[name]:
        here = f"{where}, result {number}"
        counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
        if not isinstance(counts, str | list):
            what = "polygons" if isinstance(segmentation, list) else f"a {type(segmentation).__name__} without counts"
            raise ModelError(f"{here}: its segmentation is {what}, expected an RLE with size and counts")
        _check_size(segmentation.get("size"), shape, here)
        pixels = shape[0] * shape[1]
        if isinstance(counts, str):
            spans = rle.from_text(counts, pixels, here)
        else:
            spans = rle.from_counts(counts, pixels, here)
        texts.append(rle.text_of(spans, pixels))
        if score is not None:
            scores.append(_score(score, here))
    return Masks(shape, tuple(texts), np.array(scores, np.float64) if table.scored else None)


def read_kaggle(path: Path) -> Table:
    """The rows of a Kaggle submission: ``ImageId``, ``EncodedPixels`` and, if it likes, ``Height``, ``Width``.

    A row is an object; a blank one says that its image has none. Raises ModelError in one line.
    """
    _check_bytes(path)
    try:
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(block_size=64 << 20),  # a row may not be longer
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in (*COLUMNS, *SIZE)}, strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise ModelError(f"{path.name}: cannot be read: {' '.join(str(error).split())[:200]}") from error
    absent = [name for name in COLUMNS if table.column_names.count(name) != 1]
    if absent:
        raise ModelError(f"{path.name}: expected one column {absent[0]}; it has {', '.join(table.column_names[:8])}")
    others = [name for name in table.column_names if name not in (*COLUMNS, *SIZE)]
    sizes = [table[name].to_pylist() if name in table.column_names else None for name in SIZE]
    found: dict[str, list[Any]] = {}
    for number, (name, text) in enumerate(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)):
        size = [column[number] for column in sizes if column is not None]
        found.setdefault(name.strip(), []).append((number + 2, text, size if len(size) == 2 else None))
    notes = (f"columns not read: {', '.join(others)}",) if others else ()
    return Table(path.name, found, files=False, scored=False, notes=notes)


def kaggle_masks(table: Table, name: str, where: str, shape: tuple[int, int]) -> Masks:
    """The masks of one image, without scores; raises ModelError naming `where` for what does not fit its shape."""
    pixels, texts = shape[0] * shape[1], list[bytes]()
    for line, text, size in table.rows[name]:
        here = f"{where}, line {line}"
        if size is not None:
            _check_size([int(side) if side.strip().isdecimal() else side for side in size], shape, here)
        spans = rle.from_pairs(text, pixels, here)
        if len(spans):
            texts.append(rle.text_of(spans, pixels))
    return Masks(shape, tuple(texts))


def _images(images: Any, where: str) -> _Images:
    """COCO's list of ``{"id": 1, "file_name": "a.png"}``, or an object of names by number."""
    if images is None:
        return _Images()
    pairs: list[tuple[Any, Any]] = []
    if isinstance(images, dict):
        pairs = [(int(key) if key.isdecimal() and len(key) < 16 else None, name) for key, name in images.items()]
    elif isinstance(images, list):
        pairs = [(one.get("id"), one.get("file_name")) if isinstance(one, dict) else (None, None) for one in images]
    if (not pairs and images) or not all(type(key) in (int, str) and isinstance(name, str) for key, name in pairs):
        raise ModelError(f'{where}: its "images" do not give an id and a file_name each')
    names = dict(pairs)
    if len(names) < len(pairs) or len({*names.values()}) < len(pairs):
        raise ModelError(f'{where}: its "images" give one id or one file_name twice')
    return _Images(names)


def _score(score: Any, where: str) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ModelError(f"{where}: its score is {str(score)[:20]}, expected a finite number")
    return float(score)


def _check_size(size: Any, shape: tuple[int, int], where: str) -> None:
    """`size` must be ``[height, width]``."""
    if size != list(shape) or any(type(side) is not int for side in size):
        turned = "; it looks transposed" if size == list(shape[::-1]) else ""
        raise ModelError(f"{where}: its size is {str(size)[:40]}, the image's [height, width] is {list(shape)}{turned}")


def _check_bytes(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path.name}: cannot be read ({error.strerror})") from error
    if size > MAX_BYTES:
        raise ModelError(f"{path.name}: {size:,} bytes are more than a file of masks may have ({MAX_BYTES >> 20} MiB)")


def _json(path: Path) -> Any:
    _check_bytes(path)
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path.name}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path.name}: not valid JSON: {str(error)[:200]}") from error
