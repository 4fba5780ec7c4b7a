"""One set of predictions, many "APs": the table of docs/metrics.md, from the real test set of Aitslab-bioimaging1.

    python scripts/many_aps.py --source ../shared/realdata/aitslab_bioimaging1

The objects are those of Otsu's threshold and a watershed. What they do not have, a score each, is made up here in five
ways, to show that the score and not the masks then makes COCO's AP; a benchmark never does that.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.images.decode import decode
from lensbench.images.labelmap import from_colours
from lensbench.masks.classic import otsu_watershed
from lensbench.masks.protocol import Scoring
from lensbench.masks.values import LabelMap, Masks, to_masks
from lensbench.metrics import MaskPrediction, MaskTruth, mask_rows, score
from lensbench.metrics.masks import Map
from lensbench.metrics.overlap import overlap

KAGGLE = Scoring(iou=">", pooling="image-mean")


def read(source: Path) -> tuple[MaskTruth, list[LabelMap]]:
    """The test split's true objects, and what Otsu and a watershed find."""
    maps: list[Map] = []
    found = []
    for path in sorted((source / "test_nuclei" / "images").glob("*.png")):
        annotation = path.parent.parent / "annotations" / f"{path.stem}_objects.png"
        true = decode(annotation.read_bytes(), annotation.name)
        maps.append(from_colours(true) if true.ndim == 3 else true)
        found.append(LabelMap(otsu_watershed(decode(path.read_bytes(), path.name))))
    return MaskTruth(maps, ("background", "nucleus")), found


def rows(truth: MaskTruth, found: list[LabelMap]) -> Iterator[tuple[str, str, float]]:
    """(what it is called, how it is counted, its value) of every line."""
    prediction = MaskPrediction(found)
    mean = replace(truth, scoring=Scoring(pooling="image-mean"))

    def value(metric: str, over: MaskTruth = truth, answers: MaskPrediction = prediction) -> float:
        number = score(over, answers, [metric], np.arange(len(over)))[metric].value
        assert number is not None
        return number

    yield "`ap_dsb`", "pooled, ≥", value("ap_dsb")
    yield "`ap_dsb`, as at Kaggle", "mean of images, >", value("ap_dsb", replace(truth, scoring=KAGGLE))
    tables = mask_rows(truth, prediction)
    tp, total = tables["tp"][:, 0], tables["objects"].sum(axis=1)
    yield "TP / (TP + FP + FN) at 0.5", "pooled, ≥", float(tp.sum() / (total - tp).sum())
    yield "TP / (TP + FP + FN) at 0.5", "mean of images, ≥", float((tp / (total - tp)).mean())
    yield "`f1@0.5`", "pooled, ≥", value("f1@0.5")
    yield "`f1_mean`", "pooled, ≥", value("f1_mean")
    yield "`f1_mean`", "mean of images, ≥", value("f1_mean", mean)
    for name, made_up in invented(truth, found):
        yield "`coco_ap`", f"score made up: {name}", value("coco_ap", answers=made_up)
    yield "`pq`", "pooled", value("pq")
    yield "`pq`", "mean of images", value("pq", mean)
    yield "`seg`", "pooled", value("seg")
    yield "`aji_plus`", "pooled", value("aji_plus")
    yield "`iou_fg`", "pooled pixels", value("iou_fg")
    yield "`miou`", "pooled pixels, background a class", value("miou")
    pixels = tables["confusion"].sum(axis=0)
    yield "pixel accuracy", "pooled pixels", float(np.trace(pixels) / pixels.sum())


def invented(truth: MaskTruth, found: list[LabelMap]) -> Iterator[tuple[str, MaskPrediction]]:
    """The same masks with scores that nobody gave."""
    rng = np.random.default_rng(0)
    masks = [to_masks(one) for one in found]
    pairs = [overlap(true, one.pixels) for true, one in zip(truth.maps, found, strict=True)]
    best = [np.zeros(len(pair.predicted_areas)) for pair in pairs]
    for pair, scores in zip(pairs, best, strict=True):
        np.maximum.at(scores, pair.predicted, pair.iou)
    kinds: dict[str, list[NDArray[Any]]] = {
        "the same for all": [np.ones(len(pair.predicted_areas)) for pair in pairs],
        "random": [rng.random(len(pair.predicted_areas)) for pair in pairs],
        "area": [pair.predicted_areas.astype(np.float64) for pair in pairs],
        "minus area": [-pair.predicted_areas.astype(np.float64) for pair in pairs],
        "IoU with the truth": best,
    }
    for name, made_up in kinds.items():
        answers = [Masks(one.shape, one.rle, own) for one, own in zip(masks, made_up, strict=True)]
        yield name, MaskPrediction(answers)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Print the table of many APs as Markdown.")
    parser.add_argument("--source", type=Path, required=True, help="the unpacked dataset")
    args = parser.parse_args()
    print("| score | counted | value |\n|---|---|---|")
    for name, how, value in rows(*read(args.source)):
        print(f"| {name} | {how} | {value:.3f} |")


if __name__ == "__main__":
    main()
