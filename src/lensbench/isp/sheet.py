"""The contact sheet: one frame in many views, side by side, each with its name.

A frame larger than its place on the sheet is shown twice: reduced, and below its middle enlarged, where demosaic,
sharpening and denoising are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lensbench.isp.after import eight_bits
from lensbench.isp.camera import Camera
from lensbench.isp.pipeline import develop
from lensbench.isp.view import View

CELL = 420
"""Longest side of a picture on the sheet."""
MARGIN, CAPTION = 8, 22
ZOOM = 3
PAPER, INK = (250, 250, 250), (20, 20, 20)


def contact_sheet(raw: NDArray[Any], camera: Camera, views: Sequence[View], sample: str = "") -> NDArray[np.uint8]:
    """RGB, uint8. Views are developed one by one: a large frame need not fit the memory in all of them."""
    pictures = ((view.name, eight_bits(develop(raw, camera, view, sample=sample))) for view in views)
    return sheet_of(pictures, raw.shape, len(views))


def sheet_of(
    pictures: Iterable[tuple[str, NDArray[np.uint8]]], shape: tuple[int, ...], count: int
) -> NDArray[np.uint8]:
    """The sheet of `count` named pictures H×W×3 of one shape."""
    factor = min(1.0, CELL / max(shape))
    height, width = (max(1, round(length * factor)) for length in shape)
    columns = _columns(count)
    rows = -(-count // columns)
    tall = height if factor == 1 else 2 * height + MARGIN
    across, down = width + MARGIN, tall + CAPTION + MARGIN
    sheet = Image.new("RGB", (columns * across + MARGIN, rows * down + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (name, picture) in enumerate(pictures):
        left, top = MARGIN + number % columns * across, MARGIN + number // columns * down
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        draw.text((left, top), name, INK, font)
        sheet.paste(Image.fromarray(small), (left, top + CAPTION))
        if factor < 1:
            detail = Image.fromarray(_middle(picture, height, width))
            sheet.paste(detail, (left, top + CAPTION + height + MARGIN))
    return np.asarray(sheet)


def _middle(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The middle of the picture, every pixel enlarged to a square, `height`×`width`."""
    corner = [(length - side // ZOOM) // 2 for length, side in zip(picture.shape[:2], (height, width), strict=True)]
    part = picture[corner[0] :, corner[1] :][: -(-height // ZOOM), : -(-width // ZOOM)]
    return part.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)[:height, :width]


def _columns(count: int) -> int:
    """Five for severities, four for the twelve views, fewer for few."""
    return min(count, 5 if count % 5 == 0 else 4)
