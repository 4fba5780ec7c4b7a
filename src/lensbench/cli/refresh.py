"""`bench refresh`: the maintainer's command over a folder of submissions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lensbench.cli.options import leaderboards_option, registry_option


@click.command("refresh")
@leaderboards_option
@click.option("--only", multiple=True, help="Only this submission (may be given more than once).")
@click.option("--config", help="Score them on this config of their dataset: `specimen` needs no archive.")
@click.option("--tiers/--no-tiers", default=True, show_default=True, help="Score on the tiers of a benchmark too.")
@click.option("--boards/--no-boards", default=True, show_default=True, help="Rebuild the boards afterwards.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where runs go.")
@registry_option
def command(
    leaderboards: Path, only: tuple[str, ...], config: str | None, tiers: bool, boards: bool, runs: Path
) -> None:
    """Evaluate the submissions that are not scored yet, keep their records and rebuild the boards.

    A submission is a folder `submissions/NAME/` with `model.toml` (naming its benchmark) and a model or prediction
    file, or a function of lensbench by name. A model is scored on the tiers of its benchmark, too. What fails is
    named, and the others go on; the exit code is then 1.
    """
    from lensbench.errors import printable
    from lensbench.leaderboard.refresh import rebuild, refresh
    from lensbench.progress import default_progress

    outcomes = refresh(
        leaderboards,
        runs,
        only=only,
        config=config,
        tiers=tiers,
        progress=lambda: default_progress("images"),
        tell=lambda outcome: click.echo(printable(f"{outcome.state:<7} {outcome.name}: {outcome.text}")),
    )
    for page in rebuild(leaderboards) if boards else []:
        click.echo(f"board   {page}")
    if not outcomes:
        click.echo(f"no submissions in {leaderboards / 'submissions'}")
    if any(outcome.state == "failed" for outcome in outcomes):
        sys.exit(1)
