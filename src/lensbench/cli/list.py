"""`bench list`: the datasets of the registry, a line for each track."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from lensbench.cli.options import registry_option

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from lensbench.overview import Catalogue, OnDisk, Overview, Track

HEAD = ("dataset", "versions", "track", "examples", "specimen", "benchmarks", "licence", "size", "on disk")
RIGHT = (3, 4)
SCHEMA = 1
"""Of the JSON: a field that goes or changes its meaning makes another."""


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@registry_option
def command(as_json: bool) -> None:
    """List the datasets: versions, examples, tracks, licence, size, and what of them is on disk.

    `examples` are real ones; the specimen's synthetic ones stand apart. A folder that cannot be read is named, and the
    exit code is then 1.
    """
    from lensbench.errors import printable
    from lensbench.overview import read_catalogue
    from lensbench.registry import registry_root

    catalogue = read_catalogue()
    if as_json:
        click.echo(as_text(catalogue), nl=False)
    elif not catalogue.datasets:
        click.echo(f"no datasets in {registry_root()}")
    elif sys.stdout.isatty():
        _print_table(rows(catalogue))
    else:
        from lensbench.cli.layout import aligned

        click.echo("\n".join(aligned([HEAD, *rows(catalogue)], RIGHT)))
    for name, why in catalogue.unreadable.items():
        click.echo(printable(f"not readable: {name}: {why}"), err=True)
    if catalogue.unreadable:
        sys.exit(1)


def as_text(catalogue: Catalogue) -> str:
    """The catalogue as JSON, ASCII alone, so that no name can steer a terminal."""
    return json.dumps({"schema": SCHEMA, **asdict(catalogue)}, indent=1) + "\n"


def rows(catalogue: Catalogue) -> list[tuple[str, ...]]:
    """A row of text for each track of each dataset, under `HEAD`."""
    return [_row(dataset, track) for dataset in catalogue.datasets for track in dataset.tracks]


def _row(dataset: Overview, track: Track) -> tuple[str, ...]:
    alone = len(dataset.tracks) == 1
    return (
        dataset.name,
        ", ".join(v.name if v.state in ("default", "older") else f"{v.name} ({v.state})" for v in dataset.versions),
        track.task if alone else track_words(track),
        count(track.examples) + (" advertised" if track.basis == "advertised" else ""),
        count(track.specimen) if track.specimen is not None else "none",
        ", ".join(track.benchmarks) or "none yet",
        dataset.licence,
        size_words(dataset),
        disk_words(track.on_disk),
    )


def count(number: int | None) -> str:
    """A number with separators, or ``unknown``."""
    return "unknown" if number is None else f"{number:,}"


def track_words(track: Track) -> str:
    """The task, and the config where that has another name."""
    return track.task if track.config == track.task else f"{track.task} ({track.config})"


def size_words(dataset: Overview) -> str:
    """The size of the default version's archives in words."""
    from lensbench.progress import megabytes

    if dataset.size is not None:
        return megabytes(dataset.size)
    return "unknown" if dataset.size_about is None else f"about {megabytes(dataset.size_about)}"


def disk_words(here: OnDisk) -> str:
    """What is in the cache: what is prepared, and its bytes; archives; else the specimen that came with lensbench."""
    from lensbench.progress import megabytes

    words = [f"prepared {megabytes(sum(here.prepared.values()))}"] if here.prepared else []
    words += ["archives"] if here.archives else []
    return ", ".join(words) or ("specimen" if here.specimen else "no")


def _print_table(body: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal: where that is narrow, versions stand below the name and benchmarks nowhere."""
    from rich.console import Console

    console = Console()
    wide = console.width >= WIDE
    shown = [i for i, name in enumerate(HEAD) if wide or name not in ("versions", "benchmarks")]
    table = _table(shown, body, console.width)
    above = ""
    for row in body:
        cells = ["" if row[0] == above and HEAD[i] in REPEATED else row[i] for i in shown]
        if cells[0] and not wide:
            cells[0] += "\n" + row[1].replace(", ", "\n")
        table.add_row(*(_plain(text) for text in cells))
        above = row[0]
    console.print(table)


def _table(shown: Sequence[int], body: Sequence[Sequence[str]], columns: int) -> Table:
    """An empty table whose columns are no narrower than a word, where the terminal allows it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    tight, roomy = COMMON <= columns < ROOMY, columns >= ROOMY
    table = Table(box=SIMPLE_HEAD, padding=(0, int(roomy), 0, 0), show_edge=False, pad_edge=False)
    for i in shown:
        longest = min(max(len(word) for row in [HEAD, *body] for word in _words(row[i])), WORD)
        table.add_column(
            HEAD[i],
            justify="right" if i in RIGHT else "left",
            overflow="fold",
            min_width=longest if roomy and HEAD[i] in ("dataset", "track") else None,
            width=longest if tight else None,
        )
    return table


def _words(text: str) -> list[str]:
    """Words of a cell; a number and its unit are one."""
    return re.sub(r"(\d) ([kMG]?B\b)", r"\1_\2", text).split()


def _plain(text: str) -> Text:
    """`text` as it is: no markup of rich's, no control characters, line by line."""
    from rich.text import Text

    from lensbench.cli.layout import cell

    return Text("\n".join(map(cell, text.split("\n"))))


REPEATED = ("dataset", "versions", "licence", "size")
"""Columns that are the same for all tracks of a dataset."""
COMMON, ROOMY, WIDE = 80, 100, 160
"""Columns of a terminal from which words stay whole; lines do, mostly; versions and benchmarks have columns."""
WORD = 26
"""No column insists on more."""
