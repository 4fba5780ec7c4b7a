"""A Python function as a model: ``module:function``. It is trusted code, run in this process, and that is said.

The function is given one image at a time and never called by two threads at once, for nobody knows whether it could
be: float32 C×H×W as the benchmark's input contract says. A segmentation gives
planes of floats K×H×W (or H×W), or a map of integers H×W (or 1×H×W); a classifier one score per class.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark
from lensbench.digest import sha256_file
from lensbench.errors import ModelError
from lensbench.models.card import FUNCTIONS, Card
from lensbench.models.gate import Graph, Tensor
from lensbench.models.inputs import CHANNELS
from lensbench.models.maskcontract import ANY
from lensbench.models.model import Call

NAMED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
ASSUMED = (
    "that the function does what its module's file says: it is trusted code, run in this process, and what else it "
    "imports is in no digest"
)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of a module, and the sha256 of that module's file."""

    kind: ClassVar[str] = "callable"
    parameters: ClassVar[None] = None
    assumed: ClassVar[tuple[str, ...]] = (ASSUMED,)

    file: str
    """``module:function``: what messages call it."""
    call: Callable[[NDArray[np.float32]], Any]
    sha256: str
    size: int
    card: Card = field(default_factory=Card)
    own: Card = field(default_factory=Card)
    """The `model.toml` that names it, if one does."""

    @property
    def name(self) -> str:
        """The declared name, else where it is found."""
        return self.card.name or self.file

    def graph_for(self, benchmark: Benchmark) -> Graph:
        """One image of the benchmark's colour in; class scores, or what only shows when it is there, out."""
        shape = (1, CHANNELS[benchmark.input.colour][0], benchmark.input.height, benchmark.input.width)
        scores = benchmark.task == "classification"
        dtype = "FLOAT" if scores else "UINT32" if self.card.kind == "labelmap" else ANY
        output = Tensor("answer", dtype, (1, len(benchmark.labels)) if scores else None)
        return Graph((Tensor("image", "FLOAT", shape),), (output,), 0, {})

    def declaring(self, card: Card) -> Function:
        """The same function under another card."""
        return replace(self, card=card)

    def open(self, name: str, outputs: Sequence[str]) -> Call:
        """Its answer for the one image of a batch, with a batch axis again."""
        alone = threading.Lock()

        def call(batch: NDArray[Any]) -> list[NDArray[Any]]:
            try:
                with alone:
                    given = np.asarray(self.call(np.array(batch[0])))  # a copy: the function may keep or change it
            except Exception as error:
                raise ModelError(f"{self.file} raised {type(error).__name__}: {_one_line(error)}") from error
            if given.dtype.kind not in "fiub":
                raise ModelError(f"{self.file} gave {given.dtype} values, expected numbers")
            return [given[None].astype(np.float32) if given.dtype.kind == "f" else given[None]]

        return call


def is_function(model: str) -> bool:
    """Whether `model` is spelt ``module:function``, and no file of that name is there."""
    return NAMED.fullmatch(model) is not None and not Path(model).exists()


def read_function(model: str) -> Function:
    """Import the function of ``module:function``; the current folder counts as one to import from.

    Raises ModelError for a module that is not there, fails to import, or has no such function.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # and it stays: the function may import when it is called
    return _imported(model)


def declared_function(card: Card) -> Function:
    """The function of lensbench itself that a submission's card names."""
    assert card.function in FUNCTIONS
    return replace(_imported(card.function), card=card, own=card)


def _imported(model: str) -> Function:
    module_name, _, name = model.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise ModelError(f"{model}: the module cannot be imported: {reason}") from error
    found, file = getattr(module, name, None), getattr(module, "__file__", None)
    if not callable(found):
        raise ModelError(f"{model}: {module_name} has no function {name!r}")
    if file is None or not Path(file).is_file():
        raise ModelError(f"{model}: the module has no file, so nothing pins what it does")
    path = Path(file)
    return Function(model, found, sha256_file(path), path.stat().st_size)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
