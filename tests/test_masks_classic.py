"""Objects without learning, each step against its definition, pixel by pixel or by SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from lensbench.errors import ModelError
from lensbench.images.decode import decode
from lensbench.images.labelmap import from_colours, renumber
from lensbench.masks.classic import (
    components,
    dilate,
    drop_small,
    grow,
    otsu_watershed,
    squared_distance,
    watershed,
)

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
MASKS = hnp.arrays(np.bool_, SHAPES, elements=st.sampled_from([True, True, False]))
MAPS = hnp.arrays(np.uint32, SHAPES, elements=st.sampled_from([0, 0, 0, 1, 2, 3, 70_000]))
BOTH = st.sampled_from([4, 8])
AROUND = {4: ((-1, 0), (0, -1), (0, 1), (1, 0)), 8: tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x)}
Labels = NDArray[Any]


def touched(labels: Labels, y: int, x: int, connectivity: int) -> set[int]:
    """The objects that a pixel touches."""
    height, width = labels.shape
    places = [(y + dy, x + dx) for dy, dx in AROUND[connectivity]]
    return {int(labels[at]) for at in places if 0 <= at[0] < height and 0 <= at[1] < width} - {0}


def grown(labels: Labels, allowed: Labels, steps: int, connectivity: int) -> Labels:
    """`steps` rounds in which every free pixel joins the smallest number it touches, all at once."""
    for _ in range(steps):
        free = [
            (at, near)
            for at in np.argwhere(allowed & (labels == 0))
            if (near := touched(labels, int(at[0]), int(at[1]), connectivity))
        ]
        if not free:
            break
        labels = labels.copy()
        for at, near in free:
            labels[tuple(at)] = min(near)
    return labels


def structure(connectivity: int) -> Any:
    return ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)


def parts(mask: Labels, connectivity: int) -> Labels:
    found: Labels = ndimage.label(mask, structure(connectivity))[0]
    return found


def flooded(mask: Labels, reach: int, connectivity: int) -> Labels:
    """The watershed's three rules, one pixel after the other."""
    squared = np.ones(mask.shape) if mask.all() else np.rint(ndimage.distance_transform_edt(mask) ** 2)
    belongs = parts(mask, connectivity)
    peaks = []
    for y, x in np.argwhere(mask).tolist():
        window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        if squared[y, x] >= squared[window][belongs[window] == belongs[y, x]].max():
            peaks.append((y, x))
    markers, number = np.zeros(mask.shape, np.uint32), 0
    for peak in peaks:
        if markers[peak]:
            continue
        number += 1
        waiting = [peak]
        while waiting:
            y, x = waiting.pop()
            markers[y, x] = number
            waiting += [
                (v, u)
                for v, u in peaks
                if not markers[v, u] and max(abs(v - y), abs(u - x)) <= reach and belongs[v, u] == belongs[y, x]
            ]
    labels = markers
    for level in sorted({int(value) for value in np.sqrt(squared[mask])}, reverse=True):
        labels = grown(labels, mask & (np.floor(np.sqrt(squared)) >= level), mask.size, connectivity)
    return renumber(labels)


@settings(deadline=None)
@given(MASKS, BOTH)
def test_components_are_scipys(mask: Labels, connectivity: int) -> None:
    assert np.array_equal(components(mask, connectivity), renumber(parts(mask, connectivity)))


@settings(deadline=None)
@given(MASKS)
def test_distances_are_exact(mask: Labels) -> None:
    wanted = np.ones(mask.shape) if mask.all() else np.rint(ndimage.distance_transform_edt(mask) ** 2)
    assert np.array_equal(squared_distance(mask), wanted)


@pytest.mark.parametrize("threads", [1, 2])
def test_long_distances_are_exact_too_whatever_the_threads(threads: int) -> None:
    mask = np.ones((701, 720), np.bool_)
    mask[0, 3] = False
    y, x = np.indices(mask.shape)
    squared = y**2 + (x - 3) ** 2
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        found = squared_distance(mask)
    finally:
        cv2.setNumThreads(before)
    assert squared.max() > 1000**2
    assert np.array_equal(found, np.minimum(squared, 500**2))


@settings(deadline=None)
@given(MASKS, st.integers(1, 5), BOTH)
def test_the_watershed_is_its_three_rules(mask: Labels, reach: int, connectivity: int) -> None:
    labels = watershed(mask, reach, connectivity)
    assert np.array_equal(labels, flooded(mask, reach, connectivity))
    belongs = parts(mask, connectivity)
    assert np.array_equal(labels != 0, mask)
    assert all(len(np.unique(belongs[labels == key])) == 1 for key in range(1, int(labels.max()) + 1))


def test_two_discs_that_overlap_are_two_and_one_disc_is_one() -> None:
    y, x = np.indices((60, 90))
    discs = ((y - 30) ** 2 + (x - 30) ** 2 <= 20**2) | ((y - 30) ** 2 + (x - 60) ** 2 <= 20**2)
    labels = watershed(discs, 10)
    assert labels.max() == 2 and labels[30, 30] == 1 and labels[30, 60] == 2
    assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) <= 40  # the middle column goes to the first
    assert watershed(discs, 40).max() == 1
    assert watershed((y - 30) ** 2 + (x - 30) ** 2 <= 20**2, 10).max() == 1


