"""`bench isp`: files in, pictures out, and a word for what cannot be developed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from lensbench.cli import bench
from lensbench.errors import ArchiveError, FrameError, ViewError
from lensbench.images.decode import decode, encode_png
from lensbench.images.write_tiff import dng
from lensbench.isp import Camera, View, develop, get_camera
from lensbench.isp.after import eight_bits
from lensbench.isp.frame import read_frame
from lensbench.isp.inverse import PLAIN, simulate
from lensbench.isp.tiers import get_tier, tier_names
from tests.test_isp import frame


def run(*args: object) -> str:
    result = CliRunner().invoke(bench, ["isp", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(path: Path, pixels: NDArray[Any]) -> Path:
    if path.suffix == ".png" and pixels.ndim == 2:
        path.write_bytes(encode_png(pixels))
    else:
        assert cv2.imwrite(str(path), pixels)
    return path


def pixels_of(path: Path) -> NDArray[Any]:
    return decode(path.read_bytes(), path.name)


# -- bench isp render ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_mosaic_is_rendered_in_the_view_that_is_named(suffix: str, tmp_path: Path) -> None:
    raw = frame(40, 60)
    source, out = written(tmp_path / f"raw{suffix}", raw), tmp_path / "out.png"
    printed = run("render", source, "--view", "me-u-ga", "--camera", "raw_drone", "-o", out)
    view = get_tier("corrected-12").view("me-u-ga")
    assert view.digest in printed and "1 view of 60×40 pixels, RGGB" in printed
    np.testing.assert_array_equal(pixels_of(out), eight_bits(develop(raw, get_camera("raw_drone"), view)))
    run("render", source, "--view", "me-u-ga", "--tier", "paper-12", "--cfa", "BGGR", "-o", out)
    paper = get_tier("paper-12").view("me-u-ga")
    np.testing.assert_array_equal(pixels_of(out), eight_bits(develop(raw, Camera("BGGR"), paper)))


def test_float_tiff_and_fewer_bits_are_the_same_picture(tmp_path: Path) -> None:
    raw = frame(16, 16, top=4095)
    out = tmp_path / "out.png"
    written(tmp_path / "float.tiff", raw.astype(np.float32))
    run("render", tmp_path / "float.tiff", "--white", 4095, "--view", "bi-s-ga", "-o", out)
    expected = develop(raw, get_camera("plain").rescaled(4095), View())
    np.testing.assert_array_equal(pixels_of(out), eight_bits(expected))
    assert pixels_of(out).max() > 200


def test_a_view_may_come_from_a_file(tmp_path: Path) -> None:
    source, out = written(tmp_path / "raw.png", frame(8, 8)), tmp_path / "out.png"
    view = View(exposure=1.5, hue=10.0)
    for content in (view.spec, {"view": view.spec, "score": 0.1}):
        (tmp_path / "found.json").write_text(json.dumps(content))
        assert view.digest in run("render", source, "--view", tmp_path / "found.json", "-o", out)


@pytest.mark.needs("realdata")
def test_the_contact_sheet_of_a_real_frame(realdata: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    printed = run("render", realdata / "raw" / "colorchart.dng", "--grid", "--tier", "paper-12", "-o", out)
    assert "12 views of 1734×1156 pixels, RGGB" in printed
    sheet = pixels_of(out).astype(int)
    assert sheet.shape[1] == 4 * 428 + 8
    red = sheet[30:310, 8:428][192:202, 217:227]  # a patch of the chart
    assert sheet.std() > 30 and (red[..., 0] > red[..., 2]).mean() > 0.9
    found = read_frame(realdata / "raw" / "colorchart.dng")
    assert found.camera.black == (2056,) * 4 and found.camera.white == 15000 and found.camera.span == 12944
    assert found.camera.gains[1] == 1 and np.allclose(np.reshape(found.camera.matrix, (3, 3)).sum(axis=1), 1)


@pytest.mark.parametrize("preview", [False, True])
def test_a_dng_brings_its_camera(preview: bool, tmp_path: Path) -> None:
    raw = (frame(32, 48, top=4095) << 4).astype(np.uint16)
    data, path = dng(raw, "DJI L1D-20c", 4096, 65520, preview), tmp_path / "a.DNG"
    for cell, cfa in (((0, 1, 1, 2), "RGGB"), ((1, 0, 2, 1), "GRBG"), ((1, 2, 0, 1), "GBRG"), ((2, 1, 1, 0), "BGGR")):
        path.write_bytes(data.replace(bytes((0, 1, 1, 2)), bytes(cell)))
        found = read_frame(path)
        np.testing.assert_array_equal(found.raw, raw)
        assert (found.camera.cfa, found.camera.black, found.camera.white) == (cfa, (4096,) * 4, 65520)
    for cell in ((0, 1, 2, 1), (0, 0, 1, 2)):
        path.write_bytes(data.replace(bytes((0, 1, 1, 2)), bytes(cell)))
        with pytest.raises(FrameError, match=r"a.DNG: its filter is not one of RGGB, GRBG, GBRG, BGGR, repeated"):
            read_frame(path)


@pytest.mark.needs("realdata")
def test_a_png_of_equal_channels_is_a_mosaic(realdata: Path) -> None:
    found = read_frame(realdata / "raw" / "micro.png", get_camera("raw_microscopy"))
    assert found.raw.shape == (256, 256) and found.camera.span == 255
    assert found.camera.black[0] == pytest.approx(0.6445 / 257, rel=1e-3)


def test_a_small_frame_on_the_sheet_is_shown_as_it_is(tmp_path: Path) -> None:
    raw, out = frame(20, 30), tmp_path / "sheet.png"
    source = written(tmp_path / "raw.png", raw)
    run("render", source, "--grid", "--tier", "corruptions-50", "-o", out)
    sheet, view = pixels_of(out), get_tier("corruptions-50").views[0]
    assert sheet.shape == (10 * (20 + 30) + 8, 5 * 38 + 8, 3)
    picture = eight_bits(develop(raw, Camera(), view, sample="raw.png"))
    np.testing.assert_array_equal(sheet[30:50, 8:38], picture)


@pytest.mark.parametrize(
    ("name", "pixels", "words"),
    [
        ("odd.png", np.zeros((5, 6), np.uint16), r"odd.png is 5×6 pixels: a mosaic has whole cells of 2×2"),
        ("nan.tiff", np.full((4, 4), np.nan, np.float32), "nan.tiff holds nan"),
        ("scaled.tiff", np.full((4, 4), 0.25, np.float32), r"scaled.tiff holds 0.25: .* not scaled values"),
        ("rgb.png", np.arange(48, dtype=np.uint8).reshape(4, 4, 3), r"rgb.png has 3 channels .* demosaiced already"),
        ("rgb.tiff", np.arange(48, dtype=np.uint16).reshape(4, 4, 3), "demosaiced already"),
        ("photo.jpg", np.zeros((4, 4, 3), np.uint8), r"photo.jpg is a JPEG: it is demosaiced already"),
    ],
)
def test_what_is_no_mosaic_is_one_line(name: str, pixels: NDArray[Any], words: str, tmp_path: Path) -> None:
    source = written(tmp_path / name, pixels)
    with pytest.raises(FrameError, match=words):
        run("render", source, "--view", "bi-s-ga", "-o", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (["--view", "bi-s-gu"], ViewError, "tier corrected-12 has no view 'bi-s-gu'; did you mean 'bi-s-ga'"),
        (["--view", "x.json"], ViewError, "x.json: cannot be read as JSON"),
        (["--view", "bi-s-ga", "--tier", "paper"], ViewError, "no tier 'paper'; did you mean 'paper-12'"),
        (["--view", "bi-s-ga", "--cfa", "XTRANS"], FrameError, "the filter order is one of RGGB, .*, not 'XTRANS'"),
        (["--view", "bi-s-ga", "--camera", "nikon"], FrameError, "no camera 'nikon'"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], error: type[Exception], words: str, tmp_path: Path) -> None:
    source = written(tmp_path / "raw.png", frame(8, 8))
    with pytest.raises(error, match=words):
        run("render", source, *options, "-o", tmp_path / "out.png")


def test_view_or_grid_and_a_png(tmp_path: Path) -> None:
    source = written(tmp_path / "raw.png", frame(8, 8))
    for options in (["-o", "a.png"], ["--grid", "--view", "bi-s-ga", "-o", "a.png"], ["--grid", "-o", "a.jpg"]):
        result = CliRunner().invoke(bench, ["isp", "render", str(source), *options])
        assert result.exit_code == 2 and "give --view NAME or --grid" in result.output


def test_a_simulated_frame_has_no_white_of_its_own(tmp_path: Path) -> None:
    jpeg = written(tmp_path / "photo.jpg", colourful()[..., ::-1])
    options = ["--simulate", "--white", "4095", "--view", "bi-s-ga", "-o", str(tmp_path / "a.png")]
    result = CliRunner().invoke(bench, ["isp", "render", str(jpeg), *options])
    assert result.exit_code == 2 and "a simulated one has its camera's own" in result.output


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    whole = encode_png(frame(8, 8))
    for name, data in (("cut.png", whole[:-20]), ("no.dng", b"II*\0" + b"\xff" * 40), ("text.png", b"hello")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ArchiveError, match=name):
            run("render", tmp_path / name, "--view", "bi-s-ga", "-o", tmp_path / "out.png")


# -- bench isp views -----------------------------------------------------------------------------------------


def test_views_are_listed() -> None:
    tiers = run("views")
    for name in tier_names():
        assert name in tiers and get_tier(name).digest[:16] in tiers
    lines = run("views", "--tier", "corrected-12").splitlines()
    assert len(lines) == 12 and "the reference" in lines[1] and lines[1].startswith("bi-s-ga")
    data = json.loads(run("views", "--json"))
    assert [tier["name"] for tier in data["tiers"]] == tier_names()
    assert all(len(tier["views"]) == len(get_tier(tier["name"]).views) for tier in data["tiers"])


# -- the inverse ---------------------------------------------------------------------------------------------


def colourful(side: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side] / side
    rgb = [0.5 + 0.2 * np.sin(4 * x + y), 0.5 + 0.2 * np.cos(3 * y), 0.45 + 0.2 * np.sin(2 * x - 3 * y)]
    return np.asarray(255 * np.stack(rgb, axis=-1), np.uint8)


@pytest.mark.parametrize("cfa", ["RGGB", "GBRG"])
def test_an_image_taken_back_and_developed_is_itself(cfa: str) -> None:
    image = colourful()
    known = get_camera("raw_drone")
    camera = Camera(cfa, known.black, known.white, known.span, known.gains, known.matrix)
    made = simulate(image, camera)
    assert made.simulated and made.raw.dtype == np.uint16
    again = eight_bits(develop(made.raw, made.camera, PLAIN))
    assert np.abs(again.astype(int) - image)[2:-2, 2:-2].max() <= 3


def test_simulate_takes_grey_odd_sizes_and_jpeg(tmp_path: Path) -> None:
    assert simulate(np.full((7, 9), 128, np.uint8)).raw.shape == (6, 8)
    jpeg, out = written(tmp_path / "photo.jpg", colourful()[..., ::-1]), tmp_path / "out.png"
    printed = run("render", jpeg, "--simulate", "--view", "bi-s-ga", "-o", out)
    assert "simulated from a developed image" in printed
    assert np.abs(pixels_of(out).astype(int) - colourful())[4:-4, 4:-4].mean() < 6


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.uint16), "is uint8, grey or RGB, not uint16"),
        (np.zeros((4, 4, 4), np.uint8), r"not uint8 \(4, 4, 4\)"),
        (np.zeros((1, 4, 3), np.uint8), "has no whole cell"),
    ],
)
def test_what_cannot_be_taken_back_is_one_line(image: NDArray[Any], words: str) -> None:
    with pytest.raises(FrameError, match=words):
        simulate(image)
    with pytest.raises(FrameError, match="cannot be undone"):
        simulate(np.zeros((4, 4, 3), np.uint8), Camera(matrix=(1.0,) * 9))
