"""Raw-Microscopy: the publisher's label file and cleaning rule, and the seven intensities of a frame as one row.

Nothing is applied at load: black level, white balance and colour matrix are columns, pixels stay as recorded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import ArchiveError, DatasetError
from lensbench.images.content import pixels_sha256, sample_sha256
from lensbench.images.decode import encode_png, mosaic
from lensbench.registry import Config, Label

LABEL_FILE = "Ma190c_annotations.dat"
NAME = re.compile(r"[^\s/]+_lame(?P<slide>\w+?)_zone(?P<zone>\w+?)_composite_Mcropped_(?P<crop>\w+)", re.ASCII)
"""Slide, zone (a field of view on it) and crop of a frame; ``lame`` is French for slide."""
FRAME = re.compile(rf"(?:.*/)?raw_scale(?P<scale>\d+)/(?P<id>{NAME.pattern})\.tiff?", re.ASCII)
ASIDE = "processed_views/"
"""The publisher's own developed images, which are not raw."""
PARTS = {100: "image"} | {scale: f"image_{scale:03d}" for scale in (1, 5, 10, 25, 50, 75)}
"""Per cent of the full intensity → column."""
SIDE = 256
EIGHT_BIT = 255
"""A full-intensity frame that nowhere exceeds it is an 8-bit copy: the empty field alone is near 37,000."""
BLACK = 1
"""Nor has one that nowhere exceeds the camera's black level (0.6 of 65,535), rounded up, any light: it is black."""

# The publisher's cleaning rule (aiaudit-org/raw2logit, dataset.py): of these candidates, the classes with more than
# four lines; and one file less.
CANDIDATES = (
    *("BAS", "EBO", "EOS", "KSC", "LYA", "LYT", "MMZ", "MOB"),
    *("MON", "MYB", "MYO", "NGB", "NGS", "PMB", "PMO", "UNC"),
)
RARE = 4
DROPPED = "Ma190c_lame3_zone13_composite_Mcropped_2"

CAMERA: Mapping[str, Any] = {
    "cfa": "RGGB",
    "bit_depth": 16,
    "white_level": 65535,
    "black_level": [9.834368023181512e-06] * 4,
    "white_balance": [-0.6567, 1.9673, 3.5304],
    "ccm": [-2.0338, 0.0933, 0.4157, -0.0286, 2.6464, -0.0574, -0.5516, -0.0947, 2.9308],
    "gain": None,
    "sensor": "PCO edge 5.5 (monochrome; three filter exposures)",
}
"""The same for every frame, as the publisher's code states it; `gain` is not published."""

ROWS = pa.schema(
    [(name, pa.string()) for name in ("id", "label", "group", "slide", "zone", "crop")]
    + [("files", pa.list_(pa.struct([("container", pa.int16()), ("name", pa.string())])))]
)
"""Of the index; `files` in the order of `PARTS`."""


class File(NamedTuple):
    """Where a frame lies in its source."""

    container: int
    name: str


class Builder(ImageBuilder):
    """White blood cells as raw mosaics at seven intensities."""

    SHARD = 64
    STEP = 16

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        """As the dataset card describes them."""
        text, whole, real = datasets.Value("string"), datasets.Value("int32"), datasets.Value("float64")
        return datasets.Features(
            {
                "id": text,
                **{name: datasets.Image() for name in cls.parts(config)},
                "label_name": text,
                "slide": text,
                "zone": text,
                "crop": text,
                "group": text,
                "cfa": text,
                "bit_depth": whole,
                "white_level": whole,
                "black_level": datasets.List(real, length=4),
                "white_balance": datasets.List(real, length=3),
                "ccm": datasets.List(real, length=9),
                "gain": real,
                "sensor": text,
                "sha256": text,
            }
        )

    @classmethod
    def parts(cls, config: Config) -> Mapping[str, str]:
        """Seven mosaics a sample, hashed by their pixels: the publisher's TIFF is kept as PNG."""
        return dict.fromkeys(PARTS.values(), "pixels")

    @classmethod
    def of_class(cls, label: Label) -> Mapping[str, Any]:
        """The class in words."""
        return {"label_name": label.display}

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        """One row per labelled frame in the order of the label file, on which the published draws depend.

        Raises DatasetError for a label file that is not the expected one, and for a label without its seven frames
        (a partial source goes without those rows).
        """
        place = _label_file(source)
        where = source.where(*place)
        lines = read_labels(source.read(*place), where)
        labels = clean(lines)
        _check_classes(labels, request, where)
        places = {key: _place(key, where) for key in labels}
        frames = _frames(source)
        whole = [key for key in labels if all(key in frames[scale] for scale in PARTS)]
        if len(whole) < len(labels) and not request.partial:
            key = next(key for key in labels if key not in whole)
            scale = next(scale for scale in PARTS if key not in frames[scale])
            raise DatasetError(
                f"{len(labels) - len(whole):,} of {len(labels):,} labelled frames lack an image: {key}, for one, is "
                f"in {where} and not in raw_scale{scale:03d}"
            )
        rows = [
            {"id": key, "label": labels[key], **places[key], "files": [frames[scale][key]._asdict() for scale in PARTS]}
            for key in whole
        ]
        report = {"file": LABEL_FILE, "rows": len(lines), "dropped": len(lines) - len(labels)}
        return Index(pa.Table.from_pylist(rows, ROWS), strays=len(frames[100].keys() - labels.keys()), report=report)

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        """The mosaics as PNG, their hash, and the camera's constants."""
        schema = cls.columns(config).arrow_schema
        samples = [_sample(source, row, synthetic=config.synthetic) for row in rows.to_pylist()]
        columns = {name: [sample[name] for sample in samples] for name in (*PARTS.values(), "sha256")}
        columns |= {name: [value] * len(samples) for name, value in CAMERA.items()}
        return {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}


