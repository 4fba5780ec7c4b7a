"""Synthetic shapes in the layout of `tiny_shapes`: one zip, a top folder, `labels.csv` with CRLF, files of a Mac."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensbench.images.decode import encode_png

SIDE, SHEET = 32, 4
LABELS = ("disc", "square", "triangle")
TOP = "tiny_shapes-1.0"


def make(folder: Path, *, size: int = 24, seed: int = 0, layout: str = "1.0.0") -> list[Path]:
    """Write `tiny_shapes.zip`: `size` images, four to a sheet, the first two thirds and one more in train.

    With 24 of them the cut lies inside a sheet, as a careless publisher's would: a leak.
    """
    if layout != "1.0.0" or size < 2 * SHEET:
        raise ValueError(f"layout {layout} with {size} images: there is 1.0.0, and two sheets hold {2 * SHEET}")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(["id", "label", "group", "split"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_shapes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(size):
            key, label = f"s{seed}-{n:04}", LABELS[n % len(LABELS)]
            split = "train" if n <= 2 * size // 3 else "test"
            writer.writerow([key, label, f"sheet-{n // SHEET:02}", split])
            _put(archive, f"{TOP}/images/{key}.png", encode_png(draw(key, label)))
        _put(archive, f"{TOP}/labels.csv", table.getvalue().encode())
        _put(archive, f"__MACOSX/{TOP}/._labels.csv", b"\x00\x05\x16\x07")
    return [path]


def draw(key: str, label: str) -> NDArray[np.uint8]:
    """One RGB image, 32 × 32, uint8: a shape whose place, radius and colour the id gives, on dark noise."""
    noise = np.frombuffer(hashlib.shake_256(key.encode()).digest(SIDE * SIDE * 3 + 6), np.uint8)
    x, y, radius = 10 + noise[0] % 12, 10 + noise[1] % 12, 5 + int(noise[2]) % 5
    image = (noise[6:].reshape(SIDE, SIDE, 3) >> 3).astype(np.uint8)
    image[_inside(label, int(x), int(y), radius)] = 128 + (noise[3:6] >> 1)
    return image


def _inside(label: str, x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.indices((SIDE, SIDE))
    across, down = np.abs(columns - x), rows - y
    found: dict[str, NDArray[np.bool_]] = {
        "disc": across**2 + down**2 <= radius**2,
        "square": np.maximum(across, np.abs(down)) <= radius,
        "triangle": (np.abs(down) <= radius) & (2 * across <= down + radius),
    }
    return found[label]


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # ZipInfo's fixed date: the same bytes on every run
