"""The ONNX adapter: one onnxruntime session on one core per call, shared by all threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ModelError
from lensbench.models.card import Card, metadata_card, read_card
from lensbench.models.gate import Graph, read_graph, read_model_bytes

Infer = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class OnnxModel:
    """A model file that passed the gate: its bytes, what it declares, what its graph says."""

    file: str
    data: bytes
    graph: Graph
    card: Card
    own: Card
    """`model.toml` alone, without the file's metadata."""

    @cached_property
    def sha256(self) -> str:
        """Hex sha256 of the file."""
        return sha256(self.data).hexdigest()

    @property
    def name(self) -> str:
        """The declared name, else the file's stem."""
        return self.card.name or Path(self.file).stem


def read_onnx(path: Path) -> OnnxModel:
    """Read a model: an `.onnx` file, or a folder with `model.toml`. Nothing is run.

    A `model.toml` beside the file counts when its `file` entry (default `model.onnx`) names it; it goes before
    the file's own metadata. Raises ModelError in one line.
    """
    own = Card()
    if path.is_dir():
        own = read_card(path / "model.toml")
        path = path / (own.file or "model.onnx")
    elif (path.parent / "model.toml").is_file():
        beside = read_card(path.parent / "model.toml")
        own = beside if (beside.file or "model.onnx") == path.name else Card()
    if path.suffix.lower() != ".onnx":
        raise ModelError(f"{path}: a model is an .onnx file; predictions made elsewhere go in with --predictions")
    data = read_model_bytes(path)
    graph = read_graph(data, path.name)
    return OnnxModel(path.name, data, graph, own.over(metadata_card(graph.metadata)), own)


def open_session(data: bytes, output: str, where: str) -> Callable[[str], Infer]:
    """An inference function maker on one shared session: `open_session(…)(input name)(batch) → outputs`.

    intra_op = inter_op = 1: the callers' threads are the parallelism. Optimisation stays at its default (all),
    worth 1.3–2.8 × on CPU.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen classes of its own, none public
        raise ModelError(f"{where}: onnxruntime cannot load it: {_one_line(error)}") from error

    def bind(name: str) -> Infer:
        def infer(batch: NDArray[Any]) -> NDArray[np.float32]:
            try:
                return session.run([output], {name: batch})[0]  # type: ignore[no-any-return]
            except Exception as error:
                raise ModelError(f"{where}: onnxruntime failed while running it: {_one_line(error)}") from error

        return infer

    return bind


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] + ("…" if len(text) > 300 else "")
