"""What one meets who adds a dataset of one's own: rules beside a publisher's split, first pins, mistakes, messages."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from lensbench import load_dataset
from lensbench.cli import bench
from lensbench.data.store import prepare
from lensbench.digest import sha256_file
from lensbench.errors import DatasetError, LensbenchError
from lensbench.registry import SPECIMEN, get_dataset, registry_words
from lensbench.verify import FAILED, OK, UNKNOWN, check_dataset, check_source
from scripts import pin
from tests.tiny_registry import NAME, SPLITS, UNPINNED, Tiny, pin_config, write

RULE = 'rule = { kind = "stratified-group-kfold", by = "group", folds = 3, seed = 1, test = [0] }\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A copy to change, in use."""
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "source")


def unpinned(config: str) -> str:
    return "".join(UNPINNED.format(config=config, split=split) for split in SPLITS)


# -- a rule beside the publisher's own split -----------------------------------------------------------------------


def test_deep_verify_of_a_rule_does_not_compare_the_publisher_s_split(tiny: Tiny) -> None:
    said = pin_config(tiny, "grouped", "--source", str(tiny.source), "--provenance", "copy")
    tiny.replace("dataset.toml", unpinned("grouped"), said[said.index("[configs.grouped") :])
    facts = list(check_source(get_dataset(NAME), config="grouped", source=tiny.source))
    assert not [fact for fact in facts if fact.state == FAILED], facts
    assert {f"grouped/{split} content" for split in SPLITS} <= {fact.what for fact in facts if fact.state == OK}


def test_a_specimen_with_a_rule_verifies(tiny: Tiny) -> None:
    toml = (tiny.folder / "dataset.toml").read_text(encoding="utf-8")
    head, tail = toml.split("[[configs.specimen.files]]")
    bare = head.replace('title = "synthetic"\n', f'title = "synthetic"\n{RULE}') + unpinned("specimen")
    leak = '[[leaks]]\nconfig = "specimen"\ngroup = "g0"\nsplits = ["train", "test"]\nreason = "as in the original"\n'
    assert leak in bare and tail
    bare = bare.replace(leak, "")
    (tiny.folder / "dataset.toml").write_text(bare, encoding="utf-8")
    said = pin_config(tiny, "specimen", "--anew")
    tiny.replace("dataset.toml", unpinned("specimen"), said)
    facts = list(check_dataset(tiny.folder))
    assert not [fact for fact in facts if fact.state == FAILED], facts


def test_a_rule_without_the_number_of_samples_says_what_to_state(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", "samples = 30\n", "")  # of grouped, the first
    with pytest.raises(DatasetError, match=r"state `samples = N` in \[configs\.grouped\] \(this source holds 30\)"):
        prepare(get_dataset(NAME), None, "grouped", source=tiny.source)


# -- scripts/pin.py ------------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What `scripts/pin.py` says on standard error when it ends with 2, having printed nothing to paste."""
    with pytest.raises(SystemExit) as ended:
        pin.main([NAME, *args])
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == "" and "Traceback" not in said.err
    return said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("builder.py", '"sha256": text}', '"sha256": text, "dye": text}', "column 'dye' is in columns(), but neither"),
        (
            "builder.py",
            '"plate": group[0],',
            "",
            "index() nor read() gives the column 'plate', the cluster of a benchm",
        ),
        ("builder.py", '"container": container, ', "", "read() asks for what is not there (container); does index() "),
        (
            "builder.py",
            'file.endswith(".png") and',
            'file.endswith(".tif") and',
            "builder.py: index gives no sample",
        ),
        ("builder.py", '"label": label', '"label": label.upper()', "the label 'ROUND', which is not in the order 'pl"),
        ("builder.py", '"label": label', '"label": None', "index() gives it no label, and a row of a classification "),
        ("builder.py", '"group": group', '"group": None', "index() gives no sample of the specimen a group"),
        (
            "dataset.toml",
            'group = ["group"]',
            'group = ["dish"]',
            "makes a group of 'dish', and the builder has no such",
        ),
        ("dataset.toml", 'group = ["group"]', 'group = ["plate"]', "plate = g has rows of group g"),
        ("dataset.toml", 'title = "Tiny', 'title "Tiny', "not valid TOML"),
        ("../../benchmarks/tiny_cells.toml", "schema = 1", "schema", "tiny_cells.toml: not valid TOML"),
    ],
)
def test_pin_refuses_in_one_line_and_writes_nothing(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, says: str
) -> None:
    tiny.replace(file, old, new)
    before = {path: path.read_bytes() for path in (tiny.folder / "splits").iterdir()}
    assert says in refused(capsys, "--anew")
    assert before == {path: path.read_bytes() for path in (tiny.folder / "splits").iterdir()}


