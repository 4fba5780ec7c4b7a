"""Any torchmetrics metric of one number, by name, over the stored predictions and with the project's interval.

``torchmetrics:classification.MulticlassMatthewsCorrCoef`` names a class of torchmetrics' public ``classification`` or
``segmentation`` module (the module may be left out), which is called with the arguments the benchmark states. A
classification gives it probabilities (softmax of logits), or the predicted classes, and true classes; a segmentation
the predicted and the true class of every pixel, image by image, instances as foreground. Its value is in no range
known beforehand, so the interval is taken on the plain scale.

What is known without torch, so that specs and boards are read without it: the name, and which way is better.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import BenchmarkError
from lensbench.metrics.base import Metric, Prediction, Rows, Task, Truth, check_aligned
from lensbench.metrics.calibration import probabilities
from lensbench.metrics.maskrows import class_maps
from lensbench.metrics.masks import MaskPrediction, MaskTruth
from lensbench.metrics.overlap import runs

PREFIX = "torchmetrics:"
NAME = re.compile(r"(?:(classification|segmentation)\.)?([A-Z][A-Za-z0-9]{0,60})", re.ASCII)
INSTALL = 'needs torch and torchmetrics: pip install "lensbench[torch]"'

TASKS = ("Binary", "Multiclass")
"""What a name may begin with before it says what is measured."""

LOWER = ("HammingDistance", "CalibrationError", "HingeLoss", "EER", "HausdorffDistance")
"""Those of which less is better."""

NO_NUMBER = (
    *("ConfusionMatrix", "ROC", "PrecisionRecallCurve", "StatScores", "GroupStatRates", "Fairness"),
    *("PrecisionAtFixedRecall", "RecallAtFixedPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"),
)
"""Those that give curves, tables or pairs."""

RUN = np.dtype([("true", np.uint8), ("mine", np.uint8), ("length", np.uint32)])
"""Pixels in a row of one true and one predicted class."""

Arguments = Mapping[str, Any]


def torch_metric(metric_id: str, arguments: Arguments | None = None) -> Metric:
    """The metric that `metric_id` names, with the arguments of its class; torch is imported when it is reduced.

    Raises:
        BenchmarkError: the name is none of torchmetrics' public ones that give a number.
    """
    match = NAME.fullmatch(metric_id.removeprefix(PREFIX))
    if match is None:
        known = f"{PREFIX}classification.<Name> or {PREFIX}segmentation.<Name>"
        raise BenchmarkError(f"metric {metric_id[:80]!r}: the metrics of torchmetrics are named {known}")
    module, name = match[1] or "classification", match[2]
    if name.startswith("Multilabel"):
        raise BenchmarkError(f"metric {metric_id!r} is of samples with several labels each, ours have one")
    if measured(name) in NO_NUMBER:
        raise BenchmarkError(f"metric {metric_id!r} is no single number")
    direction: Literal["higher", "lower"] = "lower" if measured(name) in LOWER else "higher"
    made = partial(_made, metric_id, module, name, dict(arguments or {}))
    tasks: tuple[Task, ...] = ("segmentation",) if module == "segmentation" else ("classification", "segmentation")
    stated = ", ".join(f"{key} = {value}" for key, value in (arguments or {}).items())
    return Metric(
        id=metric_id,
        version=1,
        direction=direction,
        scale="real",
        title=f"{name} (torchmetrics)",
        formula=f"torchmetrics.{module}.{name}({stated})",
        source="torchmetrics, Detlefsen et al., Journal of Open Source Software 7:4101 (2022)",
        per_sample=torch_rows,
        reduce=partial(_reduce, metric_id, made, name.startswith("Binary"), module == "segmentation"),
        lacks=partial(_lacks, binary=name.startswith("Binary")),
        ready=made,
        tasks=tasks,
    )


def measured(name: str) -> str:
    """The class's name without its task."""
    for task in TASKS:
        name = name.removeprefix(task)
    return name


