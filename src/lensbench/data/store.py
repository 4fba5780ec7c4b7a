"""Prepared data on disk: built once from a verified source, found again by what went into it, checked before
use.

A build stands under ``datasets/<name>/<config>/<version>/<hash>/``. The hash is over the registry entry, the
code that builds, the source's bytes and `partial`: when one of them changes, another folder is built.
`datasets` is imported only to build; what is prepared is read with pyarrow alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from lensbench.data.job import Job
from lensbench.data.loader import BUILDER
from lensbench.data.locate import given, have, locate, locate_given, refuse_exchanged
from lensbench.data.plan import Coverage, may_miss
from lensbench.data.prepared import (
    PUBLISHED,
    Prepared,
    columns_of,
    content_rows,
    other_content,
    require,
    stored_rows,
)
from lensbench.data.request import Request
from lensbench.digest import sha256_of, sha256_rows
from lensbench.errors import DatasetError, LensbenchError, LensbenchWarning
from lensbench.paths import PACKAGE, home, read_regular, write_text
from lensbench.registry import Dataset
from lensbench.sources import Progress, is_offline
from lensbench.splits import check_manifests

SCHEMA = 2
CODE = (
    *("build", "builder", "class_folders", "crops", "index", "keys", "plan", "samples", "source", "spool", "text"),
    *("../images/*", "../lists", "../rules"),
)
"""The package's own modules that decide what a build holds; their bytes are part of its hash."""
NOTES = "prepared.json"
DATA = "data"

Confirm = Callable[[str], bool]


def prepare(
    dataset: Dataset,
    version: str | None = None,
    config: str | None = None,
    *,
    source: Path | str | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    num_proc: int | None = None,
    required: Sequence[str] = (),
    root: Path | None = None,
    pin: bool = True,
) -> Prepared:
    """The dataset on disk, built if it is not prepared yet.

    `version` and `config`: None is the newest and the default one. `source`: the folder that holds the
    archives, or what was unpacked from them (else ``LENSBENCH_SOURCE``, earlier downloads, the record).
    `confirm` is told what a download costs and may refuse. `partial`: build from what is there. `required`:
    splits that must be available and hold the pinned data. `root`: where builds are kept (default: the cache
    folder). `pin`: remember the lists that no registry pins yet, to hold later ones against them. Raises
    LensbenchError for a source that cannot be had, is not the published one or is not complete; warns of what is
    missing, and of other splits that hold other data. Nothing half-built is ever found again.
    """
    job, prepared = find(
        dataset,
        version,
        config,
        source=source,
        partial=partial,
        progress=progress,
        confirm=confirm,
        root=root,
    )
    if prepared is None:
        prepared = _build(job, progress, num_proc, pin)
    require(prepared, required)
    for split in required:
        if other := other_content(prepared, split):
            raise DatasetError(other)
    warn_of_gaps(job.request, prepared.coverage)
    warn_of_content(prepared)
    return prepared


def find(
    dataset: Dataset,
    version: str | None,
    config: str | None,
    *,
    source: Path | str | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    root: Path | None = None,
) -> tuple[Job, Prepared | None]:
    """What `prepare` would build, its source now on disk, and the prepared data if there is some."""
    request = Request(dataset, dataset.version(version), dataset.config(config), partial)
    key = sha256_of([SCHEMA, _entry(request), _code(dataset), partial])
    shelf = (root or home() / "datasets") / dataset.name / request.config.name / request.version.name
    place = given(source, request.config)
    if place is not None:
        located = locate_given(dataset, request.version, request.config, place, progress)
    elif not have(request.version, request.config) and (standing := _standing(request, key, shelf)):
        return Job(request, key, shelf, None), _locked(standing)
    else:
        located = locate(dataset, request.version, request.config, progress, confirm)
    job = Job(replace(request, own_lists=located.own_lists), key, shelf, located)
    return job, _locked(_read(job.request, key, job.folder))


