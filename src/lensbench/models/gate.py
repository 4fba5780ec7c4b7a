"""Look at an ONNX file before any engine does: what may never be loaded is refused here, from its bytes alone.

`onnx.checker` is no gate (it passes allocation bombs and hangs on function bombs), and onnxruntime reads
hard-linked external data and hangs on thousands of outputs. So the protobuf is parsed, never followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensbench.errors import ModelError

MAX_FILE = 1 << 30
MAX_TEXT = 1 << 20  # metadata, doc strings: bytes that are no weights
MAX_NODES = 30_000
MAX_INLINED = 4_096  # session creation is quadratic in nodes that come out of functions
MAX_OUTPUTS = 8
MAX_DEPTH = 64
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
REFUSED_OPS = {
    "EPContext": "runs code of one machine",
    "RandomNormal": "is random",
    "RandomNormalLike": "is random",
    "RandomUniform": "is random",
    "RandomUniformLike": "is random",
    "Multinomial": "is random",
    "Bernoulli": "is random",
}


@dataclass(frozen=True)
class Tensor:
    """A graph input or output: element type by ONNX name ("FLOAT"), dims with None where free or unstated."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """What the gate read of a model that it lets through."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    """Number of values in initializers."""
    metadata: dict[str, str]
    loops: tuple[str, ...] = ()
    """Operators in it that repeat a sub-graph: their running time cannot be told from the file."""


def read_graph(data: bytes, where: str) -> Graph:
    """Parse and judge an ONNX file given as bytes; raises ModelError in one line."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if len(data) > MAX_FILE:
        raise ModelError(f"{where}: {len(data):,} bytes, more than the {MAX_FILE:,} a model may have")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{where}: not an ONNX file (protobuf does not parse)") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{where}: not an ONNX model (no nodes or no opset)")
    text = sum(len(p.key) + len(p.value) for p in model.metadata_props) + len(model.doc_string)
    text += sum(len(n.doc_string) + len(n.name) for n in _nodes([model.graph, *model.functions]))
    if text > MAX_TEXT:
        raise ModelError(f"{where}: {text:,} bytes of metadata, more than {MAX_TEXT:,}")
    _check_nodes(model, where)
    _check_sparse(model, where)
    for tensor in _tensors(model):
        _check_tensor(tensor, where)
    weights = {t.name for t in model.graph.initializer}
    inputs = tuple(_tensor(v) for v in model.graph.input if v.name not in weights)
    outputs = tuple(_tensor(v) for v in model.graph.output)
    if not 1 <= len(outputs) <= MAX_OUTPUTS:
        raise ModelError(f"{where}: {len(outputs)} outputs; a model has 1 to {MAX_OUTPUTS}")
    parameters = sum(_count(t.dims) for t in model.graph.initializer)
    loops = sorted({n.op_type for n in _nodes([model.graph, *model.functions])} & {"Loop", "Scan", "SequenceMap"})
    return Graph(inputs, outputs, parameters, {p.key: p.value for p in model.metadata_props}, tuple(loops))


def read_model_bytes(path: Path) -> bytes:
    """The bytes of a model file; raises ModelError where there is none or it is too large to be one."""
    return read_file(path, MAX_FILE)


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a stranger's file, at most `most`: a pipe would hang and a device never end, so neither is read."""
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: not a regular file")
        with path.open("rb") as handle:
            data = handle.read(most + 1)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    if len(data) > most:
        raise ModelError(f"{path}: more than {most:,} bytes")
    return data


