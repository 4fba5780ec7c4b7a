"""PNG, raw mosaics, DNG and C01: exactly what is stored, or one line why not."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from lensbench.errors import ArchiveError
from lensbench.images.c01 import read_c01
from lensbench.images.decode import decode, dng, encode_png, mosaic
from lensbench.images.png import ADAM7

SIDES = st.integers(1, 21)
RNG = np.random.default_rng(4)
WIDE = RNG.integers(0, 65536, (9, 13, 3), dtype=np.uint16)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, kind: int, raw: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    """A PNG from its unfiltered stream: what no encoder would write can be written."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows(samples: NDArray[Any]) -> bytes:
    """Rows of H×W×C with no filter, big-endian."""
    return b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)


def by_pillow(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(SIDES, SIDES)))
def test_grey_goes_round_and_pillow_reads_the_same(pixels: NDArray[Any]) -> None:
    data = encode_png(pixels)
    again = decode(data, "a.png")
    assert again.dtype == pixels.dtype and np.array_equal(again, pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == ("I;16" if pixels.dtype == np.uint16 else "L")
        assert np.array_equal(np.asarray(image), pixels)


@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES, st.just(3))))
def test_colours_go_round_in_the_order_red_green_blue(pixels: NDArray[np.uint8]) -> None:
    data = encode_png(pixels)
    assert np.array_equal(decode(data, "a.png"), pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)


@given(hnp.arrays(np.uint8, st.tuples(SIDES, SIDES, st.sampled_from([2, 3, 4]))))
def test_what_pillow_writes_is_read(pixels: NDArray[np.uint8]) -> None:
    assert np.array_equal(decode(by_pillow(Image.fromarray(pixels)), "a.png"), pixels)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_channel_count_and_depth_is_exact(kind: int, channels: int, dtype: type) -> None:
    samples = RNG.integers(0, np.iinfo(dtype).max, (7, 5, channels), dtype=dtype, endpoint=True)
    found = decode(png(5, 7, 8 * samples.itemsize, kind, rows(samples)), "a.png")
    assert found.dtype == dtype and np.array_equal(found, samples[..., 0] if channels == 1 else samples)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_keep_their_stored_values(depth: int) -> None:
    stored = RNG.integers(0, 1 << depth, (6, 11), dtype=np.uint8)
    bits = np.unpackbits(stored[..., None], axis=2)[..., 8 - depth :].reshape(6, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    assert np.array_equal(decode(png(11, 6, depth, 0, raw), "a.png"), stored)
    palette = RNG.integers(0, 256, (1 << depth, 3), dtype=np.uint8)
    coloured = decode(png(11, 6, depth, 3, raw, chunk(b"PLTE", palette.tobytes())), "a.png")
    assert np.array_equal(coloured, palette[stored])
    one = Image.fromarray(stored > 0)
    assert np.array_equal(decode(by_pillow(one), "a.png"), stored > 0)


def test_a_palette_is_counted_by_its_colours_and_not_by_its_indices() -> None:
    """256 MiB of indices fit, and were then 768 MiB of colours; the header is refused before a pixel is unpacked."""
    with pytest.raises(ArchiveError, match=r"10000×10000 pixels is more than one image may have \(256 MiB\)"):
        decode(png(10_000, 10_000, 8, 3, b"", chunk(b"PLTE", bytes(3))), "a.png")
    with pytest.raises(ArchiveError, match="end too early"):
        decode(png(10_000, 10_000, 8, 0, b""), "a.png")


def test_an_animated_png_is_refused() -> None:
    data = encode_png(np.zeros((4, 4), np.uint8))
    at = data.index(b"IDAT") - 4
    animated = data[:at] + chunk(b"acTL", struct.pack(">II", 2, 0)) + data[at:]
    with pytest.raises(ArchiveError, match=r"a\.png: an animated PNG holds several images"):
        decode(animated, "a.png")


def test_a_palette_that_is_not_plain_is_refused() -> None:
    raw, colours = rows(np.array([[[0], [2]]], np.uint8)), chunk(b"PLTE", bytes(6))
    with pytest.raises(ArchiveError, match=r"^a.png: a pixel's index is not in the palette of 2 colours$"):
        decode(png(2, 1, 8, 3, raw, colours), "a.png")
    for extra in ((colours, chunk(b"tRNS", b"\0")), (chunk(b"PLTE", bytes(7)),)):
        with pytest.raises(ArchiveError, match="palette PNG is read only where it is plain"):
            decode(png(2, 1, 8, 3, raw, *extra), "a.png")
    with pytest.raises(ArchiveError, match="not in the palette of 0"):
        decode(png(2, 1, 8, 3, raw), "a.png")


def test_nothing_around_the_pixels_changes_them() -> None:
    """Gamma, a transparent colour, an orientation and a colour profile are no part of the stored samples."""
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    extra = (
        chunk(b"gAMA", struct.pack(">I", 10_000)),
        chunk(b"sBIT", b"\x03\x03\x03"),
        chunk(b"tRNS", WIDE[0, 0].astype(">u2").tobytes()),
        chunk(b"eXIf", exif),
        chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),
        chunk(b"tEXt", b"Comment\0hello"),
    )
    assert np.array_equal(decode(png(13, 9, 16, 2, rows(WIDE), *extra), "a.png"), WIDE)


