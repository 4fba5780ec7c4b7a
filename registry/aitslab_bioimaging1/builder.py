"""Aitslab-bioimaging1: which of the publisher's files make a sample, and how colours become a label map.

Images, annotations and originals belong together by name, never by order. The folder says the publisher's split, the
name says plate, well, field and channel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import ArchiveError, DatasetError
from lensbench.images.c01 import read_c01
from lensbench.images.content import pixels_sha256, sample_sha256
from lensbench.images.decode import decode, encode_png
from lensbench.images.labelmap import from_colours, objects
from lensbench.registry import Config

SPLITS = {"training_nuclei": "train", "development_nuclei": "validation", "test_nuclei": "test"}
KINDS = {"images": "image", "annotations": "mask"}
"""Folders of PNGs; where the originals (`.C01`) lie, nobody has said."""
NAME = re.compile(r"(MFGTMPcx7_(\d{12})_([A-P](?:0[1-9]|1\d|2[0-4]))f(\d{2})d(\d))(_objects)?", re.ASCII)
"""Plate, well of a 384-well plate, field and channel of an image; an annotation has a suffix."""
MOST = np.iinfo(np.uint16).max
"""Objects that the ids of a 16-bit mask can tell apart."""
RAW = "raw"
"""The config that needs the originals, too."""

File = tuple[int, str, str]
"""Container, member name, split."""


class Builder(ImageBuilder):
    """Fields of view with the label map of their nuclei."""

    SHARD = 8
    STEP = 8

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        """As the dataset card describes them."""
        text, number = datasets.Value("string"), datasets.Value("int32")
        thing = {
            "id": number,
            "area": number,
            "bbox": datasets.List(number, length=4),
            "touches_border": datasets.Value("bool"),
        }
        return datasets.Features(
            {
                "id": text,
                **{name: datasets.Image() for name in cls.parts(config)},
                "n_objects": number,
                "objects": datasets.List(thing),
                "group": text,
                "plate": text,
                "well": text,
                "field": text,
                "channel": text,
                "width": number,
                "height": number,
                "sha256": text,
            }
        )

    @classmethod
    def parts(cls, config: Config) -> Mapping[str, str]:
        """Lossless images by their pixels, the annotation by its objects: neither colours nor compression matter."""
        original = {"image16": "pixels"} if config.name == RAW else {}
        return {"image": "pixels", **original, "mask": "labelmap"}

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        """One row per image, sorted by name; raises DatasetError for a name, a pair or a place that is wrong."""
        kinds = ("image", "mask", *(("image16",) if request.config.name == RAW else ()))
        found, strays = _find(source, kinds)
        images, annotations = found["image"], found["mask"]
        for ours, theirs, what in ((images, annotations, "annotation"), (annotations, images, "image")):
            if lonely := ours.keys() - theirs.keys():
                raise DatasetError(f"{source.where(*ours[min(lonely)][:2])} has no {what} in the source")
        rows = [_row(source, key, {kind: found[kind].get(key) for kind in kinds}) for key in sorted(images)]
        text, schema = pa.string(), [("id", pa.string()), ("label", pa.string())]
        schema += [(name, text) for name in ("group", "split", "plate", "well", "field", "channel")]
        for kind in kinds:
            schema += [(f"{kind}_container", pa.int16()), (f"{kind}_member", text)]
        return Index(pa.Table.from_pylist(rows, pa.schema(schema)), strays=strays)

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        """The files of each row: image, label map, its objects, the original in config `raw`, and the hash of all."""
        schema = cls.columns(config).arrow_schema
        samples = [_sample(source, row, config) for row in rows.to_pylist()]
        return {name: pa.array([sample[name] for sample in samples], schema.field(name).type) for name in samples[0]}


# -- finding -------------------------------------------------------------------------------------------------


def _find(source: Source, kinds: Sequence[str]) -> tuple[dict[str, dict[str, File]], int]:
    """Kind (``image``, ``mask``, ``image16``) → id → file, and the number of images that lie in no split's folder."""
    found: dict[str, dict[str, File]] = {kind: {} for kind in kinds}
    strays = 0
    for container, name in source.files():
        where, path = source.where(container, name), PurePosixPath(name)
        suffix = path.suffix.lower()
        if suffix != ".png" and not (suffix == ".c01" and "image16" in kinds):
            continue
        kind = KINDS.get(path.parent.name) if suffix == ".png" else "image16"
        splits = [SPLITS[part] for part in re.split(r"[!/]|\.zip", where) if part in SPLITS]
        if kind is None or not splits:
            strays += 1
            continue
        match = NAME.fullmatch(path.stem)
        if match is None or (match[6] is None) == (kind == "mask"):
            rule = f"MFGTMPcx7_<plate>_<well>f<field>d<channel>{'_objects' if kind == 'mask' else ''}{path.suffix}"
            raise DatasetError(f"{where}: not named as its publisher names it ({rule})")
        first = found[kind].setdefault(match[1], (container, name, splits[-1]))
        if first[:2] != (container, name):
            raise DatasetError(f"{source.where(*first[:2])} and {where} have one name: keep one of them")
    return found, strays


