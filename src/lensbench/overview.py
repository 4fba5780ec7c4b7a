"""What the registry holds, as values for `bench list` and `bench show`: read from TOML, manifests and the cache.

No image and no archive is opened, nothing is fetched and `datasets` is not imported. An "unknown" of the registry is
None here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lensbench.benchmark import Benchmark, benchmark_root, get_benchmark, read_spec
from lensbench.data.locate import have
from lensbench.errors import LensbenchError
from lensbench.paths import home
from lensbench.registry import Config, Dataset, Leak, Split, Version, dataset_names, get_dataset
from lensbench.sources import ARCHIVE
from lensbench.splits import Manifest, awaited, read_manifest

NOTES = "prepared.json"
"""The file that a finished build holds."""


@dataclass(frozen=True)
class VersionLine:
    """A version and where it stands: ``default``, ``older``, ``superseded`` (by `reason`) or ``blocked``."""

    name: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class OnDisk:
    """What of a track is in the cache. `prepared`: config → bytes; `specimen`: it came with lensbench."""

    archives: bool
    prepared: Mapping[str, int]
    specimen: bool


@dataclass(frozen=True)
class Track:
    """Configs over the same samples: one task, one specimen. `config` is the first choice among `configs`.

    `examples`: samples in the splits of `config`; where those are unknown, in its source as far as the registry says,
    and `basis` names which: ``splits``, ``samples``, ``counted``, ``listed`` or ``advertised``. `specimen`: samples in
    the synthetic config, which are never part of `examples`.
    """

    task: str
    config: str
    configs: tuple[str, ...]
    examples: int | None
    basis: str | None
    specimen: int | None
    benchmarks: tuple[str, ...]
    on_disk: OnDisk


@dataclass(frozen=True)
class Overview:
    """One dataset in a line or two. `size`: bytes of the default version's archives; `size_about`: as advertised."""

    name: str
    title: str
    licence: str
    versions: tuple[VersionLine, ...]
    tracks: tuple[Track, ...]
    size: int | None
    size_about: int | None


@dataclass(frozen=True)
class Catalogue:
    """All datasets of a registry; `unreadable`: what could not be read, by name, and why."""

    datasets: tuple[Overview, ...]
    unreadable: Mapping[str, str]


@dataclass(frozen=True)
class SplitView:
    """One split. `awaited`: where its ids will come from, where they are not pinned yet.

    `classes`: rows by class name, None where rows carry no class or are unknown. `groups`: different groups, None
    where unknown; `ungrouped`: rows without a group.
    """

    name: str
    rows: int | None
    sha256: str | None
    awaited: str | None
    classes: Mapping[str, int] | None
    groups: int | None
    ungrouped: int | None
    absent: Mapping[str, Mapping[str, Any]]
    content: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ConfigView:
    """One config. `crossing`: groups found in more than one split, with the splits; `unlisted`: those of them that
    no known leak names."""

    name: str
    title: str
    default: bool
    synthetic: bool
    task: str
    labels: str
    rule: Mapping[str, Any] | None
    samples: int | None
    splits: tuple[SplitView, ...]
    leaks: tuple[Leak, ...]
    crossing: Mapping[str, tuple[str, ...]]
    unlisted: tuple[str, ...]


@dataclass(frozen=True)
class BenchmarkLine:
    """A benchmark on the dataset. `pinned`: whether the rows it evaluates are known."""

    name: str
    revision: int
    title: str
    task: str
    version: str
    config: str
    split: str
    headline: str
    pinned: bool


@dataclass(frozen=True)
class Sheet:
    """All there is to know of a dataset without its images. `entry` is the registry's own."""

    entry: Dataset
    overview: Overview
    configs: tuple[ConfigView, ...]
    benchmarks: tuple[BenchmarkLine, ...]
    unreadable: Mapping[str, str]
    """Benchmarks of the folder in use that are not valid, and why: whether they are on this dataset nobody can say."""

    def config(self, name: str | None) -> ConfigView:
        """The config called `name` (None: the default one); raises DatasetError for one that there is not."""
        chosen = self.entry.config(name).name
        return next(config for config in self.configs if config.name == chosen)


