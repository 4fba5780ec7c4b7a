"""The conformance suite on a stranger's folder: clean as it is, and one failure in plain words for everything wrong."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lensbench.cli import bench
from lensbench.digest import sha256_file
from lensbench.errors import DatasetError
from lensbench.registry import dataset_names, get_dataset
from lensbench.splits import Manifest, read_manifest_file, write_manifest
from lensbench.verify import FAILED, OK, UNKNOWN, Checked, check_dataset, summary, verify
from lensbench.verify.pinned import dvc_file
from scripts import pin
from tests.conftest import ROOT
from tests.tiny_registry import NAME, Tiny, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A copy to damage, in use."""
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "source")


def repin(tiny: Tiny, split: str, change: Callable[[Manifest], Manifest]) -> None:
    """Change a manifest of `official` and pin the new one: what nobody but the suite would notice."""
    path = tiny.folder / "splits" / f"official-{split}.parquet"
    old = sha256_file(path)
    tiny.replace("dataset.toml", old, write_manifest(change(read_manifest_file(path)), path))
    path.with_name(f"{path.name}.dvc").write_text(dvc_file(path))


def failures(tiny: Tiny) -> list[str]:
    return [f"{fact.what}: {fact.text}" for fact in check_dataset(tiny.folder) if fact.state == FAILED]


def call(*args: str) -> Result:
    return CliRunner().invoke(bench, ["verify", *args])


# -- what holds and what is unknown ----------------------------------------------------------------------------


def test_a_complete_folder_passes_and_unknown_is_never_counted_as_passed(tiny: Tiny) -> None:
    facts = list(check_dataset(tiny.folder))
    assert [fact for fact in facts if fact.state == FAILED] == []
    waiting = {fact.what for fact in facts if fact.state == UNKNOWN}
    assert waiting == {*(f"{c}/{s}" for c in ("grouped", "drawn") for s in ("train", "test")), "1.0.0/tiny.zip"}
    done = call(str(tiny.folder))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"{len(facts) - 5} ok, 5 unknown, 0 failed" == summary(facts)
    assert "unknown  grouped/train: not pinned: they are drawn by the rule" in done.output


def test_the_specimen_went_through_the_real_path(tiny: Tiny) -> None:
    texts = {fact.what: fact.text for fact in check_dataset(tiny.folder) if fact.state == OK}
    assert texts["specimen/test as built"] == (
        "4 rows, those of the manifest, every stored image hashed again; 4 sample hashes are the pinned ones"
    )
    assert "provenance specimen" in texts["specimen/test content"]
    assert texts["grouped/rule"] == "stratified-group-kfold: 7 train, 5 test of 12 rows of the specimen"
    assert texts["drawn/rule"] == "permutation: 20 train, 10 test of 30 stand-in rows"


def test_the_summary_counts_each_state() -> None:
    facts = [Checked("a", OK, ""), Checked("b", UNKNOWN, ""), Checked("c", FAILED, ""), Checked("d", FAILED, "")]
    assert summary(facts) == "1 ok, 1 unknown, 2 failed"


@pytest.mark.parametrize("name", dataset_names(ROOT / "registry"))
def test_every_dataset_that_came_with_lensbench_passes(name: str) -> None:
    facts = list(check_dataset(ROOT / "registry" / name))
    assert [f"{fact.what}: {fact.text}" for fact in facts if fact.state == FAILED] == []
    assert sum(fact.state == OK for fact in facts) > 20


