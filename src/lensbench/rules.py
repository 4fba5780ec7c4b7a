"""Rules that draw a config's splits once, at its first complete build; the ids are pinned from then on.

| kind | options | what it is |
|---|---|---|
| `stratified-group-kfold` | by, folds, seed, test, validation (none), per (`sample`) | ours: no group in two splits |
| `stratified-shuffle` | seed, draws, draw, train (a fraction) | published draws of Raw-Microscopy |
| `permutation` | seed, draws, draw, train (a number) | published draws of Raw-Drone |

`draw` counts from 1. scikit-learn is imported only to draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from lensbench.registry import Rule

Splits = dict[str, list[int]]

SAMPLE, GROUP = "sample", "group"
MOST = 1000
"""Folds, and draws: a rule comes from a stranger's file, and each costs a pass over all rows."""


def assign(rule: Rule, rows: pa.Table) -> Splits:
    """Split name → numbers of its rows, ascending, as `rule` draws them from `rows`.

    `rows` has the columns `id` (string, unique) and `label` (string or null), and the one that the rule names
    with `by`; the published draws depend on its order, the group rule does not. Raises ValueError, in one line,
    for a rule that is unknown, has a wrong option or cannot be drawn from these rows.
    """
    if rule.kind not in KINDS:
        raise ValueError(f"a split rule is one of {', '.join(KINDS)}, not {rule.kind!r}")
    draw, required, optional = KINDS[rule.kind]
    missing, unknown = sorted(required - set(rule.options)), sorted(set(rule.options) - required - set(optional))
    if missing or unknown:
        wrong = f"lacks {missing[0]!r}" if missing else f"knows no {unknown[0]!r}"
        raise ValueError(
            f"the split rule {rule.kind} {wrong}; its options: {', '.join(sorted(required | set(optional)))}"
        )
    splits = {name: sorted(numbers) for name, numbers in draw({**optional, **rule.options}, rows).items()}
    if empty := [name for name, numbers in splits.items() if not numbers]:
        raise ValueError(f"the split rule {rule.kind} leaves no row of {rows.num_rows} for {empty[0]}")
    return splits


def _stratified_group_kfold(options: Mapping[str, Any], rows: pa.Table) -> Splits:
    """Whole groups dealt into folds that are alike in size and labels; folds are then given to splits by number.

    Relies on scikit-learn's `StratifiedGroupKFold(folds, shuffle=True, random_state=seed)`: groups sorted by
    name are shuffled by the legacy generator `RandomState(seed)`, then dealt one by one, the most uneven in
    labels first, to the fold that keeps all folds most even. Folds that are even alike are told apart by the
    last bit of a float64, so another release may deal otherwise: a test pins what 1.9 does, and a manifest
    the ids. Rows are sorted by id before, so their order does not matter; rows without a group are in no split.
    ``per = "group"`` deals each distinct group once, whatever rows and labels it has: configs over the same
    groups then get the same split.
    """
    per, folds = options["per"], _whole(options, "folds", 2, MOST)
    if per not in (SAMPLE, GROUP):
        raise ValueError(f"per is {SAMPLE!r} or {GROUP!r}, not {per!r}")
    held = {name: _folds_of(options, name, folds) for name in ("test", "validation")}
    if not held["test"] or set(held["test"]) & set(held["validation"]) or sum(map(len, held.values())) >= folds:
        raise ValueError(f"test and validation share {folds} folds with train: at least one for test, one for train")
    ids, groups, labels = (_column(rows, name) for name in ("id", options["by"], "label"))
    kept = sorted((row for row in range(rows.num_rows) if groups[row] is not None), key=ids.__getitem__)
    if per == GROUP:
        names = sorted({groups[row] for row in kept})
        fold_of = dict(zip(names, _deal(names, [None] * len(names), folds, _seed(options)), strict=True))
        folded = [fold_of[groups[row]] for row in kept]
    else:
        folded = _deal([groups[row] for row in kept], [labels[row] for row in kept], folds, _seed(options))
    split_of = {fold: name for name, numbers in held.items() for fold in numbers}
    splits: Splits = {"train": [], **{name: [] for name, numbers in held.items() if numbers}}
    for row, fold in zip(kept, folded, strict=True):
        splits[split_of.get(fold, "train")].append(row)
    return splits


