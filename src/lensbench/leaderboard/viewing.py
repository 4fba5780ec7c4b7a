"""What a board reads of a record on frames in several views: each view, each stage, the frames that lose most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lensbench.errors import RecordError
from lensbench.isp.tiers import MOST
from lensbench.leaderboard.fields import BOUNDS, NAME, items, mapping, number, text, truth, whole
from lensbench.leaderboard.scores import NO_SCORE, Score, parse_score, parse_scores
from lensbench.leaderboard.searching import Searching, parse_search

FRAMES = 100


@dataclass(frozen=True)
class ViewRow:
    """One view: its scores by metric, and whether it is one of those that are compared."""

    name: str
    digest: str
    compared: bool
    scores: Mapping[str, Score]

    def score(self, metric: str) -> Score:
        """The score of one metric; all None where there is none."""
        return self.scores.get(metric, NO_SCORE)


@dataclass(frozen=True)
class StageRow:
    """One stage at several severities: what it costs on the average."""

    name: str
    views: int
    drop: Score


@dataclass(frozen=True)
class FrameRow:
    """One frame: its score in the reference view, its mean over views, its least and in which view that was."""

    id: str
    reference: float
    mean: float
    least: float
    view: str


@dataclass(frozen=True)
class Viewing:
    """The part of a record that only benchmarks with views have."""

    tier: str
    reference: str
    base: str
    """The metric that the headline is made of."""
    views: tuple[ViewRow, ...]
    stages: tuple[StageRow, ...]
    frames: tuple[FrameRow, ...]
    search: Searching | None = None
    """How the worst of the views was found, where they are no grid."""

    def scores(self, metric: str) -> dict[str, Score]:
        """The score of one metric by the name of the view."""
        return {view.name: view.score(metric) for view in self.views}


def parse_views(result: Mapping[str, Any]) -> Viewing:
    """That part of a record; raises RecordError, naming the field."""
    grid = mapping(result, "grid")
    views = tuple(_view(i, one) for i, one in enumerate(items(result.get("views"), "views", MOST + 1)))
    names = [view.name for view in views]
    if len(set(names)) < len(names):
        raise RecordError("views: two have one name")
    reference = text(grid.get("reference"), "grid.reference", NAME)
    if reference not in names:
        raise RecordError(f"grid.reference: {reference!r} is none of the views")
    return Viewing(
        text(grid.get("tier"), "grid.tier", NAME),
        reference,
        text(grid.get("metric"), "grid.metric", NAME),
        views,
        tuple(_stage(i, one) for i, one in enumerate(items(result.get("stages"), "stages", MOST))),
        tuple(_frame(i, one) for i, one in enumerate(items(result.get("frames"), "frames", FRAMES))),
        parse_search(result),
    )


def _table(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise RecordError(f"{where} is not a table")
    return data


def _view(index: int, data: Any) -> ViewRow:
    where = f"views[{index}]"
    entries = _table(data, where)
    return ViewRow(
        text(entries.get("name"), f"{where}.name", NAME),
        text(entries.get("digest"), f"{where}.digest", NAME),
        truth(entries.get("compared"), f"{where}.compared"),
        parse_scores(_table(entries.get("metrics"), f"{where}.metrics"), f"{where}.metrics"),
    )


def _stage(index: int, data: Any) -> StageRow:
    where = f"stages[{index}]"
    entries = _table(data, where)
    return StageRow(
        text(entries.get("name"), f"{where}.name", NAME),
        whole(entries.get("views"), f"{where}.views"),
        parse_score("drop", entries.get("drop"), where, "real"),
    )


def _frame(index: int, data: Any) -> FrameRow:
    where = f"frames[{index}]"
    entries = _table(data, where)
    reference, mean, least = (
        number(entries.get(name), f"{where}.{name}", BOUNDS["unit"]) for name in ("reference", "mean", "least")
    )
    key, view = (text(entries.get(name), f"{where}.{name}", NAME) for name in ("id", "view"))
    return FrameRow(key, reference, mean, least, view)