# -- what does not hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "what", "words"),
    [
        ("dataset.toml", "schema = 1", "schema = 7", "dataset.toml", "schema 7 is not one this version reads"),
        (
            "dataset.toml",
            "images = {",
            'superseded_by = "2.0.0"\nimages = {',
            "dataset.toml",
            "'2.0.0' is not a version",
        ),
        ("dataset.toml", "images = {", 'superseded_by = "1.0.0"\nimages = {', "dataset.toml", "leads back to itself"),
        ("dataset.toml", "images = {", 'blocked = "a wrong archive"\nimages = {', "dataset.toml", "no version to use"),
        ("builder.py", "class Builder", "raise SystemExit\nclass Builder", "builder.py", "ends the process when it is"),
        ("builder.py", "        rows = []", "        raise SystemExit(0)", "specimen/source", "raised SystemExit: 0"),
        (
            "specimen.py",
            "    if size < 4:",
            "    raise SystemExit\n    if size < 4:",
            "specimen.py",
            "raised SystemExit",
        ),
        ("dataset.toml", "rows = 20", "rows = 21", "official/train", "20 rows, and dataset.toml says 21"),
        ("dataset.toml", 'provenance = "specimen"', 'provenance = "copy"', "specimen/train content", "is synthetic"),
        (
            "dataset.toml",
            'provenance = "official"',
            'provenance = "specimen"',
            "official/train content",
            "not synthetic",
        ),
        ("dataset.toml", "draws = 2", "draws = 1000000000", "drawn/rule", "draws is a whole number, 1…1000"),
        ("dataset.toml", "folds = 3", "folds = 1001", "grouped/rule", "folds is a whole number, 2…1000"),
        ("dataset.toml", "train = 20", "train = 10000000000", "drawn/rule", "train is a whole number, 1…1000000000"),
        ("dataset.toml", 'by = "group"', 'by = "id"', "grouped/rule", "has two values of id"),
        (
            "dataset.toml",
            'group = ["group"]',
            'group = ["id"]',
            "specimen/groups as built",
            "has rows of id = round_",
        ),
        ("dataset.toml", 'group = ["group"]', 'group = ["plate"]', "specimen/groups as built", "plate = g has rows of"),
        ("dataset.toml", 'group = ["group"]', 'group = ["well"]', "specimen/groups as built", "has no such column"),
        ("builder.py", '"group": group,', '"group": file,', "rules", "no two rows of the specimen share a group"),
        ("dataset.toml", "folds = 3", "folds = 9", "grouped/rule", "4 groups cannot fill 9 folds"),
        ("dataset.toml", "folds = 3", "fold = 3", "grouped/rule", "lacks 'folds'"),
        ("dataset.toml", "test = [0]", "test = [0], validation = [1]", "grouped/rule", "draws the splits"),
        ("dataset.toml", "train = 20", "train = 30", "drawn/rule", "leaves no row of 30 for test"),
        ("classes.csv", "square,Square", "square,Round", "classes.csv", "two classes are displayed as 'Round'"),
        ("classes.csv", "square,Square,1", "square,,1", "classes.csv", "a class without a display"),
        ("classes.csv", "square,Square,1", "square,Square,1,9", "dataset.toml", "more cells than there are columns"),
        ("README.md", "license: cc-by-4.0\n", "", "card/front matter", "'license' is missing"),
        (
            "README.md",
            "license: cc-by-4.0",
            "license: mit",
            "card/front matter",
            "license 'mit' is not the 'CC-BY-4.0'",
        ),
        ("README.md", "image-classification", "translation", "card/front matter", "are not those of the configs"),
        ("README.md", "pretty_name: Tiny cells", "pretty_name: [", "card", "front matter that the Hub could not read"),
        ("README.md", "## Known limits\nTiny.", "", "card/sections", "no section 'Known limits'"),
        ("README.md", "`mask`, ", "", "card/columns", "column `mask` is not in the section Columns"),
        ("README.md", "`grouped`, ", "", "card/splits", "config grouped is not in the section Splits"),
        ("README.md", "Nobody (2020)", "Somebody", "card/citation", "the citation of version 1.0.0 is not there"),
        ("builder.py", '"mask": "labelmap"', '"mask": "guess"', "builder.py", "part 'mask' with rule 'guess'"),
        ("builder.py", '"sha256": text}', "}", "builder.py", "no column 'sha256'"),
        (
            "builder.py",
            "class Builder",
            "import nowhere\nclass Builder",
            "builder.py",
            "cannot be loaded: No module named 'nowhere'",
        ),
        (
            "builder.py",
            "class Builder(ImageBuilder)",
            "class Builder",
            "builder.py",
            "expected one builder class, found 0",
        ),
        (
            "builder.py",
            "else labelmap_sha256",
            "else pixels_sha256",
            "specimen/train as built",
            "image or mask is not the pinned one",
        ),
        (
            "builder.py",
            '{"bytes": data,',
            '{"bytes": source.read(row["container"], row["member"]),',
            "specimen/train as built",
            "its stored images are not those its sha256 names",
        ),
        (
            "builder.py",
            '"group": group, "plate"',
            '"group": "x" + group, "plate"',
            "specimen/train",
            "group is 'xg0' in the source, 'g0' in",
        ),
        (
            "builder.py",
            "label, group, _ =",
            "group, label, _ =",
            "specimen/test",
            "label is 'g0' in the source, 'round' in the manifest",
        ),
        (
            "builder.py",
            '"plate": group[0]',
            '"plate": None',
            "specimen/train as built",
            "plate is None as built, 'g' in the manifest",
        ),
        ("specimen.py", "def make", "def made", "specimen.py", "defines no make()"),
        ("dataset.toml", "synthetic = true", "synthetic = false", "dataset.toml", "goes with the name 'specimen'"),
        ("dataset.toml", 'labels = "plain"\n', 'labels = "plain"\nsynthetic = true\n', "dataset.toml", "and only so"),
        ("dataset.toml", '_config = "official"', '_config = "specimen"', "dataset.toml", "the configs of real data"),
        (
            "dataset.toml",
            "[configs.official]",
            '[[configs.official.files]]\nname = "tiny.zip"\n\n[configs.official]',
            "dataset.toml",
            "files of its own are a specimen's",
        ),
    ],
)
def test_what_is_wrong_is_said_in_its_words(file: str, old: str, new: str, what: str, words: str, tiny: Tiny) -> None:
    tiny.replace(file, old, new)
    found = failures(tiny)
    assert any(line.startswith(f"{what}: ") and words in line for line in found), found