# -- all datasets ----------------------------------------------------------------------------------------------


def read_catalogue() -> Catalogue:
    """Every dataset of the registry in use. One that cannot be read is named and does not hide the others."""
    unreadable: dict[str, str] = {}
    benchmarks = _benchmarks(dataset_names(), unreadable)
    datasets = []
    for name in dataset_names():
        try:
            datasets.append(overview_of(get_dataset(name), benchmarks))
        except LensbenchError as error:
            unreadable[name] = str(error)
    return Catalogue(tuple(datasets), unreadable)


def _benchmarks(datasets: Collection[str], unreadable: dict[str, str]) -> list[Benchmark]:
    """The benchmarks on `datasets`: those beside a registry of one's own may be on others."""
    found = []
    for path in sorted(benchmark_root().glob("*.toml"), key=lambda path: path.stem):
        try:
            if read_spec(path).get("dataset") in datasets:
                found.append(get_benchmark(path.stem))
        except LensbenchError as error:
            unreadable[f"benchmark {path.stem}"] = str(error)
    return found


def overview_of(dataset: Dataset, benchmarks: Iterable[Benchmark]) -> Overview:
    """What `bench list` says of one dataset; of `benchmarks`, those on it."""
    version = default_version(dataset)
    sizes = [file.size for file in version.files if file.role == ARCHIVE] if version else []
    abouts = [file.size or file.size_about for file in version.files if file.role == ARCHIVE] if version else []
    return Overview(
        name=dataset.name,
        title=dataset.title,
        licence=dataset.licence,
        versions=tuple(_version_line(dataset, version) for version in reversed(list(dataset.versions.values()))),
        tracks=_tracks(dataset, version, [b for b in benchmarks if b.folder == dataset.folder]),
        size=_total(sizes),
        size_about=_total(abouts),
    )


def default_version(dataset: Dataset) -> Version | None:
    """The newest version that is neither blocked nor superseded, None where all are."""
    usable = [v for v in dataset.versions.values() if not v.blocked and not v.superseded_by]
    return usable[-1] if usable else None


def _version_line(dataset: Dataset, version: Version) -> VersionLine:
    if version.blocked:
        return VersionLine(version.name, "blocked", version.blocked)
    if version.superseded_by:
        return VersionLine(version.name, "superseded", version.superseded_by)
    return VersionLine(version.name, "default" if version is default_version(dataset) else "older", None)


def _tracks(dataset: Dataset, version: Version | None, benchmarks: list[Benchmark]) -> tuple[Track, ...]:
    members: dict[tuple[str, str | None], list[Config]] = defaultdict(list)
    for config in dataset.configs.values():
        if not config.synthetic:
            members[config.task, _specimen_of(dataset, config)].append(config)
    tracks = []
    for (task, specimen), configs in members.items():
        chosen = next((c for c in configs if c.name == dataset.default_config), configs[0])
        names = tuple(config.name for config in configs)
        examples, basis = _examples(version, chosen, alone=len(members) == 1)
        tracks.append(
            Track(
                task=task,
                config=chosen.name,
                configs=names,
                examples=examples,
                basis=basis,
                specimen=_rows(dataset.configs[specimen]) if specimen else None,
                benchmarks=tuple(b.name for b in benchmarks if b.config in names),
                on_disk=OnDisk(
                    archives=version is not None and have(version, chosen),
                    prepared={
                        c.name: size for c in configs if version and (size := prepared_size(dataset, version, c))
                    },
                    specimen=specimen is not None,
                ),
            )
        )
    return tuple(tracks)


def _specimen_of(dataset: Dataset, config: Config) -> str | None:
    name = dataset.specimen_of(config.name)
    return name if name in dataset.configs else None


def _rows(config: Config) -> int | None:
    return _total([split.rows for split in config.splits.values()])