def _deal(groups: Sequence[str], labels: Sequence[str | None], folds: int, seed: int) -> list[int]:
    """The fold of every row. A null label is a stratum like any other."""
    if len(set(groups)) < folds:
        raise ValueError(f"{len(set(groups))} groups cannot fill {folds} folds")
    from sklearn.model_selection import StratifiedGroupKFold

    strata = _codes(labels)
    if np.bincount(strata).max() < folds:
        raise ValueError(f"no label has as many rows as there are folds ({folds})")
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold_of = np.empty(len(groups), np.int64)
    with warnings.catch_warnings():  # that a rare label is not in every fold: the counts of a split say so, too
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, inside) in enumerate(dealer.split(strata, strata, _codes(groups))):
            fold_of[inside] = fold
    return [int(fold) for fold in fold_of]


def _stratified_shuffle(options: Mapping[str, Any], rows: pa.Table) -> Splits:
    """One of several overlapping draws, each label in equal shares: how Raw-Microscopy's five were published.

    Relies on scikit-learn's `StratifiedShuffleSplit(draws, train_size=train, random_state=seed)` over the rows
    in their order with labels numbered by name; the test part is the complement.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    train, (draw, draws) = options["train"], _draw(options)
    if not isinstance(train, float) or not 0 < train < 1:
        raise ValueError(f"train is a fraction between 0 and 1, not {train!r}")
    labels = _column(rows, "label")
    if None in labels:
        raise ValueError(f"row {labels.index(None)} has no label: a stratified draw needs one for every row")
    strata = _codes(labels)
    dealer = StratifiedShuffleSplit(n_splits=draws, train_size=train, random_state=_seed(options))
    parts = next(islice(dealer.split(strata, strata), draw - 1, None))
    return {name: [int(row) for row in part] for name, part in zip(("train", "test"), parts, strict=True)}


def _permutation(options: Mapping[str, Any], rows: pa.Table) -> Splits:
    """One of several plain shuffles of the rows in their order: how Raw-Drone's five were published.

    numpy's legacy generator seeded once, `draws` permutations of n from it; the first `train` rows of one are
    train, the rest test. `RandomState`'s stream is frozen by numpy's compatibility policy.
    """
    n, train, (draw, _) = rows.num_rows, _whole(options, "train", 1, 10**9), _draw(options)
    generator = np.random.RandomState(_seed(options))
    for _ in range(draw):
        order = generator.permutation(n).tolist()
    return {"train": order[:train], "test": order[train:]}


KINDS: Mapping[str, tuple[Callable[[Mapping[str, Any], pa.Table], Splits], set[str], Mapping[str, Any]]] = {
    "stratified-group-kfold": (
        _stratified_group_kfold,
        {"by", "folds", "seed", "test"},
        {"validation": [], "per": SAMPLE},
    ),
    "stratified-shuffle": (_stratified_shuffle, {"seed", "draws", "draw", "train"}, {}),
    "permutation": (_permutation, {"seed", "draws", "draw", "train"}, {}),
}
"""Kind → (how it draws, options it needs, options it has a default for)."""


def _column(rows: pa.Table, name: Any) -> list[Any]:
    if name not in rows.schema.names:
        raise ValueError(f"the rows have no column {name!r}; they have {', '.join(rows.schema.names)}")
    values: list[Any] = rows[name].to_pylist()
    return values


def _codes(values: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Each value's number among the distinct ones in order of name (None first): the same on every platform."""
    known = {value: code for code, value in enumerate(sorted(set(values), key=lambda v: (v is not None, v or "")))}
    return np.array([known[value] for value in values], np.int64)


def _whole(options: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = options[name]
    if type(value) is not int or not least <= value <= most:  # a bool is an int
        raise ValueError(f"{name} is a whole number, {least}…{most}, not {value!r}")
    return value


def _seed(options: Mapping[str, Any]) -> int:
    return _whole(options, "seed", 0, 2**32 - 1)


def _draw(options: Mapping[str, Any]) -> tuple[int, int]:
    draws = _whole(options, "draws", 1, MOST)
    return _whole(options, "draw", 1, draws), draws


def _folds_of(options: Mapping[str, Any], name: str, folds: int) -> list[int]:
    numbers = options[name]
    if not isinstance(numbers, list | tuple) or any(type(n) is not int or not 0 <= n < folds for n in numbers):
        raise ValueError(f"{name} is a list of folds between 0 and {folds - 1}, not {numbers!r}")
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"{name} names a fold twice: {numbers!r}")
    return list(numbers)