def _check_nodes(model: Any, where: str) -> None:
    functions = {(f.domain, f.name): f for f in model.functions}
    if len(functions) < len(model.functions):
        raise ModelError(f"{where}: two functions have one name (overloads are not taken)")
    own = {domain for domain, _ in functions}
    plain = 0
    for node in _nodes([model.graph, *model.functions]):
        plain += 1
        if node.domain not in DOMAINS and node.domain not in own:
            raise ModelError(f"{where}: operator {node.domain}::{node.op_type} is of a domain no engine here has")
        if node.op_type in REFUSED_OPS:
            raise ModelError(f"{where}: operator {node.op_type} {REFUSED_OPS[node.op_type]}: it cannot be scored")
    if plain > MAX_NODES:
        raise ModelError(f"{where}: {plain:,} nodes, more than {MAX_NODES:,}")
    sizes: dict[tuple[str, str], int] = {}
    inlined = sum(_inlined(node, functions, sizes, (), where) for node in _nodes([model.graph]))
    if inlined > MAX_INLINED:
        raise ModelError(f"{where}: functions unfold to {inlined:,} nodes, more than {MAX_INLINED:,}")


def _inlined(node: Any, functions: Any, sizes: dict[Any, int], above: tuple[Any, ...], where: str) -> int:
    """How many nodes `node` unfolds to when functions are inlined (0 for a plain operator), memoised."""
    key = (node.domain, node.op_type)
    if key not in functions:
        return 0
    if key in above or len(above) > MAX_DEPTH:
        raise ModelError(f"{where}: function {node.op_type!r} calls itself or nests too deeply")
    if key not in sizes:
        inside = list(_nodes([functions[key]]))
        sizes[key] = len(inside) + sum(_inlined(n, functions, sizes, (*above, key), where) for n in inside)
    return sizes[key]


def _nodes(graphs: list[Any]) -> Iterator[Any]:
    """Every node of `graphs` (or functions), those of sub-graphs in attributes and their defaults included."""
    todo = list(graphs)
    while todo:
        graph = todo.pop()
        attributes = list(getattr(graph, "attribute_proto", ()))  # a function's default attributes
        for node in graph.node:
            yield node
            attributes += node.attribute
        for attribute in attributes:
            todo += [attribute.g] if attribute.HasField("g") else []
            todo += attribute.graphs


def _tensors(model: Any) -> Iterator[Any]:
    graphs = [
        model.graph,
        *(t.algorithm for t in model.training_info),
        *(t.initialization for t in model.training_info),
    ]
    defaults = [attribute for function in model.functions for attribute in function.attribute_proto]
    attributes = [*defaults, *(a for node in _nodes([*graphs, *model.functions]) for a in node.attribute)]
    for graph in [*graphs, *(inner for a in attributes for inner in [a.g, *a.graphs])]:
        yield from graph.initializer
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _check_sparse(model: Any, where: str) -> None:
    """A kilobyte of sparse values may unfold to gigabytes: classifiers have no use for them."""
    graphs = [model.graph, *model.functions]
    attributes = [a for node in _nodes(graphs) for a in node.attribute]
    inner = [g for a in attributes for g in [a.g, *a.graphs]]
    held = any(a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes)
    if held or any(g.sparse_initializer for g in [model.graph, *inner]):
        raise ModelError(f"{where}: sparse weights are not taken; export dense ones")


def _check_tensor(tensor: Any, where: str) -> None:
    if tensor.data_location == 1 or tensor.external_data:
        raise ModelError(
            f"{where}: weight {tensor.name!r} lies outside the file; export one self-contained file "
            "(torch.onnx.export(…, external_data=False))"
        )
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{where}: weight {tensor.name!r} has a negative dimension")
    if tensor.raw_data and _count(tensor.dims) > 8 * len(tensor.raw_data):
        raise ModelError(f"{where}: weight {tensor.name!r} claims more values than the file holds")


def _count(dims: Any) -> int:
    total = 1
    for dim in dims:
        total *= dim
    return total


def _tensor(value: Any) -> Tensor:
    import onnx

    if not value.type.HasField("tensor_type"):
        return Tensor(value.name, "not a tensor", None)
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim)
    known = kind.elem_type in onnx.TensorProto.DataType.values()
    return Tensor(value.name, onnx.TensorProto.DataType.Name(kind.elem_type) if known else "?", shape)