def warn_of_gaps(request: Request, coverage: Mapping[str, Coverage]) -> None:
    """Name the files that are missing where that is expected; with `partial`, the caller asked for gaps."""
    for split, cover in coverage.items():
        if cover.missing and not request.partial and may_miss(request, split, cover):
            known = request.config.splits[split].absent[request.version.name]
            warnings.warn(
                f"{request.title}: {len(cover.missing)} ids of {split} have no file (about {known.about} are "
                f"expected: {known.reason}); which: `missing` of {split} in {NOTES}, or Prepared.coverage",
                LensbenchWarning,
                stacklevel=4,
            )


def warn_of_content(prepared: Prepared) -> None:
    """Name the whole splits that hold other data than the registry pins."""
    for split in prepared.arrow:
        if other := other_content(prepared, split):
            warnings.warn(other, LensbenchWarning, stacklevel=4)


# -- what a build is made from -------------------------------------------------------------------------------


def _entry(request: Request) -> dict[str, Any]:
    """Everything in the registry that decides what is built."""
    dataset, version, config = request.dataset, request.version, request.config
    absent = {name: split.absent.get(version.name) for name, split in config.splits.items()}
    return {
        "dataset": [dataset.name, dataset.title, dataset.licence, dataset.homepage, list(dataset.group)],
        "version": [version.name, version.record, version.citation, version.schema],
        "files": [[f.record, f.name, f.role, f.size, f.md5, f.sha256] for f in config.files or version.files],
        "config": [config.name, config.title, config.synthetic, list(request.order), config.task],
        "rule": [config.rule.kind, dict(config.rule.options), config.samples] if config.rule else None,
        "classes": [[label.name, label.display, dict(label.attributes)] for label in dataset.classes],
        "splits": {name: [s.rows, s.sha256, s.listed_in] for name, s in config.splits.items()},
        "absent": {name: [sorted(a.ids) if a.ids else None, a.about] for name, a in absent.items() if a},
    }


def _code(dataset: Dataset) -> list[str]:
    try:
        ours = [path for name in CODE for path in sorted((PACKAGE / "data").glob(f"{name}.py"))]
        files = [dataset.folder / BUILDER, *ours]
        return [sha256_of(read_regular(file).decode("utf-8")) for file in files]
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror})") from error


# -- reading what is prepared --------------------------------------------------------------------------------


