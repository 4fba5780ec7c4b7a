"""`load_dataset`: the signature of `datasets.load_dataset`, for the datasets of the registry.

Whatever is not in the registry is handed on untouched.
"""

from __future__ import annotations

import difflib
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench.data.prepared import Prepared
from lensbench.data.store import DATA, find, prepare, warn_of_content, warn_of_gaps
from lensbench.digest import sha256_of
from lensbench.errors import DatasetError, LensbenchWarning
from lensbench.registry import Dataset, dataset_names, get_dataset, registry_root
from lensbench.sources import Progress

if TYPE_CHECKING:
    import datasets

Reader = Callable[[str], Any]


def load_dataset(
    path: str,
    name: str | None = None,
    data_dir: str | None = None,
    data_files: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    split: str | datasets.Split | list[str] | list[datasets.Split] | None = None,
    cache_dir: str | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: datasets.DownloadMode | str | None = None,
    verification_mode: datasets.VerificationMode | str | None = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    revision: str | datasets.Version | None = None,
    token: bool | str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **config_kwargs: Any,
) -> datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict:
    """A dataset of the registry as `datasets` objects; any other `path` goes to `datasets.load_dataset`.

    `name`: the config (default: the dataset's own). `revision`: the dataset version (default: the newest).
    `data_dir`: a folder with the publisher's archives, or with what was unpacked from them (else
    ``LENSBENCH_SOURCE``, earlier downloads, the record). `split`: a name, a slice (``"test[:10%]"``), a sum
    (``"train+test"``), a `datasets.ReadInstruction` or a list of these; None is a dict of all splits.
    `streaming`: rows straight from the archive, in the same order. `num_proc`: processes that prepare the
    data. `cache_dir`: where prepared data is kept instead of the cache folder. ``partial=True``: load what is
    there of an incomplete source. A column `label` is a `ClassLabel`; rows are sorted by id.

    Raises LensbenchError for an unknown config, version or split, for arguments that mean nothing here, and
    for a source that cannot be had, is not the published one or is not complete. Warns of a superseded
    version, of splits that are not available, of files that are missing and of a split that is not the data
    that the registry pins (a stream cannot tell before its last row). The specimen is loaded only by its name.
    """
    if path not in dataset_names():
        from datasets import load_dataset as delegate

        arguments = dict(locals())
        for ours in ("delegate", "config_kwargs"):
            del arguments[ours]
        try:
            return delegate(**arguments, **config_kwargs)
        except Exception as error:
            close = difflib.get_close_matches(path, dataset_names(), n=1, cutoff=0.8)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            error.add_note(
                f"{path!r} is not in lensbench's registry {registry_root()} either (LENSBENCH_REGISTRY=DIR names "
                f"another){meant}"
            )
            raise
    partial = config_kwargs.pop("partial", False)
    _refuse(
        path,
        config_kwargs,
        data_files=data_files,
        features=features,
        download_config=download_config,
        storage_options=storage_options,
        token=token,
        save_infos=save_infos or None,
        download_mode=_unless(download_mode, "reuse_dataset_if_exists"),
        verification_mode=_unless(verification_mode, "basic_checks", "all_checks"),
    )
    dataset = get_dataset(path)
    version = dataset.version(None if revision is None else str(revision))
    if version.superseded_by:
        warnings.warn(
            f"{path} {version.name} is superseded by {version.superseded_by}; "
            f"revision={version.superseded_by!r} loads it",
            LensbenchWarning,
            stacklevel=2,
        )
    options: dict[str, Any] = {
        "source": Path(data_dir).expanduser() if data_dir is not None else None,
        "partial": bool(partial),
        "progress": _progress(),
        "root": Path(cache_dir).expanduser() if cache_dir is not None else None,
    }
    if streaming:
        return _stream(dataset, version.name, name, split, options)
    prepared = prepare(dataset, version.name, name, num_proc=num_proc, **options)
    return _pick(
        split,
        prepared.unavailable,
        list(prepared.arrow),
        lambda spec: _read(prepared, spec, bool(keep_in_memory)),
    )


