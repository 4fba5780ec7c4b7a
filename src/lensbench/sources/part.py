"""A download on its way: `NAME.part`, and beside it what is known of where its bytes came from.

The pair survives a killed process. What a later one finds is taken up again only if it was begun for the same
size and digest; its bytes are hashed again. The finished file is renamed only when size and
digests are right.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any, Self

from lensbench.errors import SourceError
from lensbench.paths import write_text
from lensbench.progress import megabytes
from lensbench.sources.base import LocalFile, RemoteFile
from lensbench.sources.digest import CHUNK, Hashes, remember

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(SourceError):
    """No room for the file: another source would not help."""


class Part:
    """The bytes of `file` that are here so far; a context manager. The caller holds the lock."""

    def __init__(self, final: Path, file: RemoteFile) -> None:
        self._final = final
        self._file = file
        self._path = final.with_name(f"{final.name}.part")
        self._about = final.with_name(f"{final.name}.part.json")
        self._stream: IO[bytes]
        self._hashes = Hashes()
        self._begun: dict[str, Any] = {}
        self.size = 0
        """Bytes here so far."""

    def __enter__(self) -> Self:
        self._stream = self._path.open("r+b" if self._path.exists() else "w+b", buffering=0)
        self._begun = self._load()
        if any(self._begun.get(key, value) != value for key, value in self._expected().items()):
            self._begun = {}
        if not self._begun:
            self.restart()
        while chunk := self._stream.read(CHUNK):
            self._hashes.update(chunk)
            self.size += len(chunk)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()
        if not self.size:
            self._path.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)

    def restart(self) -> None:
        """Throw away what is here."""
        self._stream.seek(0)
        self._stream.truncate()
        self._hashes = Hashes()
        self.size = 0

    def begin(self, url: str, etag: str | None) -> None:
        """A whole file begins to arrive from `url`: note which one before its first byte."""
        self.restart()
        self._begun = {"url": url, "etag": etag, **self._expected()}
        try:
            write_text(self._about, json.dumps(self._begun) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def range_headers(self, url: str) -> dict[str, str]:
        """What asks `url` for the rest: nothing where the rest could belong to another file unnoticed."""
        etag = self._begun.get("etag")
        ask = {"Range": f"bytes={self.size}-"}
        if not self.size:
            return {}
        if self._begun.get("url") == url and isinstance(etag, str) and not etag.startswith("W/"):
            return {**ask, "If-Range": etag}
        return ask if self._file.md5 or self._file.sha256 else {}

    def continues(self, url: str, etag: str | None) -> bool:
        """Whether the rest from `url` belongs to what is here: the same ETag, or none to compare."""
        begun = self._begun.get("etag")
        return self._begun.get("url") != url or begun is None or etag is None or begun == etag

    def require_space(self) -> None:
        """Refuse before the first byte what cannot fit."""
        free = shutil.disk_usage(self._final.parent).free
        if self._file.size is not None and self._file.size - self.size > free:
            raise self._full(f"{megabytes(free)} are free")

    def write(self, data: bytes) -> None:
        """Append `data`."""
        view = memoryview(data)
        try:
            while view:
                written = self._stream.write(view) or 0
                self._hashes.update(view[:written])
                self.size += written
                view = view[written:]
        except OSError as error:
            raise self._unwritable(error) from error

    def finish(self, url: str) -> LocalFile:
        """Verify, make durable, rename; bytes that are not the published ones are thrown away."""
        file, hashes = self._file, self._hashes
        for what, expected, actual in (
            ("size", file.size, self.size),
            ("md5", file.md5, hashes.md5),
            ("sha256", file.sha256, hashes.sha256),
        ):
            if expected is not None and str(expected).lower() != str(actual):
                self.restart()
                raise SourceError(
                    f"{url}: what came has {what} {actual}, but {file.name} of record {file.record} has "
                    f"{expected}; thrown away"
                )
        try:
            os.fsync(self._stream.fileno())
            self._path.replace(self._final)
            folder = os.open(self._final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unwritable(error) from error
        self._about.unlink(missing_ok=True)
        local = LocalFile(self._final, self.size, hashes.md5, hashes.sha256)
        remember(local)
        return local

    def _expected(self) -> dict[str, Any]:
        """What a resumed file must have been begun for; what is unknown binds nothing."""
        known = {"size": self._file.size, "md5": self._file.md5, "sha256": self._file.sha256}
        return {key: value for key, value in known.items() if value is not None}

    def _load(self) -> dict[str, Any]:
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return about if isinstance(about, dict) else {}

    def _unwritable(self, error: OSError) -> SourceError:
        if error.errno in FULL:
            return self._full(os.strerror(error.errno or 0))
        return SourceError(f"{self._path}: cannot be written ({error.strerror or error})")

    def _full(self, why: str) -> SourceError:
        size = self._file.size
        need = f"{megabytes(size - self.size)} more" if size is not None else "more room"
        kept = f"; the {megabytes(self.size)} that came are kept" if self.size else ""
        return DiskFullError(
            f"{self._final.parent}: {self._file.name} needs {need} there, but {why}{kept}; "
            f"free some, or set LENSBENCH_HOME to a larger disk"
        )
