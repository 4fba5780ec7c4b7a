"""Random-weight networks of three sizes, written as ONNX graphs: speed depends on shape, not on training."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Collects nodes and weights; every method takes and returns the name of a tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.parameters = 0

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        fan = int(np.prod(shape[1:])) or 1
        values = self.rng.normal(scale=(2 / fan) ** 0.5, size=shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        self.parameters += values.size
        return name

    def conv(self, x: str, cin: int, cout: int, k: int, stride: int = 1, groups: int = 1, act: bool = True) -> str:
        w, b = self.weight(cout, cin // groups, k, k), self.weight(cout)
        pad = [k // 2] * 4
        y = self.node("Conv", [x, w, b], kernel_shape=[k, k], strides=[stride, stride], pads=pad, group=groups)
        return self.node("Relu", [y]) if act else y

    def head(self, x: str, channels: int, classes: int) -> bytes:
        pooled = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        self.nodes.append(
            helper.make_node("Gemm", [pooled, self.weight(channels, classes), self.weight(classes)], ["y"])
        )
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 100, 100])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())


def tiny(classes: int) -> tuple[bytes, int]:
    """0.1 M parameters: four strided convolutions."""
    net, x, cin = Net(), "x", 3
    for cout in (16, 32, 64, 112):
        x, cin = net.conv(x, cin, cout, 3, 2), cout
    return net.head(x, cin, classes), net.parameters


def mobile(classes: int) -> tuple[bytes, int]:
    """MobileNetV2's blocks (Sandler et al. 2018, table 2), batch normalisation folded: 2.3 M parameters."""
    net = Net()
    x, cin = net.conv("x", 3, 32, 3, 2), 32
    for t, cout, n, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(n):
            s, wide, y = (stride if i == 0 else 1), cin * t, x
            if t > 1:
                y = net.conv(y, cin, wide, 1)
            y = net.conv(y, wide, wide, 3, s, groups=wide)
            y = net.conv(y, wide, cout, 1, act=False)
            x, cin = (net.node("Add", [x, y]) if s == 1 and cin == cout else y), cout
    return net.head(net.conv(x, cin, 1280, 1), 1280, classes), net.parameters


def resnet18(classes: int) -> tuple[bytes, int]:
    """ResNet-18 (He et al. 2016), batch normalisation folded: 11.2 M parameters."""
    net = Net()
    x = net.conv("x", 3, 64, 7, 2)
    x, cin = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for cout in (64, 128, 256, 512):
        for i in range(2):
            s = 2 if i == 0 and cout > 64 else 1
            y = net.conv(net.conv(x, cin, cout, 3, s), cout, cout, 3, act=False)
            x = net.conv(x, cin, cout, 1, s, act=False) if s == 2 else x
            x, cin = net.node("Relu", [net.node("Add", [x, y])]), cout
    return net.head(x, 512, classes), net.parameters


NETWORKS = {"tiny": tiny, "mobile": mobile, "resnet18": resnet18}
