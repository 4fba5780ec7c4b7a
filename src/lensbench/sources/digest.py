"""md5 and sha256 of a file, remembered by path, size and times, so that half a gigabyte is hashed once."""

from __future__ import annotations

import fcntl
import hashlib
import json
from pathlib import Path
from typing import Any

from lensbench.errors import SourceError
from lensbench.paths import home, write_text
from lensbench.sources.base import LocalFile

CHUNK = 1 << 20


class Hashes:
    """md5 (what Zenodo states) and sha256 (what we pin), fed together."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        """Feed both."""
        self._md5.update(data)
        self._sha256.update(data)

    @property
    def md5(self) -> str:
        """In hex."""
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sha256.hexdigest()


def digest(path: Path) -> LocalFile:
    """`path` with its digests; hashed again only when its size or times differ from last time."""
    path = path.resolve()
    try:
        stamp = _stamp(path)
        match _load(_memo()).get(str(path)):
            case {"stamp": known, "md5": str(md5), "sha256": str(sha256)} if known == stamp:
                return LocalFile(path, stamp[0], md5, sha256)
        hashes = Hashes()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashes.update(chunk)
        if _stamp(path) != stamp:
            raise SourceError(f"{path}: has changed while it was being read")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    local = LocalFile(path, stamp[0], hashes.md5, hashes.sha256)
    remember(local)
    return local


def remember(local: LocalFile) -> None:
    """Note the digests of a file just hashed. Two processes may do so at once: neither loses the other's."""
    memo = _memo()
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        with memo.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = {path: entry for path, entry in _load(memo).items() if Path(path).exists()}
            path = local.path.resolve()
            entries[str(path)] = {"stamp": _stamp(path), "md5": local.md5, "sha256": local.sha256}
            write_text(memo, json.dumps(entries, indent=1, sort_keys=True) + "\n")
    except OSError:
        # The memo saves time and decides nothing: with a read-only or full cache folder we hash again.
        return


def _memo() -> Path:
    return home() / "digests.json"


def _stamp(path: Path) -> list[int]:
    """Size, mtime and ctime in ns (the latter moves even when a copy keeps the former), inode."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _load(memo: Path) -> dict[str, Any]:
    try:
        entries = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, out of reach or garbled: nothing is remembered
        return {}
    return entries if isinstance(entries, dict) else {}
