"""The synthetic Raw-Drone: the publisher's folders and irregularities, and reproducible pixels."""

from __future__ import annotations

import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.raw_drone_files import FOLDER, entry, small, specimen

ARCHIVE = FOLDER / "specimen" / "raw_drone_specimen.zip"


def decoded(data: bytes) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image)


class Kept:
    """The archive in the registry, read with nothing but zipfile and OpenCV."""

    def __init__(self) -> None:
        self.zip = zipfile.ZipFile(ARCHIVE)
        self.names = self.zip.namelist()

    def image(self, name: str) -> NDArray[Any]:
        return decoded(self.zip.read(name))

    def dng(self, name: str) -> NDArray[np.uint16]:
        """The mosaic lies behind the header, as `specimen.dng` puts it."""
        return np.frombuffer(self.zip.read(name), "<u2", 136 * 172, 8).reshape(136, 172)

    def under(self, folder: str) -> list[str]:
        return [name for name in self.names if name.startswith(f"drone/{folder}/")]


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


def test_the_script_makes_the_kept_archive_again_pixel_for_pixel(kept: Kept, tmp_path: Path) -> None:
    (path,) = specimen.make(tmp_path)
    with zipfile.ZipFile(path) as again:
        assert again.namelist() == kept.names
        for name in kept.names:
            if name.endswith(".png"):  # OpenCV's encoder is not ours
                assert np.array_equal(decoded(again.read(name)), kept.image(name)), name
            else:
                assert again.read(name) == kept.zip.read(name), name


def test_it_is_small_and_all_three_configs_pin_it() -> None:
    assert ARCHIVE.stat().st_size <= 2_000_000
    for name in entry().specimens:
        (file,) = entry().config(name).files
        assert (file.name, file.size) == (ARCHIVE.name, ARCHIVE.stat().st_size)
    assert [path.name for path in ARCHIVE.parent.iterdir()] == [ARCHIVE.name]


def test_folders_and_names_are_the_publishers(kept: Kept) -> None:
    scales = ("001", "005", "010", "025", "050", "075", "100")
    for scale in scales:
        frames, tiles = kept.under(f"images_full/raw_scale{scale}"), kept.under(f"images_tiles_32/raw_scale{scale}")
        assert len(frames) == 12
        assert len(tiles) == specimen.DEFAULT_SIZE
        assert {Path(name).suffix for name in frames} == {".DNG" if scale == "100" else ".tif"}
        assert {Path(name).stem for name in tiles} == {Path(name).stem for name in kept.under("masks_tiles_32")}
    frames = [Path(name).stem for name in kept.under("images_full/raw_scale100")]
    assert frames != sorted(frames)  # no order of the archive's is the publisher's
    assert sorted(frames)[:2] == ["DJI_10", "DJI_11"]
    per_frame = Counter(Path(name).stem[:2] for name in kept.under("masks_tiles_32"))
    for frame, count in per_frame.items():
        assert {f"{frame}_{k:05d}" for k in range(count)} <= {Path(n).stem for n in kept.under("masks_tiles_32")}
    assert kept.under("images_tiles_32/processed_views")
    assert "drone/masks_full/.bzEmpty" in kept.names


def test_frames_are_dng_with_and_without_a_preview(kept: Kept) -> None:
    first_pages: Counter[tuple[int, bool]] = Counter()
    for name in kept.under("images_full/raw_scale100"):
        data = kept.zip.read(name)
        (at,) = struct.unpack_from("<I", data, 4)
        entries = [
            struct.unpack_from("<HHII", data, at + 2 + 12 * k) for k in range(struct.unpack_from("<H", data, at)[0])
        ]
        tags = {tag: value for tag, _, _, value in entries}
        assert tags.keys() >= {50706, 262}
        assert [tag for tag, *_ in entries] == sorted(tags)
        first_pages[tags[262] & 0xFFFF, 330 in tags] += 1
    assert first_pages == {(32803, False): 6, (1, True): 6}


def test_full_intensity_counts_in_steps_of_sixteen_from_edge_to_edge(kept: Kept) -> None:
    for name in kept.under("images_full/raw_scale100"):
        frame = kept.dng(name)
        assert not (frame % 16).any()
        assert (frame.min(), frame.max()) == (0, 65520)
        assert frame.shape[0] % 32 == 32 // 4
        assert frame.shape[1] % 32 == 3 * 32 // 8  # as 3648 × 5472 are to 256


def test_tiles_are_float32_and_uint16_and_no_intensity_is_another_one_rescaled(kept: Kept) -> None:
    kinds = Counter(kept.image(name).dtype.name for name in kept.under("images_tiles_32/raw_scale100"))
    assert kinds.keys() == {"float32", "uint16"}
    name = Path(kept.under("images_full/raw_scale100")[0]).stem
    full = kept.dng(f"drone/images_full/raw_scale100/{name}.DNG").astype(int) - 4096
    for scale in (1, 50):
        light = kept.image(f"drone/images_full/raw_scale{scale:03d}/{name}.tif").astype(int) - 4096
        assert 0.8 < np.median(light) / max(1, np.median(full) * scale / 100) < 1.3
        assert len(np.unique(light[full == np.median(full)])) > 1  # one value there, several here


def test_masks_are_of_every_kind(kept: Kept) -> None:
    values = {int(v) for name in kept.under("masks_full") if name.endswith(".png") for v in np.unique(kept.image(name))}
    assert {0, 1, 255} < values
    assert len(values) > 100
    header = [kept.zip.read(name)[24] for name in kept.under("masks_tiles_32")]
    assert set(header) == {1, 8}  # bits
    covered = {Path(name).stem: int((kept.image(name) > 0).sum()) for name in kept.under("masks_tiles_32")}
    assert min(covered.values()) == 1
    assert {10, 11} <= set(covered.values())  # at most one per cent of 1,024 pixels, and more


def test_cars_lie_across_the_borders_of_tiles(kept: Kept) -> None:
    crossing = Counter[str]()
    for name in kept.under("masks_full"):
        if name.endswith(".png"):
            mask = kept.image(name) > 0
            crossing["rows"] += int((mask[31:-9:32] & mask[32:-8:32]).any())
            crossing["columns"] += int((mask[:, 31:-13:32] & mask[:, 32:-12:32]).any())
    assert min(crossing.values()) > 3


@pytest.mark.parametrize("size", [48, 61, 300])
def test_size_is_the_number_of_tiles_with_a_mask(tmp_path: Path, size: int) -> None:
    with zipfile.ZipFile(small(tmp_path, size=size, scales=(100,), full=(100,))) as made:
        names = made.namelist()
    assert sum("images_tiles_32/raw_scale100/" in name for name in names) == size
    assert len({Path(name).stem[:2] for name in names if "images_tiles_32/raw_scale100/" in name}) == 12


def test_seeds_differ_and_one_seed_does_not(tmp_path: Path) -> None:
    bytes_of = [small(tmp_path / str(k), seed=seed).read_bytes() for k, seed in enumerate((5, 5, 6))]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 12}, "cannot hold"),
        ({"size": 156, "grid": (2, 4)}, "cannot hold"),
        ({"layout": "2.0.0"}, "layout"),
        ({"dtype": "float64"}, "float64"),
        ({"classification": "2 = car"}, "classification"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        small(tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()
