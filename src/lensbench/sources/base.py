"""The values that the source modules share; importing this costs next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NO_RECORD = "none"
"""In place of a record's id: the file comes from nowhere but a folder that somebody names."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record as the registry knows it: sizes in bytes, digests in hex, None where unknown."""

    record: str
    """Zenodo record id; never a concept id, which moves on with each version."""
    name: str
    """Its key in the record, and its name on disk."""
    role: str
    """What it is for: ``archive``, ``splits`` …"""
    size: int | None
    size_about: int | None
    """As advertised; for messages only."""
    md5: str | None
    sha256: str | None
    mirrors: tuple[str, ...] = ()
    """Full URLs, tried in order after the record's own."""

    @property
    def title(self) -> str:
        """The file in messages, with its record where it has one."""
        return self.name if self.record == NO_RECORD else f"{self.name} of Zenodo record {self.record}"


@dataclass(frozen=True)
class LocalFile:
    """A whole file on disk: its size in bytes and both digests in hex."""

    path: Path
    size: int
    md5: str
    sha256: str


@dataclass(frozen=True)
class RemoteInfo:
    """What the record API says of a file: size in bytes, md5 in hex (None where it has another kind)."""

    size: int
    md5: str | None
