"""`pins.json`: a list that no registry pins is remembered from the right source, and from nothing else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from lensbench import load_dataset
from lensbench.data.pins import pins_path
from lensbench.data.store import prepare
from lensbench.digest import sha256_file
from lensbench.errors import DatasetError
from lensbench.verify import OK, check_source
from tests.small_registry import MODEL, NAME, V2, SmallRegistry, paper_rows


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(registry.root))
    return registry


@pytest.fixture
def source(small: SmallRegistry, tmp_path: Path) -> Path:
    return small.archives(tmp_path / "source")


def test_train_is_pinned_when_first_seen(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    pin_files(small, source)
    prepare(small.dataset, source=source)
    pins = json.loads(pins_path().read_text())
    assert list(pins) == [f"{NAME}/decrop2025/train"]
    small.paper = [row for row in paper_rows() if row[2] != "train"] + [
        row for row in paper_rows() if row[2] == "train"
    ][1:]
    other = small.archives(tmp_path / "other")
    pin_files(small, other)
    with pytest.raises(DatasetError, match=rf"first seen here.*remove the entry .{NAME}/decrop2025/train. from "):
        prepare(small.dataset, source=other)
    pins_path().write_text("{}")
    assert prepare(small.dataset, source=other).coverage["train"].found == 23


def pin_files(small: SmallRegistry, source: Path) -> None:
    """The archives in `source` are the published ones."""
    small.sha256 = {name: sha256_file(source / name) for name in (V2, MODEL)}
    small.write()


@pytest.mark.parametrize("how", ["partial", "verify", "not pinned", "one not pinned", "unpacked", "stream"])
def test_only_a_whole_build_from_verified_files_pins(how: str, small: SmallRegistry, source: Path) -> None:
    if how != "not pinned":
        pin_files(small, source)
    if how == "one not pinned":
        small.sha256 = {V2: sha256_file(source / V2)}
        small.write()
    if how == "unpacked":
        with zipfile.ZipFile(source / V2) as outer:
            outer.extractall(source)
        (source / V2).unlink()
    if how == "verify":
        assert "decrop2025/test as built" in {
            f.what for f in check_source(small.dataset, source=source) if f.state == OK
        }
    elif how == "stream":
        assert load_dataset(NAME, data_dir=str(source), streaming=True)
    else:
        prepare(small.dataset, source=source, partial=how == "partial")
    assert not pins_path().exists()
