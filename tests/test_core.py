"""The small shared parts: canonical JSON, atomic files, records, lists, manifests, registry, benchmark digest."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensbench.benchmark import benchmark_names, benchmark_root, get_benchmark
from lensbench.data import locate
from lensbench.digest import canonical, sha256_file, sha256_of
from lensbench.errors import BenchmarkError, DatasetError, LensbenchError, RecordError
from lensbench.lists import folder_name, parse_classes, parse_list, sample_id
from lensbench.paths import atomic, home, shipped, write_text
from lensbench.record import Record, check_record, read_record, write_record
from lensbench.registry import Dataset, get_dataset, registry_root
from lensbench.result import clusters
from lensbench.splits import Manifest, read_manifest, read_manifest_file, write_manifest
from lensbench.verify import verify

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.dictionaries(st.uuids().map(lambda u: str(u).upper()), st.sampled_from("abc"), max_size=20)


@given(JSON)
def test_canonical_json_reads_back_and_is_one_text_for_one_value(value: object) -> None:
    try:
        text = canonical(value)
    except UnicodeEncodeError:
        return  # lone surrogates have no UTF-8
    assert canonical(json.loads(text)) == text


def test_a_variable_names_a_folder_as_a_shell_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("LENSBENCH_HOME", "LENSBENCH_SOURCE", "LENSBENCH_REGISTRY", "LENSBENCH_BENCHMARKS"):
        monkeypatch.setenv(variable, "~/xx")
    config = get_dataset("raw_drone", shipped("registry")).config(None)
    found = {home(), locate.given(None, config), registry_root(), benchmark_root()}
    assert found == {tmp_path / "xx"} and locate.given("~/xx", config) == tmp_path / "xx"
    monkeypatch.setenv("LENSBENCH_HOME", "~nobody-of-this-name/xx")
    with pytest.raises(LensbenchError, match="LENSBENCH_HOME='~nobody-of-this-name/xx' cannot be expanded"):
        home()


def test_a_folder_that_the_locale_cannot_spell_is_one_line(tmp_path: Path) -> None:
    folder = str(tmp_path / "hömé").encode()
    bare = {b"PYTHONUTF8": b"0", b"PYTHONCOERCECLOCALE": b"0", b"LC_ALL": b"C", b"LENSBENCH_HOME": folder}
    fetch: list[str | bytes] = [
        sys.executable,
        "-m",
        "lensbench",
        "fetch",
        "aitslab_bioimaging1",
        "--config",
        "specimen",
    ]
    done = subprocess.run(fetch, env={**os.environb, **bare}, capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
    assert done.stderr.startswith(b"error: the cache folder") and b"set PYTHONUTF8=1" in done.stderr
    plain = {**os.environb, **bare, b"LENSBENCH_HOME": os.fsencode(tmp_path / "plain")}
    model = ["--model", "lensbench.masks.classic:otsu_watershed", "--benchmark", "aitslab_bioimaging1"]
    score = [*fetch[:3], "eval", *model, "--config", "specimen", "--out", folder]
    done = subprocess.run(score, env=plain, capture_output=True, check=False)
    error = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and error.startswith(b"error: ") and b"set PYTHONUTF8=1" in error, done.stderr


def test_canonical_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(math.nan)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "one\n")
    with pytest.raises(RuntimeError), atomic(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == b"one\n" and list(path.parent.iterdir()) == [path]


# Records

RESULT = {
    "benchmark": {"name": "b"},
    "digests": {},
    "model": {},
    "complete": True,
    "coverage": {},
    "metrics": {"top1": {"value": 0.5, "low": 0.4, "high": 0.6, "method": "m", "groups": 3}},
    "assumed": [],
}


def test_a_record_round_trips_and_the_run_is_outside_its_hash(tmp_path: Path) -> None:
    record = Record(RESULT, {"seconds": 1.0})
    write_record(record, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == record
    assert replace(record, run={"seconds": 2.0}).sha256 == record.sha256 and record.value("top1") == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("0.5", "0.51"), "changed after it was made"),
        (('"schema": 1', '"schema": 2'), "not a lensbench record"),
        (('"complete": true', '"complete": 1'), "result.complete is missing or not of type bool"),
        (('"groups": 3,', ""), "lacks one of"),
        (("0.5", "NaN"), "not a number a record can hold"),
        (("0.5", "1e999"), "holds a value that no record can"),
        (("{", ""), "not valid JSON"),
    ],
)
def test_a_damaged_record_is_refused(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_record(Record(RESULT, {}), path)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(RecordError, match=words):
        read_record(path)


def test_a_record_that_is_no_table() -> None:
    with pytest.raises(RecordError, match="not a lensbench record"):
        check_record([], "here")


# Lists


def test_lists_take_both_slashes_both_line_ends_and_blank_lines() -> None:
    key = "AAD09577-D308-488F-8C49-F3E62A5383DB"
    for text in (f"A+B/x_{key}.jpg 1\n\n", f"A+B\\x_{key}.jpg 1\r\n", f"  A+B/x_{key.lower()}_123.jpg 1  "):
        (row,) = parse_list(text, ("Z", "A+B"))
        assert (row.id, row.label) == (key, "A+B")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A/x.jpg 0", "expected one UUID"),
        ("A/x_AAD09577-D308-488F-8C49-F3E62A5383DB.jpg 1", "has index 1, which is 'B'"),
        ("A/x_AAD09577-D308-488F-8C49-F3E62A5383DB.jpg 7", "is not `<path> <index>`"),
        ("A/x_AAD09577-D308-488F-8C49-F3E62A5383DB.jpg -1", "has index -1"),
        ("A/x_AAD09577-D308-488F-8C49-F3E62A5383DB.jpg 0\n" * 2, "occurs twice"),
        ("garbage", "is not `<path> <index>`"),
    ],
)
def test_a_wrong_line_is_named(text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        parse_list(text, ("A", "B"))


def test_class_names_in_either_style_are_the_folder_names() -> None:
    dataset = get_dataset("lifewatch_flowcam")
    for label in dataset.classes:
        assert folder_name(label.display) == folder_name(label.name) == label.name
    assert parse_classes("Egg/Cyst\r\nA b\n\n") == ("Egg+Cyst", "A_b")


@given(st.uuids())
def test_an_id_is_the_uuid_in_the_name(value: object) -> None:
    key = str(value).upper()
    assert sample_id(f"a/ecotaxa_a_{key}.jpg") == sample_id(f"A_{key.lower()}_149151.jpg") == key


# Manifests


@given(ROWS)
def test_a_manifest_does_not_depend_on_the_order_of_its_rows(rows: dict[str, str]) -> None:
    forward = Manifest.of("test", [(k, v, None) for k, v in rows.items()])
    assert Manifest.of("test", [(k, rows[k], None) for k in reversed(rows)]).digest == forward.digest
    if rows:
        changed = dict(rows) | {next(iter(rows)): "z"}
        assert Manifest.of("test", [(k, v, None) for k, v in changed.items()]).digest != forward.digest


def test_a_manifest_round_trips_and_its_groups_are_in_the_other_digest(tmp_path: Path) -> None:
    plain = Manifest.of("test", [("b", "y", None), ("a", "x", None)])
    grouped = Manifest.of("test", [("b", "y", "g"), ("a", "x", "g")])
    write_manifest(grouped, tmp_path / "m.parquet")
    assert read_manifest_file(tmp_path / "m.parquet") == grouped
    assert plain.digest == grouped.digest and plain.digest_for("group") != grouped.digest_for("group")
    assert plain.without(frozenset({"a"})).ids == ("b",)


def test_a_manifest_with_an_id_twice_is_refused() -> None:
    with pytest.raises(DatasetError, match="'a' occurs twice"):
        Manifest.of("test", [("a", "x", None), ("a", "y", None)])


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the registry to damage."""
    shutil.copytree(registry_root(), tmp_path / "registry")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "registry"))
    return tmp_path / "registry" / "lifewatch_flowcam"


