"""Run lengths: the same text as pycocotools, there and back, and one clear line for counts that lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from lensbench.errors import ModelError
from lensbench.masks import rle
from lensbench.masks.values import LabelMap, Masks, to_labelmap, to_masks

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
MASKS = hnp.arrays(np.bool_, SHAPES)
IDS = st.sampled_from([0, 0, 1, 2, 7, 255, 256, 65_536, 0xFFFF_FFFF])
MAPS = hnp.arrays(np.uint32, SHAPES, elements=IDS)


def peer(mask: NDArray[Any]) -> bytes:
    """What pycocotools writes."""
    text: bytes = coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return text


@given(MAPS)
def test_every_object_of_a_map_has_the_text_of_pycocotools(labels: NDArray[np.uint32]) -> None:
    ids, texts = rle.encode(labels)
    assert ids.dtype == np.uint32 and ids.tolist() == sorted({*labels.reshape(-1).tolist()} - {0})
    assert texts == [peer(labels == key) for key in ids]
    back = to_labelmap(Masks((labels.shape[0], labels.shape[1]), tuple(texts)), "x").pixels
    assert np.array_equal(np.append(np.uint32(0), ids)[back], labels)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0 on NumPy 2
@given(MASKS)
def test_a_mask_goes_through_every_coding_and_back(mask: NDArray[np.bool_]) -> None:
    spans, pixels = rle.spans_of(mask), mask.size
    text, counts, pairs = rle.text_of(spans, pixels), rle.counts_of(spans, pixels), rle.pairs_of(spans)
    assert text == peer(mask)
    assert counts == counted(mask)
    for again in (
        rle.from_text(text, pixels, "x"),
        rle.from_text(text.decode(), pixels, "x"),
        rle.from_counts(counts, pixels, "x"),
        rle.from_pairs(pairs, pixels, "x"),
    ):
        assert again.dtype == np.int64 and np.array_equal(again, spans)
    assert np.array_equal(rle.mask_of(spans, mask.shape), mask)
    assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": text}), mask)


def counted(mask: NDArray[np.bool_]) -> list[int]:
    """The definition of COCO's counts, pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def spelt(counts: list[int]) -> bytes:
    """The definition of COCO's text: each count less the one before the last, five bits a letter, the lowest first."""
    text = bytearray()
    for at, count in enumerate(counts):
        rest, more = count - (counts[at - 2] if at > 2 else 0), True
        while more:
            letter, rest = rest & 31, rest >> 5
            more = rest != (-1 if letter & 16 else 0)
            text.append(48 + letter + 32 * more)
    return bytes(text)


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=12))
def test_counts_of_any_size_are_read_as_pycocotools_writes_them(counts: list[int]) -> None:
    pixels = sum(counts)
    if not pixels <= 0xFFFF_FFFF or len(counts) > pixels:
        return
    text = spelt(counts)
    if len(text) < 6 * len(counts):  # pycocotools 2.0.11 has room for no more letters and writes beyond its memory
        assert coco.frPyObjects([{"size": [pixels, 1], "counts": counts}], pixels, 1)[0]["counts"] == text
    assert np.array_equal(rle.from_text(text, pixels, "x"), rle.from_counts(counts, pixels, "x"))


def test_the_published_examples() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1:3, 1:4] = True
    assert rle.counts_of(rle.spans_of(mask), 20) == [5, 2, 2, 2, 2, 2, 5]
    assert rle.pairs_of(rle.spans_of(mask)) == "6 2 10 2 14 2"  # Kaggle counts from 1, downwards first
    assert rle.counts_of(rle.spans_of(np.ones((1, 1))), 1) == [0, 1]
    assert rle.counts_of(rle.spans_of(np.zeros((1, 1))), 1) == [1]
    assert rle.pairs_of(rle.spans_of(np.zeros((3, 3)))) == ""


