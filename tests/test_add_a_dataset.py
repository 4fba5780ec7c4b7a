"""docs/add-a-dataset.md is true: `third_party/` was written from that page alone, and the page lists what is read."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner, Result

import lensbench
from lensbench.cli import bench
from lensbench.data.loader import load_specimen
from lensbench.digest import sha256_file
from lensbench.errors import DatasetError
from lensbench.evaluation import evaluate
from lensbench.record import read_record
from lensbench.registry import get_dataset
from lensbench.registry.entry import KEYS, PROVENANCE, parse_dataset
from lensbench.rules import GROUP, KINDS, SAMPLE
from lensbench.splits import Manifest, read_manifest_file, write_manifest
from lensbench.verify import FAILED, check_dataset
from lensbench.verify.card import FRONT_MATTER, SECTIONS
from lensbench.verify.pinned import dvc_file
from scripts import pin
from tests.conftest import ROOT
from tests.graphs import colour_model, write
from tests.test_docs import blocks, table, text

NAME = "tiny_shapes"
PAGE = ROOT / "docs" / "add-a-dataset.md"
REGISTRY = ROOT / "tests" / "third_party" / "registry"
FOLDER = REGISTRY / NAME
UNPINNED = re.compile(r"^splits\.\w+ = .*\n", re.MULTILINE)
LEAK = """
[[leaks]]
config = "specimen"
group = "sheet-04"
splits = ["train", "test"]
reason = "as in the original, the list of images is cut inside this sheet"
"""


def only(language: str, begins: str = "") -> str:
    """The one block of the page in a language, where there are several the one that begins so."""
    (found,) = [code for _, code in blocks(PAGE, language) if code.startswith(begins)]
    return found


def dataset_toml() -> str:
    """The first of the page's two TOML files."""
    return blocks(PAGE, "toml")[0][1]


def spans(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def split_head() -> tuple[str, str]:
    """The page's dataset.toml before and after the specimen's splits, which a pin takes the place of."""
    first, last = list(UNPINNED.finditer(dataset_toml()))[-2:]
    return dataset_toml()[: first.start()], dataset_toml()[last.end() :]


# -- the page's examples are the folder's files ----------------------------------------------------------------


def test_the_builder_is_the_page_s() -> None:
    assert (FOLDER / "builder.py").read_text(encoding="utf-8") == only("python", "import csv")


def test_specimen_and_benchmark_are_the_page_s() -> None:
    assert (FOLDER / "specimen.py").read_text(encoding="utf-8") == only("python", '"""Synthetic shapes')
    ours = (REGISTRY.parent / "benchmarks" / f"{NAME}.toml").read_text(encoding="utf-8")
    assert [code for _, code in blocks(PAGE, "toml")] == [dataset_toml(), ours]


def test_the_card_begins_and_is_divided_as_the_page_s() -> None:
    ours = (FOLDER / "README.md").read_text(encoding="utf-8")
    front = ours[: ours.index("---\n", 4) + 4]
    heads = [line for line in ours.splitlines() if line.startswith("#")]
    assert only("markdown") == front + "\n" + "\n\n".join(heads) + "\n"


def test_the_classes_are_the_page_s() -> None:
    assert (FOLDER / "classes.csv").read_text(encoding="utf-8") in [code for _, code in blocks(PAGE, "")]


def test_dataset_toml_is_the_page_s_and_its_pins() -> None:
    before, after = split_head()
    assert after == "", "the specimen stands last, so that the pins follow it"
    ours = (FOLDER / "dataset.toml").read_text(encoding="utf-8")
    assert ours.startswith(before + "\n[[configs.specimen.files]]\n") and ours.endswith(LEAK)
    page, whole = tomllib.loads(dataset_toml()), tomllib.loads(ours)
    assert {**whole, "configs": page["configs"], "leaks": page["leaks"]} == page


# -- the page's tables are what is read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("entry", "dataset"),
        ("entry of a version", "version"),
        ("entry of a file", "file"),
        ("entry of a config", "config"),
        ("entry of a split", "split"),
        ("entry of a leak", "leak"),
    ],
)
def test_every_entry_stands_in_its_table_once(head: str, kind: str) -> None:
    stated = [name for row in table(text(PAGE), f"{head} | meaning") for name in spans(row[0])]
    assert sorted(stated) == sorted(KEYS[kind].split())