@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_mask_without_pixels_and_one_without_background(connectivity: int) -> None:
    assert not watershed(np.zeros((5, 7), np.bool_), 3, connectivity).any()
    assert (watershed(np.ones((40, 7), np.bool_), 3, connectivity) == 1).all()


@settings(deadline=None)
@given(MAPS, st.data(), st.integers(0, 4), BOTH)
def test_growth_goes_round_by_round(labels: Labels, data: st.DataObject, steps: int, connectivity: int) -> None:
    allowed = data.draw(hnp.arrays(np.bool_, labels.shape))
    before = labels.copy()
    assert np.array_equal(grow(labels, allowed, steps, connectivity), grown(labels, allowed, steps, connectivity))
    assert np.array_equal(labels, before)


@settings(deadline=None)
@given(MAPS, st.integers(0, 6))
def test_small_objects_go_whole(labels: Labels, size: int) -> None:
    kept = [key for key in np.unique(labels[labels != 0]) if (labels == key).sum() >= size]
    assert np.array_equal(drop_small(labels, size), renumber(np.where(np.isin(labels, kept), labels, 0)))


@settings(deadline=None)
@given(MAPS, st.sampled_from([1, 3, 5]))
def test_dilation_is_grey_dilation_of_the_numbered_map(labels: Labels, side: int) -> None:
    numbered = renumber(labels).astype(np.int64)
    assert np.array_equal(
        dilate(labels, side), renumber(ndimage.grey_dilation(numbered, (side, side), mode="constant"))
    )


def test_a_dilation_has_a_middle() -> None:
    for side in (0, 2, -1):
        with pytest.raises(ValueError, match="odd and at least 1"):
            dilate(np.ones((2, 2), np.uint8), side)


def otsu(grey: Labels) -> int:
    """The level up to which the dark class goes: the variance between both classes is largest there, in fractions."""
    levels, counts = np.unique(grey, return_counts=True)
    total, weight = int(counts.sum()), int((levels.astype(int) * counts).sum())
    best, found = -1.0, int(levels[0])
    for k in range(1, len(levels)):
        dark, mass = int(counts[:k].sum()), int((levels[:k].astype(int) * counts[:k]).sum())
        spread = (mass * total - weight * dark) ** 2 / (dark * (total - dark))
        if spread > best * (1 + 1e-9):
            best, found = spread, int(levels[k - 1])
    return found


@settings(deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(2, 12), st.integers(2, 12))))
def test_the_foreground_lies_above_otsus_threshold(image: Labels) -> None:
    labels = otsu_watershed(image, min_size=0)
    if len(np.unique(image)) < 2:
        return
    mask = labels != 0
    assert image[mask].min(initial=255) > image[~mask].max(initial=0)
    best, ours = otsu(image), int(image[~mask].max())
    assert spread(image, ours) >= spread(image, best) * (1 - 1e-6)


def spread(image: Labels, level: int) -> float:
    dark = image <= level
    if dark.all() or not dark.any():
        return 0.0
    gap = float(image[dark].mean() - image[~dark].mean())
    return gap**2 * float(dark.mean()) * float(1 - dark.mean())


def test_every_shape_and_type_of_one_grey_image_gives_the_same() -> None:
    image = np.full((30, 40), 20, np.uint8)
    image[3:15, 3:15], image[18:28, 20:36], image[1, 38] = 200, 180, 255
    labels = otsu_watershed(image)
    assert labels.max() == 2 and labels.dtype == np.uint32  # one pixel is no object
    for same in (
        image[None],
        image[..., None],
        image / 255,
        (image / 255).astype(np.float32)[None],
        image * np.uint16(257),
    ):
        assert np.array_equal(otsu_watershed(same), labels)
    assert otsu_watershed(image, min_size=1).max() == 3


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4, 5), np.uint8),
        np.zeros(7, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((3, 4), np.int32),
        np.full((3, 4), np.nan),
        np.full((3, 4), 1.5, np.float32),
    ],
)
def test_what_is_no_grey_image_is_refused(image: Labels) -> None:
    with pytest.raises(ModelError, match="Otsu's threshold takes"):
        otsu_watershed(image)


@pytest.mark.needs("realdata")
def test_otsu_and_watershed_find_the_published_share_of_real_nuclei(realdata: Path) -> None:
    """F1 at IoU ≥ 0.5, pooled over the ten test images, counted pair by pair."""
    folder, matched, given, found = realdata / "aitslab_bioimaging1" / "test_nuclei", 0, 0, 0
    for path in sorted((folder / "annotations").iterdir()):
        name = path.name.replace("_objects", "")
        truth, image = decode(path.read_bytes(), name), decode((folder / "images" / name).read_bytes(), name)
        truth = from_colours(truth) if truth.ndim == 3 else renumber(truth)
        labels = otsu_watershed(image)
        given, found = given + int(truth.max()), found + int(labels.max())
        for key in range(1, int(truth.max()) + 1):
            own = truth == key
            for other in np.unique(labels[own & (labels != 0)]):
                theirs = labels == other
                matched += 2 * int((own & theirs).sum()) >= int((own | theirs).sum())
    assert given == 438
    assert 0.88 < 2 * matched / (given + found) < 0.91
