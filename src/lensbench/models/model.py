"""What evaluation asks of a model, whatever it is: `Model`; adapters are `onnx.OnnxModel` and `function.Function`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.models.card import Card
from lensbench.models.gate import Graph

Call = Callable[[NDArray[Any]], list[NDArray[Any]]]
"""A batch in, the arrays of the outputs asked for out. Any thread may call it."""
Infer = Callable[[NDArray[Any]], NDArray[np.float32]]
"""A batch in, one array out."""


class Model(Protocol):
    """A model that can be run: what it is called, what it declares, what goes in and comes out."""

    @property
    def kind(self) -> str:
        """``onnx`` or ``callable``."""

    @property
    def file(self) -> str:
        """What messages call it."""

    @property
    def name(self) -> str:
        """What a board calls it."""

    @property
    def sha256(self) -> str:
        """Hex sha256 of its file."""

    @property
    def parameters(self) -> int | None:
        """Number of values in its weights, where that is known."""

    @property
    def size(self) -> int | None:
        """Bytes of its file."""

    @property
    def card(self) -> Card:
        """All that it declares."""

    @property
    def own(self) -> Card:
        """What is declared of it outside its file."""

    @property
    def assumed(self) -> tuple[str, ...]:
        """What has to be taken on trust with it, in words."""

    def graph_for(self, benchmark: Benchmark) -> Graph:
        """Its inputs and outputs for a benchmark's images."""

    def declaring(self, card: Card) -> Self:
        """The same model under another card."""

    def open(self, name: str, outputs: Sequence[str]) -> Call:
        """Make it ready to run: arrays for its input `name` → the arrays of `outputs`."""


def one(call: Call) -> Infer:
    """`call` for a single output."""
    return lambda batch: call(batch)[0]
