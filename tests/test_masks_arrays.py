"""One array as an answer: PNG, TIFF and NumPy read bit by bit, and what is no map of numbers refused in one line."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from lensbench.errors import ModelError
from lensbench.images.decode import encode_png
from lensbench.masks.arrays import read_map
from lensbench.masks.labeltiff import read_label_tiff
from lensbench.masks.read import open_masks
from tests.masks_files import SHAPE, Labels, labels, npy, put, tiff

FLOAT = labels().astype(np.float32)
RGB = np.stack([labels().astype(np.uint8)] * 3, axis=-1)
UNFIT: dict[str, tuple[bytes, str]] = {
    "float.tif": (tiff(FLOAT), "holds float32 values; a labelmap is integers"),
    "float.npy": (npy(FLOAT.astype(np.float64)), "holds float64 values"),
    "rgb.png": (encode_png(RGB), "is in colours.*65536 R"),
    "rgba.png": (cv2.imencode(".png", np.dstack([RGB, RGB[..., :1]]))[1].tobytes(), "is in colours"),
    "rgb.tif": (tiff(RGB, photometric="rgb"), "is in colours"),
    "rgb.npy": (npy(RGB), "is in colours"),
    "bool.npy": (npy(labels() > 0), "true and false: which pixels, not which object"),
    "negative.npy": (npy(-labels().astype(np.int64)), "negative id -3"),
    "negative.tif": (tiff(-labels().astype(np.int16)), "negative id -3"),
    "huge.npy": (npy(labels().astype(np.uint64) << 40), "holds 3298534883328, a labelmap holds 0 to 4294967295"),
    "turned.npy": (npy(labels().T), "is 9×6, the image is 6×9 .*transposed"),
    "larger.npy": (npy(np.zeros((6, 10), np.uint8)), r"is 6×10, the image is 6×9 \(height×width\)\Z"),
    "stack.npy": (npy(labels()[None]), r"has the shape \(1, 6, 9\)"),
    "scalar.npy": (npy(np.zeros((), np.uint8)), r"has the shape \(\)"),
    "objects.npy": (
        b"\x93NUMPY\x01\0\x46\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (6, 9)}".ljust(70),
        "|O|object",
    ),
    "text.npy": (npy(np.full(SHAPE, "x")), "values, expected integers"),
    "cut.npy": (npy(labels())[:-1], "cut short"),
    "head.npy": (npy(labels())[:20], "or damaged"),
    "cut.png": (encode_png(labels().astype(np.uint8))[:-20], "PNG is cut short"),
    "cut.tif": (tiff(labels())[:-9], "cut short"),
    "empty.png": (b"", "an empty file"),
    "jpeg.png": (b"\xff\xd8\xff\xe0 not a png", "neither a PNG nor a TIFF"),
    "pages.tif": (tiff(np.stack([labels()] * 5), photometric="minisblack"), "several pages"),
    "wide.tif": (tiff(labels().astype(np.int64)), "a TIFF is read where its samples"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_label_map_is_refused_with_file_and_id(name: str, tmp_path: Path) -> None:
    data, words = UNFIT[name]
    put(tmp_path / "preds", {name: data})
    key = Path(name).stem
    with (
        open_masks(tmp_path / "preds", {key: SHAPE}, "labelmap") as files,
        pytest.raises(ModelError, match=rf"\Apreds: '{name}' \(id '{key}'\):? .*({words})") as caught,
    ):
        files.read(key)
    assert "\n" not in str(caught.value)


def test_a_palette_image_is_refused() -> None:
    stream = io.BytesIO()
    image = Image.fromarray(labels().astype(np.uint8))
    image.putpalette([n for n in range(256) for _ in range(3)])
    image.save(stream, "PNG")
    with pytest.raises(ModelError, match="x: is a palette image"):
        read_map(stream.getvalue(), "x", "labelmap", SHAPE)


def npy_of_shape(shape: str) -> bytes:
    head = f"{{'descr': '<u4', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000000)", "(-6, 9)", "(6, 0)", "(" * 99, "(2**63,)", "(9" * 9 + "9", "'x'"]
)
def test_a_header_that_lies_costs_nothing(shape: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="x: "):
            read_map(npy_of_shape(shape), "x", "labelmap", SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


INTEGERS = ("u1", "u2", "u4", "i1", "i2", "i4")
TIFFS = st.sampled_from(INTEGERS).flatmap(
    lambda code: hnp.arrays(np.dtype(code), st.tuples(st.integers(1, 40), st.integers(1, 40)))
)


@settings(max_examples=60, deadline=None)
@given(
    TIFFS,
    st.sampled_from(["<", ">"]),
    st.sampled_from([None, "deflate"]),
    st.booleans(),
    st.sampled_from([None, (16, 16)]),
)
def test_tiff_of_any_integers_is_read_bit_by_bit(
    array: Labels, order: str, compression: str | None, predictor: bool, tile: tuple[int, int] | None
) -> None:
    if tile and array.itemsize == 1:
        compression = "deflate"  # OpenCV refuses tiles of 8 bits that are not compressed
    data = tiff(array, byteorder=order, compression=compression, predictor=predictor and bool(compression), tile=tile)
    pixels = read_label_tiff(data, "x")
    assert pixels.dtype == array.dtype and np.array_equal(pixels, array)
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), pixels)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_tiff_with_any_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(tiff(labels(), compression="deflate"))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = read_map(bytes(whole), "x", "labelmap", SHAPE)
    except ModelError as error:
        assert str(error).startswith("x: ") and "\n" not in str(error)
    else:
        assert value.pixels.shape == SHAPE


def test_a_png_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(ModelError, match="more than one image may have"):
        read_map(data, "x", "labelmap", SHAPE)
