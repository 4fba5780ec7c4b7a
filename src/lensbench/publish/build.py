"""Write a published folder: every config that can be built, its card, and the notes that say what is in it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensbench import __version__
from lensbench.data.prepared import Prepared, check_content, other_content
from lensbench.data.store import Confirm, prepare
from lensbench.errors import ArchiveError, DatasetError, LensbenchWarning
from lensbench.progress import Quiet
from lensbench.publish.card import Shown, absences, write_card
from lensbench.publish.folder import taking_place, write_notes
from lensbench.publish.shards import write_split
from lensbench.registry import Config, Dataset, Version
from lensbench.sources import Progress

FACTS = ("dataset.toml", "classes.csv")
"""Files of the registry entry that lie beside the card."""


@dataclass(frozen=True)
class Published:
    """A folder that was written; `rows`: config → split → number of rows; `remarks`: what is not in it, in words."""

    folder: Path
    version: str
    rows: Mapping[str, Mapping[str, int]]
    remarks: tuple[str, ...]


def publish(
    dataset: Dataset,
    folder: Path,
    *,
    version: str | None = None,
    configs: Sequence[str] = (),
    source: Path | str | None = None,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    repo: str | None = None,
) -> Published:
    """Write what will be pushed to the Hub into `folder`: it stands there whole, or not at all.

    `configs`: which (default: every real one that can be built from the source; a synthetic one is written only when
    it is named). `source`, `confirm`: as in `prepare`. `repo`: the ORG/NAME that the card speaks of. The unmodified
    ``datasets.load_dataset(folder, config)`` gives the rows of `lensbench.load_dataset`.

    Raises LensbenchError for a source that is not complete, for rows that are not those that dataset.toml pins, and
    where `folder` holds something else.
    """
    chosen = dataset.version(version)
    with taking_place(folder, dataset.name) as part:
        ready, remarks = _prepared(dataset, chosen, configs, source, progress, confirm)
        if chosen.superseded_by:
            remarks.insert(0, f"{dataset.name} {chosen.name} is superseded by {chosen.superseded_by}")
        shown = [_write(config, prepared, part, progress or Quiet()) for config, prepared in ready]
        for name in FACTS:
            shutil.copyfile(dataset.folder / name, part / name)
        write_card(part, dataset, chosen, shown, repo)
        write_notes(part, _about(dataset, chosen, shown))
    rows = {item.config.name: {split: w.rows for split, w in item.splits.items()} for item in shown}
    remarks += [text for item in shown for text in absences(dataset, item)]
    return Published(folder.resolve(), chosen.name, rows, tuple(remarks))


def _prepared(
    dataset: Dataset,
    version: Version,
    names: Sequence[str],
    source: Path | str | None,
    progress: Progress | None,
    confirm: Confirm | None,
) -> tuple[list[tuple[Config, Prepared]], list[str]]:
    """The configs to write, and why others are left out: one that was not asked for may not fit the source."""
    asked = {dataset.config(name).name for name in names}
    wanted = [c for c in dataset.configs.values() if (c.name in asked if asked else not c.synthetic)]
    if not wanted:
        raise DatasetError(f"{dataset.name} has no real config; name one of {', '.join(dataset.configs)} with --config")
    ready, left_out = list[tuple[Config, Prepared]](), list[str]()
    for config in wanted:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LensbenchWarning)  # gaps are remarks, other data is refused below
                prepared = prepare(
                    dataset, version.name, config.name, source=source, progress=progress, confirm=confirm
                )
        except (DatasetError, ArchiveError) as error:
            if asked or config.name == dataset.default_config:
                raise
            left_out.append(f"{config.name} is left out: {error}")
            continue
        for split in prepared.arrow:
            if other := other_content(prepared, split):
                raise DatasetError(f"{other}; nothing was published")
            check_content(prepared, split)
        ready.append((config, prepared))
    if not ready:
        raise DatasetError(f"no config of {dataset.name} can be built: {'; '.join(left_out)}")
    return ready, left_out


def _write(config: Config, prepared: Prepared, part: Path, progress: Progress) -> Shown:
    folder = part / "data" / config.name
    total = sum(cover.found for cover in prepared.coverage.values())
    progress.start(f"writing {config.name} of {prepared.dataset.name}", total, 0)
    try:
        splits = {
            split: write_split(prepared.arrow[split], prepared.parts, folder, split, progress.advance)
            for split in config.splits
            if split in prepared.arrow
        }
    finally:
        progress.finish()
    return Shown(config, prepared, splits)


def _about(dataset: Dataset, version: Version, shown: Sequence[Shown]) -> dict[str, Any]:
    """What `lensbench.json` says beside the files: enough to check every row, and no time and no place."""
    return {
        "lensbench": __version__,
        "dataset": dataset.name,
        "version": version.name,
        "record": version.record,
        "doi": version.doi,
        "columns": version.schema,
        "configs": {item.config.name: _about_config(item) for item in shown},
    }


def _about_config(item: Shown) -> dict[str, Any]:
    prepared = item.prepared
    return {
        "synthetic": item.config.synthetic,
        "parts": dict(prepared.parts),
        "splits": {s: {"rows": w.rows, "sha256": prepared.digests[s]} for s, w in item.splits.items()},
        "without": sorted(prepared.unavailable),
        "missing": {s: list(c.missing) for s, c in prepared.coverage.items() if c.missing},
        "source": dict(prepared.source),
    }
