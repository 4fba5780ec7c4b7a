"""Whether `group`, the column that may not cross splits, is what dataset.toml says that it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lensbench.verify.facts import Checked, failed, verdict

GROUP = "group"


def check_bound(declared: Sequence[str], columns: Mapping[str, Sequence[Any]], what: str) -> Iterator[Checked]:
    """Rows share a group if, and only if, they share the declared columns.

    `columns` are those built, by name, as far as they are declared, and `group`.
    """
    if lacking := [name for name in declared if name not in columns]:
        yield failed(what, f"dataset.toml makes a group of {lacking[0]!r}, and the builder has no such column")
        return
    pairs = zip(columns[GROUP], zip(*(columns[name] for name in declared), strict=True), strict=True)
    made = " + ".join(declared)
    count = len(set(columns[GROUP]) - {None})
    yield from verdict(what, _unbound(pairs, made), f"{count:,} groups, one for each {made}")


def _unbound(pairs: Iterable[tuple[Any, tuple[Any, ...]]], made: str) -> list[str]:
    """The first row that shows it."""
    parts_of, group_of = dict[Any, str](), dict[str, Any]()
    for group, values in pairs:
        parts = " + ".join(map(str, values))
        if group is None and None in values:
            continue  # nobody knows it
        if group is None:
            return [f"a row of {made} = {parts} has no group"]
        if parts_of.setdefault(group, parts) != parts:
            return [f"group {group} has rows of {made} = {parts_of[group]} and of {parts}"]
        if group_of.setdefault(parts, group) != group:
            return [f"{made} = {parts} has rows of group {group_of[parts]} and of group {group}"]
    return []


def crossed_by(rows: pa.Table, by: str) -> Iterator[str]:
    """Groups that a rule over the column `by` may cut apart, because it has several values in one group."""
    seen: dict[str, Any] = {}
    for group, value in zip(rows[GROUP].to_pylist(), rows[by].to_pylist(), strict=True):
        if group is not None and value is not None and seen.setdefault(group, value) != value:
            yield f"group {group} of the specimen has two values of {by} ({seen[group]}, {value}): it cuts groups"
            return


def shares_groups(rows: pa.Table) -> bool:
    """Whether a group has two rows: only then can a rule be seen to keep it whole."""
    counts = Counter(group for group in rows[GROUP].to_pylist() if group is not None)
    return any(number > 1 for number in counts.values())
