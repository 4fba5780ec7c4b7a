"""What was first seen on this machine: digests of splits that no registry pins yet, so that they stay so.

Only a whole build from verified files pins. A part of a source, an unpacked folder or an archive that no digest is
known of may hold anything, and what it pinned would be held against the right source later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lensbench.data.request import Request
from lensbench.errors import DatasetError
from lensbench.paths import home, write_text


def pins_path() -> Path:
    """Where the splits that were seen for the first time on this machine are pinned."""
    return home() / "pins.json"


def check_pins(request: Request, pins: Mapping[str, str]) -> None:
    """Refuse a split that differs from the one first seen on this machine."""
    known = _read_pins() if pins else {}
    for split, digest in pins.items():
        first = known.get(_pin_key(request, split), digest)
        if first != digest:
            raise DatasetError(
                f"the {split} list of {request.title} is not the one first seen here (manifest "
                f"{digest[:12]}…, pinned {str(first)[:12]}…): use that one, or, if this one is right, remove the "
                f"entry {_pin_key(request, split)!r} from {pins_path()}"
            )


def keep_pins(request: Request, pins: Mapping[str, str], verified: bool) -> None:
    """Pin what was seen for the first time, in a whole build from verified files (`Located.verified`)."""
    if pins and verified and not request.partial:
        known = {_pin_key(request, split): digest for split, digest in pins.items()} | _read_pins()
        write_text(pins_path(), json.dumps(known, indent=1, sort_keys=True) + "\n")


def _pin_key(request: Request, split: str) -> str:
    return f"{request.dataset.name}/{request.config.name}/{split}"


def _read_pins() -> dict[str, str]:
    try:
        pins = json.loads(pins_path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DatasetError(f"{pins_path()}: not readable ({error}); delete it to pin afresh") from error
    if not isinstance(pins, dict):
        raise DatasetError(f"{pins_path()}: not a table of pins; delete it to pin afresh")
    return pins
