"""A build of many samples: what is killed leaves nothing, what is found by hash is found for real, memory is flat."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lensbench.data.build
import lensbench.data.builder
import lensbench.data.store
from lensbench.archives.tar import TarArchive
from lensbench.data import keys, spool
from lensbench.data.class_folders import _from_list, index_images
from lensbench.data.index import LISTED, Index, Listed
from lensbench.data.keys import places, repeated
from lensbench.data.plan import Plan, make_plan
from lensbench.data.request import Request
from lensbench.data.source import Source, Spec
from lensbench.data.store import prepare
from lensbench.data.text import Text
from lensbench.errors import DatasetError, LensbenchError
from lensbench.lists import UUID
from lensbench.registry import get_dataset
from tests.benchmarks.bench_build import archive, measure, private
from tests.small_registry import FOLDERS, MODEL, NAME, V2, SmallRegistry, key, specimen
from tests.test_archives import pack
from tests.zenodo_server import Behaviour, ZenodoServer

# -- killed in the middle ------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    return registry


@pytest.fixture
def zenodo(small: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    source = small.archives(tmp_path / "source")
    with ZenodoServer({"16679297": {V2: source / V2}, "15269453": {MODEL: source / MODEL}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield server


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_the_plan() -> None:
    """Kill when the rows are about to be matched: the source is open."""
    vars(lensbench.data.build)["make_plan"] = lambda *_: die()


def in_the_samples() -> None:
    """Kill at the fifth piece of the first split: its Arrow file is half written."""
    honest, seen = lensbench.data.builder.ImageBuilder._samples, list[int]()

    def samples(self: Any, rows: pa.Table) -> Any:
        seen.append(rows.num_rows)
        return die() if len(seen) == 5 else honest(self, rows)

    vars(lensbench.data.builder)["ImageBuilder"]._samples = samples
    vars(lensbench.data.builder)["ImageBuilder"].SHARD = 2


def in_the_notes() -> None:
    """Kill when all Arrow files are written and nothing says so yet."""
    vars(lensbench.data.store)["_notes"] = lambda *_: die()


def before_the_rename() -> None:
    """Kill when the build is whole but has not got its name."""
    vars(lensbench.data.store)["_sync"] = lambda *_: die()


def tree(home: Path) -> dict[str, str]:
    """Every file below `home` by its relative path, and its sha256; the remembered digests hold times of files."""
    files = (path for path in home.rglob("*") if path.is_file())
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "digests.json"
    }


@pytest.mark.parametrize("when", [in_the_plan, in_the_samples, in_the_notes, before_the_rename])
def test_after_a_kill_nothing_is_fetched_again_and_the_bytes_are_equal(
    when: Callable[[], None],
    small: SmallRegistry,
    zenodo: ZenodoServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Path(os.environ["LENSBENCH_HOME"])

    def run() -> None:
        when()
        prepare(small.dataset)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert list(home.rglob("*.part")) and not list((home / "datasets" / NAME).glob("*/*/[!.]*/prepared.json"))
    asked, sent = len(zenodo.requests), [zenodo.sent("16679297", V2), zenodo.sent("15269453", MODEL)]
    assert all(sent)

    prepared = prepare(small.dataset)
    assert len(zenodo.requests) == asked
    assert [zenodo.sent("16679297", V2), zenodo.sent("15269453", MODEL)] == sent
    assert not [path for path in home.rglob("*") if path.name.endswith(".part")]

    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "never-killed"))
    assert prepare(small.dataset).digests == prepared.digests
    assert tree(home) == tree(tmp_path / "never-killed")


def test_a_kill_in_the_download_costs_what_was_on_the_way(
    small: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = specimen()
    picture = module.encode(module.Row(key(1), FOLDERS[0], "train"), dict.fromkeys(FOLDERS, 0))
    monkeypatch.setattr(module, "encode", lambda *_: picture + os.urandom(200_000))
    source = small.archives(tmp_path / "source")
    part = Path(os.environ["LENSBENCH_HOME"]) / "downloads" / f"{V2}.part"
    with ZenodoServer({"16679297": {V2: source / V2}, "15269453": {MODEL: source / MODEL}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        server.behave(Behaviour(pause=0.02))
        child = multiprocessing.get_context("fork").Process(target=prepare, args=(small.dataset,))
        child.start()
        end = time.monotonic() + 30
        while not part.exists() or part.stat().st_size < 1 << 20:
            assert time.monotonic() < end and child.is_alive()
            time.sleep(0.01)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(10)
        had, size = part.stat().st_size, (source / V2).stat().st_size
        assert had < size / 2
        prepared = prepare(small.dataset)
        assert f"bytes={had}-" in server.ranges()
        assert server.sent_twice("16679297", V2) <= 1 << 20  # what lay in the sockets when the process died
    assert not list(part.parent.glob("*.part*"))
    assert prepare(small.dataset, source=source).digests == prepared.digests


# -- keys by hash --------------------------------------------------------------------------------------------

WORDS = st.lists(st.text(st.sampled_from("ab"), max_size=4), max_size=20)


@pytest.mark.parametrize("alike", [False, True])
@settings(max_examples=100, deadline=None)
@given(wanted=WORDS, among=WORDS.map(lambda words: list(dict.fromkeys(words))), step=st.integers(1, 5))
def test_keys_are_found_where_they_are(alike: bool, wanted: list[str], among: list[str], step: int) -> None:
    """Also where hashes of different texts are alike."""

    def column(words: list[str]) -> pa.ChunkedArray:
        chunks = [pa.array(words[i : i + step], pa.string()) for i in range(0, len(words), step)]
        return pa.chunked_array(chunks, pa.string())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "BLOCK", step)
        if alike:
            patch.setattr(keys, "hash", len, raising=False)
        found = places(column(wanted), column(among))
        twice = repeated(column(wanted))
    assert found.to_pylist() == [among.index(word) if word in among else None for word in wanted]
    assert found.type == pa.int64()
    assert (twice is not None) == (len(set(wanted)) < len(wanted))
    assert twice is None or wanted.count(twice) > 1


# -- texts as streams ----------------------------------------------------------------------------------------


@given(text=st.text(max_size=60), encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]), step=st.integers(1, 7))
def test_a_text_is_the_same_whatever_pieces_it_comes_in(text: str, encoding: str, step: int) -> None:
    data = text.encode(encoding, errors="replace")
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    streamed = Text("x.zip!a.txt", "x.zip!.", "a.txt", lambda: iter(pieces))
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        decoded = data.decode("latin-1")
    with streamed.open(newline="") as lines:
        assert lines.read() == decoded
    assert streamed.digest == hashlib.sha256(data).digest()


# -- names in columns ----------------------------------------------------------------------------------------

ID = key(1)
STEMS = st.sampled_from([ID, ID.lower(), key(2), f"a_{key(3)}", f"{key(4)}_{key(5)}", "no-id", f"{key(6)}.x", "é"])
PLACES = ["", *(f"{name}/" for name in FOLDERS[:3]), f"deep/{FOLDERS[0]}/", "Other/", f"{FOLDERS[0]}/Other/"]
SUFFIXES = [".jpg", ".JPEG", ".png", ".jpg.txt", ""]
PATHS = st.tuples(st.sampled_from(PLACES), STEMS, st.sampled_from(SUFFIXES)).map("".join)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(PATHS, unique=True, max_size=12))
def test_images_are_found_as_one_name_after_the_other_would_be(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import zipfile

    path = tmp_path_factory.mktemp("names") / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
        archive.writestr("__MACOSX/._shadow.jpg", b"")
    expected, strays, twice = {}, 0, False
    for name in names:
        *folders, file = name.split("/")
        if not file.lower().endswith((".jpg", ".jpeg")):
            continue
        ids = UUID.findall(file)
        if len(ids) != 1 or not folders or folders[-1] not in FOLDERS[:3]:
            strays += 1
            continue
        twice = twice or ids[0].upper() in expected
        expected[ids[0].upper()] = (folders[-1], name)
    source = Source(Spec((path,)))
    if twice:
        with pytest.raises(DatasetError, match=r"two images have the id .*x\.zip!.* and .*x\.zip!"):
            index_images(source, FOLDERS[:3])
        return
    found, elsewhere = index_images(source, FOLDERS[:3])
    rows = {row["id"]: (row["label"], source.name(row["container"], row["number"])) for row in found.to_pylist()}
    assert (rows, elsewhere) == (expected, strays)


# -- lists, tables, files without a name -----------------------------------------------------------------------


def test_an_id_that_a_long_list_has_twice_is_named_with_its_line(tmp_path: Path) -> None:
    lines = [f"{FOLDERS[n % 2]}/x_{key(n)}.jpg {n % 2}" for n in range(3_000)]
    for number, line in [(1_800, lines[7]), (2_900, lines[8])]:
        lines[number] = line
    data = "\n\n".join(lines).encode()
    text = Text("x.zip!train.txt", "x.zip!.", "train.txt", lambda: iter([data]))
    with pytest.raises(DatasetError, match=rf"^x.zip!train.txt, line 3601: id {key(7)} occurs twice$"):
        _from_list(text, FOLDERS[:2])


def test_the_texts_of_a_compressed_tar_are_read_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {f"lists/{n}.txt": f"{n}\n".encode() * 50_000 for n in range(12)}
    source = Source(Spec((pack("tar.gz", content | {"model.h5": bytes(9)}, tmp_path / "x"),)))
    passes, honest = list[TarArchive](), TarArchive._stream

    def stream(self: TarArchive) -> IO[bytes]:
        passes.append(self)
        return honest(self)

    monkeypatch.setattr(TarArchive, "_stream", stream)
    texts = source.texts()
    for _ in range(2):
        assert {f"lists/{text.name}": b"".join(text.chunks()) for text in texts} == content
    assert {text.first_line for text in texts} == {str(n) for n in range(12)}
    assert len(passes) == 1  # one more listed the members when the source was opened


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "nameless", partial(Path("/dev/full").open, "wb", buffering=0))
    rows = pa.table({"id": pa.array(["a"])})
    for write in (lambda: spool.spooled(rows.schema, [rows]), lambda: spool.append(spool.nameless(), b"a")):
        with pytest.raises(DatasetError, match=r"scratch: cannot be written \(.*No space left"):
            write()


def test_a_label_that_is_no_class_stops_the_build(
    small: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A builder of one's own may say anything."""
    honest = make_plan

    def moon(*args: Any) -> Plan:
        plan = honest(*args)
        rows = plan.tables["test"]
        wrong = rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(["Moon"] * rows.num_rows))
        return replace(plan, tables={**plan.tables, "test": wrong})

    monkeypatch.setattr(lensbench.data.build, "make_plan", moon)
    with pytest.raises(LensbenchError, match=r"^[0-9A-F-]{36}: label 'Moon' is not in classes.csv$"):
        prepare(small.dataset, source=small.archives(tmp_path / "source"))


