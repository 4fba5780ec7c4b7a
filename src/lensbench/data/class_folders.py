"""Image classification archives of the common kind: one folder per class, lists of the splits, a metadata table.

Class folders, lists and tables are found by what they are, not by where they should be: publishers rename their
root folders between versions.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lensbench.data.index import LISTED, Index, Listed
from lensbench.data.keys import places, repeated
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.data.spool import spooled
from lensbench.data.text import Text
from lensbench.errors import DatasetError
from lensbench.lists import UUID, parse_classes, parse_lines

JPEGS = r"(?i)\.jpe?g$"
IMAGES = pa.schema([("id", pa.string()), ("label", pa.string()), ("container", pa.int16()), ("number", pa.int32())])
"""An image: where it lies is the number of its member in a container of the source."""
FOLDER_AND_FILE = r"(?:^|/)(?P<folder>[^/]+)/(?P<file>[^/]+)$"
LIST_NAMES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}

Record = Mapping[str, str]
"""One row of a metadata table, as text."""
BLOCK, RECORDS = 8192, 1024
"""Names, and rows of a table, that are looked at together."""


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

    Columns: `id, label, container, number` (of the member in its container) and those of the metadata's schema,
    `group` among them.
    """
    images, strays = index_images(source, request.order)
    texts, order = source.texts(), request.listed_order
    lists = {split: Listed(text.where, _from_list(text, order)) for split, text in find_lists(texts, order).items()}
    records, report = _read_metadata(find_table(texts, metadata.header), metadata)
    at = places(images["id"], records["id"])
    if report:
        report["without"] = at.null_count
    for column in metadata.schema:
        values = spooled(pa.schema([column]), [records.select([column.name]).take(at)])
        images = images.append_column(column, values.column(0))
    return Index(images, lists, strays, report)


def _from_list(text: Text, order: Sequence[str]) -> pa.Table:
    """`id` and `label` of the lines, sorted by id."""
    with text.open() as lines:
        parsed = parse_lines(lines, order, text.where)
        blocks = iter(lambda: list(islice(parsed, RECORDS)), [])
        rows = spooled(LISTED, (pa.table([*zip(*block, strict=True)][:2], schema=LISTED) for block in blocks))
    if (twice := repeated(rows["id"])) is not None:
        with text.open() as lines:
            number = [row.line for row in parse_lines(lines, order, text.where) if row.id == twice][1]
        raise DatasetError(f"{text.where}, line {number}: id {twice} occurs twice")
    return spooled(LISTED, [rows.sort_by("id")])


def index_images(source: Source, labels: Sequence[str]) -> tuple[pa.Table, int]:
    """Every image in a class folder (`id, label, container, number`), and how many lie elsewhere or have no id.

    Raises DatasetError, naming both, where two images have one id.
    """
    names, files = pa.array(labels, pa.string()), source.table()
    strays = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal strays
        for start in range(0, files.num_rows, BLOCK):
            found, others = _images(files.slice(start, BLOCK), names)
            strays += others
            yield found

    images = spooled(IMAGES, blocks())
    _refuse_twins(source, images)
    return spooled(IMAGES, [images.combine_chunks()]), strays


def _images(files: pa.Table, labels: pa.Array) -> tuple[pa.Table, int]:
    """Those of some files of `Source.table`."""
    files = files.filter(pc.match_substring_regex(files["name"], JPEGS)).combine_chunks()
    name = pc.extract_regex(files["name"], FOLDER_AND_FILE)
    label, file = pc.index_in(pc.struct_field(name, "folder"), value_set=labels), pc.struct_field(name, "file")
    fits = pc.and_(label.is_valid(), pc.equal(pc.count_substring_regex(file, UUID.pattern), 1))
    ids = pc.struct_field(pc.extract_regex(file.filter(fits), f"(?P<id>{UUID.pattern})"), "id")
    found = files.filter(fits)
    columns = [pc.utf8_upper(ids), labels.take(label.filter(fits)), found["container"], found["number"]]
    return pa.table(columns, schema=IMAGES), files.num_rows - found.num_rows


def _refuse_twins(source: Source, images: pa.Table) -> None:
    """Two images must not have one id."""
    key = repeated(images["id"])
    if key is None:
        return
    rows = images.filter(pc.equal(images["id"], key)).to_pylist()
    places = [(row["container"], source.name(row["container"], row["number"])) for row in rows[:2]]
    first, second = (source.where(*place) for place in places)
    raise DatasetError(f"two images have the id {key}: {first} and {second}")


