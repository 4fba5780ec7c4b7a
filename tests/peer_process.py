"""The peers of tests/peers.txt in a process of their own, which the tests ask over its pipes.

Their compiled modules (stardist, cellpose, fastremap …) bring runtimes of their own: no test loads them beside
lensbench, so that nothing they do to a process is taken for ours. `Peers` starts this file as
``python tests/peer_process.py FOLDER`` and sends it pickles: (name of a function in `ANSWERS`, its arguments).
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]


class Peers:
    """The other process, while a ``with`` block lasts."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, __file__, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=60)  # it ends when nothing more can be asked

    def stardist(self, true: Labels, mine: Labels, threshold: float) -> Mapping[str, float]:
        """Of `stardist.matching.matching`: tp, fp, fn, f1 and panoptic_quality."""
        found: Mapping[str, float] = self._ask("stardist", true, mine, threshold)
        return found

    def cellpose(self, true: Labels, mine: Labels, thresholds: list[float]) -> tuple[NDArray[Any], ...]:
        """Of `cellpose.metrics.average_precision`: AP, TP, FP and FN by threshold."""
        found: tuple[NDArray[Any], ...] = self._ask("cellpose", true, mine, thresholds)
        return found

    def _ask(self, what: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            pickle.dump((what, arguments), self.process.stdin)
            self.process.stdin.flush()
            done, answer = pickle.load(self.process.stdout)  # our own process
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(f"the process of the peers ended with {self.process.wait(60)}") from error
        if not done:
            raise RuntimeError(f"the process of the peers says:\n{answer}")
        return answer


def _stardist(true: Labels, mine: Labels, threshold: float) -> dict[str, float]:
    from stardist.matching import matching

    found = matching(true, mine, thresh=threshold)
    return {name: getattr(found, name) for name in ("tp", "fp", "fn", "f1", "panoptic_quality")}


def _cellpose(true: Labels, mine: Labels, thresholds: list[float]) -> tuple[Any, ...]:
    from cellpose.metrics import average_precision

    with np.errstate(all="ignore"):
        return tuple(average_precision(true, mine, threshold=thresholds))


ANSWERS: Mapping[str, Callable[..., Any]] = {"stardist": _stardist, "cellpose": _cellpose}


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer what is asked until nothing more is."""
    while True:
        try:
            what, arguments = pickle.load(asked)  # from the tests
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = (True, ANSWERS[what](*arguments))
        except Exception:  # whatever it is, the test that asked has to fail with it
            answer = (False, traceback.format_exc())
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # what both have is ours, not theirs
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a peer prints is no answer
    serve(sys.stdin.buffer, replies)
