"""The ONNX adapter: one onnxruntime session on one core per call, shared by all threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.errors import ModelError
from lensbench.models.card import Card, metadata_card, read_card
from lensbench.models.gate import Graph, read_graph, read_model_bytes
from lensbench.models.model import Call


@dataclass(frozen=True)
class OnnxModel:
    """A model file that passed the gate: its bytes, what it declares, what its graph says."""

    kind: ClassVar[str] = "onnx"
    assumed: ClassVar[tuple[str, ...]] = ()
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

    @property
    def parameters(self) -> int:
        """Number of values in its weights."""
        return self.graph.parameters

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    def graph_for(self, benchmark: Benchmark) -> Graph:
        """Its graph, whatever the benchmark."""
        return self.graph

    def declaring(self, card: Card) -> OnnxModel:
        """The same model under another card."""
        return replace(self, card=card)

    def open(self, name: str, outputs: Sequence[str]) -> Call:
        """A session on it: arrays for the input `name` → the arrays of `outputs`."""
        return start(self.data, name, outputs, self.file)


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


def start(data: bytes, name: str, outputs: Sequence[str], where: str) -> Call:
    """One session that all threads share: arrays for the input `name` → the arrays of `outputs`.

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

    def call(batch: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            return session.run(list(outputs), {name: batch})  # type: ignore[no-any-return]
        except Exception as error:
            raise ModelError(f"{where}: onnxruntime failed while running it: {_one_line(error)}") from error

    return call


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] + ("…" if len(text) > 300 else "")
