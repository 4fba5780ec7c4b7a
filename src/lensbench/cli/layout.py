"""Plain text on a terminal: aligned columns, wrapped paragraphs, and nothing that could steer the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from lensbench.errors import printable

NARROWEST, WIDEST = 60, 120
"""Columns between which text is wrapped, however wide the terminal is."""


def width() -> int:
    """Columns to wrap text at: the terminal's (or ``COLUMNS``), 100 where there is none."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)


def cell(text: object) -> str:
    """`text` on one line, without control characters."""
    return " ".join(printable(str(text)).split())


def aligned(rows: Sequence[Sequence[object]], right: Sequence[int] = (), indent: int = 0) -> list[str]:
    """`rows` as lines of columns two spaces apart; columns numbered in `right` end flush.

    >>> aligned([("split", "rows"), ("train", 30), ("test", 5)], right=[1])
    ['split  rows', 'train    30', 'test      5']
    """
    texts = [[cell(value) for value in row] for row in rows]
    if not texts:
        return []
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    return [
        " " * indent
        + "  ".join(
            text.rjust(size) if i in right else text.ljust(size)
            for i, (text, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]


def paragraph(text: str, indent: int = 2, hang: int = 0) -> list[str]:
    """`text` wrapped at `width()`, `indent` spaces in, further lines `hang` more; long words stay whole (to copy)."""
    first, rest = " " * indent, " " * (indent + hang)
    return textwrap.wrap(
        cell(text),
        width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
