"""Metrics: per-sample rows, values reduced from them, and intervals.

`score` computes named metrics with their intervals; `METRICS` lists them; `per_class`, `confusion` and
`unsupported` are what a board shows beside them. A new metric passes
`lensbench.metrics.conformance.check_metric`.
"""

from lensbench.metrics.base import Additive, ClassInfo, Metric, Prediction, Rows, Truth
from lensbench.metrics.classes import ClassScore, confusion, per_class, unsupported
from lensbench.metrics.classification import ranking_rows
from lensbench.metrics.maskrows import mask_rows
from lensbench.metrics.masks import MaskPrediction, MaskTruth
from lensbench.metrics.perimage import CurvePoint, ImageScore, curve, per_image
from lensbench.metrics.scoring import METRICS, MetricValue, get_metric, ready_metrics, rows_of, score

__all__ = [
    "METRICS",
    "Additive",
    "ClassInfo",
    "ClassScore",
    "CurvePoint",
    "ImageScore",
    "MaskPrediction",
    "MaskTruth",
    "Metric",
    "MetricValue",
    "Prediction",
    "Rows",
    "Truth",
    "confusion",
    "curve",
    "get_metric",
    "mask_rows",
    "per_class",
    "per_image",
    "ranking_rows",
    "ready_metrics",
    "rows_of",
    "score",
    "unsupported",
]
