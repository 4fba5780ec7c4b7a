"""Which file answers for which image: by id, and only where that fails by what else can be told without a doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

IMAGES = (".png", ".tif", ".tiff", ".npy", ".npz", ".jpg", ".jpeg", ".bmp")
"""Endings that are no part of an id."""
SUFFIXES = ("_objects", "_cp_masks")
"""What tools put behind an image's name: CVAT-style annotations, Cellpose."""
SHOWN = 5
"""Names that are listed in words."""


@dataclass(frozen=True)
class Report:
    """What was brought for the benchmark's images, to be shown before anything is scored.

    `missing`: ids without an answer. `extra`: names that belong to no id. `duplicates`: ids with more than one
    answer, none of which is taken, so they are among the missing. `notes`: how names were matched, one line each.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    duplicates: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All of it but the missing, in words."""
        words = list(self.notes)
        if self.duplicates:
            some = ", ".join(self.duplicates[:SHOWN])
            words.append(f"{len(self.duplicates)} ids have more than one answer, of which none was taken: {some}")
        if self.extra:
            words.append(f"{len(self.extra)} answers belong to no image: {', '.join(self.extra[:SHOWN])}")
        return tuple(words)


def match(names: Iterable[str], ids: Iterable[str], *, files: bool) -> tuple[dict[str, str], Report]:
    """(name of each id's answer, report). `files`: the names are paths whose ending is no part of the id.

    First the exact id; for what that leaves, the name without its folders; then without ending and suffix, on
    both sides. A step that finds two names for an id, or two ids for a name, decides nothing.
    """
    exact: Callable[[str], str] = _stem if files else str
    steps: list[tuple[str, Callable[[str], str], Callable[[str], str]]] = [
        ("", exact, str),
        ("folders in the name left aside", lambda name: exact(PurePosixPath(name).name), str),
        (f"ending, {' and '.join(SUFFIXES)} left aside", _bare, _bare),
    ]
    expected = list(ids)
    wanted, left = expected, sorted(set(names))
    found: dict[str, str] = {}
    duplicates: list[str] = []
    notes: list[str] = []
    for note, of_name, of_id in steps:
        by_name, by_id = _grouped(left, of_name), _grouped(wanted, of_id)
        pairs = {of[0]: by_name[key] for key, of in by_id.items() if key in by_name and len(of) == 1}
        unclear = [key for key, of in by_id.items() if key in by_name and len(of) > 1]
        single = {key: which[0] for key, which in pairs.items() if len(which) == 1}
        double = {key: which for key, which in pairs.items() if len(which) > 1}
        found |= single
        duplicates += double
        if note and single:
            key = min(single)
            notes.append(f"{len(single)} matched with {note}, such as {single[key]!r} for {key!r}")
        if unclear:
            first = by_id[unclear[0]]
            notes.append(f"{by_name[unclear[0]][0]!r} could be {first[0]!r} or {first[1]!r}: not matched")
        taken = {*single.values(), *(name for which in double.values() for name in which)}
        left = [name for name in left if name not in taken]
        wanted = [key for key in wanted if key not in pairs]
    missing = tuple(key for key in expected if key not in found)
    return found, Report(missing, tuple(left), tuple(sorted(duplicates)), tuple(notes))


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> Mapping[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def _stem(name: str) -> str:
    """`name` without one ending of an image."""
    ending = PurePosixPath(name).suffix
    return name[: -len(ending)] if ending.lower() in IMAGES else name


def _bare(name: str) -> str:
    """The last part of `name` without ending and suffix."""
    stem = _stem(PurePosixPath(name).name)
    return next((stem.removesuffix(suffix) for suffix in SUFFIXES if stem.endswith(suffix)), stem)
