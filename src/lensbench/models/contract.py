"""Match a model's own shape and declarations with what a benchmark gives and wants; say what had to be assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lensbench.benchmark import Benchmark, benchmark_dataset
from lensbench.errors import DatasetError, ModelError
from lensbench.lists import folder_name
from lensbench.models.card import Card
from lensbench.models.gate import Graph, Tensor
from lensbench.models.inputs import entry_of, shape_text, sides_of
from lensbench.registry import Dataset

BATCH_BYTES = 1 << 20
"""A batch of inputs fits the cache of one core: larger ones measured up to 43 % slower on CPU."""


MAX_BATCH = 1 << 28
"""Values in a fixed batch: one GiB of float32."""


@dataclass(frozen=True)
class Feed:
    """All that the inner loop has to know to turn encoded images into outputs. No ids, no labels."""

    input: str
    output: str
    height: int
    """0, like `width`, where images are given at their own size: `sized` says which once they are there."""
    width: int
    channels: int
    layout: str
    dtype: str
    bgr: bool
    scale: tuple[float, ...]
    """Per channel: float32 input = value × scale + shift; see `Entry`."""
    shift: tuple[float, ...]
    batch: int
    fixed: bool
    """The graph takes exactly `batch` images: a short last batch is padded."""
    classes: int
    mosaic: bool = False
    """Images are 16-bit raw frames of one channel, and never resized."""
    resize: bool = True
    """Whether images are brought to `height` × `width`; one of another size is refused otherwise."""
    own: bool = False
    """Every image goes at its own size; `height` × `width` is then that of the first."""


@dataclass(frozen=True)
class Contract:
    """A model bound to a benchmark."""

    feed: Feed
    order: tuple[int, ...]
    """Column of the model's output for each of the benchmark's labels."""
    labels: str
    """How the label order was declared, for the record."""
    kind: str | None
    """`logits` or `probabilities` as declared; None: to be told from the values."""
    assumed: tuple[str, ...]


def bind(graph: Graph, card: Card, benchmark: Benchmark, where: str) -> Contract:
    """The contract between a model and a benchmark; raises ModelError in one line where they do not fit."""
    if card.kind not in (None, "logits", "probabilities"):
        raise ModelError(f"{where}: declares {card.kind}, and {benchmark.name} takes one score per class")
    entry, assumed = entry_of(graph, card, benchmark, where)
    output = _output(graph, card, len(benchmark.labels), where)
    order, labels = label_order(card.labels, benchmark, where)
    size = benchmark.input
    feed = Feed(
        input=entry.name,
        output=output.name,
        height=size.height or 0,
        width=size.width or 0,
        channels=entry.channels,
        layout=entry.layout,
        dtype=entry.dtype,
        bgr=entry.bgr,
        scale=entry.scale,
        shift=entry.shift,
        batch=entry.batch or 1,
        fixed=entry.batch is not None,
        classes=len(benchmark.labels),
        mosaic=entry.mosaic,
        resize=size.resize != "none",
        own=size.height is None,
    )
    if size.height and size.width:
        feed = sized(feed, size.height, size.width, graph.inputs[0], where)
    return Contract(feed, order, labels, card.kind, tuple(assumed))


def sized(feed: Feed, height: int, width: int, tensor: Tensor, where: str) -> Feed:
    """`feed` for images of one size, and the batch that suits it; ModelError where the graph has another size."""
    given = sides_of(tensor, feed.layout)
    if given[0] not in (None, height) or given[1] not in (None, width):
        raise ModelError(
            f"{where}: takes images of {given[0]}×{given[1]}, and these are {height}×{width}; export it with these or "
            "dynamic sides"
        )
    values = height * width * feed.channels
    if feed.fixed and feed.batch * values > MAX_BATCH:
        raise ModelError(
            f"{where}: a fixed batch of {feed.batch:,} images is more than one needs; export a dynamic batch"
        )
    return replace(feed, height=height, width=width, batch=feed.batch if feed.fixed else batch_size(values))


def batch_size(values: int) -> int:
    """How many float32 inputs of `values` values go into one batch: clamp(1 MiB / bytes of one, 1, 16)."""
    return max(1, min(16, BATCH_BYTES // (4 * values)))


def output_sizes(graph: Graph) -> set[int | None]:
    """Class counts that the graph's float outputs of rank 2 declare (None: open)."""
    return {o.shape[1] if o.shape else None for o in graph.outputs if o.dtype == "FLOAT" and _rank(o) in (None, 2)}