@pytest.mark.parametrize("kind", ["datasets.Image()", "[datasets.Image()]", 'datasets.Value("binary")'])
def test_an_image_that_no_digest_covers_is_refused_by_its_name(kind: str, tiny: Tiny) -> None:
    tiny.replace("builder.py", '"sha256": text}', f'"sha256": text, "thumb": {kind}}}')
    assert (
        "builder.py images: column 'thumb' holds images or bytes and is not in parts(): no digest would cover it"
        in (failures(tiny))
    )


def test_a_column_that_changes_at_each_build_is_refused_by_its_name(tiny: Tiny) -> None:
    tiny.replace("builder.py", '"sha256": text}', '"sha256": text, "stamp": text}')
    tiny.replace("builder.py", '"plate": group[0],', '"plate": group[0], "stamp": __import__("os").urandom(4).hex(),')
    tiny.replace("README.md", "`plate`,", "`plate`, `stamp`,")
    assert failures(tiny) == [
        "specimen read twice: column 'stamp' is not the same when the specimen is read again",
    ]


def test_all_failures_are_collected(tiny: Tiny) -> None:
    tiny.replace("README.md", "## Known limits\nTiny.", "")
    tiny.replace("classes.csv", "square,Square", "square,Round")
    tiny.replace("specimen.py", "def make", "def made")
    done = call(str(tiny.folder))
    assert done.exit_code == 2
    lines = [line for line in done.output.splitlines() if line.startswith("failed")]
    assert [line.split()[1] for line in lines] == ["classes.csv:", "card/sections:", "specimen.py:"]
    assert done.output.splitlines()[-1].endswith(", 3 failed")


def test_a_changed_manifest_is_named_and_the_pipeline_stops_at_it(tiny: Tiny) -> None:
    path = tiny.folder / "splits" / "official-test.parquet"
    manifest = read_manifest_file(path)
    write_manifest(replace(manifest, labels=("square", *manifest.labels[1:])), path)
    found = failures(tiny)
    assert any("official/test: " in line and f"is not the manifest that {NAME} pins" in line for line in found), found
    assert any("official-test.parquet.dvc is not of this manifest" in line for line in found), found
    with pytest.raises(DatasetError, match="is not the manifest that"):
        list(verify(get_dataset(NAME)))


def test_a_manifest_without_its_dvc_file_is_named(tiny: Tiny) -> None:
    (tiny.folder / "splits" / "official-test.parquet.dvc").unlink()
    assert any("official-test.parquet.dvc is missing beside its manifest" in line for line in failures(tiny))


