"""What a record shows of a segmentation beside its metrics: each image on its own, and F1 over the threshold."""

from __future__ import annotations

from dataclasses import dataclass

from lensbench.metrics.base import Rows
from lensbench.metrics.maskrows import TWENTIETHS


@dataclass(frozen=True)
class ImageScore:
    """One image: counts at IoU .50 and its own F1 and foreground IoU.

    The counts and ``f1`` are None where nothing was compared by objects; ``f1`` also where neither side has one,
    ``iou_fg`` where neither side has foreground.
    """

    n_truth: int | None
    n_predicted: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    splits: int | None
    merges: int | None
    f1: float | None
    iou_fg: float | None


@dataclass(frozen=True)
class CurvePoint:
    """The counts pooled over the split at one threshold, and their F1; None where there are no objects."""

    threshold: float
    tp: int
    fp: int
    fn: int
    f1: float | None


def per_image(rows: Rows) -> list[ImageScore]:
    """Every image in order, from `mask_rows`."""
    scores = []
    for i, pixels in enumerate(rows["confusion"]):
        both = int(pixels[1:, 1:].sum())
        union = int(pixels.sum() - pixels[0, 0])
        true, predicted = int(pixels[1:].sum()), int(pixels[:, 1:].sum())
        iou = both / (true + predicted - both) if union else None
        if "objects" not in rows:
            scores.append(ImageScore(None, None, None, None, None, None, None, None, iou))
            continue
        n_truth, n_predicted = rows["objects"][i].tolist()
        tp = int(rows["tp"][i, 0])
        splits, merges = rows["fragments"][i].tolist()
        f1 = _f1(tp, n_truth, n_predicted)
        scores.append(ImageScore(n_truth, n_predicted, tp, n_predicted - tp, n_truth - tp, splits, merges, f1, iou))
    return scores


def curve(rows: Rows) -> list[CurvePoint]:
    """The pooled counts at .50, .55 … .95, from `mask_rows`; nothing where nothing was compared by objects."""
    if "objects" not in rows:
        return []
    n_truth, n_predicted = rows["objects"].sum(axis=0).tolist()
    return [
        CurvePoint(k / 20, tp, n_predicted - tp, n_truth - tp, _f1(tp, n_truth, n_predicted))
        for k, tp in zip(TWENTIETHS, rows["tp"].sum(axis=0).tolist(), strict=True)
    ]


def _f1(tp: int, n_truth: int, n_predicted: int) -> float | None:
    return 2 * tp / (n_truth + n_predicted) if n_truth + n_predicted else None
