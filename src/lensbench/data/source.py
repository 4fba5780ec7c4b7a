"""A source of bytes, whatever it is packed in: the publisher's archives, or a folder somebody unpacked them into."""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lensbench.archives import Archive, open_archive
from lensbench.data.spool import append, nameless
from lensbench.data.text import Text
from lensbench.digest import sha256_of
from lensbench.errors import ArchiveError
from lensbench.paths import home

TEXTS = (".txt", ".csv", ".tsv", ".tab", "")
ARCHIVES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz")
MAYBE_TEXT = r"(?i)\.(txt|csv|tsv|tab)?$|(^|/)\.?[^./]*$"
"""Every name that has one of these suffixes, and few others."""
SHADOW = r"(^|/)\._[^/]*$"
CHUNK = 1 << 20
DEPTH = 3
"""How far below the given folder the folder that holds the publisher's may lie."""


@dataclass(frozen=True)
class Spec:
    """What to open: archives, folders that hold class folders, and loose text files beside those."""

    archives: tuple[Path, ...]
    roots: tuple[Path, ...] = ()
    loose: tuple[Path, ...] = ()
    base: Path | None = None
    """The folder that was given; names in messages and digests are relative to it."""


class Source:
    """An opened `Spec`. Pickled, it is opened again, unless the worker was forked and inherits it open."""

    def __init__(self, spec: Spec, note: Callable[[str], None] | None = None) -> None:
        self.spec = spec
        self.containers: list[Archive] = []
        for path in (*spec.archives, *spec.roots):
            outer = open_archive(path, note=note)
            self.containers.append(outer)
            if path in spec.archives:
                inner = [name for name in outer.names() if name.lower().endswith(".zip")]
                self.containers.extend(outer.nested(name) for name in inner)

        self._token = secrets.token_hex(8)
        _open[self._token] = self

    def __reduce__(self) -> tuple[Callable[[str, Spec], Source], tuple[str, Spec]]:
        return _inherited, (self._token, self.spec)

    def read(self, container: int, name: str) -> bytes:
        """The bytes of one member."""
        return self.containers[container].read(name)

    def members(self, rows: pa.Table) -> Iterator[tuple[int, str, bytes]]:
        """(container, name, bytes), lazily, for rows of `table`: only `container` and `number` are looked at."""
        places = zip(rows["container"].to_pylist(), rows["number"].to_pylist(), strict=True)
        for container, run in groupby(places, key=itemgetter(0)):
            for name, data in self.containers[container].read_numbers([number for _, number in run]):
                yield container, name, data

    def name(self, container: int, number: int) -> str:
        """The name of the member with that number."""
        return self.containers[container].names()[number]

    def where(self, container: int, name: str) -> str:
        """What a member is called in a message."""
        return f"{self.containers[container].label}!{name}"

    def texts(self) -> list[Text]:
        """All text files (lists, class names, tables); none is read yet."""
        found = [_loose_text(path, self.spec.base) for path in self.spec.loose]
        for archive in self.containers:
            names = archive.names().column
            maybe = names.filter(pc.match_substring_regex(names, MAYBE_TEXT)).to_pylist()
            for name, chunks in _contents(archive, [name for name in maybe if _is_text(name)]):
                folder, _, file = name.rpartition("/")
                found.append(Text(f"{archive.label}!{name}", f"{archive.label}!{folder or '.'}", file, chunks))
        return found

    def files(self) -> Iterator[tuple[int, str]]:
        """(container, name) of every file, but for the shadow files that macOS leaves in archives."""
        for container, archive in enumerate(self.containers):
            for name in archive.names():
                if not _is_shadow(name):
                    yield container, name

    def table(self) -> pa.Table:
        """The same in columns: `container` (int16), `number` in it (int32) and `name`."""
        parts = []
        for container, archive in enumerate(self.containers):
            names = archive.names().column
            number = pa.array(np.arange(len(names), dtype=np.int32))
            part = pa.table({"container": pa.repeat(pa.scalar(container, pa.int16()), len(names)), "number": number})
            part = part.append_column("name", names)
            shadow = pc.match_substring_regex(names, SHADOW)
            parts.append(part.filter(pc.invert(shadow)) if pc.any(shadow).as_py() else part)
        return pa.concat_tables(parts)


# What this process, or the one it was forked from, holds open. Never looked up by path: a file of the same name may
# be another file by now.
_open: weakref.WeakValueDictionary[str, Source] = weakref.WeakValueDictionary()


def _inherited(token: str, spec: Spec) -> Source:
    return _open.get(token) or Source(spec)


def _is_text(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in TEXTS and not _is_shadow(name)


def _is_shadow(name: str) -> bool:
    return name.rpartition("/")[2].startswith("._")


def _loose_text(path: Path, base: Path | None) -> Text:
    folder = path.parent.relative_to(base) if base else path.parent
    return Text(str(path), str(folder), path.name, partial(_pieces, path))


def _contents(archive: Archive, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    """Some members by name, and how to read each in pieces.

    What would mean another pass over the archive each time is copied out in one, to a file without a name.
    """
    if not archive.sequential or not names:
        yield from ((name, partial(archive.chunks, name)) for name in names)
        return
    copies, at = nameless(), 0
    for name, data in archive.iter(names):
        append(copies, data)
        yield name, partial(_between, copies, at, at + len(data))
        at += len(data)


def _between(file: IO[bytes], at: int, end: int) -> Iterator[bytes]:
    while piece := os.pread(file.fileno(), min(CHUNK, end - at), at):
        at += len(piece)
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror})") from error


# -- an unpacked folder --------------------------------------------------------------------------------------


def unpacked(folder: Path, names: Sequence[str]) -> Spec:
    """The publisher's layout, or a part of it, as it lies in `folder`, at most `DEPTH` levels down.

    `names`: folders of the publisher's by which it is told, class folders for one.
    """
    known = frozenset(names)
    if folder.name in known:  # the user named one of them itself
        return Spec((), (folder,), (), folder)
    roots: list[Path] = []
    loose: list[Path] = []
    archives: list[Path] = []
    level = [folder]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for place in level:
            entries = _entries(place)
            folders = [entry for entry in entries if entry.is_dir() and entry.name not in known]
            if any(entry.name in known and entry.is_dir() for entry in entries):
                roots.append(place)
                continue
            below.extend(folders)
            files = [entry for entry in entries if entry.is_file()]
            loose.extend(file for file in files if _is_text(file.name))
            archives.extend(file for file in files if file.suffix.lower() == ".zip")
        level = below
    roots = [root for root in roots if not any(root.is_relative_to(other) for other in roots if other != root)]
    return Spec(tuple(archives), tuple(roots), tuple(loose), folder)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise ArchiveError(f"{folder}: cannot be read ({error.strerror})") from error


def folder_identity(spec: Spec) -> str:
    """Hex sha256 over (relative path, size, mtime) of all that a build may read in an unpacked folder.

    A cache folder that lies in it is passed over: it changes with every build.
    """
    base = spec.base or Path()
    paths = [*spec.archives, *spec.loose]
    for root in spec.roots:
        for top, folders, files in os.walk(root):
            folders[:] = [name for name in folders if Path(top, name).resolve() != home().resolve()]
            paths.extend(Path(top, name) for name in files)
    rows = [(path.relative_to(base).as_posix(), path.stat()) for path in paths]
    return sha256_of(sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in rows))