@given(SIDES, SIDES)
def test_interlaced(width: int, height: int) -> None:
    samples = np.arange(width * height * 3, dtype=np.uint16).reshape(height, width, 3) * 997
    raw = b"".join(rows(part) for x, y, dx, dy in ADAM7 if (part := samples[y::dy, x::dx]).size)
    assert np.array_equal(decode(png(width, height, 16, 2, raw, interlace=1), "a.png"), samples)


def test_every_cut_and_every_changed_byte_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode_png(np.arange(20 * 20, dtype=np.uint16).reshape(20, 20))
    for end in range(len(data)):
        with pytest.raises(ArchiveError, match=r"^dir/a\.png: "):
            decode(data[:end], "dir/a.png")
    for at in range(len(data)):
        with pytest.raises(ArchiveError, match=r"^dir/a\.png: "):
            decode(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], "dir/a.png")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"\xff\xd8\xff\xe0", "neither a PNG nor a TIFF"),
        (png(100_000, 100_000, 8, 0, b""), "more than one image may have"),
        (png(2_000_000, 1, 8, 0, b""), "more than one image may have"),
        (png(0, 5, 8, 0, b""), "a size of 0×5"),
        (png(4, 4, 8, 0, bytes(19)), "end too early"),
        (png(4, 4, 8, 0, bytes(50_000_000)), "more pixels are compressed"),
        (png(4, 4, 3, 0, bytes(20)), "header is not valid"),
        (png(4, 4, 8, 0, (b"\x05" + bytes(4)) * 4), "unknown filter"),
        (png(4, 4, 8, 0, bytes(20), chunk(b"CgBI", b"")), "not understood"),
        (png(4, 4, 8, 0, bytes(20), chunk(b"IHDR", bytes(13))), "does not begin with one header"),
        (png(4, 4, 8, 0, bytes(20), chunk(b"IDAT", b""), chunk(b"tEXt", b"")), "not understood there"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "does not begin with one header"),
    ],
)
def test_hostile(data: bytes, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArchiveError, match=rf"^a\.png: .*{words}"):
        decode(data, "a.png")
    assert capfd.readouterr().err == ""


