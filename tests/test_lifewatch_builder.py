"""LifeWatch FlowCam: its columns, its metadata table in whatever form, and what is never guessed."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensbench.data.builder import ImageBuilder
from lensbench.data.class_folders import Metadata
from lensbench.data.loader import load_builder
from lensbench.data.prepared import Prepared
from lensbench.data.request import Request
from lensbench.data.store import prepare
from lensbench.errors import DatasetError
from lensbench.registry import get_dataset
from tests.small_registry import NAME, REAL, V2, SmallRegistry, key, paper_rows

HEADER = (
    *("image_path", "sample_datetime", "flowcam_version", "station"),
    *("accepted_label", "accepted_aphia_id", "original_reference_id"),
)
TIME = "2019-03-04 05:06:07.089"
Rows = list[list[str]]


@pytest.fixture(scope="module")
def builder() -> type[ImageBuilder]:
    return load_builder(REAL)


def metadata_of(builder: type[ImageBuilder]) -> Metadata:
    found = sys.modules[builder.__module__].METADATA
    assert isinstance(found, Metadata)
    return found


@pytest.fixture
def small(tmp_path: Path) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    return registry


def metadata(rows: Rows, delimiter: str = ",", end: str = "\n") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows([list(HEADER), *rows])
    return out.getvalue().encode()


def records() -> Rows:
    """One metadata row for each image, at the station of its number."""
    return [
        [f"{label}/ecotaxa_{label}_{i}.jpg", TIME, "VS-4", str(130 + n), label, "149151", i]
        for n, (i, label, _) in enumerate(paper_rows())
    ]


def build(small: SmallRegistry, tmp_path: Path, tables: dict[str, bytes]) -> Prepared:
    """Prepare the small dataset with these files in place of the publisher's metadata table."""
    folder = small.archives(tmp_path / f"source-{len(list(tmp_path.iterdir()))}")
    with zipfile.ZipFile(folder / V2) as outer:
        members = {name: outer.read(name) for name in outer.namelist()}
    with zipfile.ZipFile(folder / V2, "w") as outer:
        for name, data in members.items():
            if not name.endswith("metadata.csv"):
                outer.writestr(name, data)
        for name, data in tables.items():
            outer.writestr(name, data)
    return prepare(small.dataset, source=folder)


def rows_of(prepared: Prepared) -> dict[str, dict[str, Any]]:
    found = {}
    for files in prepared.arrow.values():
        for path in files:
            for row in pa.ipc.open_stream(path.read_bytes()).read_all().drop_columns(["image"]).to_pylist():
                found[row["id"]] = row
    return found


# -- the class table -----------------------------------------------------------------------------------------


def test_every_class_has_its_columns_and_ten_have_no_aphia_id(builder: type[ImageBuilder]) -> None:
    columns = [builder.of_class(label) for label in get_dataset(NAME).classes]
    numbers = [row["aphia_id"] for row in columns]
    assert len(numbers) == 95 and numbers.count(None) == 10
    assert len({number for number in numbers if number is not None}) == 72
    assert {type(row["plankton"]) for row in columns} == {bool}
    assert all(row["taxon"] for row in columns)


def test_features_are_those_of_the_arrow_files(
    builder: type[ImageBuilder], small: SmallRegistry, tmp_path: Path
) -> None:
    prepared = build(small, tmp_path, {})
    schema = pa.ipc.open_stream(prepared.arrow["test"][0].read_bytes()).schema
    request = Request(small.dataset, small.dataset.version(None), small.dataset.config(None))
    features = builder.features(request)
    assert schema.names == list(features)
    assert features["label"] == datasets.ClassLabel(names=list(small.dataset.label_order("decrop2025")))
    assert datasets.Features.from_arrow_schema(schema) == features


@pytest.mark.needs("realdata")
def test_label_orders_are_the_published_ones(realdata: Path) -> None:
    with (realdata / NAME / "class_table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for column, order in (("idx_E", "decrop2025"), ("idx_V", "equal400")):
        published = [row["folder"] for row in sorted(table, key=lambda row: int(row[column]))]
        assert tuple(published) == get_dataset(NAME).label_order(order)


# -- one metadata row ----------------------------------------------------------------------------------------


@given(st.datetimes(datetime.datetime(1, 1, 1)), st.sampled_from(["130", "ZG02", "W07bis", "LW01", "0215"]))
def test_times_keep_their_milliseconds_and_stations_their_text(time: datetime.datetime, station: str) -> None:
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    text = time.isoformat(sep=" ", timespec="milliseconds")
    columns, unread = metadata_of(load_builder(REAL)).parse({"sample_datetime": text, "station": station})
    assert (columns["sample_datetime"], columns["station"], unread) == (time, station, [])
    assert columns["group"] == f"{station}|{text}"


@pytest.mark.parametrize(
    "text", ["2019-03-04", "yesterday", "2019-13-04 05:06:07.089", "2019-03-04 05:06:07+01:00", "NA"]
)
def test_a_time_that_is_not_plain_is_null_and_counted(builder: type[ImageBuilder], text: str) -> None:
    columns, unread = metadata_of(builder).parse({"sample_datetime": text, "station": "130"})
    assert columns["sample_datetime"] is None and columns["group"] is None and unread == ["sample_datetime"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("149151", 149151),
        ("", None),
        ("Detritus", None),
        ("149151.0", None),
        ("-1", None),
        ("²", None),
        ("9" * 12, None),
    ],
)
def test_an_aphia_id_is_a_number_or_null(builder: type[ImageBuilder], text: str, number: int | None) -> None:
    assert metadata_of(builder).parse({"accepted_aphia_id": text})[0]["accepted_aphia_id"] == number


