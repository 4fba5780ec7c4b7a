"""The frozen benchmark spec: `benchmarks/<name>.toml`, and the digest that a board's rows must share.

Everything that changes a number is in the digest: dataset version, the manifest of the evaluated split, label
names in order, input contract, metric ids with their versions, cluster. Title, references and prose are not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lensbench.digest import UNKNOWN, canonical, sha256_of
from lensbench.errors import BenchmarkError, DatasetError, ViewError, nearest
from lensbench.paths import named, read_regular, shipped
from lensbench.reference import RELATIVE, reference_arguments, unrelated
from lensbench.registry import SPECIMEN, Config, Dataset, get_dataset, registry_root

if TYPE_CHECKING:
    from lensbench.isp.inverse import Inverse
    from lensbench.masks.protocol import Protocol
    from lensbench.viewspec import Views

TASKS = ("classification", "segmentation")
RESIZES = ("opencv-linear", "none")
COLOURS = ("RGB", "BGR", "grey", "mosaic", "developed")
CLASS_IOU = "iou@"
"""What the id of one class's IoU begins with."""
ROWS = ("task", "dataset", "version", "config", "split", "cluster")
"""What a tier has in common with the benchmark that it is a tier of."""
KINDS = {
    "classification": ("logits", "probabilities"),
    "segmentation": ("logits", "probabilities", "labelmap", "classmap", "rle"),
}


