"""The conformance suite: everything that can be said of a dataset folder without the publisher's archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lensbench.errors import LensbenchError
from lensbench.registry import Dataset, get_dataset
from lensbench.verify.card import check_card
from lensbench.verify.columns import check_hashed, check_read_twice
from lensbench.verify.facts import Checked, failed, guarded, ok
from lensbench.verify.folder import check_benchmarks, check_builder, check_classes, check_rules
from lensbench.verify.pinned import check_dvc_files, check_pins
from lensbench.verify.source import check_source
from lensbench.verify.specimen import check_made, check_specimen, check_unpublished


def check_dataset(folder: Path) -> Iterator[Checked]:
    """Yield what holds, what is unknown and what fails in a dataset folder; nothing is raised, nothing ends it early.

    Benchmarks are those of the registry in use (``LENSBENCH_REGISTRY``). The folder's own code is run: a stranger's
    needs the trust that its author has.
    """
    try:
        dataset = get_dataset(folder.name, folder.parent)
        dataset.version(None)  # what every check below is of
    except LensbenchError as error:
        yield failed("dataset.toml", str(error).removeprefix(f"{folder / 'dataset.toml'}: "))
        return
    yield ok("dataset.toml", f"{len(dataset.configs)} configs, {len(dataset.versions)} versions")
    columns: dict[str, None] = {}
    yield from guarded("classes.csv", check_classes, dataset)
    yield from guarded("builder.py", check_builder, dataset, columns)
    yield from guarded("builder.py images", check_hashed, dataset)
    yield from guarded("card", check_card, dataset, columns)
    yield from guarded("pins", check_pins, dataset)
    yield from guarded("splits", check_dvc_files, dataset)
    yield from guarded("rules", check_rules, dataset)
    yield from guarded("specimen", check_specimen, dataset)
    yield from guarded("specimen/samples", check_unpublished, dataset)
    yield from _round_trips(dataset)
    yield from guarded("specimen read twice", check_read_twice, dataset)
    yield from guarded("specimen.py", check_made, dataset)
    yield from guarded("benchmarks", check_benchmarks, dataset)


def _round_trips(dataset: Dataset) -> Iterator[Checked]:
    """Every specimen through the real path: source, rows, images, digests."""
    for name in dataset.specimens:
        yield from guarded(f"{name}/source", check_source, dataset, None, name)