def test_a_tampered_manifest_is_refused_wherever_it_is_used(registry: Path) -> None:
    path = registry / "splits" / "decrop2025-test.parquet"
    manifest = read_manifest_file(path)
    labels = ("Tripos", *manifest.labels[1:])
    write_manifest(replace(manifest, labels=labels), path)
    for use in (
        lambda: read_manifest(get_dataset("lifewatch_flowcam"), None, "test"),
        lambda: get_benchmark("lifewatch_flowcam"),
        lambda: list(verify(get_dataset("lifewatch_flowcam"))),
    ):
        with pytest.raises(DatasetError, match="is not the manifest that lifewatch_flowcam pins"):
            use()


# The registry


def test_lifewatch_is_what_its_publisher_says(dataset: Dataset) -> None:
    assert dataset.latest == "2.0.0" and list(dataset.versions) == ["1.0.0", "2.0.0"]
    assert [dataset.versions[v].record for v in dataset.versions] == ["10554845", "16679297"], "never the concept id"
    assert len(dataset.classes) == 95
    rows = {(c.name, s.name): s.rows for c in dataset.configs.values() for s in c.splits.values()}
    assert rows["decrop2025", "test"] == 33_718 and rows["decrop2025", "validation"] == 33_829
    assert rows["equal400", "test"] == 21_558 and rows["equal400", "validation"] == 13_037
    aphia = [label.attributes["aphia_id"] for label in dataset.classes]
    assert aphia.count("") == 10 and len(set(aphia) - {""}) == 72, "an AphiaID is not a key"
    without = set(dataset.label_order("equal400")) - set(read_manifest(dataset, "equal400", "validation").labels)
    assert len(without) == 7, "seven classes have no validation image"


