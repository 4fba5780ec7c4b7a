"""Raw-Microscopy: the label file and its cleaning rule, the seven intensities, the splits, the specimen, the card."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from lensbench import load_dataset
from lensbench.benchmark import get_benchmark
from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.data.loader import load_builder, load_specimen
from lensbench.data.plan import Plan, make_plan
from lensbench.data.request import Request
from lensbench.data.source import Source, Spec
from lensbench.data.store import prepare
from lensbench.errors import ArchiveError, DatasetError
from lensbench.images.content import part_sha256, sample_sha256
from lensbench.registry import Dataset, get_dataset
from lensbench.splits import read_manifest

NAME = "raw_microscopy"
FOLDER = Path(__file__).resolve().parent.parent / "registry" / NAME
LABELS = "microscopy/labels/Ma190c_annotations.dat"
RAW = "microscopy/images/raw_scale"
SCALES = (100, 1, 5, 10, 25, 50, 75)
IMAGES = ("image", *(f"image_{scale:03d}" for scale in SCALES[1:]))
COUNTS = {"BAS": 18, "EOS": 54, "KSC": 163, "LYA": 30, "LYT": 230, "MON": 191, "NGB": 8, "NGS": 216, "UNC": 30}
PAPER = [f"paper-{draw}" for draw in range(1, 6)]
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return get_dataset(NAME)


@pytest.fixture(scope="module")
def builder() -> type[ImageBuilder]:
    return load_builder(FOLDER)


@pytest.fixture(scope="module")
def code(builder: type[ImageBuilder]) -> ModuleType:
    return sys.modules[builder.__module__]


@pytest.fixture(scope="module")
def specimen() -> ModuleType:
    return sys.modules[load_specimen(FOLDER).__module__]


def members(crops: Iterable[Any]) -> Members:
    """The publisher's layout with empty frames: enough to be indexed."""
    crops = list(crops)
    found = {LABELS: "".join(f"{crop.name} {crop.label}\n" for crop in crops).encode()}
    return found | {f"{RAW}{scale:03d}/{crop.name}.tiff": b"" for scale in SCALES for crop in crops}


@pytest.fixture(scope="module")
def published(specimen: ModuleType) -> Members:
    """As many lines, classes and frames as the original has: 940 samples, and what the cleaning rule drops."""
    return members(specimen.plan(COUNTS))


def request(dataset: Dataset, config: str = "grouped", *, partial: bool = False) -> Request:
    return Request(dataset, dataset.version(None), dataset.config(config), partial)


# -- the index -----------------------------------------------------------------------------------------------


class Memory(Source):
    """A source that is no file; the small registry below reads real ones."""

    def __init__(self, files: Members) -> None:
        self._files = files

    def files(self) -> Iterator[tuple[int, str]]:
        return ((0, name) for name in self._files)

    def read(self, container: int, name: str) -> bytes:
        return self._files[name]

    def where(self, container: int, name: str) -> str:
        return f"memory!{name}"


@pytest.fixture
def index_of(builder: type[ImageBuilder], dataset: Dataset) -> Callable[..., Index]:
    def index(files: Members, config: str = "grouped", *, partial: bool = False) -> Index:
        return builder.index(Memory(files), request(dataset, config, partial=partial))

    return index


def kept(files: Members) -> list[tuple[str, str]]:
    """(id, label) as the publisher's code would list them, restated: not the builder's own."""
    rows = [tuple(line.split()) for line in files[LABELS].decode().splitlines()]
    lines = Counter(label for _, label in rows)
    dropped = "Ma190c_lame3_zone13_composite_Mcropped_2"
    return [(name, label) for name, label in rows if lines[label] > 4 and name != dropped]


def test_samples_are_those_of_the_cleaning_rule_in_the_order_of_the_label_file(
    published: Members, index_of: Callable[..., Index]
) -> None:
    index = index_of(published)
    rows = list(zip(index.rows["id"].to_pylist(), index.rows["label"].to_pylist(), strict=True))
    assert rows == kept(published)
    assert rows != sorted(rows)
    assert Counter(label for _, label in rows) == COUNTS
    assert index.report == {"file": "Ma190c_annotations.dat", "rows": 948, "dropped": 8}
    assert index.strays == 8


