"""Masks read all at once are those read one by one, for valid texts and for hostile ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.masks import many, rle
from lensbench.masks.values import LabelMap, to_masks

SHAPE = (7, 9)
PIXELS = 63


def label_maps() -> st.SearchStrategy[NDArray[np.uint32]]:
    cells = st.lists(st.integers(0, 4), min_size=PIXELS, max_size=PIXELS)
    return cells.map(lambda values: np.array(values, np.uint32).reshape(SHAPE))


@given(label_maps())
def test_texts_read_at_once_are_the_spans_of_each(labels: NDArray[np.uint32]) -> None:
    masks = to_masks(LabelMap(labels))
    cuts, spans = many.from_texts(masks.rle, PIXELS, "x")
    for k, text in enumerate(masks.rle):
        assert np.array_equal(spans[cuts[k] : cuts[k + 1]], rle.from_text(text, PIXELS, "x"))
    painted = many.paint_apart(cuts, spans, SHAPE)
    expected = np.searchsorted(np.unique(labels[labels > 0]), labels, side="right")
    assert painted is not None
    assert np.array_equal(painted, expected * (labels > 0))


@given(label_maps(), st.lists(st.binary(max_size=12), min_size=1, max_size=4), st.integers(0, 9))
def test_whatever_is_wrong_is_said_as_if_each_were_read_alone(
    labels: NDArray[np.uint32], strange: list[bytes], at: int
) -> None:
    texts = list(to_masks(LabelMap(labels)).rle)
    texts[at:at] = strange
    try:
        alone = [rle.from_text(text, PIXELS, f"x, mask {n}") for n, text in enumerate(texts, 1)]
    except ModelError as error:
        with pytest.raises(ModelError) as raised:
            many.from_texts(texts, PIXELS, "x")
        assert str(raised.value) == str(error)
    else:
        cuts, spans = many.from_texts(texts, PIXELS, "x")
        assert [spans[a:b].tolist() for a, b in pairwise(cuts)] == [s.tolist() for s in alone]


@pytest.mark.parametrize("counts", [[0, 0, 63], [63], [0, 63], [3, 2, 0, 4, 54], [0, 1, 1, 0, 1, 60], [5, 58]], ids=str)
def test_odd_counts_that_are_valid(counts: list[int]) -> None:
    """Empty spans, spans that touch, nothing, everything: COCO's format allows them all."""
    text = b"".join(_chars(counts[k] - (counts[k - 2] if k > 2 else 0)) for k in range(len(counts)))
    cuts, spans = many.from_texts([text, text], PIXELS, "x")
    alone = rle.from_counts(counts, PIXELS, "x")
    assert np.array_equal(rle.from_text(text, PIXELS, "x"), alone)
    assert np.array_equal(spans, np.concatenate([alone, alone]))
    assert cuts.tolist() == [0, len(alone), 2 * len(alone)]


def _chars(value: int) -> bytes:
    found = bytearray()
    while True:
        low, value = value & 31, value >> 5
        more = not (value == -1 and low & 16) and not (value == 0 and not low & 16)
        found.append(low + 32 * more + 48)
        if not more:
            return bytes(found)


def test_no_masks_and_masks_that_overlap() -> None:
    cuts, spans = many.from_texts([], PIXELS, "x")
    assert cuts.tolist() == [0]
    painted = many.paint_apart(cuts, spans, SHAPE)
    assert painted is not None
    assert not painted.any()
    one = to_masks(LabelMap(np.ones(SHAPE, np.uint32))).rle[0]
    assert many.paint_apart(*many.from_texts([one, one], PIXELS, "x"), SHAPE) is None
