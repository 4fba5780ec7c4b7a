"""`bench demo`: the whole job on synthetic data, offline: evaluate the baselines, build their board."""

from __future__ import annotations

from pathlib import Path

import click

BENCHMARK = "lifewatch_flowcam"
BASELINES = ("majority", "features", "small-cnn")


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
def command(out: Path) -> None:
    """Evaluate the baselines on the specimen (synthetic images) and build its board. Needs no network."""
    from lensbench.benchmark import get_benchmark
    from lensbench.evaluation import evaluate
    from lensbench.leaderboard import read_board
    from lensbench.paths import shipped
    from lensbench.progress import default_progress
    from lensbench.registry import SPECIMEN

    spec = get_benchmark(BENCHMARK, SPECIMEN)
    models = [shipped("leaderboards/submissions") / name for name in BASELINES]
    click.echo(f"{spec.title}: the specimen, {len(models)} baselines that came with lensbench")
    click.echo("synthetic images in the publisher's archive layout: the numbers say nothing about real plankton\n")
    folders = []
    for model in models:
        done = evaluate(model, spec, out=out / model.name, progress=default_progress("images"))
        score = done.record.result["metrics"][spec.headline]
        name = done.record.result["model"]["name"]
        low, high = score["low"], score["high"]
        interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
        click.echo(f"{name:<60} {spec.headline} {score['value']:.3f}{interval}")
        folders.append(done.folder)
    page = read_board(spec, out / "none", folders).write(out / "board")
    click.echo(f"\nboard: {page}")
    click.echo(f"next:  bench eval --model my.onnx --benchmark {BENCHMARK} --config {SPECIMEN} --labels decrop2025")
