"""Raw-Drone: places found again, tiles held against their frames, sets that are there and sets that are cut."""

from __future__ import annotations

import io
import random
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.data import crops
from lensbench.data.loader import load_builder
from lensbench.errors import LensbenchError
from lensbench.images.content import pixels_sha256, sample_sha256
from lensbench.images.decode import decode, dng
from tests.raw_drone_files import FOLDER, SMALL, archive, changed, folder, index, read, small, specimen

Rows = dict[str, list[Any]]
GRID = (2, 4)
KEPT = 0
"""Of three, what is left when the first two of the shuffle with seed 72 are gone."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the publisher's own car / no car set."""
    return small(tmp_path_factory.mktemp("published"), classification="0 = car")


def frames() -> list[Any]:
    """What the script drew, frame by frame: the truth that no file's name or order tells."""
    targets = specimen._targets(SMALL["size"])
    return [specimen.scene(SMALL["seed"], n, targets[n], GRID, 32) for n in range(12)]


def png(image: dict[str, Any]) -> NDArray[Any]:
    return decode(image["bytes"], "stored")


def window(row: int, column: int) -> tuple[slice, slice]:
    return slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32)


# -- what is read --------------------------------------------------------------------------------------------


def test_a_tile_is_its_window_of_the_frame_at_every_intensity(made: Path) -> None:
    rows = read(archive(made), "segmentation")
    drawn = frames()
    assert len(rows["id"]) == SMALL["size"]
    for k, key in enumerate(rows["id"]):
        frame, at = drawn[int(key[:2])], window(rows["tile_row"][k], rows["tile_col"][k])
        assert rows["frame"][k] == int(key[:2])
        assert rows["group"][k] == key[:2]
        assert rows["frame_shape"][k] == [72, 140]
        for part, scale in (("image", 100), ("image_001", 1)):
            stored = png(rows[part][k])
            assert stored.dtype == np.uint16
            assert np.array_equal(stored, frame.mosaic(scale)[at])
        assert np.array_equal(png(rows["mask"][k]), frame.mask[at])
        assert set(np.unique(png(rows["mask"][k]))) <= {0, 1}
        assert rows["image_050"][k] is None  # this source has two intensities


def test_tiles_are_numbered_in_raster_order_among_those_kept(made: Path) -> None:
    rows = read(archive(made), "segmentation")
    for number, frame in enumerate(frames()):
        kept = [divmod(k, 4) for k, tile in enumerate(specimen.tiles(frame.mask, 32)) if tile.any()]
        here = [k for k, f in enumerate(rows["frame"]) if f == number]
        assert [rows["id"][k] for k in here] == [f"{number:02d}_{i:05d}" for i in range(len(kept))]
        assert [(rows["tile_row"][k], rows["tile_col"][k]) for k in here] == kept


def test_frames_are_read_whole(made: Path) -> None:
    rows = read(archive(made), "full_frame", rows=slice(0, 3))
    assert rows["id"] == rows["group"] == ["00", "01", "02"]
    for k, frame in enumerate(frames()[:3]):
        assert np.array_equal(png(rows["image"][k]), frame.mosaic(100))
        assert np.array_equal(png(rows["image_001"][k]), frame.mosaic(1))
        assert np.array_equal(png(rows["mask"][k]), frame.mask)


def test_the_hash_is_over_the_images_that_are_there(made: Path) -> None:
    rows = read(archive(made), "segmentation", rows=slice(0, 5))
    for k, digest in enumerate(rows["sha256"]):
        parts = {part: rows[part][k] for part in ("image", "image_001", "mask")}
        assert digest == sample_sha256({part: pixels_sha256(png(image)) for part, image in parts.items()})


def test_constants_are_columns_and_the_same_everywhere(made: Path) -> None:
    rows = read(archive(made), "segmentation", rows=slice(0, 3))
    assert rows["gain"] == [8.448] * 3
    assert rows["cfa"] == ["RGGB"] * 3
    assert [round(65535 * level) for level in rows["black_level"][0]] == [4096, 4102, 4096, 4102]
    assert rows["white_balance"][2] == [2.86653646, 1.0, 1.73079425]
    assert len(rows["ccm"][1]) == 9
    assert rows["ccm"][1][4] == 1.70698738


@pytest.mark.parametrize("dtype", ["float32", "uint16", "mixed"])
def test_float32_and_uint16_tiles_are_the_same_data(made: Path, tmp_path: Path, dtype: str) -> None:
    other = small(tmp_path, dtype=dtype)
    assert read(archive(other), "segmentation")["sha256"] == read(archive(made), "segmentation")["sha256"]


