"""Small segmentations as strangers bring them: label maps of three objects, in every format that is read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from lensbench.masks import rle

Labels = NDArray[Any]
SHAPE = (6, 9)


def labels(ids: tuple[int, int, int] = (1, 2, 3)) -> NDArray[np.uint32]:
    """Three objects that touch, one of them in two parts."""
    found = np.zeros(SHAPE, np.uint32)
    found[1:3, 1:4], found[3:5, 1:4], found[0, 8], found[5, 8] = ids[0], ids[1], ids[2], ids[2]
    return found


def tiff(array: Labels, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def npy(array: Labels) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(*arrays: Labels) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, *arrays)
    return stream.getvalue()


def coco(maps: Mapping[str, Labels], scores: float | None = None) -> list[dict[str, Any]]:
    rows = []
    for name, array in maps.items():
        for text in rle.encode(array)[1]:
            row = {"image_id": name, "segmentation": {"size": list(array.shape), "counts": text.decode()}}
            rows.append(row | ({} if scores is None else {"score": scores}))
    return rows


def kaggle(maps: Mapping[str, Labels]) -> str:
    lines = ["ImageId,EncodedPixels"]
    for name, array in maps.items():
        spans = [rle.spans_of(array == key) for key in np.unique(array) if key]
        lines += [f"{name},{rle.pairs_of(one)}" for one in spans] or [f"{name},"]
    return "\n".join(lines) + "\n"


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


MAPS = {"a": labels(), "b": labels((7, 300, 2)), "c": np.zeros(SHAPE, np.uint32)}
SHAPES = dict.fromkeys(MAPS, SHAPE)
