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


USUAL, STEP = 2.31, 0.02
"""What the mean squares of a bright frame's colours sum to, and how far apart `power_model` sets its classes."""


def power_weights(classes: int = 9, channels: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights and bias under which the class nearest to (sum − USUAL) / STEP + classes / 2 has the highest score."""
    number = np.arange(classes, dtype=np.float32)
    bias = 2 * number * (classes / 2 - USUAL / STEP) - number**2
    return np.tile(2 * number / STEP, (channels, 1)).astype(np.float32), bias.astype(np.float32)


def power_model(classes: int = 9, *, layout: str = "NCHW", batch: int | str = "n", channels: int = 3) -> bytes:
    """The mean square of each colour → scores, so near each other that sharpening and denoising change the class."""
    first, last = ([batch, channels], ["h", "w"]) if layout == "NCHW" else ([batch, "h", "w"], [channels])
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["q"]),
        helper.make_node("ReduceMean", ["q"], ["m"], axes=[2, 3] if layout == "NCHW" else [1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["y"]),
    ]
    weighs = [
        numpy_helper.from_array(one, name) for name, one in zip("wb", power_weights(classes, channels), strict=True)
    ]
    return _graph(nodes, [*first, *last], [("y", TensorProto.FLOAT, [batch, classes])], weighs)


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


# Segmentation: what is brighter than `LEVEL` is foreground

LEVEL = 0.401


def bright_model(
    planes: int = 1,
    *,
    layout: str = "NCHW",
    batch: int | str = "b",
    side: int | str = "s",
    channels: int = 1,
    halvings: int = 0,
    sigmoid: bool = False,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Images → 1 plane of logits, 2 (background, foreground) or 3 (background, interior, boundary, which is nowhere).

    `halvings`: the image is pooled so often and then enlarged again, beside a skip, as a U-Net does: it runs only
    where the sides are multiples of 2 ** halvings.
    """
    shape = [batch, channels, side, side] if layout == "NCHW" else [batch, side, side, channels]
    out = [batch, planes, side, side] if layout == "NCHW" else [batch, side, side, planes]
    constants = {"w": np.float32(40), "t": np.float32(LEVEL), "never": np.float32(-1e4), "none": np.float32(0)}
    nodes = [helper.make_node("Identity", ["x"], ["n"])]
    if layout == "NHWC":
        nodes = [helper.make_node("Transpose", ["x"], ["n"], perm=[0, 3, 1, 2])]
    nodes.append(helper.make_node("ReduceMean", ["n"], ["p0"], axes=[1], keepdims=1))
    last = "p0"
    for k in range(halvings):
        nodes.append(helper.make_node("MaxPool", [last], [f"p{k + 1}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"p{k + 1}"
    if halvings:
        factor = 2**halvings
        nodes.append(helper.make_node("Resize", [last, "", "factors"], ["up"], mode="nearest"))
        nodes.append(helper.make_node("Mul", ["up", "none"], ["nothing"]))
        nodes.append(helper.make_node("Add", ["p0", "nothing"], ["skip"]))
        last = "skip"
    nodes += [helper.make_node("Sub", [last, "t"], ["d"]), helper.make_node("Mul", ["d", "w"], ["z"])]
    if planes > 1:
        nodes.append(helper.make_node("Neg", ["z"], ["b"]))
        nodes.append(helper.make_node("Add", ["z", "never"], ["far"]))
        nodes.append(helper.make_node("Concat", ["b", "z", *["far"] * (planes - 2)], ["c"], axis=1))
    made = "z" if planes == 1 else "c"
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", [made], ["q"]))
        made = "q"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [made], ["y"], perm=[0, 2, 3, 1]))
    else:
        nodes.append(helper.make_node("Identity", [made], ["y"]))
    weighs = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    if halvings:
        weighs.append(numpy_helper.from_array(np.array([1, 1, factor, factor], np.float32), "factors"))
    return _graph(nodes, shape, [("y", TensorProto.FLOAT, out)], weighs, metadata)


def map_model(
    side: int | str = "s",
    *,
    channels: int = 1,
    dtype: int = TensorProto.INT64,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Images → a map of integers h×w: 0, and 70,000 where it is bright (one object, whatever its parts)."""
    nodes = [
        helper.make_node("Greater", ["x", "t"], ["g"]),
        helper.make_node("Cast", ["g"], ["i"], to=TensorProto.INT64),
        helper.make_node("Mul", ["i", "id"], ["m"]),
        helper.make_node("Squeeze", ["m", "axes"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=dtype),
    ]
    weighs = [
        numpy_helper.from_array(np.array(LEVEL, np.float32), "t"),
        numpy_helper.from_array(np.array(70_000 if dtype == TensorProto.INT64 else 1, np.int64), "id"),
        numpy_helper.from_array(np.array([0, 1], np.int64), "axes"),
    ]
    return _graph(nodes, [1, channels, side, side], [("y", dtype, [side, side])], weighs, metadata)


def detection_model(boxes: NDArray[np.float32], scores: NDArray[np.float32], *, bare: bool = False) -> bytes:
    """Images → the same boxes with full masks and scores for each, as a Mask R-CNN gives them.

    `bare`: it takes one image without a batch axis, and its outputs are told by their shapes alone.
    """
    masks = np.ones((len(boxes), 1, 4, 4), np.float32)
    shape: list[int | str] = [1, "h", "w"] if bare else [1, 1, "h", "w"]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=list(range(len(shape))), keepdims=0),
        helper.make_node("Mul", ["m", "none"], ["nothing"]),
    ]
    values = {"boxes": boxes, "masks": masks, "scores": scores}
    if bare:
        values = {"1": scores, "2": masks, "3": boxes}
    nodes += [helper.make_node("Add", [f"{name}_", "nothing"], [name]) for name in values]
    weighs = [numpy_helper.from_array(value, f"{name}_") for name, value in values.items()]
    weighs.append(numpy_helper.from_array(np.array(0, np.float32), "none"))
    outputs = [(name, TensorProto.FLOAT, ["n", *value.shape[1:]]) for name, value in values.items()]
    return _graph(nodes, shape, outputs, weighs)


def _graph(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    outputs: Sequence[tuple[str, int, Sequence[int | str]]],
    weighs: Sequence[Any],
    metadata: dict[str, str] | None = None,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, dtype, list(out)) for name, dtype, out in outputs],
        list(weighs),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())
