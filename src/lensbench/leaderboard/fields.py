"""One field of a stranger's JSON at a time: of the type it says and of bounded size, or RecordError names it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lensbench.errors import RecordError
from lensbench.leaderboard.escape import clean

NAME, LINE, PROSE = 80, 200, 600
"""Lengths that text is cut to: a name, a short field, a sentence."""
LISTED = 40
"""Entries of a list of sentences or authors that a board shows."""
BOUNDS = {"unit": (0.0, 1.0), "positive": (0.0, math.inf), "real": (-math.inf, math.inf)}
SLACK = 1e-9
"""A mean of ones may end a rounding step above 1."""


def mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table of that name."""
    value = data.get(name)
    if not isinstance(value, Mapping):
        raise RecordError(f"{name} is not a table")
    return value


def truth(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise RecordError(f"{where} is neither true nor false")
    return value


def items(value: Any, where: str, most: int) -> list[Any]:
    """A list of at most `most` entries."""
    if not isinstance(value, list) or len(value) > most:
        raise RecordError(f"{where} is not a list of at most {most}")
    return value


def text(value: Any, where: str, limit: int) -> str:
    """Text, cleaned and cut to `limit`."""
    if not isinstance(value, str):
        raise RecordError(f"{where} is not text")
    return clean(value, limit)


def maybe_text(value: Any, where: str, limit: int) -> str | None:
    """Text, or None where there is none."""
    return None if value is None else text(value, where, limit) or None


def texts(value: Any, where: str, limit: int) -> tuple[str, ...]:
    """A list of texts, of which the first few are kept."""
    values = items(value, where, 100_000)
    shown = [found for item in values[:LISTED] if (found := text(item, where, limit))]
    return (*shown, f"… and {len(values) - LISTED} more") if len(values) > LISTED else tuple(shown)


def plain(value: Any, where: str) -> str | int | bool | None:
    """A whole number, true, false, text or None."""
    if value is None or isinstance(value, bool):
        return value
    return whole(value, where) if isinstance(value, int) else text(value, where, LINE)


def number(value: Any, where: str, bounds: tuple[float, float]) -> float:
    """A finite number within `bounds`."""
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e18 <= value <= 1e18:
        raise RecordError(f"{where} is not a number that can be shown")
    if not low - SLACK <= value <= high + SLACK:
        raise RecordError(f"{where} is {value:.6g}, outside {low:g}…{high:g}")
    return float(value)


def maybe_number(value: Any, where: str, bounds: tuple[float, float]) -> float | None:
    """A number within `bounds`, or None."""
    return None if value is None else number(value, where, bounds)


def whole(value: Any, where: str) -> int:
    """A whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**18:
        raise RecordError(f"{where} is not a whole number from 0 on")
    return value


def maybe_whole(value: Any, where: str) -> int | None:
    """A whole number from 0 on, or None."""
    return None if value is None else whole(value, where)