def torch_rows(truth: Truth | MaskTruth, prediction: Prediction | MaskPrediction) -> Rows:
    """What torchmetrics is given of each sample.

    Returns:
        For a classification ``label`` (n,) int32, and ``scores`` (n, C) float64 probabilities or ``answer`` (n,)
        int32 the predicted class. For a segmentation ``runs`` (n,) object, an array of `RUN` each, and ``shape``
        (n, 2) int64.
    """
    if isinstance(truth, MaskTruth) and isinstance(prediction, MaskPrediction):
        return _pixel_rows(truth, prediction)
    assert isinstance(truth, Truth) and isinstance(prediction, Prediction)
    check_aligned(truth, prediction)
    if prediction.top is not None:
        return {"label": truth.label, "answer": prediction.top[:, 0]}
    return {"label": truth.label, "scores": probabilities(prediction)}


def _pixel_rows(truth: MaskTruth, prediction: MaskPrediction) -> Rows:
    found = np.empty(len(truth), np.object_)
    shapes = np.zeros((len(truth), 2), np.int64)
    for row, (true, mine) in enumerate(class_maps(truth, prediction)):
        blocks = []
        for values, others, lengths in runs(true, mine):
            block = np.empty(len(lengths), RUN)
            block["true"], block["mine"], block["length"] = values, others, lengths
            blocks.append(block)
        found[row], shapes[row] = np.concatenate(blocks), true.shape
    return {"runs": found, "shape": shapes}


def _made(metric_id: str, module: str, name: str, arguments: Arguments) -> Any:
    """A new metric object; BenchmarkError without torch, for an unknown name or arguments it does not take."""
    try:
        import torch
        import torchmetrics
        from torchmetrics import classification, segmentation
    except ImportError as error:
        raise BenchmarkError(f"metric {metric_id!r} {INSTALL}") from error
    public = {"classification": classification, "segmentation": segmentation}[module]
    if name not in public.__all__:
        raise BenchmarkError(f"metric {metric_id!r}: torchmetrics {torchmetrics.__version__} has no {module}.{name}")
    try:
        metric = getattr(public, name)(**arguments)
        metric.set_dtype(torch.float64)
    except Exception as error:  # whatever a class of theirs makes of a stranger's arguments
        raise _theirs(metric_id, error) from error
    if not isinstance(metric, torchmetrics.Metric):
        raise BenchmarkError(f"metric {metric_id!r}: {module}.{name} is no metric")
    return metric


def _reduce(metric_id: str, made: Callable[[], Any], binary: bool, whole_images: bool, rows: Rows) -> float | None:
    if not len(next(iter(rows.values()))):
        return None
    metric = made()
    try:
        for mine, true in _inputs(rows, binary, whole_images):
            metric.update(mine, true)
        value = metric.compute()
    except Exception as error:  # their checks raise of every kind: the input does not fit the metric
        raise _theirs(metric_id, error) from error
    if getattr(value, "numel", lambda: 0)() != 1:
        raise BenchmarkError(f"metric {metric_id!r} gives several numbers; state an average in its arguments")
    number = float(value)
    return number if math.isfinite(number) else None


def _inputs(rows: Rows, binary: bool, whole_images: bool) -> Any:
    """(predicted, true) tensors of each update."""
    import torch

    if "label" in rows:
        mine = rows["answer"].astype(np.int64) if "answer" in rows else rows["scores"]
        if binary and "scores" in rows:
            mine = mine[:, 1]
        yield torch.from_numpy(mine), torch.from_numpy(rows["label"].astype(np.int64))
        return
    for found, shape in zip(rows["runs"], rows["shape"], strict=True):
        size = (1, *shape.tolist()) if whole_images else (-1,)
        pair = (np.repeat(found[side], found["length"]).astype(np.int64).reshape(size) for side in ("mine", "true"))
        yield tuple(map(torch.from_numpy, pair))


def _theirs(metric_id: str, error: Exception) -> BenchmarkError:
    return BenchmarkError(f"metric {metric_id!r}: torchmetrics says: {' '.join(str(error).split())[:300]}")


def _lacks(truth: Any, prediction: Any, binary: bool) -> str | None:
    n_classes = len(truth.classes)
    if binary and n_classes != 2:
        return f"needs two classes, there are {n_classes}"
    if isinstance(truth, MaskTruth):
        objects = not truth.instances and n_classes > 2 and prediction.kind != "classmap"
        return "needs class maps, the predictions are objects without a class" if objects else None
    unanswered: NDArray[np.bool_] | None = None if prediction.top is None else prediction.top[:, 0] < 0
    if unanswered is not None and unanswered.any():
        return f"needs an answer for every sample, {int(unanswered.sum())} have none"
    return None
