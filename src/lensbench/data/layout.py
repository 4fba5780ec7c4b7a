"""What lies in a source: images by id, the publisher's lists and its tables, whatever they are packed in.

A source is the publisher's archives, or a folder into which somebody has unpacked them. Class folders, lists
and tables are found by what they are, not by where they should be: publishers rename their root folders
between versions.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from lensbench.archives import Archive, open_archive
from lensbench.digest import sha256_of
from lensbench.errors import ArchiveError, DatasetError
from lensbench.lists import UUID, parse_classes

IMAGES = (".jpg", ".jpeg")
TEXTS = (".txt", ".csv", ".tsv", ".tab", "")
DEPTH = 3
"""How far below the given folder the folder that holds the class folders may lie."""
LIST_NAMES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}


class Image(NamedTuple):
    """Where one image lies: container of its source, by index; member name; the class folder it is in."""

    container: int
    name: str
    label: str


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

    def images(self) -> Iterator[tuple[int, str]]:
        """(container, name) of every JPEG, but for the shadow files that macOS leaves in archives."""
        for number, archive in enumerate(self.containers):
            for member in archive.members():
                if member.name.lower().endswith(IMAGES) and not _is_shadow(member.name):
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


def unpacked(folder: Path, labels: Sequence[str]) -> Spec:
    """The publisher's layout, or a part of it, as it lies in `folder`, at most `DEPTH` levels down."""
    known = frozenset(labels)
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
    """Hex sha256 over (relative path, size, mtime) of all that a build may read in an unpacked folder."""
    base = spec.base or Path()
    paths = [*spec.archives, *spec.loose]
    for root in spec.roots:
        paths.extend(Path(top, name) for top, _, files in os.walk(root) for name in files)
    rows = [(path.relative_to(base).as_posix(), path.stat()) for path in paths]
    return sha256_of(sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in rows))


# -- images, lists and tables --------------------------------------------------------------------------------


def index_images(source: Source, labels: Sequence[str]) -> tuple[dict[str, Image], int]:
    """Every image in a class folder by its id, and the number of images that lie elsewhere or have no id.

    Raises DatasetError, naming both, where two images have one id.
    """
    known = frozenset(labels)
    found: dict[str, Image] = {}
    strays = 0
    for container, name in source.images():
        folder, _, file = name.rpartition("/")
        label = folder.rpartition("/")[2]
        ids = UUID.findall(file)
        if label not in known or len(ids) != 1:
            strays += 1
            continue
        key = ids[0].upper()
        if key in found:
            first = source.where(*found[key][:2])
            raise DatasetError(f"two images have the id {key}: {first} and {source.where(container, name)}")
        found[key] = Image(container, name, label)
    return found, strays


def find_lists(texts: Sequence[Text], order: Sequence[str]) -> dict[str, Text]:
    """The publisher's lists of one split scheme by split: those beside a `classes.txt` in that label order.

    Raises DatasetError where two folders hold different lists of the same scheme.
    """
    homes = [t.folder for t in texts if t.name == "classes.txt" and parse_classes(t.text) == tuple(order)]
    found: dict[str, Text] = {}
    for split, name in LIST_NAMES.items():
        for text in texts:
            if text.name == name and text.folder in homes:
                other = found.setdefault(split, text)
                if other.data != text.data:
                    raise DatasetError(f"{other.where} and {text.where} are different lists of one split; keep one")
    return found


@dataclass(frozen=True)
class Table:
    """A delimited text table with a header; `rows` reads it once, row by row."""

    name: str
    rows: Iterator[dict[str, str]]


def find_table(texts: Sequence[Text], header: Sequence[str]) -> Table | None:
    """The one table whose header names all of `header`; any file name, delimited by comma, semicolon or tab.

    Raises DatasetError for two of them and, when it is read, for a row that cannot be parsed.
    """
    found: Text | None = None
    dialect: Mapping[str, Any] = {}
    for text in texts:
        first = text.text.partition("\n")[0]
        for delimiter in ",;\t":
            names = {name.strip().strip('"') for name in first.split(delimiter)}
            if names.issuperset(header):
                if found is not None and found.data != text.data:
                    raise DatasetError(f"{found.where} and {text.where} both look like the metadata table; keep one")
                found, dialect = text, {"delimiter": delimiter}
    if found is None:
        return None
    return Table(found.name, _rows(found, dialect))


def _rows(text: Text, dialect: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text.text, newline=""), strict=True, **dialect)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DatasetError(f"{text.where}, line {reader.line_num}: not as many fields as the header")
            yield {name.strip(): value.strip() for name, value in row.items()}
    except csv.Error as error:
        raise DatasetError(f"{text.where}, after line {reader.line_num}: {error}") from error
