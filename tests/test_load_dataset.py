"""`lensbench.load_dataset`: the signature of `datasets.load_dataset`, three ways to the bytes, one set of
rows."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from click.testing import CliRunner

import lensbench
from lensbench import load_dataset
from lensbench.cli import bench
from lensbench.data.locate import downloads
from lensbench.data.pins import pins_path
from lensbench.data.source import Source
from lensbench.data.store import prepare
from lensbench.errors import DatasetError, LensbenchWarning, SourceError
from tests.small_registry import MODEL, NAME, V1, V2, SmallRegistry, archive_rows, paper_rows
from tests.zenodo_server import Behaviour, ZenodoServer


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(registry.root))
    return registry


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` imports torch, if it is installed, when a stream is read: seconds, and nothing to do with rows."""
    monkeypatch.setattr(datasets.config, "TORCH_AVAILABLE", False)
    monkeypatch.setenv("USE_TORCH", "0")


@pytest.fixture
def source(small: SmallRegistry, tmp_path: Path) -> Path:
    return small.archives(tmp_path / "source")


@pytest.fixture
def server(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    files = {"16679297": {V2: (source / V2).read_bytes()}, "15269453": {MODEL: (source / MODEL).read_bytes()}}
    with ZenodoServer(files) as running:
        monkeypatch.setenv("LENSBENCH_ZENODO", running.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield running


def ids(split: str, rows: list[tuple[str, str, str]] | None = None) -> list[str]:
    return sorted(i for i, _, where in rows or paper_rows() if where == split)


def plain(rows: Any) -> list[dict[str, Any]]:
    """Every column of every row, the image as its stored bytes."""
    return [dict(row) for row in rows.cast_column("image", datasets.Image(decode=False))]


# -- the signature, and what is not ours ---------------------------------------------------------------------


def test_signature_is_that_of_datasets() -> None:
    ours, theirs = (inspect.signature(f).parameters.values() for f in (load_dataset, datasets.load_dataset))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


def test_importing_lensbench_stays_light() -> None:
    script = "import lensbench, sys; print(sorted({'numpy', 'pyarrow', 'datasets', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    assert "load_dataset" in dir(lensbench)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lensbench.nothing


def test_what_is_not_in_the_registry_is_delegated_untouched(
    small: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda **arguments: seen.update(arguments) or "theirs")
    assert load_dataset("imagefolder", "x", split="train[:5]", revision="main", drop_labels=True) == "theirs"
    defaults = {name: p.default for name, p in inspect.signature(load_dataset).parameters.items()}
    del defaults["config_kwargs"]
    assert seen == defaults | {
        "path": "imagefolder",
        "name": "x",
        "split": "train[:5]",
        "revision": "main",
        "drop_labels": True,
    }


def test_delegation_really_loads(tmp_path: Path, small: SmallRegistry) -> None:
    file = tmp_path / "rows.json"
    file.write_text('{"a": 1}\n{"a": 2}\n')
    loaded = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "hf"))
    assert isinstance(loaded, datasets.Dataset) and loaded["a"][:] == [1, 2]