def test_runs_of_no_length_and_runs_that_touch_are_one_spelling() -> None:
    whole = rle.from_counts([2, 4, 4], 10, "x")
    assert np.array_equal(rle.from_counts([2, 2, 0, 2, 4], 10, "x"), whole)
    assert np.array_equal(rle.from_counts([2, 0, 0, 4, 4, 0], 10, "x"), whole)
    assert np.array_equal(rle.from_pairs("3 2 5 2", 10, "x"), whole)
    assert rle.text_of(whole, 10) == rle.text_of(rle.from_pairs("3 4", 10, "x"), 10)
    assert not len(rle.from_counts([0, 0, 10], 10, "x"))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5, -1, 6], "-1"),
        ([5, 6], "11 pixels, the image has 10"),
        ([5, 4], "9 pixels"),
        ([2**62, 2**62, 2**62, 2**62], "4611686018427387904"),
        ([2**80], "list of integers"),
        ([1.5, 8.5], "list of integers"),
        ([True, False], "list of integers"),
        ([[5], [5]], "list of integers"),
        ([[5], 5], "list of integers"),
        (["5", "5"], "list of integers"),
        ([], "list of integers"),
        ([0] * 12 + [10], "13 RLE counts"),
    ],
)
def test_counts_that_lie_are_refused_in_one_line(counts: list[Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        rle.from_counts(counts, 10, "preds.json: result 3")
    line = str(caught.value)
    assert line.startswith("preds.json: result 3: ") and words in line and "\n" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not the compressed"),
        (b"5 5", "not the compressed"),
        (b"\xff5", "not the compressed"),
        ("5€", "not the compressed"),
        (b"5P", "cut short"),
        (b"o" * 9 + b"0", "more than an image"),
        (b"oooooo1", "an RLE count of"),
        (b"0" * 12, "more than an image"),
        (b"O;", "an RLE count of -1"),
    ],
)
def test_texts_that_lie_are_refused_in_one_line(text: bytes | str, words: str) -> None:
    with pytest.raises(ModelError, match=f"x: .*{words}"):
        rle.from_text(text, 10, "x")


@given(st.binary(max_size=24), st.integers(1, 400))
def test_any_text_gives_spans_or_one_line(text: bytes, pixels: int) -> None:
    try:
        spans = rle.from_text(text, pixels, "x")
    except ModelError as error:
        assert str(error).startswith("x: ") and "\n" not in str(error)
    else:
        assert np.array_equal(rle.from_text(rle.text_of(spans, pixels), pixels, "x"), spans)
        assert not len(spans) or (
            spans[0, 0] >= 0 and spans[-1, 1] <= pixels and (np.diff(spans.reshape(-1)) > 0).all()
        )


@pytest.mark.parametrize(
    "text", ["1", "0 3", "1 0", "5 3 4 2", "5 3 7 1", "9 3", "1 99999999999", "-1", "1 2.0", "1,2", "a b", "１ ２"]
)
def test_pairs_that_lie_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"\Aline 4: .*EncodedPixels"):
        rle.from_pairs(text, 10, "line 4")


@given(MAPS)
def test_a_label_map_is_its_masks(labels: NDArray[np.uint32]) -> None:
    masks = to_masks(LabelMap(labels))
    assert masks.scores is None and masks.shape == labels.shape
    assert rle.overlap(masks.spans("x")) is None


def square(y: int, x: int, side: int = 3) -> bytes:
    mask = np.zeros((8, 10), np.bool_)
    mask[y : y + side, x : x + side] = True
    return peer(mask)


def test_masks_that_overlap_need_a_score_to_become_a_map() -> None:
    masks = (square(0, 0), square(5, 7), square(1, 1))
    with pytest.raises(ModelError, match=r"preds: masks 1 and 3 overlap"):
        to_labelmap(Masks((8, 10), masks), "preds")
    with pytest.raises(ModelError, match="without scores"):
        to_labelmap(Masks((8, 10), masks), "preds", "best")
    best = to_labelmap(Masks((8, 10), masks, np.array([0.2, 0.5, 0.9])), "preds", "best").pixels
    assert [int((best == key).sum()) for key in (1, 2, 3)] == [5, 9, 9]
    equal = to_labelmap(Masks((8, 10), masks, np.full(3, 0.5)), "preds", "best").pixels
    assert [int((equal == key).sum()) for key in (1, 2, 3)] == [9, 9, 5]


@given(st.lists(hnp.arrays(np.bool_, (4, 4)), max_size=4))
def test_overlap_finds_a_shared_pixel_where_there_is_one(masks: list[NDArray[np.bool_]]) -> None:
    found = rle.overlap([rle.spans_of(mask) for mask in masks])
    shared = any((a & b).any() for n, a in enumerate(masks) for b in masks[:n])
    assert (found is not None) == shared
    if found is not None:
        assert (masks[found[0]] & masks[found[1]]).any() and found[0] < found[1]


def test_an_empty_mask_leaves_its_number_out() -> None:
    labels = to_labelmap(Masks((8, 10), (peer(np.zeros((8, 10))), square(1, 1))), "x").pixels
    assert np.unique(labels).tolist() == [0, 2] and labels.dtype == np.uint32
    assert not to_labelmap(Masks((8, 10), ()), "x").pixels.any()
