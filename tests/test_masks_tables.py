"""Masks in one file: COCO results and Kaggle run lengths, and the one line about a row that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensbench.errors import ModelError
from lensbench.masks import rle
from lensbench.masks.read import MaskFiles, open_masks
from lensbench.masks.values import Masks
from tests.masks_files import SHAPES, coco, labels


def opened(tmp_path: Path, data: Any) -> MaskFiles:
    path = tmp_path / "p.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return open_masks(path, SHAPES, "labelmap")


def test_coco_results_keep_their_scores_and_order(tmp_path: Path) -> None:
    rows = coco({"b": labels()})
    rows = [row | {"score": score, "category_id": 1} for row, score in zip(rows, (0.25, 1, 1e-30), strict=True)]
    rows[1]["segmentation"]["counts"] = rle.counts_of(rle.spans_of(labels() == 2), labels().size)
    with opened(tmp_path, rows) as files:
        assert files.report.missing == ("a", "c") and "counts as missing" in files.report.notes[0]
        value = files.read("b")
    assert isinstance(value, Masks) and value.scores is not None
    assert value.scores.tolist() == [0.25, 1.0, 1e-30] and value.rle == tuple(rle.encode(labels())[1])


ROW = coco({"a": labels()})[0]
SEG = ROW["segmentation"]
BROKEN: dict[str, tuple[Any, str]] = {
    "text": ("{", "not valid JSON"),
    "deep": ("[" * 200_000, "not valid JSON"),
    "other": ({"x": 1}, "neither a list of COCO results"),
    "row": ([1], "result 1 has no image_id"),
    "no-segmentation": ([{"image_id": "a"}], "result 1 has no image_id or no segmentation"),
    "number": ([ROW | {"image_id": 3}], 'image_id 3 is a number, and no "images"'),
    "true": ([ROW | {"image_id": True}], "image_id is True"),
    "not-listed": (
        {"images": [{"id": 1, "file_name": "a"}], "annotations": [ROW | {"image_id": 2}]},
        "'2' is not among",
    ),
    "images": ({"images": [{"id": 1}], "annotations": []}, '"images" do not give'),
    "images-twice": ({"images": [{"id": 1, "file_name": x} for x in "ab"], "annotations": []}, "twice"),
    "crowd": ([ROW | {"iscrowd": 1}], "result 1 is a crowd"),
    "half": ([ROW | {"score": 1}, ROW], "1 of 2 results have no score"),
    "categories": ([ROW | {"category_id": 1}, ROW | {"category_id": 2}], "several category_ids"),
}
BAD_MASK: dict[str, tuple[Any, str]] = {
    "polygon": ({"segmentation": [[1, 1, 2, 2, 3, 1]]}, "segmentation is polygons"),
    "null": ({"segmentation": None}, "segmentation is a NoneType"),
    "turned": ({"segmentation": SEG | {"size": [9, 6]}}, r"its size is \[9, 6\].*transposed"),
    "huge": ({"segmentation": SEG | {"size": [10**9, 10**9]}}, r"its size is \[1000000000, 1000000000\]"),
    "float-size": ({"segmentation": SEG | {"size": [6.0, 9.0]}}, "its size is"),
    "sum": ({"segmentation": SEG | {"counts": [5, 6]}}, "11 pixels, the image has 54"),
    "negative": ({"segmentation": SEG | {"counts": [-5, 59]}}, "an RLE count of -5"),
    "nan": ({"score": float("nan")}, "its score is nan, expected a finite number"),
    "inf": ({"score": float("inf")}, "its score is inf"),
    "bool": ({"score": True}, "its score is True"),
    "word": ({"score": "high"}, "its score is high"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_coco_file_is_refused_when_it_is_opened(name: str, tmp_path: Path) -> None:
    data, words = BROKEN[name]
    with pytest.raises(ModelError, match=rf"\Ap\.json: .*{words}"):
        opened(tmp_path, data)


@pytest.mark.parametrize("name", BAD_MASK)
def test_a_broken_mask_is_refused_when_its_image_is_read(name: str, tmp_path: Path) -> None:
    change, words = BAD_MASK[name]
    with (
        opened(tmp_path, [ROW | change]) as files,
        pytest.raises(ModelError, match=f"p.json: 'a', result 1: .*{words}"),
    ):
        files.read("a")


def test_a_kaggle_file_with_sizes_and_broken_ones(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("ImageId,EncodedPixels,Height,Width,Usage\na,1 2,6,9,x\na,5 1,9,6,x\nb,1 2,six,9,x\nc,3 0,6,9,x\n")
    with open_masks(path, SHAPES, "labelmap") as files:
        assert files.report.notes == ("columns not read: Usage",)
        for key, words in {
            "a": "line 3: its size is .*transposed",
            "b": "line 4: its size",
            "c": "line 5: a run",
        }.items():
            with pytest.raises(ModelError, match=f"p.csv: '{key}', {words}"):
                files.read(key)
    for text, words in {
        "": "cannot be read",
        "id,rle\n": "one column ImageId",
        "ImageId,EncodedPixels\na\n": "cannot be read",
    }.items():
        path.write_text(text)
        with pytest.raises(ModelError, match=rf"p\.csv: .*{words}"):
            open_masks(path, SHAPES, "labelmap")


def test_a_mask_of_the_whole_image_in_one_long_row(tmp_path: Path) -> None:
    checker = np.indices((1000, 1000)).sum(axis=0) % 2
    path = tmp_path / "p.csv"
    path.write_text(f"ImageId,EncodedPixels\na,{rle.pairs_of(rle.spans_of(checker))}\n")
    assert path.stat().st_size > 4 << 20
    with open_masks(path, {"a": (1000, 1000)}, "labelmap") as files:
        value = files.read("a")
    assert isinstance(value, Masks) and np.array_equal(rle.mask_of(value.spans("x")[0], (1000, 1000)), checker)