def find_lists(texts: Sequence[Text], order: Sequence[str]) -> dict[str, Text]:
    """The publisher's lists of one split scheme by split: those beside a `classes.txt` in that label order.

    Raises DatasetError where two folders hold different lists of the same scheme.
    """
    homes = [t.folder for t in texts if t.name == "classes.txt" and parse_classes(t.read()) == tuple(order)]
    found: dict[str, Text] = {}
    for split, name in LIST_NAMES.items():
        for text in texts:
            if text.name == name and text.folder in homes:
                other = found.setdefault(split, text)
                if other is not text and other.digest != text.digest:
                    raise DatasetError(f"{other.where} and {text.where} are different lists of one split; keep one")
    return found


@dataclass(frozen=True)
class Table:
    """A delimited text table with a header; `rows` reads it once, row by row."""

    name: str
    rows: Iterator[Record]


def find_table(texts: Sequence[Text], header: Sequence[str]) -> Table | None:
    """The one table whose header names all of `header`; any file name, delimited by comma, semicolon or tab.

    Raises DatasetError for two of them and, when it is read, for a row that cannot be parsed.
    """
    found: tuple[Text, str] | None = None
    for text in texts:
        for delimiter in ",;\t":
            names = {name.strip().strip('"') for name in text.first_line.split(delimiter)}
            if names.issuperset(header):
                if found is not None and found[0].digest != text.digest:
                    first = found[0].where
                    raise DatasetError(f"{first} and {text.where} both look like the metadata table; keep one")
                found = text, delimiter
    return Table(found[0].name, _rows(*found)) if found else None


def _rows(text: Text, delimiter: str) -> Iterator[Record]:
    with text.open(newline="") as lines:
        reader, done = csv.reader(lines, delimiter=delimiter, strict=True), 0
        try:
            names = [name.strip() for name in next(reader)]
            for row in reader:
                done = reader.line_num
                if len(row) == len(names):
                    yield dict(zip(names, map(str.strip, row), strict=True))
                elif row:
                    raise DatasetError(f"{text.where}, line {done}: not as many fields as the header")
        except csv.Error as error:
            raise DatasetError(f"{text.where}, after line {done}: {error}") from error


def table_key(record: Record, fields: Iterable[str]) -> str | None:
    """The id of a metadata row: the UUID in the first of `fields` that holds exactly one."""
    for name in fields:
        found = UUID.findall(record.get(name, "").replace("\\", "/").rpartition("/")[2])
        if len(found) == 1:
            return str(found[0]).upper()
    return None


def _read_metadata(table: Table | None, metadata: Metadata) -> tuple[pa.Table, dict[str, Any]]:
    """Typed columns and `id`, and a report. Rows that differ about one id are all dropped, and counted."""
    schema = pa.schema([pa.field("id", pa.string()), *metadata.schema])
    if table is None:
        return schema.empty_table(), {}
    unreadable = Counter[str]()
    rows = keyless = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal rows, keyless
        while records := [(metadata.key(row), *metadata.parse(row)) for row in islice(table.rows, RECORDS)]:
            rows += len(records)
            keyed = [(key, values) for key, values, _ in records if key is not None]
            keyless += len(records) - len(keyed)
            unreadable.update(name for key, _, unread in records if key is not None for name in unread)
            columns = {"id": [key for key, _ in keyed]}
            columns |= {name: [values[name] for _, values in keyed] for name in metadata.schema.names}
            yield pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)

    found, conflicts = _settle(spooled(schema, blocks()))
    report = {
        "file": table.name,
        "rows": rows,
        "keyless": keyless,
        "conflicting": conflicts,
        "unreadable": dict(unreadable),
    }
    return found, report


def _settle(records: pa.Table) -> tuple[pa.Table, int]:
    """One row for each id, and the number of ids whose rows differ; those have none."""
    if repeated(records["id"]) is None:
        return records, 0
    counts = records["id"].value_counts()
    several = pc.is_in(records["id"], value_set=counts.filter(pc.greater(counts.field("counts"), 1)).field("values"))
    first: dict[str, dict[str, Any]] = {}
    conflicts: set[str] = set()
    for row in records.filter(several).to_pylist():
        if first.setdefault(row["id"], row) != row:
            conflicts.add(row["id"])
    agreed = pa.Table.from_pylist([row for key, row in first.items() if key not in conflicts], records.schema)
    return pa.concat_tables([records.filter(pc.invert(several)), agreed]), len(conflicts)
