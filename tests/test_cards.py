"""Every dataset card agrees with its registry entry: licence, splits, columns, citations."""

from __future__ import annotations

from typing import Any

import datasets
import pytest
from huggingface_hub import DatasetCard

from lensbench.data.loader import load_builder
from lensbench.data.request import Request
from lensbench.registry import Dataset, dataset_names, get_dataset
from lensbench.splits import read_manifest
from tests.conftest import ROOT
from tests.test_docs import code, number, table

TASKS = {"classification": "image-classification", "segmentation": "image-segmentation"}
SIZES = {"n<1K": (0, 1_000), "1K<n<10K": (1_000, 10_000), "100K<n<1M": (100_000, 1_000_000)}


@pytest.fixture(params=dataset_names(ROOT / "registry"))
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return get_dataset(request.param, ROOT / "registry")


@pytest.fixture
def card(dataset: Dataset) -> DatasetCard:
    found: DatasetCard = DatasetCard.load(dataset.folder / "README.md")
    return found


def test_front_matter_is_what_the_hub_reads_and_agrees_with_the_registry(dataset: Dataset, card: DatasetCard) -> None:
    data: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    assert data["license"].lower() == dataset.licence.lower()
    assert dataset.title.startswith(data["pretty_name"])
    assert set(data["task_categories"]) == {TASKS[config.task] for config in dataset.configs.values()}
    (size,) = data["size_categories"]
    counts = [n for version in dataset.versions.values() for n in version.images.values() if n is not None]
    assert counts and all(SIZES[size][0] < n < SIZES[size][1] for n in counts)
    assert all(isinstance(tag, str) for tag in data["tags"])


def test_splits_of_the_card_are_those_of_the_registry(dataset: Dataset, card: DatasetCard) -> None:
    stated = {(row[0].strip("`"), row[1]): row[2:] for row in table(card.text, "config | split")}
    assert stated.keys() == {(c.name, s) for c in dataset.configs.values() for s in c.splits}
    for (config, split), cells in stated.items():
        entry = dataset.config(config).splits[split]
        assert number(cells[0]) == entry.rows, (config, split)
        assert (cells[-1] == "yes") == (entry.manifest is not None), (config, split)


def test_classes_with_an_image_are_counted(dataset: Dataset, card: DatasetCard) -> None:
    lines = card.text.splitlines()
    head = next(line for line in lines if line.startswith("| config | split |"))
    if "classes with an image" not in head:
        assert all(config.task != "classification" for config in dataset.configs.values()) or len(dataset.specimens) > 1
        return
    for config, split, _, classes, *_ in table(card.text, "config | split"):
        entry = dataset.config(config.strip("`")).splits[split]
        present = len(set(read_manifest(dataset, config.strip("`"), split).labels)) if entry.manifest else None
        assert number(classes) == present, (config, split)


def test_columns_of_the_card_are_those_of_the_builder(dataset: Dataset, card: DatasetCard) -> None:
    request = Request(dataset, dataset.version(None), dataset.config(None))
    kinds = {
        name: feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__
        for name, feature in load_builder(dataset.folder).features(request).items()
    }
    stated = {code(row[0]): row[1] for row in table(card.text, "column")}
    assert {name: kind for name, kind in stated.items() if name in kinds} == kinds


def test_versions_and_citations_of_the_card_are_those_of_the_registry(dataset: Dataset, card: DatasetCard) -> None:
    for version in dataset.versions.values():
        assert version.record in card.text and version.name in card.text
        assert version.citation in card.text and version.doi in card.text
