"""`bench list`, `show`, `fetch` and `specimen`: what they say is what registry, manifests and cache hold."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lensbench import load_dataset
from lensbench.benchmark import benchmark_names, get_benchmark
from lensbench.cli import bench
from lensbench.data.locate import downloads
from lensbench.overview import default_version, read_catalogue
from lensbench.registry import dataset_names, get_dataset
from lensbench.splits import read_manifest
from tests.conftest import ROOT
from tests.small_registry import MODEL, NAME, V2, SmallRegistry, archive_rows, paper_rows
from tests.zenodo_server import Behaviour, ZenodoServer

AITSLAB = "aitslab_bioimaging1"


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(bench, [str(arg) for arg in args])


def said(*args: str | Path) -> str:
    done = call(*args)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def _registry_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--registry` sets a variable for the process."""
    monkeypatch.setenv("LENSBENCH_REGISTRY", "")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRegistry:
    registry = SmallRegistry(tmp_path / "registry")
    registry.write()
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(registry.root))
    monkeypatch.setenv("LENSBENCH_BENCHMARKS", str(tmp_path / "benchmarks"))
    return registry


def edit(registry: SmallRegistry, old: str, new: str) -> None:
    """Replace the first `old` in dataset.toml."""
    path = registry.root / NAME / "dataset.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# -- bench list ------------------------------------------------------------------------------------------------


def test_every_dataset_is_listed_with_the_numbers_of_its_manifests() -> None:
    data = json.loads(said("list", "--json"))
    assert data["schema"] == 1 and data["unreadable"] == {}
    assert [entry["name"] for entry in data["datasets"]] == dataset_names()
    for entry in data["datasets"]:
        dataset = get_dataset(entry["name"])
        assert entry["licence"] == dataset.licence
        assert {v["name"] for v in entry["versions"]} == set(dataset.versions)
        listed = [name for track in entry["tracks"] for name in track["configs"]]
        assert sorted(listed) == sorted(c.name for c in dataset.configs.values() if not c.synthetic)
        for track in entry["tracks"]:
            specimen = dataset.specimen_of(track["config"])
            rows = [len(read_manifest(dataset, specimen, split).ids) for split in dataset.configs[specimen].splits]
            assert track["specimen"] == sum(rows)
            config = dataset.configs[track["config"]]
            if all(split.manifest for split in config.splits.values()):
                rows = [len(read_manifest(dataset, config.name, split).ids) for split in config.splits]
                assert (track["examples"], track["basis"]) == (sum(rows), "splits")
            else:
                assert track["examples"] > sum(s.rows or 0 for s in config.splits.values() if s.manifest)


def test_every_benchmark_is_on_one_track_of_its_task() -> None:
    tracks = [track for entry in read_catalogue().datasets for track in entry.tracks]
    assert benchmark_names()
    for name in benchmark_names():
        (track,) = (track for track in tracks if name in track.benchmarks)
        assert track.task == get_benchmark(name).task


def test_a_dataset_with_several_tracks_has_a_line_for_each() -> None:
    lines = [line for line in said("list").splitlines() if line.startswith("raw_drone ")]
    found = {re.split(r"  +", line)[2]: re.split(r"  +", line)[3] for line in lines}
    assert found == {"segmentation": "548", "classification": "930", "segmentation (full_frame)": "12"}


def test_elsewhere_than_on_a_terminal_columns_are_aligned_and_lines_whole() -> None:
    head, *lines = said("list").splitlines()
    assert head.split("  ")[0] == "dataset" and len(lines) == sum(len(d.tracks) for d in read_catalogue().datasets)
    start = head.index("licence")
    for line in lines:
        assert line[start - 1] == " " and line[start] != " "


def on_terminal(columns: int, *args: str) -> list[str]:
    """The lines that a command prints on a terminal so wide, without colours."""
    lead, follow = pty.openpty()
    code = "import sys; from lensbench.cli import bench; bench(sys.argv[1:])"
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *args], stdin=follow, stdout=follow, stderr=follow, env=environment
    ) as running:
        os.close(follow)
        data = b""
        try:
            while piece := os.read(lead, 65536):
                data += piece
        except OSError:
            pass  # how Linux says that the other end of a terminal is closed
        assert running.wait(30) == 0, data
    os.close(lead)
    return re.sub(r"\x1b\[[0-9;]*m", "", data.decode()).replace("\r", "").splitlines()


def test_a_terminal_of_80_columns_keeps_every_word_whole() -> None:
    lines = on_terminal(80, "list")
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in (*dataset_names(), "segmentation", "classification", "337,567", "CC-BY-4.0", "(superseded)", "on disk"):
        assert word in text, text


