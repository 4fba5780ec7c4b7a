"""`bench verify --deep`: through the data itself, clean, and naming the row after anything in it was changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from lensbench.cli import bench
from lensbench.digest import sha256_file
from lensbench.registry import get_dataset
from lensbench.verify import FAILED, OK, UNKNOWN, Checked, check_source
from tests.conftest import ROOT
from tests.tiny_registry import NAME, Tiny, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A stranger's folder, and its data unpacked."""
    tiny = write(tmp_path_factory.mktemp("tiny"))
    with zipfile.ZipFile(tiny.source / "tiny.zip") as archive:
        archive.extractall(tiny.source.parent / "unpacked")
    return tiny


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "source")


@pytest.fixture
def unpacked(tiny: Tiny) -> Path:
    return tiny.source.parent / "unpacked"


def deep(source: Path, partial: bool = False) -> list[Checked]:
    return list(check_source(get_dataset(NAME), source=source, partial=partial))


def failures(source: Path) -> list[str]:
    return [f"{fact.what}: {fact.text}" for fact in deep(source) if fact.state == FAILED]


def states(facts: list[Checked]) -> dict[str, str]:
    return {fact.what: fact.state for fact in facts}


def rows(folder: Path, split: str = "test") -> list[Path]:
    return [path for path in sorted((folder / f"{split}_set").glob("*.png")) if not path.stem.endswith("_mask")]


def change_a_pixel(path: Path, compression: int = 9) -> None:
    """Another value for one pixel; the times of the file stay as they were."""
    before, pixels = path.stat(), read(path)
    pixels[0, 0] += 1
    write_png(path, pixels, compression)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def read(path: Path) -> NDArray[Any]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def write_png(path: Path, pixels: NDArray[Any], compression: int) -> None:
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, compression])


# -- clean -------------------------------------------------------------------------------------------------------


def test_archives_are_clean_and_an_unpinned_digest_is_unknown(tiny: Tiny) -> None:
    facts = deep(tiny.source)
    found = states(facts)
    assert FAILED not in found.values(), facts
    assert found["official/source tiny.zip"] == UNKNOWN
    assert {what for what, state in found.items() if state == OK} == {
        *("official/columns as built", "official/train as built", "official/train content"),
        *("official/test as built", "official/test content", "official/leaks as built"),
        "official/groups as built",
    }


def test_a_pinned_archive_is_ok_and_another_is_refused(tiny: Tiny) -> None:
    toml = tiny.folder / "dataset.toml"
    pin = sha256_file(tiny.source / "tiny.zip")
    toml.write_text(toml.read_text().replace('sha256 = "unknown"', f'sha256 = "{pin}"', 1))
    assert states(deep(tiny.source))["official/source tiny.zip"] == OK
    toml.write_text(toml.read_text().replace(pin, "1" * 64))
    (line,) = failures(tiny.source)
    assert line.startswith("official/source: ") and f"sha256 {pin}, but record 1 has 111" in line


def test_an_unpacked_copy_is_clean_but_for_what_cannot_be_checked(tiny: Tiny, unpacked: Path) -> None:
    facts = deep(unpacked)
    assert [fact for fact in facts if fact.state == FAILED] == []
    (line,) = [fact for fact in facts if fact.state == UNKNOWN]
    assert line.what == "official/source" and line.text.startswith("not checkable (unpacked)")


def test_nothing_is_left_of_it(tiny: Tiny, unpacked: Path) -> None:
    deep(unpacked)
    home = Path(os.environ["LENSBENCH_HOME"])
    assert [path.name for path in home.iterdir() if path.name.startswith("verify-")] == []
    assert not (home / "datasets").exists()


# -- dirty, row by row -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["", "_mask"])
def test_a_changed_pixel_names_its_row_and_no_other(part: str, tiny: Tiny, unpacked: Path) -> None:
    row = rows(unpacked)[3]
    change_a_pixel(row.with_name(f"{row.stem}{part}.png"))
    first, second = failures(unpacked)
    assert first.startswith(f"official/test as built: {row.stem}: image or mask is not the pinned one (sample sha256 ")
    assert second.startswith("official/test content: 10 rows, sha256 ") and second.endswith("the rows above say where")


def test_an_edit_that_keeps_size_and_time_is_seen(tiny: Tiny, unpacked: Path) -> None:
    path = rows(unpacked)[0]
    write_png(path, read(path), 0)
    before = path.stat()
    assert failures(unpacked) == []
    change_a_pixel(path, 0)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert any(path.stem in line for line in failures(unpacked))


def test_other_ids_of_the_same_objects_and_another_compression_change_nothing(tiny: Tiny, unpacked: Path) -> None:
    for row in rows(unpacked):
        mask = row.with_name(f"{row.stem}_mask.png")
        pixels = read(mask)
        write_png(mask, np.where(pixels == 7, 65000, pixels).astype(np.uint16), 0)
    assert failures(unpacked) == []


def test_a_wrong_rule_of_the_builder_is_not_said_row_by_row(tiny: Tiny, unpacked: Path) -> None:
    tiny.replace("builder.py", "else labelmap_sha256", "else pixels_sha256")
    found = [line for line in failures(unpacked) if line.startswith("official/train as built: ")]
    for lines in (found[:4], found[4:]):
        assert len(lines) == 4 and lines[3] == "official/train as built: and 17 rows more: all that there are"
    assert "its stored images are not those its sha256 names" in found[0] and "not the pinned one" in found[4]


