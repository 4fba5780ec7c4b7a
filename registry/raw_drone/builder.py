"""Raw-Drone: which of the publisher's files make a tile or a frame, and where in its frame a tile lies.

Tiles are numbered in the order in which they were kept, so their place is found again from the full masks, and
every tile must then equal that part of its frame. Sets that are not in the source are cut from the frames by the
publisher's procedure (aiaudit-org/raw2logit, dataset.py). Nothing is applied at load: black level, white balance
and colour matrix are columns, pixels stay as recorded.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.data import crops
from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import ArchiveError, DatasetError
from lensbench.images.content import pixels_sha256, sample_sha256
from lensbench.images.decode import encode_png
from lensbench.images.tiles import tiles as tiles_of
from lensbench.registry import Config, Label

FULL_FRAME, SEGMENTATION, CLASSIFICATION = "full_frame", "segmentation", "classification"
PARTS = {100: "image"} | {scale: f"image_{scale:03d}" for scale in (1, 5, 10, 25, 50, 75)}
"""Per cent of the full intensity → column."""
MASK = 0
"""In place of an intensity: the masks."""
FOLDER = re.compile(r"(?:.*/)?(images|masks)_(full|tiles_(\d{1,4}))(?:/raw_scale(\d{3}))?(_thr_0\.01)?", re.ASCII)
"""What, of what (and tile size), intensity, and the threshold that tells the car / no car set."""
TABLE = re.compile(r"dataset_tiles_\d+_72_0\.01\.csv", re.ASCII)
TILE_NAME = re.compile(r"\d{2}_\d{5}", re.ASCII)
"""Number of the frame and of the tile among those kept of it."""
IMAGES = (".dng", ".png", ".tif", ".tiff")
FRAMES = 12
SIDE = 256
UNIT = 16
"""Twelve bits, left-justified: the unit of the full intensity."""
CAR, NO_CAR = "car", "no car"
THRESHOLD, SHUFFLE_SEED = 100, 72
"""Of the car / no car set: more than one pixel in so many shows a car; the seed of its balanced draw."""

CAMERA: Mapping[str, Any] = {
    "cfa": "RGGB",
    "bit_depth": 16,
    "white_level": 65535,
    "black_level": [0.0625, 0.0626, 0.0625, 0.0626],
    "white_balance": [2.86653646, 1.0, 1.73079425],
    "ccm": [
        *(1.50768983, -0.33571374, -0.17197604),
        *(-0.23048614, 1.70698738, -0.47650126),
        *(-0.03119153, -0.32803956, 1.35923111),
    ],
    "gain": 8.448,
    "sensor": "DJI L1D-20c (Sony IMX183)",
}
"""The same for every frame: as the publisher's code states it, gain and sensor as the datasheet does."""


