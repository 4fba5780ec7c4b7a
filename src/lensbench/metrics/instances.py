"""Segmentation metrics: objects matched one to one, foreground and classes pixel by pixel.

Counts are summed over the split and divided once (``pooled``), or each image has its own value and those are
averaged (``image-mean``), as the protocol says. An image without a true and without a predicted object adds nothing
to pooled counts and counts as 1 in an image mean. An image of which a ratio says nothing (a precision where nothing
was predicted) is left out of a mean. `iou_fg`, `dice_fg`, `miou` and `iou@<class>` are pooled under every protocol;
their ``_macro`` forms are image means under every protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.metrics.base import Additive, FloatArray, Metric, Rows
from lensbench.metrics.maskrows import TWENTIETHS, mask_rows
from lensbench.metrics.masks import MaskPrediction, MaskTruth

Parts = Callable[[Rows], FloatArray]
"""rows → (n, …, 2): what is divided by what."""

Pool = Literal["by protocol", "split", "image"]

_CAICEDO = "Caicedo et al., Cytometry A 95:952-965 (2019)"
_PQ = "Kirillov et al., CVPR 2019"
_JACCARD = "Jaccard, New Phytologist 11:37-50 (1912)"
_DICE = "Dice, Ecology 26:297-302 (1945)"


def quotient(parts: Parts, pool: Pool = "by protocol", *, empty: bool = True, mean: bool = False) -> Additive:
    """A quotient of sums over images, or the mean of the images' own quotients.

    `empty`: in a mean of images, one with nothing on either side counts as 1 instead of being left out. `mean`:
    ``parts`` has an axis of thresholds, whose quotients are averaged last.
    """

    def sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
        own = parts(rows).astype(np.float64)
        if pool == "image" or (pool == "by protocol" and rows["image_mean"].any()):
            right = _nothing(rows) if empty else np.zeros(len(own), np.bool_)
            own = _own_quotients(own, right)
        totals = np.zeros((n_groups, *own.shape[1:]))
        np.add.at(totals, group, own)
        return totals

    def value(sums: FloatArray) -> FloatArray:
        found = divided(sums[..., 0], sums[..., 1])
        return np.asarray(found.mean(axis=-1)) if mean else found

    return Additive(sums, value)


def divided(a: FloatArray, b: FloatArray) -> FloatArray:
    """a / b, NaN where b is 0."""
    found: FloatArray = np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)
    return found


def _own_quotients(parts: FloatArray, right: NDArray[np.bool_]) -> FloatArray:
    """(quotient, 1) of each image that has one, (1, 1) of those that are `right` without, (0, 0) of the others."""
    own = divided(parts[..., 0], parts[..., 1])
    own[np.isnan(own) & right.reshape(-1, *[1] * (own.ndim - 1))] = 1
    some = ~np.isnan(own)
    return np.stack([np.where(some, own, 0.0), some], axis=-1)


def _nothing(rows: Rows) -> NDArray[np.bool_]:
    """The images without foreground in truth and prediction."""
    pixels = rows["confusion"]
    empty: NDArray[np.bool_] = pixels.sum(axis=(1, 2)) == pixels[:, 0, 0]
    return empty


def _both(a: NDArray[np.int64], b: NDArray[np.int64]) -> FloatArray:
    return np.stack([a, b], axis=-1)


def _f1(rows: Rows, at: int | slice) -> FloatArray:
    tp = rows["tp"][:, at]
    total = rows["objects"].sum(axis=1)
    return _both(2 * tp, np.broadcast_to(total.reshape(-1, *[1] * (tp.ndim - 1)), tp.shape))


def _dsb(rows: Rows) -> FloatArray:
    tp = rows["tp"]
    return _both(tp, rows["objects"].sum(axis=1)[:, None] - tp)


def _per(rows: Rows, column: str, side: int, at: int | None = None, times: int = 1) -> FloatArray:
    """A count over the number of true (0) or predicted (1) objects."""
    counted = rows[column] if at is None else rows[column][:, at]
    return _both(times * counted, rows["objects"][:, side])


def _over_all(rows: Rows, column: str) -> FloatArray:
    """2 x / (true + predicted objects)."""
    return _both(2 * rows[column], rows["objects"].sum(axis=1))


def _foreground(rows: Rows, dice: bool) -> FloatArray:
    pixels = rows["confusion"]
    both = pixels[:, 1:, 1:].sum(axis=(1, 2))
    true, predicted = pixels[:, 1:].sum(axis=(1, 2)), pixels[:, :, 1:].sum(axis=(1, 2))
    return _both(2 * both, true + predicted) if dice else _both(both, true + predicted - both)


def _class_sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
    totals = np.zeros((n_groups, *rows["confusion"].shape[1:]))
    np.add.at(totals, group, rows["confusion"])
    return totals


def _class_iou(sums: FloatArray) -> FloatArray:
    """(…, C) of confusions (…, C, C); NaN where a class is nowhere."""
    both = np.diagonal(sums, axis1=-2, axis2=-1)
    return divided(both, sums.sum(axis=-1) + sums.sum(axis=-2) - both)


def _miou(sums: FloatArray) -> FloatArray:
    present = sums.sum(axis=-1) > 0
    return divided(np.sum(_class_iou(sums), axis=-1, where=present), present.sum(axis=-1).astype(np.float64))


def no_objects(truth: MaskTruth, prediction: MaskPrediction) -> str | None:
    """Why objects cannot be compared, if they cannot."""
    if not truth.instances:
        return "needs objects, the benchmark's truth is a class map"
    return "needs objects, the predictions are class maps" if prediction.kind == "classmap" else None


def no_pixels(truth: MaskTruth, prediction: MaskPrediction) -> str | None:
    """Why pixels cannot be compared, or None."""
    if not truth.instances and len(truth.classes) > 2 and prediction.kind != "classmap":
        return f"needs class maps of {len(truth.classes)} classes, the predictions are objects without a class"
    return None


def _no_class(truth: MaskTruth, prediction: MaskPrediction, name: str) -> str | None:
    if name not in truth.classes:
        return f"no class {name!r}; the classes are {', '.join(truth.classes)}"
    return no_pixels(truth, prediction)


def mask_metric(
    metric_id: str,
    additive: Additive,
    title: str,
    formula: str,
    source: str,
    lacks: Callable[[MaskTruth, MaskPrediction], str | None] = no_objects,
    direction: Literal["higher", "lower"] = "higher",
) -> Metric:
    """A metric in [0, 1] over `mask_rows`."""
    return Metric(
        id=metric_id,
        version=1,
        direction=direction,
        scale="unit",
        title=title,
        formula=formula,
        source=source,
        per_sample=mask_rows,
        reduce=additive.reduce,
        additive=additive,
        lacks=lacks,
        tasks=("segmentation",),
    )


def _at_thresholds() -> list[Metric]:
    metrics = []
    for at, twentieths in enumerate(TWENTIETHS):
        t = f"{twentieths / 20:g}"
        for name, parts, formula in (
            ("f1", partial(_f1, at=at), "2 TP / (2 TP + FP + FN)"),
            ("precision", partial(_per, column="tp", side=1, at=at), "TP / (TP + FP)"),
            ("recall", partial(_per, column="tp", side=0, at=at), "TP / (TP + FN)"),
        ):
            title = f"{'F1' if name == 'f1' else name.capitalize()} of objects at IoU {t}"
            metrics.append(
                mask_metric(f"{name}@{t}", quotient(parts), title, f"{formula} of objects matched at IoU {t}", _CAICEDO)
            )
    return sorted(metrics, key=lambda metric: metric.id.partition("@")[0])


def _by_size() -> list[Metric]:
    metrics = []
    for at, (name, area) in enumerate((("small", "A < 1024"), ("medium", "1024 <= A < 9216"), ("large", "A >= 9216"))):

        def parts(rows: Rows, at: int = at) -> FloatArray:
            return np.asarray(rows["sizes"][:, at].astype(np.float64))

        formula = f"TP / (TP + FN) at IoU 0.5 of true objects of {area} pixels"
        metrics.append(
            mask_metric(
                f"recall_{name}",
                quotient(parts, empty=False),
                f"Recall of {name} objects",
                formula,
                "size bins: Lin et al., ECCV 2014 (COCO)",
            )
        )
    return metrics


def _quality() -> list[Metric]:
    def sq(rows: Rows) -> FloatArray:
        return _both(rows["iou_sum"], rows["strict"])

    def aji(rows: Rows) -> FloatArray:
        return np.asarray(rows["aji"].astype(np.float64))

    covered = "the IoU of the predicted one that covers more than half of it, or 0"
    most = "S = pixels shared under the 1-1 assignment of most summed IoU"
    entries = (
        (
            "f1_mean",
            quotient(partial(_f1, at=slice(None)), mean=True),
            "F1 of objects, mean over thresholds",
            "mean over t = .50, .55 … .95 of f1@t",
            _CAICEDO,
        ),
        (
            "ap_dsb",
            quotient(_dsb, mean=True),
            "AP of the Data Science Bowl",
            "mean over t = .50, .55 … .95 of TP / (TP + FP + FN)",
            "Caicedo et al., Nature Methods 16:1247-1253 (2019)",
        ),
        (
            "pq",
            quotient(partial(_over_all, column="iou_sum")),
            "Panoptic quality",
            "sum of IoU / (TP + FP / 2 + FN / 2) over pairs of IoU > 0.5",
            _PQ,
        ),
        (
            "sq",
            quotient(sq, empty=False),
            "Segmentation quality",
            "mean IoU of pairs of IoU > 0.5",
            _PQ,
        ),
        (
            "rq",
            quotient(partial(_over_all, column="strict")),
            "Recognition quality",
            "TP / (TP + FP / 2 + FN / 2) over pairs of IoU > 0.5",
            _PQ,
        ),
        (
            "aji_plus",
            quotient(aji),
            "Aggregated Jaccard index, 1-1",
            f"S / (true + predicted pixels - S), {most}",
            "Graham et al., Medical Image Analysis 58:101563 (2019)",
        ),
        (
            "seg",
            quotient(partial(_per, column="seg", side=0)),
            "SEG",
            f"mean over true objects of {covered}",
            "Maška et al., Bioinformatics 30:1609-1617 (2014)",
        ),
    )
    return [mask_metric(*entry) for entry in entries]


def _fragments() -> list[Metric]:
    splits = quotient(partial(_per, column="fragments", side=0, at=0), empty=False)
    merges = quotient(partial(_per, column="fragments", side=1, at=1), empty=False)
    split = "true objects with IoU > 0.1 to several predicted ones / true objects"
    merge = "predicted objects with IoU > 0.1 to several true ones / predicted objects"
    return [
        mask_metric("splits", splits, "Split objects", split, _CAICEDO, direction="lower"),
        mask_metric("merges", merges, "Merging objects", merge, _CAICEDO, direction="lower"),
    ]


def _of_pixels() -> list[Metric]:
    metrics = []
    for name, title, formula, source in (
        ("iou", "IoU", "TP / (TP + FP + FN)", _JACCARD),
        ("dice", "Dice", "2 TP / (2 TP + FP + FN)", _DICE),
    ):
        parts = partial(_foreground, dice=name == "dice")
        split, image = quotient(parts, "split"), quotient(parts, "image")
        pooled = f"{formula} of the foreground pixels of the split"
        own = f"mean over images of {formula} of foreground pixels; 1 where there are none"
        metrics += [
            mask_metric(f"{name}_fg", split, f"Foreground {title}", pooled, source, no_pixels),
            mask_metric(f"{name}_fg_macro", image, f"Foreground {title}, mean of images", own, source, no_pixels),
        ]
    miou = "mean over classes in the truth, background included, of TP / (TP + FP + FN) of pixels"
    voc = "Everingham et al., IJCV 111:98-136 (2015)"
    return [*metrics, mask_metric("miou", Additive(_class_sums, _miou), "Mean IoU of classes", miou, voc, no_pixels)]


CLASS_IOU = "iou@"
"""What the id of one class's IoU begins with; the class's name follows."""


def class_iou(name: str) -> Metric:
    """The IoU of the class of that name, pooled over the split."""

    def sums(rows: Rows, group: NDArray[np.intp], n_groups: int) -> FloatArray:
        if not len(group):
            return np.zeros((n_groups, 2))
        c = rows["classes"][0].tolist().index(name)
        pixels = rows["confusion"]
        both = pixels[:, c, c]
        totals = np.zeros((n_groups, 2))
        np.add.at(totals, group, _both(both, pixels[:, c].sum(axis=1) + pixels[:, :, c].sum(axis=1) - both))
        return totals

    additive = Additive(sums, lambda sums: divided(sums[..., 0], sums[..., 1]))
    formula = "TP / (TP + FP + FN) of the pixels of the class, over the split"
    return mask_metric(
        f"{CLASS_IOU}{name}", additive, f"IoU of {name}", formula, _JACCARD, partial(_no_class, name=name)
    )


MASK_METRICS: tuple[Metric, ...] = (*_at_thresholds(), *_quality(), *_fragments(), *_by_size(), *_of_pixels())