@pytest.mark.parametrize("family", ["segmentation", "classification", "full_frame"])
def test_an_unpacked_copy_is_the_same_data(made: Path, tmp_path: Path, family: str) -> None:
    packed, unpacked = read(archive(made), family), read(folder(made, tmp_path / "drone-copy"), family)
    for name in packed.keys() - {"own", "whole"}:
        assert packed[name] == unpacked[name], name


def test_archives_cut_by_folder_are_read_too(made: Path, tmp_path: Path) -> None:
    """Nobody has said how the record's archives are cut: a folder may be an archive's name."""
    with zipfile.ZipFile(made) as whole, zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        inner: dict[str, io.BytesIO] = {}
        for name in whole.namelist():
            top, _, rest = name.removeprefix("drone/").partition("/")
            with zipfile.ZipFile(inner.setdefault(top, io.BytesIO()), "a") as part:
                part.writestr(rest, whole.read(name))
        for top, data in inner.items():
            outer.writestr(f"{top}.zip", data.getvalue())
    found = read(archive(tmp_path / "outer.zip"), "segmentation")
    assert found["sha256"] == read(archive(made), "segmentation")["sha256"]


# -- the car / no car set -------------------------------------------------------------------------------------


def test_the_set_that_is_cut_is_the_published_one(made: Path, published: Path) -> None:
    cut, there = (read(archive(path), "classification") for path in (made, published))
    assert cut["id"] == there["id"]
    for name in ("label", "tile_row", "tile_col", "sha256", "group"):
        assert cut[name] == there[name], name
    counts = Counter(zip(cut["group"], cut["label"], strict=True))
    assert all(counts[group, "car"] == counts[group, "no car"] > 0 for group in cut["group"])
    assert index(archive(made), "classification").report["columns"]["image"] == "from frames"
    report = index(archive(published), "classification").report
    assert report["columns"]["image"] == "compared"
    assert report["table"] == "0 = car, 1 = no car"


def test_the_draw_is_the_publishers(made: Path) -> None:
    """His procedure, spelt out: the generator is seeded for each frame, and the larger class loses its first few."""
    rows = index(archive(made), "classification").rows.to_pylist()
    for number, frame in enumerate(frames()):
        means = [tile.mean() for tile in specimen.tiles(frame.mask, 32)]
        cars, empty = [k for k, m in enumerate(means) if m > 0.01], [k for k, m in enumerate(means) if m == 0]
        shuffled = list(empty if len(cars) <= len(empty) else cars)
        random.seed(72)
        random.shuffle(shuffled)
        gone = shuffled[: abs(len(cars) - len(empty))]
        want = [(k, "car") for k in cars if k not in gone] + [(k, "no car") for k in empty if k not in gone]
        here = [row for row in rows if row["frame"] == number]
        assert [(4 * row["tile_row"] + row["tile_col"], row["label"]) for row in here] == want
        assert [row["id"] for row in here] == [f"{number:02d}_{k:05d}" for k in range(len(want))]


@pytest.mark.parametrize(
    ("covered", "kept"),  # of 32 × 32 pixels, 11 are more than one per cent and 10 are not
    [
        ([10, 11, 1, 0], [(1, "car"), (3, "no car")]),
        ([0, 0, 0, 11], [(3, "car"), (KEPT, "no car")]),
        ([11, 12, 1024, 0], [(KEPT, "car"), (3, "no car")]),
        ([1024, 500, 12, 10], []),
        ([0, 0, 0, 1], []),
    ],
)
def test_one_per_cent_or_less_is_neither_and_classes_are_equal(covered: list[int], kept: list[tuple[int, str]]) -> None:
    module = sys.modules[load_builder(FOLDER).__module__]
    assert module._kept("classification", np.array(covered), 32) == kept


def test_an_older_table_is_read_by_what_the_masks_show(published: Path, tmp_path: Path) -> None:
    older = small(tmp_path, classification="1 = car")
    found = index(archive(older), "classification")
    assert found.report["table"] == "0 = no car, 1 = car"
    assert found.rows["label"].to_pylist() == index(archive(published), "classification").rows["label"].to_pylist()