class Builder(ImageBuilder):
    """Raw mosaics of a drone's camera at seven intensities, whole or in tiles, with masks of cars."""

    SHARD = 128
    STEP = 128

    def __init__(self, *, request: Request, step: int | None = None, **kwargs: Any) -> None:
        most = self.STEP
        if request.config.family == FULL_FRAME:  # seven PNGs may take 200 MB: read and written frame by frame
            most, kwargs["writer_batch_size"] = 1, 1
        super().__init__(request=request, step=min(step or most, most), **kwargs)

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        """As the dataset card describes them."""
        text, whole, real = datasets.Value("string"), datasets.Value("int32"), datasets.Value("float64")
        tile = {} if config.family == FULL_FRAME else {"tile_row": whole, "tile_col": whole}
        return datasets.Features(
            {
                "id": text,
                **{name: datasets.Image() for name in cls.parts(config)},
                **({"label_name": text} if config.family == CLASSIFICATION else {}),
                "frame": whole,
                **tile,
                "frame_shape": datasets.List(whole, length=2),
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
        """Seven mosaics and a mask (none in the car / no car set), hashed by their pixels."""
        names = [*PARTS.values(), *(() if config.family == CLASSIFICATION else ("mask",))]
        return dict.fromkeys(names, "pixels")

    @classmethod
    def of_class(cls, label: Label) -> Mapping[str, Any]:
        """The class in words."""
        return {"label_name": label.display}

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        """One row per tile or frame, by number; masks are decoded to find where tiles lie, and compared.

        Raises DatasetError for a source that is not the publisher's, or not complete (a partial one goes without
        the tiles that it lacks), naming the file.
        """
        files = _find(source, request)
        notes: dict[str, Any] = {}
        if request.config.family == FULL_FRAME:
            rows = _frame_rows(source, files)
        else:
            rows, notes = _tile_rows(source, files, request)
        here = {row["group"] for row in rows}
        if len(here) < FRAMES and not request.partial:
            missing = next(name for name in map(_group, range(FRAMES)) if name not in here)
            raise DatasetError(f"no tile is of frame {missing}: the splits deal {FRAMES} frames, alike in every config")
        notes["columns"] = crops.report(rows, list(cls.parts(request.config)))
        if notes["columns"].get("mask") == "not compared" and rows[0].get("tile_row") is not None:
            notes["columns"]["mask"] = "compared"  # when its place was found
        return Index(pa.Table.from_pylist(rows, ROWS), strays=files.strays, report=notes)

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        """Mosaics and mask as PNG, their hash, and the camera's constants; raises ArchiveError naming a file."""
        schema, samples = cls.columns(config).arrow_schema, rows.to_pylist()
        hashes: list[dict[str, str]] = [{} for _ in samples]
        columns: dict[str, list[Any]] = {}
        for number, part in enumerate(cls.parts(config)):  # one part of all rows: a frame is decoded once
            columns[part] = []
            found = crops.pixels_of(source, samples, number, crops.read_mask if part == "mask" else crops.read_mosaic)
            for sample, known, image in zip(samples, hashes, found, strict=True):
                if image is None:
                    columns[part].append(None)
                    continue
                place, pixels = image
                if part == "image" and (off := pixels[pixels % UNIT > 0]).size:
                    unit = f"no multiple of {UNIT}, the sensor's unit at full intensity"
                    raise ArchiveError(f"{source.where(*place)}: {off[0]} is {unit}")
                known[part] = pixels_sha256(pixels)
                columns[part].append({"bytes": encode_png(pixels), "path": f"{sample['id']}.png"})
        columns |= {name: [value] * len(samples) for name, value in CAMERA.items()}
        columns["sha256"] = [sample_sha256(known) for known in hashes]
        return {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}


ROWS = pa.schema(
    [(name, pa.string()) for name in ("id", "label", "group")]
    + [(name, pa.int32()) for name in ("frame", "tile_row", "tile_col", "tile")]
    + [("frame_shape", pa.list_(pa.int32(), 2)), ("own", crops.FILES), ("whole", crops.FILES)]
)
"""Of the index: `own` files and `whole` frames in the order of the parts, null where there is none."""


# -- finding -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
    """The drone's files: family → intensity (or `MASK`) → name → where it lies. Tiles go by id, frames by file name."""

    sets: Mapping[str, Mapping[int, Mapping[str, crops.Place]]]
    table: crops.Place | None
    tile: int
    strays: int

    def of(self, family: str, scale: int) -> Mapping[str, crops.Place]:
        return self.sets[family].get(scale, {})


def _find(source: Source, request: Request) -> _Files:
    """The archive a file lies in counts as a folder of its name, because nobody has said how the archives are cut."""
    sets: dict[str, dict[int, dict[str, crops.Place]]] = {FULL_FRAME: {}, SEGMENTATION: {}, CLASSIFICATION: {}}
    tables, sides, strays = list[crops.Place](), set[int](), 0
    for place in source.files():
        path = PurePosixPath(re.sub(r"\.zip(?=/|$)", "", source.where(*place).replace("!", "/")))
        if TABLE.fullmatch(path.name):
            tables.append(place)
        match = FOLDER.fullmatch(str(path.parent))
        if match is None or path.suffix.lower() not in IMAGES:
            continue
        what, of, side, scale, threshold = match.groups()
        family = FULL_FRAME if of == "full" else CLASSIFICATION if threshold else SEGMENTATION
        name = path.name if family == FULL_FRAME else path.stem
        placed = int(scale) in PARTS if scale else what == "masks"
        if not placed or (scale and what == "masks") or not (family == FULL_FRAME or TILE_NAME.fullmatch(name)):
            strays += 1
            continue
        sides |= {int(side)} if side else set()
        if len(sides) > 1:
            raise DatasetError(f"{source.where(*place)}: a source has tiles of one size, this one of {sorted(sides)}")
        first = sets[family].setdefault(int(scale or MASK), {}).setdefault(name, place)
        if first != place:
            raise DatasetError(f"{source.where(*first)} and {source.where(*place)} are one image: keep one of them")
    tile = max(sides, default=SIDE)
    if tile < 2 or tile % 2 or (tile != SIDE and not request.config.synthetic):
        raise DatasetError(f"tiles are {SIDE} × {SIDE} pixels, and the source has images_tiles_{tile}")
    if len(tables) > 1:
        raise DatasetError(f"{source.where(*tables[0])} and {source.where(*tables[1])} are both the table: keep one")
    return _Files(sets, tables[0] if tables else None, tile, strays)


@dataclass(frozen=True)
class _Frame:
    """A whole frame: its number in the publisher's sorted list, its mask and its mosaics by intensity."""

    number: int
    mask: crops.Place
    mosaics: Mapping[int, crops.Place]


def _frames(source: Source, files: _Files) -> list[_Frame]:
    """The twelve frames in the order of their file names, which the tiles' numbers count; none without full masks."""
    masks = sorted(files.of(FULL_FRAME, MASK).items())
    if not masks:
        return []
    scales = [scale for scale in PARTS if files.of(FULL_FRAME, scale)]
    mosaics = {scale: sorted(files.of(FULL_FRAME, scale).items()) for scale in scales}
    for folder, found in (("masks_full", masks), *((f"raw_scale{s:03d}", m) for s, m in mosaics.items())):
        if len(found) != FRAMES:
            raise DatasetError(f"{folder} of the full frames holds {len(found)} files, not {FRAMES}: they go by number")
    for number, (name, place) in enumerate(masks):
        for scale in scales:
            stem = mosaics[scale][number][0].partition(".")[0]
            if stem not in name:
                where = source.where(*mosaics[scale][number][1])
                raise DatasetError(f"{where} is frame {_group(number)}, and so is the mask {source.where(*place)}")
    return [_Frame(n, place, {s: mosaics[s][n][1] for s in scales}) for n, (_, place) in enumerate(masks)]


def _group(number: int) -> str:
    return f"{number:02d}"


# -- frames --------------------------------------------------------------------------------------------------


def _frame_rows(source: Source, files: _Files) -> list[dict[str, Any]]:
    frames = _frames(source, files)
    if not frames or 100 not in frames[0].mosaics:
        lacking = "masks_full" if files.of(FULL_FRAME, 100) else "images_full/raw_scale100"
        raise DatasetError(f"the source has no full frames: {lacking} is not there")
    return [
        {
            "id": _group(frame.number),
            "group": _group(frame.number),
            "frame": frame.number,
            "frame_shape": list(crops.read_mask(source, frame.mask).shape),
            "own": [None] * (len(PARTS) + 1),
            "whole": [crops.as_file(place) for place in (*map(frame.mosaics.get, PARTS), frame.mask)],
        }
        for frame in frames
    ]


# -- tiles ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tile:
    """What the masks say of a tile; `at` (row and column among the tiles) and `frame` need the full one."""

    number: int  # of its frame
    label: str | None
    at: tuple[int, int] | None = None
    shape: tuple[int, int] | None = None
    frame: _Frame | None = None


def _tile_rows(source: Source, files: _Files, request: Request) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the segmentation or the car / no car set, and a report."""
    family, frames = request.config.family, _frames(source, files)
    published = files.of(family, 100)
    if not published and not (frames and 100 in frames[0].mosaics):
        folder = f"{'classification/' if family == CLASSIFICATION else ''}images_tiles_{files.tile}"
        raise DatasetError(f"the source has neither {folder} nor the full frames and masks that tiles are cut from")
    tiles = _cut(source, files, family, frames) if frames else _uncut(source, files, family)
    _same_ids(files, family, tiles, request.partial)
    ids = sorted(published or tiles)
    notes: dict[str, Any] = {}
    if family == CLASSIFICATION and files.table and published:
        labels = {key: str(tiles[key].label) for key in ids}
        ids, notes["table"] = _table(source, files.table, labels, request.partial)
    return [_tile_row(files, family, key, tiles[key]) for key in ids], notes


def _kept(family: str, covered: NDArray[np.int64], side: int) -> list[tuple[int, str | None]]:
    """The tiles that a set takes of one frame, in the order in which they are numbered: raster number and label.

    Segmentation: wherever a mask is. Car / no car: tiles with more than one per cent of car, then those with none;
    of whichever are more, the first few of a shuffle are left out.
    """
    if family == SEGMENTATION:
        return [(int(k), None) for k in np.flatnonzero(covered)]
    cars, empty = (np.flatnonzero(w).tolist() for w in (covered * THRESHOLD > side * side, covered == 0))
    drawn = list(cars if len(cars) > len(empty) else empty)
    random.Random(SHUFFLE_SEED).shuffle(drawn)
    dropped = set(drawn[: abs(len(cars) - len(empty))])
    return [(k, label) for numbers, label in ((cars, CAR), (empty, NO_CAR)) for k in numbers if k not in dropped]


def _cut(source: Source, files: _Files, family: str, frames: list[_Frame]) -> dict[str, _Tile]:
    """Every tile by its id, from the full masks; the tiles' own masks must be their crops."""
    tiles, side = dict[str, _Tile](), files.tile
    own = files.of(family, MASK)
    for frame in frames:
        mask = crops.read_mask(source, frame.mask)
        whole, columns = tiles_of(mask, side), mask.shape[1] // side
        covered = whole.sum(axis=(1, 2), dtype=np.int64)
        for number, (k, label) in enumerate(_kept(family, covered, side)):
            key, at = f"{_group(frame.number)}_{number:05d}", divmod(k, columns)
            tiles[key] = _Tile(frame.number, label, at, (mask.shape[0], mask.shape[1]), frame)
            if key in own and not np.array_equal(crops.read_mask(source, own[key]), whole[k]):
                raise DatasetError(crops.not_the_crop(source, own[key], key, frame.mask, at))
    return tiles


def _uncut(source: Source, files: _Files, family: str) -> dict[str, _Tile]:
    """Every tile by its id, without full masks: nothing says where it lies, and its own mask says its label."""
    tiles, own = dict[str, _Tile](), files.of(family, MASK)
    for key in files.of(family, 100).keys() & own.keys():
        covered = int(crops.read_mask(source, own[key]).sum()) if family == CLASSIFICATION else 0
        label = None if family == SEGMENTATION else CAR if covered * THRESHOLD > files.tile**2 else NO_CAR
        if label == NO_CAR and covered:
            raise DatasetError(f"{source.where(*own[key])}: {covered} pixels of car are neither a car nor none")
        tiles[key] = _Tile(int(key[:2]), label)
    return tiles


def _same_ids(files: _Files, family: str, tiles: Mapping[str, _Tile], partial: bool) -> None:
    """Every folder of a set holds the same tiles, those that the masks tell of; a partial source may hold fewer."""
    for scale, part in ({MASK: "mask"} | PARTS).items():
        found = files.of(family, scale)
        if not found:
            continue
        lacking, strange = tiles.keys() - found.keys(), found.keys() - tiles.keys()
        if strange or (lacking and not partial):
            key = min(strange or lacking)
            says = "is in the source, and no mask tells of it" if strange else f"has a mask and no {part}"
            raise DatasetError(f"tile {key} of the {family} set {says}; {len(strange or lacking)} such tiles")


def _table(source: Source, place: crops.Place, labels: Mapping[str, str], partial: bool) -> tuple[list[str], str]:
    """The ids in the table's order, and which of its two conventions it follows; labels are those of the masks."""
    where = source.where(*place)
    try:
        reader = csv.DictReader(io.StringIO(source.read(*place).decode("utf-8-sig"), newline=""), strict=True)
        lines = [(row.get("file name") or "", row.get("label") or "") for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{where}: not a table in UTF-8 ({error})") from error
    if not {"file name", "label"} <= {*(reader.fieldnames or ())}:
        raise DatasetError(f"{where}: not a table with the columns 'file name' and 'label'")
    if partial:
        lines = [line for line in lines if line[0] in labels]
    ids = [key for key, _ in lines]
    if sorted(ids) != sorted(labels):
        odd = sorted(set(ids) ^ set(labels)) or sorted(key for key in ids if ids.count(key) > 1)
        raise DatasetError(f"{where} lists other tiles than the source holds: {odd[0]}, for one")
    for order in ((CAR, NO_CAR), (NO_CAR, CAR)):
        if all(text == str(order.index(labels[key])) for key, text in lines):
            return ids, f"0 = {order[0]}, 1 = {order[1]}"
    key, text = next((key, text) for key, text in lines if text != str((CAR, NO_CAR).index(labels[key])))
    raise DatasetError(f"{where} labels {key} {text!r}, and its mask shows {labels[key]} (0 = {CAR}, 1 = {NO_CAR})")


def _tile_row(files: _Files, family: str, key: str, tile: _Tile) -> dict[str, Any]:
    own = [files.of(family, scale).get(key) for scale in PARTS]
    whole = [tile.frame.mosaics.get(scale) if tile.frame else None for scale in PARTS]
    whole = crops.readable(own, whole)
    if family == SEGMENTATION:
        mask = files.of(family, MASK).get(key)
        own, whole = [*own, mask], [*whole, None if mask or not tile.frame else tile.frame.mask]
    row, column = tile.at or (None, None)
    return {
        "id": key,
        "label": tile.label,
        "group": _group(tile.number),
        "frame": tile.number,
        "tile_row": row,
        "tile_col": column,
        "tile": files.tile,
        "frame_shape": list(tile.shape) if tile.shape else None,
        "own": [crops.as_file(place) for place in own],
        "whole": [crops.as_file(place) for place in whole],
    }