def _refuse(path: str, unknown: Mapping[str, Any], **meaningless: Any) -> None:
    given = [name for name, value in meaningless.items() if value is not None]
    if given:
        raise DatasetError(
            f"{path} is a dataset of the registry, where {', '.join(given)} has no meaning: its files, "
            "columns and checks are pinned, and what has changed is prepared again by itself"
        )
    if unknown:
        raise DatasetError(f"{path} takes no option {', '.join(sorted(unknown))}; the only one is partial=True")


def _unless(value: Any, *allowed: str) -> Any:
    """None where `value`, a `datasets` enum or its text, asks for what happens anyway."""
    return None if value is None or getattr(value, "value", value) in allowed else value


def _progress() -> Progress:
    """What `datasets` itself would show: its switch silences ours, too."""
    import datasets

    from lensbench.progress import Quiet, default_progress

    return Quiet() if datasets.are_progress_bars_disabled() else default_progress()


# -- which splits --------------------------------------------------------------------------------------------


def _pick(split: Any, unavailable: Mapping[str, str], splits: Sequence[str], read: Reader) -> Any:
    """One dataset for one spec, a list for a list, a dict of all splits for None."""
    import datasets

    if split is None:
        for name, why in unavailable.items():
            warnings.warn(f"without {name}: {why}", LensbenchWarning, stacklevel=3)
        read_all = {name: read(name) for name in splits}
        streamed = any(isinstance(item, datasets.IterableDataset) for item in read_all.values())
        return datasets.IterableDatasetDict(read_all) if streamed else datasets.DatasetDict(read_all)
    if isinstance(split, list | tuple):
        return [_pick(item, unavailable, splits, read) for item in split]
    spec = str(split) if str(split) != "all" else "+".join(splits)
    for part in spec.split("+"):
        found = re.match(r"\s*(\w+)", part)
        name = found[1] if found else part
        if name in unavailable:
            raise DatasetError(f"split {name!r} is not available: {unavailable[name]}")
        if name not in splits:
            raise DatasetError(f"no split {name!r}; there are {', '.join(splits)}")
    return read(spec)


def _read(prepared: Prepared, spec: str, in_memory: bool) -> datasets.Dataset:
    import datasets
    from datasets.arrow_reader import ArrowReader

    folder = str(prepared.folder / DATA)
    info = datasets.DatasetInfo.from_directory(folder)
    parts = ArrowReader(folder, info).read(
        name=prepared.dataset.name,
        instructions=spec,
        split_infos=list(info.splits.values()),
        in_memory=in_memory,
    )
    # Names the content: the same split of changed data must not find a `map` result of the old.
    fingerprint = sha256_of([prepared.folder.name, dict(prepared.digests), spec])[:16]
    return datasets.Dataset(fingerprint=fingerprint, **parts)


# -- streaming -----------------------------------------------------------------------------------------------


def _stream(dataset: Dataset, version: str, config: str | None, split: Any, options: Mapping[str, Any]) -> Any:
    """Rows from the archive, or from the prepared data where there is some: the same, in the same order."""
    import datasets

    from lensbench.data.build import open_stream

    job, prepared = find(dataset, version, config, **options)
    if prepared is not None:
        warn_of_gaps(job.request, prepared.coverage)
        warn_of_content(prepared)
        ready = prepared
        return _pick(
            split,
            ready.unavailable,
            list(ready.arrow),
            lambda spec: _read(ready, spec, False).to_iterable_dataset(),
        )
    with tempfile.TemporaryDirectory() as scratch:
        builder = open_stream(job, options["progress"], Path(scratch))
    plan = builder.plan
    warn_of_gaps(job.request, plan.coverage)
    rows = {name: table.num_rows for name, table in plan.tables.items()}

    def read(spec: str) -> datasets.IterableDataset:
        parts = []
        for piece in datasets.ReadInstruction.from_spec(spec).to_absolute(rows):
            table = plan.tables[piece.splitname].slice(piece.from_, piece.to - piece.from_)
            part = builder.over(replace(plan, tables={piece.splitname: table}))
            parts.append(part.as_streaming_dataset(split=piece.splitname))
        return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)

    return _pick(split, plan.unavailable, list(plan.tables), read)