def test_an_index_may_encode_its_texts_and_know_no_group() -> None:
    dataset = get_dataset("lifewatch_flowcam")
    config = dataset.config("decrop2025")
    keys = pa.array([key(n) for n in range(3)])
    labels = pa.array([dataset.classes[n % 2].name for n in range(3)])
    listed = {
        split: Listed("x", pa.table([keys[n : n + 1], labels[n : n + 1]], schema=LISTED))
        for n, split in enumerate(config.splits)
    }
    rows = pa.table({"id": keys.dictionary_encode(), "label": labels.dictionary_encode(), "group": pa.nulls(3)})
    plan = make_plan(Request(dataset, dataset.version(None), config, own_lists=True), Index(rows, listed))
    assert [table.to_pylist() for table in plan.tables.values()] == [
        [{"id": keys[n].as_py(), "label": labels[n].as_py(), "group": None}] for n in range(3)
    ]


# -- memory --------------------------------------------------------------------------------------------------

BUILD = f"""
import sys
from functools import partial
from pathlib import Path
from lensbench.data.store import prepare
from lensbench.registry import get_dataset
prepare(get_dataset("{NAME}", Path(sys.argv[1])), None, "specimen", source=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_private_memory_hardly_grows_with_the_number_of_images(tmp_path: Path) -> None:
    few, many = (measure("build", archive(tmp_path, images, "stored"))["peak"] for images in (5_000, 45_000))
    assert many - few < 40_000 * 600 / 1024, (few, many)


@pytest.mark.slow
def test_private_memory_does_not_grow_with_the_bytes_of_a_build(small: SmallRegistry, tmp_path: Path) -> None:
    """The same samples with 40 kB behind each: 200 MB more to read, hash and write."""
    module, peaks = specimen(), {}
    rows = [(key(5000 + n), FOLDERS[n % len(FOLDERS)], ("train", "test", "validation")[n % 3]) for n in range(5_000)]
    picture = module.encode(module.Row(*rows[0]), dict.fromkeys(FOLDERS, 0))
    for name, behind in (("short", b""), ("long", os.urandom(40_000))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "encode", lambda *_, data=picture + behind: data)
            module.make(tmp_path / name, rows=rows, inner="stored")
        home = os.environ | {"LENSBENCH_HOME": str(tmp_path / f"home-{name}")}
        command = [sys.executable, "-c", BUILD, str(small.root), str(tmp_path / name)]
        child = subprocess.Popen(command, env=home)
        peak = 0
        while child.poll() is None:
            peak = max(peak, private(child.pid))
        assert child.returncode == 0
        peaks[name] = peak
    size = sum(path.stat().st_size for path in (tmp_path / "home-long").rglob("*.arrow"))
    assert size > 200_000_000
    assert json.loads(next((tmp_path / "home-long").rglob("prepared.json")).read_text())["coverage"]["test"]["found"]
    assert peaks["long"] < peaks["short"] + 50 * 1024, peaks
