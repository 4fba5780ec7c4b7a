"""One fetcher for every dataset: record API, resumed and verified downloads, archives already on disk.

`fetch` brings one published file to one folder and returns it only when its size and digests are the ones
pinned in the registry and stated by the record; nothing else ever gets the file's name. The network part is
in `sources.http`, imported only when something has to be fetched.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lensbench.errors import SourceError
from lensbench.progress import Progress, megabytes
from lensbench.sources.base import NO_RECORD, LocalFile, RemoteFile, RemoteInfo

if TYPE_CHECKING:
    from lensbench.sources.http import Retry

__all__ = [
    "ARCHIVE",
    "NO_RECORD",
    "LocalFile",
    "Progress",
    "RemoteFile",
    "RemoteInfo",
    "base_url",
    "describe",
    "fetch",
    "find_local",
    "is_offline",
    "list_record",
    "size_text",
]

ARCHIVE = "archive"
"""The role of the files that hold the samples; those of other roles hold lists, and a build can do without."""
ZENODO = "https://zenodo.org"
TRUE = frozenset({"1", "on", "yes", "true"})  # huggingface_hub's own list, for its variable and ours


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` or ``LENSBENCH_OFFLINE`` forbids the network."""
    return any(os.environ.get(name, "").lower() in TRUE for name in ("HF_HUB_OFFLINE", "LENSBENCH_OFFLINE"))


def base_url() -> str:
    """The record API's base: ``LENSBENCH_ZENODO`` (a mirror, a test server) or Zenodo."""
    return (os.environ.get("LENSBENCH_ZENODO") or ZENODO).rstrip("/")


def size_text(file: RemoteFile) -> str:
    """The file's size in words, ``about`` where it is only advertised."""
    if file.size is not None:
        return megabytes(file.size)
    return "unknown size" if file.size_about is None else f"about {megabytes(file.size_about)}"


def describe(file: RemoteFile, *, progress: Progress | None = None, retry: Retry | None = None) -> RemoteInfo:
    """Size and md5 of `file` from its record; nothing is fetched. `SourceError` when offline."""
    from lensbench.sources import http

    _refuse_offline(file)
    return http.record_file(base_url(), file, retry or http.Retry(), progress or _quiet())


def list_record(record: str, *, progress: Progress | None = None, retry: Retry | None = None) -> list[RemoteFile]:
    """The files of a record that the registry could not name yet, with the sizes and md5 that the record states.

    Every one has the role ``archive``. `SourceError` when offline.
    """
    from lensbench.sources import http

    if is_offline():
        raise SourceError(f"offline (HF_HUB_OFFLINE or LENSBENCH_OFFLINE is set): cannot list record {record}")
    found = http.record_files(base_url(), record, retry or http.Retry(), progress or _quiet())
    return [RemoteFile(record, name, ARCHIVE, info.size, None, info.md5, None) for name, info in sorted(found.items())]


def fetch(file: RemoteFile, folder: Path, *, progress: Progress | None = None, retry: Retry | None = None) -> LocalFile:
    """Bring `file` into `folder` and return it verified; what is there already is not fetched again.

    A cut download goes on where it stopped, in this process or the next; of two processes one waits for the
    other. Raises `SourceError`, in one line, when offline, refused, full, or when the bytes are not the
    published ones.
    """
    from lensbench.progress import default_progress
    from lensbench.sources import http

    if Path(file.name).name != file.name or "\0" in file.name:
        raise SourceError(f"record {file.record}: {file.name!r} is not a plain file name")
    final = folder / file.name
    retry = retry or http.Retry()
    if final.exists() and (file.md5 or file.sha256):
        return _pinned(file, final)
    if is_offline():
        if final.exists():  # it got its name only after it was verified against its record
            return _pinned(file, final)
        _refuse_offline(file)
    progress = progress or default_progress()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{file.name}.lock", progress):
            if not final.exists():
                return http.download(base_url(), file, final, retry, progress)
            if not (file.md5 or file.sha256):
                try:
                    file = _as_recorded(file, http.record_file(base_url(), file, retry, progress))
                except http.UnavailableError as error:
                    progress.note(f"{error}; using {final} as it was verified when it was fetched")
            return _pinned(file, final)
    except OSError as error:
        raise SourceError(f"{final}: cannot be written ({error.strerror or error})") from error
    finally:
        progress.finish()


def find_local(files: Sequence[RemoteFile], source: Path) -> dict[str, Path]:
    """Those of `files` that lie in `source`, by name: in the folder, one level below, or `source` itself.

    Pinned sizes and digests are verified. Raises `SourceError` when `source` does not exist, when a file is
    not the published one, or when a name is found twice.
    """
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder; --source names where the archives lie")
    found: dict[str, Path] = {}
    for file in files:
        places = [source] if source.is_file() else [source / file.name, *sorted(source.glob("*/"))]
        here = [place for place in places[:1] if place.name == file.name and place.is_file()]
        below = [place / file.name for place in places[1:] if (place / file.name).is_file()]
        if not here and len(below) > 1:
            raise SourceError(f"{source}: {file.name} lies there twice ({below[0]}, {below[1]}); name one of them")
        for path in (here or below)[:1]:
            _check_pins(file, path)
            found[file.name] = path
    return found


def _check_pins(file: RemoteFile, path: Path) -> None:
    """Cheapest first: the size alone tells most wrong files; without a pinned digest nothing is hashed."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise SourceError(
            f"{path}: {size} bytes, but record {file.record} has {file.size}; not the published file, or cut"
        )
    if file.md5 or file.sha256:
        _pinned(file, path)


def _pinned(file: RemoteFile, path: Path) -> LocalFile:
    """`path` with its digests, which must be the pinned ones."""
    from lensbench.sources.digest import digest

    if file.size is not None and path.stat().st_size != file.size:
        _check_pins(replace(file, md5=None, sha256=None), path)
    local = digest(path)
    for kind, pinned, actual in (("md5", file.md5, local.md5), ("sha256", file.sha256, local.sha256)):
        if pinned and pinned.lower() != actual:
            raise SourceError(
                f"{path}: {kind} {actual}, but record {file.record} has {pinned}; move the file away and fetch it again"
            )
    return local


def _as_recorded(file: RemoteFile, info: RemoteInfo) -> RemoteFile:
    return replace(file, size=info.size, md5=info.md5)


def _refuse_offline(file: RemoteFile) -> None:
    if is_offline():
        raise SourceError(
            f"offline (HF_HUB_OFFLINE or LENSBENCH_OFFLINE is set): {file.name} of record {file.record} "
            f"({size_text(file)}) is not on disk and cannot be fetched"
        )


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold `path` against other processes; the kernel lets go when this one dies."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note(f"another process is fetching {path.stem}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _quiet() -> Progress:
    from lensbench.progress import Quiet

    return Quiet()
