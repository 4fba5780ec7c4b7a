"""A source of bytes, whatever it is packed in: the publisher's archives, or a folder somebody unpacked them into."""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from lensbench.archives import Archive, open_archive
from lensbench.digest import sha256_of
from lensbench.errors import ArchiveError
from lensbench.paths import home

TEXTS = (".txt", ".csv", ".tsv", ".tab", "")
ARCHIVES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz")
DEPTH = 3
"""How far below the given folder the folder that holds the publisher's may lie."""


@dataclass(frozen=True)
class Text:
    """A text file of a source: what to call it in a message, its folder and name, its bytes."""

    where: str
    folder: str
    name: str
    data: bytes

    @cached_property
    def text(self) -> str:
        """The decoded text; where it is not UTF-8, Latin-1, which decodes any byte and keeps ASCII."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return self.data.decode("latin-1")


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
                inner = [m.name for m in outer.members() if m.name.lower().endswith(".zip")]
                self.containers.extend(outer.nested(name) for name in inner)

        self._token = secrets.token_hex(8)
        _open[self._token] = self

    def __reduce__(self) -> tuple[Callable[[str, Spec], Source], tuple[str, Spec]]:
        return _inherited, (self._token, self.spec)

    def read(self, container: int, name: str) -> bytes:
        """The bytes of one member."""
        return self.containers[container].read(name)

    def where(self, container: int, name: str) -> str:
        """What a member is called in a message."""
        return f"{self.containers[container].label}!{name}"

    def texts(self) -> list[Text]:
        """All text files (lists, class names, tables), read now and not kept."""
        found = [_loose_text(path, self.spec.base) for path in self.spec.loose]
        for archive in self.containers:
            names = [m.name for m in archive.members() if _is_text(m.name)]
            for name, data in archive.iter(names) if names else ():
                path = PurePosixPath(name)
                folder = f"{archive.label}!{path.parent}"
                found.append(Text(f"{archive.label}!{name}", folder, path.name, data))
        return found

    def files(self) -> Iterator[tuple[int, str]]:
        """(container, name) of every file, but for the shadow files that macOS leaves in archives."""
        for number, archive in enumerate(self.containers):
            for member in archive.members():
                if not _is_shadow(member.name):
                    yield number, member.name


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror})") from error
    return Text(str(path), str(path.parent.relative_to(base) if base else path.parent), path.name, data)


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