def test_an_id_in_two_splits_is_named(tiny: Tiny) -> None:
    train = read_manifest_file(tiny.folder / "splits" / "official-train.parquet")

    def add(test: Manifest) -> Manifest:
        rows = list(zip(test.ids, test.labels, test.groups, strict=True))
        return Manifest.of("test", [*rows[1:], (train.ids[0], train.labels[0], train.groups[0])])

    repin(tiny, "test", add)
    assert f"official/test: id {train.ids[0]} is in train and in test" in failures(tiny)


def test_an_id_that_occurs_twice_is_named(tiny: Tiny) -> None:
    path = tiny.folder / "splits" / "official-test.parquet"
    table, old = pq.ParquetFile(path).read(), sha256_file(path)
    pq.write_table(pa.concat_tables([table.slice(0, 1), table]), path)
    tiny.replace("dataset.toml", old, sha256_file(path))
    key = table["id"][0].as_py()
    assert any("official/test: " in line and f"id {key!r} occurs twice" in line for line in failures(tiny))


def test_a_label_that_is_not_a_class_of_the_config_is_named(tiny: Tiny) -> None:
    repin(tiny, "test", lambda manifest: replace(manifest, labels=("oval", *manifest.labels[1:])))
    assert any("official/test: " in line and "label 'oval' is not in classes.csv" in line for line in failures(tiny))


def test_a_specimen_file_that_is_another_or_not_pinned_is_named(tiny: Tiny) -> None:
    path = tiny.folder / "specimen" / "tiny.zip"
    path.write_bytes(path.read_bytes() + b"x")
    (tiny.folder / "specimen" / "notes.txt").write_bytes(bytes(2_000_000))
    found = failures(tiny)
    assert any(line.startswith("specimen/tiny.zip: ") and "and dataset.toml pins" in line for line in found), found
    assert "specimen: specimen/notes.txt is pinned by no config" in found
    assert any("at most 2,000,000 go into git" in line for line in found), found
    assert any(line.startswith("specimen/source: ") for line in found), found  # the real path refuses it, too


def test_content_that_is_not_the_pinned_one_is_named(tiny: Tiny) -> None:
    entry = get_dataset(NAME).configs["specimen"].splits["test"].content["1.0.0"].sha256
    assert entry is not None
    tiny.replace("dataset.toml", entry, "0" * 64)
    assert any(f"specimen/test content: 4 rows, sha256 {entry}, pinned 000" in line for line in failures(tiny))


def test_a_cluster_that_is_not_known_of_every_row_makes_no_benchmark(tiny: Tiny) -> None:
    repin(tiny, "test", lambda m: replace(m, columns={**m.columns, "plate": (None, *m.columns["plate"][1:])}))
    (line,) = [line for line in failures(tiny) if line.startswith(f"benchmark {NAME}: ")]
    assert "cluster: 'plate' is unknown for 1 rows of test (round_" in line and '("hash200" serves any rows)' in line


def test_a_benchmark_that_is_not_valid_is_named_and_none_is_unknown(tiny: Tiny) -> None:
    path = tiny.root.parent / "benchmarks" / f"{NAME}.toml"
    path.write_text(path.read_text().replace('cluster = "plate"', 'cluster = "town"'))
    assert any(line.startswith(f"benchmark {NAME}: ") and "no column 'town'" in line for line in failures(tiny))
    path.unlink()
    facts = [fact for fact in check_dataset(tiny.folder) if fact.what == "benchmarks"]
    assert [fact.state for fact in facts] == [UNKNOWN]


# -- the ratchet -------------------------------------------------------------------------------------------------

ENTRY = """[[leaks]]
config = "official"
group = "g0"
splits = ["train", "test"]
reason = "drawn per image"
"""


def test_a_leak_that_is_not_on_the_list_names_group_and_splits(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, "")
    assert failures(tiny) == [
        "official/leaks: group g0 is in train and test, and is not on the list of known leaks ([[leaks]])"
    ]


def test_an_entry_that_no_longer_occurs_fails_too(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, ENTRY + ENTRY.replace("g0", "g1"))
    (line,) = failures(tiny)
    assert line.startswith(
        "official/leaks: the known leak of group g1 in ['train', 'test'] no longer occurs (it is in no two"
    )


