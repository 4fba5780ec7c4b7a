"""Through the data itself: source digest, which rows it holds, every sample's hash, content digest of each split.

Everything is read anew and built into a folder that is removed afterwards: an unpacked copy is known to the cache by
names, sizes and times, which an edit need not move.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lensbench.data.index import Index
from lensbench.data.job import Job
from lensbench.data.loader import load_builder
from lensbench.data.prepared import Prepared, columns_of
from lensbench.data.rehash import rehash
from lensbench.data.source import Source
from lensbench.data.store import Confirm, find, prepare
from lensbench.errors import LensbenchError, LensbenchWarning
from lensbench.paths import home
from lensbench.registry import Dataset
from lensbench.sources import Progress
from lensbench.splits import Manifest, read_manifest
from lensbench.verify.facts import Checked, failed, guarded, ok, unknown, verdict
from lensbench.verify.groups import check_bound
from lensbench.verify.pinned import check_leaks

MOST, FEW = 200, 3
"""Rows named one by one in a split, and where it is all of them; the rest is counted."""

Row = Mapping[str, Any]


def check_source(
    dataset: Dataset,
    version: str | None = None,
    config: str | None = None,
    *,
    source: Path | None = None,
    partial: bool = False,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
) -> Iterator[Checked]:
    """From source digest to content digests, and row by row what differs from the pinned manifests.

    Arguments are those of `prepare`. With `partial`, rows that are not in the source are unknown instead of failed.
    Raises LensbenchError for a version or config that there is not; a source that cannot be had or read is a failure.
    """
    chosen = dataset.config(config).name
    release = dataset.version(version).name
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="verify-", dir=home(), ignore_cleanup_errors=True) as scratch:
        options: dict[str, Any] = {"source": source, "progress": progress, "root": Path(scratch)}
        try:
            job, _ = find(dataset, release, chosen, partial=partial, confirm=confirm, **options)
        except LensbenchError as error:
            yield failed(f"{chosen}/source", str(error))
            return
        yield from _digests(job)
        gaps: list[bool] = []
        yield from guarded(f"{chosen}/source", _rows, job, gaps)
        yield from guarded(f"{chosen}/build", _built, job, {**options, "partial": partial or any(gaps)})


def _digests(job: Job) -> Iterator[Checked]:
    """The archives against their pins, which `find` has refused already where they differ."""
    assert job.located is not None
    config, version = job.request.config, job.request.version
    pinned = {file.name: file for file in config.files or version.files}
    if "folder" in job.located.provenance:
        yield unknown(
            f"{config.name}/source", "not checkable (unpacked): there is no archive whose digest could be pinned"
        )
    for file in job.located.provenance["files"]:
        what, digest = f"{config.name}/source {file['name']}", f"sha256 {file['sha256']}"
        pin = pinned.get(file["name"])
        if job.request.own_lists:
            yield unknown(what, f"{digest}, a specimen of one's own: nothing pins it")
        elif pin is None or not (pin.sha256 or pin.md5):
            yield unknown(what, f"{digest}, {file['size']:,} bytes, md5 {file['md5']}; no digest is pinned")
        else:
            yield ok(what, f"{digest}{'' if pin.sha256 else ' (its md5 is the pinned one)'}")


# -- which rows there are --------------------------------------------------------------------------------------


def _rows(job: Job, gaps: list[bool]) -> Iterator[Checked]:
    """The index against the pinned manifests, row by row; notes in `gaps` that rows are missing."""
    request = job.request
    assert job.located is not None
    index = load_builder(request.dataset.folder).index(Source(job.located.spec), request)
    what, count = f"{request.config.name}/source", index.rows.num_rows
    if request.config.samples is not None and count != request.config.samples and not request.partial:
        yield failed(
            what, f"{count:,} samples, and dataset.toml says that the whole source has {request.config.samples:,}"
        )
    if request.config.rule is not None:
        index = index.without_splits()
    found = _found(index)
    for split in () if request.own_lists else request.config.splits.values():
        if split.manifest is None:
            continue
        manifest = read_manifest(request.dataset, request.config.name, split.name)
        absent = split.absent.get(request.version.name)
        missing = [key for key in manifest.ids if key not in found and key not in (absent.ids or () if absent else ())]
        gaps.append(bool(missing))
        place = f"{request.config.name}/{split.name}"
        if request.partial or (absent and absent.ids is None and len(missing) <= absent.about):
            yield from (
                [unknown(place, f"{len(missing):,} rows are not in the source ({missing[0]}, for one)")]
                if missing
                else []
            )
            missing = []
        yield from _each(place, [f"{key}: missing, no file in the source" for key in missing])
        yield from _each(place, _differences(manifest, found, index))


def _found(index: Index) -> dict[str, Row]:
    """Id → what the source says of it, but for what only the builder needs."""
    names = [name for name in index.rows.column_names if pa.types.is_string(index.rows[name].type)]
    return {row["id"]: row for batch in index.rows.select(names).to_batches() for row in batch.to_pylist()}


def _differences(manifest: Manifest, found: Mapping[str, Row], index: Index) -> Iterator[str]:
    """What the source says otherwise of a row, or of a row that the manifest lacks."""
    columns = {"label": manifest.labels, "group": manifest.groups, **manifest.columns}
    columns["split"] = (manifest.split,) * len(manifest.ids)
    for number, key in enumerate(manifest.ids):
        for name, values in columns.items():
            here = found.get(key, {}).get(name)
            if here is not None and values[number] is not None and here != values[number]:
                yield f"{key}: {name} is {here!r} in the source, {values[number]!r} in the manifest"
    listed = index.lists.get(manifest.split)
    theirs = dict(zip(listed.rows["id"].to_pylist(), listed.rows["label"].to_pylist(), strict=True)) if listed else {}
    for key, label in zip(manifest.ids, manifest.labels, strict=True):
        if listed and theirs.get(key, label) != label:
            yield f"{key}: label is {theirs[key]!r} in {listed.where}, {label!r} in the manifest"
        elif listed and key not in theirs:
            yield f"{key}: not listed in {listed.where}"
    placed = [key for key, row in found.items() if row.get("split") == manifest.split]
    for key in sorted({*theirs, *placed} - set(manifest.ids)):
        yield f"{key}: extra, the publisher's {manifest.split} has it and the manifest has not"


def _each(what: str, texts: Iterable[str], rows: int | None = None) -> Iterator[Checked]:
    """A failure per row, the first `MOST` of them in full; where all `rows` fail it is not the rows, and `FEW` do."""
    found = list(texts)
    shown = found[: FEW if len(found) == rows else MOST]
    yield from (failed(what, text) for text in shown)
    if more := len(found) - len(shown):
        yield failed(what, f"and {more:,} rows more" + (": all that there are" if len(found) == rows else ""))


# -- what is built of them -------------------------------------------------------------------------------------


def _built(job: Job, options: dict[str, Any]) -> Iterator[Checked]:
    request = job.request
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensbenchWarning)  # of what is missing: said row by row here
        prepared = prepare(request.dataset, request.version.name, request.config.name, pin=False, **options)
    yield from _features(job, prepared)
    for split, why in prepared.unavailable.items():
        yield unknown(f"{request.config.name}/{split} as built", f"not there: {why}")
    yield from guarded(f"{request.config.name}/groups as built", _groups, job, prepared)
    groups = {}
    for split in prepared.arrow:
        yield from guarded(f"{request.config.name}/{split} as built", _split, job, prepared, split)
        groups[split] = _column(prepared, split, "group")
    if not request.own_lists and not prepared.partial:
        yield from check_leaks(request.dataset, request.config, groups, f"{request.config.name}/leaks as built")


def _features(job: Job, prepared: Prepared) -> Iterator[Checked]:
    """Types of the built columns: what the builder's `columns` says, and what every dataset has."""
    import datasets

    request = job.request
    wanted = load_builder(request.dataset.folder).features(request)
    problems = []
    for split, files in prepared.arrow.items():
        found = datasets.Features.from_arrow_schema(_schema(files[0]))
        problems += [
            f"{split}: column {name} is {found.get(name)}, and the builder says {wanted.get(name)}"
            for name in {**wanted, **found}
            if found.get(name) != wanted.get(name)
        ]
    yield from verdict(
        f"{request.config.name}/columns as built", problems, f"{len(wanted)} columns of the types stated"
    )


