"""Small ONNX graphs for tests: real models in every shape strangers export, and hostile ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 100


def weights(classes: int, channels: int = 3) -> NDArray[np.float32]:
    """A fixed projection, so that scores depend on the mean colour."""
    rng = np.random.default_rng(classes)
    return rng.normal(size=(channels, classes)).astype(np.float32) * 20


def colour_model(
    classes: int = 95,
    *,
    layout: str = "NCHW",
    batch: int | str = "n",
    side: int | str = SIDE,
    channels: int = 3,
    dtype: int = TensorProto.FLOAT,
    softmax: bool = False,
    extra: Sequence[onnx.NodeProto] = (),
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Mean colour → scores. Every option is a way in which exported classifiers differ."""
    shape = [batch, channels, side, side] if layout == "NCHW" else [batch, side, side, channels]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    source = "x"
    nodes = []
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT))
        source = "f"
    nodes.append(helper.make_node("ReduceMean", [source], ["m"], axes=axes, keepdims=0))
    nodes.append(helper.make_node("MatMul", ["m", "w"], ["s" if softmax else "y"]))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["s"], ["y"], axis=1))
    return pack([*nodes, *extra], dtype, shape, [batch, classes], weights(classes, channels), metadata)


def pack(
    nodes: Sequence[onnx.NodeProto],
    dtype: int,
    shape: Sequence[int | str],
    out: Sequence[int | str],
    values: NDArray[np.float32],
    metadata: dict[str, str] | None = None,
    functions: Sequence[Any] = (),
) -> bytes:
    """One graph from x to y with one weight w."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(out))],
        [numpy_helper.from_array(values, "w")],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def broken_model(what: str, classes: int = 95) -> bytes:
    """A graph that loads and runs but gives what no score can be: nan, inf, random, neighbours, transposed."""
    mean = helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0)
    scores = helper.make_node("MatMul", ["m", "w"], ["s"])
    tail = {
        "nan": [helper.make_node("Sub", ["s", "s"], ["z"]), helper.make_node("Div", ["z", "z"], ["y"])],
        "inf": [helper.make_node("Sub", ["s", "s"], ["z"]), helper.make_node("Div", ["s", "z"], ["y"])],
        "random": [
            helper.make_node("RandomNormalLike", ["s"], ["r"]),
            helper.make_node("Add", ["s", "r"], ["y"]),
        ],
        "neighbours": [
            helper.make_node("ReduceMean", ["s"], ["a"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["s", "a"], ["y"]),
        ],
        "transposed": [helper.make_node("Transpose", ["s"], ["y"], perm=[1, 0])],
    }[what]
    return pack([mean, scores, *tail], TensorProto.FLOAT, ["n", 3, SIDE, SIDE], ["n", classes], weights(classes))


def write(folder: Path, data: bytes, name: str = "model.onnx") -> Path:
    """Put a model on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path