def test_an_entry_of_other_splits_fails(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, ENTRY.replace('["train", "test"]', '["train", "validation"]'))
    (line,) = failures(tiny)
    assert (
        line == "official/leaks: group g0 is in train and test, and its entry in [[leaks]] says ['train', 'validation']"
    )


def test_a_group_that_nobody_can_list_is_accepted_only_while_groups_are_unknown(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, ENTRY.replace('"g0"', '"unknown"'))
    (line,) = failures(tiny)
    assert 'an entry with group = "unknown" is left, and all groups are pinned' in line
    repin(tiny, "test", lambda manifest: replace(manifest, groups=(None,) * len(manifest.ids)))
    facts = {fact.what: fact for fact in check_dataset(tiny.folder)}
    assert facts["official/leaks"].state == UNKNOWN
    assert "10 rows without a group (drawn per image)" in facts["official/leaks"].text


def test_one_group_is_listed_once(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, ENTRY + ENTRY)
    (line,) = failures(tiny)
    assert line.endswith("dataset.toml: the leak of group g0 in official is listed 2 times")


def test_a_leak_that_is_seen_must_be_listed_though_other_groups_are_unknown(tiny: Tiny) -> None:
    tiny.replace("dataset.toml", ENTRY, ENTRY.replace('"g0"', '"unknown"'))
    repin(tiny, "test", lambda manifest: replace(manifest, groups=(*manifest.groups[:-1], None)))
    assert failures(tiny) == [
        "official/leaks: group g0 is in train and test, and is not on the list of known leaks ([[leaks]])"
    ]
    tiny.replace("dataset.toml", '[[leaks]]\nconfig = "official"', ENTRY + '[[leaks]]\nconfig = "official"')
    facts = {fact.what: fact for fact in check_dataset(tiny.folder)}
    assert facts["official/leaks"].state == UNKNOWN
    assert "1 rows without a group; 1 groups seen in two splits" in facts["official/leaks"].text


def test_a_published_draw_of_too_many_rows_is_tried_on_none(tiny: Tiny) -> None:
    old = 'samples = 30\nrule = { kind = "permutation"'
    tiny.replace("dataset.toml", old, old.replace("30", "10_000_000"))
    facts = {fact.what: fact for fact in check_dataset(tiny.folder)}
    assert facts["drawn/rule"].state == UNKNOWN and "more than 1,000,000" in facts["drawn/rule"].text


# -- the command -------------------------------------------------------------------------------------------------


def test_a_dataset_is_named_or_its_folder_is(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = call(NAME)
    assert named.exit_code == 0, named.output
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(ROOT / "registry"))
    assert call(str(tiny.folder)).output == named.output
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(ROOT / "registry"))
    assert call("--registry", str(tiny.root), NAME).output == named.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["tiny_cell"], "did you mean 'tiny_cells'"),
        (["EMPTY"], "holds no dataset.toml"),
        ([NAME, "--source", "x"], "add --deep"),
    ],
)
def test_what_cannot_be_checked_is_one_line(args: list[str], words: str, tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = call(*(str(tmp_path / "empty") if arg == "EMPTY" else arg for arg in args))
    assert done.exit_code != 0
    assert words in f"{done.exception} {done.output}"


def test_a_cache_folder_that_cannot_be_written_is_no_failure_of_the_dataset(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "file" / "home"))
    done = call(NAME)
    assert done.output == "" and isinstance(done.exception, DatasetError)
    assert "file/home cannot be written (Not a directory): set LENSBENCH_HOME" in str(done.exception)