def test_every_table_of_the_parser_is_on_the_page() -> None:
    rows = {spans(row[0])[0]: set(spans(row[1])) for row in table(text(PAGE), "entry of a split | meaning")}
    assert rows["listed_in"] == set(KEYS["listed_in"].split())
    assert rows["absent"] - {'"unknown"'} == set(KEYS["absent"].split())
    assert rows["content"] - set(PROVENANCE) == set(KEYS["content"].split())
    assert rows["content"] >= set(PROVENANCE)
    assert KEYS.keys() == {"dataset", "version", "file", "config", "split", "leak", "listed_in", "absent", "content"}


def test_the_rules_have_the_options_of_the_page() -> None:
    stated = {spans(row[0])[0]: set(spans(row[1])) for row in table(text(PAGE), "`kind` | options")}
    foreign = {"StratifiedGroupKFold", "StratifiedShuffleSplit", SAMPLE, GROUP}
    known = {kind: required | set(optional) for kind, (_, required, optional) in KINDS.items()}
    assert {kind: names - foreign for kind, names in stated.items()} == known


def test_the_card_s_front_matter_and_headings_are_those_of_the_page() -> None:
    found = re.search(r"^## The card\n(.*?)^## ", text(PAGE), re.MULTILINE | re.DOTALL)
    assert found is not None
    assert set(spans(found[1])) - {"README.md", "dataset.toml"} == {*FRONT_MATTER, *SECTIONS, "Specimen"}


OPTIONAL = {"folders", "leaks", "synthetic", "samples", "rule"}
TABLES: list[tuple[str | int, ...]] = [
    (),
    ("versions", "1.0.0"),
    ("versions", "1.0.0", "files", 0),
    ("configs", "by_sheet"),
    ("configs", "specimen"),
    ("configs", "specimen", "splits", "train"),
    ("leaks", 0),
]


@pytest.mark.parametrize("place", TABLES, ids=str)
def test_the_example_has_what_is_needed_and_says_what_may_go(place: tuple[str | int, ...], tmp_path: Path) -> None:
    assert "but for `folders`, `leaks`, `synthetic`, `samples` and `rule`." in text(PAGE).replace("\n", " ")
    folder = tmp_path / NAME
    shutil.copytree(FOLDER, folder)
    for key in list(at(tomllib.loads(dataset_toml()), place)):
        data = tomllib.loads(dataset_toml())
        del at(data, place)[key]
        if key == "synthetic":  # only a config that has it is called specimen
            with pytest.raises(ValueError, match="synthetic = true goes with the name 'specimen'"):
                parse_dataset(folder, data)
        elif key in OPTIONAL:
            parse_dataset(folder, data)
        else:
            with pytest.raises(ValueError, match=f"the entry '{key}' is missing"):
                parse_dataset(folder, data)


