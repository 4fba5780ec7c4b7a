"""Fields of a stranger's TOML: each has its type, form and bounds, or a ValueError says which and what is there.

Every function takes a value and `what` it is, for the message. `known` comes first where ``unknown`` is a value, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lensbench.digest import UNKNOWN

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}\Z", re.ASCII)
"""Of datasets, configs, versions and records: folders and files are called by them."""
VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){2}\Z", re.ASCII)
HEX = re.compile(r"[0-9a-f]+\Z", re.ASCII)
LONGEST = 10_000
"""Characters of a text."""
MOST = 2**53
"""The largest whole number: JSON has no larger one that every reader takes."""
MOST_SAMPLES = 10_000_000
"""In one source, or a specimen: ids and rows of all of them are held at once at some places."""


def known(value: Any) -> Any:
    """`value`, or None where the registry says ``unknown``."""
    return None if value == UNKNOWN else value


def table(value: Any, what: str) -> Mapping[str, Any]:
    """A table, perhaps an empty one."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is a table, not {_short(value)}")
    return value


def array(value: Any, what: str) -> list[Any]:
    """A list, perhaps an empty one."""
    if not isinstance(value, list):
        raise ValueError(f"{what} is a list, not {_short(value)}")
    return value


def text(value: Any, what: str) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise ValueError(f"{what} is a text of at most {LONGEST:,} characters, not {_short(value)}")
    return value


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(item, f"each of {what}") for item in array(value, what))


def flag(value: Any, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{what} is true or false, not {_short(value)}")
    return value


def whole(value: Any, what: str, least: int = 0, most: int = MOST) -> int:
    """A whole number, from `least` to `most`; a bool is none."""
    if type(value) is not int or not least <= value <= most:
        bounds = f"{least} or more" if most == MOST else f"from {least} to {most:,}"
        raise ValueError(f"{what} is a whole number, {bounds}, not {_short(value)}")
    return value


def maybe_whole(value: Any, what: str, least: int = 0) -> int | None:
    """A whole number, or None where it is unknown."""
    return None if known(value) is None else whole(value, what, least)


def name(value: Any, what: str) -> str:
    """What may name a folder or a file of ours, and is easily typed."""
    if not isinstance(value, str) or not NAME.match(value):
        raise ValueError(
            f"{what} {_short(value)} is no name: up to 60 letters, digits, '.', '_' or '-', first a letter or digit"
        )
    return value


def version_name(value: Any, what: str) -> str:
    """A version as `datasets` takes it."""
    if not isinstance(value, str) or not VERSION.match(value):
        raise ValueError(f"{what} {_short(value)} is not three whole numbers, as in 1.0.0")
    return value


def address(value: Any, what: str) -> str:
    """An http address: it becomes a link on a page."""
    found = text(value, what)
    if not found.startswith(("https://", "http://")) or not found.isprintable() or " " in found:
        raise ValueError(f"{what} {_short(value)} is no http address")
    return found


def file_name(value: Any, what: str) -> str:
    """The name of a file in a folder, never a path that leads elsewhere."""
    found = text(value, what)
    if found in (".", "..") or not found.isprintable() or "/" in found or "\\" in found or len(found.encode()) > 255:
        raise ValueError(f"{what} {_short(value)} is no plain file name")
    return found


def digest(value: Any, what: str, digits: int) -> str | None:
    """Lower-case hex of so many digits, or None where it is unknown."""
    if known(value) is None:
        return None
    if not isinstance(value, str) or len(value) != digits or not HEX.match(value):
        raise ValueError(f"{what} is {digits} hex digits or 'unknown', not {_short(value)}")
    return value


def _short(value: Any) -> str:
    try:
        found = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number"
    return found if len(found) <= 60 else f"{found[:59]}…"