@given(st.binary(max_size=80))
def test_noise_is_refused(noise: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\0\0\0\x10"):
        for read in (decode, read_c01, dng):
            with pytest.raises(ArchiveError, match=r"^x: "):
                read(start + noise, "x")


def test_encoding_is_the_same_each_time() -> None:
    pixels = WIDE[..., 0]
    assert encode_png(pixels) == encode_png(pixels.copy()) == encode_png(np.asfortranarray(pixels))
    assert encode_png(pixels.astype(">u2")) == encode_png(pixels)
    for wrong in (WIDE, pixels.astype(np.int32), pixels > 3, np.zeros((0, 4), np.uint8), np.zeros((3, 3, 4), np.uint8)):
        with pytest.raises(ValueError, match="a PNG is made of uint8 or uint16"):
            encode_png(wrong)


def test_a_mosaic_is_sixteen_bits() -> None:
    assert np.array_equal(mosaic(encode_png(WIDE[..., 1]), "a.png"), WIDE[..., 1])
    for wrong in (WIDE[..., 0].astype(np.uint8), WIDE.astype(np.uint8)):
        with pytest.raises(ArchiveError, match=r"^a.png: a raw mosaic is 16-bit grey, not uint8"):
            mosaic(encode_png(wrong), "a.png")


def c01(pixels: NDArray[Any], *, planes: int = 1, size: tuple[int, int] | None = None, after: bytes = b"") -> bytes:
    """A C01 file of `pixels` (H×W), whose header may say another size (width, height) or number of planes."""
    width, height = size or pixels.shape[::-1]
    header = struct.pack("<iiihh", 40, width, height, planes, 8 * pixels.itemsize).ljust(52, b"\0")
    return b"\0\0\0\x10" + zlib.compress(header + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()) + after


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(SIDES, SIDES)))
def test_c01_goes_round(pixels: NDArray[Any]) -> None:
    found = read_c01(c01(pixels), "a.C01")
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels) and found.flags.writeable


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a C01"),
        (b"\0\0\0\x11" + c01(WIDE[..., 0])[4:], "not a C01"),
        (c01(WIDE[..., 0])[:20], "cut short"),
        (c01(WIDE[..., 0])[:-3], "end too early"),
        (c01(WIDE[..., 0], after=b"x"), "bytes follow"),
        (c01(WIDE[..., 0], planes=3), "3 planes of 16 bits is not understood"),
        (c01(WIDE[..., 0].astype(np.uint32)), "1 planes of 32 bits"),
        (c01(WIDE[..., 0], size=(13, -9)), "a size of 13×-9"),
        (c01(WIDE[..., 0], size=(13, 10)), "end too early"),
        (c01(WIDE[..., 0], size=(13, 8)), "more pixels are compressed"),
        (c01(WIDE[..., 0], size=(2**31 - 1, 2**31 - 1)), "more than one image may have"),
        (b"\0\0\0\x10" + zlib.compress(bytes(51)), "cut short"),
        (b"\0\0\0\x10no zlib here", "damaged"),
    ],
)
def test_c01_refuses_what_it_does_not_understand(data: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=rf"^a\.C01: .*{words}"):
        read_c01(data, "a.C01")


@pytest.mark.needs("realdata")
def test_a_real_mosaic_in_eight_bits_is_read_but_is_no_mosaic(realdata: Path) -> None:
    data = (realdata / "raw/micro.png").read_bytes()
    pixels = decode(data, "micro.png")
    assert pixels.shape == (256, 256, 4) and pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    with pytest.raises(ArchiveError, match="16-bit grey"):
        mosaic(data, "micro.png")


@pytest.mark.needs("realdata")
def test_a_real_dng_against_its_bits_unpacked_by_hand(realdata: Path) -> None:
    pytest.importorskip("rawpy")
    data = (realdata / "raw/colorchart.dng").read_bytes()
    pixels = dng(data, "colorchart.dng")
    assert pixels.shape == (1156, 1734) and pixels.dtype == np.uint16
    bits = np.unpackbits(np.frombuffer(data, np.uint8, 3_905_328, 1_536)).reshape(1182, 1888, 14)  # one strip
    whole = bits.astype(np.uint16) @ (1 << np.arange(14)[::-1]).astype(np.uint16)
    assert np.array_equal(pixels, whole[26:1182, 152:1886])  # ActiveArea: top, left, bottom, right
    with pytest.raises(ArchiveError, match="cut short"):
        dng(data[:-4000], "colorchart.dng")


def test_a_dng_without_rawpy_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr("lensbench.images.decode.check_dng", lambda data, where: None)
    with pytest.raises(ArchiveError, match=r'^a\.dng: reading DNG needs rawpy: pip install "lensbench\[formats\]"$'):
        dng(b"", "a.dng")
