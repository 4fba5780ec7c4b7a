"""A model over an image of any size: tiles give what the whole image gives, and weights are those of the docstring."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from lensbench.errors import ModelError
from lensbench.masks.tiling import MOST_TILES, Infer, Size, Tiling, run

Planes = NDArray[Any]


def image(height: int, width: int, channels: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(height * width).integers(0, 50, (channels, height, width)).astype(np.float32)


def sees(radius: int) -> Infer:
    """A model that sums a square of that radius, zeros lying beyond its input: whole numbers, so exact."""

    def infer(batch: Planes) -> Planes:
        side = 2 * radius + 1
        summed = batch[:, :1]
        for axis in (2, 3):
            summed = ndimage.convolve1d(summed, np.ones(side), axis, mode="constant")
        return np.concatenate([summed, batch[:, :1]], axis=1).astype(np.float32)

    return infer


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(13, 30), st.integers(1, 4), st.integers(0, 4), st.data())
def test_tiles_give_what_the_whole_image_gives(
    height: int, width: int, tile: int, halo: int, ramp: int, data: st.DataObject
) -> None:
    size = Size(tile, tile, batch=data.draw(st.integers(1, 3)), fixed=data.draw(st.booleans()))
    pixels, infer = image(height, width), sees(halo)
    found, words = run(infer, pixels, "x", size, Tiling(halo, ramp))
    down, right = max(0, tile - height), max(0, tile - width)
    padded = np.pad(pixels, [(0, 0), (0, down), (0, right)], "reflect")
    assert np.array_equal(found, infer(padded[None])[0][:, :height, :width])
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert any("tiles" in word for word in words) == (height > tile or width > tile)
    assert any("padded by reflection" in word for word in words) == bool(down or right)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16))
def test_any_size_goes_whole_padded_to_a_multiple(height: int, width: int, divisor: int) -> None:
    seen: list[Planes] = []

    def infer(batch: Planes) -> Planes:
        seen.append(batch)
        return batch * 2

    pixels = image(height, width, 3)
    found, words = run(infer, pixels, "x", Size(divisor=divisor))
    assert np.array_equal(found, pixels * 2) and len(seen) == 1
    shape = [-(-side // divisor) * divisor for side in (height, width)]
    beyond = [(0, 0), *((0, more - side) for more, side in zip(shape, (height, width), strict=True))]
    assert np.array_equal(seen[0], np.pad(pixels, beyond, "reflect")[None])
    assert words == (
        () if shape == [height, width] else (f"padded by reflection to {shape[0]}×{shape[1]} px (height×width)",)
    )


def placed(length: int, tile: int, halo: int, ramp: int) -> list[int]:
    """The fewest tiles, from one on, whose even places leave no gap between the ramps of neighbours."""
    for number in range(2, length):
        starts = [(length - tile) * k // (number - 1) for k in range(number)]
        if all(b - a <= tile - 2 * halo - ramp for a, b in pairwise(starts)):
            return starts
    raise AssertionError


def weight(start: int, length: int, tile: int, halo: int, ramp: int) -> list[float]:
    """A tile's weight along an axis, pixel by pixel."""
    found = []
    for k in range(tile):
        at_begin = 1.0 if start == 0 else min(max((k - halo + 1) / (ramp + 1), 0.0), 1.0)
        at_end = 1.0 if start + tile == length else min(max((tile - k - halo) / (ramp + 1), 0.0), 1.0)
        found.append(min(at_begin, at_end))
    return found


@settings(deadline=None)
@given(st.integers(17, 60), st.integers(17, 60), st.integers(0, 3), st.integers(0, 5), st.integers(1, 4))
def test_the_blend_is_the_weighted_mean_of_the_tiles(height: int, width: int, halo: int, ramp: int, batch: int) -> None:
    """Every tile answers a number of its own, so that each pixel shows how it is weighted."""
    tile, calls = 16, list[float]()

    def infer(given: Planes) -> Planes:
        answer = np.empty_like(given)
        for one in answer:
            calls.append(float(len(calls) ** 2 % 7))
            one[:] = calls[-1]
        return answer

    found, _ = run(infer, image(height, width), "x", Size(tile, tile, batch=batch), Tiling(halo, ramp))
    total, weights = np.zeros((2, height, width))
    tiles = list(product(placed(height, tile, halo, ramp), placed(width, tile, halo, ramp)))
    assert len(calls) == len(tiles)
    for value, (y, x) in zip(calls, tiles, strict=True):
        share = np.outer(weight(y, height, tile, halo, ramp), weight(x, width, tile, halo, ramp))
        weights[y : y + tile, x : x + tile] += share
        total[y : y + tile, x : x + tile] += share * value
    assert weights.min() > 0
    np.testing.assert_allclose(found[0], total / weights, rtol=0, atol=1e-5)