def test_what_is_superseded_or_blocked_is_shown_as_such(small: SmallRegistry) -> None:
    assert "2.0.0, 1.0.0 (superseded)" in said("list")
    assert "1.0.0 superseded by 2.0.0" in said("show", NAME)
    edit(small, 'superseded_by = "2.0.0"', 'blocked = "labels of 12 images are wrong"')
    assert "2.0.0, 1.0.0 (blocked)" in said("list")
    assert "1.0.0 BLOCKED: labels of 12 images are wrong" in said("show", NAME)


def test_a_dataset_all_of_whose_versions_are_blocked_is_listed(small: SmallRegistry) -> None:
    edit(small, 'superseded_by = "2.0.0"', 'blocked = "wrong"')
    edit(small, '[versions."2.0.0"]', '[versions."2.0.0"]\nblocked = "wrong, too"')
    assert default_version(small.dataset) is None
    assert "2.0.0 (blocked), 1.0.0 (blocked)" in said("list")
    assert json.loads(said("list", "--json"))["datasets"][0]["size"] is None
    assert "every version is blocked or superseded" in said("show", NAME)


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(small: SmallRegistry) -> None:
    (small.root / "other").mkdir()
    (small.root / "other" / "dataset.toml").write_text(
        'schema = 1\nname = "other"\ntask = "\x1b[31m"', encoding="utf-8"
    )
    done = call("list")
    assert done.exit_code == 1 and NAME in done.stdout
    assert "not readable: other: " in done.stderr and "\x1b" not in done.output
    data = json.loads(call("list", "--json").stdout)
    assert list(data["unreadable"]) == ["other"] and len(data["datasets"]) == 1


def test_an_empty_registry_says_so(tmp_path: Path) -> None:
    assert "no datasets in" in said("list", "--registry", tmp_path)


def test_a_stranger_cannot_steer_the_terminal(small: SmallRegistry) -> None:
    escape = r"CC\u001b]0;owned\u0007\u001b[31mBY\u202e"
    edit(small, 'licence = "CC-BY-4.0"', f'licence = "{escape}"')
    edit(small, 'title = "decrop2025"', rf'title = "split\u001b[2J\r\n{"x" * 300}"')
    for text in (said("list"), said("show", NAME), said("list", "--json"), said("show", NAME, "--json")):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert "owned" in "".join(on_terminal(100, "list")).replace(" ", "")


# -- bench show ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", dataset_names(ROOT / "registry"))
def test_a_sheet_is_what_the_manifests_say(name: str) -> None:
    dataset = get_dataset(name)
    data = json.loads(said("show", name, "--json"))
    assert data["schema"] == 1 and data["name"] == name
    assert [config["name"] for config in data["configs"]] == list(dataset.configs)
    for view in data["configs"]:
        config = dataset.configs[view["name"]]
        assert view["default"] == (config.name == dataset.default_config)
        assert len(view["leaks"]) == sum(leak.config == config.name for leak in dataset.leaks)
        places: dict[str, set[str]] = {}
        for split in view["splits"]:
            if config.splits[split["name"]].manifest is None:
                assert split["awaited"] and split["sha256"] is None and split["classes"] is split["groups"] is None
                continue
            manifest = read_manifest(dataset, config.name, split["name"])
            assert split["rows"] == len(manifest.ids) and split["awaited"] is None
            labels = Counter(label for label in manifest.labels if label)
            assert {k: n for k, n in (split["classes"] or {}).items() if n} == dict(labels)
            groups = set(manifest.groups) - {None}
            assert (split["groups"], split["ungrouped"]) == (len(groups), manifest.groups.count(None))
            for group in groups:
                places.setdefault(str(group), set()).add(split["name"])
        assert {g: set(s) for g, s in view["crossing"].items()} == {g: s for g, s in places.items() if len(s) > 1}
        assert view["unlisted"] == [], "every leak is on the ratchet list"


def test_the_fields_of_both_kinds_of_json_stay() -> None:
    listed = json.loads(said("list", "--json"))["datasets"][0]
    assert listed.keys() == {"name", "title", "licence", "versions", "tracks", "size", "size_about"}
    track = "task config configs examples basis specimen benchmarks on_disk"
    assert listed["tracks"][0].keys() == set(track.split())
    assert listed["tracks"][0]["on_disk"].keys() == {"archives", "prepared", "specimen"}
    sheet = json.loads(said("show", AITSLAB, "--json"))
    more = "schema homepage task group default_config records configs classes label_orders folders benchmarks"
    assert sheet.keys() == listed.keys() | set(more.split())
    config = "name title default synthetic task labels rule samples splits leaks crossing unlisted"
    assert sheet["configs"][0].keys() == set(config.split())
    split = "name rows sha256 awaited classes groups ungrouped absent content"
    assert sheet["configs"][0]["splits"][0].keys() == set(split.split())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", dataset_names(ROOT / "registry"))
