"""How functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled at its first call; the machine code is kept beside the module where that can be written."""
    done: Callable[..., Any]
    try:
        done = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder for its cache
        done = numba.njit(nogil=True)(function)
    return done