def _groups(job: Job, prepared: Prepared) -> Iterator[Checked]:
    """The groups of all splits against the columns that dataset.toml declares."""
    declared, splits = job.request.dataset.group, list(prepared.arrow)
    built = [name for name in {*declared, "group"} if name in _schema(prepared.arrow[splits[0]][0]).names]
    columns = {name: [value for split in splits for value in _column(prepared, split, name)] for name in built}
    yield from check_bound(declared, columns, f"{job.request.config.name}/groups as built")


def _split(job: Job, prepared: Prepared, split: str) -> Iterator[Checked]:
    """Rows, samples and content of one split."""
    request = job.request
    what = f"{request.config.name}/{split} as built"
    hashes = dict(zip(_column(prepared, split, "id"), _column(prepared, split, "sha256"), strict=True))
    stored = {
        key: digest
        for path in prepared.arrow[split]
        for batch in _batches(path)
        for key, digest in rehash(batch, prepared.parts, path.name)
    }
    wrong = [f"{key}: its stored images are not those its sha256 names" for key in hashes if stored[key] != hashes[key]]
    entry = request.config.splits[split]
    if entry.manifest is None or request.own_lists:
        yield from _each(what, wrong, len(hashes))
        yield unknown(what, f"{len(hashes):,} rows, no manifest is pinned; content sha256 {prepared.digests[split]}")
        return
    manifest = read_manifest(request.dataset, request.config.name, split)
    wrong += _otherwise(prepared, manifest)
    pinned = dict(zip(manifest.ids, manifest.columns.get("sha256", (None,) * len(manifest.ids)), strict=True))
    parts = " or ".join(prepared.parts)
    differ = [
        f"{key}: {parts} is not the pinned one (sample sha256 {hashes[key][:12]}…, pinned {str(pinned[key])[:12]}…)"
        for key in hashes
        if pinned.get(key) not in (None, hashes[key])
    ]
    cover, checked = prepared.coverage[split], sum(pinned.get(key) is not None for key in hashes)
    if wrong or differ:
        yield from _each(what, wrong, len(hashes))
        yield from _each(what, differ, checked)
    else:
        yield ok(what, _held(cover.found, len(cover.absent), checked))
    yield from _content(job, prepared, split, bool(cover.missing), bool(differ))


