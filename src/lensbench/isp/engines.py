"""Which engine develops: the compiled one where it can be had."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

from lensbench.errors import LensbenchError
from lensbench.isp.engine import Engine, Numpy

ENGINES = ("numba", "numpy")


@lru_cache(maxsize=1)
def has_numba() -> bool:
    """Whether the extra ``[fast]`` is installed."""
    return find_spec("numba") is not None


def get_engine(name: str | None = None) -> Engine:
    """The engine `name` (``numba`` or ``numpy``); without a name the compiled one where it can be had.

    Raises LensbenchError for a name that is unknown or not installed.
    """
    chosen = name or ("numba" if has_numba() else "numpy")
    if chosen == "numpy":
        return Numpy()
    if chosen != "numba":
        raise LensbenchError(f"no engine {chosen!r}: engines are {', '.join(ENGINES)}")
    if not has_numba():
        raise LensbenchError('the engine numba needs numba: pip install "lensbench[fast]"')
    from lensbench.isp.compiled import Numba

    return Numba()
