"""Raw-Drone for tests: its entry, its specimen script, and sources made, opened and damaged in small."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lensbench.data.index import Index
from lensbench.data.loader import load_builder
from lensbench.data.locate import names_of
from lensbench.data.request import Request
from lensbench.data.source import Source, Spec, unpacked
from lensbench.registry import Dataset, get_dataset
from tests.conftest import ROOT

NAME = "raw_drone"
FOLDER = ROOT / "registry" / NAME
FAMILIES = ("segmentation", "classification", "full_frame")
SMALL: Mapping[str, Any] = {"size": 48, "seed": 5, "scales": (1, 100), "full": (1, 100)}
"""Twelve frames of 2 × 4 tiles of 32 pixels, two intensities."""


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("raw_drone_specimen", FOLDER / "specimen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


specimen = _script()


def entry() -> Dataset:
    return get_dataset(NAME, ROOT / "registry")


def small(folder: Path, **options: Any) -> Path:
    """A small archive in `folder`."""
    (path,) = specimen.make(folder, **{**SMALL, **options})
    return Path(path)


def archive(path: Path) -> Source:
    return Source(Spec((path,)))


def folder(path: Path, to: Path) -> Source:
    """The same files, unpacked."""
    with zipfile.ZipFile(path) as packed:
        packed.extractall(to)
    return Source(unpacked(to, names_of(entry())))


def index(source: Source, family: str, *, partial: bool = False) -> Index:
    config = entry().config(f"{family}-specimen")
    return load_builder(FOLDER).index(source, Request(entry(), entry().version(None), config, partial, True))


def read(source: Source, family: str, *, partial: bool = False, rows: slice = slice(None)) -> dict[str, list[Any]]:
    """Every column of some rows: what the index knows and what the files hold."""
    table = index(source, family, partial=partial).rows
    start, stop, _ = rows.indices(table.num_rows)
    part: pa.Table = table.slice(start, stop - start)
    found = load_builder(FOLDER).read(source, part, entry().config(f"{family}-specimen"))
    columns: dict[str, list[Any]] = part.to_pydict()
    return columns | {name: values.to_pylist() for name, values in found.items()}


def changed(
    path: Path, change: Callable[[str, bytes], bytes | None], further: Mapping[str, bytes] | None = None
) -> Path:
    """A copy of an archive: `change` gives each member's new bytes, or None to leave it out; `further` are added."""
    copy = path.with_name(f"changed-{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in (further or {}).items():
            new.writestr(name, data)
    return copy
