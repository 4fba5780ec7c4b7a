"""Prepared data: complete or refused, pinned, found again only when nothing has changed, whole or not
there."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lensbench.data.prepared import Prepared, id_column, ids_and_labels, member_name
from lensbench.data.samples import header
from lensbench.data.source import Source, Spec
from lensbench.data.store import find, prepare
from lensbench.digest import sha256_file
from lensbench.errors import ArchiveError, DatasetError, LensbenchError, LensbenchWarning, SourceError
from lensbench.lists import folder_name
from lensbench.progress import Quiet
from lensbench.registry import get_dataset
from lensbench.splits import read_manifest
from tests.small_registry import (
    MODEL,
    NAME,
    REAL,
    V2,
    Row,
    SmallRegistry,
    archive_rows,
    key,
    paper_rows,
    specimen,
)


@pytest.fixture
def small(tmp_path: Path) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    return registry


@pytest.fixture
def source(small: SmallRegistry, tmp_path: Path) -> Path:
    return small.archives(tmp_path / "source")


def table(prepared: Prepared, split: str) -> pa.Table:
    """All rows of a split, by an independent reader."""
    parts = [pa.ipc.open_stream(path.read_bytes()).read_all() for path in prepared.arrow[split]]
    return pa.concat_tables(parts)


def rewrite(path: Path, change: dict[str, bytes | None], add: dict[str, bytes] | None = None) -> None:
    """Replace, drop (None) or add members of the inner zip of a 2.0.0 archive; keys are ends of names."""
    root = V2.removesuffix(".zip")
    inner = f"{root}/Flowcam_images_training.zip"
    with zipfile.ZipFile(path) as outer:
        members = {name: outer.read(name) for name in outer.namelist()}
    with zipfile.ZipFile(io.BytesIO(members[inner])) as images:
        files = {name: images.read(name) for name in images.namelist()}

    def changed(files: dict[str, bytes]) -> dict[str, bytes]:
        out = {}
        for name, data in files.items():
            new = next((v for end, v in change.items() if name.endswith(end)), data)
            if new is not None:
                out[name] = new
        return out

    files = changed(files) | (add or {})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as images:
        for name, data in files.items():
            images.writestr(name, data)
    members = changed({name: data for name, data in members.items() if name != inner})
    with zipfile.ZipFile(path, "w") as outer:
        for name, data in {inner: packed.getvalue(), **members}.items():
            outer.writestr(name, data)


def jpeg(grey: int = 7, size: tuple[int, int] = (5, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, grey).save(out, "JPEG")
    return out.getvalue()


# -- what is in it -------------------------------------------------------------------------------------------


def test_every_split_is_the_manifest_in_its_order(small: SmallRegistry, source: Path) -> None:
    prepared = prepare(small.dataset, source=source)
    assert list(prepared.arrow) == ["train", "validation", "test"] and not prepared.unavailable
    for split in prepared.arrow:
        expected = sorted((i, label) for i, label, where in paper_rows() if where == split)
        ids, labels = ids_and_labels(prepared, split)
        assert list(zip(ids, labels, strict=True)) == expected
        assert id_column(prepared, split).to_pylist() == list(ids)
        assert member_name(prepared, split, 1).endswith(f"_{ids[1]}.jpg")
        cover = prepared.coverage[split]
        assert (cover.expected, cover.found, cover.missing, cover.absent) == (len(ids), len(ids), (), ())
    assert prepared.unlisted == 0 and prepared.strays == 0
    assert {file["role"] for file in prepared.source["files"]} == {"archive", "model"}
    assert {f["sha256"] for f in prepared.source["files"]} == {sha256_file(source / n) for n in (V2, MODEL)}
    assert str(source.parent) not in (prepared.folder / "prepared.json").read_text()


def test_content_digest_is_over_id_split_label_group_and_bytes(small: SmallRegistry, source: Path) -> None:
    prepared = prepare(small.dataset, "2.0.0", "equal400", source=source)
    order = small.dataset.label_order("equal400")
    rows = table(prepared, "test").to_pylist()
    lines = [
        [
            row["id"],
            "test",
            order[row["label"]],
            row["group"],
            hashlib.sha256(row["image"]["bytes"]).hexdigest(),
        ]
        for row in rows
    ]
    text = json.dumps(lines, separators=(",", ":"), ensure_ascii=False)
    assert prepared.digests["test"] == hashlib.sha256(text.encode()).hexdigest()


def test_digest_is_of_content_not_of_packing(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    stored = small.archives(tmp_path / "stored", inner="stored")
    first, second = (prepare(small.dataset, source=place) for place in (source, stored))
    assert first.folder != second.folder and first.digests == second.digests


@pytest.mark.needs("realdata")
@pytest.mark.parametrize(
    ("config", "test", "validation", "unlisted"), [("decrop2025", 5, 6, 58), ("equal400", 8, 2, 59)]
)
def test_real_images_land_where_the_published_lists_say(
    realdata: Path, config: str, test: int, validation: int, unlisted: int
) -> None:
    prepared = prepare(get_dataset(NAME), "2.0.0", config, source=realdata / NAME, partial=True, required=["test"])
    assert {split: cover.found for split, cover in prepared.coverage.items()} == {
        "train": 0,
        "validation": validation,
        "test": test,
    }
    assert prepared.unlisted == unlisted and "train" in prepared.unavailable
    for split in ("validation", "test"):
        manifest = read_manifest(get_dataset(NAME), config, split)
        label = dict(zip(manifest.ids, manifest.labels, strict=True))
        for row in table(prepared, split).to_pylist():
            (file,) = (realdata / NAME / "images_DS").glob(f"*/*{row['id']}*")
            assert file.read_bytes() == row["image"]["bytes"] and file.parent.name == label[row["id"]]
            with Image.open(file) as image:
                assert (*image.size, image.mode) == (row["width"], row["height"], row["mode"])


def test_an_image_in_no_list_is_counted_and_never_train(small: SmallRegistry, source: Path) -> None:
    extra = key(999)
    rewrite(source / V2, {}, {f"Tripos/ecotaxa_Tripos_{extra}.jpg": jpeg(), "Tripos/notes.jpg": jpeg()})
    prepared = prepare(small.dataset, source=source)
    assert prepared.unlisted == 1 and prepared.strays == 1
    assert all(extra not in ids_and_labels(prepared, split)[0] for split in prepared.arrow)


def test_the_archive_file_itself_can_be_named(small: SmallRegistry, source: Path) -> None:
    named = prepare(small.dataset, source=source / V2)
    assert named.folder == prepare(small.dataset, source=source).folder and "train" in named.arrow
    with pytest.raises(SourceError, match="neither"):
        prepare(small.dataset, source=REAL / "classes.csv")


# -- incomplete ----------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused_unless_partial(small: SmallRegistry, source: Path) -> None:
    gone = next(i for i, _, split in paper_rows() if split == "test")
    rewrite(source / V2, {f"{gone}.jpg": None})
    with pytest.raises(DatasetError, match=rf"7 of 8 test samples \(id {gone} has no file.*--partial"):
        prepare(small.dataset, source=source)
    prepared = prepare(small.dataset, source=source, partial=True)
    assert prepared.partial and prepared.coverage["test"].missing == (gone,)
    assert prepared.coverage["test"].expected == 8 and gone not in ids_and_labels(prepared, "test")[0]


@pytest.mark.parametrize(("about", "loads"), [(2, True), (1, True), (0, False)])
def test_files_that_were_expected_not_to_be_there(
    tmp_path: Path, source: Path, small: SmallRegistry, about: int, loads: bool
) -> None:
    small.absent = {"test": f'{{ ids = "unknown", about = {about}, reason = "because" }}'}
    gone = next(i for i, _, split in archive_rows() if split == "test")
    rewrite(source / V2, {f"{gone}.jpg": None})
    small.write()
    if not loads:
        with pytest.raises(DatasetError, match="not complete"):
            prepare(small.dataset, None, "equal400", source=source)
        return
    for _ in range(2):  # a cached build warns, too
        with pytest.warns(LensbenchWarning, match=f"1 ids of test have no file .about {about} are expected: because"):
            prepared = prepare(small.dataset, None, "equal400", source=source)
    assert prepared.coverage["test"].missing == (gone,)


def test_pinned_absent_ids_are_not_expected(small: SmallRegistry, source: Path) -> None:
    gone = next(i for i, _, split in archive_rows() if split == "test")
    small.absent = {"test": f'{{ ids = ["{gone}"], about = 1, reason = "never shipped" }}'}
    rewrite(source / V2, {f"{gone}.jpg": None})
    small.write()
    cover = prepare(small.dataset, None, "equal400", source=source).coverage["test"]
    assert (cover.expected, cover.found, cover.absent, cover.missing) == (7, 7, (gone,), ())


def test_a_source_without_one_image_of_ours_is_refused_even_partial(small: SmallRegistry, tmp_path: Path) -> None:
    other = specimen().make(tmp_path / "other", rows=[(key(500), "Tripos", "test"), (key(501), "Tripos", "train")])
    with pytest.raises(DatasetError, match="none of them in a split"):
        prepare(small.dataset, source=other[0].parent, partial=True)
    with pytest.raises(SourceError, match=r"neither .* nor the folders"):
        prepare(small.dataset, source=REAL / "splits", partial=True)


# -- lists and pins ------------------------------------------------------------------------------------------


def test_without_its_list_train_is_unavailable_and_the_others_load(small: SmallRegistry, tmp_path: Path) -> None:
    alone = small.archives(tmp_path / "alone", model=False)
    prepared = prepare(small.dataset, source=alone, required=["test"])
    assert list(prepared.arrow) == ["validation", "test"]
    assert MODEL in prepared.unavailable["train"] and "train.txt" in prepared.unavailable["train"]
    assert prepared.unlisted == sum(split == "train" for _, _, split in paper_rows())
    with pytest.raises(DatasetError, match=MODEL):
        prepare(small.dataset, source=alone, required=["train"])
    with pytest.raises(DatasetError, match="not available"):
        ids_and_labels(prepared, "train")


def test_a_list_that_differs_from_the_pinned_manifest_is_refused(small: SmallRegistry, tmp_path: Path) -> None:
    tampered = [(i, label, "test" if where == "validation" else where) for i, label, where in archive_rows()]
    small.archive = tampered
    source = small.archives(tmp_path / "tampered")
    first = min(i for i, _, split in archive_rows() if split == "validation")
    with pytest.raises(DatasetError, match=f"id {first} is 'not listed' there"):
        prepare(small.dataset, None, "equal400", source=source)


def test_train_must_not_hold_test_ids(small: SmallRegistry, tmp_path: Path) -> None:
    leaked = next(i for i, _, split in paper_rows() if split == "test")
    small.paper = [row for row in paper_rows() if row[2] == "train"] + [
        (leaked, FOLDER_OF[leaked], "train"),
    ]
    source = small.archives(tmp_path / "leak", model=False)
    model_only(source, small.paper)
    with pytest.raises(DatasetError, match=f"id {leaked} is listed in both train and test"):
        prepare(small.dataset, source=source)


FOLDER_OF = {i: label for i, label, _ in paper_rows()}


def model_only(folder: Path, train: Sequence[Row]) -> None:
    """A model record that holds classes.txt and train.txt alone, in a folder as a user lays it."""
    rows = [row for row in train if row[2] == "train"]
    order = get_dataset(NAME).label_order("decrop2025")
    lists = folder / "lists"
    lists.mkdir()
    (lists / "classes.txt").write_text("\r\n".join(order) + "\r\n\r\n", newline="")
    lines = [f"{label}\\ecotaxa_{label}_{i}.jpg {order.index(label)}" for i, label, _ in rows]
    (lists / "train.txt").write_text("\r\n".join(lines) + "\r\n", newline="")
    root = V2.removesuffix(".zip")
    with zipfile.ZipFile(folder / V2) as outer:
        outer.extract(f"{root}/Flowcam_images_training.zip", folder)
    (folder / V2).unlink()


def test_unpacked_outer_zip_with_windows_lists_loads(small: SmallRegistry, tmp_path: Path) -> None:
    source = small.archives(tmp_path / "windows", model=False)
    model_only(source, small.paper)
    prepared = prepare(small.dataset, source=source)
    assert prepared.source["folder"] == "unpacked"
    assert set(ids_and_labels(prepared, "train")[0]) == {i for i, _, s in paper_rows() if s == "train"}


def test_a_list_of_another_length_than_published_is_refused(small: SmallRegistry, source: Path) -> None:
    small.train_rows = 25
    small.write()
    with pytest.raises(DatasetError, match="has 24 lines, the publisher's 25"):
        prepare(small.dataset, source=source)


def test_two_different_lists_of_one_scheme_are_refused(small: SmallRegistry, source: Path) -> None:
    root = source / "unpacked"
    small.archives(root, model=False)
    with zipfile.ZipFile(root / V2) as outer:
        outer.extractall(root)
    (root / V2).unlink()
    (source / V2).unlink()
    copy = root / V2.removesuffix(".zip") / "dataset_files_equal"
    other = root / "more"
    other.mkdir()
    for file in copy.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "test.txt").write_bytes((copy / "test.txt").read_bytes()[:-1])
    with pytest.raises(DatasetError, match="different lists of one split"):
        prepare(small.dataset, None, "equal400", source=source)


# -- hostile or damaged --------------------------------------------------------------------------------------


def test_a_file_that_is_no_image_is_named_and_nothing_is_left(small: SmallRegistry, source: Path) -> None:
    bad = sorted(i for i, _, split in paper_rows() if split == "test")[3]
    rewrite(source / V2, {f"{bad}.jpg": b"GIF89a" + bytes(40)})
    for num_proc in (1, 2):
        with pytest.raises(ArchiveError, match=rf"Flowcam_images_training\.zip!.*{bad}\.jpg: not a readable JPEG"):
            prepare(small.dataset, source=source, num_proc=num_proc)
    home = Path(os.environ["LENSBENCH_HOME"])
    assert not list(home.rglob("*.arrow")) and not list(home.rglob("*.part"))
    assert not list(home.rglob("prepared.json")) and not list(home.rglob("pins.json"))


def test_two_images_with_one_id_are_both_named(small: SmallRegistry, source: Path) -> None:
    rewrite(source / V2, {}, {f"Tripos/Tripos_{key(3).lower()}_494057.jpg": jpeg()})
    with pytest.raises(DatasetError, match=f"two images have the id {key(3)}: .*ecotaxa_.* and .*_494057.jpg"):
        prepare(small.dataset, source=source)


def test_an_image_in_another_folder_than_listed_is_refused(small: SmallRegistry, source: Path) -> None:
    test = next(i for i, _, split in paper_rows() if split == "test")
    other = "Suctoria"
    rewrite(source / V2, {f"{test}.jpg": None}, {f"{other}/ecotaxa_{other}_{test}.jpg": jpeg()})
    with pytest.raises(DatasetError, match=f"lies in '{other}', but test lists it as '{FOLDER_OF[test]}'"):
        prepare(small.dataset, source=source)


def test_a_pinned_archive_that_is_another_is_refused(small: SmallRegistry, source: Path) -> None:
    small.sha256 = {V2: sha256_file(source / V2)}
    small.write()
    prepare(small.dataset, source=source)
    rewrite(source / V2, {}, {"Tripos/readme.jpg": jpeg()})
    with pytest.raises(SourceError, match="sha256"):
        prepare(small.dataset, source=source)


@given(st.binary(max_size=200), st.integers(0, 330))
@settings(max_examples=100, deadline=None)
def test_header_answers_a_size_or_an_archive_error(data: bytes, cut: int) -> None:
    for hostile in (data, jpeg()[:cut], jpeg()[:cut] + data, b"\xff\xd8" + data, b"\xff\xd8" + b"\xff" * cut):
        try:
            width, height, mode = header(hostile, "x")
        except ArchiveError as error:
            assert str(error).startswith("x: ")
        else:
            assert width > 0 and height > 0 and mode in ("L", "RGB")


@given(
    st.sampled_from(["L", "RGB"]),
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=50),
)
@settings(max_examples=30, deadline=None)
def test_header_agrees_with_pillow(
    mode: str, size: tuple[int, int], progressive: bool, optimize: bool, comment: bytes
) -> None:
    out = io.BytesIO()
    Image.new(mode, size, 3).save(out, "JPEG", progressive=progressive, optimize=optimize, comment=comment)
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert header(out.getvalue(), "x") == (*image.size, image.mode)


def test_header_refuses_other_modes_and_absurd_sizes() -> None:
    out = io.BytesIO()
    Image.new("CMYK", (3, 3)).save(out, "JPEG")
    with pytest.raises(ArchiveError, match="4 components"):
        header(out.getvalue(), "x")
    data = jpeg()
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(ArchiveError, match="65535×65535"):
        header(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :], "x")


# -- the cache -----------------------------------------------------------------------------------------------


def stamp(prepared: Prepared) -> list[int]:
    return [path.stat().st_mtime_ns for files in prepared.arrow.values() for path in files]


def test_what_has_not_changed_is_not_built_again(small: SmallRegistry, source: Path) -> None:
    first = prepare(small.dataset, source=source)
    assert stamp(prepare(small.dataset, source=source)) == stamp(first)


def test_whatever_changes_builds_anew(small: SmallRegistry, source: Path) -> None:
    first = prepare(small.dataset, source=source)
    builder = small.root / NAME / "builder.py"
    seen = {first.folder}

    builder.write_text(builder.read_text() + "\n# changed\n")
    seen.add(prepare(small.dataset, source=source).folder)
    assert len(seen) == 2, "a changed builder"

    small.absent = {"test": '{ ids = "unknown", about = 3, reason = "x" }'}
    small.write()
    seen.add(prepare(small.dataset, None, "equal400", source=source).folder)
    small.absent = {"test": '{ ids = "unknown", about = 4, reason = "x" }'}
    small.write()
    seen.add(prepare(small.dataset, None, "equal400", source=source).folder)
    assert len(seen) == 4, "a changed registry entry"

    rewrite(source / V2, {f"{key(9)}.jpg": jpeg(200)})
    changed = prepare(small.dataset, source=source)
    assert changed.folder not in seen, "a changed archive under the same name"
    assert changed.digests["test"] != first.digests["test"] and changed.digests["train"] == first.digests["train"]
    assert prepare(small.dataset, source=source, partial=True).folder not in {*seen, changed.folder}


def test_an_unpacked_folder_that_changes_builds_anew(small: SmallRegistry, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "images_DS"
    for i, label, _ in paper_rows():
        path = folder / label / f"ecotaxa_{label}_{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg())
    first = prepare(small.dataset, source=tmp_path / "a")
    assert prepare(small.dataset, source=tmp_path / "a").folder == first.folder
    (path,) = folder.glob(f"*/*{key(9)}.jpg")
    path.write_bytes(jpeg(9))
    os.utime(path, ns=(1, 1))
    second = prepare(small.dataset, source=tmp_path / "a")
    assert second.folder != first.folder and second.digests != first.digests
    with pytest.raises(SourceError, match="nor the folders"):
        deep = tmp_path / "x"
        (deep / "1" / "2" / "3").mkdir(parents=True)
        folder.rename(deep / "1" / "2" / "3" / "images_DS")
        prepare(small.dataset, source=deep)


def test_an_open_source_never_stands_for_a_file_that_replaced_it(small: SmallRegistry, source: Path) -> None:
    held = Source(Spec((source / V2,)))
    first = prepare(small.dataset, source=source)
    rewrite(source / V2, {f"{key(9)}.jpg": jpeg(200)})
    second = prepare(small.dataset, source=source)
    assert second.digests["test"] != first.digests["test"]
    assert len(held.containers) == 2 and pickle.loads(pickle.dumps(held)) is held


@pytest.mark.parametrize("how", ["exchanged", "written", "folder"])
def test_a_source_exchanged_between_hashing_and_build_is_refused(
    how: str, small: SmallRegistry, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal size and with the old time: the cache would hold other data under the hash of the right archive."""
    from lensbench.data import build

    place = source / V2
    if how == "folder":
        with zipfile.ZipFile(source / V2) as outer:
            outer.extractall(source)
        place.unlink()
        place = next(source.rglob("*.zip"))
    data = place.read_bytes()
    opened = build.open_builder

    def open_builder(*args: Any, **options: Any) -> Any:
        if how == "written":
            place.write_bytes(data)
        else:
            before = place.stat()
            other = tmp_path / "other"
            other.write_bytes(data)
            other.replace(place)
            os.utime(place, ns=(0, before.st_mtime_ns + (how == "folder")))
        return opened(*args, **options)

    monkeypatch.setattr(build, "open_builder", open_builder)
    with pytest.raises(SourceError, match="was changed or exchanged while it was being read"):
        prepare(small.dataset, source=source)
    assert not list(Path(os.environ["LENSBENCH_HOME"]).glob("datasets/*/*/*/*/*"))
    with pytest.raises(SourceError, match="was changed or exchanged"):
        job, _ = find(small.dataset, None, None, source=source)
        build.open_stream(job, None, tmp_path / "scratch")


