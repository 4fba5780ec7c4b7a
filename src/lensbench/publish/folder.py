"""A published folder: what `lensbench.json` says of it, and how it comes to stand where it was asked for.

It is written under another name beside its place and takes the place whole. What somebody else put there stays:
only an empty folder, or one in which every file is byte for byte what an earlier `bench publish` noted, is replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lensbench.digest import sha256_file
from lensbench.errors import DatasetError
from lensbench.paths import write_text

NOTES = "lensbench.json"
SCHEMA = 1
WRITTEN = re.compile(r"README\.md|dataset\.toml|classes\.csv|data/[a-z0-9_-]+/[a-z]+-\d+-of-\d+\.parquet")
"""What `bench publish` writes beside `lensbench.json`."""
MARKER = ".unfinished"
"""Lies in a folder that is being written, so that one which was left behind is known as ours."""


def read_notes(folder: Path) -> dict[str, Any] | None:
    """What `lensbench.json` in `folder` says, or None where there is none; DatasetError for one that is damaged."""
    path = folder / NOTES
    try:
        return parse_notes(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DatasetError(f"{path}: is not what bench publish writes ({error}); name another folder") from error


def parse_notes(text: str) -> dict[str, Any]:
    """`lensbench.json`, read; ValueError for what is not one."""
    try:
        notes = json.loads(text)
        if notes["schema"] != SCHEMA:
            raise ValueError(f"schema is not {SCHEMA}")
        whole = isinstance(notes["dataset"], str) and isinstance(notes["version"], str)
        whole = whole and all(isinstance(entry["splits"], dict) for entry in notes["configs"].values())
        if not (whole and isinstance(notes["files"], dict)):
            raise ValueError("an entry is of another kind")
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return dict(notes)


def write_notes(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `lensbench.json`: `about`, and size and sha256 of every file that lies in `folder` now."""
    files = {name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for name, path in _files(folder).items()}
    files.pop(MARKER, None)
    text = json.dumps({"schema": SCHEMA, **about, "files": files}, indent=1, ensure_ascii=False)
    write_text(folder / NOTES, text + "\n")


@contextmanager
def taking_place(folder: Path, dataset: str) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place when the block ends well, and vanishes when it does not.

    Raises DatasetError where `folder` holds anything but an earlier publication of `dataset`, or is being written.
    """
    if folder.is_symlink():
        raise DatasetError(f"{folder}: is a link; name the folder itself")
    folder = folder.resolve()
    _refuse_foreign(folder, dataset)
    part = folder.with_name(f"{folder.name}.part")
    if part.is_symlink() or (part.exists() and not _is_ours(part)):
        raise DatasetError(f"{part}: is not ours, and lies where {folder.name} would be written; move it away")
    part.mkdir(parents=True, exist_ok=True)
    held = _lock(part, folder)
    try:
        (part / MARKER).touch()
        _empty(part)
        yield part
        _refuse_foreign(folder, dataset)
        (part / MARKER).unlink()
        _replace(folder, part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        os.close(held)


def _is_ours(part: Path) -> bool:
    return part.is_dir() and ((part / MARKER).is_file() or not any(part.iterdir()))


def _lock(part: Path, folder: Path) -> int:
    """A handle of `part` that no other process has: its lock moves with the folder, and dies with its process."""
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise DatasetError(f"{folder}: is being written by another bench publish; name another folder") from error
    return handle


def _empty(part: Path) -> None:
    for entry in part.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()


def _replace(folder: Path, part: Path) -> None:
    if not folder.exists():
        part.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _refuse_foreign(folder: Path, dataset: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is a file; --to names a folder, or hf:ORG/NAME")
    if not any(folder.iterdir()):
        return
    notes = read_notes(folder)
    if notes is None:
        raise DatasetError(f"{folder}: is not empty, and bench publish did not write it; name another folder")
    if notes["dataset"] != dataset:
        raise DatasetError(f"{folder}: holds {notes['dataset']}, not {dataset}; name another folder")
    for name, path in _files(folder).items():
        if name != NOTES and (why := _not_as_written(name, path, notes["files"])):
            raise DatasetError(f"{path}: {why}; move it away, or name another folder")


def _not_as_written(name: str, path: Path, written: Mapping[str, Any]) -> str:
    """Why a file is not one that `bench publish` wrote there; empty where it is.

    `lensbench.json` may be a stranger's, so a name alone proves nothing: it must be one that could be written, and
    the digest is compared with that of the file.
    """
    if path.is_symlink() or not path.is_file():
        return "is a link, or no regular file"
    if name not in written or not WRITTEN.fullmatch(name):
        return "bench publish did not write it"
    entry = written[name]
    size, digest = (entry.get("size"), entry.get("sha256")) if isinstance(entry, Mapping) else (None, None)
    if path.stat().st_size != size or sha256_file(path) != digest:
        return "was changed after bench publish wrote it"
    return ""


def _files(folder: Path) -> dict[str, Path]:
    """Every file and link below `folder` by its name in it, sorted."""
    found = {
        (Path(top) / name).relative_to(folder).as_posix(): Path(top) / name
        for top, folders, files in os.walk(folder)
        for name in [*files, *(name for name in folders if (Path(top) / name).is_symlink())]
    }
    return dict(sorted(found.items()))