@dataclass(frozen=True)
class Input:
    """What a model is given: float32 in `range`, batch × channels × height × width.

    `colour`: ``RGB``, ``BGR``, ``grey`` (one channel), ``mosaic``: the raw frame, one channel, its value / 65535
    and nothing else, or ``developed``: the raw frame as an RGB image, once in each of the benchmark's views.
    `height` and `width` are None where every image is given at its own size.
    """

    height: int | None
    width: int | None
    resize: str
    colour: str
    range: tuple[float, float]

    @property
    def mosaic(self) -> bool:
        """Whether models are given 16-bit raw frames."""
        return self.colour == "mosaic"

    @property
    def developed(self) -> bool:
        """Whether models are given raw frames in several views."""
        return self.colour == "developed"


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
    """Digest of the evaluated rows; ``unknown`` until the split is drawn at the first build, and then not evaluated."""
    synthetic: bool
    references: tuple[Reference, ...]
    folder: Path
    """The dataset's folder in the registry."""
    expected: int | None = None
    """Samples a complete record is over; the manifest's digest pins it."""
    content: str | None = None
    """Pinned digest of the evaluated split's content, None while nobody knows it. Not in the digest: a first
    look at the archive moves no record."""
    protocol: Protocol | None = None
    """How a segmentation is made and compared; None for classification."""
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metric id → the arguments of a torchmetrics class, or the errors of the reference model of a relative one."""
    views: Views | None = None
    """In which views each raw frame is given; None where images are given as they are."""
    family: str | None = None
    """The benchmark that it is a tier of: what is submitted there is scored here too. Not in the digest."""
    simulation: Inverse | None = None
    """How 8-bit images are made raw frames (`lensbench.derived`); None where they are what they are."""
    made_of: tuple[str, str] | None = None
    """The benchmark and the tier that one without a file was made of. Not in the digest: what it is made of is."""

    @property
    def headline(self) -> str:
        """The metric that ranks the board."""
        return next(iter(self.metrics))

    @property
    def truth(self) -> Literal["labelmap", "classmap"]:
        """What a segmentation benchmark's masks are: instances, or classes."""
        return "classmap" if "classmap" in self.kinds else "labelmap"

    @property
    def slug(self) -> str:
        """Name of its board's folder: specimens have a board of their own."""
        return f"{self.name}-{SPECIMEN}" if self.synthetic else self.name

    @property
    def pinned(self) -> dict[str, Any]:
        """What the digest is taken over."""
        protocol = {} if self.protocol is None else {"protocol": self.protocol.to_json()}
        arguments = {"arguments": {key: dict(value) for key, value in self.arguments.items()}} if self.arguments else {}
        views = {} if self.views is None else {"views": self.views.pinned}
        simulated = {} if self.simulation is None else {"simulated": self.simulation.pinned}
        return {
            **protocol,
            **arguments,
            **views,
            **simulated,
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
        arguments = unrelated(self.arguments)
        return replace(self, manifest=manifest, expected=None, content=None, arguments=arguments)


def benchmark_root(root: Path | str | None = None) -> Path:
    """The benchmarks folder in use: `root`, else ``LENSBENCH_BENCHMARKS``, else the one that came with lensbench."""
    chosen = Path(root) if root else named("LENSBENCH_BENCHMARKS")
    if chosen:
        return chosen
    beside = registry_root().parent / "benchmarks"
    return beside if named("LENSBENCH_REGISTRY") and beside.is_dir() else shipped("benchmarks")


def benchmark_names(root: Path | str | None = None) -> list[str]:
    """Names of all benchmarks, sorted."""
    return sorted(path.stem for path in benchmark_root(root).glob("*.toml"))


def tier_names(head: str, root: Path | str | None = None) -> list[str]:
    """Names of the benchmarks that are tiers of the one called `head`, sorted.

    Raises BenchmarkError for a file among them that cannot be read.
    """
    paths = benchmark_root(root).glob("*.toml")
    return sorted(path.stem for path in paths if read_spec(path).get("family") == head)


def read_spec(where: Path) -> dict[str, Any]:
    """A benchmark's file as TOML has it; BenchmarkError for one that is none."""
    try:
        return tomllib.loads(read_regular(where).decode("utf-8"))
    except OSError as error:
        raise BenchmarkError(f"{where}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BenchmarkError(f"{where}: not valid TOML: {error}") from error


def get_benchmark(name: str, config: str | None = None, root: Path | str | None = None) -> Benchmark:
    """Read `benchmarks/<name>.toml`; `config` replaces the dataset config it names (``specimen``).

    Raises BenchmarkError for an unknown name (with the nearest one) or a spec that is not valid.
    """
    names = benchmark_names(root)
    if name not in names:
        raise BenchmarkError(f"no benchmark {name!r}{nearest(name, names)}")
    where = benchmark_root(root) / f"{name}.toml"
    data = read_spec(where)
    try:
        return _benchmark(data, where, config)
    except KeyError as error:
        raise BenchmarkError(f"{where}: the entry {error} is missing") from error
    except (TypeError, ValueError, AttributeError, ViewError) as error:
        raise BenchmarkError(f"{where}: {error}") from error


def _benchmark(data: Mapping[str, Any], where: Path, config: str | None) -> Benchmark:
    from lensbench.splits import HASHED, get_split, read_manifest

    _allow(data["schema"], (1,), "schema")
    _allow(data["name"], (where.stem,), "name")
    task = _allow(data["task"], TASKS, "task")
    dataset = get_dataset(data["dataset"])
    chosen = dataset.config(dataset.specimen_of(data["config"]) if config == SPECIMEN else config or data["config"])
    _allow(chosen.task, (task,), f"task of config {chosen.name!r}")
    version = dataset.version(data["version"]).name
    split = get_split(dataset, chosen.name, data["split"])
    absent, content = split.absent.get(version), split.content.get(version)
    ids = (data["metrics"]["headline"], *data["metrics"]["ids"])
    arguments, labels = _arguments(data["metrics"].get("arguments", {}), ids), dataset.label_order(chosen.labels)
    never = absent.ids or frozenset() if absent else frozenset[str]()
    contract, views = _input(data["input"], task), _views(data, ids[0], where.parent)
    manifest = read_manifest(dataset, chosen.name, split.name) if split.manifest is not None else None
    if manifest is not None and data["cluster"] != HASHED:
        try:
            manifest.without(never).clusters(data["cluster"])
        except DatasetError as error:
            raise ValueError(f"cluster: {error}") from error
    rows = manifest.digest_for(data["cluster"]) if manifest else UNKNOWN
    arguments |= _relative(data["metrics"], ids, views, where.parent, chosen.name, rows)
    return Benchmark(
        name=data["name"],
        revision=int(data["revision"]),
        title=_specimen_title(dataset, chosen, views) if chosen.synthetic else data["title"],
        task=task,
        dataset=dataset.name,
        version=version,
        config=chosen.name,
        split=split.name,
        cluster=data["cluster"],
        input=contract,
        kinds=_kinds(data["output"]["kinds"], task),
        metrics={i: _metric_version(task, i, arguments.get(i), labels, views is not None) for i in ids},
        labels=labels,
        absent=never,
        manifest=rows,
        synthetic=chosen.synthetic,
        references=() if chosen.synthetic else tuple(_reference(r, ids) for r in data.get("references", [])),
        folder=dataset.folder,
        expected=len(manifest.ids) - len(never) if manifest else None,
        content=content.sha256 if content else None,
        protocol=_protocol(data, task, where),
        arguments=arguments,
        views=views,
        family=_family(data, where),
    )


def _family(data: Mapping[str, Any], where: Path) -> str | None:
    """The benchmark beside it that it is a tier of: one over the same rows, that is itself no tier."""
    if "family" not in data:
        return None
    head, names = str(data["family"]), sorted({path.stem for path in where.parent.glob("*.toml")} - {where.stem})
    if head not in names:
        raise ValueError(f"family: no other benchmark {head!r} beside it{nearest(head, names)}")
    other = read_spec(where.with_name(f"{head}.toml"))
    if "family" in other:
        raise ValueError(f"family {head!r} is itself a tier, of {other['family']!r}: name that one")
    for key in ROWS:
        if other.get(key) != data[key]:
            raise ValueError(f"family {head!r} has {key} {other.get(key)!r}, and a tier has the same: {data[key]!r}")
    return head


def _arguments(given: Mapping[str, Mapping[str, Any]], ids: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    for metric in given:
        _allow(metric, ids, "metric with arguments")
        if metric.startswith(RELATIVE):
            raise ValueError(f"metric {metric!r}: its reference's errors stand in the file that relative_to names")
    canonical(given)  # a date, say, has no place in a digest: TypeError
    return {metric: dict(arguments) for metric, arguments in given.items()}


def _relative(
    metrics: Mapping[str, Any], ids: tuple[str, ...], views: Views | None, folder: Path, config: str, rows: str
) -> dict[str, dict[str, Any]]:
    """The errors that relative metrics are relative to; nothing for rows that the reference was not scored on."""
    if "relative_to" not in metrics:
        return {}
    if views is None or not any(metric.startswith(RELATIVE) for metric in ids):
        raise ValueError(f"relative_to: the benchmark has no metric {RELATIVE}… over views")
    path, grid = folder / str(metrics["relative_to"]), (view.name for view in views.tier.views)
    return reference_arguments(path, config, ids, rows, views.tier.digest, grid)


def _kinds(kinds: list[str], task: str) -> tuple[str, ...]:
    allowed = tuple(_allow(kind, KINDS[task], "output kind") for kind in kinds)
    if task == "segmentation" and ("labelmap" in kinds) == ("classmap" in kinds):
        raise ValueError("output kinds: name labelmap (objects are scored) or classmap (classes are), not both")
    if "rle" in kinds and "classmap" in kinds:
        raise ValueError("output kinds: rle holds objects, and classmap says that classes are scored")
    return allowed


def _protocol(data: Mapping[str, Any], task: str, where: Path) -> Protocol | None:
    """A protocol by its name alone, or spelt out; ``default`` where a segmentation benchmark names none."""
    if task != "segmentation":
        if "protocol" in data:
            raise ValueError(f"a {task} benchmark has no [protocol]")
        return None
    from lensbench.masks.protocol import PROTOCOLS, from_json, get_protocol

    given = data.get("protocol", {"name": "default"})
    if isinstance(given, dict) and set(given) == {"name"}:
        return get_protocol(str(given["name"]))
    chosen = from_json(given, f"{where}: protocol")
    if chosen != PROTOCOLS.get(chosen.name, chosen):
        raise ValueError(f"protocol {chosen.name!r} has a fixed meaning; give other rules another name")
    return chosen


def _specimen_title(dataset: Dataset, config: Config, views: Views | None) -> str:
    family = f" ({config.family.replace('_', ' ')})" if len(dataset.specimens) > 1 else ""
    grid = f", {views.tier.title[0].lower()}{views.tier.title[1:]}" if views else ""
    return f"{dataset.title}{family}{grid}, specimen"


def _views(data: Mapping[str, Any], headline: str, folder: Path) -> Views | None:
    """The views that developed frames are given in; nothing else has any."""
    if (data["input"]["colour"] == "developed") != ("views" in data):
        raise ValueError(
            "raw frames are given 'developed' (colour) in the views that [views] names: one needs the other"
        )
    if "views" not in data:
        return None
    from lensbench.metrics.views import KINDS, split_id
    from lensbench.viewspec import refuse_averages, views_of

    if split_id(headline) is None:
        raise ValueError(f"headline {headline!r} is made of no other metric: it begins with one of {', '.join(KINDS)}")
    found = views_of(data["views"], folder)
    if found.search is not None:
        refuse_averages([headline, *data["metrics"]["ids"]])
    return found


def _metric_version(
    task: str, metric: str, arguments: Mapping[str, Any] | None, labels: tuple[str, ...], views: bool
) -> int:
    from lensbench.metrics import get_metric

    found = get_metric(metric, arguments)
    if task not in found.tasks:
        raise ValueError(f"metric {metric!r} is of {' and '.join(found.tasks)}, the benchmark of {task}")
    if found.views != views:
        raise ValueError(
            f"metric {metric!r} is {'' if found.views else 'not '}over views, and the benchmark has "
            f"{'some' if views else 'none'}"
        )
    if CLASS_IOU in metric:
        _allow(metric.partition(CLASS_IOU)[2], labels, f"class of metric {metric!r}:")
    return found.version


def _input(data: Mapping[str, Any], task: str) -> Input:
    low, high = data["range"]
    resize = _allow(data["resize"], RESIZES, "resize")
    colour = _allow(data["colour"], COLOURS, "colour")
    size = (data.get("height"), data.get("width"))
    given = [int(side) for side in size if side is not None]
    if len(given) == 1 or not all(1 <= side <= 16_384 for side in given) or not low < high:
        raise ValueError(f"input {size[0]}×{size[1]} in [{low}, {high}] is not a usable contract")
    if (colour in ("mosaic", "developed") or not given) and resize != "none":
        raise ValueError(f"resize {resize!r}: a {colour if given else 'free size'} is given as it is, with 'none'")
    if colour == "developed" and (low, high) != (0, 1):
        raise ValueError(f"range [{low}, {high}]: developed frames lie in [0, 1]")
    if given and task == "segmentation":
        raise ValueError("a segmentation is scored at the image's own size: leave height and width out")
    height, width = given or (None, None)
    return Input(height, width, resize, colour, (float(low), float(high)))


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