def table_with(edit: Callable[[str], str]) -> Callable[[str, bytes], bytes]:
    return lambda name, data: edit(data.decode()).encode() if name.endswith(".csv") else data


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("02_00000,0", "02_00000,1"), ["02_00000", "labels", "car"]),
        (lambda text: text.replace("02_00000,0", "02_00000,2"), ["02_00000", "'2'"]),
        (lambda text: text.replace("02_00000,0", "02_00077,0"), ["lists other tiles"]),
        (lambda text: text + "9,00_00000,0\n", ["lists other tiles", "00_00000"]),
        (lambda text: text.replace("file name", "name"), ["not a table"]),
        (lambda text: "\x00\x01", ["not a table"]),
        (lambda text: text + "9\n", ["lists other tiles"]),
        (lambda text: text + '"9', ["not a table"]),
    ],
)
def test_a_table_that_contradicts_the_masks_is_refused(
    published: Path, edit: Callable[[str], str], words: list[str]
) -> None:
    source = archive(changed(published, table_with(edit)))
    with pytest.raises(LensbenchError) as error:
        index(source, "classification")
    assert all(word in str(error.value) for word in [*words, ".csv"]), error.value
    assert "\n" not in str(error.value)


# -- tiles that are not their window --------------------------------------------------------------------------


def moved(data: bytes) -> bytes:
    """The same TIFF with its pixels one to the right."""
    (at,) = struct.unpack_from("<I", data, 4)
    size = 2 if at - 8 == 2 * 32 * 32 else 4
    pixels = np.frombuffer(data[8:at], f"<u{size}").reshape(32, 32)
    return data[:8] + np.roll(pixels, 1, axis=1).tobytes() + data[at:]


def flipped(data: bytes) -> bytes:
    """A mask with its first pixel the other way."""
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    mask[0, 0] = 0 if mask[0, 0] else 255
    return bytes(cv2.imencode(".png", mask)[1])


def one(name: str, edit: Callable[[bytes], bytes | None]) -> Callable[[str, bytes], bytes | None]:
    return lambda member, data: edit(data) if member == f"drone/{name}" else data


@pytest.mark.parametrize("scale", ["100", "001"])
@pytest.mark.parametrize("frame", ["02", "03"])  # uint16 and float32
def test_a_tile_that_is_moved_by_a_pixel_is_named(made: Path, scale: str, frame: str) -> None:
    name = f"images_tiles_32/raw_scale{scale}/{frame}_00001.tif"
    source = archive(changed(made, one(name, moved)))
    with pytest.raises(LensbenchError, match=rf"{name} is not what .*images_full.* shows in tile row \d, column \d"):
        read(source, "segmentation")


def test_two_tiles_that_were_exchanged_are_named(made: Path) -> None:
    first, second = (f"drone/images_tiles_32/raw_scale001/04_{k:05d}.tif" for k in (0, 1))
    with zipfile.ZipFile(made) as old:
        other = {first: old.read(second), second: old.read(first)}
    source = archive(changed(made, other.get))
    with pytest.raises(LensbenchError, match="04_00000"):
        read(source, "segmentation")


def test_a_tile_of_the_published_set_is_held_against_its_frame_as_well(published: Path) -> None:
    name = "classification/images_tiles_32/raw_scale100_thr_0.01/05_00000.tif"
    with pytest.raises(LensbenchError, match=r"05_00000\.tif is not what .*DJI_15"):
        read(archive(changed(published, one(name, moved))), "classification")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("segmentation", "masks_tiles_32/03_00001.png"),
        ("classification", "classification/masks_tiles_32_thr_0.01/03_00000.png"),
    ],
)
def test_a_mask_with_one_pixel_changed_is_named(published: Path, family: str, name: str) -> None:
    with pytest.raises(LensbenchError, match=rf"{name} is not what .*_mask\.png shows"):
        index(archive(changed(published, one(name, flipped))), family)


def test_a_value_between_the_steps_of_sixteen_is_refused(made: Path, tmp_path: Path) -> None:
    def developed(name: str, data: bytes) -> bytes:
        inside = "raw_scale100/00_00000.tif" in name or ("raw_scale100/DJI_10" in name and name.endswith("DNG"))
        return data[:8] + b"\x01" + data[9:] if inside else data

    source = archive(changed(made, developed))
    with pytest.raises(LensbenchError, match="no multiple of 16"):
        read(source, "full_frame")


def test_a_tile_of_another_size_is_refused(made: Path) -> None:
    name = "images_tiles_32/raw_scale001/00_00000.tif"
    source = archive(changed(made, one(name, lambda data: specimen.tiff(np.zeros((30, 32), np.uint16)))))
    with pytest.raises(LensbenchError, match=r"30 × 32 pixels, a tile has 32"):
        read(source, "segmentation")


