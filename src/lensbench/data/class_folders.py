"""Image classification archives of the common kind: one folder per class, lists of the splits, a metadata table.

Class folders, lists and tables are found by what they are, not by where they should be: publishers rename their
root folders between versions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from lensbench.data.index import Index, Listed
from lensbench.data.request import Request
from lensbench.data.source import Source, Text
from lensbench.errors import DatasetError
from lensbench.lists import UUID, parse_classes, parse_list
from lensbench.splits import Manifest

IMAGES = (".jpg", ".jpeg")
LIST_NAMES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}

Record = Mapping[str, str]
"""One row of a metadata table, as text."""
Values = tuple[Any, ...]
"""The metadata columns of one image, in the order of their schema."""


@dataclass(frozen=True)
class Metadata:
    """How a dataset reads its metadata table: the header that tells it, the id of a row, its typed columns.

    `parse` gives the columns of one row and the names of fields that could not be read.
    """

    header: tuple[str, ...]
    key: Callable[[Record], str | None]
    parse: Callable[[Record], tuple[Mapping[str, Any], Sequence[str]]]
    schema: pa.Schema


def index_class_folders(source: Source, request: Request, metadata: Metadata) -> Index:
    """Every image in a class folder, what the metadata table says of it, and the lists of the config's scheme.

    Columns: `id, label, container, member` and those of the metadata's schema, `group` among them.
    """
    images, strays = index_images(source, request.order)
    texts = source.texts()
    order = request.listed_order
    lists = {
        split: Listed(text.where, _from_list(split, text, order)) for split, text in find_lists(texts, order).items()
    }
    table = find_table(texts, metadata.header)
    records, report = _read_metadata(table, metadata)
    report |= {"without": sum(key not in records for key in images)} if table else {}
    return Index(_rows_of(images, records, metadata.schema), lists, strays, report)


def _from_list(split: str, text: Text, order: Sequence[str]) -> Manifest:
    return Manifest.of(split, [(line.id, line.label, None) for line in parse_list(text.text, order, text.where)])


class Image(NamedTuple):
    """Where one image lies: container of its source, by index; member name; the class folder it is in."""

    container: int
    name: str
    label: str


def index_images(source: Source, labels: Sequence[str]) -> tuple[dict[str, Image], int]:
    """Every image in a class folder by its id, and the number of images that lie elsewhere or have no id.

    Raises DatasetError, naming both, where two images have one id.
    """
    known = frozenset(labels)
    found: dict[str, Image] = {}
    strays = 0
    for container, name in source.files():
        if not name.lower().endswith(IMAGES):
            continue
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


def table_key(record: Record, fields: Iterable[str]) -> str | None:
    """The id of a metadata row: the UUID in the first of `fields` that holds exactly one."""
    for name in fields:
        found = UUID.findall(record.get(name, "").replace("\\", "/").rpartition("/")[2])
        if len(found) == 1:
            return str(found[0]).upper()
    return None


def _read_metadata(table: Table | None, metadata: Metadata) -> tuple[dict[str, Values], dict[str, Any]]:
    """Typed columns by id, and a report. Rows that differ about one id are all dropped, and counted."""
    if table is None:
        return {}, {}
    found: dict[str, Values] = {}
    conflicts: set[str] = set()
    unreadable: dict[str, int] = {}
    rows = keyless = 0
    for row in table.rows:
        rows += 1
        key = metadata.key(row)
        if key is None:
            keyless += 1
            continue
        columns, unread = metadata.parse(row)
        values = tuple(columns[name] for name in metadata.schema.names)
        if found.setdefault(key, values) != values:
            conflicts.add(key)
        for name in unread:
            unreadable[name] = unreadable.get(name, 0) + 1
    for key in conflicts:
        del found[key]
    report = {
        "file": table.name,
        "rows": rows,
        "keyless": keyless,
        "conflicting": len(conflicts),
        "unreadable": unreadable,
    }
    return found, report


def _rows_of(images: Mapping[str, Image], records: Mapping[str, Values], schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {
        "id": pa.array(images.keys(), pa.string()),
        "label": pa.array([image.label for image in images.values()], pa.string()),
        "container": pa.array([image.container for image in images.values()], pa.int16()),
        "member": pa.array([image.name for image in images.values()], pa.string()),
    }
    nothing = (None,) * len(schema.names)
    rows = [records.get(key, nothing) for key in images]
    for number, column in enumerate(schema):
        columns[column.name] = pa.array([row[number] for row in rows], column.type)
    return pa.table(columns)
