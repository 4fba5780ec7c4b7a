"""What one meets who adds a dataset of one's own: rules beside a publisher's split, first pins, mistakes, messages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lensbench.data.store import prepare
from lensbench.errors import DatasetError
from lensbench.registry import get_dataset
from lensbench.verify import FAILED, OK, check_dataset, check_source
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
    said = pin_config(tiny, "grouped", "--source", str(tiny.source))
    tiny.replace("dataset.toml", unpinned("grouped"), said)
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