def process(folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as a process: an exit code is what a shell sees of it."""
    line = [sys.executable, "-m", "lensbench", "verify", str(folder)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("file", "end", "failures", "words"),
    [
        ("builder.py", "raise SystemExit(0)", 6, "builder.py: {}: ends the process when it is loaded (SystemExit)"),
        ("builder.py", "import os; os._exit(0)", 1, "ended with exit code 0 before all was checked"),
        ("builder.py", "import os; os.kill(os.getpid(), 9)", 1, "ended by signal 9 before all was checked"),
        ("specimen.py", "raise KeyboardInterrupt", 1, "ended with exit code 130 before all was checked"),
        ("specimen.py", "raise type('Odd', (BaseException,), {})", 1, "specimen.py: raised Odd: without a word"),
    ],
)
def test_code_that_ends_the_process_is_a_failure_before_the_summary(
    file: str, end: str, failures: int, words: str, tiny: Tiny
) -> None:
    path = tiny.folder / file
    path.write_text(f"{end}\n{path.read_text()}")
    done = process(tiny.folder)
    assert done.returncode == 2, done
    *facts, count = done.stdout.splitlines()
    lines = [line for line in facts if line.startswith("failed")]
    assert any(words.format(path) in line for line in lines), lines
    assert len(lines) == failures and count.endswith(f", {failures} failed")


def test_what_the_code_prints_is_no_fact(tiny: Tiny) -> None:
    path = tiny.folder / "builder.py"
    path.write_text(f"print('ok       all: of it')\n{path.read_text()}")
    done = process(tiny.folder)
    assert done.returncode == 0 and "all: of it" in done.stderr and "all: of it" not in done.stdout


def test_no_command_ends_well_because_the_code_of_a_folder_says_so(tiny: Tiny, tmp_path: Path) -> None:
    tiny.replace("specimen.py", "    if size < 4:", "    raise SystemExit(0)\n    if size < 4:")
    line = [sys.executable, "-m", "lensbench", "specimen", NAME, "--size", "9", "--to", str(tmp_path / "made")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and "ended the program before its work was done" in done.stderr


# -- pinning -----------------------------------------------------------------------------------------------------


def pinned_again(tiny: Tiny, *options: str) -> dict[str, dict[str, str]]:
    """Split → what `scripts/pin.py` prints of it."""
    said = io.StringIO()
    with redirect_stdout(said):
        pin.main([NAME, "--registry", str(tiny.root), *options])
    (config,) = tomllib.loads(said.getvalue())["configs"].values()
    splits: dict[str, dict[str, str]] = config["splits"]
    return splits


def test_manifests_hold_group_cluster_and_sample_hash(tiny: Tiny) -> None:
    manifest = read_manifest_file(tiny.folder / "splits" / "official-test.parquet")
    assert None not in manifest.groups
    assert set(manifest.columns) == {"plate", "sha256"}
    assert set(manifest.columns["plate"]) == {"g"}
    assert all(len(str(digest)) == 64 for digest in manifest.columns["sha256"])


def test_pinning_again_changes_no_lock_and_what_is_wrong_is_pinned_anew(tiny: Tiny) -> None:
    path = tiny.folder / "splits" / "specimen-test.parquet"
    lock, whole = sha256_file(path), read_manifest_file(path)
    assert pinned_again(tiny)["test"]["sha256"] == lock == sha256_file(path)
    write_manifest(replace(whole, groups=(None,) * len(whole.ids), columns={}), path)
    knows_less = sha256_file(path)
    assert pinned_again(tiny)["test"]["sha256"] == knows_less != lock
    assert pinned_again(tiny, "--anew")["test"]["sha256"] == lock
    write_manifest(replace(whole, labels=(*whole.labels[1:], whole.labels[0])), path)
    assert pinned_again(tiny)["test"]["sha256"] == lock


@pytest.mark.parametrize("name", ["lifewatch_flowcam", "aitslab_bioimaging1"])
def test_the_kept_specimens_are_pinned_as_they_stand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "registry" / name, tmp_path / "registry" / name)
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "registry"))
    pin.main([name])
    found = tomllib.loads(capsys.readouterr().out)["configs"]["specimen"]
    stated = tomllib.loads((ROOT / "registry" / name / "dataset.toml").read_text())["configs"]["specimen"]
    assert found["files"] == stated["files"]
    for split, table in stated["splits"].items():
        assert {key: found["splits"][split][key] for key in table} == table


def test_a_rule_is_drawn_and_pinned_from_a_complete_source(tiny: Tiny) -> None:
    splits = pinned_again(tiny, "--config", "grouped", "--source", str(tiny.source), "--provenance", "copy")
    manifests = [read_manifest_file(tiny.folder / "splits" / f"grouped-{split}.parquet") for split in splits]
    assert sum(len(manifest.ids) for manifest in manifests) == 30
    assert not set(manifests[0].groups) & set(manifests[1].groups)
