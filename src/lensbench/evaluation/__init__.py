"""Evaluate a model, or predictions made elsewhere, on a benchmark: `evaluate(model, benchmark)` is `bench eval`.

`run` holds what every track does: get the data, hold its rows, name the run's folder, write the record. `classes`
and `masks` do the inner work of classification and segmentation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.errors import ModelError
from lensbench.evaluation.run import Brought, Evaluated, Options
from lensbench.models.card import Card, read_card

if TYPE_CHECKING:
    from lensbench.isp.tiers import Tier
    from lensbench.isp.view import View
    from lensbench.models.model import Model
    from lensbench.sources import Progress


def evaluate(
    model: str | Path,
    benchmark: str | Benchmark | None = None,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    source: str | Path | None = None,
    partial: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    confirm: Callable[[str], bool] | None = None,
    isp: str | Tier | View | None = None,
) -> Evaluated:
    """Run a model over a benchmark's split and score it.

    Args:
        model: an `.onnx` file, a folder with `model.toml` (a submission), or ``module:function``: trusted Python code.
        benchmark: its name, or a Benchmark; None picks the one the model fits, where there is only one.
        config: another config of the benchmark's dataset (`specimen`).
        labels: the order of a classifier's outputs: a published order, a file with one name per line, or the names.
        source: archives or an unpacked copy on disk (else `LENSBENCH_SOURCE`, else fetched).
        partial: take a source that holds only part of the split; the record is then incomplete.
        out: the run's folder (default `runs/<benchmark>/<model>-<sha8 of the plan>/`). A killed run goes on in it.
        progress: told about files, images and notes.
        confirm: asked with the size before anything is downloaded.
        isp: the benchmark in other views (`lensbench.derived.in_views`): a tier's name or TOML file, or a view (.json).

    Raises:
        LensbenchError: one line saying what is wrong and how to mend it; nothing half-written is left.
    """
    from lensbench.models.fit import chosen, scorable

    options = Options(source, partial, out, progress, confirm, time.perf_counter())
    read = read_model(model)
    spec = scorable(_seen(chosen(read, benchmark, config), isp))
    if spec.task == "segmentation":
        from lensbench.evaluation import masks

        if labels is not None:
            raise ModelError(f"labels are the order of a classifier's outputs, and {spec.name} is a segmentation")
        return masks.evaluate_model(read, spec, options)
    from lensbench.evaluation import classes

    return classes.evaluate_model(read, spec, labels, options)


def evaluate_predictions(
    predictions: str | Path,
    benchmark: str | Benchmark,
    *,
    config: str | None = None,
    labels: str | Sequence[str] | None = None,
    name: str | None = None,
    card: Card | None = None,
    source: str | Path | None = None,
    partial: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    confirm: Callable[[str], bool] | None = None,
    isp: str | Tier | View | None = None,
) -> Evaluated:
    """Score predictions made elsewhere.

    Classes: Parquet or CSV, see `lensbench.predictions`; no image is read, and `labels` names the columns of a bare
    `scores` list. Masks: a folder or file that `lensbench.masks.read` knows, or what a run stored; the true masks come
    from `source` (with `partial`, `progress` and `confirm` as `evaluate` takes them). `card` (default: the
    `model.toml` beside the file) and `name` say whose they are; `isp` as `evaluate` takes it: the predictions are then
    on the images in these views. Raises LensbenchError in one line.
    """
    from lensbench.models.fit import scorable

    options = Options(source, partial, out, progress, confirm, time.perf_counter())
    path = Path(predictions)
    given = get_benchmark(benchmark, config) if isinstance(benchmark, str) else benchmark
    spec = scorable(_seen(given, isp))
    if spec.views is not None and spec.views.search is not None:
        raise ModelError(
            f"{spec.name}: its views are found by asking the model, one question after another, and predictions "
            "made elsewhere answer none: give the model"
        )
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    brought = Brought(path, name, card or _card_beside(path))
    if spec.task == "segmentation":
        from lensbench.evaluation import masks

        if labels is not None:
            raise ModelError(f"labels are the order of class scores, and {spec.name} is a segmentation")
        return masks.score_predictions(brought, spec, options)
    from lensbench.evaluation import classes

    if source is not None or partial:
        raise ModelError("class predictions are scored with no image: leave the source and partial out")
    return classes.score_predictions(brought, spec, labels, options)


def read_model(model: str | Path) -> Model:
    """The model in an `.onnx` file or a folder, or ``module:function``; raises ModelError."""
    from lensbench.models.function import declared_function, is_function, read_function
    from lensbench.models.onnx import read_onnx

    if isinstance(model, str) and is_function(model):
        return read_function(model)
    path = Path(model)
    card = read_card(path / "model.toml") if path.is_dir() else Card()
    return declared_function(card) if card.function else read_onnx(path)


def _seen(spec: Benchmark, isp: str | Tier | View | None) -> Benchmark:
    """The benchmark, in the views that are asked for."""
    if isp is None:
        return spec
    from lensbench.derived import in_views

    return in_views(spec, isp)


def _card_beside(path: Path) -> Card:
    beside = path.parent / "model.toml"
    card = read_card(beside) if beside.is_file() else Card()
    return card if card.file == path.name else Card()


__all__ = ["Evaluated", "evaluate", "evaluate_predictions"]
