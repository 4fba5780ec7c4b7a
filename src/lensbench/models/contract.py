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
    """Per channel: float32 input = decoded value × scale + shift."""
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
    tensor = _input(graph, where)
    layout, channels, assumed = _layout(tensor, card, benchmark, where)
    output = _output(graph, card, len(benchmark.labels), where)
    order, labels = label_order(card.labels, benchmark, where)
    low, high = card.range or benchmark.input.range
    mosaic = benchmark.input.mosaic
    if tensor.dtype == "UINT8" and mosaic:
        raise ModelError(f"{where}: a uint8 input cannot take 16-bit raw frames; export it with float32")
    if tensor.dtype == "UINT8":
        low, high = 0.0, 255.0
        if card.mean or card.std or card.range not in (None, (0.0, 255.0)):
            raise ModelError(f"{where}: a uint8 input takes bytes as they are: range, mean and std cannot be applied")
    mean, std = _per_channel(card.mean, 0.0, channels, where), _per_channel(card.std, 1.0, channels, where)
    if card.colour is None and channels == 3:
        assumed.append(f"colour order {benchmark.input.colour}")
    if card.range is None and tensor.dtype == "FLOAT":
        assumed.append(f"input range [{low:g}, {high:g}]")
    if card.mean is None and tensor.dtype == "FLOAT":
        assumed.append("no further normalisation")
    size = benchmark.input
    fixed = tensor.shape[0] if tensor.shape else None
    if graph.loops:
        assumed.append(f"that its {', '.join(graph.loops)} ends: nothing here stops one that does not")
    feed = Feed(
        input=tensor.name,
        output=output.name,
        height=size.height or 0,
        width=size.width or 0,
        channels=channels,
        layout=layout,
        dtype={"FLOAT": "float32", "UINT8": "uint8"}[tensor.dtype],
        bgr=(card.colour or size.colour) == "BGR",
        scale=tuple((high - low) / (65535.0 if mosaic else 255.0) / s for s in std),
        shift=tuple((low - m) / s for m, s in zip(mean, std, strict=True)),
        batch=fixed or 1,
        fixed=fixed is not None,
        classes=len(benchmark.labels),
        mosaic=mosaic,
        resize=size.resize != "none",
        own=size.height is None,
    )
    if size.height and size.width:
        feed = sized(feed, size.height, size.width, tensor, where)
    return Contract(feed, order, labels, card.kind, tuple(assumed))


def sized(feed: Feed, height: int, width: int, tensor: Tensor, where: str) -> Feed:
    """`feed` for images of one size, and the batch that suits it; ModelError where the graph has another size."""
    sides = (2, 3) if feed.layout == "NCHW" else (1, 2)
    given = tuple(tensor.shape[i] for i in sides) if tensor.shape else (None, None)
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


def _input(graph: Graph, where: str) -> Tensor:
    if len(graph.inputs) != 1:
        raise ModelError(f"{where}: {len(graph.inputs)} inputs; a model takes one batch of images")
    tensor = graph.inputs[0]
    if tensor.dtype not in ("FLOAT", "UINT8"):
        raise ModelError(f"{where}: input {tensor.name!r} is {tensor.dtype.lower()}; export it with float32 (or uint8)")
    if tensor.shape is not None and len(tensor.shape) != 4:
        raise ModelError(f"{where}: input {tensor.name!r} is {_shape(tensor)}; a batch of images has four dimensions")
    return tensor


def _layout(tensor: Tensor, card: Card, benchmark: Benchmark, where: str) -> tuple[str, int, list[str]]:
    size = benchmark.input
    shape = tensor.shape or (None, None, None, None)
    fits = []
    usual = 1 if size.mosaic else 3
    # Where sides are free, only a stated number of channels tells one layout from the other.
    stated = size.height is None and any(shape[1:])
    for layout, (c, h, w) in (("NCHW", (1, 2, 3)), ("NHWC", (3, 1, 2))):
        sides = size.height is None or (shape[h] in (None, size.height) and shape[w] in (None, size.width))
        if sides and shape[c] in ((1, usual) if stated else (None, 1, usual)) and card.layout in (None, layout):
            fits.append((layout, shape[c] or usual, shape[c] is None))
    if not fits:
        height, width = size.height or "H", size.width or "W"
        wanted = f"N×{usual}×{height}×{width} or N×{height}×{width}×{usual}"
        declared = f" (layout {card.layout} is declared)" if card.layout else ""
        raise ModelError(
            f"{where}: input {tensor.name!r} is {_shape(tensor)}{declared}, and {benchmark.name} gives {wanted}; "
            f"put the {'processing' if size.mosaic else 'resize'} the model needs into its graph"
        )
    layout, channels, guessed = fits[0]
    assumed = []
    if len(fits) > 1:
        assumed.append("layout NCHW (the graph leaves its dimensions open)")
    if guessed:
        assumed.append(f"{channels} channels" if channels > 1 else "1 channel")
    return layout, channels, assumed


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
        given = "; ".join(f"{o.name!r} {_shape(o)} {o.dtype.lower()}" for o in graph.outputs)
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


def _per_channel(values: tuple[float, ...] | None, default: float, channels: int, where: str) -> tuple[float, ...]:
    values = values or (default,)
    if len(values) not in (1, channels):
        raise ModelError(f"{where}: {len(values)} values of mean or std for {channels} channels")
    return values * channels if len(values) == 1 else values


def _rank(tensor: Tensor) -> int | None:
    return None if tensor.shape is None else len(tensor.shape)


def _shape(tensor: Tensor) -> str:
    return "×".join("N" if d is None else str(d) for d in tensor.shape) if tensor.shape else "of unstated shape"
