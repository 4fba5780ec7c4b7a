"""What a run keeps of its masks: the same rows back, the same bytes for the same rows, a digest of the content."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.images.decode import decode, encode_png
from lensbench.images.labelmap import from_colours, renumber
from lensbench.masks import rle
from lensbench.masks.stored import (
    GROUP,
    Row,
    holds,
    masks_digest,
    merge_masks,
    pack,
    read_masks,
    stated_of,
    unpack_runs,
    write_masks,
)
from lensbench.masks.values import ClassMap, Kind, LabelMap, Masks, Value, to_masks

SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 30))
IDS = st.sampled_from([0, 0, 1, 2, 255, 256, 65_535, 65_536, 0xFFFF_FFFF])
STATED = {"benchmark": "0" * 64, "plan": "1" * 64}


def unpacked(data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint32]:
    lengths, values = unpack_runs(data, shape[0] * shape[1], "x")
    return np.repeat(values, lengths).reshape(shape)


@given(hnp.arrays(np.uint32, SHAPES, elements=IDS))
def test_a_label_map_comes_back_with_its_32_bits(labels: NDArray[np.uint32]) -> None:
    assert np.array_equal(unpacked(pack(labels), labels.shape), labels)


@given(hnp.arrays(np.uint8, SHAPES))
def test_so_does_a_class_map(classes: NDArray[np.uint8]) -> None:
    assert np.array_equal(unpacked(pack(classes), classes.shape), classes)


def test_more_ids_than_16_bits_hold() -> None:
    labels = np.arange(300 * 300, dtype=np.uint32).reshape(300, 300)
    assert len(np.unique(unpacked(pack(labels), labels.shape))) == 90_000
    assert np.array_equal(unpacked(pack(labels.T), labels.shape), labels.T)  # not C-contiguous


def rows(kind: Kind, number: int, seed: int = 0) -> Iterator[Row]:
    """Rows of maps of several shapes, one of them a single pixel, one empty."""
    random = np.random.default_rng(seed)
    for n in range(number):
        shape = (1, 1) if n == 1 else (5 + n % 3, 7)
        labels = np.zeros(shape, np.uint32) if n == 2 else random.integers(0, 4, shape).astype(np.uint32) * 70_000
        masks = to_masks(LabelMap(labels))
        scores = random.random(len(masks.rle)) if n % 2 else None
        values: dict[str, Value] = {
            "labelmap": LabelMap(labels),
            "classmap": ClassMap((labels // 70_000).astype(np.uint8)),
            "rle": Masks(shape, masks.rle, scores),
        }
        yield Row(f"é{n:03}", "original", values[kind])


def plain(row: Row) -> list[Any]:
    value = row.value
    if isinstance(value, Masks):
        cells: Any = [value.rle, None if value.scores is None else value.scores.tolist()]
    else:
        cells = [value.pixels.dtype.name, value.pixels.tolist()]
    return [row.id, row.view, value.kind, value.shape, cells]


KINDS: tuple[Kind, ...] = ("labelmap", "classmap", "rle")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back_and_the_bytes_are_the_same_again(kind: Kind, tmp_path: Path) -> None:
    number = GROUP + 9
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for path in (one, two):
        write_masks(path, rows(kind, number), kind, STATED)
    assert [plain(row) for row in read_masks(one)] == [plain(row) for row in rows(kind, number)]
    assert one.read_bytes() == two.read_bytes()
    assert stated_of(one) == (kind, STATED)
    assert pq.ParquetFile(one).num_row_groups == 2
    assert holds(one, number, kind, STATED)
    assert not holds(one, number - 1, kind, STATED) and not holds(one, number, kind, {})
    assert not holds(tmp_path / "none", 0, kind, STATED)


@pytest.mark.parametrize("kind", KINDS)
def test_shards_merge_to_the_bytes_of_one_file(kind: Kind, tmp_path: Path) -> None:
    whole = list(rows(kind, 150))
    write_masks(tmp_path / "whole.parquet", whole, kind, STATED)
    shards = [tmp_path / f"{n}.parquet" for n in range(3)]
    for path, part in zip(shards, (whole[:70], whole[70:71], whole[71:]), strict=True):
        write_masks(path, part, kind, STATED)
    merge_masks(shards, tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    write_masks(shards[1], whole[70:71], kind, STATED | {"plan": "2"})
    with pytest.raises(ModelError, match="shards of several runs"):
        merge_masks(shards, tmp_path / "merged.parquet")
    with pytest.raises(ValueError, match="comes twice"):
        merge_masks([shards[0], shards[0]], tmp_path / "merged.parquet")
    assert (tmp_path / "merged.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_of_the_rows_not_of_their_compression(kind: Kind, tmp_path: Path) -> None:
    path, again = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_masks(path, rows(kind, 8), kind, STATED)
    table = pq.read_table(path)
    if kind != "rle":
        cells = [data[:4] + zlib.compress(zlib.decompress(data[4:]), 0) for data in table[kind].to_pylist()]
        table = table.set_column(4, kind, pa.array(cells, pa.binary()))
    pq.write_table(table, again, compression="none")
    assert path.read_bytes() != again.read_bytes() and masks_digest(path) == masks_digest(again)
    digests = {masks_digest(path)}
    for change in ({"seed": 1}, {"number": 7}):
        write_masks(again, rows(kind, **{"number": 8} | change), kind, STATED)
        digests.add(masks_digest(again))
    write_masks(again, (Row(row.id, "dark", row.value) for row in rows(kind, 8)), kind, STATED)
    write_masks(path, reversed(list(rows(kind, 8))), kind, STATED)
    assert len(digests | {masks_digest(again), masks_digest(path)}) == 5


def test_no_answers_no_scores_and_no_objects_are_three_things(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = [Masks((3, 4), ()), Masks((3, 4), (), np.empty(0)), Masks((3, 4), (b"<",), np.array([-0.0]))]
    write_masks(path, [Row(str(n), "original", value) for n, value in enumerate(values)], "rle", {})
    back = [row.value for row in read_masks(path)]
    assert [plain(Row("", "", value)) for value in back] == [plain(Row("", "", value)) for value in values]
    write_masks(path, [], "labelmap", {})
    assert list(read_masks(path)) == [] and holds(path, 0, "labelmap", {})


def test_what_does_not_belong_in_a_file_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    good = LabelMap(np.zeros((3, 4), np.uint32))
    bad: list[tuple[list[Row], str]] = [
        ([Row("a", "v", good), Row("a", "v", good)], "comes twice"),
        (
            [Row("a", "v", good), Row("b", "v", ClassMap(np.zeros((3, 4), np.uint8)))],
            "a classmap among rows of labelmap",
        ),
    ]
    for some, words in bad:
        with pytest.raises(ValueError, match=words):
            write_masks(path, some, "labelmap", {})
    for scores in (np.array([np.nan]), np.array([1.0, 2.0])):
        with pytest.raises(ValueError, match="1 masks need as many finite scores"):
            write_masks(path, [Row("a", "v", Masks((3, 4), (b"<",), scores))], "rle", {})
    assert not list(tmp_path.iterdir())


RUNS = struct.pack("<4I", 6, 6, 0, 9)


def packed(runs: bytes, number: int | None = None) -> bytes:
    planes = np.ascontiguousarray(np.frombuffer(runs, np.uint8).reshape(-1, 4).T).tobytes()
    return struct.pack("<I", len(runs) // 8 if number is None else number) + zlib.compress(planes)


HOSTILE = {
    "no run": b"",
    "zero runs": packed(b""),
    "more runs than pixels": packed(struct.pack("<26I", *[1] * 13, *range(13))),
    "fewer than it says": packed(b"", 2),
    "more than it says": struct.pack("<I", 2) + zlib.compress(bytes(1 << 20)),
    "not deflate": struct.pack("<I", 2) + b"nonsense",
    "cut": packed(RUNS)[:-3],
    "another size": packed(struct.pack("<4I", 6, 7, 0, 9)),
    "a sum past 32 bits": packed(struct.pack("<4I", 0xFFFF_FFFF, 13, 0, 9)),
    "an empty run": packed(struct.pack("<6I", 6, 0, 6, 0, 9, 1)),
    "one run in two": packed(struct.pack("<4I", 6, 6, 9, 9)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_stored_map_that_lies_is_refused(name: str) -> None:
    assert np.array_equal(unpack_runs(packed(RUNS), 12, "x"), [[6, 6], [0, 9]])
    with pytest.raises(ModelError, match="x: ") as caught:
        unpack_runs(HOSTILE[name], 12, "x")
    assert "\n" not in str(caught.value)


def changed(path: Path, **columns: Any) -> None:
    """Write the file again with some cells of its first row replaced."""
    table = pq.read_table(path)
    for name, cell in columns.items():
        column = pa.array([cell, *table[name].to_pylist()[1:]], table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("kind", "cells", "words"),
    [
        ("labelmap", {"id": None}, "has a gap"),
        ("labelmap", {"labelmap": None}, "has a gap"),
        ("labelmap", {"height": -5}, "gives a size of"),
        ("labelmap", {"height": 2**31 - 1, "width": 2**31 - 1}, "more than one image may have"),
        ("labelmap", {"height": 6}, "its runs are not the 42 pixels"),
        ("classmap", {"classmap": pack(np.full((5, 7), 256, np.uint32))}, "holds class 256"),
        ("rle", {"rle": None}, "has a gap"),
        ("rle", {"rle": [None]}, "has a gap"),
        ("rle", {"score": [0.5]}, r"has 1 scores of \d masks"),
        ("rle", {"score": [float("nan")] * 3}, "score that is no finite number"),
        ("rle", {"score": [None] * 3}, "score that is no finite number"),
    ],
)
def test_a_file_with_a_bad_row_is_refused(kind: Kind, cells: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_masks(path, rows(kind, 3), kind, STATED)
    changed(path, **cells)
    for read in (lambda: list(read_masks(path)), lambda: masks_digest(path)):
        if words.startswith("holds class") and read.__code__.co_names[0] == "masks_digest":
            continue
        with pytest.raises(ModelError, match=rf"\Aa\.parquet: .*{words}"):
            read()


def test_other_files_are_not_taken_for_masks(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for data in (b"", b"PAR1 not parquet PAR1"):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"a\.parquet: cannot be read"):
            stated_of(path)
    others: list[Any] = [None, "x"]
    others += [{"kind": "scores", "stated": {}}, {"kind": [], "stated": {}}, {"kind": "rle", "stated": {}}]
    for known in others:
        write_masks(path, rows("labelmap", 2), "labelmap", {})
        assert stated_of(path) == ("labelmap", {})
        table = pq.read_table(path).replace_schema_metadata({"lensbench": json.dumps(known)})
        pq.write_table(table, path)
        with pytest.raises(ModelError, match="not the stored masks of a run"):
            stated_of(path)
    write_masks(path, rows("labelmap", 70), "labelmap", {})
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes(200) + whole[240:])
    with pytest.raises(ModelError, match=r"a\.parquet: "):
        list(read_masks(path))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_map_or_one_line(data: bytes) -> None:
    try:
        runs = unpack_runs(data, 12, "x")
    except ModelError as error:
        assert str(error).startswith("x: ")
    else:
        assert runs[0].sum() == 12


@pytest.mark.needs("realdata")
def test_the_real_test_annotations_are_small_and_exact(realdata: Path, tmp_path: Path) -> None:
    """Bytes of the 10 test annotations in the forms that are read or kept."""
    folder = realdata / "aitslab_bioimaging1" / "test_nuclei" / "annotations"
    maps = {}
    for path in sorted(folder.glob("*.png")):
        pixels = decode(path.read_bytes(), path.name)
        maps[path.stem] = from_colours(pixels) if pixels.ndim == 3 else renumber(pixels)
    assert len(maps) == 10 and sum(int(labels.max()) for labels in maps.values()) == 438
    write_masks(tmp_path / "l.parquet", (Row(k, "original", LabelMap(v)) for k, v in maps.items()), "labelmap", STATED)
    write_masks(
        tmp_path / "r.parquet", (Row(k, "original", to_masks(LabelMap(v))) for k, v in maps.items()), "rle", STATED
    )
    for row in read_masks(tmp_path / "l.parquet"):
        assert isinstance(row.value, LabelMap) and np.array_equal(row.value.pixels, maps[row.id])
    coco = [
        {"image_id": key, "segmentation": {"size": list(v.shape), "counts": text.decode()}}
        for key, v in maps.items()
        for text in rle.encode(v)[1]
    ]
    sizes = {
        "labelmap": (tmp_path / "l.parquet").stat().st_size,
        "rle": (tmp_path / "r.parquet").stat().st_size,
        "coco": len(json.dumps(coco)),
        "png8": sum(len(encode_png(v.astype(np.uint8))) for v in maps.values()),
        "png16": sum(len(encode_png(v.astype(np.uint16))) for v in maps.values()),
    }
    print("\n" + "  ".join(f"{name} {size:,}" for name, size in sizes.items()))
    assert sizes["rle"] < 30_000 and sizes["labelmap"] < 48_000 and sizes["coco"] < 110_000
    assert sizes["labelmap"] < sizes["png8"] < sizes["png16"]


def test_maps_are_packed_one_by_one_whatever_their_number(tmp_path: Path) -> None:
    def rows(count: int) -> Iterator[Row]:
        for number in range(1, count + 1):
            yield Row(f"{number:02}", "original", LabelMap(np.full((512, 512), number, np.uint32)))

    write_masks(tmp_path / "warm.parquet", rows(1), "labelmap", {})  # what is imported is not counted
    tracemalloc.start()
    try:
        write_masks(tmp_path / "p.parquet", rows(60), "labelmap", {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20, "60 maps of a MiB each"
