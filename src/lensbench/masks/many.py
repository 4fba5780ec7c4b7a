"""All masks of an image at once, from COCO's compressed counts: with 200 objects one by one is most of the time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lensbench.masks.rle import FEW, Spans, from_text

Cuts = NDArray[np.int64]


def from_texts(texts: Sequence[bytes], pixels: int, where: str) -> tuple[Cuts, Spans]:
    """(cuts, spans) of many masks: those of mask k are ``spans[cuts[k]:cuts[k + 1]]``, as `rle.from_text` reads them.

    Raises ModelError as that does, naming `where` and the mask.
    """
    return _at_once(texts, pixels) or _one_by_one(texts, pixels, where)


def paint_apart(cuts: Cuts, spans: Spans, shape: tuple[int, int]) -> NDArray[np.uint32] | None:
    """The label map H×W of the masks, numbered 1, 2, …; None where two of them share a pixel."""
    import cv2

    height, width = shape
    order = np.argsort(spans[:, 0], kind="stable")
    spans = spans[order]
    if (spans[1:, 0] < spans[:-1, 1]).any():
        return None
    numbers = np.repeat(np.arange(1, len(cuts), dtype=np.int32), np.diff(cuts))
    edges = np.concatenate(([0], spans.reshape(-1), [height * width]))
    inked = np.zeros(len(edges) - 1, np.int32)  # background, object, background, …
    inked[1::2] = numbers[order]
    columns = np.repeat(inked, np.diff(edges)).reshape(width, height)
    return cv2.transpose(columns).view(np.uint32)  # in tiles: numpy's own takes ten times as long


def _one_by_one(texts: Sequence[bytes], pixels: int, where: str) -> tuple[Cuts, Spans]:
    masks = [from_text(text, pixels, f"{where}, mask {number}") for number, text in enumerate(texts, 1)]
    cuts = np.cumsum([0, *map(len, masks)]).astype(np.int64)
    return cuts, np.concatenate([np.empty((0, 2), np.int64), *masks])


def _at_once(texts: Sequence[bytes], pixels: int) -> tuple[Cuts, Spans] | None:
    """The same in whole arrays; None for texts that are not valid, or whose spans are empty or touch."""
    codes = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - ord("0")
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        return None
    ends = np.flatnonzero(codes < 32)
    sizes = np.diff(ends, prepend=-1)
    stops = np.cumsum([len(text) for text in texts])  # where each text ends, among the codes
    last = np.searchsorted(ends, stops - 1)  # the number each text ends with
    whole = len(ends) > 0 and last[-1] < len(ends) and bool((ends[last] == stops - 1).all())
    if not whole or min(map(len, texts)) == 0 or sizes.max() > FEW:
        return None
    begins = ends - sizes + 1
    places = np.arange(stops[-1]) - np.repeat(begins, sizes)
    counts = np.add.reduceat((codes & 31) << 5 * places, begins)
    counts -= np.where(codes[ends] & 16, np.int64(1) << 5 * sizes, 0)
    first = np.append(0, last[:-1] + 1)
    number = last - first + 1
    counts = _undo_differences(counts, first, number)
    if counts.min() < 0 or counts.max() > pixels or number.max() > pixels + 1:
        return None
    reached = np.cumsum(counts)
    before = reached[first] - counts[first]
    if ((reached[last] - before) != pixels).any():
        return None
    inside = (np.arange(len(counts)) - np.repeat(first, number)) % 2 == 1
    gaps = counts[np.flatnonzero(inside)[1:] - 1] if inside.any() else counts[:0]
    begun = np.diff(np.repeat(np.arange(len(texts)), number)[inside]) == 0
    if not counts[inside].all() or not gaps[begun].all():
        return None
    stop = (reached - np.repeat(before, number))[inside]
    return np.append(0, np.cumsum(number // 2)), np.stack([stop - counts[inside], stop], axis=1)


def _undo_differences(counts: NDArray[np.int64], first: Cuts, number: Cuts) -> NDArray[np.int64]:
    """Counts of which the fourth and later ones of a mask are differences to the last but one, made whole."""
    place = np.arange(len(counts)) - np.repeat(first, number)
    whole = counts.copy()
    for parity in (1, 2):  # the second, fourth, … and the third, fifth, …; the first stands alone
        chain = np.flatnonzero((place >= parity) & ((place - parity) % 2 == 0))
        total = np.cumsum(counts[chain])
        begins = np.flatnonzero(place[chain] == parity)
        base = total[begins] - counts[chain[begins]]
        whole[chain] = total - np.repeat(base, np.diff(begins, append=len(chain)))
    return whole