def test_nothing_known_is_null_everywhere(builder: type[ImageBuilder]) -> None:
    columns, unread = metadata_of(builder).parse({})
    assert set(columns.values()) == {None} and unread == []
    assert set(columns) == set(metadata_of(builder).schema.names)


def test_the_id_of_a_row(builder: type[ImageBuilder]) -> None:
    of, i = metadata_of(builder).key, key(5)
    assert of({"image_path": f"a/ecotaxa_a_{i}.jpg"}) == i
    assert of({"image_path": f"a\\b\\ecotaxa_a_{i.lower()}.jpg"}) == i
    assert of({"image_path": f"{key(6)}/x.jpg", "original_reference_id": i.lower()}) == i
    assert of({"image_path": f"{key(6)}_{i}.jpg", "original_reference_id": "7"}) is None
    assert of({}) is None


# -- the table as a whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["comma", "semicolon", "tab", "crlf", "backslash", "bom", "reference", "quoted"])
def test_one_table_in_many_forms(small: SmallRegistry, tmp_path: Path, form: str) -> None:
    rows = records()
    name, data = "x/metadata.csv", metadata(rows)
    if form == "semicolon":
        name, data = "deep/er/table.TXT", metadata(rows, ";")
    elif form == "tab":
        name, data = "annotations.tsv", metadata(rows, "\t")
    elif form == "crlf":
        data = metadata(rows, end="\r\n")
    elif form == "backslash":
        data = metadata([[row[0].replace("/", "\\"), *row[1:]] for row in rows])
    elif form == "bom":
        data = b"\xef\xbb\xbf" + data
    elif form == "reference":
        data = metadata([["unknown.jpg", *row[1:]] for row in rows])
    elif form == "quoted":
        data = "\n".join(",".join(f'"{cell}"' for cell in row) for row in [list(HEADER), *rows]).encode()
    prepared = build(small, tmp_path, {name: data})
    found = rows_of(prepared)
    assert len(found) == len(rows)
    for n, (i, label, _) in enumerate(paper_rows()):
        row = found[i]
        assert row["station"] == str(130 + n) and row["group"] == f"{130 + n}|{TIME}"
        assert row["sample_datetime"] == datetime.datetime.fromisoformat(TIME)
        assert (row["accepted_label"], row["accepted_aphia_id"]) == (label, 149151)
        assert (row["flowcam_version"], row["original_reference_id"]) == ("VS-4", i)
    assert prepared.metadata == {
        "file": Path(name).name,
        "rows": 40,
        "keyless": 0,
        "conflicting": 0,
        "unreadable": {},
        "without": 0,
    }


def test_conflicts_gaps_and_odd_rows_are_null_and_counted(small: SmallRegistry, tmp_path: Path) -> None:
    rows = records()
    conflicting, absent, late = (row[-1] for row in (rows[0], rows[1], rows[2]))
    other = [*rows[0][:3], "ZG02", *rows[0][4:]]
    rows[2][1] = "noon"
    data = metadata([other, rows[3], *rows[:1], *rows[2:], ["no/id.jpg", TIME, "", "", "", "", "17"]])
    prepared = build(small, tmp_path, {"m.csv": data})
    found = rows_of(prepared)
    for i in (conflicting, absent):
        assert found[i]["station"] is None and found[i]["group"] is None
    assert found[late]["station"] == "132" and found[late]["group"] is None
    notes = json.loads((prepared.folder / "prepared.json").read_text())["metadata"]
    assert notes == {
        "file": "m.csv",
        "rows": 42,
        "keyless": 1,
        "conflicting": 1,
        "unreadable": {"sample_datetime": 1},
        "without": 2,
    }


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"a.csv": metadata(records()), "b.csv": metadata(records()[1:])},
            "both look like the metadata table",
        ),
        ({"a.csv": metadata(records()) + b"1,2,3,4,5,6,7,8\n"}, "line 42: not as many fields as the header"),
        ({"a.csv": metadata(records()) + b'"open\n'}, "a.csv, after line 41: unexpected end"),
        ({"a.csv": metadata(records()) + b"x" * 200_000}, "after line 41: field larger than"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    small: SmallRegistry, tmp_path: Path, tables: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        build(small, tmp_path, tables)


def test_without_a_table_every_column_of_it_is_null(small: SmallRegistry, tmp_path: Path) -> None:
    prepared = build(small, tmp_path, {"readme.txt": b"image_path and more\n"})
    assert prepared.metadata == {}
    for row in rows_of(prepared).values():
        assert {row[name] for name in ("group", "station", "sample_datetime", "accepted_label")} == {None}


def test_the_builder_is_found_by_path_and_told_apart_by_content(tmp_path: Path) -> None:
    first = load_builder(REAL)
    assert load_builder(REAL) is first and "lifewatch_flowcam" in first.__module__
    other = tmp_path / NAME
    other.mkdir()
    (other / "builder.py").write_text("X = 1\n")
    with pytest.raises(DatasetError, match="one builder class"):
        load_builder(other)
    with pytest.raises(DatasetError, match="cannot be read"):
        load_builder(tmp_path)
