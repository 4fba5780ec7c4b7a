"""Masks in runs: COCO's counts (a list or its compressed text) and Kaggle's pairs, from and to label maps.

Between all of them stand *spans*: int64 n×2, the first pixel of a run and the one after its last, numbered column
by column (pixel ``(y, x)`` is ``x * height + y``), ascending and apart. A mask has one list of spans, so equal
masks get equal text. No H×W×N stack is ever made.

Formats: COCO's `maskApi.c` (counts of 0, 1, 0, … pixels; from the fourth on the difference to the last but one;
five bits a character, lowest first, from "0" on; bit 6 says that more follow); Kaggle's Data Science Bowl 2018
("start length start length …", 1-based).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError

Spans = NDArray[np.int64]
FEW = 7
"""Characters of one number at most: 35 bits hold any count of an image that is read here."""
PAIRS = re.compile(r"[0-9]{1,10}(\s+[0-9]{1,10})*", re.ASCII)


def encode(labels: NDArray[Any]) -> tuple[NDArray[np.uint32], list[bytes]]:
    """The ids of a label map (non-negative integers H×W), ascending without 0, and COCO's text of each object."""
    ids, cuts, spans = spans_by_id(labels)
    return ids, _compress(*_counts(spans, cuts, labels.size))


def spans_by_id(labels: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.int64], Spans]:
    """(ids ascending without 0, cuts, spans) of a label map: those of ``ids[k]`` are ``spans[cuts[k]:cuts[k + 1]]``."""
    flat = np.ascontiguousarray(labels.T).reshape(-1)
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    values = flat[starts]
    spans = np.stack([starts, np.append(starts[1:], flat.size)], axis=1)[values != 0]
    values = values[values != 0]
    order = np.argsort(values, kind="stable")  # one object's together, still ascending
    ids, first = np.unique(values[order], return_index=True)
    return ids.astype(np.uint32), np.append(first, len(values)).astype(np.int64), spans[order].astype(np.int64)


def spans_of(mask: NDArray[Any]) -> Spans:
    """The spans of one mask H×W: whatever is not 0 belongs to it."""
    return spans_by_id(mask != 0)[2]


def counts_of(spans: Spans, pixels: int) -> list[int]:
    """COCO's uncompressed counts of a mask in an image of `pixels` pixels."""
    found: list[int] = _counts(spans, np.array([0, len(spans)]), pixels)[0].tolist()
    return found


def text_of(spans: Spans, pixels: int) -> bytes:
    """COCO's compressed counts of a mask in an image of `pixels` pixels."""
    return _compress(*_counts(spans, np.array([0, len(spans)]), pixels))[0]


def pairs_of(spans: Spans) -> str:
    """Kaggle's text of a mask: "" for an empty one."""
    pairs = np.stack([spans[:, 0] + 1, spans[:, 1] - spans[:, 0]], axis=1)
    return " ".join(map(str, pairs.reshape(-1).tolist()))


def from_counts(counts: Sequence[int] | NDArray[Any], pixels: int, where: str) -> Spans:
    """The spans in COCO's counts; raises ModelError naming `where` unless they are `pixels` pixels in all."""
    try:
        array = np.asarray(counts)
    except (ValueError, OverflowError):  # lists within the list, say
        array = np.empty(0, np.object_)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise ModelError(f"{where}: RLE counts are a list of integers")
    if len(array) > pixels + 1:
        raise ModelError(f"{where}: {len(array)} RLE counts for an image of {pixels} pixels")
    if array.min() < 0 or array.max() > pixels:
        wrong = array.min() if array.min() < 0 else array.max()
        raise ModelError(f"{where}: an RLE count of {wrong} in an image of {pixels} pixels")
    ends = np.cumsum(array, dtype=np.int64)
    if ends[-1] != pixels:
        raise ModelError(f"{where}: the RLE counts are {ends[-1]} pixels, the image has {pixels}")
    inside = len(ends) // 2
    return _apart(np.stack([ends[::2][:inside], ends[1::2]], axis=1))


def from_text(text: bytes | str, pixels: int, where: str) -> Spans:
    """The spans in COCO's compressed counts; raises ModelError naming `where` for any that are not valid."""
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    codes = np.frombuffer(raw, np.uint8).astype(np.int64) - ord("0")
    if not len(codes) or codes.min() < 0 or codes.max() > 63:
        raise ModelError(f"{where}: not the compressed counts of an RLE")
    ends = np.flatnonzero(codes < 32)
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise ModelError(f"{where}: the compressed counts of the RLE are cut short")
    begins = np.append(0, ends[:-1] + 1)
    sizes = ends - begins + 1
    if sizes.max() > FEW or len(ends) > pixels + 1:
        raise ModelError(f"{where}: the RLE counts more than an image of {pixels} pixels can have")
    places = np.arange(len(codes)) - np.repeat(begins, sizes)
    counts = np.add.reduceat((codes & 31) << 5 * places, begins)
    counts -= np.where(codes[ends] & 16, np.int64(1) << 5 * sizes, 0)  # the last character's top bit is the sign
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return from_counts(counts, pixels, where)