def test_only_what_is_copied_is_longer_than_a_line(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for line in said("show", name).splitlines():
        copied = re.match(r" +(load|fetch|specimen|sha256|…) ", line)
        assert len(line) <= columns or copied, line


def test_show_of_the_nuclei_says_what_there_is() -> None:
    text = said("show", AITSLAB)
    for words in (
        "30          10    10",
        "a group is plate + well",
        "of 42 different groups, 5 in more than one split",
        "170731090001/B14 in train, test: the publisher drew",
        "(copy)",
        f'lensbench.load_dataset("{AITSLAB}")',
        f"bench fetch {AITSLAB}",
        "sha256 377dc719c4eaf9bfa30273f7e3a4042d98dbbfc4a1c4af2a467879237bff592f",
        "Arvidsson, M.",
        f"official test 1.0.0, ready benchmark headline {AITSLAB} f1@0.5",
    ):
        assert " ".join(words.split()) in " ".join(text.split()), words


def test_what_is_unknown_is_said_with_what_it_waits_for() -> None:
    text = " ".join(said("show", "raw_microscopy").split())
    assert "the ids of train, validation, test are unknown: they are drawn by the rule" in text
    assert "how many there are is not known before the ids are" in text
    assert "ids unknown" in text
    train = " ".join(said("show", NAME).split())
    assert "the ids of train are unknown: they are listed in 'train.txt' of the 'model' source" in train


def test_of_95_classes_the_ends_are_shown_and_all_on_request() -> None:
    short, long = (said("show", NAME, *more).splitlines() for more in ([], ["--classes"]))
    names = get_dataset(NAME).label_order("decrop2025")
    shown = [[line.split()[1] for line in lines if re.match(r" +\d+  \S", line)] for lines in (short, long)]
    assert len(shown[0]) == 10 and shown[1] == list(names)
    support = Counter(read_manifest(get_dataset(NAME), "decrop2025", "test").labels)
    assert min(support[name] for name in shown[0][:5]) > max(support[name] for name in shown[0][5:])
    assert any("… 85 more: bench show lifewatch_flowcam --config decrop2025 --classes" in line for line in short)


def test_another_config_is_shown_when_named_and_its_own_lines_name_it() -> None:
    text = said("show", "raw_drone", "--config", "classification-specimen")
    assert "Splits (classification-specimen, synthetic)" in text
    assert 'lensbench.load_dataset("raw_drone", "classification-specimen")' in text
    assert "nothing is fetched" in text


def test_an_unknown_name_gets_the_nearest_one() -> None:
    for args, words in (
        (["show", "raw_dron"], "did you mean 'raw_drone'"),
        (["show", AITSLAB, "--config", "offical"], "did you mean 'official'"),
        (["fetch", "aitslab"], f"did you mean '{AITSLAB}'"),
        (["fetch", AITSLAB, "--version", "9"], "has no version '9'"),
        (["fetch", "raw_drone", "--config", "specimen"], "has 3 specimens: name segmentation-specimen"),
    ):
        done = call(*args)
        assert done.exit_code == 1 and words in str(done.exception), args


def test_reading_the_registry_imports_no_image_library() -> None:
    code = "import sys; from lensbench.cli import bench; bench(sys.argv[1:], standalone_mode=False); "
    code += "assert not {'datasets', 'cv2', 'PIL', 'torch', 'sklearn', 'pandas'} & set(sys.modules), sys.modules.keys()"
    for args in (["list"], ["show", AITSLAB]):
        subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True)


# -- bench fetch -----------------------------------------------------------------------------------------------


@pytest.fixture
def source(small: SmallRegistry, tmp_path: Path) -> Path:
    return small.archives(tmp_path / "source")


