"""TIFF: what is plain is exact against Pillow and tifffile; what OpenCV would spoil without a word is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from lensbench.errors import ArchiveError
from lensbench.images.decode import decode, dng, mosaic

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 65536, (40, 53), dtype=np.uint16)
GREY[:20] = 7
RGB = np.dstack([GREY, GREY // 2, GREY // 3])


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def by_pillow(pixels: NDArray[Any], compression: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, **options)
    return file.getvalue()


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.float32]), st.tuples(st.integers(1, 30), st.integers(1, 30))),
    st.sampled_from("<>"),
    st.sampled_from([{}, {"compression": "zlib"}, {"rowsperstrip": 7}, {"tile": (32, 32)}]),
)
def test_grey_as_tifffile_writes_it(pixels: NDArray[Any], order: str, how: dict[str, Any]) -> None:
    found = decode(tiff(pixels, byteorder=order, photometric="minisblack", **how), "a.tif")
    assert found.dtype == pixels.dtype and found.tobytes() == pixels.tobytes()  # NaN and −0.0 included


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_as_pillow_writes_it(compression: str, dtype: type) -> None:
    pixels: NDArray[Any] = GREY.astype(dtype)
    assert np.array_equal(decode(by_pillow(pixels, compression), "a.tif"), pixels)


@pytest.mark.parametrize("pixels", [RGB, RGB.astype(np.uint8)], ids=["16", "8"])
@pytest.mark.parametrize("how", [{}, {"byteorder": ">"}, {"tile": (32, 64)}, {"compression": "zlib"}], ids=str)
def test_colours_in_the_order_red_green_blue(pixels: NDArray[Any], how: dict[str, Any]) -> None:
    found = decode(tiff(pixels, photometric="rgb", **how), "a.tif")
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels)


@pytest.mark.parametrize("order", ["little", "big"])
def test_differences_between_neighbours_are_summed_up(order: str) -> None:
    """Predictor 2, written by hand: neither Pillow nor tifffile alone writes it for 16 bits."""
    plain = tiff(
        np.diff(GREY, axis=1, prepend=np.uint16(0)), byteorder="<" if order == "little" else ">", compression=8
    )
    page = tifffile.TiffFile(io.BytesIO(plain)).pages[0]
    data = bytearray(plain)
    entry = page.tags["XResolution"].offset  # a tag that is not needed becomes the predictor's
    data[entry : entry + 12] = struct.pack("<HHIHH" if order == "little" else ">HHIHH", 317, 3, 1, 2, 0)
    assert np.array_equal(decode(bytes(data), "a.tif"), GREY)


def test_orientation_and_unknown_tags_change_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    tags = [(274, 3, 1, 6, True), (65_000, 2, 0, "private", True)]
    assert np.array_equal(decode(tiff(GREY, extratags=tags), "a.tif"), GREY)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.stack([GREY, GREY]), photometric="minisblack"), "holds several pages"),
        (tiff(GREY, photometric="miniswhite"), "grey \\(0 is black\\) or RGB"),
        (tiff(np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"), "grey .* or RGB"),
        (tiff(np.dstack([GREY] * 4), photometric="rgb", extrasamples=["unassalpha"]), "without further channels"),
        (tiff(np.dstack([GREY] * 4), photometric="minisblack", planarconfig="contig"), "without further channels"),
        (tiff(GREY.astype(np.uint8), photometric="palette", colormap=np.zeros((3, 256), np.uint16)), "grey .* or RGB"),
        (tiff(GREY.astype(np.int16)), "uint8, uint16 or float32"),
        (tiff(GREY.astype(np.uint32)), "uint8, uint16 or float32"),
        (tiff(GREY.astype(np.float64)), "uint8, uint16 or float32"),
        (tiff(GREY.astype(np.float16)), "uint8, uint16 or float32"),
        (tiff(GREY > 9), "uint8, uint16 or float32"),
        (tiff(GREY, compression="lzma"), "compression is not read"),
        (tiff(GREY, bigtiff=True), "neither a PNG nor a TIFF"),
    ],
)
def test_what_is_not_plain_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=rf"^a.tif: .*{words}"):
        decode(data, "a.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_every_cut_is_refused_without_noise(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = by_pillow(GREY[:8], compression)
    page = tifffile.TiffFile(io.BytesIO(whole)).pages[0]
    behind = len(whole) - max(at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True))
    for end in range(1, len(whole) - min(behind, 1)):  # a byte of padding may follow the pixels
        with pytest.raises(ArchiveError, match=r"^a.tif: "):
            decode(whole[:end], "a.tif")
    assert capfd.readouterr().err == ""


def field(data: bytes, name: str, value: int) -> bytes:
    """`data` with another inline value in one tag."""
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    at = page.tags[name].offset
    kind = struct.unpack_from("<H", data, at + 2)[0]
    return (
        data[: at + 8]
        + struct.pack("<I" if kind == 4 else "<HH", *([value] if kind == 4 else [value, 0]))
        + data[at + 12 :]
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (field(field(tiff(GREY), "ImageWidth", 500_000), "ImageLength", 500_000), "more than one image may have"),
        (field(tiff(GREY), "ImageWidth", 0), "a size of 0×40"),
        (field(tiff(GREY), "ImageWidth", 54), "has 4240 bytes, not 4320"),
        (field(tiff(GREY), "RowsPerStrip", 1), "lists 1 strips or tiles, not 40"),
        (field(tiff(GREY), "StripByteCounts", 4_000_000_000), "cut short"),
        (field(tiff(GREY, tile=(16, 16)), "TileWidth", 0), "a size of 0×16"),
        (field(tiff(GREY, tile=(16, 16)), "TileLength", 1_000_000), "lists 12 strips or tiles, not 4"),
        (field(tiff(GREY, compression="zlib"), "ImageLength", 39), "more pixels are compressed"),
        (field(tiff(GREY, compression="zlib"), "ImageLength", 41), "not 2|end too early"),
        (b"II*\0\x08\0\0\0\0\0\0\0", "cut short"),
        (b"II*\0\x08\0\0\0" + b"\0" * 6, "uint8, uint16 or float32"),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 273, 4, 70_000, 8) + bytes(4), "lists 70000 strips"),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 273, 4, 60_000, 8) + bytes(4), "cut short"),
        (b"II*\0\0\0\0\0", "holds no page"),
        (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "holds several pages"),
    ],
)
def test_hostile(data: bytes, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArchiveError, match=rf"^a.tif: .*({words})"):
        decode(data, "a.tif")
    assert capfd.readouterr().err == ""


def test_a_changed_byte_of_deflated_pixels_is_seen() -> None:
    data = tiff(GREY, compression="zlib")
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    for at in range(page.dataoffsets[0], page.dataoffsets[0] + page.databytecounts[0], 17):
        with pytest.raises(ArchiveError, match="compressed"):
            decode(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :], "a.tif")


def test_damage_of_lzw_does_not_reach_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    data = by_pillow(GREY, "tiff_lzw")
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    at = page.dataoffsets[0]
    with pytest.raises(ArchiveError, match=r"^a.tif: the TIFF cannot be decoded$"):
        decode(data[:at] + b"\xff" * 200 + data[at + 200 :], "a.tif")
    assert capfd.readouterr().err == ""


@given(hnp.arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_a_mosaic_in_float32_gives_its_integers(pixels: NDArray[np.uint16]) -> None:
    found = mosaic(tiff(pixels.astype(np.float32)), "a.tif")
    assert found.dtype == np.uint16 and np.array_equal(found, pixels)
    assert np.array_equal(mosaic(tiff(pixels, photometric="minisblack"), "a.tif"), pixels)


@pytest.mark.parametrize("value", [0.5, -1, 65536, np.nan, np.inf, 65534.99])
def test_a_mosaic_rounds_and_clips_nothing(value: float) -> None:
    pixels = GREY.astype(np.float32)
    pixels[3, 4] = value
    with pytest.raises(
        ArchiveError, match=f"^a.tif: holds {np.float32(value)}, a raw mosaic holds integers in 0…65535$"
    ):
        mosaic(tiff(pixels), "a.tif")


def make_dng(pixels: NDArray[np.uint16], photometric: int = 32803) -> bytes:
    """The least that is a DNG: uncompressed 16-bit RGGB."""
    tags = [
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, b"\0\1\1\2", True),
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 0, "specimen", True),
    ]
    return tiff(pixels, photometric=photometric, extratags=tags)


def test_a_dng_of_sixteen_bits_is_exact() -> None:
    pytest.importorskip("rawpy")
    pixels = RNG.integers(0, 65536, (256, 384), dtype=np.uint16)
    assert np.array_equal(dng(make_dng(pixels), "a.dng"), pixels)


def test_what_is_no_mosaic_is_no_dng() -> None:
    with pytest.raises(ArchiveError, match=r"^a.dng: not a DNG"):
        dng(tiff(GREY), "a.dng")
    with pytest.raises(ArchiveError, match=r"^a.dng: the DNG holds no mosaic"):
        dng(make_dng(GREY, photometric=1), "a.dng")
    with pytest.raises(ArchiveError, match=r"^a.dng: 65535×65535 pixels is more than"):
        dng(field(field(make_dng(GREY), "ImageWidth", 65535), "ImageLength", 65535), "a.dng")