def _output(graph: Graph, card: Card, classes: int, where: str) -> Tensor:
    outputs = [o for o in graph.outputs if o.dtype == "FLOAT"]
    if card.output is not None:
        outputs = [o for o in outputs if o.name == card.output]
        if not outputs:
            raise ModelError(f"{where}: no float32 output is called {card.output!r}")
    ranked = [o for o in outputs if _rank(o) in (None, 2)]
    fits = [o for o in ranked if o.shape is None or o.shape[1] in (None, classes)]
    if not fits:
        given = "; ".join(f"{o.name!r} {shape_text(o)} {o.dtype.lower()}" for o in graph.outputs)
        raise ModelError(f"{where}: no float32 output of N×{classes} (one score per class); it gives {given}")
    if len(fits) > 1:
        names = ", ".join(repr(o.name) for o in fits)
        raise ModelError(f"{where}: outputs {names} all fit; name one in model.toml under [output] name = …")
    return fits[0]


def label_order(declared: str | Sequence[str] | None, benchmark: Benchmark, where: str) -> tuple[tuple[int, ...], str]:
    """Model column per benchmark label, and how the order was declared; raises ModelError where it is not."""
    dataset = benchmark_dataset(benchmark)
    if declared is None:
        choices = "|".join(dataset.label_orders)
        raise ModelError(
            f"{where} does not say in which order its {len(benchmark.labels)} outputs are, and a wrong guess gives a "
            f"plausible wrong score; declare it: --labels {choices}|FILE (FILE: one class name per line)"
        )
    names, how = _names(declared, dataset, benchmark.labels, where)
    try:
        index = {_known_name(name, dataset): i for i, name in enumerate(names)}
    except DatasetError as error:
        raise ModelError(f"{where}: labels: {error}") from error
    missing = [name for name in benchmark.labels if name not in index]
    if missing or len(names) != len(benchmark.labels):
        lacking = f"; {missing[0]!r} is not among them" if missing else ""
        raise ModelError(f"{where}: {len(names)} labels for {len(benchmark.labels)} classes{lacking}")
    return tuple(index[name] for name in benchmark.labels), how


def _names(
    declared: str | Sequence[str], dataset: Dataset, among: Sequence[str], where: str
) -> tuple[Sequence[str], str]:
    if not isinstance(declared, str):
        return declared, "by name"
    if declared in dataset.label_orders:
        return [name for name in dataset.label_order(declared) if name in among], declared
    known = ", ".join(dataset.label_orders)
    raise ModelError(f"{where}: labels {declared!r} is not a published order ({known})")


def labels_given(value: str | Sequence[str], benchmark: Benchmark) -> str | tuple[str, ...]:
    """What the user gave as labels: a published order, a file with one class name per line (read here), or the names.

    Only the user's own word may name a file: a stranger's model.toml that did could have any file read and quoted.
    """
    if not isinstance(value, str):
        return tuple(value)
    orders = benchmark_dataset(benchmark).label_orders
    if value in orders:
        return value
    path = Path(value)
    if not path.is_file():
        raise ModelError(f"labels {value!r} is neither a published order ({', '.join(orders)}) nor a file")
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a text file of class names: {error}") from error


def _known_name(name: str, dataset: Dataset) -> str:
    for label in dataset.classes:
        if name in (label.name, label.display) or folder_name(name) == label.name:
            return label.name
    from lensbench.errors import nearest

    tail = nearest(name, (label.name for label in dataset.classes)).split(" known:")[0].rstrip(";")
    raise DatasetError(f"{name!r} is not a class of {dataset.name}{tail}")


def _rank(tensor: Tensor) -> int | None:
    return None if tensor.shape is None else len(tensor.shape)
