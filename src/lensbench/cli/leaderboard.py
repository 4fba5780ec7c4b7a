"""`bench leaderboard`: build a benchmark's board from the stored records and the runs named."""

from __future__ import annotations

from pathlib import Path

import click

from lensbench.cli.options import leaderboards_option, registry_option


@click.command("leaderboard")
@click.argument("benchmark")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", help="`specimen` for the board of the synthetic data.")
@leaderboards_option
@click.option("--out", type=click.Path(path_type=Path), help="Where the board goes (default: where its records are).")
@registry_option
def command(benchmark: str, runs: tuple[Path, ...], config: str | None, leaderboards: Path, out: Path | None) -> None:
    """Build a benchmark's board: README.md, board.csv and index.html; and those of its tiers, unless it goes to --out.

    RUNS are folders of `bench eval`, or record files, to stand on it beside the stored records.

    \b
    bench leaderboard lifewatch_flowcam --config specimen runs/lifewatch_flowcam-specimen/* --out board
    """
    from lensbench.benchmark import get_benchmark
    from lensbench.leaderboard import read_board

    spec = get_benchmark(benchmark, config)
    unfinished = [run for run in runs if run.is_dir() and not (run / "record.json").is_file()]
    for run in unfinished:
        click.echo(f"left out: {run} holds no record", err=True)
    board = read_board(spec, leaderboards, [run for run in runs if run not in unfinished])
    for page in [board.write(out)] if out else board.write_family(leaderboards):
        click.echo(page)
