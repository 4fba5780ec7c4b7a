"""`bench publish`: what stands in the folder is what was built, and the unmodified `datasets` reads it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

import lensbench.publish.build
import lensbench.publish.shards
from lensbench import load_dataset
from lensbench.cli import bench
from lensbench.data.prepared import Prepared
from lensbench.data.store import prepare
from lensbench.digest import sha256_file, sha256_rows
from lensbench.errors import DatasetError
from lensbench.images.content import part_sha256, sample_sha256
from lensbench.images.decode import decode
from lensbench.publish import NOTES, Published, publish, read_notes, write_split
from lensbench.publish.folder import MARKER, write_notes
from lensbench.registry import Content, Dataset, dataset_names, get_dataset
from tests.conftest import ROOT
from tests.small_registry import MODEL, NAME, SmallRegistry, archive_rows, paper_rows

ALL = [(name, config) for name in dataset_names() for config in get_dataset(name).specimens]
SEEN = 4
"""Rows of a split whose images the unmodified `datasets` decodes."""

READ = f"""
import hashlib, json, sys
import datasets, numpy as np, pyarrow as pa

for folder, config, out in json.load(sys.stdin):
    for split, rows in datasets.load_dataset(folder, config, cache_dir=out + "/cache").items():
        with pa.OSFile(out + "/" + split + ".arrow", "wb") as sink, pa.ipc.new_stream(sink, rows.data.schema) as writer:
            writer.write_table(rows.data.table)
        images = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Image)]
        seen = [[np.asarray(rows[i][name]) for name in images] for i in range(min({SEEN}, len(rows)))]
        digests = [[[a.dtype.name, a.shape, hashlib.sha256(a.tobytes()).hexdigest()] for a in row] for row in seen]
        about = {{"features": str(rows.features), "images": images, "seen": digests, "version": str(rows.info.version)}}
        open(out + "/" + split + ".json", "w").write(json.dumps(about))