def test_slide_zone_and_crop_come_from_the_name(published: Members, index_of: Callable[..., Index]) -> None:
    for row in index_of(published).rows.to_pylist():
        found = re.fullmatch(r"Ma190c_lame(\d+)_zone(\d+)_composite_Mcropped_(\d+)", row["id"])
        assert found is not None
        assert (row["slide"], row["zone"], row["crop"]) == found.groups()
        assert row["group"] == f"{found[1]}/zone{found[2]}"
        assert [file["name"] for file in row["files"]] == [f"{RAW}{s:03d}/{row['id']}.tiff" for s in SCALES]


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b" ", b" \t  "),
        lambda text: b"\n" + text.replace(b"\n", b" \t\n\n").rstrip(),
    ],
    ids=["CRLF", "byte order mark", "odd white space", "blank lines"],
)
def test_a_label_file_may_be_written_in_other_ways(
    published: Members, index_of: Callable[..., Index], written: Callable[[bytes], bytes]
) -> None:
    assert index_of(published | {LABELS: written(published[LABELS])}).rows.equals(index_of(published).rows)


def first_line(published: Members) -> bytes:
    return published[LABELS].splitlines()[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"Ma190c lame1_zone1_composite_Mcropped_1 NGS", "line 1: a name and a label make two fields, here are 3"),
        (b"Ma190c_lame1_zone1_composite_Mcropped_1", "here are 1"),
        (b"Ma190c_lame1_zone\xe9_composite_Mcropped_1 NGS", "line 1: not UTF-8"),
    ],
)
def test_a_line_that_is_no_name_and_label_is_refused(
    published: Members, index_of: Callable[..., Index], line: bytes, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        index_of(published | {LABELS: line + b"\n" + published[LABELS]})


def test_a_name_that_comes_twice_is_refused(published: Members, index_of: Callable[..., Index]) -> None:
    with pytest.raises(DatasetError, match=r"line 949: Ma190c_lame1_\w+ is there a second time"):
        index_of(published | {LABELS: published[LABELS] + first_line(published)})


def test_a_name_without_a_zone_is_refused(published: Members, index_of: Callable[..., Index]) -> None:
    name = first_line(published).split()[0].decode()
    other = name.replace("_zone", "_place")
    text = published[LABELS].replace(name.encode(), other.encode())
    with pytest.raises(DatasetError, match=r"does not say its slide, zone and crop"):
        index_of(published | {LABELS: text})


@given(
    rows=st.dictionaries(
        st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), st.sampled_from(sorted(COUNTS)), min_size=1
    ),
    gap=st.text(" \t", min_size=1),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_any_names_survive_any_white_space(code: ModuleType, rows: dict[str, str], gap: str, end: str) -> None:
    text = "".join(f"{gap}{name}{gap}{label}{gap}{end}" for name, label in rows.items())
    assert list(code.read_labels(text.encode(), "here").items()) == list(rows.items())


def test_the_counts_of_a_changed_label_file_are_noticed(published: Members, index_of: Callable[..., Index]) -> None:
    changed = published[LABELS].replace(b" NGB\n", b" NGS\n", 1)
    with pytest.raises(DatasetError, match="gives 7 frames of NGB after cleaning, the published dataset has 8"):
        index_of(published | {LABELS: changed})


def test_a_class_that_grew_past_four_lines_is_noticed(published: Members, index_of: Callable[..., Index]) -> None:
    more = [f"Ma190c_lame9_zone9_composite_Mcropped_{k} PMO\n".encode() for k in range(1, 3)]
    with pytest.raises(DatasetError, match="has 6 frames of PMO, which is none of the published classes"):
        index_of(published | {LABELS: published[LABELS] + b"".join(more)})


def test_a_label_outside_the_candidates_is_dropped_as_the_publisher_does(
    published: Members, index_of: Callable[..., Index]
) -> None:
    more = [f"Ma190c_lame9_zone9_composite_Mcropped_{k} ZZZ\n".encode() for k in range(1, 9)]
    index = index_of(published | {LABELS: published[LABELS] + b"".join(more)})
    assert (index.rows.num_rows, index.report["dropped"]) == (940, 16)


@pytest.mark.parametrize("scale", [100, 25])
def test_a_label_without_a_frame_is_refused_and_left_out_of_a_partial_source(
    published: Members, index_of: Callable[..., Index], scale: int
) -> None:
    name = kept(published)[3][0]
    files = {key: data for key, data in published.items() if key != f"{RAW}{scale:03d}/{name}.tiff"}
    with pytest.raises(DatasetError, match=rf"1 of 940 labelled .*{name}.* not in raw_scale{scale:03d}"):
        index_of(files)
    rows = index_of(files, partial=True).rows
    assert rows.num_rows == 939
    assert name not in rows["id"].to_pylist()


def test_the_label_file_must_be_there_once(published: Members, index_of: Callable[..., Index]) -> None:
    with pytest.raises(DatasetError, match=r"no label file Ma190c_annotations\.dat"):
        index_of({key: data for key, data in published.items() if key != LABELS})
    with pytest.raises(DatasetError, match="both the label file"):
        index_of(published | {"copy/Ma190c_annotations.dat": published[LABELS]})


def test_either_suffix_is_read_and_both_are_refused(published: Members, index_of: Callable[..., Index]) -> None:
    name = f"{RAW}025/{kept(published)[5][0]}.tiff"
    short = name.removesuffix("f")
    swapped = {short if key == name else key: data for key, data in published.items()}
    assert index_of(swapped).rows.num_rows == 940
    with pytest.raises(DatasetError, match=r"\.tiff and .*\.tif are one frame: keep one"):
        index_of(published | {short: b""})


def test_what_is_no_raw_frame_of_this_dataset_is_passed_over(
    published: Members, index_of: Callable[..., Index]
) -> None:
    name = kept(published)[0][0]
    beside = {
        f"microscopy/images/rgb_scale100/{name}.tiff": b"",
        f"microscopy/images/processed_views/raw_scale100/{name}.tiff": b"",
        f"microscopy/images/raw_scale042/{name}.tiff": b"",
        "drone/images_tiles_256/raw_scale100/00_00001.tif": b"",
    }
    index = index_of(published | beside)
    assert index.rows.equals(index_of(published).rows)
    assert index.strays == 8
    assert index_of(published | {f"{RAW}100/Ma190c_lame9_zone9_composite_Mcropped_9.tiff": b""}).strays == 9


# -- splits --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plans(builder: type[ImageBuilder], dataset: Dataset, published: Members) -> dict[str, Plan]:
    """Every config over a source of the original's size."""
    made = {}
    for config in ("grouped", *PAPER):
        asked = request(dataset, config)
        made[config] = make_plan(asked, builder.index(Memory(published), asked))
    return made


@pytest.mark.parametrize("config", PAPER)
def test_each_published_draw_has_752_and_188_samples_and_its_few_rare_cells(
    plans: dict[str, Plan], config: str
) -> None:
    tables = plans[config].tables
    assert {name: table.num_rows for name, table in tables.items()} == {"train": 752, "test": 188}
    rare = Counter(tables["test"]["label"].to_pylist())
    assert (rare["NGB"], rare["BAS"]) == (2, 4)
    assert plans[config].unlisted == 0


def test_the_draws_are_those_of_the_publishers_code(plans: dict[str, Plan], published: Members) -> None:
    from sklearn.model_selection import StratifiedShuffleSplit

    rows = kept(published)
    classes = sorted(COUNTS)
    labels = [classes.index(label) for _, label in rows]
    dealer = StratifiedShuffleSplit(n_splits=5, train_size=0.8, random_state=1)
    for config, (train, test) in zip(PAPER, dealer.split(list(range(940)), labels), strict=True):
        for name, part in (("train", train), ("test", test)):
            assert plans[config].tables[name]["id"].to_pylist() == sorted(rows[k][0] for k in part)


def test_633_of_940_samples_are_ever_tested(plans: dict[str, Plan]) -> None:
    tested = {key for config in PAPER for key in plans[config].tables["test"]["id"].to_pylist()}
    assert len(tested) == 633


def groups(plan: Plan) -> dict[str, set[str]]:
    return {name: set(table["group"].to_pylist()) for name, table in plan.tables.items()}


def test_every_published_draw_is_on_the_list_of_leaks_and_leaks(plans: dict[str, Plan], dataset: Dataset) -> None:
    assert [(leak.config, leak.group, leak.splits) for leak in dataset.leaks] == [
        (config, None, ("train", "test")) for config in PAPER
    ]
    for config in PAPER:
        found = groups(plans[config])
        assert found["train"] & found["test"]


def test_no_zone_is_in_two_splits_of_the_default_and_every_class_is_trained(
    plans: dict[str, Plan], dataset: Dataset
) -> None:
    assert dataset.default_config == "grouped"
    plan, found = plans["grouped"], groups(plans["grouped"])
    assert list(found) == ["train", "validation", "test"]
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert sum(table.num_rows for table in plan.tables.values()) == 940
    shares = {name: table.num_rows / 940 for name, table in plan.tables.items()}
    assert shares == pytest.approx({"train": 0.6, "validation": 0.2, "test": 0.2}, abs=0.01)
    for table in plan.tables.values():
        assert set(table["label"].to_pylist()) == set(COUNTS)


def test_a_partial_source_gets_no_split(published: Members, index_of: Callable[..., Index], dataset: Dataset) -> None:
    name = kept(published)[0][0]
    files = {key: data for key, data in published.items() if key != f"{RAW}100/{name}.tiff"}
    for config in ("grouped", "paper-3"):
        index = index_of(files, config, partial=True)
        with pytest.raises(DatasetError, match="drawn from all 940 samples, and the source has 939"):
            make_plan(request(dataset, config, partial=True), index)


# -- pixels --------------------------------------------------------------------------------------------------


def tiff(pixels: Any) -> bytes:
    done, data = cv2.imencode(".tiff", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    assert done
    return bytes(data)


def frame(side: int = 6, value: int = 40_000, dtype: Any = np.uint16) -> Any:
    return np.full((side, side), value, dtype)


@pytest.fixture
def read(builder: type[ImageBuilder], dataset: Dataset, specimen: ModuleType) -> Callable[..., dict[str, Any]]:
    """The first row of a source of six frames a class, with other pixels in some of its intensities."""

    def first(config: str, pixels: dict[int, bytes]) -> dict[str, Any]:
        files = members(specimen.plan(dict.fromkeys(COUNTS, 6)))
        index = builder.index(Memory(files), request(dataset, "specimen"))
        name = index.rows["id"][0].as_py()
        source = Memory(files | {f"{RAW}{scale:03d}/{name}.tiff": data for scale, data in pixels.items()})
        columns = builder.read(source, index.rows.slice(0, 1), dataset.config(config))
        return {key: column[0].as_py() for key, column in columns.items()}

    return first


def test_float_frames_of_whole_numbers_are_the_same_pixels(read: Callable[..., dict[str, Any]]) -> None:
    pixels = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1820
    pixels[-1, -1] = 65535
    whole = read("specimen", dict.fromkeys(SCALES, tiff(pixels)))
    real = read("specimen", dict.fromkeys(SCALES, tiff(pixels.astype(np.float32))))
    assert whole == real
    decoded = cv2.imdecode(np.frombuffer(whole["image_075"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert decoded.dtype == np.uint16
    assert (decoded == pixels).all()


@pytest.mark.parametrize(
    ("config", "pixels", "message"),
    [
        ("specimen", {100: tiff(frame(dtype=np.uint8, value=9))}, "a raw mosaic is 16-bit grey"),
        ("specimen", {100: tiff(frame(value=255))}, "an 8-bit copy"),
        ("specimen", {5: tiff(frame(8))}, "raw_scale005/.* 8 × 8 pixels, not 6 × 6"),
        ("specimen", {100: tiff(frame(5))}, "5 × 5 pixels, and RGGB cells are 2 × 2"),
        ("specimen", {1: tiff(frame(dtype=np.float32) + np.float32(0.5))}, "raw_scale001/.* integers"),
        ("specimen", {10: b"II*\0"}, "raw_scale010/"),
        ("specimen", {10: b""}, "raw_scale010/.* an empty file"),
        ("grouped", {}, "6 × 6 pixels, not 256 × 256"),
    ],
)
def test_a_frame_that_is_no_raw_frame_stops_the_build(
    read: Callable[..., dict[str, Any]], config: str, pixels: dict[int, bytes], message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        read(config, dict.fromkeys(SCALES, tiff(frame())) | pixels)


@pytest.mark.parametrize("value", [0, 1, 65535])
def test_black_and_saturated_frames_are_frames(read: Callable[..., dict[str, Any]], value: int) -> None:
    row = read("specimen", dict.fromkeys(SCALES, tiff(frame(value=value))))
    decoded = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None and (decoded == value).all()


def test_frames_of_the_originals_size_are_read(read: Callable[..., dict[str, Any]], code: ModuleType) -> None:
    row = read("grouped", dict.fromkeys(SCALES, tiff(frame(256))))
    assert {name: row[name] for name in code.CAMERA} == dict(code.CAMERA)
    assert row["sha256"] == sample_sha256({part: part_sha256(row[part]["bytes"], "pixels", part) for part in IMAGES})


# -- one small registry: the real path, zipped and unpacked --------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, specimen: ModuleType, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Path]:
    """The registry entry for a publisher of 54 frames of 8 × 8 pixels, and the folder of the archive."""
    folder = tmp_path / "registry" / NAME
    shutil.copytree(FOLDER, folder)
    for file, old, new in (
        ("builder.py", "SIDE = 256", "SIDE = 8"),
        ("dataset.toml", "samples = 940", "samples = 54"),
        ("dataset.toml", "rows = 752", 'rows = "unknown"'),
        ("dataset.toml", "rows = 188", 'rows = "unknown"'),
    ):
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    table = re.sub(r",\d+$", ",6", (FOLDER / "classes.csv").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / "classes.csv").write_text(table, encoding="utf-8")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(folder.parent))
    specimen.make(tmp_path / "zipped", counts=dict.fromkeys(COUNTS, 6), frame=8)
    return get_dataset(NAME), tmp_path / "zipped"


def test_zipped_and_unpacked_copies_have_the_same_content(small: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, zipped = small
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(zipped / "microscopy.zip") as archive:
        archive.extractall(unpacked)
    for path in (unpacked / "microscopy" / "images" / "raw_scale050").iterdir():
        path.rename(path.with_suffix(".tif"))
    for config in ("grouped", "paper-2"):
        first = prepare(dataset, config=config, source=zipped)
        for folder in (unpacked, unpacked / "microscopy"):
            assert prepare(dataset, config=config, source=folder).digests == first.digests
        assert sum(cover.found for cover in first.coverage.values()) == 54


def test_pixels_are_exact_through_load_dataset(small: tuple[Dataset, Path], specimen: ModuleType) -> None:
    loaded = load_dataset(NAME, "paper-1", data_dir=str(small[1]))
    assert isinstance(loaded, datasets.DatasetDict)
    crops = {crop.name: crop for crop in specimen.plan(dict.fromkeys(COUNTS, 6))}
    values = set()
    for row in loaded["test"]:
        drawn = specimen.mosaics(crops[row["id"]], 0, 8)
        for scale, name in zip(SCALES, IMAGES, strict=True):
            pixels = np.array(row[name])
            assert pixels.dtype == np.uint16
            assert (pixels == drawn[scale]).all()
            values |= {int(pixels.min()), int(pixels.max())}
        assert loaded["test"].features["label"].int2str(row["label"]) == crops[row["id"]].label
    assert {0, 65535} <= values


# -- the specimen --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(FOLDER / "specimen" / "microscopy.zip")


def test_kept_archive_is_small_and_shows_what_the_script_draws_today(
    archive: zipfile.ZipFile, specimen: ModuleType
) -> None:
    assert (FOLDER / "specimen" / "microscopy.zip").stat().st_size <= 2_000_000
    crops = specimen.plan(specimen.counts_of(specimen.DEFAULT_SIZE))
    assert archive.read(LABELS).decode() == "".join(f"{crop.name} {crop.label}\n" for crop in crops)
    for crop in crops[::5]:
        for scale, pixels in specimen.mosaics(crop).items():
            data = archive.read(f"{RAW}{scale:03d}/{crop.name}.tiff")
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert stored is not None
            assert stored.dtype == np.uint16
            assert (stored == pixels).all()


def test_the_specimen_has_the_publishers_quirks(archive: zipfile.ZipFile) -> None:
    rows = [line.split() for line in archive.read(LABELS).decode().splitlines()]
    names, counts = [name for name, _ in rows], Counter(label for _, label in rows)
    assert names != sorted(names)
    assert "Ma190c_lame3_zone13_composite_Mcropped_2" in names
    assert {label: n for label, n in counts.items() if n <= 4} == {"EBO": 1, "MYB": 2, "PMO": 4}
    zones = Counter(name.rpartition("_composite")[0] for name in names)
    assert sum(n > 1 for n in zones.values()) > 20
    assert len({zone.split("_")[1] for zone in zones}) == 4
    folders = {name.split("/")[2] for name in archive.namelist() if "/images/" in name}
    assert folders == {*(f"raw_scale{scale:03d}" for scale in SCALES), "rgb_scale100", "processed_views"}


def test_the_specimen_is_what_the_registry_pins(workspace: Path, dataset: Dataset) -> None:
    prepared = prepare(dataset, config="specimen")
    pinned = dataset.config("specimen").splits
    assert dict(prepared.digests) == {name: split.content["1.0.0"].sha256 for name, split in pinned.items()}
    loaded = load_dataset(NAME, "specimen")
    assert isinstance(loaded, datasets.DatasetDict)
    for name in pinned:
        manifest = read_manifest(dataset, "specimen", name)
        assert loaded[name]["id"][:] == list(manifest.ids)
        assert loaded[name]["group"][:] == list(manifest.groups)
        assert loaded[name]["sha256"][:] == list(manifest.column("sha256"))


def test_the_rule_of_the_default_made_the_specimens_splits(
    builder: type[ImageBuilder], dataset: Dataset, archive: zipfile.ZipFile
) -> None:
    from lensbench.rules import assign

    configs = dataset.config("grouped"), dataset.config("specimen")
    assert configs[0].rule == configs[1].rule is not None
    assert archive.filename is not None
    index = builder.index(Source(Spec((Path(archive.filename),))), request(dataset, "specimen"))
    for name, rows in assign(configs[1].rule, index.rows).items():
        ids = sorted(index.rows["id"].take(rows).to_pylist())
        assert ids == list(read_manifest(dataset, "specimen", name).ids)


def test_another_specimen_of_any_size_loads(tmp_path: Path, specimen: ModuleType) -> None:
    specimen.make(tmp_path / "mine", size=60, seed=9)
    loaded = load_dataset(NAME, "specimen", data_dir=str(tmp_path / "mine"))
    assert isinstance(loaded, datasets.DatasetDict)
    assert sum(part.num_rows for part in loaded.values()) == 60
    ids = {key for part in loaded.values() for key in part["id"]}
    assert len(ids) == 60


@pytest.mark.parametrize(
    "wrong",
    [{"size": 53}, {"layout": "2.0.0"}, {"frame": 7}, {"counts": {"XYZ": 3}}],
    ids=["too few", "layout", "odd side", "class"],
)
def test_a_specimen_that_cannot_be_is_refused(tmp_path: Path, specimen: ModuleType, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\d|XYZ"):
        specimen.make(tmp_path / "none", **wrong)
    assert not (tmp_path / "none").exists()


def features(mosaic: Any) -> list[float]:
    """Quantiles and mean differences of the three colours, and their means in rings: turns do not matter."""
    found: list[float] = []
    for plane in (mosaic[0::2, 0::2], mosaic[0::2, 1::2], mosaic[1::2, 1::2]):
        light = plane / np.quantile(plane, 0.8)
        axis = np.arange(len(light)) - (len(light) - 1) / 2
        radius = np.hypot(*np.meshgrid(axis, axis))
        found += np.quantile(light, [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5]).tolist()
        found += [np.abs(np.diff(light, axis=side)).mean() for side in (0, 1)]
        found += [light[(radius >= k) & (radius < k + 2)].mean() for k in range(0, 9, 2)]
    return found


@pytest.mark.parametrize("scale", [100, 1])
def test_classes_of_the_specimen_can_be_learned(specimen: ModuleType, scale: int) -> None:
    from sklearn.ensemble import RandomForestClassifier

    parts = []
    for seed in (0, 1):
        crops = [crop for crop in specimen.plan(specimen.counts_of(112), seed) if crop.label in COUNTS]
        parts.append(([features(specimen.mosaics(crop, seed)[scale]) for crop in crops], [c.label for c in crops]))
    model = RandomForestClassifier(100, random_state=0).fit(*parts[0])
    assert model.score(*parts[1]) > 0.75


# -- benchmark -----------------------------------------------------------------------------------------------


def test_the_benchmark_waits_for_the_label_file_and_stands_on_the_specimen() -> None:
    waiting = get_benchmark(NAME)
    assert (waiting.config, waiting.cluster, waiting.expected) == ("grouped", "group", None)
    assert waiting.manifest == "unknown"
    standing = get_benchmark(NAME, "specimen")
    assert (standing.cluster, standing.expected, standing.synthetic) == ("group", 23, True)
    assert standing.headline == waiting.headline == "macro_recall"
    for benchmark in (waiting, standing):
        assert (benchmark.input.colour, benchmark.input.range) == ("mosaic", (0.0, 1.0))
        assert benchmark.labels == tuple(COUNTS)


def test_the_ids_of_the_default_are_awaited_by_name(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"not pinned yet: .* rule 'stratified-group-kfold' .* record 5235536"):
        read_manifest(dataset, "grouped", "test")


# -- the card, beyond what `test_cards` reads of every card --------------------------------------------------


@pytest.fixture(scope="module")
def card() -> DatasetCard:
    loaded: DatasetCard = DatasetCard.load(FOLDER / "README.md")
    return loaded


def table(card: DatasetCard, head: str) -> list[list[str]]:
    """The cells of the rows below the header that begins with `head`."""
    lines = str(card.text).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.split("|")[1:-1]])
    return rows


def test_classes_and_constants_of_the_card_are_those_of_the_code(
    card: DatasetCard, dataset: Dataset, code: ModuleType
) -> None:
    rows = csv.DictReader(io.StringIO((FOLDER / "classes.csv").read_text(encoding="utf-8")))
    counted = {row["name"]: (row["images"], row["display"]) for row in rows}
    assert {row[0]: (row[1], row[2]) for row in table(card, "class")} == counted
    assert {name: int(images) for name, (images, _) in counted.items()} == COUNTS
    assert dataset.label_order("published") == tuple(sorted(COUNTS))
    stated = {
        row[0]: [float(n) for n in re.findall(r"-?\d[\d.]*(?:e-\d+)?", row[1])] for row in table(card, "constant")
    }
    assert stated["ccm"] == code.CAMERA["ccm"]
    assert stated["white_balance"] == code.CAMERA["white_balance"]
    assert stated["black_level"] == [code.CAMERA["black_level"][0], round(code.CAMERA["black_level"][0] * 65535, 4)]


def test_the_specimens_size_in_the_card_is_counted(card: DatasetCard, archive: zipfile.ZipFile) -> None:
    rows = kept({LABELS: archive.read(LABELS)})
    zones = {name.rpartition("_composite")[0] for name, _ in rows}
    assert f"{len(rows)} frames in {len(zones)} zones of 4 slides" in str(card.text)
