"""Read the split lists that image-classification publishers ship: one `<path> <class index>` line per image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from lensbench.errors import DatasetError

UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class Listed(NamedTuple):
    """One line of a list."""

    id: str
    label: str
    path: str
    """Relative path as listed, with forward slashes: `<folder>/<file>`."""
    line: int
    """Its number, from 1."""


def folder_name(display: str) -> str:
    """The folder that LifeWatch keeps a class in: spaces, slashes and colons of the display name replaced.

    >>> folder_name("Crustaceae:part"), folder_name("Egg/Cyst")
    ('Crustaceae-part', 'Egg+Cyst')
    """
    return display.strip().replace(" ", "_").replace("/", "+").replace(":", "-")


def sample_id(path: str) -> str:
    """The stable id of an image: the UUID in its file name, upper case, wherever in the name it stands.

    Raises DatasetError for a name without exactly one.

    >>> sample_id("Egg+Cyst/ecotaxa_Egg+Cyst_00c7a1a0-0000-4000-8000-000000000001.jpg")
    '00C7A1A0-0000-4000-8000-000000000001'
    """
    found = UUID.findall(PurePosixPath(path).name)
    if len(found) != 1:
        raise DatasetError(f"{path!r}: expected one UUID in the file name, found {len(found)}")
    return str(found[0]).upper()


def parse_classes(text: str) -> tuple[str, ...]:
    """Folder names in index order from a `classes.txt` in either naming style (display or folder names)."""
    return tuple(folder_name(line) for line in text.splitlines() if line.strip())


def parse_list(text: str, order: Sequence[str], where: str = "list") -> list[Listed]:
    """The lines of a split list; `order` are the folder names by index.

    Takes `/` or `\\`, LF or CRLF and blank lines. Raises DatasetError, naming the line, for an index that is not
    in `order`, a folder that is not its label's, or an id that occurs twice.
    """
    seen: set[str] = set()
    rows = []
    for row in parse_lines(text.splitlines(), order, where):
        if row.id in seen:
            raise DatasetError(f"{where}, line {row.line}: id {row.id} occurs twice")
        seen.add(row.id)
        rows.append(row)
    return rows


def parse_lines(lines: Iterable[str], order: Sequence[str], where: str = "list") -> Iterator[Listed]:
    """As `parse_list`, line by line; an id that occurs twice is left to the caller, who need not keep them all."""
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        try:
            path, _, index = text.replace("\\", "/").rpartition(" ")
            place = int(index)
            label = order[place] if place >= 0 else ""
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{where}, line {number}: {text[:80]!r} is not `<path> <index>`") from error
        folder, _, file = path.rpartition("/")
        if folder.rpartition("/")[2] != label and PurePosixPath(path).parent.name != label:
            raise DatasetError(f"{where}, line {number}: {path!r} has index {index}, which is {label!r}")
        found = UUID.findall(file)
        key = found[0].upper() if len(found) == 1 else sample_id(path)
        yield Listed(key, label, path, number)