def at(data: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        data = data[step]
    return data


# -- it passes, loads and scores -------------------------------------------------------------------------------


def test_bench_verify_passes_for_the_folder() -> None:
    command = [str(Path(sys.executable).with_name("bench")), "verify", str(FOLDER.relative_to(ROOT))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    *facts, count = done.stdout.splitlines()
    unknown = [line.split(maxsplit=1)[1] for line in facts if line.startswith("unknown")]
    assert count == f"{len(facts) - len(unknown)} ok, {len(unknown)} unknown, 0 failed"
    assert [what.partition(": ")[0] for what in unknown] == [
        *("official/train", "official/test", "official/leaks", "by_sheet/train", "by_sheet/test"),
        *("1.0.0/tiny_shapes.zip", "benchmark tiny_shapes"),
    ]
    known = "1 of 6 groups in two splits, each on the list of known leaks with its reason"
    assert f"ok       specimen/leaks: {known}" in facts


def test_bench_verify_passes_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(ROOT / "registry"))
    done = call("verify", NAME, "--registry", str(REGISTRY))
    assert done.exit_code == 0 and done.output.endswith(" 0 failed\n"), done.output


def test_bench_show_says_no_record_and_names_an_order_once(in_use: Path) -> None:
    done = call("show", NAME)
    assert done.exit_code == 0 and "record none" not in done.output and "doi none" not in done.output
    assert "no record, no doi, schema 1" in done.output and "from tiny_shapes.zip\n" in done.output
    assert "label orders that --labels takes by name: alphabetical (3)\n" in done.output


def test_what_no_record_holds_is_not_fetched(in_use: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    done = call("fetch", NAME, "--yes")
    words = (
        "tiny_shapes.zip has no record that it could be fetched from: lay tiny_shapes.zip (unknown size) into a folder"
    )
    assert words in str(done.exception)


def test_an_order_called_alphabetical_is(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / NAME)
    path = tmp_path / NAME / "classes.csv"
    path.write_text(
        path.read_text().replace("Disc,0", "Disc,9").replace("Square,1", "Square,0").replace("Disc,9", "Disc,1")
    )
    with pytest.raises(DatasetError, match="'alphabetical' is not the alphabetical order of all names"):
        get_dataset(NAME, tmp_path)


def test_it_loads_from_its_registry(in_use: Path) -> None:
    data = lensbench.load_dataset(NAME, "specimen")
    assert {name: rows.num_rows for name, rows in data.items()} == {"train": 17, "test": 7}
    train = data["train"]
    assert train.features["label"].names == ["disc", "square", "triangle"]
    assert train["id"][:2] == ["s0-0000", "s0-0001"] and train["group"][-1] == "sheet-04"
    assert np.asarray(train[0]["image"]).shape == (32, 32, 3)


def test_a_model_is_scored_on_its_benchmark(in_use: Path, tmp_path: Path) -> None:
    write(tmp_path, colour_model(3, side=32), "my.onnx")
    (tmp_path / "classes.txt").write_text("disc\nsquare\ntriangle\n")
    options = [
        "--config",
        "specimen",
        "--labels",
        str(tmp_path / "classes.txt"),
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    done = call(
        "eval", "--model", str(tmp_path / "my.onnx"), "--benchmark", NAME, "--registry", str(REGISTRY), *options
    )
    assert done.exit_code == 0, done.output
    result = read_record(tmp_path / "run" / "record.json").result
    assert result["complete"] and result["coverage"]["expected"] == 7 and result["benchmark"]["synthetic"]
    assert result["metrics"].keys() == {"macro_recall", "top1"}


def test_the_benchmark_on_real_data_says_what_it_waits_for(in_use: Path, tmp_path: Path) -> None:
    write(tmp_path, colour_model(3, side=32), "my.onnx")
    with pytest.raises(DatasetError, match=r"first complete build from tiny_shapes\.zip"):
        evaluate(tmp_path / "my.onnx", NAME, labels="alphabetical", out=tmp_path / "run")


# -- the page, followed from its first line --------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it is before the first pin; the registry in use."""
    folder = tmp_path / "registry" / NAME
    folder.mkdir(parents=True)
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(folder.parent))
    (folder / "dataset.toml").write_text(dataset_toml(), encoding="utf-8")
    (folder / "builder.py").write_text(only("python", "import csv"), encoding="utf-8")
    (folder / "specimen.py").write_text(only("python", '"""Synthetic shapes'), encoding="utf-8")
    for name in ("classes.csv", "README.md"):
        shutil.copy(FOLDER / name, folder)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / f"{NAME}.toml").write_text(blocks(PAGE, "toml")[1][1], encoding="utf-8")
    return folder


def test_the_page_leads_to_a_folder_that_passes(begun: Path) -> None:
    commands = [shlex.split(line) for _, code in blocks(PAGE, "sh") for line in code.splitlines()]
    ours = {"my_registry": str(begun.parent), f"my_registry/{NAME}/specimen": str(begun / "specimen")}
    made, pinned = (
        next([ours.get(word, word) for word in words] for words in commands if words[:2] == first)
        for first in (["bench", "specimen"], ["python", "scripts/pin.py"])
    )
    done = call(*made[1:])
    assert done.exit_code == 0, done.output
    before, _ = split_head()
    (begun / "dataset.toml").write_text(f"{before}\n{pin_prints(*pinned[2:])}{LEAK}", encoding="utf-8")
    facts = list(check_dataset(begun))
    assert not [fact for fact in facts if fact.state == FAILED], facts
    assert [line.split(" = ")[0] for line in (begun / "dataset.toml").read_text(encoding="utf-8").splitlines()] == [
        line.split(" = ")[0] for line in (FOLDER / "dataset.toml").read_text(encoding="utf-8").splitlines()
    ]


def test_the_first_archive_is_built_and_pinned(begun: Path, tmp_path: Path) -> None:
    (archive,) = load_specimen(begun)(tmp_path / "downloads", size=240, seed=1, layout="1.0.0")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "unpacked")
    for source in (archive.parent, tmp_path / "unpacked"):
        official = lensbench.load_dataset(NAME, "official", data_dir=str(source))
        assert {name: rows.num_rows for name, rows in official.items()} == {"train": 161, "test": 79}
        drawn = lensbench.load_dataset(NAME, data_dir=str(source))
        assert sum(rows.num_rows for rows in drawn.values()) == 240
        assert not set(drawn["train"]["group"]) & set(drawn["test"]["group"])
    said = tomllib.loads(
        pin_prints(
            NAME,
            "--registry",
            str(begun.parent),
            "--config",
            "by_sheet",
            "--source",
            str(archive),
            "--provenance",
            "copy",
        )
    )
    splits = said["configs"]["by_sheet"]["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {n: rows.num_rows for n, rows in drawn.items()}
    assert {split["content"]["1.0.0"]["provenance"] for split in splits.values()} == {"copy"}
    assert said["versions"]["1.0.0"]["files"][0]["sha256"] == sha256_file(archive)


# -- what is wrong with it is said ---------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, to be damaged."""
    shutil.copytree(REGISTRY.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return tmp_path / "copy" / "registry" / NAME


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            *("dataset.toml", LEAK, ""),
            "specimen/leaks: group sheet-04 is in train and test, and is not on the list of known leaks ([[leaks]])",
        ),
        (
            *("dataset.toml", LEAK, LEAK + LEAK.replace("sheet-04", "sheet-00")),
            "specimen/leaks: the known leak of group sheet-00 in ['train', 'test'] no longer occurs (it is in no two "
            "splits any more): update its entry",
        ),
        ("README.md", "## Known limits", "## Limits", "card/sections: no section 'Known limits'"),
        ("README.md", "| `group` |", "| group |", "card/columns: column `group` is not in the section Columns"),
        ("README.md", "| `by_sheet` |", "| by sheet |", "card/splits: config by_sheet is not in the section Splits"),
        ("classes.csv", "square,Square", "square,Disc", "classes.csv: two classes are displayed as 'Disc'"),
        (
            *("builder.py", '"image": "pixels"', '"image": "bytes"'),
            "specimen/test as built: s0-0017: its stored images are not those its sha256 names",
        ),
        (
            *("dataset.toml", "rows = 17", "rows = 18"),
            "specimen/train: 17 rows, and dataset.toml says 18",
        ),
    ],
)
def test_what_is_wrong_is_said(copy: Path, file: str, old: str, new: str, says: str) -> None:
    before = (copy / file).read_text(encoding="utf-8")
    assert before.count(old), old
    (copy / file).write_text(before.replace(old, new), encoding="utf-8")
    assert says in failures(copy)