@pytest.fixture
def dataset() -> Dataset:
    return get_dataset("lifewatch_flowcam")


@pytest.mark.needs("realdata")
def test_manifests_are_the_published_lists(dataset: Dataset, realdata: Path) -> None:
    folder = realdata / "lifewatch_flowcam"
    for config in ("decrop2025", "equal400"):
        lists = folder / f"dataset_files_{config}"
        order = parse_classes((lists / "classes.txt").read_text())
        assert order == dataset.label_order(config)
        for split, name in (("test", "test.txt"), ("validation", "val.txt")):
            listed = parse_list((lists / name).read_text(), order)
            manifest = read_manifest(dataset, config, split)
            assert dict(zip(manifest.ids, manifest.labels, strict=True)) == {row.id: row.label for row in listed}


def test_what_is_pinned_holds_and_what_is_unknown_is_not_counted_as_passed(dataset: Dataset) -> None:
    checked = {line.what: line.state for line in verify(dataset)}
    assert checked["decrop2025/train"] == checked["equal400/train"] == "unknown"
    assert checked["decrop2025/test"] == checked["specimen/test"] == "ok"


def test_a_changed_specimen_is_refused(registry: Path) -> None:
    (archive,) = (registry / "specimen").iterdir()
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"dataset\.toml pins"):
        list(verify(get_dataset("lifewatch_flowcam")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("schema = 1", "schema = 9"), "schema 9 is not one this version reads"),
        (('name = "lifewatch_flowcam"', 'name = "other"'), "must be the folder's"),
        (('licence = "CC-BY-4.0"\n', ""), "entry 'licence' is missing"),
        (('default_config = "decrop2025"', 'default_config = "x"'), "not one of the configs"),
        (("schema = 1", "schema = ="), "not valid TOML"),
    ],
)
def test_a_wrong_dataset_toml_is_one_line(change: tuple[str, str], words: str, registry: Path) -> None:
    path = registry / "dataset.toml"
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(DatasetError, match=words):
        get_dataset("lifewatch_flowcam")


def test_unknown_names_come_with_the_nearest(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="did you mean 'lifewatch_flowcam'"):
        get_dataset("lifewatch")
    with pytest.raises(DatasetError, match=r"no version '3.0.0'.*known: 1.0.0, 2.0.0"):
        dataset.version("3.0.0")
    with pytest.raises(DatasetError, match=r"no config 'decrop'.*did you mean 'decrop2025'"):
        dataset.config("decrop")


# The benchmark


def test_a_digest_changes_with_what_changes_a_number_and_with_nothing_else() -> None:
    spec = get_benchmark("lifewatch_flowcam")
    changed = [
        replace(spec, revision=2),
        replace(spec, version="1.0.0"),
        replace(spec, manifest="0"),
        replace(spec, labels=spec.labels[::-1]),
        replace(spec, cluster="group"),
        replace(spec, input=replace(spec.input, height=99)),
        replace(spec, input=replace(spec.input, range=(0.0, 255.0))),
        replace(spec, metrics=dict(spec.metrics) | {"top1": 99}),
        replace(spec, metrics=dict(reversed(list(spec.metrics.items())))),
        replace(spec, absent=frozenset({"A"})),
    ]
    assert len({other.digest for other in [spec, *changed]}) == 1 + len(changed)
    assert replace(spec, title="t", references=()).digest == spec.digest
    assert sha256_of(spec.pinned) == spec.digest


def test_the_specimen_has_its_own_digest_and_board() -> None:
    for name in benchmark_names():
        real, specimen = get_benchmark(name), get_benchmark(name, "specimen")
        assert real.digest != specimen.digest and specimen.slug == f"{real.slug}-specimen" and specimen.synthetic
        assert not specimen.references, "published numbers are of real images"


