"""Where a build takes its bytes from: a folder somebody names, earlier downloads, or the record itself.

Everything is verified against the registry's pins by `sources` before a build reads it, and every source has
an identity: the sha256 of its archives, or of the names, sizes and times of an unpacked folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lensbench.data.layout import Spec, folder_identity, unpacked
from lensbench.errors import DatasetError, SourceError
from lensbench.paths import home
from lensbench.registry import SPECIMEN, Config, Dataset, Version
from lensbench.sources import Progress, RemoteFile, describe, fetch, find_local, is_offline, size_text

ARCHIVE = "archive"
"""The role of the file that holds the images; those of other roles hold lists, and a build can do without."""


@dataclass(frozen=True)
class Located:
    """A source on disk. `identity` changes with its bytes; `provenance` names no path of this machine."""

    spec: Spec
    identity: str
    provenance: Mapping[str, Any]
    own_lists: bool = False
    failed: str = ""
    """Why a file of another role than the archive is not here, where fetching it was tried."""


def downloads() -> Path:
    """Where fetched archives are kept."""
    return home() / "downloads"


def needed(version: Version, config: Config) -> list[RemoteFile]:
    """The files a build of `config` reads: the archive, and those with a list that is not pinned yet."""
    files = config.files or version.files
    unpinned = {s.listed_in[0] for s in config.splits.values() if s.manifest is None and s.listed_in}
    return [file for file in files if file.role == ARCHIVE or file.role in unpinned]


def have(version: Version, config: Config) -> bool:
    """Whether `locate` will find all it needs without the network."""
    names = {file.name for file in needed(version, config)}
    return config.synthetic or all((downloads() / name).is_file() for name in names)


def locate_given(
    dataset: Dataset, version: Version, config: Config, source: Path, progress: Progress | None
) -> Located:
    """The source in the folder (or the archive file) that the user named."""
    files = needed(version, config)
    if config.synthetic:
        return _specimen(dataset, version, config, source)
    found = find_local(files, source)
    if not source.is_dir():
        beside = [file for file in files if (source.parent / file.name).is_file()]
        return _archives(files, find_local(beside, source.parent)) if found else _nothing(files, source)
    if downloads().is_dir():
        found = find_local([f for f in files if f.role != ARCHIVE], downloads()) | found
    if any(file.role == ARCHIVE and file.name in found for file in files):
        return _archives(files, found)
    spec = unpacked(source, [label.name for label in dataset.classes])
    if not spec.roots and not spec.archives:
        return _nothing(files, source)
    lists = _archives(files, found) if found else None
    identity = folder_identity(spec)
    return Located(
        replace(spec, archives=(*spec.archives, *lists.spec.archives)) if lists else spec,
        f"{identity}+{lists.identity}" if lists else identity,
        {"folder": "unpacked", "files": lists.provenance["files"] if lists else []},
    )


def locate(
    dataset: Dataset,
    version: Version,
    config: Config,
    progress: Progress | None,
    confirm: Callable[[str], bool] | None,
) -> Located:
    """The source without a folder named: the specimen's own archive, earlier downloads, or the record."""
    if config.synthetic:
        return _specimen(dataset, version, config, None)
    files = needed(version, config)
    found = find_local(files, downloads()) if downloads().is_dir() else {}
    wanted = [file for file in files if file.name not in found]
    essential = [file for file in wanted if file.role == ARCHIVE]
    if is_offline():
        if essential:
            raise SourceError(
                f"{dataset.name} {version.name} is not on disk, and the network is off (HF_HUB_OFFLINE or "
                f"LENSBENCH_OFFLINE): {_ways(dataset, essential)}"
            )
        return _archives(files, found)
    if any(file.name.endswith(".7z") for file in wanted) and find_spec("py7zr") is None:
        raise SourceError(
            f'{wanted[0].name} is a 7z archive, and reading it needs py7zr: pip install "lensbench[formats]"'
        )
    failed = ""
    for file in wanted:
        try:
            _ask(file, progress, confirm)
            found[file.name] = fetch(file, downloads(), progress=progress).path
        except SourceError as error:
            if file in essential:
                raise SourceError(f"{error}; without the network: {_ways(dataset, essential)}") from error
            failed = f"fetching it failed: {error}"
    return replace(_archives(files, found), failed=failed)


def _ask(file: RemoteFile, progress: Progress | None, confirm: Callable[[str], bool] | None) -> None:
    if confirm is None:
        return
    exact = replace(file, size=file.size or describe(file, progress=progress).size)
    if not confirm(f"fetch {file.name} of Zenodo record {file.record} ({size_text(exact)}) to {downloads()}?"):
        raise SourceError(f"{file.name} of record {file.record} was not fetched, as you asked")


def _ways(dataset: Dataset, files: Sequence[RemoteFile]) -> str:
    what = ", ".join(f"{file.name} of Zenodo record {file.record} ({size_text(file)})" for file in files)
    synthetic = [config.name for config in dataset.configs.values() if config.synthetic]
    other = f', or use the synthetic config "{synthetic[0]}" (--config {synthetic[0]})' if synthetic else ""
    return f"lay {what} into a folder and name it with data_dir= (--source DIR or LENSBENCH_SOURCE){other}"


def _nothing(files: Sequence[RemoteFile], source: Path) -> Located:
    names = " or ".join(file.name for file in files if file.role == ARCHIVE)
    raise SourceError(f"{source}: neither {names} nor class folders unpacked from it lie there")


def _archives(files: Sequence[RemoteFile], found: Mapping[str, Path]) -> Located:
    from lensbench.sources.digest import digest

    local = {file: digest(found[file.name]) for file in files if file.name in found}
    provenance = [
        {"record": f.record, "name": f.name, "role": f.role, "size": d.size, "md5": d.md5, "sha256": d.sha256}
        for f, d in local.items()
    ]
    identity = "+".join(f"{file.role}:{d.sha256}" for file, d in local.items())
    return Located(Spec(tuple(d.path for d in local.values())), identity, {"files": provenance})


def _specimen(dataset: Dataset, version: Version, config: Config, source: Path | None) -> Located:
    """The pinned specimen beside the registry entry, or another one that the user made and named."""
    names = {file.name for file in version.files if file.role == ARCHIVE}
    if source is not None:
        theirs = [replace(f, size=None, md5=None, sha256=None) for f in version.files if f.role == ARCHIVE]
        found = find_local(theirs, source)
        if not found:
            return _nothing(theirs, source)
        located = _archives(theirs, found)
        pinned = {file.sha256 for file in config.files}
        return replace(located, own_lists=any(f["sha256"] not in pinned for f in located.provenance["files"]))
    ours = [file for file in config.files if file.role == ARCHIVE and file.name in names]
    if not ours:
        raise DatasetError(
            f"no specimen of {dataset.name} {version.name} comes with lensbench; make one with `bench specimen "
            f"{dataset.name} --layout {version.name} --size N --to DIR` and name it with data_dir= (--source DIR)"
        )
    found = find_local(ours, dataset.folder / SPECIMEN)
    if len(found) < len(ours):
        raise SourceError(f"{dataset.folder / SPECIMEN}: {ours[0].name} is missing; reinstall lensbench")
    return _archives(ours, found)


def given(source: Path | str | None, config: Config) -> Path | None:
    """The folder the user named: `source`, else ``LENSBENCH_SOURCE`` (which never stands for a specimen)."""
    named = source or (None if config.synthetic else os.environ.get("LENSBENCH_SOURCE"))
    return Path(named).expanduser() if named else None
