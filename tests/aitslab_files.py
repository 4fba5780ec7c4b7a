"""Small files of Aitslab-bioimaging1 as the publisher lays them out, and what its builder makes of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lensbench.data.loader import load_builder, load_specimen
from lensbench.data.prepared import Prepared
from lensbench.data.request import Request
from lensbench.data.source import Source, unpacked
from lensbench.registry import get_dataset
from tests.conftest import ROOT

NAME = "aitslab_bioimaging1"
ENTRY = ROOT / "registry" / NAME
FOLDERS = {"train": "training_nuclei", "validation": "development_nuclei", "test": "test_nuclei"}
A, B, C = (f"MFGTMPcx7_17070200000{n}_B14f0{n}d0" for n in (1, 2, 3))
Labels = NDArray[np.integer[Any]]


def specimen() -> ModuleType:
    """The dataset's own `specimen.py`, as a module."""
    return sys.modules[load_specimen(ENTRY).__module__]


def png(pixels: NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert done
    return bytes(data)


def grey(side: int = 8) -> NDArray[np.uint8]:
    return np.arange(side * side, dtype=np.int64).reshape(side, side).astype(np.uint8)


def coloured(labels: Labels, colours: Mapping[int, int] | None = None) -> NDArray[np.uint8]:
    """An annotation of these labels; `colours`: label → packed 0xRRGGBB, by default the label itself."""
    palette = np.arange(int(labels.max()) + 1, dtype=np.int64)
    for key, colour in (colours or {}).items():
        palette[key : key + 1] = colour
    packed = palette[labels]
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)


def labels(side: int = 8) -> NDArray[np.int64]:
    """Two objects that touch by a corner and one at the border."""
    found = np.zeros((side, side), np.int64)
    found[2:4, 2:4], found[4:6, 4:6], found[0, 7] = 2, 1, 3
    return found


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def pair(key: str, split: str = "test", image: bytes | None = None, mask: bytes | None = None) -> dict[str, bytes]:
    """Image and annotation where the publisher keeps them."""
    return {
        f"{FOLDERS[split]}/images/{key}.png": png(grey()) if image is None else image,
        f"{FOLDERS[split]}/annotations/{key}_objects.png": png(coloured(labels())) if mask is None else mask,
    }


def rows_of(folder: Path, config: str = "official") -> list[dict[str, Any]]:
    """What the builder makes of a folder: every row of its index with the columns that need files."""
    dataset = get_dataset(NAME, ROOT / "registry")
    builder, source = load_builder(ENTRY), Source(unpacked(folder, dataset.folders))
    request = Request(dataset, dataset.version(None), dataset.config(config))
    rows = builder.index(source, request).rows
    columns = {name: column.to_pylist() for name, column in builder.read(source, rows, request.config).items()}
    return [row | {name: values[i] for name, values in columns.items()} for i, row in enumerate(rows.to_pylist())]


def strays(folder: Path) -> int:
    dataset = get_dataset(NAME, ROOT / "registry")
    request = Request(dataset, dataset.version(None), dataset.config(None))
    return load_builder(ENTRY).index(Source(unpacked(folder, dataset.folders)), request).strays


def decoded(part: Mapping[str, bytes]) -> NDArray[Any]:
    return np.asarray(cv2.imdecode(np.frombuffer(part["bytes"], np.uint8), cv2.IMREAD_UNCHANGED))


def table(prepared: Prepared, split: str) -> list[dict[str, Any]]:
    files = [pa.ipc.open_stream(path.read_bytes()).read_all() for path in prepared.arrow[split]]
    rows: list[dict[str, Any]] = pa.concat_tables(files).to_pylist()
    return rows