def from_pairs(text: str, pixels: int, where: str) -> Spans:
    """The spans in Kaggle's text (blank: none); raises ModelError naming `where` for any that are not valid."""
    words = text.strip()
    if not words:
        return np.empty((0, 2), np.int64)
    numbers = np.array([*map(int, words.split())] if PAIRS.fullmatch(words) else [0], np.int64)
    if len(numbers) % 2:
        raise ModelError(f"{where}: EncodedPixels are pairs of a start and a length, not {words[:40]!r}")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if starts.min() < 0 or lengths.min() < 1 or (starts + lengths).max() > pixels:
        raise ModelError(f"{where}: a run of EncodedPixels lies outside the image's pixels, 1 to {pixels}")
    if (starts[1:] < (starts + lengths)[:-1]).any():
        raise ModelError(f"{where}: the runs of EncodedPixels overlap or are not in ascending order")
    return _apart(np.stack([starts, starts + lengths], axis=1))


def mask_of(spans: Spans, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool H×W."""
    return paint([spans], np.ones(1, np.uint32), shape).astype(np.bool_)


def paint(masks: Sequence[Spans], ids: NDArray[np.uint32], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """The label map H×W of `masks`, each under its id, none of which may overlap another (see `overlap`)."""
    height, width = shape
    spans = np.concatenate([np.empty((0, 2), np.int64), *masks])
    values = np.repeat(ids, [len(one) for one in masks])
    order = np.argsort(spans[:, 0])
    edges = np.concatenate(([0], spans[order].reshape(-1), [height * width]))
    inked = np.zeros(len(edges) - 1, np.uint32)  # background, object, background, …
    inked[1::2] = values[order]
    return np.ascontiguousarray(np.repeat(inked, np.diff(edges)).reshape(width, height).T)


def overlap(masks: Sequence[Spans]) -> tuple[int, int] | None:
    """The numbers of two of `masks` that share a pixel, None where no two do."""
    spans = np.concatenate([np.empty((0, 2), np.int64), *masks])
    order = np.argsort(spans[:, 0], kind="stable")
    over = np.flatnonzero(spans[order][1:, 0] < spans[order][:-1, 1])  # the first to overlap meets its neighbour
    if not len(over):
        return None
    numbers = np.repeat(np.arange(len(masks)), [len(one) for one in masks])[order]
    first, second = sorted(numbers[over[0] : over[0] + 2].tolist())
    return first, second


def _apart(spans: Spans) -> Spans:
    """Without empty spans, and those that touch made one."""
    kept = spans[spans[:, 0] < spans[:, 1]]
    begins = np.append(True, kept[1:, 0] != kept[:-1, 1])[: len(kept)]
    return np.stack([kept[begins, 0], kept[np.append(begins[1:], True)[: len(kept)], 1]], axis=1)


def _counts(spans: Spans, cuts: NDArray[np.int64], pixels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(counts of many masks in a row, where each begins and the last ends): those of k are of spans cuts[k]:cuts[k+1].

    What is behind the last span is counted only where it is something: so does COCO.
    """
    number = np.diff(cuts)
    before = np.append(0, spans[:-1, 1])[: len(spans)]
    before[cuts[:-1][number > 0]] = 0
    last = np.zeros(len(number), np.int64)
    last[number > 0] = spans[cuts[1:][number > 0] - 1, 1]
    sizes = 2 * number + (last < pixels)
    at = np.append(0, np.cumsum(sizes))
    counts = np.empty(at[-1], np.int64)
    gaps = np.repeat(at[:-1] - 2 * cuts[:-1], number) + 2 * np.arange(len(spans))
    counts[gaps], counts[gaps + 1] = spans[:, 0] - before, spans[:, 1] - spans[:, 0]
    tails = last < pixels
    counts[at[1:][tails] - 1] = pixels - last[tails]
    return counts, at


def _compress(counts: NDArray[np.int64], at: NDArray[np.int64]) -> list[bytes]:
    """COCO's text of each mask whose counts begin at `at`."""
    late = np.flatnonzero(np.arange(len(counts)) - np.repeat(at[:-1], np.diff(at)) > 2)
    values = counts.copy()
    values[late] -= counts[late - 2]
    magnitude = np.where(values < 0, ~values, values)
    sizes = np.ones(len(values), np.int64)
    for bits in range(4, 5 * FEW, 5):  # a number of n characters has 5 n bits, one of them its sign
        sizes += magnitude >= 1 << bits
    places = np.arange(int(sizes.max(initial=1)))
    characters = (values[:, None] >> 5 * places & 31) + 32 * (places < sizes[:, None] - 1) + ord("0")
    text = characters.astype(np.uint8)[places < sizes[:, None]].tobytes()
    ends = np.append(0, np.cumsum(sizes))[at].tolist()
    return [text[a:b] for a, b in pairwise(ends)]
