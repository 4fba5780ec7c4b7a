"""Aitslab-bioimaging1: every way in which single files can be wrong or misread, and what becomes of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensbench.errors import LensbenchError
from lensbench.images.labelmap import renumber
from tests.aitslab_files import (
    A,
    B,
    C,
    coloured,
    decoded,
    grey,
    labels,
    pair,
    png,
    rows_of,
    specimen,
    strays,
    write,
)

# -- colours --------------------------------------------------------------------------------------------------


@st.composite
def painted(draw: st.DrawFn) -> tuple[NDArray[np.int64], dict[int, int]]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    count = draw(st.integers(0, 6))
    cells = draw(st.lists(st.integers(0, count), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    colours = draw(st.lists(st.integers(1, 0xFFFFFF), min_size=count, max_size=count, unique=True))
    return np.array(cells, np.int64).reshape(shape), {0: 0} | dict(enumerate(colours, start=1))


@given(painted())
@settings(max_examples=60, deadline=None)
def test_any_colours_give_the_same_objects_and_the_same_hash(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[NDArray[np.int64], dict[int, int]]
) -> None:
    found, colours = case
    image = png(np.zeros(found.shape, np.uint8))
    folder = tmp_path_factory.mktemp("colours")
    write(
        folder,
        pair(A, image=image, mask=png(coloured(found, colours))) | pair(B, image=image, mask=png(coloured(found))),
    )
    ours, plain = rows_of(folder)
    assert (decoded(ours["mask"]) == renumber(found)).all()
    assert ours["sha256"] == plain["sha256"] and ours["objects"] == plain["objects"]
    for thing in ours["objects"]:
        y, x = np.nonzero(decoded(ours["mask"]) == thing["id"])
        assert thing["area"] == len(y)
        assert thing["bbox"] == [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
        edges = 0 in y or 0 in x or found.shape[0] - 1 in y or found.shape[1] - 1 in x
        assert thing["touches_border"] == edges


def test_one_channel_is_not_enough_and_touching_objects_stay_two(tmp_path: Path) -> None:
    same_red = {0: 0, 1: 0x800001, 2: 0x800002, 3: 0x808002}
    (row,) = rows_of(write(tmp_path, pair(A, mask=png(coloured(labels(), same_red)))))
    assert row["n_objects"] == 3
    assert [thing["area"] for thing in row["objects"]] == [1, 4, 4]
    assert [thing["touches_border"] for thing in row["objects"]] == [True, False, False]


def test_an_image_without_objects_is_a_sample(tmp_path: Path) -> None:
    (row,) = rows_of(write(tmp_path, pair(A, mask=png(np.zeros((8, 8, 3), np.uint8)))))
    assert (row["n_objects"], row["objects"], decoded(row["mask"]).max()) == (0, [], 0)


def test_as_many_objects_as_sixteen_bits_can_tell_and_not_one_more(tmp_path: Path) -> None:
    every = np.arange(65_536, dtype=np.int64).reshape(256, 256)
    image = png(np.zeros((256, 256), np.uint8))
    (row,) = rows_of(write(tmp_path / "most", pair(A, image=image, mask=png(coloured(every)))))
    assert row["n_objects"] == 65_535
    assert (decoded(row["mask"]) == every).all()
    more = write(tmp_path / "more", pair(A, image=image, mask=png(coloured(every + 1))))
    with pytest.raises(LensbenchError, match=rf"{A}_objects\.png: 65,536 colours .* 16-bit"):
        rows_of(more)


# -- names, pairs and places ----------------------------------------------------------------------------------


def broken(change: str) -> dict[str, bytes]:
    """Two good pairs, and one thing wrong."""
    files = pair(A) | pair(B)
    images, annotations = "test_nuclei/images", "test_nuclei/annotations"
    wide = np.zeros((8, 9), np.uint8)
    return {
        "no annotation": {k: v for k, v in files.items() if f"{A}_objects" not in k},
        "no image": {k: v for k, v in files.items() if k != f"{images}/{B}.png"},
        "equal counts, other names": {
            **{f"{images}/{key}.png": png(grey()) for key in (A, B)},
            **{f"{annotations}/{key}_objects.png": png(coloured(labels())) for key in (B, C)},
        },
        "another name": files | {f"{images}/nuclei.png": png(grey())},
        "a well of no plate": files | pair(A.replace("B14", "B25")),
        "an annotation among the images": files | {f"{images}/{C}_objects.png": png(coloured(labels()))},
        "an image among the annotations": files | {f"{annotations}/{C}.png": png(grey())},
        "the same twice": files | {f"test_nuclei/more/images/{A}.png": png(grey())},
        "in two splits": files | pair(A, "train"),
        "annotation of another split": {
            k.replace("test", "training") if "B_" in k or f"{B}_" in k else k: v for k, v in files.items()
        },
        "another size": pair(A) | pair(B, image=png(wide)),
        "grey annotation": pair(A) | pair(B, mask=png(labels().astype(np.uint8))),
        "16-bit annotation": pair(A) | pair(B, mask=png(coloured(labels()).astype(np.uint16))),
        "colour image": pair(A) | pair(B, image=png(coloured(labels()))),
        "16-bit image": pair(A) | pair(B, image=png(grey().astype(np.uint16))),
        "cut short": pair(A) | pair(B, image=png(grey())[:-20]),
        "not a PNG": pair(A) | pair(B, mask=b"GIF89a"),
    }[change]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no annotation", rf"images/{A}\.png has no annotation"),
        ("no image", rf"annotations/{B}_objects\.png has no image"),
        ("equal counts, other names", rf"{A}\.png has no annotation"),
        ("another name", r"images/nuclei\.png: not named as its publisher names it"),
        ("a well of no plate", r"_B25f01d0(_objects)?\.png: not named as"),
        ("an annotation among the images", rf"images/{C}_objects\.png: not named as"),
        ("an image among the annotations", rf"annotations/{C}\.png: not named as .*_objects\.png"),
        ("the same twice", rf"{A}\.png and .*{A}\.png have one name"),
        ("in two splits", rf"{A}(_objects)?\.png and .*{A}(_objects)?\.png have one name"),
        ("annotation of another split", rf"{B}_objects\.png is of train, and its image .*{B}\.png of test"),
        ("another size", rf"annotations/{B}_objects\.png: uint32 8 × 8, but its image .* is uint8 8 × 9"),
        ("grey annotation", rf"{B}_objects\.png: an annotation is 24-bit RGB"),
        ("16-bit annotation", rf"{B}_objects\.png: an annotation is 24-bit RGB"),
        ("colour image", rf"images/{B}\.png: an image is 8-bit grey, this one uint8 8 × 8 × 3"),
        ("16-bit image", rf"images/{B}\.png: an image is 8-bit grey, this one uint16"),
        ("cut short", rf"images/{B}\.png: .*cut short"),
        ("not a PNG", rf"{B}_objects\.png: neither a PNG"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, change: str, message: str
) -> None:
    folder = write(tmp_path, broken(change))
    with pytest.raises(LensbenchError, match=message) as caught:
        rows_of(folder)
    assert "\n" not in str(caught.value)


def test_files_of_other_tools_and_places_are_left_alone(tmp_path: Path) -> None:
    alone = rows_of(write(tmp_path / "alone", pair(A)))
    clutter = {
        f"test_nuclei/annotations/{A}_objects_preprocessed.tif": b"II*\0",
        f"test_nuclei/images/._{A}.png": b"\0\5\26\7",
        "test_nuclei/images/Thumbs.db": b"",
        "test_nuclei/preview/overview.png": png(grey()),
        f"ORIGINAL_annotation_{A}.png": png(coloured(labels())),
        "readme.md": b"# Read me",
        "C01_to_png.py": b"print()",
        "test_nuclei/original/plate.C01": b"of no image, and not asked for",
    }
    folder = write(tmp_path / "full", pair(A) | clutter)
    assert rows_of(folder) == alone
    assert strays(folder) == 2


def test_plate_well_field_and_channel_come_from_the_name(tmp_path: Path) -> None:
    key = "MFGTMPcx7_170803210001_P17f28d0"
    (row,) = rows_of(write(tmp_path, pair(key, "train")))
    found = [row[name] for name in ("id", "plate", "well", "field", "channel", "group", "split")]
    assert found == [key, "170803210001", "P17", "28", "0", "170803210001/P17", "train"]


# -- originals ------------------------------------------------------------------------------------------------


@pytest.fixture
def original() -> Iterator[bytes]:
    yield specimen().c01(grey().astype(np.uint16) * 257)


@pytest.mark.parametrize("name", ["test_nuclei/original/{}.C01", "test_nuclei/images/{}.c01", "test_nuclei/{}.C01"])
def test_an_original_is_found_wherever_it_lies(tmp_path: Path, original: bytes, name: str) -> None:
    (row,) = rows_of(write(tmp_path, pair(A) | {name.format(A): original}), "raw")
    assert (decoded(row["image16"]) == grey().astype(np.uint16) * 257).all()


def test_an_eight_bit_original_keeps_its_depth(tmp_path: Path) -> None:
    head = struct.pack("<iiihh", 40, 8, 8, 1, 8).ljust(52, b"\0")
    data = struct.pack(">i", 16) + zlib.compress(head + grey().tobytes())
    (row,) = rows_of(write(tmp_path, pair(A) | {f"test_nuclei/raw/{A}.C01": data}), "raw")
    assert decoded(row["image16"]).dtype == np.uint8
    assert (decoded(row["image16"]) == grey()).all()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, rf"no {A}\.C01, which config 'raw' needs: use config 'official'"),
        ({f"test_nuclei/c/{A}.C01": b"II*\0"}, rf"{A}\.C01: not a C01 file"),
        ({f"test_nuclei/c/{A}.C01": specimen().c01(np.zeros((8, 9), np.uint16))}, rf"{A}\.C01: uint16 8 × 9, but its"),
        ({f"training_nuclei/c/{A}.C01": b""}, rf"{A}\.C01 is of train, and its image .* of test"),
        ({f"test_nuclei/c/{A}.C01": b"", f"test_nuclei/d/{A}.C01": b""}, "have one name"),
        ({"test_nuclei/c/plate.C01": b""}, r"plate\.C01: not named as"),
    ],
)
def test_an_original_that_is_not_understood_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    folder = write(tmp_path, pair(A) | files)
    with pytest.raises(LensbenchError, match=message):
        rows_of(folder, "raw")
