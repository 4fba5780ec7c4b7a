"""LifeWatch's own splits: their rules, proven on the specimen, and what is said until the archive was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lensbench.data.index import Index
from lensbench.data.loader import load_builder
from lensbench.data.plan import make_plan
from lensbench.data.request import Request
from lensbench.data.source import Source, Spec
from lensbench.errors import DatasetError
from lensbench.registry import get_dataset
from lensbench.splits import read_manifest

NAME = "lifewatch_flowcam"
BY = {"by_sample": "group", "by_station": "station", "by_year": "year"}


def request_for(config: str, own: bool) -> Request:
    dataset = get_dataset(NAME)
    return Request(dataset, dataset.version(None), dataset.config(config), own_lists=own)


@pytest.fixture(scope="module")
def index() -> Index:
    dataset = get_dataset(NAME)
    archives: tuple[Path, ...] = tuple((dataset.folder / "specimen").iterdir())
    return load_builder(dataset.folder).index(Source(Spec(archives)), request_for("decrop2025", True))


@pytest.mark.parametrize("config", BY)
def test_nothing_crosses_and_every_split_has_rows(index: Index, config: str) -> None:
    plan = make_plan(request_for(config, own=True), index)
    assert list(plan.tables) == ["train", "validation", "test"] and not plan.unavailable
    sides = {name: set(table[BY[config]].to_pylist()) for name, table in plan.tables.items()}
    assert None not in set.union(*sides.values())
    assert not (sides["train"] & sides["test"] or sides["train"] & sides["validation"])
    assert not sides["validation"] & sides["test"]
    with_value = sum(value is not None for value in index.rows[BY[config]].to_pylist())
    assert sum(table.num_rows for table in plan.tables.values()) == with_value
    assert plan.unlisted == index.rows.num_rows - with_value


@pytest.mark.parametrize("config", BY)
def test_samples_of_one_water_sample_stay_together_in_each(index: Index, config: str) -> None:
    plan = make_plan(request_for(config, own=True), index)
    sides = [set(table["group"].to_pylist()) for table in plan.tables.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_a_rule_is_run_on_the_whole_and_on_nothing_else(index: Index) -> None:
    with pytest.raises(DatasetError, match=r"drawn from all 337,541 samples, and the source has 3,"):
        make_plan(request_for("by_sample", own=False), index)


def test_until_then_the_missing_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"not pinned yet: .* Flowcam_images_training_split_metadata.zip of Zenodo"):
        read_manifest(get_dataset(NAME), "by_year", "test")
