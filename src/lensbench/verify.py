"""Check what `dataset.toml` pins: every manifest against its lock, splits against each other, the specimen archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lensbench.digest import sha256_file
from lensbench.errors import DatasetError
from lensbench.registry import SPECIMEN, Config, Dataset
from lensbench.splits import Manifest, read_manifest


@dataclass(frozen=True)
class Checked:
    """One fact: `state` is ok or unknown (a wrong one raises)."""

    what: str
    state: str
    text: str


def verify(dataset: Dataset) -> Iterator[Checked]:
    """Yield what holds and what is unknown; raises DatasetError at the first thing that does not hold."""
    for config in dataset.configs.values():
        yield from _splits(dataset, config)
        yield from _files(dataset, config)


def _splits(dataset: Dataset, config: Config) -> Iterator[Checked]:
    seen: dict[str, str] = {}
    for split in config.splits.values():
        what = f"{config.name}/{split.name}"
        if split.manifest is None:
            yield Checked(what, "unknown", "not pinned until the first build from the publisher's list")
            continue
        manifest = read_manifest(dataset, config.name, split.name)
        _rows(what, manifest, split.rows)
        both = sorted(seen.keys() & set(manifest.ids))
        if both:
            raise DatasetError(f"{dataset.name}: id {both[0]} is in {seen[both[0]]} and in {what}")
        seen.update(dict.fromkeys(manifest.ids, what))
        yield Checked(what, "ok", f"{len(manifest.ids):,} rows, rows' sha256 {manifest.digest[:12]}…")


def _rows(what: str, manifest: Manifest, rows: int | None) -> None:
    if rows is not None and rows != len(manifest.ids):
        raise DatasetError(f"{what}: {len(manifest.ids):,} rows, and dataset.toml says {rows:,}")


def _files(dataset: Dataset, config: Config) -> Iterator[Checked]:
    for file in config.files:
        path = dataset.folder / SPECIMEN / file.name
        if not path.is_file():
            raise DatasetError(f"{path} is missing: restore it with `git checkout` or reinstall lensbench")
        found = sha256_file(path)
        if found != file.sha256:
            raise DatasetError(f"{path}: sha256 {found[:12]}…, and dataset.toml pins {str(file.sha256)[:12]}…")
        yield Checked(f"{config.name}/{file.name}", "ok", f"sha256 {found[:12]}…")