def test_a_typing_mistake_never_passes_for_an_entry(copy: Path) -> None:
    path = copy / "dataset.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("samples = 240", "sample = 240"), encoding="utf-8")
    (said,) = failures(copy)
    assert "config by_sheet: the entry 'sample' means nothing here; did you mean 'samples'?" in said


def test_a_moved_row_is_named_whether_or_not_its_lock_was_moved_along(copy: Path) -> None:
    paths = {split: copy / "splits" / f"specimen-{split}.parquet" for split in ("train", "test")}
    train, test = (read_manifest_file(path) for path in paths.values())
    first = Manifest.of("test", [(test.ids[0], test.labels[0], test.groups[0])])
    locks = {path: sha256_file(path) for path in paths.values()}
    fewer = test.without(frozenset(first.ids))
    write_manifest(replace(fewer, columns={}), paths["test"])
    write_manifest(Manifest.of("train", [*rows_of(train), *rows_of(first)]), paths["train"])
    said = failures(copy)
    assert any(
        line.startswith(f"specimen/train: {paths['train']} is not the manifest that {NAME} pins") for line in said
    )
    assert (
        "splits: specimen-test.parquet.dvc is not of this manifest: scripts/pin_manifests_dvc.py writes it anew" in said
    )
    toml = (
        (copy / "dataset.toml")
        .read_text(encoding="utf-8")
        .replace("rows = 17", "rows = 18")
        .replace("rows = 7", "rows = 6")
    )
    for path, lock in locks.items():
        toml = toml.replace(lock, sha256_file(path))
        path.with_name(f"{path.name}.dvc").write_text(dvc_file(path))
    (copy / "dataset.toml").write_text(toml, encoding="utf-8")
    assert "specimen/train: s0-0017: split is 'test' in the source, 'train' in the manifest" in failures(copy)


def rows_of(manifest: Manifest) -> list[tuple[str, str | None, str | None]]:
    return list(zip(manifest.ids, manifest.labels, manifest.groups, strict=True))


def failures(folder: Path) -> list[str]:
    return [f"{fact.what}: {fact.text}" for fact in check_dataset(folder) if fact.state == FAILED]


def call(*args: str) -> Result:
    return CliRunner().invoke(bench, args)


def pin_prints(*args: str) -> str:
    """What `scripts/pin.py` prints."""
    said = io.StringIO()
    with patch.dict(os.environ), redirect_stdout(said):
        pin.main(list(args))
    return said.getvalue().rstrip("\n") + "\n"


@pytest.fixture
def in_use(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(REGISTRY))
    return REGISTRY