def _examples(version: Version | None, config: Config, alone: bool) -> tuple[int | None, str | None]:
    """A version's own numbers are of the whole dataset: they say nothing of one track beside others."""
    candidates: list[tuple[int | None, str]] = [(_rows(config), "splits"), (config.samples, "samples")]
    if alone and version:
        candidates += [(version.images.get(name), name) for name in ("counted", "listed", "advertised")]
    return next(((n, basis) for n, basis in candidates if n is not None), (None, None))


def _total(numbers: list[int | None]) -> int | None:
    """The sum, or None where one is unknown."""
    known = [n for n in numbers if n is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def prepared_size(dataset: Dataset, version: Version, config: Config) -> int:
    """Bytes of what is prepared of a config, 0 if nothing is."""
    shelf = home() / "datasets" / dataset.name / config.name / version.name
    return sum(bytes_in(notes.parent) for notes in shelf.glob(f"*/{NOTES}"))


def bytes_in(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# -- one dataset -----------------------------------------------------------------------------------------------


def read_sheet(name: str) -> Sheet:
    """All there is to know of the dataset called `name`.

    Raises DatasetError for one that there is not, or whose manifests are not those that it pins.
    """
    dataset = get_dataset(name)
    unreadable: dict[str, str] = {}
    benchmarks = _benchmarks([name], unreadable)
    return Sheet(
        entry=dataset,
        overview=overview_of(dataset, benchmarks),
        configs=tuple(_config_view(dataset, config) for config in dataset.configs.values()),
        benchmarks=tuple(_benchmark_line(benchmark) for benchmark in benchmarks),
        unreadable=unreadable,
    )


def _benchmark_line(b: Benchmark) -> BenchmarkLine:
    pinned = b.expected is not None
    return BenchmarkLine(b.name, b.revision, b.title, b.task, b.version, b.config, b.split, b.headline, pinned)


def _config_view(dataset: Dataset, config: Config) -> ConfigView:
    manifests = {
        split.name: read_manifest(dataset, config.name, split.name)
        for split in config.splits.values()
        if split.manifest is not None
    }
    leaks = tuple(leak for leak in dataset.leaks if leak.config == config.name)
    crossing = _crossing(manifests)
    listed = {leak.group for leak in leaks}
    rule = {"kind": config.rule.kind, **config.rule.options} if config.rule else None
    return ConfigView(
        name=config.name,
        title=config.title,
        default=config.name == dataset.default_config,
        synthetic=config.synthetic,
        task=config.task,
        labels=config.labels,
        rule=rule,
        samples=config.samples,
        splits=tuple(_split_view(dataset, config, s, manifests.get(s.name)) for s in config.splits.values()),
        leaks=leaks,
        crossing=crossing,
        unlisted=tuple(group for group in crossing if group not in listed),
    )


def _crossing(manifests: Mapping[str, Manifest]) -> dict[str, tuple[str, ...]]:
    places: dict[str, list[str]] = defaultdict(list)
    for split, manifest in manifests.items():
        for group in sorted({group for group in manifest.groups if group is not None}):
            places[group].append(split)
    return {group: tuple(splits) for group, splits in sorted(places.items()) if len(splits) > 1}


def _split_view(dataset: Dataset, config: Config, split: Split, manifest: Manifest | None) -> SplitView:
    view = SplitView(
        name=split.name,
        rows=split.rows,
        sha256=split.sha256,
        awaited=None,
        classes=None,
        groups=None,
        ungrouped=None,
        absent={
            version: {"ids": None if a.ids is None else sorted(a.ids), "about": a.about, "reason": a.reason}
            for version, a in split.absent.items()
        },
        content={v: {"sha256": c.sha256, "provenance": c.provenance} for v, c in split.content.items()},
    )
    if manifest is None:
        usable = default_version(dataset) is not None
        return replace(view, awaited=awaited(dataset, config, split) if usable else "no version is to be built")
    labels = Counter(label for label in manifest.labels if label is not None)
    return replace(
        view,
        rows=len(manifest.ids),
        classes={name: labels[name] for name in dataset.label_order(config.labels)} if labels else None,
        groups=len(set(manifest.groups) - {None}),
        ungrouped=manifest.groups.count(None),
    )
