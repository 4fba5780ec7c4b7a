"""Synthetic shapes as the publisher packs them: one zip, a top folder, `labels.csv` with CRLF, files of a Mac."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensbench.images.decode import encode_png

TOP = "tiny_shapes-1.0"


def make(folder: Path, *, size: int = 24, seed: int = 0, layout: str = "1.0.0") -> list[Path]:
    """`size` images, four to a sheet; with 24, the cut between the splits lies inside a sheet: a leak."""
    if layout != "1.0.0" or size < 8:
        raise ValueError(f"layout {layout} with {size} images: there is 1.0.0, and two sheets hold 8")
    table, path = ["id,label,group,split"], folder / "tiny_shapes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(size):
            key, label = f"s{seed}-{n:04}", ("disc", "square", "triangle")[n % 3]
            split = "train" if n <= 2 * size // 3 else "test"
            table.append(f"{key},{label},sheet-{n // 4:02},{split}")
            archive.writestr(zipfile.ZipInfo(f"{TOP}/images/{key}.png"), encode_png(draw(key, label)))
        archive.writestr(zipfile.ZipInfo(f"{TOP}/labels.csv"), "".join(f"{row}\r\n" for row in table))
        archive.writestr(zipfile.ZipInfo(f"__MACOSX/{TOP}/._labels.csv"), b"\x00\x05\x16\x07")
    return [path]


def draw(key: str, label: str) -> NDArray[np.uint8]:
    """RGB, 32 × 32: a shape whose place, size and colour the id gives, on dark noise."""
    noise = np.frombuffer(hashlib.shake_256(key.encode()).digest(32 * 32 * 3 + 6), np.uint8)
    image, radius = (noise[6:].reshape(32, 32, 3) >> 3).astype(np.uint8), 5 + int(noise[2]) % 5
    rows, columns = np.indices((32, 32))
    across, down = np.abs(columns - 10 - int(noise[0]) % 12), rows - 10 - int(noise[1]) % 12
    inside = {
        "disc": across**2 + down**2 <= radius**2,
        "square": np.maximum(across, np.abs(down)) <= radius,
        "triangle": (np.abs(down) <= radius) & (2 * across <= down + radius),
    }
    image[inside[label]] = 128 + (noise[3:6] >> 1)
    return image
