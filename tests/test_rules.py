"""Split rules: the published draws again, and group-safe splits that depend on nothing but ids, groups and labels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensbench.digest import sha256_of
from lensbench.registry import Rule
from lensbench.rules import assign

MICRO = {"BAS": 18, "EOS": 54, "KSC": 163, "LYA": 30, "LYT": 230, "MON": 191, "NGB": 8, "NGS": 216, "UNC": 30}
FOLDS = {"by": "group", "folds": 5, "seed": 1, "test": [0], "validation": [1]}


def table(labels: list[str | None], groups: list[str | None] | None = None) -> pa.Table:
    ids = [f"{row:05d}" for row in range(len(labels))]
    column = pa.array(groups or [None] * len(labels), pa.string())
    return pa.table({"id": ids, "label": pa.array(labels, pa.string()), "group": column})


def grouped(**options: Any) -> Rule:
    return Rule("stratified-group-kfold", FOLDS | options)


def wells(n: int = 400) -> pa.Table:
    """Rows of 29 groups of uneven size, and of labels that follow the group in part; a further column, `site`."""
    numbers = [row * row % 97 % 30 for row in range(n)]
    labels: list[str | None] = [str((row + number) // 4 % 3) for row, number in enumerate(numbers)]
    rows = table(labels, [f"g{number:02d}" for number in numbers])
    return rows.append_column("site", pa.array([f"s{row % 7}" for row in range(n)]))


def names(rows: pa.Table, splits: dict[str, list[int]], column: str = "id") -> dict[str, list[Any]]:
    values = rows[column].to_pylist()
    return {split: sorted({values[row] for row in numbers}) for split, numbers in splits.items()}


@pytest.mark.parametrize("order", [None, 1, 2])
def test_the_published_draws_of_raw_microscopy(order: int | None) -> None:
    """752/188 rows, 2 NGB and 4 BAS in every test part, 633 of 940 ever tested: whatever the order of the rows.

    A draw picks places within each class, so the counts do not depend on the order; which ids they are, does.
    """
    labels: list[str | None] = [label for label, n in MICRO.items() for _ in range(n)]
    if order is not None:
        np.random.default_rng(order).shuffle(labels)
    tested: set[int] = set()
    for draw in range(1, 6):
        options = {"seed": 1, "draws": 5, "draw": draw, "train": 0.8}
        splits = assign(Rule("stratified-shuffle", options), table(labels))
        assert {name: len(rows) for name, rows in splits.items()} == {"train": 752, "test": 188}
        assert sorted(splits["train"] + splits["test"]) == list(range(940))
        count = Counter(labels[row] for row in splits["test"])
        assert (count["NGB"], count["BAS"]) == (2, 4)
        tested.update(splits["test"])
    assert len(tested) == 633


def test_the_published_draws_of_raw_drone() -> None:
    """The five digests of the permutations (facts on Raw-Drone), of which the first 438 are train."""
    digests = ["f6944a8c79296740", "d747f77f8efc95bc", "62be72e014e47dad", "0671265f97d646bd", "00449f47d0b8bd26"]
    generator = np.random.RandomState(1)
    for draw, digest in enumerate(digests, 1):
        order = generator.permutation(548).astype("<i8")
        assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == digest
        splits = assign(Rule("permutation", {"seed": 1, "draws": 5, "draw": draw, "train": 438}), table([None] * 548))
        assert splits == {"train": sorted(order[:438].tolist()), "test": sorted(order[438:].tolist())}
        if draw == 1:
            assert order[:7].tolist() == [483, 542, 519, 111, 530, 47, order[6]]
            assert {483, 542, 519, 111, 530, 47} <= set(splits["train"])


def test_no_draw_touches_the_global_generator() -> None:
    np.random.seed(5)
    expected = np.random.RandomState(5).random_sample(3)
    assign(Rule("permutation", {"seed": 1, "draws": 2, "draw": 2, "train": 3}), table([None] * 9))
    assign(grouped(), wells())
    assert np.array_equal(np.random.random_sample(3), expected)


def test_the_group_rule_is_what_it_was() -> None:
    """A golden result: a scikit-learn or numpy that deals otherwise is noticed here, not in a manifest."""
    rows = wells()
    splits = assign(grouped(), rows)
    assert {name: len(numbers) for name, numbers in splits.items()} == {"train": 252, "test": 75, "validation": 73}
    owners = names(rows, splits, "group")
    assert owners["test"] == ["g01", "g04", "g20", "g28"]
    assert owners["validation"] == ["g11", "g12", "g13", "g15", "g23", "g25"]
    assert sha256_of(splits)[:16] == "a0b1ad77e0b21c0a"
    alone = names(rows, assign(grouped(per="group"), rows), "group")
    assert alone["test"] == ["g00", "g04", "g09", "g14", "g15", "g20"]
    assert alone["validation"] == ["g08", "g11", "g12", "g16", "g19", "g25"]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["a", "b", None])), min_size=40, max_size=80),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["sample", "group"]),
    st.randoms(use_true_random=False),
)
def test_groups_stay_whole_whatever_the_order(
    rows: list[tuple[int, str | None]], seed: int, per: str, random: Any
) -> None:
    labels = [label for _, label in rows]
    groups = [None if group == 11 else f"g{row % 6}{group}" for row, (group, _) in enumerate(rows)]
    given_rows = table(labels, groups)
    splits = assign(grouped(seed=seed, per=per), given_rows)
    assert list(splits) == ["train", "test", "validation"]
    assert all(numbers == sorted(numbers) and numbers for numbers in splits.values())
    everyone = sorted(row for numbers in splits.values() for row in numbers)
    assert everyone == [row for row, group in enumerate(groups) if group is not None]
    owners = [group for part in names(given_rows, splits, "group").values() for group in part]
    assert len(owners) == len(set(owners))
    order = random.sample(range(len(rows)), len(rows))
    shuffled = given_rows.take(order)
    assert names(shuffled, assign(grouped(seed=seed, per=per), shuffled)) == names(given_rows, splits)


def test_configs_over_the_same_groups_get_the_same_split() -> None:
    """`per = "group"` sees the groups alone: fewer rows, other labels and other ids change nothing."""
    rows = wells()
    other = table([None] * 29, sorted(set(rows["group"].to_pylist())))
    rule = grouped(per="group", test=[3], validation=[0])
    assert names(rows, assign(rule, rows), "group") == names(other, assign(rule, other), "group")


def test_folds_are_given_to_splits_by_number() -> None:
    rows = wells()
    parts = [assign(grouped(test=[fold], validation=[]), rows) for fold in range(5)]
    assert all(list(part) == ["train", "test"] for part in parts)
    assert sorted(row for part in parts for row in part["test"]) == list(range(400))
    both = assign(grouped(test=[0, 2], validation=[4]), rows)
    assert both["test"] == sorted(parts[0]["test"] + parts[2]["test"])
    assert both["validation"] == parts[4]["test"]
    assert assign(grouped(by="site"), rows) != assign(grouped(), rows)
    assert {name: len(part) for name, part in names(rows, assign(grouped(by="site"), rows), "site").items()} in (
        {"train": 5, "test": 1, "validation": 1},
        {"train": 4, "test": 2, "validation": 1},
        {"train": 4, "test": 1, "validation": 2},
        {"train": 3, "test": 2, "validation": 2},
    )


def test_a_fold_holds_its_share_of_every_label() -> None:
    rows = wells(3_000)
    labels = rows["label"].to_pylist()
    test = Counter(labels[row] for row in assign(grouped(), rows)["test"])
    for label, n in Counter(labels).items():
        assert 0.1 < test[label] / n < 0.3


SHUFFLE = {"seed": 1, "draws": 5, "draw": 1, "train": 0.8}
PERMUTATION = {"seed": 1, "draws": 5, "draw": 1, "train": 6}


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("kfold", {}, "a split rule is one of stratified-group-kfold, stratified-shuffle, permutation, not 'kfold'"),
        ("permutation", {"seed": 1}, "permutation lacks 'draw'; its options: draw, draws, seed, train"),
        ("permutation", PERMUTATION | {"by": "x"}, "permutation knows no 'by'; its options: draw"),
        ("permutation", PERMUTATION | {"seed": -1}, "seed is a whole number, 0…4294967295, not -1"),
        ("permutation", PERMUTATION | {"seed": True}, "seed is a whole number, 0…4294967295, not True"),
        ("permutation", PERMUTATION | {"draw": 0}, "draw is a whole number, 1…5, not 0"),
        ("permutation", PERMUTATION | {"draw": 6}, "draw is a whole number, 1…5, not 6"),
        ("permutation", PERMUTATION | {"train": 0.5}, "train is a whole number, 1…1000000000, not 0.5"),
        ("permutation", PERMUTATION | {"train": 400}, "leaves no row of 400 for test"),
        ("stratified-shuffle", SHUFFLE | {"train": 1.0}, "train is a fraction between 0 and 1, not 1.0"),
        ("stratified-shuffle", SHUFFLE | {"train": 4}, "train is a fraction between 0 and 1, not 4"),
        ("stratified-shuffle", SHUFFLE | {"draws": 0}, "draws is a whole number, 1…1000, not 0"),
        ("stratified-group-kfold", FOLDS | {"by": "plate"}, "no column 'plate'; they have id, label, group, site"),
        ("stratified-group-kfold", FOLDS | {"per": "row"}, "per is 'sample' or 'group', not 'row'"),
        ("stratified-group-kfold", FOLDS | {"folds": 1}, "folds is a whole number, 2…1000, not 1"),
        ("stratified-group-kfold", FOLDS | {"folds": 31}, "29 groups cannot fill 31 folds"),
        ("stratified-group-kfold", FOLDS | {"test": [5]}, r"test is a list of folds between 0 and 4, not \[5\]"),
        ("stratified-group-kfold", FOLDS | {"test": 0}, "test is a list of folds between 0 and 4, not 0"),
        ("stratified-group-kfold", FOLDS | {"test": [2, 2]}, r"test names a fold twice: \[2, 2\]"),
        ("stratified-group-kfold", FOLDS | {"test": [1]}, "at least one for test, one for train"),
        ("stratified-group-kfold", FOLDS | {"test": []}, "at least one for test, one for train"),
        ("stratified-group-kfold", FOLDS | {"test": [0, 2, 3, 4]}, "at least one for test, one for train"),
    ],
)
def test_a_wrong_rule_is_one_line(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        assign(Rule(kind, options), wells())
    assert "\n" not in str(caught.value)


def test_rows_that_a_rule_cannot_draw_from() -> None:
    with pytest.raises(ValueError, match="row 2 has no label"):
        assign(Rule("stratified-shuffle", SHUFFLE), table(["a", "b", None]))
    with pytest.raises(ValueError, match=r"no label has as many rows as there are folds \(5\)"):
        assign(grouped(), table(list("abcdef"), list("uvwxyz")))
    with pytest.raises(ValueError, match="0 groups cannot fill 5 folds"):
        assign(grouped(), table(["a"] * 9))


def test_scikit_learn_is_imported_to_draw_only() -> None:
    code = "import sys, lensbench.rules; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