def _read(request: Request, key: str, folder: Path) -> Prepared | None:
    """The build in `folder` if it is whole: the files that its notes name, in size and row count."""
    try:
        notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
        if notes["schema"] != SCHEMA or notes["key"] != key:
            return None
        arrow: dict[str, tuple[Path, ...]] = {}
        for split, files in notes["arrow"].items():
            paths = [folder / DATA / name for name, _, _ in files]
            for path, (_, size, rows) in zip(paths, files, strict=True):
                if path.stat().st_size != size or columns_of(path, ["id"]).num_rows != rows:
                    return None
            arrow[split] = tuple(paths)
        coverage = {
            split: Coverage(c["expected"], c["found"], tuple(c["absent"]), tuple(c["missing"]))
            for split, c in notes["coverage"].items()
        }
        prepared = Prepared(
            dataset=request.dataset,
            version=request.version.name,
            config=request.config.name,
            folder=folder,
            arrow=arrow,
            coverage=coverage,
            unlisted=notes["unlisted"],
            digests={split: notes["digests"][split] for split in arrow},
            unavailable=notes["unavailable"],
            source=notes["source"],
            metadata=notes["metadata"],
            partial=request.partial,
            strays=notes["strays"],
            parts=notes["parts"],
            stored=notes["stored"],
            own_lists=notes["own_lists"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None  # not there, or damaged: then it is built again
    return prepared


def _locked(prepared: Prepared | None) -> Prepared | None:
    """Data that was prepared, its manifests as they were: a build refuses others, and so does what needs none."""
    if prepared is not None and not prepared.own_lists:
        check_manifests(prepared.dataset, prepared.dataset.config(prepared.config))
    return prepared


def _standing(request: Request, key: str, shelf: Path) -> Prepared | None:
    """Data prepared earlier from archives that have since gone: nothing is here that it could differ from.

    Online, one that lacks a split does not do, because the record has the file that it lacks.
    """
    found = [_read(request, key, notes.parent) for notes in sorted(shelf.glob(f"*/{NOTES}"))]
    whole = [p for p in found if p and "folder" not in p.source and (is_offline() or not p.unavailable)]
    return min(whole, key=lambda p: (len(p.unavailable), p.folder.name), default=None)


# -- building ------------------------------------------------------------------------------------------------


def _build(job: Job, progress: Progress | None, num_proc: int | None, pin: bool) -> Prepared:
    from lensbench.data.build import Result, build
    from lensbench.data.pins import keep_pins

    folder = job.folder
    try:
        with _builder_lock(job, progress):
            prepared = _read(job.request, job.key, folder)
            if prepared is not None:
                return prepared  # another process was faster
            part = _part(folder)
            try:
                part.mkdir()
                result: Result = build(job, part / DATA, progress, num_proc)
                if job.located is not None:
                    refuse_exchanged(job.located, job.shelf)
                write_text(part / NOTES, json.dumps(_notes(job, result, part), indent=1) + "\n")
                _sync(part)
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
                _sync(folder.parent)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            if pin and job.located is not None:
                keep_pins(job.request, result.plan.pins, job.located.verified)
    except OSError as error:
        raise DatasetError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
    prepared = _read(job.request, job.key, folder)
    if prepared is None:
        raise LensbenchError(f"{folder}: was built, but does not read back; is the disk damaged?")
    return prepared


def _notes(job: Job, result: Any, part: Path) -> dict[str, Any]:
    plan = result.plan
    arrow = {
        split: [[p.name, p.stat().st_size, columns_of(p, ["id"]).num_rows] for p in files]
        for split, files in result.arrow.items()
    }
    digests, stored = {}, {}
    for split, files in result.arrow.items():
        built = pa.concat_tables([columns_of(p, ["id"]) for p in files])
        if not built["id"].equals(plan.tables[split]["id"]):
            raise LensbenchError(f"{part}: {split} was not built in the order of its manifest")
        digests[split] = sha256_rows(content_rows(files, split, job.request.order))
        if dict(result.parts) != PUBLISHED:
            stored[split] = sha256_rows(stored_rows(files, result.parts))
    return {
        "schema": SCHEMA,
        "key": job.key,
        "arrow": arrow,
        "coverage": {split: asdict(cover) for split, cover in plan.coverage.items()},
        "unlisted": plan.unlisted,
        "strays": plan.strays,
        "own_lists": job.request.own_lists,
        "digests": digests,
        "parts": dict(result.parts),
        "stored": stored,
        "unavailable": dict(plan.unavailable),
        "source": dict(job.located.provenance) if job.located else {},
        "metadata": dict(plan.metadata),
    }


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _builder_lock(job: Job, progress: Progress | None) -> Iterator[None]:
    """Hold the build against other processes (the kernel lets go of a dead one's), and clear what they
    left."""
    job.shelf.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = stack.enter_context(_lock_of(job.folder).open("a"))
        if not _try_lock(lock):
            if progress is not None:
                progress.note(f"another process is preparing {job.request.title}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for part in job.shelf.glob(".*.part"):
            _clear(part, mine=part == _part(job.folder))
        yield


def _clear(part: Path, mine: bool) -> None:
    """Remove an unfinished build, unless its builder is alive and holds its lock."""
    with part.with_suffix(".lock").open("a") as lock:
        if mine or _try_lock(lock):
            shutil.rmtree(part, ignore_errors=True)


def _try_lock(lock: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _sync(folder: Path) -> None:
    """Push a folder's files and names to the disk, so that a rename never outlives what it renames."""
    for path in [*folder.rglob("*"), folder] if folder.name.endswith(".part") else [folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
