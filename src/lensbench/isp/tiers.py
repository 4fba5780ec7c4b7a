"""Tiers of views: grids read from TOML, so that a tier is data and its digest names what it holds."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lensbench.digest import sha256_of
from lensbench.errors import ViewError, nearest
from lensbench.isp.view import RANGES, WHOLE, View, view_of

FOLDER = Path(__file__).with_name("grids")
HEADLINE, REFERENCE = "corrected-12", "bi-s-ga"
"""The tier of the headline, and the view in it that others are compared with."""
MOST = 1_000
"""Views in one tier."""
ENTRIES = ("schema", "letter", "version", "title", "view", "axis", "series", "corruptions", "box", "calibration")

Box = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Tier:
    """Named views in order, and for a search the box around them."""

    name: str
    letter: str
    version: int
    title: str
    views: tuple[View, ...]
    box: Box
    calibration: Mapping[str, Any]
    """How and on what the parameters were chosen, where they were measured."""

    @cached_property
    def digest(self) -> str:
        """Hex sha256 over the names and digests of the views, and the box."""
        views = [[view.name, view.digest] for view in self.views]
        return sha256_of({"schema": 1, "views": views, "box": {k: list(v) for k, v in self.box.items()}})

    def view(self, name: str) -> View:
        """The view called `name`; raises ViewError with the nearest for another."""
        for view in self.views:
            if view.name == name:
                return view
        raise ViewError(f"tier {self.name} has no view {name!r}{nearest(name, (view.name for view in self.views))}")


def tier_names() -> list[str]:
    """Names of the tiers that came with lensbench, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def get_tier(name: str) -> Tier:
    """A tier that came with lensbench, or the one in a TOML file of the same form; raises ViewError."""
    path = FOLDER / f"{name}.toml" if name in tier_names() else Path(name)
    if path.parent != FOLDER and (path.suffix != ".toml" or not path.is_file()):
        raise ViewError(f"no tier {name!r}{nearest(name, tier_names())}, or a .toml file of the same form")
    try:
        return _tier(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ViewError(f"{path}: not valid TOML: {error}") from error
    except KeyError as error:
        raise ViewError(f"{path}: the entry {error} is missing") from error
    except (TypeError, ValueError, OverflowError, AttributeError, ViewError) as error:
        raise ViewError(f"{path.name}: {error}") from error


def reference() -> View:
    """The reference view: what every other is compared with."""
    return get_tier(HEADLINE).view(REFERENCE)


def _tier(name: str, data: Mapping[str, Any]) -> Tier:
    for key in data:
        if key not in ENTRIES:
            raise ViewError(f"a tier has no entry {key!r}{nearest(key, ENTRIES)}")
    if data["schema"] != 1:
        raise ViewError(f"schema {data['schema']!r} is not 1")
    views = tuple(itertools.islice(_views(data), MOST + 1))
    names = [view.name for view in views]
    if not views:
        raise ViewError("no views: a tier has an [[axis]], a [series.NAME] or [corruptions]")
    if len(views) > MOST:
        raise ViewError(f"a tier has at most {MOST} views, and this one has more")
    if twice := [name for at, name in enumerate(names) if name in names[:at]]:
        raise ViewError(f"two views are called {twice[0]!r}: each has a name of its own")
    box = {str(key): _interval(key, value) for key, value in data.get("box", {}).items()}
    calibration = dict(data.get("calibration", {}))
    return Tier(name, str(data["letter"]), int(data["version"]), str(data["title"]), views, box, calibration)


def _interval(key: str, value: Any) -> tuple[float, float]:
    """Least and greatest; a name that ends in ``_log2`` is of powers of two, and gains have a name each."""
    known = [*(name for name in RANGES if name not in WHOLE), "red_gain", "blue_gain"]
    if key.removesuffix("_log2") not in known:
        raise ViewError(f"box: no parameter {key!r}{nearest(key, known)}")
    low, high = map(float, value)
    if not -1e3 < low < high < 1e3:
        raise ValueError(f"box: {key} goes from {low} to {high}")
    return low, high


def _views(data: Mapping[str, Any]) -> Iterator[View]:
    """Products of the axes, then the series (NAME-1, NAME-2 …), then the corruptions."""
    base = data.get("view", {})
    axes = data.get("axis", [])
    for options in itertools.product(*(axis.items() for axis in axes)) if axes else ():
        changes = {key: value for _, option in options for key, value in option.items()}
        yield view_of({**base, **changes}, "-".join(name for name, _ in options))
    for name, series in data.get("series", {}).items():
        ((key, values),) = series.items()
        for severity, value in enumerate(values, start=1):
            yield view_of({**base, key: value}, f"{name}-{severity}")
    chosen = data.get("corruptions", {})
    for name, severity in itertools.product(chosen.get("names", ()), chosen.get("severities", ())):
        yield view_of({**base, "corruption": {"name": name, "severity": severity}}, f"{name}-{severity}")
