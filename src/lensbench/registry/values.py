"""What there is to know about a dataset, as frozen values: versions, configs, splits, classes, known leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lensbench.errors import DatasetError, nearest
from lensbench.sources import RemoteFile

SPLITS = ("train", "validation", "test")
SPECIMEN = "specimen"
ALPHABETICAL = "alphabetical"
"""The label order that every dataset has."""


@dataclass(frozen=True)
class Absent:
    """Rows that a published list names and whose file the publisher never shipped in one version.

    `ids` is None until the version was really built once; `about` is then how many are expected, and `reason`
    says how that is known.
    """

    ids: frozenset[str] | None
    about: int
    reason: str


@dataclass(frozen=True)
class Content:
    """The pinned content digest of one split in one version, and from what it was computed.

    `provenance`: ``official`` (the publisher's archive), ``copy`` (the same data re-encoded by someone, until an
    official archive confirms it) or ``specimen``.
    """

    sha256: str | None
    provenance: str


@dataclass(frozen=True)
class Rule:
    """How a config's splits are drawn at the first complete build; `lensbench.rules` says what kinds there are."""

    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Leak:
    """One group known to be in more than one split: the ratchet. `group` is None where nobody could list them yet."""

    config: str
    group: str | None
    splits: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Split:
    """One fixed split of one config: its pinned manifest, or what is known of one that waits for its first build."""

    name: str
    rows: int | None
    manifest: Path | None
    """The Parquet manifest, or None while it is unknown."""
    sha256: str | None
    """The lock: hex sha256 of the manifest file."""
    listed_in: tuple[str, str] | None
    """(role of the source file, path inside it) of the publisher's own list."""
    absent: Mapping[str, Absent] = field(default_factory=dict)
    """By dataset version."""
    content: Mapping[str, Content] = field(default_factory=dict)
    """By dataset version."""


@dataclass(frozen=True)
class Config:
    """A split scheme (or the specimen): which split every id is in, and the order of the label names."""

    name: str
    title: str
    labels: str
    """The column of classes.csv that holds the index order."""
    lists: str
    """The index order that the publisher's lists of this scheme are in, where it is another one."""
    synthetic: bool
    splits: Mapping[str, Split]
    files: tuple[RemoteFile, ...]
    """Sources of its own, instead of the version's (a specimen's)."""
    task: str = "classification"
    rule: Rule | None = None
    samples: int | None = None
    """How many samples the whole source holds: a rule is run on no other number."""

    @property
    def family(self) -> str:
        """The first part of its name: configs of one task in a dataset with several."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Version:
    """One published version: its source record, its files, and the revision of the columns made from them.

    A dataset version is (source record, split id, schema): the record is here, the split id is the sha256 of a
    config's manifests, `schema` counts changes of the columns.
    """

    name: str
    record: str
    doi: str
    citation: str
    files: tuple[RemoteFile, ...]
    images: Mapping[str, int | None]
    """Numbers of images: `advertised` by the publisher, `counted` by someone; None where unknown."""
    blocked: str | None
    superseded_by: str | None
    schema: int = 1


@dataclass(frozen=True)
class Label:
    """One class: folder name (the key), display name, and what is known of it."""

    name: str
    display: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """A dataset folder, read and validated."""

    name: str
    folder: Path
    title: str
    licence: str
    homepage: str
    task: str
    group: tuple[str, ...]
    default_config: str
    versions: Mapping[str, Version]
    configs: Mapping[str, Config]
    classes: tuple[Label, ...]
    folders: tuple[str, ...] = ()
    """Folder names by which an unpacked copy is recognised; none: the class names."""
    leaks: tuple[Leak, ...] = ()

    @property
    def latest(self) -> str:
        """The newest version that is neither blocked nor superseded; DatasetError where none is left."""
        found = next((name for name in reversed(list(self.versions)) if not self._retired(name)), None)
        if found is None:
            retired = {v.name: v.blocked or f"superseded by {v.superseded_by}" for v in self.versions.values()}
            why = "; ".join(f"{version}: {reason}" for version, reason in retired.items())
            raise DatasetError(f"{self.name} has no version to use by default ({why}); name one that is not blocked")
        return found

    def _retired(self, name: str) -> bool:
        version = self.versions[name]
        return bool(version.blocked or version.superseded_by)

    def version(self, name: str | None) -> Version:
        """The version called `name` (None: the newest); raises for one that is unknown or blocked."""
        found = self.versions.get(name or self.latest)
        if found is None:
            raise DatasetError(f"{self.name} has no version {name!r}{nearest(str(name), self.versions)}")
        if found.blocked:
            raise DatasetError(f"{self.name} {found.name} is blocked: {found.blocked}; use {self.latest}")
        return found

    def config(self, name: str | None) -> Config:
        """The config called `name` (None: the default one)."""
        found = self.configs.get(name or self.default_config)
        if found is None and name == SPECIMEN and (several := self.specimens):
            raise DatasetError(f"{self.name} has {len(several)} specimens: name {', '.join(several)}")
        if found is None:
            raise DatasetError(f"{self.name} has no config {name!r}{nearest(str(name), self.configs)}")
        return found

    @property
    def specimens(self) -> tuple[str, ...]:
        """Names of the synthetic configs."""
        return tuple(config.name for config in self.configs.values() if config.synthetic)

    def specimen_of(self, config: str) -> str:
        """The synthetic config beside `config`: ``specimen``, or that of its family where a dataset has several."""
        return SPECIMEN if SPECIMEN in self.configs else f"{self.config(config).family}-{SPECIMEN}"

    def label_order(self, order: str) -> tuple[str, ...]:
        """Label names in a published index order: a column of classes.csv, or ``alphabetical`` (all of them).

        A class whose cell is empty is not in that order: a dataset with several tasks has several sets of classes.
        """
        if order == ALPHABETICAL:
            return tuple(sorted(label.name for label in self.classes))
        if order not in self.label_orders:
            raise DatasetError(f"{self.name} has no label order {order!r}{nearest(order, self.label_orders)}")
        return tuple(name for _, name in sorted((int(c.attributes[order]), c.name) for c in self.classes_in(order)))

    def classes_in(self, order: str) -> tuple[Label, ...]:
        """The classes that an index order numbers."""
        return tuple(label for label in self.classes if label.attributes[order])

    @property
    def label_orders(self) -> tuple[str, ...]:
        """The index orders that `--labels` accepts by name."""
        return tuple(dict.fromkeys([*(config.labels for config in self.configs.values()), ALPHABETICAL]))

    def attribute(self, name: str) -> dict[str, str] | None:
        """One column of classes.csv by label name, or None where the dataset has no such column."""
        if not self.classes or name not in self.classes[0].attributes:
            return None
        return {label.name: label.attributes[name] for label in self.classes}