def test_a_frame_of_another_size_is_refused(made: Path) -> None:
    name = "images_full/raw_scale001/DJI_11.tif"
    source = archive(changed(made, one(name, lambda data: specimen.tiff(np.zeros((70, 140), np.uint16)))))
    with pytest.raises(LensbenchError, match=r"DJI_11\.tif: 70 × 140 pixels, and the frame's mask has 72 × 140"):
        read(source, "segmentation")


def test_a_mask_of_several_channels_is_refused(made: Path) -> None:
    name = "masks_full/DJI_12_mask.png"
    colour = bytes(cv2.imencode(".png", np.zeros((72, 140, 3), np.uint8))[1])
    with pytest.raises(LensbenchError, match=r"DJI_12_mask\.png: a mask has one channel"):
        index(archive(changed(made, one(name, lambda data: colour))), "segmentation")


def test_float_tiles_hold_whole_numbers_or_are_refused(made: Path) -> None:
    name = "images_tiles_32/raw_scale100/03_00000.tif"
    half = specimen.tiff(np.full((32, 32), 4096.5, np.float32))
    with pytest.raises(LensbenchError, match=r"03_00000\.tif: holds 4096\.5"):
        read(archive(changed(made, one(name, lambda data: half))), "segmentation")


# -- sources that lack something ------------------------------------------------------------------------------


def without(*parts: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, data: None if any(part in name for part in parts) else data


def test_tiles_without_frames_have_no_place_and_the_same_hash(made: Path) -> None:
    source = archive(changed(made, without("_full/")))
    alone, whole = read(source, "segmentation"), read(archive(made), "segmentation")
    assert alone["sha256"] == whole["sha256"]
    assert set(alone["tile_row"]) == set(alone["tile_col"]) == {None}
    assert alone["frame_shape"] == [None] * len(alone["id"])
    assert alone["group"] == whole["group"]
    assert index(source, "segmentation").report["columns"]["image"] == "not compared"
    assert index(archive(made), "segmentation").report["columns"]["mask"] == "compared"


def test_the_published_set_without_frames_has_the_labels_of_its_masks(published: Path) -> None:
    alone = index(archive(changed(published, without("_full/"))), "classification").rows
    assert alone["label"].to_pylist() == index(archive(published), "classification").rows["label"].to_pylist()
    assert alone["tile_row"].null_count == alone.num_rows


def test_frames_without_tiles_give_the_same_tiles(made: Path) -> None:
    options = without("images_tiles_32/raw_scale")  # the masks' folder says how large tiles are
    cut = read(archive(changed(made, options)), "segmentation")
    assert cut["sha256"] == read(archive(made), "segmentation")["sha256"]


def test_an_intensity_that_is_not_there_is_null_and_cut_where_the_frames_have_it(made: Path) -> None:
    no_tiles = archive(changed(made, without("images_tiles_32/raw_scale001")))
    assert read(no_tiles, "segmentation")["sha256"] == read(archive(made), "segmentation")["sha256"]
    assert index(no_tiles, "segmentation").report["columns"]["image_001"] == "from frames"
    neither = archive(changed(made, without("raw_scale001")))
    assert set(read(neither, "segmentation")["image_001"]) == {None}
    assert set(read(neither, "full_frame")["image_001"]) == {None}
    assert index(neither, "full_frame").report["columns"]["image_001"] == "absent"


@pytest.mark.parametrize(
    ("family", "gone", "words"),
    [
        ("full_frame", "images_full/raw_scale100", "no full frames: images_full/raw_scale100"),
        ("full_frame", "masks_full", "no full frames: masks_full"),
        ("classification", "_full/", "neither classification/images_tiles_32 nor the full frames"),
        ("segmentation", "raw_scale100", "neither images_tiles_32 nor the full frames"),
        ("segmentation", "raw_scale100/DJI_9", "raw_scale100 of the full frames holds 11 files, not 12"),
        ("full_frame", "masks_full/DJI_9", "masks_full of the full frames holds 11 files, not 12"),
        ("segmentation", "raw_scale100/07_00001", "tile 07_00001 .* has a mask and no image; 1 such"),
        ("segmentation", "raw_scale001/07_00001", "tile 07_00001 .* has a mask and no image_001; 1 such"),
        ("segmentation", "masks_tiles_32/07_00001", "tile 07_00001 .* has a mask and no mask; 1 such"),
    ],
)
def test_a_source_that_lacks_something_is_refused(made: Path, family: str, gone: str, words: str) -> None:
    with pytest.raises(LensbenchError, match=words):
        index(archive(changed(made, without(gone))), family)


def test_a_partial_source_goes_without_the_tiles_it_lacks(made: Path) -> None:
    source = archive(changed(made, without("raw_scale100/07_00001", "raw_scale001/07_00000")))
    rows, whole = read(source, "segmentation", partial=True), read(archive(made), "segmentation")
    assert set(whole["id"]) - set(rows["id"]) == {"07_00001"}
    there = [whole["id"].index(key) for key in rows["id"]]
    assert rows["sha256"] == [whole["sha256"][k] for k in there]
    assert rows["tile_col"] == [whole["tile_col"][k] for k in there]


def test_a_partial_car_set_goes_by_the_lines_of_its_table(published: Path) -> None:
    source = archive(changed(published, without("_thr_0.01/07_00001")))
    ids = index(source, "classification", partial=True).rows["id"].to_pylist()
    whole = index(archive(published), "classification").rows["id"].to_pylist()
    assert [key for key in whole if key != "07_00001"] == ids


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ({"drone/images_tiles_32/raw_scale001/07_00044.tif": b"x"}, "07_00044 .* no mask tells of it"),
        ({"again/images_tiles_32/raw_scale001/07_00000.tif": b"x"}, "are one image: keep one"),
        ({"drone/images_tiles_64/raw_scale001/07_00000.tif": b"x"}, r"tiles of one size, this one of \[32, 64\]"),
        ({"drone/images_full/raw_scale100/DJI_99.DNG": b"x"}, "holds 13 files, not 12"),
    ],
)
def test_a_source_that_holds_too_much_is_refused(made: Path, further: dict[str, bytes], words: str) -> None:
    with pytest.raises(LensbenchError, match=words):
        index(archive(changed(made, lambda name, data: data, further)), "segmentation")


