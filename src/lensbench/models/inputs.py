"""How an image enters a model: what its graph takes, what its card says, and what had to be assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lensbench.benchmark import Benchmark
from lensbench.errors import ModelError
from lensbench.models.card import Card
from lensbench.models.gate import Graph, Tensor

CHANNELS = {"mosaic": (1,), "developed": (3,), "grey": (1, 3), "RGB": (3, 1), "BGR": (3, 1)}
"""How many channels an image of that colour can be given in, the usual number first."""


@dataclass(frozen=True)
class Entry:
    """A graph's input and how images are put into it: value × scale + shift, per channel.

    A value is what was decoded, or of a developed frame a number in [0, 1].
    """

    name: str
    layout: str
    channels: int
    dtype: str
    bgr: bool
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    mosaic: bool
    """Images are 16-bit raw frames of one channel."""
    batch: int | None
    """Images that the graph takes at a time; None: any number."""
    sides: tuple[int | None, int | None]
    """Height and width that the graph takes, None where any."""
    bare: bool = False
    """The graph takes one image without a batch axis."""


def entry_of(
    graph: Graph, card: Card, benchmark: Benchmark, where: str, single: bool = False
) -> tuple[Entry, list[str]]:
    """The entry of a benchmark's images into a graph, and what was assumed; raises ModelError where they do not fit.

    `single`: a graph that takes one image without a batch axis will do, too.
    """
    tensor = _input(graph, where)
    bare = single and tensor.shape is not None and len(tensor.shape) == 3
    if bare:
        tensor = replace(tensor, shape=(1, *(tensor.shape or ())))
    if tensor.shape is not None and len(tensor.shape) != 4:
        raise ModelError(
            f"{where}: input {tensor.name!r} is {shape_text(tensor)}; a batch of images has four dimensions"
        )
    layout, channels, assumed = _layout(tensor, card, benchmark, where)
    low, high = card.range or benchmark.input.range
    mosaic, developed = benchmark.input.mosaic, benchmark.input.developed
    if tensor.dtype == "UINT8" and (mosaic or developed):
        what = "developed" if developed else "16-bit"
        raise ModelError(f"{where}: a uint8 input cannot take {what} raw frames; export it with float32")
    if tensor.dtype == "UINT8":
        low, high = 0.0, 255.0
        if card.mean or card.std or card.range not in (None, (0.0, 255.0)):
            raise ModelError(f"{where}: a uint8 input takes bytes as they are: range, mean and std cannot be applied")
    mean, std = _per_channel(card.mean, 0.0, channels, where), _per_channel(card.std, 1.0, channels, where)
    if card.colour is None and channels == 3:
        grey = benchmark.input.colour == "grey"
        order = "RGB" if developed else benchmark.input.colour
        assumed.append("grey, repeated in 3 channels" if grey else f"colour order {order}")
    if card.range is None and tensor.dtype == "FLOAT":
        assumed.append(f"input range [{low:g}, {high:g}]")
    if card.mean is None and tensor.dtype == "FLOAT":
        assumed.append("no further normalisation")
    if graph.loops:
        assumed.append(f"that its {', '.join(graph.loops)} ends: nothing here stops one that does not")
    largest = 65535.0 if mosaic else 1.0 if developed else 255.0
    entry = Entry(
        name=tensor.name,
        layout=layout,
        channels=channels,
        dtype={"FLOAT": "float32", "UINT8": "uint8"}[tensor.dtype],
        bgr=(card.colour or benchmark.input.colour) == "BGR",
        scale=tuple((high - low) / largest / s for s in std),
        shift=tuple((low - m) / s for m, s in zip(mean, std, strict=True)),
        mosaic=mosaic,
        batch=tensor.shape[0] if tensor.shape else None,
        sides=sides_of(tensor, layout),
        bare=bare,
    )
    return entry, assumed


def sides_of(tensor: Tensor, layout: str) -> tuple[int | None, int | None]:
    """Height and width that an input states, None where it leaves them open."""
    if tensor.shape is None:
        return None, None
    first = 2 if layout == "NCHW" else 1
    return tensor.shape[first], tensor.shape[first + 1]


def _input(graph: Graph, where: str) -> Tensor:
    if len(graph.inputs) != 1:
        raise ModelError(f"{where}: {len(graph.inputs)} inputs; a model takes one batch of images")
    tensor = graph.inputs[0]
    if tensor.dtype not in ("FLOAT", "UINT8"):
        raise ModelError(f"{where}: input {tensor.name!r} is {tensor.dtype.lower()}; export it with float32 (or uint8)")
    return tensor


def _layout(tensor: Tensor, card: Card, benchmark: Benchmark, where: str) -> tuple[str, int, list[str]]:
    size = benchmark.input
    shape = tensor.shape or (None, None, None, None)
    fits = []
    usual, *others = CHANNELS[size.colour]
    # Where sides are free, only a stated number of channels tells one layout from the other.
    stated = size.height is None and any(shape[1:])
    for layout, (c, h, w) in (("NCHW", (1, 2, 3)), ("NHWC", (3, 1, 2))):
        sides = size.height is None or (shape[h] in (None, size.height) and shape[w] in (None, size.width))
        allowed = (usual, *others) if stated else (None, usual, *others)
        if sides and shape[c] in allowed and card.layout in (None, layout):
            fits.append((layout, shape[c] or usual, shape[c] is None))
    if not fits:
        height, width = size.height or "H", size.width or "W"
        wanted = f"N×{usual}×{height}×{width} or N×{height}×{width}×{usual}"
        declared = f" (layout {card.layout} is declared)" if card.layout else ""
        raise ModelError(
            f"{where}: input {tensor.name!r} is {shape_text(tensor)}{declared}, and {benchmark.name} gives {wanted}; "
            f"put the {'processing' if size.mosaic or size.developed else 'resize'} the model needs into its graph"
        )
    layout, channels, guessed = fits[0]
    assumed = []
    if len(fits) > 1:
        assumed.append("layout NCHW (the graph leaves its dimensions open)")
    if guessed:
        assumed.append(f"{channels} channels" if channels > 1 else "1 channel")
    return layout, channels, assumed


def _per_channel(values: tuple[float, ...] | None, default: float, channels: int, where: str) -> tuple[float, ...]:
    values = values or (default,)
    if len(values) not in (1, channels):
        raise ModelError(f"{where}: {len(values)} values of mean or std for {channels} channels")
    return values * channels if len(values) == 1 else values


def shape_text(tensor: Tensor) -> str:
    """A tensor's shape in messages: ``N×3×100×100``."""
    return "×".join("N" if d is None else str(d) for d in tensor.shape) if tensor.shape else "of unstated shape"