def test_a_source_that_holds_the_cache_is_built_once(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(source / V2) as outer:
        outer.extractall(source)
    (source / V2).unlink()
    packed = next(source.rglob("Flowcam_images_training.zip"))
    with zipfile.ZipFile(packed) as inner:
        inner.extractall(source / "images")
    packed.unlink()
    monkeypatch.setenv("LENSBENCH_HOME", str(next(source.rglob("Chaetoceros*")).parent / "cache"))
    first = prepare(small.dataset, source=source)
    assert prepare(small.dataset, source=source).folder == first.folder
    assert prepare(small.dataset, source=source, root=source / "images" / "built").coverage == first.coverage


def test_what_dead_builders_left_is_cleared_and_a_living_one_is_not(small: SmallRegistry, source: Path) -> None:
    shelf = prepare(small.dataset, source=source).folder.parent
    dead, alive = (shelf / f".{name}.part" for name in ("dead", "alive"))
    for part in (dead, alive):
        (part / "data").mkdir(parents=True)
    with alive.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare(small.dataset, source=source, partial=True)
    assert alive.is_dir() and not dead.exists()


@pytest.mark.parametrize("damage", ["shorter", "gone", "rows", "notes"])
def test_a_damaged_build_is_built_again(small: SmallRegistry, source: Path, damage: str) -> None:
    first = prepare(small.dataset, source=source)
    (path,) = first.arrow["test"]
    whole = path.read_bytes()
    if damage == "shorter":
        path.write_bytes(whole[:-100])
    elif damage == "gone":
        path.unlink()
    elif damage == "rows":
        path.write_bytes(first.arrow["validation"][0].read_bytes().ljust(len(whole), b"\0")[: len(whole)])
    else:
        (first.folder / "prepared.json").write_text("{")
    second = prepare(small.dataset, source=source)
    assert second.folder == first.folder and second.digests == first.digests
    assert table(second, "test").num_rows == 8


def in_child(small: SmallRegistry, source: Path, die: bool) -> multiprocessing.Process:
    """A forked process that prepares, or is killed when it reads its first sample."""

    def run() -> None:
        if die:
            from lensbench.data.loader import load_builder

            vars(sys.modules[load_builder(small.root / NAME).__module__])["read_jpegs"] = lambda *_: os.kill(
                os.getpid(), signal.SIGKILL
            )
        prepare(small.dataset, source=source)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process  # type: ignore[return-value]


def test_a_killed_build_leaves_nothing_that_counts(small: SmallRegistry, source: Path) -> None:
    killed = in_child(small, source, die=True)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    home = Path(os.environ["LENSBENCH_HOME"])
    assert list(home.rglob("*.part")) and not list(home.rglob("prepared.json"))
    prepared = prepare(small.dataset, source=source)
    assert not list(home.rglob("*.part"))
    assert [path.name for path in prepared.folder.rglob("*.lock")] == []


def test_of_two_builders_one_builds(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    both = [in_child(small, source, die=False) for _ in range(2)]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    shelf = Path(os.environ["LENSBENCH_HOME"]) / "datasets" / NAME / "decrop2025" / "2.0.0"
    (folder,) = [path for path in shelf.iterdir() if not path.name.startswith(".")]
    built = (folder / "prepared.json").stat().st_mtime_ns
    assert prepare(small.dataset, source=source).folder == folder
    assert (folder / "prepared.json").stat().st_mtime_ns == built


class Notes(Quiet):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_a_builder_waits_for_the_one_at_work(small: SmallRegistry, source: Path) -> None:
    first = prepare(small.dataset, source=source)
    shutil.rmtree(first.folder)
    lock = first.folder.with_name(f".{first.folder.name}.lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    notes = Notes()
    waiting = threading.Thread(target=prepare, args=(small.dataset,), kwargs={"source": source, "progress": notes})
    waiting.start()
    try:
        waiting.join(0.5)
        assert waiting.is_alive() and not first.folder.exists()
        assert any("another process is preparing" in text for text in notes.said)
    finally:
        lock.close()
    waiting.join(60)
    assert prepare(small.dataset, source=source).digests == first.digests


def test_prepared_data_needs_neither_datasets_nor_pillow(small: SmallRegistry, source: Path) -> None:
    prepare(small.dataset, source=source)
    script = f"""
import sys
from pathlib import Path
from lensbench.registry import get_dataset
from lensbench.data.prepared import ids_and_labels
from lensbench.data.store import find, prepare
prepared = prepare(get_dataset("{NAME}", {str(small.root)!r}), source=Path({str(source)!r}))
assert len(ids_and_labels(prepared, "test")[0]) == 8
print([name for name in ("datasets", "PIL", "pandas", "sklearn", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_prepared_data_serves_when_the_archive_has_gone(small: SmallRegistry, source: Path) -> None:
    first = prepare(small.dataset, source=source)
    assert prepare(small.dataset).folder == first.folder
    with pytest.raises(SourceError, match="not on disk"):
        prepare(small.dataset, None, "equal400")
    prepare(small.dataset, "2.0.0", "equal400", source=source, partial=True)
    with pytest.raises(SourceError, match="not on disk"):
        prepare(small.dataset, None, "equal400")


def test_disk_full_is_one_line(small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lensbench.data.build

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/data")

    monkeypatch.setattr(lensbench.data.build, "open_builder", full)
    with pytest.raises(DatasetError, match=r"cannot be written .No space left on device"):
        prepare(small.dataset, source=source)
    assert not list(Path(os.environ["LENSBENCH_HOME"]).rglob("*.part"))


# -- the specimen --------------------------------------------------------------------------------------------


def test_the_specimen_is_its_own_and_ignores_the_standing_source(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSBENCH_SOURCE", str(source))
    prepared = prepare(small.dataset, None, "specimen")
    assert not prepared.own_lists and ids_and_labels(prepared, "test")[0][0] not in FOLDER_OF


def test_another_specimen_brings_its_own_splits(small: SmallRegistry, tmp_path: Path) -> None:
    rows = [(key(2000 + n), "Tripos", ("train", "validation", "test")[n % 3]) for n in range(12)]
    specimen().make(tmp_path / "mine", rows=rows, absent=[rows[2][0]])
    prepared = prepare(small.dataset, None, "specimen", source=tmp_path / "mine")
    assert prepared.own_lists
    cover = prepared.coverage["test"]
    assert (cover.expected, cover.found, cover.absent) == (3, 3, (rows[2][0],))
    assert set(ids_and_labels(prepared, "train")[0]) == {i for i, _, split in rows if split == "train"}


def test_published_images_are_never_scored_as_a_specimen(small: SmallRegistry, source: Path) -> None:
    with pytest.raises(DatasetError, match="holds published samples"):
        prepare(small.dataset, None, "specimen", source=source)


# -- full size -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_manifests_at_full_size(tmp_path: Path) -> None:
    dataset = get_dataset(NAME)
    inner = io.BytesIO()
    data = jpeg()
    with zipfile.ZipFile(inner, "w") as images:
        for split in ("validation", "test"):
            manifest = read_manifest(dataset, "decrop2025", split)
            for i, label in zip(manifest.ids, manifest.labels, strict=True):
                images.writestr(zipfile.ZipInfo(f"{label}/ecotaxa_{label}_{i}.jpg"), data)
    root = V2.removesuffix(".zip")
    with zipfile.ZipFile(tmp_path / V2, "w") as outer:
        outer.writestr(f"{root}/Flowcam_images_training.zip", inner.getvalue())
    prepared = prepare(dataset, "2.0.0", "decrop2025", source=tmp_path)
    assert {split: cover.found for split, cover in prepared.coverage.items()} == {
        "train": 0,
        "validation": 33829,
        "test": 33718,
    }
    assert ids_and_labels(prepared, "test")[0] == read_manifest(dataset, "decrop2025", "test").ids


def test_registry_class_names_are_folder_names() -> None:
    assert all(folder_name(label.display) == label.name for label in get_dataset(NAME).classes)
    assert (REAL / "builder.py").is_file()


def test_errors_are_one_line(small: SmallRegistry, tmp_path: Path) -> None:
    for source in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(LensbenchError) as error:
            prepare(small.dataset, source=source)
        assert "\n" not in str(error.value)
