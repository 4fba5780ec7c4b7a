"""Other data under the right ids: told at the build, never scored, never ranked."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lensbench import load_dataset
from lensbench.benchmark import get_benchmark
from lensbench.data.prepared import other_content, pinned_content
from lensbench.data.store import prepare
from lensbench.errors import DatasetError, LensbenchWarning
from lensbench.evaluation import evaluate
from lensbench.leaderboard import Leaderboard
from lensbench.registry import get_dataset
from tests import board_records
from tests.graphs import colour_model
from tests.graphs import write as write_model
from tests.test_verify import change_a_pixel, rows
from tests.tiny_registry import NAME, Tiny, write

OTHER = r"test of tiny_cells 1\.0\.0 \(official\) is other data than the registry pins: content \w{12}…, pinned \w{12}…"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    tiny = write(tmp_path_factory.mktemp("tiny"))
    with zipfile.ZipFile(tiny.source / "tiny.zip") as archive:
        archive.extractall(tiny.source.parent / "unpacked")
    return tiny


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """The registry, in use, and its data unpacked."""
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    monkeypatch.chdir(tmp_path)
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "unpacked")


@pytest.fixture
def other(tiny: Tiny) -> Path:
    """Its data with one pixel of one test image changed."""
    change_a_pixel(rows(tiny.source)[3])
    return tiny.source


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models", colour_model(2, side=16, channels=1), "my.onnx")


def test_the_pinned_data_loads_without_a_word_and_is_held_against_its_pin(tiny: Tiny) -> None:
    prepared = prepare(get_dataset(NAME), source=tiny.source)
    pin = pinned_content(prepared, "test")
    assert pin is not None and pin.sha256 == prepared.digests["test"] and not other_content(prepared, "test")


def test_other_data_warns_at_every_load(tiny: Tiny, other: Path) -> None:
    for _ in range(2):
        with pytest.warns(LensbenchWarning, match=OTHER) as told:
            loaded: Any = load_dataset(NAME, data_dir=str(other))
        assert len(told) == 1 and "\n" not in str(told[0].message) and len(loaded["test"]) == 10
    with pytest.warns(LensbenchWarning, match=OTHER):
        load_dataset(NAME, data_dir=str(other), split="test", streaming=True)


def test_a_copys_pin_says_that_the_publishers_archive_would_agree(tiny: Tiny, other: Path) -> None:
    tiny.replace("dataset.toml", 'provenance = "official"', 'provenance = "copy"')
    tiny.replace("dataset.toml", 'provenance = "official"', 'provenance = "copy"')
    with pytest.warns(
        LensbenchWarning, match=r"\(provenance copy: re-encoding moves no digest, so the published archive has"
    ):
        prepare(get_dataset(NAME), source=other)


@pytest.mark.parametrize("partial", [False, True])
def test_other_data_is_not_scored(partial: bool, tiny: Tiny, other: Path, model: Path) -> None:
    with pytest.raises(DatasetError, match=OTHER):
        evaluate(model, NAME, labels="plain", source=other, partial=partial)
    assert not Path("runs").exists()


def test_other_training_images_warn_and_the_test_split_is_scored(tiny: Tiny, model: Path) -> None:
    change_a_pixel(rows(tiny.source, "train")[0])
    with pytest.warns(LensbenchWarning, match="train of tiny_cells"):
        done = evaluate(model, NAME, labels="plain", source=tiny.source)
    assert done.record.result["complete"]


def test_part_of_the_rows_is_not_comparable_and_unverified(tiny: Tiny, other: Path, model: Path) -> None:
    rows(other)[0].unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = evaluate(model, NAME, labels="plain", source=other, partial=True)
    assert not done.record.result["complete"]
    assert any("unpacked folder, which no digest covers" in text for text in done.record.result["assumed"])


@pytest.mark.parametrize(("provenance", "words"), [("official", None), ("copy", "a re-encoded copy")])
def test_a_record_says_what_stands_behind_the_content(
    provenance: str, words: str | None, tiny: Tiny, model: Path
) -> None:
    for _ in range(2):
        tiny.replace("dataset.toml", 'provenance = "official"', f'provenance = "{provenance}" ')
    assumed = evaluate(model, NAME, labels="plain", source=tiny.source).record.result["assumed"]
    told = [text for text in assumed if "the publisher's" in text]
    assert [words in text for text in told] == [True] if words else told == []


def test_a_specimen_of_ones_own_is_held_against_nothing(tiny: Tiny, tmp_path: Path) -> None:
    from lensbench.data.loader import load_specimen

    load_specimen(tiny.folder)(tmp_path / "own", size=20, seed=9)
    prepared = prepare(get_dataset(NAME), config="specimen", source=tmp_path / "own")
    assert prepared.own_lists and pinned_content(prepared, "test") is None


# -- boards --------------------------------------------------------------------------------------------------------


def test_a_benchmark_knows_the_pinned_content_outside_its_digest(tiny: Tiny) -> None:
    spec = get_benchmark(NAME)
    assert spec.content == prepare(get_dataset(NAME), source=tiny.source).digests["test"]
    assert replace(spec, content=None).digest == spec.digest and spec.over("00" * 32).content is None


def test_a_record_of_other_images_is_not_ranked(tiny: Tiny) -> None:
    pinned = board_records.benchmark(content="ab" * 32)

    def scored(of: str) -> Any:
        return lambda result: result["digests"].update(data=of)

    made = {name: board_records.record(pinned, name, scored(data)) for name, data in (
        ("pinned", "ab" * 32), ("inverted", "cd" * 32), ("predictions", "unknown"))}  # fmt: skip
    board = Leaderboard.build(pinned, made.items())
    assert {row.entry.name for row in board.ranked} == {"pinned", "predictions"}
    (apart,) = board.apart
    assert apart.entry.name == "inverted"
    assert apart.reason == f"scored on other images: content {'cd' * 32}, pinned {'ab' * 32}"
    unpinned = Leaderboard.build(board_records.benchmark(), made.items())
    assert len(unpinned.ranked) == 3