# -- three ways to the bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["data_dir", "LENSBENCH_SOURCE"])
def test_on_disk(small: SmallRegistry, source: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "LENSBENCH_SOURCE":
        monkeypatch.setenv(way, str(source))
    loaded = load_dataset(NAME, data_dir=str(source) if way == "data_dir" else None)
    assert isinstance(loaded, datasets.DatasetDict) and list(loaded) == ["train", "validation", "test"]
    for split, rows in loaded.items():
        assert rows["id"][:] == ids(split) and rows.split == split
        label = rows.features["label"]
        assert label.names == list(small.dataset.label_order("decrop2025"))
        folder = {i: name for i, name, _ in paper_rows()}
        assert [label.int2str(n) for n in rows["label"]] == [folder[i] for i in rows["id"]]
        assert rows[0]["image"].size == (rows[0]["width"], rows[0]["height"])


def test_online_with_sizes_then_offline_from_what_was_fetched(
    small: SmallRegistry,
    server: ZenodoServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.behave(Behaviour(cut_after=3000))
    loaded = load_dataset(NAME)
    assert isinstance(loaded, datasets.DatasetDict)
    assert {split: rows["id"][:] for split, rows in loaded.items()} == {s: ids(s) for s in loaded}
    said = capfd.readouterr().err
    assert f"fetching {V2}" in said and f"fetching {MODEL}" in said and "kB)" in said
    assert server.sent_twice("16679297", V2) == 0
    assert list(json.loads(pins_path().read_text())) == [f"{NAME}/decrop2025/train"]  # checked against the record
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    other = load_dataset(NAME, "equal400", split="test")
    assert isinstance(other, datasets.Dataset) and other["id"][:] == ids("test", archive_rows())


def test_a_download_is_asked_for_with_its_size(small: SmallRegistry, source: Path, server: ZenodoServer) -> None:
    asked: list[str] = []

    def no(text: str) -> bool:
        asked.append(text)
        return False

    with pytest.raises(SourceError, match=f"{V2} of record 16679297 was not fetched"):
        prepare(small.dataset, confirm=no)
    assert asked == [f"fetch {V2} of Zenodo record 16679297 ({kilobytes(source / V2)}) to {downloads()}?"]
    assert server.sent("16679297", V2) == 0

    with pytest.warns(LensbenchWarning, match="without train"):
        prepared = prepare(small.dataset, confirm=lambda text: MODEL not in text)
        load_dataset(NAME, data_dir=str(downloads()))
    assert "not fetched, as you asked" in prepared.unavailable["train"]


def kilobytes(path: Path) -> str:
    return f"{path.stat().st_size / 1000:.1f} kB"


def test_a_record_of_thousands_of_archives_that_nobody_named_is_not_fetched(
    small: SmallRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = small.root / NAME / "dataset.toml"
    toml.write_text(toml.read_text().replace(f'name = "{V2}"', 'name = "unknown"'))
    with ZenodoServer({"16679297": {f"{i:04}.zip": b"PK" for i in range(1_000)}}) as running:
        monkeypatch.setenv("LENSBENCH_ZENODO", running.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        with pytest.raises(SourceError, match=r"record 16679297 has 1,000 archives, and dataset\.toml names none"):
            load_dataset(NAME)
    assert not downloads().exists()


def test_online_without_the_model_record_train_alone_is_not_there(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with ZenodoServer({"16679297": {V2: source / V2}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        with pytest.warns(LensbenchWarning, match=rf"without train: .*{MODEL}.*fetching it failed"):
            loaded = load_dataset(NAME)
    assert isinstance(loaded, datasets.DatasetDict) and list(loaded) == ["validation", "test"]


def test_offline_is_one_error_that_says_everything(small: SmallRegistry) -> None:
    for streaming in (False, True):
        with pytest.raises(SourceError) as error:
            load_dataset(NAME, streaming=streaming)
        text = str(error.value)
        for word in ("16679297", V2, "582.0 MB", "data_dir=", "--source", "LENSBENCH_SOURCE", '"specimen"'):
            assert word in text
        assert "\n" not in text


def test_the_specimen_comes_only_when_asked_for(small: SmallRegistry, source: Path) -> None:
    loaded = load_dataset(NAME, "specimen")
    assert isinstance(loaded, datasets.DatasetDict)
    real = {i for i, _, _ in paper_rows()}
    assert real.isdisjoint(loaded["test"]["id"])
    with pytest.raises(SourceError, match="not on disk"):
        load_dataset(NAME)


def test_online_but_unreachable_says_what_else_to_do(small: SmallRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    import lensbench.data.locate

    def unreachable(*_: object, **__: object) -> None:
        raise SourceError("http://127.0.0.1:9: connection refused")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(lensbench.data.locate, "fetch", unreachable)
    with pytest.raises(SourceError, match=r"connection refused; .*16679297.*data_dir=.*specimen"):
        load_dataset(NAME)


def test_nothing_is_written_to_the_default_cache_of_datasets(
    small: SmallRegistry, source: Path, tmp_path: Path
) -> None:
    script = f"""
from lensbench import load_dataset
load_dataset("{NAME}", "specimen")
load_dataset("{NAME}", data_dir={str(source)!r}, split="test[:3]")
next(iter(load_dataset("{NAME}", data_dir={str(source)!r}, split="test", streaming=True)))
"""
    env = {**os.environ, "HOME": str(tmp_path / "user"), "HF_HOME": str(tmp_path / "user" / "hf")}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=120)
    assert not [path for path in (tmp_path / "user").rglob("*") if path.is_file()]


# -- versions, configs, splits -------------------------------------------------------------------------------


def test_unknown_names_are_answered_with_those_that_exist(small: SmallRegistry, source: Path) -> None:
    where: dict[str, Any] = {"data_dir": str(source)}
    with pytest.raises(DatasetError, match=r"no version '9\.9'.*1\.0\.0, 2\.0\.0"):
        load_dataset(NAME, revision="9.9", **where)
    with pytest.raises(DatasetError, match=r"no config 'decrop'; did you mean 'decrop2025'.*equal400, specimen"):
        load_dataset(NAME, "decrop", **where)
    with pytest.raises(DatasetError, match="no split 'val'; there are train, validation, test"):
        load_dataset(NAME, split="val", **where)
    with pytest.raises(DatasetError, match="takes no option drop_labels"):
        load_dataset(NAME, drop_labels=True, **where)


@pytest.mark.parametrize(
    "option",
    [
        {"data_files": "x"},
        {"features": datasets.Features({})},
        {"storage_options": {}},
        {"token": "x"},
        {"save_infos": True},
        {"download_config": datasets.DownloadConfig()},
        {"download_mode": "force_redownload"},
        {"verification_mode": datasets.VerificationMode.NO_CHECKS},
    ],
)
def test_arguments_that_mean_nothing_here_are_refused(small: SmallRegistry, option: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=f"{next(iter(option))} has no meaning"):
        load_dataset(NAME, "specimen", **option)


def test_arguments_that_ask_for_what_happens_anyway_are_taken(small: SmallRegistry) -> None:
    loaded = load_dataset(
        NAME,
        "specimen",
        split="test",
        download_mode=datasets.DownloadMode.REUSE_DATASET_IF_EXISTS,
        verification_mode="all_checks",
    )
    assert isinstance(loaded, datasets.Dataset)


def test_a_superseded_version_warns_and_is_that_version(small: SmallRegistry, tmp_path: Path) -> None:
    pytest.importorskip("py7zr")
    old = small.archives(tmp_path / "old", v1=True)
    with pytest.warns(LensbenchWarning, match=r"1\.0\.0 is superseded by 2\.0\.0"):
        loaded = load_dataset(NAME, revision=datasets.Version("1.0.0"), data_dir=str(old))
    assert isinstance(loaded, datasets.DatasetDict) and (old / V1).is_file()
    assert loaded["test"].info.version == "1.0.0"
    assert set(loaded["test"]["group"]) == {None} == set(loaded["train"]["station"])
    with pytest.raises(SourceError, match=V2):
        load_dataset(NAME, data_dir=str(old))


@pytest.mark.parametrize(
    "spec",
    ["train", "train[:50%]", "test[2:5]", "train[-3:]", "validation+test", "train[:2]+test[50%:]", "all"],
)
def test_slices_are_those_of_datasets(small: SmallRegistry, source: Path, spec: str) -> None:
    whole = load_dataset(NAME, data_dir=str(source))
    assert isinstance(whole, datasets.DatasetDict)
    lengths = {name: rows.num_rows for name, rows in whole.items()}
    text = "+".join(lengths) if spec == "all" else spec
    expected = [
        i
        for piece in datasets.ReadInstruction.from_spec(text).to_absolute(lengths)
        for i in whole[piece.splitname]["id"][piece.from_ : piece.to]
    ]
    sliced = load_dataset(NAME, data_dir=str(source), split=spec)
    streamed = load_dataset(NAME, data_dir=str(source), split=spec, streaming=True, cache_dir=str(source / "other"))
    assert isinstance(sliced, datasets.Dataset) and sliced["id"][:] == expected
    assert isinstance(streamed, datasets.IterableDataset) and [row["id"] for row in streamed] == expected


def test_lists_and_read_instructions(small: SmallRegistry, source: Path) -> None:
    half = datasets.ReadInstruction("train", to=50, unit="%")
    loaded = load_dataset(NAME, data_dir=str(source), split=["test", half, datasets.Split.VALIDATION])
    assert [rows["id"][:] for rows in loaded] == [ids("test"), ids("train")[:12], ids("validation")]


def test_an_unavailable_split_is_left_out_with_a_word_or_refused_with_one(small: SmallRegistry, tmp_path: Path) -> None:
    alone = str(small.archives(tmp_path / "alone", model=False))
    for streaming in (False, True):
        with pytest.warns(LensbenchWarning, match=f"without train: its ids .*{MODEL}"):
            loaded = load_dataset(NAME, data_dir=alone, streaming=streaming)
        assert list(loaded) == ["validation", "test"]
        for spec in ("train", "test+train[:3]"):
            with pytest.raises(DatasetError, match=f"'train' is not available: .*{MODEL}"):
                load_dataset(NAME, data_dir=alone, split=spec, streaming=streaming)


# -- one set of rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["stored", "deflated"])
def test_rows_are_the_same_streamed_and_with_one_or_two_processes(
    small: SmallRegistry, tmp_path: Path, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lensbench.data.builder

    monkeypatch.setattr(lensbench.data.builder.ImageBuilder, "SHARD", 3)
    where: dict[str, Any] = {"data_dir": str(small.archives(tmp_path / inner, inner=inner))}
    streamed = load_dataset(NAME, streaming=True, **where)
    first = {split: plain(rows) for split, rows in streamed.items()}
    features = {split: rows.features for split, rows in streamed.items()}
    for processes in (1, 2):
        cache = str(tmp_path / str(processes))
        loaded = load_dataset(NAME, num_proc=processes, cache_dir=cache, **where)
        assert isinstance(loaded, datasets.DatasetDict)
        assert {split: plain(rows) for split, rows in loaded.items()} == first
        assert {split: rows.features for split, rows in loaded.items()} == features
        arrow = list(Path(cache).rglob(f"{NAME}-train*.arrow"))
        assert len(arrow) == processes
        again = load_dataset(NAME, streaming=True, cache_dir=cache, **where)
        assert {split: plain(rows) for split, rows in again.items()} == first
    assert [row["id"] for row in first["test"]] == ids("test")


def test_streaming_reads_no_more_than_it_must(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lensbench.data.build

    read: list[str] = []
    honest = Source.members

    def counted(self: Source, rows: pa.Table) -> Iterator[tuple[int, str, bytes]]:
        for member in honest(self, rows):
            read.append(member[1])
            yield member

    monkeypatch.setattr(Source, "members", counted)
    monkeypatch.setattr(lensbench.data.build, "STREAMED", 4)
    rows = load_dataset(NAME, data_dir=str(source), split="train", streaming=True)
    assert read == []
    row = next(iter(rows))
    assert row["id"] == ids("train")[0] and len(read) == 4 < len(ids("train"))
    assert not list(Path(os.environ["LENSBENCH_HOME"]).rglob("*.arrow"))


def test_streaming_online_fetches_the_archive_first(small: SmallRegistry, server: ZenodoServer) -> None:
    rows = load_dataset(NAME, split="test", streaming=True)
    assert server.sent("16679297", V2) > 0
    assert [row["id"] for row in rows] == ids("test")


def test_a_stream_survives_pickling_into_a_process_that_knows_nothing(
    small: SmallRegistry, source: Path, tmp_path: Path
) -> None:
    rows = load_dataset(NAME, data_dir=str(source), split="test", streaming=True)
    file = tmp_path / "rows.pickle"
    file.write_bytes(pickle.dumps(rows))
    script = "import pickle, sys; print(*[r['id'] for r in pickle.load(open(sys.argv[1], 'rb'))])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split() == ids("test"), done.stderr


def test_keep_in_memory_and_partial(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    kept = load_dataset(NAME, data_dir=str(source), split="test", keep_in_memory=True)
    mapped = load_dataset(NAME, data_dir=str(source), split="test")
    assert isinstance(kept, datasets.Dataset) and isinstance(mapped, datasets.Dataset)
    assert not kept.cache_files and len(mapped.cache_files) == 1 and plain(kept) == plain(mapped)
    some = tmp_path / "some" / "images_DS"
    for row in mapped.select(range(3)).cast_column("image", datasets.Image(decode=False)):
        place = some / Path(row["image"]["path"]).parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / Path(row["image"]["path"]).name).write_bytes(row["image"]["bytes"])
    with pytest.raises(DatasetError, match="3 of 8 test samples"):
        load_dataset(NAME, data_dir=str(tmp_path / "some"))
    part = load_dataset(NAME, data_dir=str(tmp_path / "some"), split="test", partial=True)
    assert isinstance(part, datasets.Dataset) and part["id"][:] == ids("test")[:3]


def test_a_map_result_of_old_data_is_not_found_for_new(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    def load(place: Path) -> datasets.Dataset:
        rows = load_dataset(NAME, data_dir=str(place), split="test")
        assert isinstance(rows, datasets.Dataset)
        return rows

    stored = small.archives(tmp_path / "stored", inner="stored")
    assert load(source)._fingerprint == load(source)._fingerprint
    assert load(source)._fingerprint != load(stored)._fingerprint


def test_cached_loads_do_not_need_a_writable_cache(small: SmallRegistry, source: Path) -> None:
    load_dataset(NAME, data_dir=str(source))
    home = Path(os.environ["LENSBENCH_HOME"]) / "datasets"
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    load_dataset(NAME, data_dir=str(source))
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize("change", ["another", "missing"])
def test_a_changed_manifest_is_refused_where_the_data_is_prepared_too(
    change: str, small: SmallRegistry, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSBENCH_SOURCE", str(source))
    load_dataset(NAME)
    manifest = small.root / NAME / "splits" / "decrop2025-test.parquet"
    if change == "another":
        shutil.copy(manifest.with_name("decrop2025-validation.parquet"), manifest)
    else:
        manifest.unlink()
    words = "is not the manifest that" if change == "another" else "is missing: restore it"
    with pytest.raises(DatasetError, match=words):
        load_dataset(NAME)
    with pytest.raises(DatasetError, match=words):
        load_dataset(NAME, split="train", streaming=True)
    for command in (["fetch", NAME], ["publish", NAME, "--to", str(tmp_path / "out"), "--config", "decrop2025"]):
        done = CliRunner().invoke(bench, command)
        assert isinstance(done.exception, DatasetError) and words in str(done.exception)
    monkeypatch.delenv("LENSBENCH_SOURCE")
    with pytest.raises(DatasetError, match=words):
        load_dataset(NAME)  # prepared from archives that have since gone
    load_dataset(NAME, "equal400", data_dir=str(source))  # another config's manifests are its own


def test_prepared_notes_can_be_read_by_a_person(small: SmallRegistry, source: Path) -> None:
    load_dataset(NAME, data_dir=str(source))
    (notes,) = Path(os.environ["LENSBENCH_HOME"]).rglob("prepared.json")
    said = json.loads(notes.read_text())
    assert said["unlisted"] == 0 and said["metadata"]["file"].endswith(".csv")
    assert said["coverage"]["test"]["found"] == 8
    shutil.rmtree(notes.parent)