def _held(found: int, absent: int, checked: int) -> str:
    """What was compared, in words."""
    text = f"{found:,} rows, those of the manifest, every stored image hashed again"
    text += f"; {absent:,} more listed without a file" if absent else ""
    return text + (f"; {checked:,} sample hashes are the pinned ones" if checked else "")


def _otherwise(prepared: Prepared, manifest: Manifest) -> Iterator[str]:
    """Rows whose built columns are not what the manifest pins."""
    order = prepared.dataset.label_order(prepared.dataset.config(prepared.config).labels)
    names = [name for path in prepared.arrow[manifest.split][:1] for name in _schema(path).names]
    row = {key: number for number, key in enumerate(manifest.ids)}
    ids = _column(prepared, manifest.split, "id")
    expected = prepared.coverage[manifest.split]
    strange = sorted(set(ids) - row.keys())
    if len(ids) != expected.found or strange:
        yield f"{len(ids):,} rows, {expected.found:,} expected; {len(strange):,} of them not in the manifest"
        return
    columns = {"label": manifest.labels, "group": manifest.groups, **manifest.columns}
    for name, values in columns.items():
        if name in names and name != "sha256":
            built = _column(prepared, manifest.split, name)
            built = [order[value] for value in built] if name == "label" else built
            for key, here in zip(ids, built, strict=True):
                if values[row[key]] not in (None, here):
                    yield f"{key}: {name} is {here!r} as built, {values[row[key]]!r} in the manifest"


def _content(job: Job, prepared: Prepared, split: str, gaps: bool, differ: bool) -> Iterator[Checked]:
    """The digest over all rows, and what stands behind the pinned one."""
    request, found = job.request, prepared.digests[split]
    what, count = f"{request.config.name}/{split} content", f"{prepared.coverage[split].found:,} rows"
    pin = request.config.splits[split].content.get(request.version.name)
    if pin is None or pin.sha256 is None:
        yield unknown(what, f"{count}, sha256 {found}; no digest is pinned for {request.version.name}")
    elif found == pin.sha256:
        yield ok(what, f"{count}, sha256 {found} (provenance {pin.provenance}{_means(job, pin.provenance)})")
    elif gaps:
        yield unknown(what, f"{count}: not comparable, because rows are missing (provenance {pin.provenance})")
    else:
        where = "the rows above say where" if differ else "no hash of single rows is pinned that could say where"
        yield failed(what, f"{count}, sha256 {found}, pinned {pin.sha256} (provenance {pin.provenance}); {where}")


def _means(job: Job, provenance: str) -> str:
    """What a reader should know of a digest that is not the publisher's own."""
    assert job.located is not None
    if provenance != "copy":
        return ""
    if "folder" in job.located.provenance:
        return ": pinned from a re-encoded copy, which no official archive has confirmed"
    return ': pinned from a re-encoded copy; if these archives are the publisher\'s, they confirm it: say "official"'


def _column(prepared: Prepared, split: str, name: str) -> list[Any]:
    return [value for path in prepared.arrow[split] for value in columns_of(path, [name])[name].to_pylist()]


def _schema(path: Path) -> pa.Schema:
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        return reader.schema


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
        yield from reader
