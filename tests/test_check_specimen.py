"""A specimen is what its own script makes by default, and nothing of the publisher's."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from lensbench.digest import sha256_file
from lensbench.splits import Manifest, read_manifest_file
from lensbench.verify import FAILED, OK, check_dataset
from tests.test_check_dataset import repin
from tests.tiny_registry import SPLITS, UNPINNED, Tiny, pin_config, write

MAKE = "specimen.py: make() does not make the specimen that is kept (specimen: "


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(whole: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    shutil.copytree(whole.root.parent, tmp_path / "copy")
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(tmp_path / "copy" / "registry"))
    return Tiny(tmp_path / "copy" / "registry", tmp_path / "copy" / "source")


def facts(tiny: Tiny, state: str) -> list[str]:
    return [f"{fact.what}: {fact.text}" for fact in check_dataset(tiny.folder) if fact.state == state]


def pin_specimen_anew(tiny: Tiny) -> None:
    """Pin what lies in specimen/, as its author would."""
    toml = tiny.folder / "dataset.toml"
    unpinned = "".join(UNPINNED.format(config="specimen", split=split) for split in SPLITS)
    head = toml.read_text().partition("[[configs.specimen.files]]")[0]
    toml.write_text(head + unpinned)
    toml.write_text(head + pin_config(tiny, "specimen"))


# -- it is not the publisher's ---------------------------------------------------------------------------------


def test_the_publishers_own_archive_is_no_specimen(tiny: Tiny) -> None:
    shutil.copy(tiny.source / "tiny.zip", tiny.folder / "specimen" / "tiny.zip")
    with patch("lensbench.data.plan._refuse_published"):  # whoever writes pins by hand is not asked
        pin_specimen_anew(tiny)
    found = facts(tiny, FAILED)
    assert len(found) == 2, found
    assert found[0].startswith("specimen/samples: ") and "(30 such samples): a specimen is synthetic" in found[0]
    assert found[1].startswith(MAKE)


def test_nor_is_it_where_the_archive_is_pinned_by_its_version(tiny: Tiny) -> None:
    pin = sha256_file(tiny.folder / "specimen" / "tiny.zip")
    tiny.replace("dataset.toml", 'md5 = "unknown"\nsha256 = "unknown"', f'md5 = "unknown"\nsha256 = "{pin}"')
    assert "specimen/samples: tiny.zip of specimen is the archive that version 1.0.0 pins" in facts(tiny, FAILED)


def take_an_id(tiny: Tiny, hashed: bool) -> str:
    """Give a row of the published test split the id of one of the specimen's."""
    key = read_manifest_file(tiny.folder / "splits" / "specimen-test.parquet").ids[0]

    def change(test: Manifest) -> Manifest:
        columns = test.columns if hashed else {}
        return Manifest.of("test", zip((key, *test.ids[1:]), test.labels, test.groups, strict=True), columns)

    repin(tiny, "test", change)
    return key


def test_an_id_of_a_published_sample_is_named_where_nothing_tells_them_apart(tiny: Tiny) -> None:
    key = take_an_id(tiny, hashed=False)
    (line,) = [line for line in facts(tiny, FAILED) if line.startswith("specimen/samples: ")]
    assert f"id {key} of specimen/test is one of official/test as well (1 such ids)" in line


def test_ids_that_count_from_0_may_coincide_where_samples_differ(tiny: Tiny) -> None:
    take_an_id(tiny, hashed=True)
    assert any(line.startswith("specimen/samples: 12 ids") for line in facts(tiny, OK))


# -- its script makes it ---------------------------------------------------------------------------------------


def test_the_kept_specimen_is_made_again(tiny: Tiny) -> None:
    assert "specimen.py: makes the kept specimen again, equal files; another seed, another" in facts(tiny, OK)


def test_other_bytes_of_the_same_samples_are_accepted(tiny: Tiny) -> None:
    tiny.replace("specimen.py", 'ZipInfo(f"{split}/{name}")', 'ZipInfo(f"{split}/{name}", (1990, 1, 1, 0, 0, 0))')
    assert "specimen.py: makes the kept specimen again, equal samples; another seed, another" in facts(tiny, OK)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("key.encode()", "__import__('os').urandom(9)", f"{MAKE}round_g0_0x000 is made otherwise): pin what it makes"),
        ("np.uint8(100)", "np.uint8(99)", f"{MAKE}round_g0_0x000 is made otherwise)"),
        ("size=12", "size=13", f"{MAKE}round_g1_0x012 is not kept)"),
        ("seed=0", "seed=7", f"{MAKE}round_g0_0x000 is not made)"),
        ("n % 3 == 0", "n % 3 == 1", f"{MAKE}round_g0_0x000 is made otherwise)"),
        ("size=12, seed=0", "size, seed", "make() has no default size"),
        ("    if size < 4:", "    size, seed = 12, 0\n    if size < 4:", "and seed 3 makes the kept specimen again"),
    ],
)
def test_what_make_does_otherwise_is_named(old: str, new: str, words: str, tiny: Tiny) -> None:
    tiny.replace("specimen.py", old, new)
    found = facts(tiny, FAILED)
    assert len(found) == 1 and words in found[0], found
