"""LifeWatch FlowCam: which columns a sample has, and how a row of the publisher's metadata table is read."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import datasets
import pyarrow as pa

from lensbench.data.builder import ImageBuilder
from lensbench.data.class_folders import Metadata, Record, index_class_folders, table_key
from lensbench.data.index import Index
from lensbench.data.request import Request
from lensbench.data.samples import read_jpegs
from lensbench.data.source import Source
from lensbench.registry import Config, Label


def key(record: Record) -> str | None:
    """The image's id: the UUID of its file, or else of the original reference."""
    return table_key(record, ("image_path", "original_reference_id"))


def parse(record: Record) -> tuple[Mapping[str, Any], list[str]]:
    """Typed columns of one row, null where a field is empty, and the names of fields that could not be read.

    Stations stay strings ("130", "ZG02"). An AphiaID that is not a number is a placeholder, so null. Times
    carry no zone in the table and get none here.
    """
    text, station = record.get("sample_datetime", ""), record.get("station") or None
    time, written, year = _time(text)
    return {
        "group": f"{station}|{written}" if station and written else None,
        "year": year,
        "station": station,
        "sample_datetime": time,
        "flowcam_version": record.get("flowcam_version") or None,
        "accepted_label": record.get("accepted_label") or None,
        "accepted_aphia_id": _number(record.get("accepted_aphia_id", "")),
        "original_reference_id": record.get("original_reference_id") or None,
    }, ["sample_datetime"] if text and time is None else []


@lru_cache(4096)
def _time(text: str) -> tuple[datetime.datetime | None, str | None, str | None]:
    """When a sample was taken, the same to the millisecond as text, its year; remembered, for a sample has many images.

    A bare day is no time of sampling.
    """
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None, None, None
    if len(text) < len("YYYY-MM-DD HH:MM:SS") or time.tzinfo:
        return None, None, None
    return time, time.isoformat(sep=" ", timespec="milliseconds"), f"{time:%Y}"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


# `year` is no column of the dataset: the rule of by_year draws from it.
METADATA = Metadata(
    header=("image_path", "sample_datetime"),
    key=key,
    parse=parse,
    schema=pa.schema(
        [
            ("group", pa.string()),
            ("year", pa.string()),
            ("station", pa.string()),
            ("sample_datetime", pa.timestamp("ms")),
            ("flowcam_version", pa.string()),
            ("accepted_label", pa.string()),
            ("accepted_aphia_id", pa.int32()),
            ("original_reference_id", pa.string()),
        ]
    ),
)


class Builder(ImageBuilder):
    """Plankton cut out of FlowCam frames, one particle an image."""

    @classmethod
    def parts(cls, config: Config) -> Mapping[str, str]:
        """One JPEG a sample, kept and hashed as published."""
        return {"image": "bytes"}

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        """Class folders, the publisher's lists, his metadata table."""
        return index_class_folders(source, request, METADATA)

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        """The JPEGs, their size and mode, their sha256."""
        return read_jpegs(source, rows)

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        """As the dataset card describes them."""
        text, number = datasets.Value("string"), datasets.Value("int32")
        return datasets.Features(
            {
                "id": text,
                "image": datasets.Image(),
                "label_name": text,
                "group": text,
                "aphia_id": number,
                "taxon": text,
                "plankton": datasets.Value("bool"),
                "station": text,
                "sample_datetime": datasets.Value("timestamp[ms]"),
                "flowcam_version": text,
                "accepted_label": text,
                "accepted_aphia_id": number,
                "original_reference_id": text,
                "width": number,
                "height": number,
                "mode": text,
                "sha256": text,
            }
        )

    @classmethod
    def of_class(cls, label: Label) -> Mapping[str, Any]:
        """Display name, AphiaID (null for the ten classes without one) and our coarse taxon."""
        return {
            "label_name": label.display,
            "aphia_id": _number(label.attributes["aphia_id"]),
            "taxon": label.attributes["taxon"],
            "plankton": label.attributes["plankton"] == "true",
        }