def test_a_missing_row_is_named_and_with_partial_it_is_unknown(tiny: Tiny, unpacked: Path) -> None:
    row = rows(unpacked)[2]
    row.unlink()
    found = failures(unpacked)
    assert found == [f"official/test: {row.stem}: missing, no file in the source"]
    facts = deep(unpacked, partial=True)
    assert [fact for fact in facts if fact.state == FAILED] == []
    assert f"1 rows are not in the source ({row.stem}, for one)" in {f.what: f.text for f in facts}["official/test"]
    content = {fact.what: fact for fact in facts}["official/test content"]
    assert content.state == UNKNOWN and "not comparable, because rows are missing" in content.text


def test_an_extra_row_and_one_in_the_wrong_folder_are_named(tiny: Tiny, unpacked: Path) -> None:
    test, train = rows(unpacked), rows(unpacked, "train")
    extra = f"{test[0].stem}9"
    for part in ("", "_mask"):
        shutil.copy(test[0].with_name(f"{test[0].stem}{part}.png"), test[0].with_name(f"{extra}{part}.png"))
    moved = train[0].stem
    for part in ("", "_mask"):
        train[0].with_name(f"{moved}{part}.png").rename(unpacked / "test_set" / f"{moved}{part}.png")
    found = failures(unpacked)
    assert f"official/test: {extra}: extra, the publisher's test has it and the manifest has not" in found
    assert f"official/test: {moved}: extra, the publisher's test has it and the manifest has not" in found
    assert f"official/train: {moved}: split is 'test' in the source, 'train' in the manifest" in found
    assert any(line.startswith("official/build: ") for line in found)


def test_a_source_that_cannot_be_read_is_a_failure_and_no_crash(tiny: Tiny, unpacked: Path, tmp_path: Path) -> None:
    row = rows(unpacked)[1]
    row.write_bytes(b"no image")
    (line,) = failures(unpacked)
    assert line.startswith("official/build: ") and row.name in line
    row.rename(row.with_name("nonsense.png"))
    assert any(line.startswith("official/source: raised ValueError") for line in failures(unpacked))
    (line,) = failures(tmp_path / "nowhere")
    assert line.startswith("official/source: ") and "no such file or folder" in line


def test_a_wrong_count_of_samples_is_named(tiny: Tiny, unpacked: Path) -> None:
    tiny.replace("dataset.toml", "[configs.official]", "[configs.official]\nsamples = 31")
    assert "official/source: 30 samples, and dataset.toml says that the whole source has 31" in failures(unpacked)


def test_the_command_ends_with_2_and_names_the_row(tiny: Tiny, unpacked: Path) -> None:
    def call() -> Result:
        return CliRunner().invoke(bench, ["verify", NAME, "--deep", "--source", str(unpacked)])

    assert call().exit_code == 0
    row = rows(unpacked)[0]
    change_a_pixel(row)
    done = call()
    assert done.exit_code == 2
    assert f"failed   official/test as built: {row.stem}: image or mask" in done.output
    assert done.output.splitlines()[-1].endswith("2 failed")


# -- the real thing ----------------------------------------------------------------------------------------------


@pytest.mark.needs("realdata")
def test_aitslab_is_clean_says_copy_and_names_a_changed_annotation(tmp_path: Path, realdata: Path) -> None:
    dataset = get_dataset("aitslab_bioimaging1", ROOT / "registry")
    facts = list(check_source(dataset, source=realdata / "aitslab_bioimaging1"))
    found = states(facts)
    assert FAILED not in found.values(), facts
    assert found["official/source"] == UNKNOWN
    contents = [fact.text for fact in facts if fact.what.endswith("content")]
    assert len(contents) == 3
    assert all("provenance copy: pinned from a re-encoded copy" in text for text in contents)
    shutil.copytree(realdata / "aitslab_bioimaging1" / "test_nuclei", tmp_path / "test_nuclei")
    path = sorted((tmp_path / "test_nuclei" / "annotations").glob("*.png"))[4]
    change_a_pixel(path)
    key = path.stem.removesuffix("_objects")
    failed = [fact for fact in check_source(dataset, source=tmp_path, partial=True) if fact.state == FAILED]
    assert [fact.what for fact in failed] == ["official/test as built", "official/test content"]
    assert failed[0].text.startswith(f"{key}: image or mask is not the pinned one")


def test_the_command_itself_ends_with_two_when_a_check_failed(tmp_path: Path) -> None:
    """As a process: click's runner does not see what `main` makes of an exit code."""
    folder = tmp_path / "registry" / "raw_microscopy"
    shutil.copytree(ROOT / "registry" / "raw_microscopy", folder)
    line = [sys.executable, "-m", "lensbench", "verify", str(folder)]
    whole = subprocess.run(line, capture_output=True, text=True, check=False)
    assert whole.returncode == 0 and whole.stdout.splitlines()[-1].endswith(" 0 failed")
    (folder / "README.md").unlink()
    broken = subprocess.run(line, capture_output=True, text=True, check=False)
    assert broken.returncode == 2 and broken.stdout.splitlines()[-1].endswith(" 1 failed")
