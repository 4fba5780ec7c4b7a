"""Where a build takes its bytes from: a folder somebody names, earlier downloads, or the record itself.

Everything is verified against the registry's pins by `sources` before a build reads it, and every source has
an identity: the sha256 of its archives, or of the names, sizes and times of an unpacked folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lensbench.data.source import ARCHIVES, Spec, folder_identity, unpacked
from lensbench.digest import UNKNOWN
from lensbench.errors import DatasetError, SourceError
from lensbench.paths import home, named, write_text
from lensbench.registry import SPECIMEN, Config, Dataset, Version, registry_words
from lensbench.sources import (
    ARCHIVE,
    NO_RECORD,
    Progress,
    RemoteFile,
    describe,
    fetch,
    find_local,
    is_offline,
    list_record,
    size_text,
)


@dataclass(frozen=True)
class Located:
    """A source on disk. `identity` changes with its bytes; `provenance` names no path of this machine."""

    spec: Spec
    identity: str
    provenance: Mapping[str, Any]
    own_lists: bool = False
    verified: bool = False
    """Whether all of it is known to be as published: files with a pinned digest, or as their record states it."""
    states: Mapping[Path, tuple[int, ...]] = field(default_factory=dict)
    """Each archive as it was when it was hashed: device, inode, size, mtime."""
    failed: str = ""
    """Why a file of another role than the archive is not here, where fetching it was tried."""


def refuse_exchanged(located: Located, shelf: Path) -> None:
    """Raise SourceError where what was read need not be what was hashed: something was exchanged or written since.

    `shelf`: where the build is written. Where that lies in an unpacked folder (the cache folder may, see
    `folder_identity`), the folder is not at rest by our own doing, and is not compared.
    """
    changed = [path for path, before in located.states.items() if _state(path) != before]
    base = located.spec.base or Path()
    place, cache = shelf.resolve(), home().resolve()
    ours = place.is_relative_to(base.resolve()) and not place.is_relative_to(cache)
    if "folder" in located.provenance and not changed and not ours:
        theirs = tuple(path for path in located.spec.archives if path not in located.states)
        try:
            identity = folder_identity(replace(located.spec, archives=theirs))
        except OSError:
            identity = ""  # something in it has gone
        changed = [base] if identity != located.identity.partition("+")[0] else []
    if changed:
        raise SourceError(
            f"{changed[0]}: was changed or exchanged while it was being read; run again when it is at rest"
        )


def _state(path: Path) -> tuple[int, ...]:
    try:
        state = path.stat()
    except OSError:
        return ()  # gone: not what it was
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


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
    files = _named(needed(version, config))
    return config.synthetic or (bool(files) and all((downloads() / file.name).is_file() for file in files))


MOST_UNNAMED = 100
"""Archives of one record that are fetched where dataset.toml names none: more is another kind of record."""

# -- records whose files nobody could name yet ----------------------------------------------------------------


def _listing(record: str) -> Path:
    return downloads() / f"record-{record}.json"


def _named(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """The files with those in place of each unnamed one that its record was seen to have; none if it never was."""
    named = []
    for file in files:
        if file.name != UNKNOWN:
            named.append(file)
        else:
            entries = _listed(file.record) or []
            named += [replace(file, name=e["name"], size=e["size"], md5=e["md5"]) for e in entries]
    return named


def _listed(record: str) -> list[dict[str, Any]] | None:
    """The kept file list of a record; None where there is none, or a damaged one, which is as good as none."""
    try:
        entries: list[dict[str, Any]] = json.loads(_listing(record).read_text(encoding="utf-8"))
        whole = all(Path(e["name"]).name == e["name"] and e.keys() == {"name", "size", "md5"} for e in entries)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return entries if whole and isinstance(entries, list) else None


def _ask_names(files: Sequence[RemoteFile], progress: Progress | None) -> None:
    """Read, and keep, the file list of every record that has an unnamed file."""
    for record in {file.record for file in files if file.name == UNKNOWN and _listed(file.record) is None}:
        found = [f for f in list_record(record, progress=progress) if f.name.lower().endswith(ARCHIVES)]
        if not found:
            raise SourceError(f"record {record} has no archive ({', '.join(ARCHIVES)}) among its files")
        if len(found) > MOST_UNNAMED:
            raise SourceError(
                f"record {record} has {len(found):,} archives, and dataset.toml names none of them: at most "
                f"{MOST_UNNAMED} are fetched unnamed; name in its files those that are needed"
            )
        downloads().mkdir(parents=True, exist_ok=True)
        text = json.dumps([{"name": f.name, "size": f.size, "md5": f.md5} for f in found], indent=1)
        write_text(_listing(record), text + "\n")


def _unnamed(folder: Path, file: RemoteFile) -> list[RemoteFile]:
    """Every archive in a folder that the user named, for a record whose files nobody could name yet."""
    paths = [folder] if folder.is_file() else sorted(folder.iterdir())
    return [replace(file, name=p.name) for p in paths if p.is_file() and p.name.lower().endswith(ARCHIVES)]


# -- where it is ------------------------------------------------------------------------------------------------


def locate_given(
    dataset: Dataset, version: Version, config: Config, source: Path, progress: Progress | None
) -> Located:
    """The source in the folder (or the archive file) that the user named."""
    if config.synthetic:
        return _specimen(dataset, version, config, source)
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder; --source names where the archives lie")
    wanted = needed(version, config)
    files = [file for file in wanted if file.name != UNKNOWN]
    if len(files) < len(wanted) and not (source.is_dir() and unpacked(source, names_of(dataset)).roots):
        files += [found for file in wanted if file.name == UNKNOWN for found in _unnamed(source, file)]
    found = find_local(files, source)
    if not source.is_dir():
        beside = [file for file in files if (source.parent / file.name).is_file()]
        return _archives(files, find_local(beside, source.parent)) if found else _nothing(wanted, source)
    if downloads().is_dir():
        found = find_local([f for f in files if f.role != ARCHIVE], downloads()) | found
    if any(file.role == ARCHIVE and file.name in found for file in files):
        return _archives(files, found)
    spec = unpacked(source, names_of(dataset))
    if not spec.roots and not spec.archives:
        return _nothing(wanted, source)
    lists = _archives(files, found) if found else None
    identity = folder_identity(spec)
    return Located(
        replace(spec, archives=(*spec.archives, *lists.spec.archives)) if lists else spec,
        f"{identity}+{lists.identity}" if lists else identity,
        {"folder": "unpacked", "files": lists.provenance["files"] if lists else []},
        states=lists.states if lists else {},
    )


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """Folder names by which an unpacked copy is recognised."""
    return dataset.folders or tuple(label.name for label in dataset.classes)


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
    if not is_offline():
        try:
            _ask_names(files, progress)
        except SourceError as error:
            raise SourceError(f"{error}; without the network: {_ways(dataset, files)}") from error
    files = _named(files) or files
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
    if here_only := [file.name for file in essential if file.record == NO_RECORD and not file.mirrors]:
        raise SourceError(f"{here_only[0]} has no record that it could be fetched from: {_ways(dataset, essential)}")
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
    what = ", ".join(f"{replace(file, name=_name(file)).title} ({size_text(file)})" for file in files)
    synthetic = dataset.specimens
    other = f', or use the synthetic config "{synthetic[0]}" (--config {synthetic[0]})' if synthetic else ""
    return f"lay {what} into a folder and name it with data_dir= (--source DIR or LENSBENCH_SOURCE){other}"


def _nothing(files: Sequence[RemoteFile], source: Path) -> Located:
    names = " or ".join(_name(file) for file in files if file.role == ARCHIVE)
    raise SourceError(f"{source}: neither {names} nor the folders unpacked from it lie there")


def _name(file: RemoteFile) -> str:
    return "the archive" if file.name == UNKNOWN else file.name


def _archives(files: Sequence[RemoteFile], found: Mapping[str, Path]) -> Located:
    from lensbench.sources.digest import digest

    here = {file: found[file.name].resolve() for file in files if file.name in found}
    states = {path: _state(path) for path in here.values()}  # before they are hashed
    local = {file: digest(path) for file, path in here.items()}
    provenance = [
        {"record": f.record, "name": f.name, "role": f.role, "size": d.size, "md5": d.md5, "sha256": d.sha256}
        for f, d in local.items()
    ]
    identity = "+".join(f"{file.role}:{d.sha256}" for file, d in sorted(local.items(), key=lambda item: item[0].name))
    # what lies in downloads() got its name when it had the md5 that its record states
    verified = all(f.md5 or f.sha256 or found[f.name].parent == downloads() for f in local)
    return Located(
        Spec(tuple(d.path for d in local.values())), identity, {"files": provenance}, verified=verified, states=states
    )


def _specimen(dataset: Dataset, version: Version, config: Config, source: Path | None) -> Located:
    """The pinned specimen beside the registry entry, or another one that the user made and named."""
    published = {file.name for file in version.files if file.role == ARCHIVE}
    pinned = [f for f in config.files if f.role == ARCHIVE and (f.name in published or UNKNOWN in published)]
    if source is not None:
        made = pinned or [file for file in version.files if file.role == ARCHIVE]
        theirs = [replace(file, size=None, md5=None, sha256=None) for file in made]
        found = find_local(theirs, source)
        if not found:
            return _nothing(theirs, source)
        located = _archives(theirs, found)
        ours = {file.sha256 for file in config.files}
        return replace(located, own_lists=any(f["sha256"] not in ours for f in located.provenance["files"]))
    if not pinned:
        raise DatasetError(
            f"no specimen of {dataset.name} {version.name} is kept beside it; make one with `bench specimen "
            f"{dataset.name} --layout {version.name} --size N --to DIR{registry_words()}` and name it with "
            "data_dir= (--source DIR)"
        )
    found = find_local(pinned, dataset.folder / SPECIMEN)
    if len(found) < len(pinned):
        lacking = next(file.name for file in pinned if file.name not in found)
        raise SourceError(f"{dataset.folder / SPECIMEN}: {lacking} is missing; reinstall lensbench")
    return _archives(pinned, found)


def given(source: Path | str | None, config: Config) -> Path | None:
    """The folder the user named: `source`, else ``LENSBENCH_SOURCE`` (which never stands for a specimen)."""
    if source:
        return Path(source).expanduser()
    return None if config.synthetic else named("LENSBENCH_SOURCE")
