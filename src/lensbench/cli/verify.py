"""`bench verify`: is what the registry pins what is here?"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lensbench.cli.options import registry_option

if TYPE_CHECKING:
    from lensbench.verify import Checked

COLOURS = {"ok": "green", "unknown": "yellow", "failed": "red"}


@click.command("verify")
@click.argument("dataset")
@click.option("--deep", is_flag=True, help="Go through the data, too: source, rows and content, row by row.")
@click.option("--source", type=click.Path(path_type=Path), help="The archives, or an unpacked copy (with --deep).")
@click.option("--config", help="Which config to go through (default: the dataset's own; with --deep).")
@click.option("--version", "revision", help="Which version (default: the newest; with --deep).")
@click.option("--partial", is_flag=True, help="Take a source that holds only part of the rows (with --deep).")
@click.option("--yes", is_flag=True, help="Download without asking.")
@registry_option
def command(
    dataset: str,
    deep: bool,
    source: Path | None,
    config: str | None,
    revision: str | None,
    partial: bool,
    yes: bool,
) -> None:
    """Check a dataset, by name or by its folder, with the suite that every dataset passes.

    What is not pinned yet is printed as unknown: it is never counted as passed. Ends with 2 if anything failed.

    \b
    bench verify lifewatch_flowcam
    bench verify my_registry/my_dataset
    bench verify aitslab_bioimaging1 --deep --source DIR
    """
    from lensbench.cli.apart import Deep, check_apart
    from lensbench.verify import FAILED, Checked, summary

    if not deep and (source or config or revision or partial):
        raise click.UsageError("--source, --config, --version and --partial say what --deep goes through: add --deep")
    _check_home()
    further = Deep(revision, config, str(source) if source else None, partial, yes) if deep else None
    facts = list[Checked]()
    for fact in check_apart(_folder(dataset), further):
        facts.append(fact)
        click.echo(_line(fact))
    click.echo(summary(facts))
    if any(fact.state == FAILED for fact in facts):
        sys.exit(2)


def _check_home() -> None:
    """The checks build into the cache folder: where that cannot be, no dataset has failed."""
    from lensbench.errors import DatasetError
    from lensbench.paths import home

    try:
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home()):
            pass
    except OSError as error:
        raise DatasetError(
            f"the cache folder {home()} cannot be written ({error.strerror}): set LENSBENCH_HOME to one that can, "
            "the checks build there"
        ) from error


def _line(fact: Checked) -> str:
    """A fact on one line; on a terminal wrapped, and the state in colour."""
    from lensbench.cli.layout import paragraph
    from lensbench.errors import printable

    line = printable(f"{fact.state:<8} {fact.what}: {fact.text}")
    if not sys.stdout.isatty():
        return line
    wrapped = "\n".join(paragraph(line, indent=0, hang=9)).replace(f"{fact.state} ", f"{fact.state:<8} ", 1)
    return wrapped.replace(fact.state, click.style(fact.state, fg=COLOURS[fact.state]), 1)


def _folder(dataset: str) -> Path:
    """The dataset's folder: of a name in the registry in use, or the folder itself, whose registry is then in use."""
    from lensbench.errors import DatasetError
    from lensbench.registry import dataset_names, registry_root

    if dataset in dataset_names():
        return registry_root() / dataset
    folder = Path(dataset).resolve()
    if not (folder / "dataset.toml").is_file():
        if folder.is_dir():
            raise DatasetError(f"{dataset}: no dataset folder, it holds no dataset.toml")
        from lensbench.registry import get_dataset

        get_dataset(dataset)  # raises with the nearest name
    os.environ["LENSBENCH_REGISTRY"] = str(folder.parent)
    return folder
