"""A build to be made, or found: what, from where, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lensbench.data.locate import Located
from lensbench.data.request import Request
from lensbench.digest import sha256_of


@dataclass(frozen=True)
class Job:
    """What is to be built, and from where; `located` is None where only prepared data is at hand."""

    request: Request
    key: str
    shelf: Path
    located: Located | None

    @property
    def folder(self) -> Path:
        """Where the build stands, or will."""
        return self.shelf / sha256_of([self.key, self.located.identity if self.located else ""])[:16]
