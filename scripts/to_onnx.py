"""How the training scripts write a network of torch as ONNX."""

from __future__ import annotations

from typing import Any

import onnx


def to_onnx(net: Any, example: tuple[int, ...], free: dict[int, Any], output: str, opset: int) -> bytes:
    """The network, `image` in and `output` out, as one file; its axes in `free` are open (`torch.export.Dim`).

    The exporter's notes, which name files of this machine, are taken out.
    """
    import torch

    program = torch.onnx.export(
        net,
        (torch.zeros(*example),),
        input_names=["image"],
        output_names=[output],
        dynamic_shapes=(free,),
        opset_version=opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise SystemExit("torch.onnx.export returned nothing")
    model = program.model_proto
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.producer_name, model.producer_version = "pytorch", ""
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