# -- labels --------------------------------------------------------------------------------------------------


def _label_file(source: Source) -> File:
    found = [File(*place) for place in source.files() if place[1].rpartition("/")[2] == LABEL_FILE]
    if not found:
        raise DatasetError(f"the source has no label file {LABEL_FILE}")
    if len(found) > 1:
        first, second = (source.where(*place) for place in found[:2])
        raise DatasetError(f"{first} and {second} are both the label file: keep one of them")
    return found[0]


def read_labels(data: bytes, where: str) -> dict[str, str]:
    """Label by frame, in the file's order: a name and a label on each line, any white space around them.

    Raises DatasetError naming the line for anything else, and for a name that comes twice.
    """
    labels: dict[str, str] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            fields = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise DatasetError(f"{where}, line {number}: not UTF-8 ({error.reason})") from error
        if not fields:
            continue
        if len(fields) != 2:
            raise DatasetError(f"{where}, line {number}: a name and a label make two fields, here are {len(fields)}")
        name, label = fields
        if name in labels:
            raise DatasetError(f"{where}, line {number}: {name} is there a second time")
        labels[name] = label
    return labels


def clean(labels: Mapping[str, str]) -> dict[str, str]:
    """What the publisher's rule keeps, in the same order. Lines are counted before the one file is dropped."""
    lines = Counter(labels.values())
    kept = {label for label in CANDIDATES if lines[label] > RARE}
    return {name: label for name, label in labels.items() if label in kept and name != DROPPED}


def _check_classes(labels: Mapping[str, str], request: Request, where: str) -> None:
    """The nine classes, and in the publisher's own label file the published number of each."""
    counts = Counter(labels.values())
    if strange := counts.keys() - set(request.order):
        name = min(strange)
        raise DatasetError(f"{where} has {counts[name]} frames of {name}, which is none of the published classes")
    if request.config.synthetic:
        return
    for label in request.dataset.classes:
        expected = int(label.attributes["images"])
        if counts[label.name] != expected:
            raise DatasetError(
                f"{where} gives {counts[label.name]} frames of {label.name} after cleaning, the published dataset has "
                f"{expected}: it is not the label file that this entry was written for"
            )


def _place(key: str, where: str) -> dict[str, str]:
    """Slide, zone and crop of a frame by its name, and the group that they make."""
    match = NAME.fullmatch(key)
    if match is None:
        raise DatasetError(f"{where}: {key} does not say its slide, zone and crop, which the splits go by")
    return {"group": f"{match['slide']}/zone{match['zone']}", **match.groupdict()}


# -- frames --------------------------------------------------------------------------------------------------


def _frames(source: Source) -> dict[int, dict[str, File]]:
    """Intensity → id → file; developed views, RGB originals and the drone's frames are passed over."""
    found: dict[int, dict[str, File]] = {scale: {} for scale in PARTS}
    for container, name in source.files():
        match = FRAME.fullmatch(name)
        if match is None or ASIDE in name or int(match["scale"]) not in PARTS:
            continue
        place = File(container, name)
        first = found[int(match["scale"])].setdefault(match["id"], place)
        if first != place:
            raise DatasetError(f"{source.where(*first)} and {source.where(*place)} are one frame: keep one of them")
    return found


def _sample(source: Source, row: Mapping[str, Any], *, synthetic: bool) -> dict[str, Any]:
    """The seven mosaics of one row and their hash."""
    pixels: dict[str, NDArray[np.uint16]] = {}
    for part, file in zip(PARTS.values(), row["files"], strict=True):
        where = source.where(**file)
        pixels[part] = frame = mosaic(source.read(**file), where)
        expected = pixels["image"].shape if synthetic else (SIDE, SIDE)
        if frame.shape != expected or frame.shape[0] % 2 or frame.shape[1] % 2:
            wanted = f"not {_size(expected)}" if frame.shape != expected else "and RGGB cells are 2 × 2"
            raise ArchiveError(f"{where}: {_size(frame.shape)} pixels, {wanted}")
        if part == "image" and BLACK < frame.max() <= EIGHT_BIT:
            raise ArchiveError(f"{where}: no value exceeds {EIGHT_BIT}: an 8-bit copy, not the raw frame")
    hashes = {part: pixels_sha256(frame) for part, frame in pixels.items()}
    images = {part: {"bytes": encode_png(frame), "path": f"{row['id']}.png"} for part, frame in pixels.items()}
    return {**images, "sha256": sample_sha256(hashes)}


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