def test_pin_asks_what_a_source_is(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--source needs --provenance: official" in refused(capsys, "--source", str(tiny.source))


def test_pin_names_an_unknown_dataset_and_a_source_that_is_not_there(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nowhere" in refused(capsys, "--source", str(tiny.root / "nowhere"), "--provenance", "copy")
    assert "no config 'offical'" in refused(capsys, "--config", "offical")


def test_pin_prints_the_archive_s_digests_until_they_are_pinned(tiny: Tiny) -> None:
    options = ("--source", str(tiny.source), "--provenance", "official")
    said = tomllib.loads(pin_config(tiny, "official", *options))
    archive = tiny.source / "tiny.zip"
    (file,) = said["versions"]["1.0.0"]["files"]
    assert file["sha256"] == sha256_file(archive) and file["size"] == archive.stat().st_size
    assert file["md5"] == hashlib.md5(archive.read_bytes()).hexdigest()
    unknown = 'size = "unknown"\nmd5 = "unknown"\nsha256 = "unknown"\n'
    known = f'size = {file["size"]}\nmd5 = "{file["md5"]}"\nsha256 = "{file["sha256"]}"\n'
    tiny.replace("dataset.toml", unknown, known)
    assert "versions" not in tomllib.loads(pin_config(tiny, "official", *options))
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tiny.root / "unpacked")
    loose = ("--source", str(tiny.root / "unpacked"), "--provenance", "copy")
    assert "# unpacked: there is no archive whose digest" in pin_config(tiny, "official", *loose)


# -- a builder that does not fit its own columns -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '"group": text, ',
            '"group": text, "medium": text, ',
            "'medium' is in columns(), but neither index() nor read",
        ),
        (
            '"group": text, "plate": text',
            '"group": text, "plate": datasets.Value("int32")',
            "'plate' is int32 in colum",
        ),
        ('"container": container, ', "", "read() asks for what is not there (container); does index() give it?"),
    ],
)
def test_a_column_that_nothing_gives_or_that_does_not_fit_is_named(tiny: Tiny, old: str, new: str, says: str) -> None:
    tiny.replace("builder.py", old, new)
    with pytest.raises(LensbenchError, match=re.escape(says)):
        prepare(get_dataset(NAME), None, SPECIMEN)
    assert any(says in fact.text for fact in check_dataset(tiny.folder) if fact.state == FAILED)


def test_a_file_that_is_pasted_beside_its_old_entry_is_named(tiny: Tiny) -> None:
    said = pin_config(tiny, "official", "--source", str(tiny.source), "--provenance", "copy")
    tiny.replace("dataset.toml", "[[leaks]]", f"{said[: said.index('[configs.')]}[[leaks]]")
    with pytest.raises(DatasetError, match=r"version 1\.0\.0: the file 'tiny\.zip' is listed 2 times"):
        get_dataset(NAME)


# -- specimen.py ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    return [path]", "", "make() returns the list of the paths that it wrote, not None"),
        ("    return [path]", "    return str(path)", "make() returns the list of the paths that it wrote, not '"),
        ("    return [path]", "    return [path.with_name('x')]", "make() returned x, and wrote no such file"),
        (', layout="1.0.0"', "", "make() takes no 'layout'; it is make(folder, *, size, seed, layout)"),
        ("import hashlib", "import hashlib_of_mine", "cannot be loaded: No module named 'hashlib_of_mine'"),
        ("import hashlib", "import", "cannot be loaded: "),
    ],
)
def test_a_specimen_script_that_is_not_one_is_one_line(
    tiny: Tiny, tmp_path: Path, old: str, new: str, says: str
) -> None:
    tiny.replace("specimen.py", old, new)
    done = CliRunner().invoke(bench, ["specimen", NAME, "--size", "9", "--to", str(tmp_path / "made")])
    assert isinstance(done.exception, DatasetError) and says in str(done.exception), done.exception


