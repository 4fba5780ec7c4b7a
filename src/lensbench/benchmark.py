"""The frozen benchmark spec: `benchmarks/<name>.toml`, and the digest that a board's rows must share.

Everything that changes a number is in the digest: dataset version, the manifest of the evaluated split, label
names in order, input contract, metric ids with their versions, cluster. Title, references and prose are not.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lensbench.digest import sha256_of
from lensbench.errors import BenchmarkError, nearest
from lensbench.paths import shipped
from lensbench.registry import SPECIMEN, Dataset, get_dataset, registry_root

TASKS = ("classification",)
RESIZES = ("opencv-linear",)
HASHED = "hash200"


@dataclass(frozen=True)
class Input:
    """What a model is given: RGB (or grey) of one size, float32 in `range`, batch × channels × height × width."""

    height: int
    width: int
    resize: str
    colour: Literal["RGB", "BGR"]
    range: tuple[float, float]


@dataclass(frozen=True)
class Reference:
    """A published result nobody re-ran: shown unranked, with its source."""

    name: str
    source: str
    url: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Benchmark:
    """How one split of one dataset version is scored. `manifest` is the digest of the evaluated split's rows."""

    name: str
    revision: int
    title: str
    task: str
    dataset: str
    version: str
    config: str
    split: str
    cluster: str
    input: Input
    kinds: tuple[str, ...]
    metrics: Mapping[str, int]
    """Metric id → version, headline first."""
    labels: tuple[str, ...]
    absent: frozenset[str]
    """Listed ids whose file the publisher never shipped in this version: not expected."""
    manifest: str
    synthetic: bool
    references: tuple[Reference, ...]
    folder: Path
    """The dataset's folder in the registry."""
    expected: int | None = None
    """Samples a complete record is over; the manifest's digest pins it."""

    @property
    def headline(self) -> str:
        """The metric that ranks the board."""
        return next(iter(self.metrics))

    @property
    def slug(self) -> str:
        """Name of its board's folder: specimens have a board of their own."""
        return f"{self.name}-{SPECIMEN}" if self.synthetic else self.name

    @property
    def pinned(self) -> dict[str, Any]:
        """What the digest is taken over."""
        return {
            "schema": 1,
            "name": self.name,
            "revision": self.revision,
            "task": self.task,
            "dataset": {
                "name": self.dataset,
                "version": self.version,
                "config": self.config,
                "split": self.split,
            },
            "manifest": self.manifest,
            "absent": sorted(self.absent),
            "labels": list(self.labels),
            "cluster": self.cluster,
            "input": {
                "height": self.input.height,
                "width": self.input.width,
                "resize": self.input.resize,
                "colour": self.input.colour,
                "range": list(self.input.range),
                "dtype": "float32",
            },
            "output": list(self.kinds),
            "metrics": dict(self.metrics),
            "headline": self.headline,
        }

    @cached_property
    def digest(self) -> str:
        """Hex sha256 over `pinned`: the identity of a board."""
        return sha256_of(self.pinned)

    def over(self, manifest: str) -> Benchmark:
        """The same benchmark over other rows (a specimen of another size): another digest, another board."""
        return replace(self, manifest=manifest, expected=None)


def benchmark_root(root: Path | str | None = None) -> Path:
    """The benchmarks folder in use: `root`, else ``LENSBENCH_BENCHMARKS``, else the one that came with lensbench."""
    chosen = root or os.environ.get("LENSBENCH_BENCHMARKS")
    if chosen:
        return Path(chosen)
    beside = registry_root().parent / "benchmarks"
    return beside if os.environ.get("LENSBENCH_REGISTRY") and beside.is_dir() else shipped("benchmarks")


def benchmark_names(root: Path | str | None = None) -> list[str]:
    """Names of all benchmarks, sorted."""
    return sorted(path.stem for path in benchmark_root(root).glob("*.toml"))


def get_benchmark(name: str, config: str | None = None, root: Path | str | None = None) -> Benchmark:
    """Read `benchmarks/<name>.toml`; `config` replaces the dataset config it names (``specimen``).

    Raises BenchmarkError for an unknown name (with the nearest one) or a spec that is not valid.
    """
    names = benchmark_names(root)
    if name not in names:
        raise BenchmarkError(f"no benchmark {name!r}{nearest(name, names)}")
    where = benchmark_root(root) / f"{name}.toml"
    try:
        data = tomllib.loads(where.read_text(encoding="utf-8"))
        return _benchmark(data, where, config)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BenchmarkError(f"{where}: not valid TOML: {error}") from error
    except KeyError as error:
        raise BenchmarkError(f"{where}: the entry {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BenchmarkError(f"{where}: {error}") from error


def _benchmark(data: Mapping[str, Any], where: Path, config: str | None) -> Benchmark:
    from lensbench.metrics import get_metric
    from lensbench.splits import get_split, read_manifest

    _allow(data["schema"], (1,), "schema")
    _allow(data["name"], (where.stem,), "name")
    _allow(data["task"], TASKS, "task")
    dataset = get_dataset(data["dataset"])
    chosen = dataset.config(config or data["config"])
    version = dataset.version(data["version"]).name
    split = get_split(dataset, chosen.name, data["split"])
    absent = split.absent.get(version)
    ids = (data["metrics"]["headline"], *data["metrics"]["ids"])
    cluster = _allow(data["cluster"], (HASHED, "group"), "cluster")
    manifest = read_manifest(dataset, chosen.name, split.name)
    return Benchmark(
        name=data["name"],
        revision=int(data["revision"]),
        title=f"{dataset.title}, specimen" if chosen.synthetic else data["title"],
        task=data["task"],
        dataset=dataset.name,
        version=version,
        config=chosen.name,
        split=split.name,
        cluster=cluster,
        input=_input(data["input"]),
        kinds=tuple(_allow(kind, ("logits", "probabilities"), "output kind") for kind in data["output"]["kinds"]),
        metrics={i: get_metric(i).version for i in ids},
        labels=dataset.label_order(chosen.labels),
        absent=absent.ids or frozenset() if absent else frozenset(),
        manifest=manifest.digest_with_groups if cluster == "group" else manifest.digest,
        synthetic=chosen.synthetic,
        references=() if chosen.synthetic else tuple(_reference(r, ids) for r in data.get("references", [])),
        folder=dataset.folder,
        expected=len(manifest.ids) - len(absent.ids or () if absent else ()),
    )


def _input(data: Mapping[str, Any]) -> Input:
    low, high = data["range"]
    size = (int(data["height"]), int(data["width"]))
    if not all(1 <= side <= 16_384 for side in size) or not low < high:
        raise ValueError(f"input {size[0]}×{size[1]} in [{low}, {high}] is not a usable contract")
    return Input(
        height=size[0],
        width=size[1],
        resize=_allow(data["resize"], RESIZES, "resize"),
        colour=_allow(data["colour"], ("RGB", "BGR"), "colour"),
        range=(float(low), float(high)),
    )


def _reference(data: Mapping[str, Any], ids: tuple[str, ...]) -> Reference:
    for metric in data["values"]:
        _allow(metric, ids, f"metric of reference {data['name']!r}")
    return Reference(data["name"], data["source"], data["url"], dict(data["values"]))


def _allow(value: Any, known: tuple[Any, ...], what: str) -> Any:
    if value not in known:
        raise ValueError(f"{what} {value!r} is not one of {', '.join(map(str, known))}")
    return value


def benchmark_dataset(benchmark: Benchmark) -> Dataset:
    """The dataset entry that `benchmark` was read with."""
    return get_dataset(benchmark.folder.name, benchmark.folder.parent)
