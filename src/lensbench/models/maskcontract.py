"""Match a segmentation model with a benchmark: which outputs count, what they mean, how images of any size fit in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lensbench.benchmark import Benchmark
from lensbench.errors import ModelError
from lensbench.masks.postprocess import Output
from lensbench.masks.protocol import Protocol, from_json
from lensbench.masks.tiling import Size, Tiling
from lensbench.masks.values import Kind
from lensbench.models.card import Card
from lensbench.models.gate import Graph, Tensor
from lensbench.models.inputs import Entry, entry_of, shape_text

ANY = "ANY"
"""The type of an output that says it only when it is there: a Python function's."""
INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
FLOATS = ("FLOAT", "FLOAT16", "DOUBLE")
DETECTIONS = ("boxes", "masks", "scores")
MAX_BATCH = 1 << 28
"""Values in a fixed batch: one GiB of float32."""


@dataclass(frozen=True)
class MaskFeed:
    """All that the inner loop has to know to turn encoded images into segmentations. No ids, no truth."""

    entry: Entry
    outputs: tuple[str, ...]
    """One output of planes or a map, or three: `DETECTIONS`, in that order."""
    classes: int | None
    """Number of classes of a class map; None where objects are wanted."""
    whole: bool
    """It takes each image as it is: it may give a map of integers, and objects in tiles cannot be put together."""
    size: Size
    tiling: Tiling
    output: Output

    @property
    def kind(self) -> Kind:
        """What is stored for each image."""
        if len(self.outputs) == len(DETECTIONS):
            return "rle"
        return "labelmap" if self.classes is None else "classmap"


@dataclass(frozen=True)
class MaskContract:
    """A segmentation model bound to a benchmark; `protocol` is the benchmark's with the model's own post-processing."""

    feed: MaskFeed
    protocol: Protocol
    assumed: tuple[str, ...]
    ready: bool
    """It gives maps of integers: nothing is made of them."""


def bind_masks(graph: Graph, card: Card, benchmark: Benchmark, where: str) -> MaskContract:
    """The contract of a model with a segmentation benchmark; raises ModelError in one line where they do not fit."""
    assert benchmark.protocol is not None
    entry, assumed = entry_of(graph, card, benchmark, where, single=True)
    if card.kind in ("labelmap", "classmap") and card.kind != benchmark.truth:
        raise ModelError(f"{where}: declares a {card.kind}, and {benchmark.name} scores a {benchmark.truth}")
    outputs = _outputs(graph, card, where)
    if len(outputs) > 1 and benchmark.truth == "classmap":
        raise ModelError(f"{where}: gives objects (boxes, masks and scores), and {benchmark.name} scores classes")
    whole = len(outputs) > 1 or outputs[0].dtype not in FLOATS
    done = set(card.objects or {}) - ({"threshold"} if len(outputs) > 1 else set())
    if whole and done:
        raise ModelError(
            f"{where}: gives its answer ready-made, so {', '.join(sorted(done))} under [output] would do nothing: "
            "leave it out, or do it in the model"
        )
    protocol = declared(benchmark.protocol, card, where)
    batch, (height, width) = entry.batch or 1, entry.sides
    if batch * entry.channels * (height or 1) * (width or 1) > MAX_BATCH:
        raise ModelError(f"{where}: a fixed batch of {batch:,} images is more than one needs; export a dynamic batch")
    feed = MaskFeed(
        entry=entry,
        outputs=tuple(output.name for output in outputs),
        classes=len(benchmark.labels) if benchmark.truth == "classmap" else None,
        whole=whole,
        size=Size(height, width, batch=batch, fixed=entry.batch is not None),
        tiling=protocol.tiling,
        output=protocol.output,
    )
    return MaskContract(feed, protocol, tuple(assumed), ready=outputs[0].dtype in INTEGERS)


def declared(protocol: Protocol, card: Card, where: str) -> Protocol:
    """`protocol`, with what the model's card declares of its output in place of what it says."""
    output: dict[str, Any] = {**protocol.to_json()["output"], **(card.objects or {})}
    if card.kind in ("logits", "probabilities"):
        output["activation"] = card.kind
    return replace(protocol, output=from_json({"name": protocol.name, "output": output}, where).output)


def segments(graph: Graph) -> bool:
    """Whether a graph's outputs look like those of a segmentation model at all."""
    return _detections(graph.outputs) is not None or any(_pixels(output) for output in graph.outputs)


def _outputs(graph: Graph, card: Card, where: str) -> tuple[Tensor, ...]:
    """The outputs that count: one of planes or a map, or the three of `DETECTIONS`."""
    if card.output is not None:
        named = [output for output in graph.outputs if output.name == card.output]
        if not named or card.kind == "detections":
            raise ModelError(
                f"{where}: no output is called {card.output!r}"
                if not named
                else f"{where}: detections are three outputs, called {', '.join(DETECTIONS)}; leave [output] name out"
            )
        return (named[0],)
    found = _detections(graph.outputs)
    if found is not None and card.kind in (None, "detections"):
        return found
    given = "; ".join(f"{o.name!r} {shape_text(o)} {o.dtype.lower()}" for o in graph.outputs)
    if card.kind == "detections":
        raise ModelError(
            f"{where}: declares detections, and no outputs are boxes n×4, masks n×1×h×w and scores n: {given}"
        )
    integers = card.kind in ("labelmap", "classmap")
    fits = [o for o in graph.outputs if _pixels(o) and (card.kind is None or (o.dtype in INTEGERS) == integers)]
    if not fits:
        raise ModelError(f"{where}: no output is N×K×h×w floats or a map of integers h×w; it gives {given}")
    if len(fits) > 1:
        names = ", ".join(repr(o.name) for o in fits)
        raise ModelError(f"{where}: outputs {names} all fit; name one in model.toml under [output] name = …")
    return (fits[0],)


def _pixels(output: Tensor) -> bool:
    """Whether an output may be planes (floats of rank 3 or 4) or a map (integers of rank 2 to 4)."""
    if output.dtype == ANY:
        return True
    rank = None if output.shape is None else len(output.shape)
    return (output.dtype in FLOATS and rank in (None, 3, 4)) or (output.dtype in INTEGERS and rank in (None, 2, 3, 4))


def _detections(outputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """Boxes, masks and scores among the outputs, by their names or else by their shapes; None where they are not."""
    floats = [output for output in outputs if output.dtype in FLOATS]
    by_name = {output.name: output for output in floats}
    if set(DETECTIONS) <= by_name.keys():
        return tuple(by_name[name] for name in DETECTIONS)
    shapes = {o.name: o.shape for o in floats if o.shape is not None}
    boxes = [o for o in floats if len(shape := shapes.get(o.name, ())) == 2 and shape[1] == 4]
    scores = [o for o in floats if len(shapes.get(o.name, ())) == 1]
    masks = [o for o in floats if len(shape := shapes.get(o.name, ())) == 3 or (len(shape) == 4 and shape[1] == 1)]
    found = (*boxes, *masks, *scores)
    return found if len(boxes) == len(masks) == len(scores) == 1 else None