def test_a_model_that_answers_one_number_gives_it_exactly() -> None:
    found, words = run(lambda batch: np.full_like(batch, 0.1), image(100, 90), "x", Size(32, 32))
    assert (found == np.float32(0.1)).all()
    assert words == ("run in 5×4 tiles (height 32 px, halo 4, ramp 4 and width 32 px, halo 4, ramp 4)",)


@pytest.mark.parametrize(("fixed", "sizes"), [(True, [4, 4]), (False, [4, 2])])
def test_a_short_batch_is_filled_only_where_the_model_wants_it(fixed: bool, sizes: list[int]) -> None:
    seen: list[Planes] = []

    def infer(batch: Planes) -> Planes:
        seen.append(batch.copy())
        return batch

    pixels = image(16, 70)
    found, _ = run(infer, pixels, "x", Size(16, 16, batch=4, fixed=fixed), Tiling(1, 1))
    assert [len(batch) for batch in seen] == sizes and np.array_equal(found, pixels)
    assert not fixed or not seen[1][2:].any()


def test_one_axis_may_be_fixed_alone() -> None:
    found, words = run(sees(1), image(50, 33), "x", Size(height=24, divisor=8), Tiling(2, 2))
    whole, _ = run(sees(1), image(50, 33), "x", Size(divisor=1))
    assert np.array_equal(found[:, :, :32], whole[:, :, :32])  # the last column sees the reflection
    assert words[0].startswith("padded by reflection to 50×40") and "3×1 tiles (height 24" in words[1]


def answers(*shape: int, dtype: Any = np.float32, fill: float = 0) -> Infer:
    return lambda batch: np.full(shape, fill, dtype)


UNFIT: dict[str, tuple[Infer, Size, Tiling, str]] = {
    "flat": (answers(1, 20, 20), Size(), Tiling(), r"gives \(1, 20, 20\) for an input of \(1, 1, 20, 20\)"),
    "smaller": (answers(1, 1, 10, 10), Size(), Tiling(), "of the same N, h and w"),
    "no-planes": (answers(1, 0, 20, 20), Size(), Tiling(), "at most 256 planes"),
    "many-planes": (answers(1, 257, 20, 20), Size(), Tiling(), "at most 256 planes"),
    "batch": (answers(2, 1, 20, 20), Size(), Tiling(), "of the same N"),
    "integers": (answers(1, 1, 20, 20, dtype=np.int64), Size(), Tiling(), "gives int64 values, expected floats"),
    "nan": (answers(1, 1, 20, 20, fill=np.nan), Size(), Tiling(), "gives NaN or infinity"),
    "inf": (answers(1, 1, 20, 20, fill=-np.inf), Size(), Tiling(), "gives NaN or infinity"),
    "no-room": (sees(0), Size(8, 8), Tiling(3, 2), "tiles of 8 px have no room for two halos of 3 and a ramp of 2 px"),
    "divisor": (sees(0), Size(divisor=0), Tiling(), "cannot be made a multiple of 0"),
    "large-divisor": (sees(0), Size(divisor=1 << 20), Tiling(), "cannot be made a multiple of 1048576"),
    "batch-0": (sees(0), Size(batch=0), Tiling(), "takes batches of"),
    "large-batch": (sees(0), Size(batch=1 << 22), Tiling(), "takes batches of .*268,435,456 values"),
    "large-tile": (sees(0), Size(1 << 20, 1 << 20), Tiling(), "takes batches of"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_model_that_does_not_fit_is_refused(name: str) -> None:
    infer, size, tiling, words = UNFIT[name]
    with pytest.raises(ModelError, match=rf"\Amodel\.onnx: .*{words}"):
        run(infer, image(20, 20), "model.onnx", size, tiling)


def test_a_model_whose_planes_change_from_tile_to_tile_is_refused() -> None:
    calls: list[int] = []

    def infer(batch: Planes) -> Planes:
        calls.append(0)
        return np.zeros((1, len(calls), *batch.shape[2:]), np.float32)

    with pytest.raises(ModelError, match="gives 1 planes for one tile and 2 for another"):
        run(infer, image(20, 20), "x", Size(16, 16))


def test_a_tile_of_one_pixel_is_not_run_a_million_times() -> None:
    def infer(batch: Planes) -> Planes:
        raise AssertionError("it was run")

    with pytest.raises(ModelError, match=rf"90,000 tiles of 1×1 px, at most {MOST_TILES:,}"):
        run(infer, image(300, 300), "x", Size(1, 1))