@pytest.fixture
def server(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    with ZenodoServer({"16679297": {V2: source / V2}, "15269453": {MODEL: source / MODEL}}) as running:
        monkeypatch.setenv("LENSBENCH_ZENODO", running.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield running


def rows_of(config: str, **options: Any) -> dict[str, list[str]]:
    return {split: rows["id"][:] for split, rows in load_dataset(NAME, config, **options).items()}


def ids(rows: list[tuple[str, str, str]]) -> dict[str, list[str]]:
    return {s: sorted(i for i, _, where in rows if where == s) for s in ("train", "validation", "test")}


def test_what_was_fetched_works_offline_and_is_not_fetched_again(
    small: SmallRegistry, source: Path, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(said("list", "--json"))["datasets"][0]["tracks"][0]["on_disk"]["archives"] is False
    server.behave(Behaviour(cut_after=3000))
    done = call("fetch", NAME)
    assert done.exit_code == 0, done.output
    for name, record in ((V2, "16679297"), (MODEL, "15269453")):
        assert f"fetch {name} of Zenodo record {record} (" in done.stderr and "kB) to" in done.stderr
        assert f"archive: {downloads() / name}" in done.stdout
        assert server.sent(record, name) == (source / name).stat().st_size
    assert done.stdout.count("fetched now") == 2 and "prepared now" in done.stdout

    requests = len(server.requests)
    monkeypatch.setenv("LENSBENCH_OFFLINE", "1")
    again = said("fetch", NAME)
    assert again.count("was here already") == 3 and "fetched now" not in again
    assert rows_of("decrop2025") == ids(paper_rows())
    shutil.rmtree(downloads())
    assert "what was prepared from them is enough" in said("fetch", NAME)
    assert rows_of("decrop2025") == ids(paper_rows())
    assert len(server.requests) == requests
    here = json.loads(said("list", "--json"))["datasets"][0]["tracks"][0]["on_disk"]
    assert here["archives"] is False and here["prepared"]["decrop2025"] > 10_000


def test_without_a_build_the_archives_alone_are_there(
    small: SmallRegistry, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said("fetch", NAME, "--config", "equal400", "--no-build", "--yes")
    assert "not prepared: the first use does that" in text and V2 in text
    assert not (downloads().parent / "datasets").exists()
    monkeypatch.setenv("LENSBENCH_OFFLINE", "1")
    assert rows_of("equal400") == ids(archive_rows())


def test_a_file_that_nobody_could_name_is_found_in_its_record(
    small: SmallRegistry, server: ZenodoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(small, f'name = "{V2}"', 'name = "unknown"')
    assert "every archive of the record" in said("show", NAME)
    text = said("fetch", NAME, "--config", "equal400")
    assert str(downloads() / V2) in text
    monkeypatch.setenv("LENSBENCH_OFFLINE", "1")
    assert rows_of("equal400") == ids(archive_rows())
    assert "was here already" in said("fetch", NAME, "--config", "equal400")


def test_offline_is_one_line_that_says_how_to_lay_the_archive_by_hand(small: SmallRegistry) -> None:
    done = call("fetch", NAME)
    text = str(done.exception)
    assert done.exit_code == 1 and "\n" not in text
    for word in ("the network is off", V2, "16679297", "--source DIR", "LENSBENCH_SOURCE", '"specimen"'):
        assert word in text


def test_what_is_not_the_published_file_is_refused(small: SmallRegistry, server: ZenodoServer) -> None:
    edit(small, 'sha256 = "unknown"', "")
    small.sha256 = {V2: "0" * 64}
    small.write()
    done = call("fetch", NAME, "--no-build")
    assert done.exit_code == 1 and "sha256" in str(done.exception)
    assert not (downloads() / V2).exists()


def test_a_split_whose_list_cannot_be_had_is_named(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with ZenodoServer({"16679297": {V2: source / V2}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        text = said("fetch", NAME)
    assert "note: fetching it failed" in text and "without train: " in text


def test_a_folder_that_was_named_needs_no_network(
    small: SmallRegistry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSBENCH_SOURCE", str(source))
    text = said("fetch", NAME)
    assert f"archive: {source / V2}" in text and "fetched now" not in text and "prepared now" in text


def test_a_superseded_version_is_fetched_with_a_word(small: SmallRegistry) -> None:
    done = call("fetch", NAME, "--version", "1.0.0")
    assert "1.0.0 is superseded by 2.0.0" in done.stderr


def test_a_specimen_is_prepared_without_the_network() -> None:
    text = said("fetch", "raw_drone", "--config", "full_frame-specimen")
    assert "splits: train 6, validation 2, test 4" in text and "prepared now" in text


# -- bench specimen --------------------------------------------------------------------------------------------

SIZES = {AITSLAB: 12, "lifewatch_flowcam": 400, "raw_drone": 60, "raw_microscopy": 60}


@pytest.mark.parametrize("name", dataset_names(ROOT / "registry"))
def test_a_specimen_of_any_size_is_written_and_the_same_again(name: str, tmp_path: Path) -> None:
    size = str(SIZES[name])
    first, again = (
        [Path(p) for p in said("specimen", name, "--size", size, "--seed", "5", "--to", tmp_path / to).split()]
        for to in ("a", "b")
    )
    assert first and [p.name for p in first] == [p.name for p in again]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_test_size_is_taken_only_where_there_is_one_to_choose(tmp_path: Path) -> None:
    done = call("specimen", "raw_drone", "--size", "60", "--test-size", "5", "--to", tmp_path / "out")
    assert done.exit_code == 1 and "raw_drone takes no --test-size" in str(done.exception)
    assert not (tmp_path / "out").exists()
    said("specimen", AITSLAB, "--size", "12", "--test-size", "5", "--to", tmp_path / "out")


def test_a_size_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    done = call("specimen", "lifewatch_flowcam", "--size", "1", "--to", tmp_path)
    assert done.exit_code == 1 and str(done.exception).startswith("lifewatch_flowcam: ")
