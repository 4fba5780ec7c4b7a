"""`bench publish`: a dataset version as the Hub wants it, in a folder or on the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from lensbench.cli.options import asker, registry_option

HUB = "hf:"


@click.command("publish")
@click.argument("dataset")
@click.option("--to", required=True, help="The folder to write, or hf:ORG/NAME to push to the Hub.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    help="Only this config; may be given more than once (default: every real one that can be built).",
)
@click.option("--version", help="The dataset version (default: the newest).")
@click.option(
    "--source",
    type=click.Path(exists=True, path_type=Path),
    help="The dataset's archives, or an unpacked copy, on disk (else LENSBENCH_SOURCE, else fetched).",
)
@click.option("--private", is_flag=True, help="Make the Hub's repository private, if it is made now.")
@click.option("--partial", is_flag=True, help="Refused: a dataset that is not complete is not published.")
@click.option("--yes", is_flag=True, help="Download without asking.")
@registry_option
def command(
    dataset: str,
    to: str,
    configs: tuple[str, ...],
    version: str | None,
    source: Path | None,
    private: bool,
    partial: bool,
    yes: bool,
) -> None:
    """Write a dataset version as Parquet shards with a card, or push it to the Hub.

    \b
    bench publish lifewatch_flowcam --config specimen --to flowcam
    python -c 'import datasets; print(datasets.load_dataset("./flowcam", "specimen"))'
    """
    from lensbench.errors import DatasetError
    from lensbench.paths import naming
    from lensbench.progress import default_progress
    from lensbench.publish import publish
    from lensbench.registry import get_dataset

    entry = get_dataset(dataset)
    if partial:
        raise DatasetError(f"an incomplete {dataset} is not published: lay all its files into --source")
    repo = to.removeprefix(HUB) if to.startswith(HUB) else None
    if private and repo is None:
        raise click.UsageError("--private is for --to hf:ORG/NAME")
    folder = _kept(repo) if repo is not None else Path(to).expanduser()
    with naming(folder):
        done = publish(
            entry,
            folder,
            version=version,
            configs=configs,
            source=source,
            progress=default_progress("images"),
            confirm=asker(yes),
            repo=repo,
        )
    for config, splits in done.rows.items():
        click.echo(f"{config}: " + ", ".join(f"{rows:,} {split}" for split, rows in splits.items()))
    for text in done.remarks:
        click.echo(f"note: {text}", err=True)
    if repo is None:
        click.echo(done.folder)
        return
    from lensbench.publish.hub import push

    click.echo(push(done.folder, repo, private=private))
    shutil.rmtree(done.folder)  # made from prepared data, which stays


def _kept(repo: str) -> Path:
    """Where the folder for a repository is written: in the cache, and only until it was pushed."""
    from lensbench.paths import home
    from lensbench.publish.hub import check_access

    check_access(repo)
    return home() / "publish" / repo.replace("/", "--")
