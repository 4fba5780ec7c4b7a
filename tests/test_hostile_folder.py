"""A stranger's dataset folder, whatever is in it: it is read, or refused in one line; never anything else."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lensbench.cli import bench
from lensbench.data.locate import have
from lensbench.errors import DatasetError
from lensbench.registry import dataset_names, get_dataset
from lensbench.verify import FAILED, Checked, check_dataset
from tests.conftest import ROOT
from tests.tiny_registry import NAME, Tiny, write

BENCH = (sys.executable, "-m", "lensbench")
NAMES = dataset_names(ROOT / "registry")
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        7,
        2**53,
        2**63,
        -(10**30),
        0.5,
        -1e300,
        float("nan"),
        float("inf"),
        date(2020, 2, 30 - 1),
    ),
    *(
        "",
        " ",
        "unknown",
        "../../x",
        "/etc/passwd",
        "a\x1b[31mb",
        "\x00",
        "é" * 300,
        "x" * 20_000,
        "specimen",
        "1.0.0",
        "train",
    ),
    *([], [[]], ["unknown"], [1, "a"], [{}], {}, {"unknown": "unknown"}, {"a": {"b": [1]}}),
)
"""Values of every kind that TOML has; None takes the entry away."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "source")


def as_toml(value: Any) -> str:
    """`value` as TOML: tables are written inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(str(key))} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return (
        value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, float) else json.dumps(value)
    )


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield value, key
        yield from places(item)


def mutated(text: str, dice: random.Random) -> str:
    """The document with one entry, or a few, replaced, taken away, copied or renamed."""
    data = tomllib.loads(text)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        box, key = dice.choice(list(places(data)))
        other, there = dice.choice(list(places(data)))
        odd = dice.choice(ODD)
        if dice.random() < 0.15:
            odd = other[there]
        elif dice.random() < 0.1 and isinstance(box, dict):
            box[dice.choice([str(o) for o in ODD[-20:]] + ["a b", ".hidden", "-x"])] = box[key]
        if odd is None:
            del box[key]
        else:
            box[key] = copy.deepcopy(odd)
    return "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in data.items())


def call(*args: str) -> Result:
    return CliRunner().invoke(bench, list(args))


def in_one_line(done: Result) -> bool:
    """Whether a command did its work, or refused it as `main` prints it."""
    return done.exception is None or isinstance(done.exception, SystemExit | DatasetError)


@pytest.mark.parametrize("name", NAMES)
def test_every_mutant_is_read_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "registry" / name
    shutil.copytree(ROOT / "registry" / name, folder, ignore=shutil.ignore_patterns("specimen"))
    text = (ROOT / "registry" / name / "dataset.toml").read_text()
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "registry"))
    refused = 0
    for seed in range(40):
        (folder / "dataset.toml").write_text(mutated(text, random.Random(f"{name}{seed}")))
        done = [call("list"), call("list", "--json"), call("show", name), call("show", name, "--json")]
        assert all(map(in_one_line, done)), (seed, [repr(one.exception) for one in done])
        refused += isinstance(done[2].exception, DatasetError)
    assert 10 < refused < 40


def test_the_document_is_the_same_before_it_is_mutated() -> None:
    for name in NAMES:
        data = tomllib.loads((ROOT / "registry" / name / "dataset.toml").read_text())
        again = "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in data.items())
        assert tomllib.loads(again) == data


@pytest.mark.slow
def test_the_suite_has_an_answer_to_every_mutant(tiny: Tiny) -> None:
    text = (tiny.folder / "dataset.toml").read_text()
    failed = 0
    for seed in range(60):
        (tiny.folder / "dataset.toml").write_text(mutated(text, random.Random(seed)))
        facts = list(check_dataset(tiny.folder))
        crashed = [fact for fact in facts if "raised" in fact.text and fact.what != "builder.py"]
        assert crashed == [], seed
        failed += any(fact.state == FAILED for fact in facts)
    assert failed > 30


@pytest.mark.parametrize("file", ["dataset.toml", "classes.csv", "README.md", "builder.py", "specimen.py"])
@pytest.mark.parametrize("what", ["latin", "folder", "nothing", "zeros", "huge", "missing"])
def test_a_file_that_is_no_such_file_is_a_failure(file: str, what: str, tiny: Tiny) -> None:
    path = tiny.folder / file
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        data = {"latin": "é = 1 # ü\n".encode("latin-1"), "nothing": b"", "zeros": bytes(9), "huge": b"[" * 5_000_000}
        path.write_bytes(data[what])
    if file == "dataset.toml" and what == "missing":
        assert NAME not in call("list").output
        return
    facts = list(check_dataset(tiny.folder))
    assert any(fact.state == FAILED for fact in facts)
    assert all("\n" not in fact.text for fact in facts)
    if file in ("dataset.toml", "classes.csv"):
        (fact,) = facts
        assert file in f"{fact.what}: {fact.text}" and fact.what == "dataset.toml"
        assert call("list").exit_code == 1 and file in call("list").stderr
        assert isinstance(call("show", NAME).exception, DatasetError)


@pytest.mark.parametrize("file", ["dataset.toml", "classes.csv", "builder.py", "benchmarks/tiny_cells.toml"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(file: str, tiny: Tiny) -> None:
    path = (tiny.root.parent if "/" in file else tiny.folder) / file
    path.unlink()
    os.mkfifo(path)
    command = {"builder.py": ["fetch", NAME, "--config", "specimen"], "benchmarks/tiny_cells.toml": ["list"]}
    done = subprocess.run(
        [*BENCH, *command.get(file, ["list"])],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2) and f"{path}: " in done.stderr and "is no regular file" in done.stderr
    assert "Traceback" not in done.stderr


def test_samples_are_no_more_than_can_be_held(tiny: Tiny) -> None:
    text = (tiny.folder / "dataset.toml").read_text()
    assert "[configs.official]" in text
    for samples in ("1_000_000_000_000", "10_000_001"):
        (tiny.folder / "dataset.toml").write_text(
            text.replace("[configs.official]", f"[configs.official]\nsamples = {samples}")
        )
        with pytest.raises(DatasetError, match="samples is a whole number, from 1 to 10,000,000, not"):
            get_dataset(NAME)
    (tiny.folder / "dataset.toml").write_text(
        text.replace("[configs.official]", "[configs.official]\nsamples = 10_000_000")
    )
    assert get_dataset(NAME).configs["official"].samples == 10_000_000


@pytest.mark.parametrize(
    "homepage", ["javascript:alert(1)", "data:text/html,x", "example.org", "https://a b", "http:x"]
)
def test_a_homepage_is_an_http_address(homepage: str, tiny: Tiny) -> None:
    text = (tiny.folder / "dataset.toml").read_text()
    (tiny.folder / "dataset.toml").write_text(
        text.replace('homepage = "https://example.org"', f'homepage = "{homepage}"')
    )
    with pytest.raises(DatasetError, match=r"homepage .* is no http address"):
        get_dataset(NAME)


def test_folders_in_place_of_manifests_and_specimens_are_failures(tiny: Tiny) -> None:
    for path in (tiny.folder / "splits" / "official-test.parquet", tiny.folder / "specimen" / "tiny.zip"):
        path.unlink()
        path.mkdir()
    (tiny.folder / "splits" / "official-train.parquet.dvc").unlink()
    (tiny.folder / "splits" / "official-train.parquet.dvc").mkdir()
    found = [fact for fact in check_dataset(tiny.folder) if fact.state == FAILED]
    assert {"official/test", "specimen/tiny.zip", "splits"} <= {fact.what for fact in found}
    assert not any("raised" in fact.text for fact in found), found


@pytest.mark.parametrize("name", ["..", ".x", "a/b", "../../x", "a b", "", "x" * 61, "é", "a\n", "-x"])
def test_names_are_plain(name: str, tiny: Tiny) -> None:
    text = (tiny.folder / "dataset.toml").read_text()
    for old in ("[configs.official", '[versions."1.0.0"', 'record = "1"'):
        key = json.dumps(name)
        new = f"[configs.{key}" if "config" in old else f"[versions.{key}" if "version" in old else f"record = {key}"
        (tiny.folder / "dataset.toml").write_text(text.replace(old, new))
        with pytest.raises(DatasetError, match=r"is no name: up to 60 letters|is not three whole numbers"):
            get_dataset(NAME)
    (tiny.folder / "dataset.toml").write_text(text.replace('name = "tiny.zip"', f"name = {json.dumps('../' + name)}"))
    with pytest.raises(DatasetError, match="is no plain file name"):
        get_dataset(NAME)


@pytest.mark.parametrize(
    "text", ["{", "[]]", "{}", "7", '[{"name": "x.zip"}]', '[{"name": 7, "size": 1, "md5": null}]', '["x"]']
)
def test_a_damaged_list_of_a_records_files_is_as_good_as_none(text: str) -> None:
    place = Path(os.environ["LENSBENCH_HOME"]) / "downloads"
    place.mkdir(parents=True)
    (place / "record-5235536.json").write_text(text)
    done = call("list")
    assert done.exit_code == 0 and "raw_drone" in done.output
    dataset = get_dataset("raw_drone", ROOT / "registry")
    assert not have(dataset.version(None), dataset.config(None))


def test_what_fails_is_said_as_it_is() -> None:
    """A fact is one line, whatever an exception has to say."""
    from lensbench.verify.facts import guarded

    def check() -> Iterator[Checked]:
        raise ValueError("one\ntwo")
        yield

    assert [fact.text for fact in guarded("x", check)] == ["raised ValueError: one"]
