"""The views a benchmark gives each raw frame in: the grid of a tier, and the view that others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lensbench.isp.tiers import Tier, get_tier, reference
from lensbench.isp.view import View

OUTSIDE = "reference"
"""The name of a reference view that is none of the grid."""
ENTRIES = {"tier", "reference"}


@dataclass(frozen=True)
class Views:
    """What a model is shown of each frame, in this order: the reference view first where it is none of the grid."""

    tier: Tier
    reference: View

    @cached_property
    def shown(self) -> tuple[View, ...]:
        """Every view that a model is given."""
        outside = self.reference not in self.tier.views
        return (self.reference, *self.tier.views) if outside else self.tier.views

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(view.name for view in self.shown)

    @property
    def grid(self) -> tuple[bool, ...]:
        """Which of them are compared: all but a reference from outside."""
        return tuple(view in self.tier.views for view in self.shown)

    @property
    def at(self) -> int:
        """Which of them is the reference."""
        return self.shown.index(self.reference)

    @property
    def pinned(self) -> dict[str, Any]:
        """What of it is in a benchmark's digest: every view's name and digest, by the tier's own."""
        return {"tier": self.tier.digest, "reference": [self.reference.name, self.reference.digest]}

    @property
    def recordings(self) -> tuple[int, ...]:
        """Which recordings of a frame they need, in per cent of the full intensity."""
        return tuple(sorted({view.intensity for view in self.shown}, reverse=True))

    def column(self, intensity: int) -> str:
        """The dataset's column with that recording."""
        return "image" if intensity == 100 else f"image_{intensity:03d}"

    @property
    def series(self) -> Mapping[str, tuple[int, ...]]:
        """The views that are one stage at several severities (``NAME-1``, ``NAME-2`` …), by that name."""
        found: dict[str, list[int]] = {}
        for at, view in enumerate(self.shown):
            name, dash, severity = view.name.rpartition("-")
            if dash and severity.isdecimal():
                found.setdefault(name, []).append(at)
        return {name: tuple(places) for name, places in found.items()}


def views_of(data: Mapping[str, Any], folder: Path) -> Views:
    """`[views]` of a benchmark in `folder`: a ``tier`` by name or file, and the ``reference`` by its name in it.

    Without a name the reference is lensbench's own, as a view beside the grid. Raises ViewError or ValueError.
    """
    for key in data:
        if key not in ENTRIES:
            raise ValueError(f"views: unknown entry {key!r}; known: {', '.join(sorted(ENTRIES))}")
    name = str(data["tier"])
    tier = get_tier(str(folder / name) if name.endswith(".toml") else name)
    if tier.box:
        raise ValueError(f"views: tier {tier.name} is a box to search in, not a grid")
    if "reference" in data:
        return Views(tier, tier.view(str(data["reference"])))
    own = reference().but(name=OUTSIDE)
    if own in tier.views:
        raise ValueError(f"views: tier {tier.name} holds the reference view: name it (reference = …)")
    return Views(tier, own)