def test_other_files_are_passed_over_and_odd_names_are_counted(made: Path) -> None:
    further = {
        "microscopy/images/raw_scale100/Ma190c_lame1_zone1_composite_Mcropped_1.tiff": b"x",
        "drone/images_tiles_32/processed_views/bi_s_me/00_00000.tif": b"x",
        "drone/images_tiles_32/raw_scale100/._00_00000.tif": b"x",
        "drone/images_tiles_32/raw_scale100/readme.txt": b"x",
        "drone/images_tiles_32/raw_scale100/preview.tif": b"x",
        "drone/images_tiles_32/raw_scale033/00_00000.tif": b"x",
    }
    found = index(archive(changed(made, lambda name, data: data, further)), "segmentation")
    assert found.rows.num_rows == SMALL["size"]
    assert found.strays == 2


def test_frames_go_by_sorted_name_and_a_mask_of_another_frame_is_named(made: Path, tmp_path: Path) -> None:
    shifted = tmp_path / "shifted.zip"
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(shifted, "w") as new:
        for name in old.namelist():  # the mask of the eleventh frame now sorts first
            new.writestr(name.replace("DJI_8_mask", "DJI_08_mask"), old.read(name))
    with pytest.raises(LensbenchError, match=r"DJI_10\.DNG is frame 00, and so is the mask .*DJI_08_mask"):
        index(archive(shifted), "segmentation")


def test_a_frame_without_a_tile_is_said_because_the_splits_deal_frames(made: Path) -> None:
    def emptied(name: str, data: bytes) -> bytes | None:
        if "masks_full/DJI_5_" in name:
            return bytes(cv2.imencode(".png", np.zeros((72, 140), np.uint8))[1])
        return None if "/07_" in name else data

    with pytest.raises(LensbenchError, match="no tile is of frame 07"):
        index(archive(changed(made, emptied)), "segmentation")


def test_without_rawpy_tiles_load_and_the_report_says_what_was_not_compared(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = read(archive(made), "segmentation")["sha256"]
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr(crops, "find_spec", lambda name: None)
    assert read(archive(made), "segmentation")["sha256"] == want
    report = index(archive(made), "segmentation").report["columns"]
    assert (report["image"], report["image_001"]) == ("not compared", "compared")
    for family in ("classification", "full_frame"):
        with pytest.raises(LensbenchError, match=r"lensbench\[formats\]"):
            read(archive(made), family)


def test_a_frame_is_decoded_once_for_each_part(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, real = Counter[str](), dng

    def counted(data: bytes, where: str) -> NDArray[np.uint16]:
        decoded[where] += 1
        pixels: NDArray[np.uint16] = real(data, where)
        return pixels

    monkeypatch.setattr(crops, "dng", counted)
    read(archive(made), "segmentation")
    assert len(decoded) == 12
    assert set(decoded.values()) == {1}
