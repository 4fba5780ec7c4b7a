"""Options that several commands share, and how a question is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorated = Callable[..., Any]


def _set_registry(_: click.Context, __: click.Parameter, value: Path | None) -> None:
    if value is not None:
        os.environ["LENSBENCH_REGISTRY"] = str(value.resolve())


def registry_option(function: Decorated) -> Decorated:
    """`--registry DIR`: other dataset folders than the ones that came with lensbench."""
    return click.option(
        "--registry",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        callback=_set_registry,
        expose_value=False,
        is_eager=True,
        help="A registry folder of your own (benchmarks/ beside it is read too).",
    )(function)


def asker(yes: bool) -> Callable[[str], bool]:
    """Answers a question: on a terminal the person does, unless --yes; elsewhere it is said and taken as yes."""

    def ask(question: str) -> bool:
        if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
            click.echo(question, err=True)
            return True
        return click.confirm(question, err=True)

    return ask


def leaderboards_option(function: Decorated) -> Decorated:
    """`--leaderboards DIR`: where submissions and records lie."""
    return click.option(
        "--leaderboards",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("leaderboards"),
        show_default=True,
        help="The folder with submissions/ and the boards' records.",
    )(function)