def _row(source: Source, key: str, files: Mapping[str, File | None]) -> dict[str, Any]:
    """A row of the index, from an id that is named as it should be and the files of that name."""
    match = NAME.fullmatch(key)
    assert match is not None
    row: dict[str, Any] = dict(zip(("plate", "well", "field", "channel"), match.groups()[1:5], strict=True))
    row |= {"id": key, "group": f"{row['plate']}/{row['well']}"}
    for kind, file in files.items():
        if file is None:
            raise DatasetError(f"the source has no {key}.C01, which config {RAW!r} needs: use config 'official'")
        row[f"{kind}_container"], row[f"{kind}_member"], split = file
        if row.setdefault("split", split) != split:
            image = source.where(row["image_container"], row["image_member"])
            raise DatasetError(f"{source.where(*file[:2])} is of {split}, and its image {image} of {row['split']}")
    return row


# -- reading -------------------------------------------------------------------------------------------------


def _sample(source: Source, row: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The columns that need the files of one row."""

    def file(kind: str) -> tuple[bytes, str]:
        place = row[f"{kind}_container"], row[f"{kind}_member"]
        return source.read(*place), source.where(*place)

    data, where = file("image")
    image = decode(data, where)
    if image.dtype != np.uint8 or image.ndim != 2:
        raise ArchiveError(f"{where}: an image is 8-bit grey, this one {_form(image)}")
    labels = _labels(*file("mask"))
    pixels, pngs = {"image": image}, {"image": data}
    if config.name == RAW:
        pixels["image16"] = read_c01(*file("image16"))
        pngs["image16"] = encode_png(pixels["image16"])
    pixels["mask"], pngs["mask"] = labels, encode_png(labels.astype(np.uint16))
    for kind, array in pixels.items():
        if array.shape != image.shape:
            raise ArchiveError(f"{file(kind)[1]}: {_form(array)}, but its image {where} is {_form(image)}")
    things = [asdict(thing) for thing in objects(labels)]
    return {
        **{kind: {"bytes": png, "path": row[f"{kind}_member"]} for kind, png in pngs.items()},
        "n_objects": len(things),
        "objects": things,
        "width": image.shape[1],
        "height": image.shape[0],
        "sha256": sample_sha256({kind: pixels_sha256(array) for kind, array in pixels.items()}),
    }


def _labels(data: bytes, where: str) -> NDArray[np.uint32]:
    """The label map of an annotation: uint32 (H, W), numbered by first appearance, at most `MOST` objects."""
    colours = decode(data, where)
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] != 3:
        raise ArchiveError(f"{where}: an annotation is 24-bit RGB, one colour an object; this one is {_form(colours)}")
    labels = from_colours(colours)
    if labels.max(initial=0) > MOST:
        raise ArchiveError(f"{where}: {labels.max():,} colours are more objects than a 16-bit mask can tell apart")
    return labels


def _form(array: NDArray[Any]) -> str:
    return f"{array.dtype} {' × '.join(map(str, array.shape))}"