"""
"""Loads published folders with nothing but `datasets`, and lays down what it got."""


@dataclass(frozen=True)
class Read:
    """One split as the unmodified `datasets` read it."""

    table: pa.Table
    about: dict[str, Any]


def read_back(jobs: list[tuple[Path, str]], out: Path) -> dict[tuple[str, str], dict[str, Read]]:
    """(folder's name, config) → split → what the unmodified `datasets` reads there, in a process of its own."""
    asked = []
    for folder, config in jobs:
        place = out / folder.name / config
        place.mkdir(parents=True)
        asked.append([str(folder), config, str(place)])
    env = {**os.environ, "HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1", "USE_TORCH": "0"}
    code = [sys.executable, "-c", READ]
    done = subprocess.run(
        code, input=json.dumps(asked), capture_output=True, text=True, check=False, env=env, cwd=out, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: dict[tuple[str, str], dict[str, Read]] = {}
    for folder, config in jobs:
        place = out / folder.name / config
        found[folder.name, config] = {
            path.stem: Read(_table(path), json.loads(path.with_suffix(".json").read_text()))
            for path in place.glob("*.arrow")
        }
    return found


def _table(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as handle, pa.ipc.open_stream(handle) as stream:
        return stream.read_all()


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(bench, [str(arg) for arg in args])


# -- every dataset of the registry ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Published]:
    """Every dataset's specimens, published into a folder of its name."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSBENCH_HOME", str(shared_home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        return {
            name: publish(get_dataset(name), folder / name, configs=get_dataset(name).specimens) for name in dict(ALL)
        }


@pytest.fixture(scope="module")
def read(
    published: dict[str, Published], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Read]]:
    """All of them as the unmodified `datasets` reads them."""
    return read_back([(published[name].folder, config) for name, config in ALL], tmp_path_factory.mktemp("read"))


@pytest.mark.parametrize(("name", "config"), ALL)
def test_unmodified_datasets_reads_the_rows_that_were_built(
    name: str,
    config: str,
    published: dict[str, Published],
    read: dict[tuple[str, str], dict[str, Read]],
    workspace: Path,
) -> None:
    prepared = prepare(get_dataset(name), None, config)
    ours = load_dataset(name, config)
    theirs = read[name, config]
    notes = read_notes(published[name].folder)
    assert notes is not None and list(notes["configs"][config]["splits"]) == list(ours)
    assert theirs.keys() == ours.keys()
    for split, rows in ours.items():
        table, about = theirs[split].table, theirs[split].about
        assert about["features"] == str(rows.features) and about["version"] == prepared.version
        assert table.column_names == rows.column_names
        assert table.replace_schema_metadata() == rows.data.table.replace_schema_metadata(), (config, split)
        assert notes["configs"][config]["splits"][split] == {"rows": len(rows), "sha256": prepared.digests[split]}
        assert rehashed(table, split, prepared) == prepared.digests[split]
        for row, seen in enumerate(about["seen"]):
            for image, (dtype, shape, digest) in zip(about["images"], seen, strict=True):
                if prepared.parts[image] != "bytes":
                    pixels = decode(table[image][row]["bytes"].as_py(), image)
                    assert (pixels.dtype.name, list(pixels.shape)) == (dtype, shape)
                    assert digest == hashlib.sha256(pixels.tobytes()).hexdigest(), "every bit"


def rehashed(table: pa.Table, split: str, prepared: Prepared) -> str:
    """The content digest of rows whose every image is hashed again."""
    config = prepared.dataset.config(prepared.config)
    order = prepared.dataset.label_order(config.labels)
    labels = [order[i] for i in table["label"].to_pylist()] if "label" in table.column_names else [None] * len(table)
    rows = []
    for i, (key, group) in enumerate(zip(table["id"].to_pylist(), table["group"].to_pylist(), strict=True)):
        parts = {n: part_sha256(table[n][i]["bytes"].as_py(), rule, key) for n, rule in prepared.parts.items()}
        rows.append([key, split, labels[i], group, sample_sha256(parts)])
    return sha256_rows(iter(rows))


@pytest.mark.parametrize("name", sorted(dict(ALL)))
def test_card_says_what_the_folder_holds(name: str, published: dict[str, Published]) -> None:
    folder, dataset = published[name].folder, get_dataset(name)
    card = DatasetCard.load(folder / "README.md")
    data = card.data.to_dict()
    configs = {entry["config_name"]: entry for entry in data["configs"]}
    assert list(configs) == [c for c in dataset.configs if c in dataset.specimens]
    assert [c for c, entry in configs.items() if entry.get("default")] == [next(iter(configs))]
    assert "viewer" not in data and data["license"].lower() == dataset.licence.lower()
    infos = data["dataset_info"] if isinstance(data["dataset_info"], list) else [data["dataset_info"]]
    for info in infos:
        config = configs[info["config_name"]]
        assert config["version"] == dataset.latest and isinstance(config["version"], str)
        splits = [entry["split"] for entry in config["data_files"]]
        assert splits == [s["name"] for s in info["splits"]] == list(published[name].rows[info["config_name"]])
        files = [path for entry in config["data_files"] for path in folder.glob(entry["path"])]
        assert sum(path.stat().st_size for path in files) == info["download_size"]
        assert [s["num_examples"] for s in info["splits"]] == [
            sum(pq.read_metadata(path).num_rows for path in folder.glob(entry["path"]))
            for entry in config["data_files"]
        ]
        sizes = [sum(pq.read_table(path).nbytes for path in folder.glob(e["path"])) for e in config["data_files"]]
        for split, size in zip(info["splits"], sizes, strict=True):
            assert abs(split["num_bytes"] - size) < 0.01 * size
        assert info["dataset_size"] == sum(split["num_bytes"] for split in info["splits"])
        assert {f["name"] for f in info["features"]} >= {"id", "image", "group", "sha256"}
        for feature in info["features"]:
            if feature["name"] == "label":
                names = feature["dtype"]["class_label"]["names"]
                order = dataset.label_order(dataset.config(info["config_name"]).labels)
                assert tuple(names[str(i)] for i in range(len(names))) == order
    assert "synthetic" in data["tags"] and "synthetic" in data["pretty_name"] and "**Synthetic**" in card.text
    for target in re.findall(r"\]\(([^)\s]+)\)", card.text):
        assert "://" in target or target.startswith("#") or (folder / target).is_file(), target


@pytest.mark.parametrize("name", sorted(dict(ALL)))
def test_notes_name_every_file(name: str, published: dict[str, Published]) -> None:
    folder = published[name].folder
    notes = read_notes(folder)
    assert notes is not None
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert here == {NOTES, *notes["files"]} and all(notes["configs"][c]["synthetic"] for c in notes["configs"])
    for path, about in notes["files"].items():
        assert sha256_file(folder / path) == about["sha256"] and (folder / path).stat().st_size == about["size"]
    text = (folder / NOTES).read_text() + (folder / "README.md").read_text()
    assert str(folder.parent) not in text and os.environ["LENSBENCH_HOME"] not in text


@pytest.mark.slow
@pytest.mark.needs("realdata")
def test_the_real_nuclei_are_1283_375_and_438(realdata: Path, workspace: Path) -> None:
    done = call("publish", "aitslab_bioimaging1", "--source", realdata / "aitslab_bioimaging1", "--to", "nuclei")
    assert done.exit_code == 0, done.output
    assert "official: 30 train, 10 validation, 10 test" in done.output and "raw is left out" in done.output
    splits = read_back([(workspace / "nuclei", "official")], workspace / "read")["nuclei", "official"]
    assert {s: sum(r.table["n_objects"].to_pylist()) for s, r in splits.items()} == {
        "train": 1283,
        "validation": 375,
        "test": 438,
    }
    card = (workspace / "nuclei" / "README.md").read_text()
    assert "read from an unpacked folder" in card and card.count("| another copy |") == 3
    assert "Version 1.0.0" in card and "**Synthetic**" not in card and 'load_dataset("nuclei", "official")' in card


# -- what is published, and what is not --------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    shutil.copy(ROOT / "registry" / NAME / "README.md", registry.root / NAME)
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(registry.root))
    return registry


@pytest.fixture
def source(small: SmallRegistry, tmp_path: Path) -> Path:
    return small.archives(tmp_path / "source")


def test_every_real_config_by_default_and_the_default_one_marked(
    small: SmallRegistry, source: Path, tmp_path: Path
) -> None:
    done = publish(small.dataset, tmp_path / "out", source=source)
    assert done.rows == {c: {"train": 24, "validation": 8, "test": 8} for c in ("decrop2025", "equal400")}
    assert done.version == "2.0.0" and not done.remarks
    configs = DatasetCard.load(done.folder / "README.md").data["configs"]
    assert [(c["config_name"], c.get("default")) for c in configs] == [("decrop2025", True), ("equal400", None)]
    ours = load_dataset(NAME, "equal400", data_dir=str(source))
    theirs = read_back([(done.folder, "equal400")], tmp_path / "read")["out", "equal400"]
    assert {s: r.table["id"].to_pylist() for s, r in theirs.items()} == {s: r["id"][:] for s, r in ours.items()}
    both = publish(small.dataset, tmp_path / "both", source=None, configs=["specimen"])
    assert list(both.rows) == ["specimen"]


def test_a_split_without_ids_is_left_out_and_said(small: SmallRegistry, tmp_path: Path) -> None:
    alone = small.archives(tmp_path / "alone", model=False)
    done = call("publish", NAME, "--source", alone, "--to", tmp_path / "out", "--config", "decrop2025")
    assert done.exit_code == 0, done.output
    assert "decrop2025: 8 validation, 8 test" in done.output
    assert "decrop2025 is without train: its ids are not known yet; they are listed in 'train.txt'" in done.output
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert [e["split"] for e in card.data["configs"][0]["data_files"]] == ["validation", "test"]
    assert "decrop2025 is without train" in card.text and MODEL in card.text
    notes = read_notes(tmp_path / "out")
    assert notes is not None and notes["configs"]["decrop2025"]["without"] == ["train"]


def test_a_config_that_the_source_cannot_give_is_left_out_unless_it_was_named(
    small: SmallRegistry, tmp_path: Path
) -> None:
    small.paper = paper_rows(30)
    small.write()
    small.archive = archive_rows(30)
    source = small.archives(tmp_path / "less")
    done = publish(small.dataset, tmp_path / "out", source=source)
    assert list(done.rows) == ["decrop2025"] and len(done.remarks) == 1
    assert done.remarks[0].startswith("equal400 is left out: ") and "\n" not in done.remarks[0]
    with pytest.raises(DatasetError):
        publish(small.dataset, tmp_path / "other", source=source, configs=["equal400"])
    assert not list(tmp_path.glob("other*"))


def test_incomplete_partial_and_other_data_are_refused_and_what_stood_there_stays(
    small: SmallRegistry, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    publish(small.dataset, out, source=source, configs=["equal400"])
    before = {path: sha256_file(path) for path in out.rglob("*") if path.is_file()}
    refused = call("publish", NAME, "--source", source, "--to", out, "--partial")
    assert isinstance(refused.exception, DatasetError) and "is not published" in str(refused.exception)
    other = replace_content(small.dataset, "equal400", "0" * 64)
    with pytest.raises(DatasetError, match=r"train of .*\(equal400\) is other data .*pinned 000000000000…"):
        publish(other, out, source=source, configs=["equal400"])
    small.archive = archive_rows(20)
    some = small.archives(tmp_path / "some", model=False)
    with pytest.raises(DatasetError):
        publish(small.dataset, out, source=some, configs=["equal400"])
    assert {path: sha256_file(path) for path in out.rglob("*") if path.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "out"))) == ["out"]


def replace_content(dataset: Dataset, config: str, digest: str) -> Dataset:
    chosen = dataset.config(config)
    train = replace(chosen.splits["train"], content={dataset.latest: Content(digest, "official")})
    changed = replace(chosen, splits={**chosen.splits, "train": train})
    return replace(dataset, configs={**dataset.configs, config: changed})


def test_equal_data_gives_equal_files(small: SmallRegistry, source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    first = publish(small.dataset, tmp_path / "a" / "out", source=source, configs=["equal400"])
    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "other-home"))
    monkeypatch.setattr("lensbench.data.builder.ImageBuilder.SHARD", 3)
    prepare(small.dataset, None, "equal400", source=source, num_proc=2)
    second = publish(small.dataset, tmp_path / "b" / "out", source=source, configs=["equal400"])
    assert read_notes(first.folder) == read_notes(second.folder)


# -- the folder ---------------------------------------------------------------------------------------------------


def test_only_an_empty_folder_or_our_own_is_taken(small: SmallRegistry, source: Path, tmp_path: Path) -> None:
    def attempt(folder: Path) -> Published:
        return publish(small.dataset, folder, configs=["specimen"])

    (tmp_path / "empty").mkdir()
    attempt(tmp_path / "empty")
    first = sha256_file(tmp_path / "empty" / NOTES)
    attempt(tmp_path / "empty")
    assert sha256_file(tmp_path / "empty" / NOTES) == first
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="is a file"):
        attempt(tmp_path / "file")
    with pytest.raises(DatasetError, match="did not write it"):
        attempt(source)
    (tmp_path / "empty" / "data" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"mine\.txt: bench publish did not write it"):
        attempt(tmp_path / "empty")
    (tmp_path / "empty" / "data" / "mine.txt").unlink()
    notes = tmp_path / "empty" / NOTES
    notes.write_text(notes.read_text().replace(f'"dataset": "{NAME}"', '"dataset": "other"'))
    with pytest.raises(DatasetError, match=f"holds other, not {NAME}"):
        attempt(tmp_path / "empty")
    notes.write_text("{}")
    with pytest.raises(DatasetError, match="is not what bench publish writes"):
        attempt(tmp_path / "empty")
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "mine").write_text("mine")
    with pytest.raises(DatasetError, match="is not ours"):
        attempt(tmp_path / "new")
    assert (tmp_path / "new.part" / "mine").is_file() and not (tmp_path / "new").exists()


def test_a_file_that_was_changed_or_claimed_stays(small: SmallRegistry, tmp_path: Path) -> None:
    out, linked, mine = tmp_path / "out", tmp_path / "linked", tmp_path / "mine"

    def refused(words: str, folder: Path = out) -> None:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(DatasetError, match=words):
            publish(small.dataset, folder, configs=["specimen"])
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    publish(small.dataset, out, configs=["specimen"])
    card = (out / "README.md").read_text()
    (out / "README.md").write_text(card.replace("##", "# ", 1))  # of equal size
    refused(r"README\.md: was changed after bench publish wrote it")
    (out / "README.md").write_text(card)
    linked.symlink_to(out)
    refused("linked: is a link", linked)
    mine.mkdir()
    (mine / "a.txt").write_text("mine")
    (out / "data" / "more").symlink_to(mine)
    refused("more: is a link")
    (out / "data" / "more").unlink()
    (out / "thesis.tex").write_text("mine")
    forged = json.loads((out / NOTES).read_text())
    for name in ("thesis.tex", "../mine/a.txt"):
        forged["files"][name] = {"size": 4, "sha256": sha256_file(mine / "a.txt")}
    (out / NOTES).write_text(json.dumps(forged))
    refused(r"thesis\.tex: bench publish did not write it")
    (out / "thesis.tex").unlink()
    publish(small.dataset, out, configs=["specimen"])
    assert (mine / "a.txt").read_text() == "mine"
    (tmp_path / "out.part").symlink_to(mine)
    (mine / ".unfinished").touch()
    refused(r"out\.part: is not ours")


def test_what_a_killed_one_left_is_cleared_and_a_living_one_is_not_disturbed(
    small: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "out.part" / "data"
    left.mkdir(parents=True)
    (left / "half.parquet").write_text("PAR1")
    (left.parent / MARKER).touch()

    def second(*_: object) -> None:
        with pytest.raises(DatasetError, match="another bench publish"):
            publish(small.dataset, tmp_path / "out", configs=["specimen"])

    monkeypatch.setattr(lensbench.publish.build, "write_notes", _both(second, write_notes))
    publish(small.dataset, tmp_path / "out", configs=["specimen"])
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out"]
    assert not list((tmp_path / "out").rglob("half.parquet"))


def _both(first: Any, then: Any) -> Any:
    def run(*args: Any) -> None:
        first(*args)
        then(*args)

    return run


# -- shards -------------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=5),
    rows=st.integers(1, 8),
    group=st.integers(1, 100),
)
def test_groups_and_shards_depend_on_the_rows_alone(
    sizes: list[int], cuts: list[int], rows: int, group: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    images = pa.array([{"bytes": b"x" * n, "path": str(n)} for n in sizes])
    table = pa.table({"id": [f"{i:02}" for i in range(len(sizes))], "image": images})
    written = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ROWS": rows, "GROUP": group, "SHARD": 1_500}.items():
            patch.setattr(lensbench.publish.shards, name, value)
        for name, at in (("whole", []), ("cut", cuts)):
            marks = sorted({0, len(sizes), *(c for c in at if c < len(sizes))})
            with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                for start, stop in pairwise(marks):
                    writer.write_table(table.slice(start, stop - start))
            written.append(write_split([folder / name], ["image"], folder / f"{name}-out", "test"))
    one, two = written
    assert [p.name for p in one.files] == [f"test-{i:05}-of-{len(one.files):05}.parquet" for i in range(len(one.files))]
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in two.files]
    assert pa.concat_tables([pq.read_table(p) for p in one.files]) == table and one.rows == len(sizes)
    done = 0
    for path in one.files:
        about = pq.read_metadata(path)
        for index in range(about.num_row_groups):
            count = about.row_group(index).num_rows
            assert count <= rows and (count == 1 or sum(sizes[done : done + count]) <= group)
            done += count
    shutil.rmtree(folder)
