"""Masks made elsewhere in several views: a folder with one sub-folder, or one file, for each view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lensbench.benchmark import Benchmark
from lensbench.errors import ModelError, nearest
from lensbench.masks.match import Report
from lensbench.masks.read import MaskFiles, Shapes, open_masks
from lensbench.masks.stored import Row, write_masks
from lensbench.masks.values import Kind
from lensbench.predictions import whole_ids

TABLES = (".json", ".csv")
"""Files that hold the objects of all images; their masks may overlap."""
PACKED = (*TABLES, ".npz", ".zip")
"""What may stand for a view in place of a sub-folder."""
MANY = 5
"""Views that a note lists."""


def store_folder(
    path: Path,
    spec: Benchmark,
    shapes: Shapes,
    into: Path,
    stated: Mapping[str, Any],
    shown: Callable[[Iterator[Row], int], Iterator[Row]],
) -> tuple[int, tuple[str, ...]]:
    """Store what a folder holds for the views of `spec`: of each id that is there in all of them, id by id.

    `shown` is given the rows and their number on the way. Returns how many names belong to no image, and notes.
    Raises ModelError in one line for what is no view, or an answer that is not fit.
    """
    assert spec.views is not None
    views = spec.views.names
    entries, notes = _entries(path, views)
    kinds: set[Kind] = {"rle" if entry.suffix.lower() in TABLES else spec.truth for entry in entries.values()}
    if len(kinds) > 1:
        raise ModelError(f"{path.name}: has maps for some views and files of objects for others; bring one of the two")
    with ExitStack() as stack:
        files: dict[str, MaskFiles] = {}
        for view, entry in entries.items():
            files[view] = stack.enter_context(open_masks(entry, shapes, spec.truth, len(spec.labels)))
        brought = {view: set(found.ids) for view, found in files.items()}
        keys = [(key, view) for key in shapes for view in brought if key in brought[view]]
        whole, gaps = whole_ids(keys, views, path)
        rows = (Row(key, view, files[view].read(key)) for key in whole for view in views)
        write_masks(into, shown(rows, len(whole) * len(views)), kinds.pop(), stated)
        reports = {view: found.report for view, found in files.items()}
    extra = {name for report in reports.values() for name in report.extra}
    return len(extra), (*notes, *_words(reports, len(views)), *gaps)


def _entries(path: Path, views: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """(view → its sub-folder or file, in the order of the views; words on what else is or is not there)."""
    found, others = dict[str, Path](), 0
    try:
        listed = sorted(path.iterdir())
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    for entry in listed:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_symlink():
            raise ModelError(f"{path.name}: {entry.name!r} is a link; put what it leads to there")
        if not entry.is_dir() and entry.suffix.lower() not in PACKED:
            others += 1
            continue
        view = entry.name if entry.is_dir() else entry.stem
        if view not in views:
            raise ModelError(f"{path.name}: {entry.name!r} is no view of this benchmark{nearest(view, views)}")
        if view in found:
            raise ModelError(f"{path.name}: the view {view!r} is there twice: {found[view].name!r}, {entry.name!r}")
        found[view] = entry
    if not found:
        raise ModelError(
            f"{path.name}: masks in {len(views)} views are brought in a sub-folder for each view ({views[0]!r} …), or "
            "in one .parquet as `bench eval` stores them; there is none"
        )
    lacking = [view for view in views if view not in found]
    notes = [f"no masks for {len(lacking)} of {len(views)} views: {_listed(lacking)}"] if lacking else []
    notes += [f"{others} other files left aside"] if others else []
    return {view: found[view] for view in views if view in found}, notes


def _words(reports: Mapping[str, Report], views: int) -> list[str]:
    """What is to be said of each view; what holds for all of them, once."""
    said: dict[str, list[str]] = {}
    for view, report in reports.items():
        for word in report.words:
            said.setdefault(word, []).append(view)
    return [word if len(of) == views else f"{_listed(of)}: {word}" for word, of in said.items()]


def _listed(views: Sequence[str]) -> str:
    return ", ".join(views[:MANY]) + (", …" if len(views) > MANY else "")
