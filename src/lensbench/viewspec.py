"""The views a benchmark gives each raw frame in: the grid of a tier, and the view that others are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lensbench.isp.search import VERSION, Found, check_search, middles
from lensbench.isp.tiers import Tier, get_tier, reference
from lensbench.isp.view import View

OUTSIDE = "reference"
"""The name of a reference view that is none of the grid."""
ENTRIES = {"tier", "reference", "budget", "seed"}
SEARCHED = ("worst_view:", "clean:", "drop_max:", "all_views:")
"""What metrics of a search begin with: a mean over the views that one happened to ask about is of nothing."""


@dataclass(frozen=True)
class Search:
    """How the worst view in a tier's box is looked for: the number of questions, and the seed of their order."""

    budget: int
    seed: int = 0


@dataclass(frozen=True)
class Views:
    """What a model is shown of each frame, in this order: the reference view first where it is none of the grid.

    With a `search` these are the questions that it `found`; before that, those which every search begins with.
    """

    tier: Tier
    reference: View
    search: Search | None = None
    found: Found | None = None

    @cached_property
    def shown(self) -> tuple[View, ...]:
        """Every view that a model is given."""
        if self.search is not None:
            return middles(self.tier) if self.found is None else tuple(trial.view for trial in self.found.trials)
        outside = self.reference not in self.tier.views
        return (self.reference, *self.tier.views) if outside else self.tier.views

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(view.name for view in self.shown)

    @property
    def grid(self) -> tuple[bool, ...]:
        """Which of them are compared: all but a reference from outside."""
        return tuple(self.search is not None or view in self.tier.views for view in self.shown)

    @property
    def at(self) -> int:
        """Which of them is the reference."""
        return self.shown.index(self.reference)

    def told(self, worst: int) -> tuple[int, ...]:
        """Which views of a search a record tells of one by one: those that it asks first, and the worst."""
        first = tuple(range(len(self.tier.views)))
        return first if worst in first else (*first, worst)

    @property
    def pinned(self) -> dict[str, Any]:
        """What of it is in a benchmark's digest: every view's name and digest, by the tier's own; how one searches."""
        pinned = {"tier": self.tier.digest, "reference": [self.reference.name, self.reference.digest]}
        if self.search is None:
            return pinned
        return {**pinned, "search": {"version": VERSION, "budget": self.search.budget, "seed": self.search.seed}}

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
        for at, view in enumerate(() if self.search else self.shown):
            name, dash, severity = view.name.rpartition("-")
            if dash and severity.isdecimal():
                found.setdefault(name, []).append(at)
        return {name: tuple(places) for name, places in found.items()}


def views_of(data: Mapping[str, Any], folder: Path) -> Views:
    """`[views]` of a benchmark in `folder`: a ``tier`` by name or file, and the ``reference`` by its name in it.

    Without a name the reference is lensbench's own, as a view beside the grid. A tier with a box is searched, with a
    ``budget`` and a ``seed``. Raises ViewError or ValueError.
    """
    for key in data:
        if key not in ENTRIES:
            raise ValueError(f"views: unknown entry {key!r}; known: {', '.join(sorted(ENTRIES))}")
    name = str(data["tier"])
    tier = get_tier(str(folder / name) if name.endswith(".toml") else name)
    if tier.box or "budget" in data or "seed" in data:
        return _searched(tier, data)
    if "reference" in data:
        return Views(tier, tier.view(str(data["reference"])))
    own = reference().but(name=OUTSIDE)
    if own in tier.views:
        raise ValueError(f"views: tier {tier.name} holds the reference view: name it (reference = …)")
    return Views(tier, own)


def _searched(tier: Tier, data: Mapping[str, Any]) -> Views:
    budget, seed = data.get("budget"), data.get("seed", 0)
    if tier.box and budget is None:
        raise ValueError(f"views: tier {tier.name} is a box to search in, not a grid: say how often (budget = 256)")
    if type(budget) is not int or type(seed) is not int or seed < 0:
        raise ValueError(f"views: budget {budget!r} and seed {seed!r} of a search are whole numbers")
    if "reference" not in data:
        raise ValueError(f"views: the reference of a search is one of its branches ({tier.views[0].name} …): name it")
    return searching(tier, str(data["reference"]), budget, seed)


def searching(tier: Tier, reference: str, budget: int, seed: int) -> Views:
    """The views of a search in the tier's box, compared with the middle of the branch `reference`; raises ViewError."""
    check_search(tier, budget)
    return Views(tier, middles(tier)[tier.views.index(tier.view(reference))], Search(budget, seed))


def refuse_averages(ids: Iterable[str]) -> None:
    """Raise ValueError for a metric that says nothing of the views which a search asked about."""
    for key in ids:
        if not key.startswith(SEARCHED):
            raise ValueError(f"metric {key!r}: those of a search begin with {', '.join(SEARCHED)}")
