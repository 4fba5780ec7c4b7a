"""`bench eval`: score a model, or predictions made elsewhere, on a benchmark."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import click

from lensbench.cli.options import asker, registry_option

HEADLINE = "corrected-12"
"""The tier that `--isp` alone means: `lensbench.isp.tiers.HEADLINE`, whose module is a heavy one."""


@click.command("eval")
@click.option("--model", help="An .onnx file, a folder with model.toml, or MODULE:FUNCTION (trusted Python code).")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Predictions made elsewhere: classes (.parquet or .csv: id, and label, top1…topK or one column per class), "
    "or masks (a folder or zip of label PNG, TIFF or .npy; .npz, COCO .json, RLE .csv; .parquet as stored here; on "
    "several views a folder of these, one for each view).",
)
@click.option("--benchmark", help="The benchmark's name; left out, the one the model fits.")
@click.option("--config", help="Another config of the benchmark's dataset: `specimen` is synthetic and always there.")
@click.option("--labels", help="Order of the model's outputs: a published order, or a file with one name per line.")
@click.option(
    "--source",
    type=click.Path(exists=True, path_type=Path),
    help="The dataset's archives, or an unpacked copy, on disk (else LENSBENCH_SOURCE, else fetched).",
)
@click.option("--partial", is_flag=True, help="Take a source that holds only part of the split; the record says so.")
@click.option(
    "--isp",
    is_flag=False,
    flag_value=HEADLINE,
    metavar="[TIER|FILE]",
    help="The images in other views: a tier by name or .toml file, or one view in a .json file; alone, corrected-12. "
    "8-bit images are made raw frames for it, and whatever is shown then says that they are simulated.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run (default runs/BENCHMARK/MODEL-SHA8).")
@click.option("--name", help="Name of the model behind --predictions (default: the file's).")
@click.option("--yes", is_flag=True, help="Download without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@registry_option
def command(
    model: str | None,
    predictions: Path | None,
    benchmark: str | None,
    config: str | None,
    labels: str | None,
    source: Path | None,
    partial: bool,
    isp: str | None,
    out: Path | None,
    name: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Score a model, or predictions made elsewhere, on a benchmark.

    A killed run goes on where it stopped when the same command is given again.

    \b
    bench eval --model my.onnx --benchmark lifewatch_flowcam --labels decrop2025
    bench eval --model my.onnx --benchmark lifewatch_flowcam --config specimen --labels classes.txt
    bench eval --predictions mine.csv --benchmark lifewatch_flowcam
    bench eval --model unet.onnx --benchmark aitslab_bioimaging1 --source aitslab/
    bench eval --predictions labels/ --benchmark aitslab_bioimaging1 --source aitslab/
    bench eval --model my.onnx --benchmark lifewatch_flowcam --labels decrop2025 --isp
    """
    from lensbench.benchmark import get_benchmark
    from lensbench.evaluation import evaluate, evaluate_predictions
    from lensbench.progress import default_progress

    _give_memory_back()
    if (model is None) == (predictions is None):
        raise click.UsageError("give one of --model and --predictions")
    spec = get_benchmark(benchmark, config) if benchmark else None
    if predictions is not None:
        if spec is None:
            raise click.UsageError("--predictions needs --benchmark NAME")
        if spec.task == "classification" and (source is not None or partial):
            raise click.UsageError("class predictions are scored with no image: leave --source and --partial out")
        done = evaluate_predictions(
            predictions,
            spec,
            labels=labels,
            name=name,
            source=source,
            partial=partial,
            out=out,
            progress=default_progress("images") if spec.task == "segmentation" else None,
            confirm=asker(yes),
            isp=isp,
        )
    else:
        assert model is not None
        done = evaluate(
            model,
            spec,
            config=config,
            labels=labels,
            source=source,
            partial=partial,
            out=out,
            progress=default_progress("images"),
            confirm=asker(yes),
            isp=isp,
        )
    if done.ground is not None:
        from lensbench.leaderboard.report import write_report

        write_report(done)
    if as_json:
        click.echo(done.record.to_json(), nl=False)
    else:
        from lensbench.cli.summary import summary

        click.echo(summary(done))


def _give_memory_back() -> None:
    """Hold glibc to its promise that large blocks go back to the system when they are freed.

    It raises the limit of `large` with the first such block it frees, and from then on keeps what threads leave: 40 MiB
    more over 33,718 images than over 3,000. Setting the limit (M_MMAP_THRESHOLD, -3) ends that. Elsewhere: nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(-3, 1 << 20)
