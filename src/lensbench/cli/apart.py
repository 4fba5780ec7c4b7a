"""The suite in a process of its own: a dataset folder's code may end the process it runs in, and that is a failure.

The facts come through a pipe, a line of JSON each, and after the last one a line that says so. Whoever reads counts
them himself: neither an exit code nor anything that the folder's code prints is taken for a verdict.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from lensbench.cli.options import asker
from lensbench.progress import default_progress
from lensbench.registry import get_dataset
from lensbench.verify import FAILED, Checked, check_dataset, check_source
from lensbench.verify.facts import guarded

START = "from lensbench.cli.apart import run; run()"

END = "null\n"
"""The last line."""


@dataclass(frozen=True)
class Deep:
    """What `bench verify --deep` goes through, as the command line says it."""

    version: str | None = None
    config: str | None = None
    source: str | None = None
    partial: bool = False
    yes: bool = False


def check_apart(folder: Path, deep: Deep | None = None) -> Iterator[Checked]:
    """The facts of `check_dataset`, and with `deep` those of `check_source`, from another process as they are found.

    A process that ends before it has sent all of them is one failure more. It prints to standard error alone.
    """
    reading, writing = os.pipe()
    order = json.dumps({"folder": str(folder), "pipe": writing, "deep": asdict(deep) if deep else None})
    with subprocess.Popen([sys.executable, "-c", START, order], pass_fds=[writing], stdout=2) as child:
        os.close(writing)
        try:
            with os.fdopen(reading, encoding="utf-8") as lines:
                for line in lines:
                    if line == END:
                        return
                    yield Checked(**json.loads(line))
            yield Checked("verify", FAILED, f"the process that ran the code in {folder} ended {_how(child.wait())}")
        finally:
            child.kill()


def _how(code: int) -> str:
    end = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"{end} before all was checked"


# -- in the other process --------------------------------------------------------------------------------------


def run() -> None:
    """Check what the last argument orders, send the facts, and leave without waiting for threads of a stranger's."""
    order = json.loads(sys.argv[-1])
    os.set_inheritable(order["pipe"], False)
    with os.fdopen(order["pipe"], "w", encoding="utf-8") as pipe:
        try:
            for fact in _facts(Path(order["folder"]), order["deep"]):
                _send(pipe, json.dumps(asdict(fact)) + "\n")
            _send(pipe, END)
        except KeyboardInterrupt:
            os._exit(130)
    os._exit(0)


def _send(pipe: TextIO, line: str) -> None:
    pipe.write(line)
    pipe.flush()


def _facts(folder: Path, deep: dict[str, Any] | None) -> Iterator[Checked]:
    yield from check_dataset(folder)
    if deep is not None:
        yield from guarded("--deep", _deep, folder, Deep(**deep))


def _deep(folder: Path, deep: Deep) -> Iterator[Checked]:
    yield from check_source(
        get_dataset(folder.name, folder.parent),
        deep.version,
        deep.config,
        source=None if deep.source is None else Path(deep.source),
        partial=deep.partial,
        progress=default_progress("images"),
        confirm=asker(deep.yes),
    )