def test_make_is_given_a_folder_that_exists(tiny: Tiny, tmp_path: Path) -> None:
    tiny.replace("specimen.py", "    folder.mkdir(parents=True, exist_ok=True)\n", "    assert folder.is_dir()\n")
    done = CliRunner().invoke(bench, ["specimen", NAME, "--size", "9", "--to", str(tmp_path / "not" / "yet")])
    assert done.exit_code == 0, done.exception


def test_no_specimen_is_unknown_and_never_ok(tiny: Tiny) -> None:
    toml = (tiny.folder / "dataset.toml").read_text(encoding="utf-8")
    (tiny.folder / "dataset.toml").write_text(
        toml.split("[[configs.specimen.files]]")[0] + unpinned("specimen"), encoding="utf-8"
    )
    shutil.rmtree(tiny.folder / "specimen")
    facts = {fact.what: fact for fact in check_dataset(tiny.folder)}
    assert facts["specimen"].state == UNKNOWN and "none is kept yet: make one with `bench" in facts["specimen"].text
    assert facts["specimen/samples"].state == UNKNOWN


# -- words ---------------------------------------------------------------------------------------------------------


def test_commands_that_are_suggested_name_the_registry(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.root.parent)
    shown = CliRunner().invoke(bench, ["show", NAME, "--config", SPECIMEN]).output
    assert f"bench fetch {NAME} --config specimen --registry registry\n" in shown
    assert "load_dataset finds it where LENSBENCH_REGISTRY is registry" in shown
    assert "it is kept beside it: nothing is fetched" in shown and "comes with lensbench" not in shown
    monkeypatch.delenv("LENSBENCH_REGISTRY")
    assert registry_words() == ""


def test_who_looks_in_the_wrong_registry_is_told_how_to_name_another(tiny: Tiny) -> None:
    with pytest.raises(DatasetError, match=r"\(--registry DIR or LENSBENCH_REGISTRY names another\)"):
        get_dataset("petri_colonies")
    with pytest.raises(Exception) as raised:
        load_dataset("petri_colonies")
    (note,) = raised.value.__notes__
    assert note.startswith("'petri_colonies' is not in lensbench's registry") and "LENSBENCH_REGISTRY=DIR" in note


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("dataset.toml", 'title = "Tiny cells"\n', "", "/dataset.toml: the entry 'title' is missing"),
        ("dataset.toml", 'doi = "10.0/0"\n', "", "/dataset.toml: version 1.0.0: the entry 'doi' is missing"),
        (
            *("dataset.toml", 'md5 = "unknown"\n', ""),
            "/dataset.toml: version 1.0.0: file 'tiny.zip': the entry 'md5' is missing",
        ),
        (
            "dataset.toml",
            'title = "as published"\n',
            "",
            "/dataset.toml: config official: the entry 'title' is missing",
        ),
        ("dataset.toml", "schema = 1", "schema = 1\nsamples = 3", "/dataset.toml: the entry 'samples' means nothing "),
        ("classes.csv", "name,display", "label,display", f"/{NAME}: classes.csv: the columns are"),
    ],
)
def test_what_is_missing_is_named_with_its_table(tiny: Tiny, file: str, old: str, new: str, says: str) -> None:
    tiny.replace(file, old, new)
    with pytest.raises(DatasetError) as raised:
        get_dataset(NAME)
    assert says in str(raised.value) and str(raised.value).count(str(tiny.folder)) == 1
    (fact,) = check_dataset(tiny.folder)
    assert fact.state == FAILED and says.rpartition("/dataset.toml: ")[2] in fact.text
    assert file != "dataset.toml" or str(tiny.folder) not in fact.text


def test_the_card_of_what_no_record_holds_names_neither_record_nor_doi(tiny: Tiny, tmp_path: Path) -> None:
    tiny.replace("dataset.toml", 'record = "1"\ndoi = "10.0/0"', 'record = "none"\ndoi = "none"')
    line = ["publish", NAME, "--config", "official", "--source", str(tiny.source), "--to", str(tmp_path / "out")]
    done = CliRunner().invoke(bench, line)
    assert done.exit_code == 0, done.exception
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "as Parquet: the publisher's files,\n" in card and "doi:none" not in card and "record none" not in card