def test_pinning_train_moves_no_record(registry: Path) -> None:
    before = get_benchmark("lifewatch_flowcam").digest
    train = Manifest.of("train", [("0" * 36, "Tripos", None)])
    lock = write_manifest(train, registry / "splits" / "decrop2025-train.parquet")
    path = registry / "dataset.toml"
    text = path.read_text()
    start = text.index("[configs.decrop2025.splits.train]")
    block = text[start : text.index("[", start + 1)]
    pinned = block.replace('manifest = "unknown"', 'manifest = "splits/decrop2025-train.parquet"')
    pinned = pinned.replace('sha256 = "unknown"', f'sha256 = "{lock}"')
    path.write_text(text.replace(block, pinned))
    assert read_manifest(get_dataset("lifewatch_flowcam"), None, "train").ids == train.ids
    assert get_benchmark("lifewatch_flowcam").digest == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("task = ", "tusk = "), "entry 'task' is missing"),
        (('resize = "opencv-linear"', 'resize = "bicubic"'), "resize 'bicubic' is not one of"),
        (('"top1", ', '"top0", '), "unknown metric 'top0'"),
        (("height = 100", "height = 0"), "not a usable contract"),
        (('cluster = "hash200"', 'cluster = "moon"'), "no column 'moon'; it has group"),
        (('split = "test"', 'split = "tset"'), "has no split 'tset'"),
    ],
)
def test_a_wrong_benchmark_is_one_line(
    change: tuple[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = registry_root().parent / "benchmarks" / "lifewatch_flowcam.toml"
    (tmp_path / "lifewatch_flowcam.toml").write_text(source.read_text().replace(*change, 1))
    monkeypatch.setenv("LENSBENCH_BENCHMARKS", str(tmp_path))
    with pytest.raises((BenchmarkError, DatasetError), match=words):
        get_benchmark("lifewatch_flowcam")


def test_an_unknown_benchmark_comes_with_the_nearest() -> None:
    with pytest.raises(BenchmarkError, match="did you mean 'lifewatch_flowcam'"):
        get_benchmark("lifewatch_flowcan")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_link_that_leads_out_of_a_dataset_folder_is_refused(registry: Path, tmp_path: Path) -> None:
    (registry / "same").symlink_to("dataset.toml")
    assert get_dataset("lifewatch_flowcam")
    (tmp_path / "secret.txt").write_text("mine")
    (registry / "specimen" / "extra.txt").symlink_to(tmp_path / "secret.txt")
    (registry / "dataset.toml").touch()
    with pytest.raises(DatasetError, match=r"extra\.txt: a link that leads out of the dataset's folder"):
        get_dataset("lifewatch_flowcam")


def test_rows_of_unknown_cluster_are_not_one_group() -> None:
    """They were: two rows of unknown group were left out together, as if somebody knew."""
    spec = replace(get_benchmark("lifewatch_flowcam"), cluster="group")
    known = Manifest.of("test", [("a", "Artefact", "g"), ("b", "Artefact", "h"), ("c", "Artefact", "g")])
    assert clusters(spec, known, ["a", "b", "c"]).tolist() == [0, 1, 0]
    unknown = Manifest.of("test", [("a", "Artefact", None), ("b", "Artefact", "h"), ("c", "Artefact", None)])
    with pytest.raises(DatasetError, match=r"'group' is unknown for 2 rows of test \(a, for one\), so no interval"):
        clusters(spec, unknown, ["a", "b", "c"])


def test_every_damaged_manifest_is_read_or_refused(tmp_path: Path) -> None:
    whole = (registry_root() / "aitslab_bioimaging1" / "splits" / "official-train.parquet").read_bytes()
    path, refused = tmp_path / "m.parquet", 0
    for seed in range(400):
        dice, data = random.Random(seed), bytearray(whole)
        for _ in range(dice.choice((1, 2, 8))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            read_manifest_file(path)
        except DatasetError:
            refused += 1
    assert 200 < refused < 400


def test_a_manifest_of_texts_that_are_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write_manifest(Manifest.of("test", [("aaaa", "bbbb", None)]), path)
    text = pa.array([b"\xff\xfe"], pa.binary()).cast(pa.string(), safe=False)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.set_column(2, "label", text), path)
    with pytest.raises(DatasetError, match="not a readable Parquet manifest"):
        read_manifest_file(path)
