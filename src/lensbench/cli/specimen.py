"""`bench specimen`: a synthetic copy of a dataset, of any size, in its publisher's archive layout."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from lensbench.cli.options import registry_option

SCRATCH = ".specimen-*"
"""Folders in which the datasets' scripts write, beside where the files go: a killed one leaves its own."""


@click.command("specimen")
@click.argument("dataset")
@click.option("--size", type=click.IntRange(min=1), required=True, help="Number of samples: images, frames or tiles.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--test-size", type=click.IntRange(min=1), help="How many are in test, where the dataset lets one choose."
)
@click.option("--layout", help="Which version's archive layout (default: the newest).")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@registry_option
def command(dataset: str, size: int, seed: int, test_size: int | None, layout: str | None, to: Path) -> None:
    """Write a synthetic copy of a dataset, of any size, in its publisher's archive layout.

    It is loaded like the real archive, under a synthetic config (`specimen`, or CONFIG-specimen where a dataset has
    several), and has a board of its own. The same size and seed give the same images.

    \b
    bench specimen lifewatch_flowcam --size 20000 --seed 7 --to big
    bench eval --model my.onnx --benchmark lifewatch_flowcam --config specimen --labels decrop2025 --source big
    bench specimen raw_drone --size 600 --to tiles
    """
    import inspect

    from lensbench.data.loader import load_specimen
    from lensbench.errors import DatasetError, printable
    from lensbench.registry import get_dataset
    from lensbench.registry.fields import MOST_SAMPLES

    if size > MOST_SAMPLES:
        raise DatasetError(f"a specimen of {size:,} samples is too large: --size is at most {MOST_SAMPLES:,}")
    entry = get_dataset(dataset)
    version = entry.version(layout).name
    make = load_specimen(entry.folder)
    taken = inspect.signature(make).parameters
    if test_size is not None and "test_size" not in taken:
        raise DatasetError(f"{dataset} takes no --test-size: who is in test is decided by its splits' own rule")
    options = {} if test_size is None else {"test_size": test_size}
    try:
        with _alone_in(to):
            paths = make(to, size=size, seed=seed, layout=version, **options)
    except ValueError as error:
        raise DatasetError(f"{dataset}: {error}") from error
    except ImportError as error:
        raise DatasetError(f'writing this needs an extra: pip install "lensbench[formats]" ({error})') from error
    for path in paths:
        click.echo(printable(str(path)))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder` against others, without what killed ones left in it; one made here goes if it stays empty."""
    from lensbench.errors import DatasetError
    from lensbench.paths import naming

    if folder.is_symlink() and not folder.exists():
        raise DatasetError(f"--to {folder}: is a link to {folder.readlink()}, which does not exist")
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for stale in folder.glob(SCRATCH):
            shutil.rmtree(stale)
        with naming(folder):
            yield
    except BlockingIOError as error:
        raise DatasetError(f"--to {folder}: another bench specimen is writing there; name another folder") from error
    finally:
        os.close(handle)
        if new:
            with suppress(OSError):  # not empty: then it stays
                folder.rmdir()
