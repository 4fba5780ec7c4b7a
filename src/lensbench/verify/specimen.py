"""The specimen of a dataset folder: small, pinned, made by its own script, and nothing that the publisher made."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lensbench.data.index import Index
from lensbench.data.loader import load_builder, load_specimen
from lensbench.data.locate import locate, locate_given
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.digest import sha256_of
from lensbench.errors import DatasetError
from lensbench.registry import SPECIMEN, Config, Dataset, registry_words
from lensbench.splits import read_manifest
from lensbench.verify.facts import Checked, failed, unknown, verdict

LARGEST = 2_000_000
"""Bytes of all files in specimen/: they are in git and in the wheel."""
SIZES = (12, 40, 120, 400, 1200)
"""Of the specimen that is made with another seed: the first that can hold the splits of its dataset."""
SEED = 3

Make = Callable[..., list[Path]]
Samples = Mapping[str, tuple[str | None, ...]]
"""Id → what there is to compare of a sample."""


def check_specimen(dataset: Dataset) -> Iterator[Checked]:
    """There is one, it is small, and all its files are pinned."""
    folder = dataset.folder / SPECIMEN
    if not dataset.specimens:
        yield failed("specimen", "no config is synthetic: a dataset that nobody can try offline cannot be tested")
        return
    pinned = {file.name for name in dataset.specimens for file in dataset.configs[name].files}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    problems = [
        f"{path.relative_to(dataset.folder)} is pinned by no config" for path in files if path.name not in pinned
    ]
    if not files:
        make = f"bench specimen {dataset.name} --size N --seed 0 --to {folder}{registry_words()}"
        yield unknown("specimen", f"none is kept yet: make one with `{make}`, then pin it")
        return
    size = sum(path.stat().st_size for path in files)
    if size > LARGEST:
        problems.append(f"{size:,} bytes, and at most {LARGEST:,} go into git and the wheel")
    yield from verdict("specimen", problems, f"{size:,} bytes in {len(files)} files")


# -- it is not the publisher's ---------------------------------------------------------------------------------


def check_unpublished(dataset: Dataset) -> Iterator[Checked]:
    """No file and no sample of a specimen is one of the publisher's.

    Ids tell, unless the publisher counts from 0: then both manifests must pin what the samples hold, and it differs.
    """
    theirs = {digest: v.name for v in dataset.versions.values() for f in v.files for digest in (f.md5, f.sha256)}
    problems = [
        f"{file.name} of {name} is the archive that version {theirs[digest]} pins"
        for name in dataset.specimens
        for file in dataset.configs[name].files
        for digest in {file.md5, file.sha256} & theirs.keys() - {None}
    ]
    ours = _pinned(dataset, (dataset.configs[name] for name in dataset.specimens))
    published = _pinned(dataset, (config for config in dataset.configs.values() if not config.synthetic))
    hashed: dict[str | None, str] = {held[0]: key for key, held in published.items() if held[0] is not None}
    problems += _same(ours, published, hashed)
    if not ours and not problems:
        yield unknown("specimen/samples", "no manifest of a specimen is pinned whose ids could be compared")
        return
    yield from verdict("specimen/samples", problems, f"{len(ours):,} ids, no sample of them is a published one")


def _pinned(dataset: Dataset, configs: Iterable[Config]) -> dict[str, tuple[str | None, str]]:
    """Id → its sample hash, where one is pinned, and the place."""
    found: dict[str, tuple[str | None, str]] = {}
    for config in configs:
        for split in config.splits.values():
            try:
                manifest = read_manifest(dataset, config.name, split.name)
            except DatasetError:  # not pinned, or not the pinned one: said where manifests are checked
                continue
            place, hashes = f"{config.name}/{split.name}", manifest.columns.get("sha256", (None,) * len(manifest.ids))
            for key, digest in zip(manifest.ids, hashes, strict=True):
                if found.get(key, (None, ""))[0] is None:
                    found[key] = digest, place
    return found


def _same(
    ours: Mapping[str, tuple[str | None, str]],
    published: Mapping[str, tuple[str | None, str]],
    hashed: Mapping[str | None, str],
) -> Iterator[str]:
    copies = [key for key in ours if ours[key][0] in hashed]
    if copies:
        key = copies[0]
        theirs = hashed[ours[key][0]]
        yield (
            f"{key} of {ours[key][1]} is the published sample {theirs} of {published[theirs][1]} "
            f"({len(copies):,} such samples): a specimen is synthetic"
        )
    untold = [key for key in ours.keys() & published.keys() if ours[key][0] is None or published[key][0] is None]
    if untold:
        key = min(untold)
        yield (
            f"id {key} of {ours[key][1]} is one of {published[key][1]} as well ({len(untold):,} such ids), and no "
            "sample hashes are pinned that tell the two apart: give the specimen ids of its own"
        )


# -- its script makes it ---------------------------------------------------------------------------------------


def check_made(dataset: Dataset) -> Iterator[Checked]:
    """`specimen.make` makes, by default, the specimen that is kept: equal files, or at least equal samples.

    With another seed and size it makes another one.
    """
    make, version = load_specimen(dataset.folder), dataset.latest
    if lacking := [name for name in ("size", "seed") if _default(make, name) is inspect.Parameter.empty]:
        raise DatasetError(f"make() has no default {lacking[0]}: its defaults make the specimen that is kept")
    kept = {file.name: None for name in dataset.specimens for file in dataset.configs[name].files}
    if not kept:
        yield unknown("specimen.py", "no specimen is kept that it could be held against")
        return
    with tempfile.TemporaryDirectory() as scratch:
        anew = Path(scratch, "anew")
        equal = _bytes(make(anew, layout=version)) == _bytes(dataset.folder / SPECIMEN / name for name in kept)
        problems = [] if equal else [text for name in dataset.specimens for text in _differs(dataset, name, anew)]
        other = _another(make, Path(scratch, "other"), version)
        if _bytes(other) == _bytes(dataset.folder / SPECIMEN / name for name in kept):
            problems.append(f"make() with another size and seed {SEED} makes the kept specimen again")
    same = "files" if equal else "samples"
    yield from verdict("specimen.py", problems, f"makes the kept specimen again, equal {same}; another seed, another")


def _default(make: Make, name: str) -> object:
    found = inspect.signature(make).parameters.get(name)
    return inspect.Parameter.empty if found is None else found.default


def _bytes(paths: Iterable[Path]) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in paths}


def _another(make: Make, folder: Path, version: str) -> list[Path]:
    for size in SIZES:
        try:
            return make(folder, size=size, seed=SEED, layout=version)
        except ValueError as error:
            reason = str(error)
    raise DatasetError(f"make() refuses every size up to {SIZES[-1]}: {reason}")


def _differs(dataset: Dataset, name: str, folder: Path) -> Iterator[str]:
    """The first sample of a config that is another one in `folder` than in the kept specimen."""
    config = dataset.configs[name]
    ours, theirs = _samples(dataset, config, None), _samples(dataset, config, folder)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            how = "is not kept" if key not in ours else "is not made" if key not in theirs else "is made otherwise"
            yield f"make() does not make the specimen that is kept ({name}: {key} {how}): pin what it makes"
            return


def _samples(dataset: Dataset, config: Config, folder: Path | None) -> Samples:
    """Everything in a specimen, the kept one or that in `folder`: its lists, and by id label, group, split, hash."""
    source, index = read_index(dataset, config, folder)
    kind, rows = load_builder(dataset.folder), index.rows
    found: dict[str, tuple[str | None, ...]] = {
        f"list of {split}": (sha256_of(listed.rows.to_pylist()),) for split, listed in index.lists.items()
    }
    names = [name for name in ("label", "group", "split") if name in rows.column_names]
    for start in range(0, rows.num_rows, kind.STEP):
        part = rows.slice(start, kind.STEP)
        columns = [*(part[name] for name in names), kind.take(source, part, config)["sha256"]]
        values = zip(*(column.to_pylist() for column in columns), strict=True)
        found.update(zip(part["id"].to_pylist(), values, strict=True))
    return found


def read_index(dataset: Dataset, config: Config, folder: Path | None = None) -> tuple[Source, Index]:
    """A specimen, the kept one or that in `folder`, and what the builder finds in it."""
    version = dataset.version(None)
    if folder is None:
        located = locate(dataset, version, config, None, None)
    else:
        located = locate_given(dataset, version, config, folder, None)
    request = Request(dataset, version, config, own_lists=located.own_lists)
    source = Source(located.spec)
    return source, load_builder(dataset.folder).index(source, request)
