"""The search for a worst view, as a record tells it and a page shows it: each question's score, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from lensbench.errors import RecordError
from lensbench.isp.tiers import MOST
from lensbench.leaderboard.charts import Axis, axis
from lensbench.leaderboard.columns import Column, value_text
from lensbench.leaderboard.escape import as_html
from lensbench.leaderboard.fields import BOUNDS, NAME, items, mapping, number, text, whole

PARAMETERS = 40
UP = 1000
"""Units of a chart from top to bottom; across it has one a question."""


@dataclass(frozen=True)
class Searching:
    """What was asked, in order, and the worst view."""

    budget: int
    seed: int
    worst: str
    digest: str
    branch: str
    values: tuple[tuple[str, float], ...]
    """The parameters of the worst view, by name."""
    scores: tuple[float, ...]
    at: int
    """Which question found the worst view, counted from 1."""

    @property
    def score(self) -> float:
        """That of the worst view."""
        return self.scores[self.at - 1]

    @property
    def words(self) -> str:
        """The worst view in words: its branch, and the value of every parameter."""
        return ", ".join([self.branch, *(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.values)])


def parse_search(result: Mapping[str, Any]) -> Searching | None:
    """The ``search`` of a record, None where it has none; raises RecordError, naming the field."""
    if "search" not in result:
        return None
    search = mapping(result, "search")
    names = [
        text(name, "search.parameters", NAME) for name in items(search.get("parameters"), "parameters", PARAMETERS)
    ]
    worst = search.get("worst")
    if not isinstance(worst, Mapping):
        raise RecordError("search.worst is not a table")
    digest = text(worst.get("digest"), "search.worst.digest", NAME)
    scores, found = [], None
    for at, trial in enumerate(items(search.get("trials"), "search.trials", MOST)):
        where = f"search.trials[{at}]"
        if not isinstance(trial, list) or len(trial) != 4:
            raise RecordError(f"{where} is not [branch, values, digest, score]")
        branch = text(trial[0], where, NAME)
        values = [number(value, where, BOUNDS["real"]) for value in items(trial[1], where, PARAMETERS)]
        if len(values) != len(names):
            raise RecordError(f"{where}: {len(values)} values of {len(names)} parameters")
        scores.append(number(trial[3], where, BOUNDS["real"]))
        if found is None and text(trial[2], where, NAME) == digest:
            found = at, branch, tuple(zip(names, values, strict=True))
    budget = whole(search.get("budget"), "search.budget")
    if found is None or budget != len(scores):
        raise RecordError(
            f"search: {len(scores)} questions of {budget}, and the worst view is among them: one is not so"
        )
    name = text(worst.get("name"), "search.worst.name", NAME)
    seed = whole(search.get("seed"), "search.seed")
    return Searching(budget, seed, name, digest, found[1], found[2], tuple(scores), found[0] + 1)


def search_html(search: Searching, of: Column, reference: float | None) -> str:
    """What was found in words, and the score of every question with the worst one so far."""
    told = (
        f"Worst of {search.budget} views asked about (seed {search.seed}): {search.worst}, by question {search.at}, "
        f"{of.title} {value_text(search.score)}. It is {search.words}."
    )
    return f"<p>{as_html(told)}</p>{_chart(search, of, reference)}"


def _chart(search: Searching, of: Column, reference: float | None) -> str:
    """Score against question; marked as drawn, for what was found stands beside it in words."""
    scale = axis([*search.scores, *([] if reference is None else [reference])], of.unit)
    grid = "".join(f'<line class="grid" x2="100%" y1="{_up(scale, t)}" y2="{_up(scale, t)}"/>' for t in scale.ticks)
    left = "".join(f'<text class="left" x="-8" y="{_up(scale, t)}" dy="4">{t:g}</text>' for t in scale.ticks)
    level = ""
    if reference is not None:
        level = f'<line class="level" x2="100%" y1="{_up(scale, reference)}" y2="{_up(scale, reference)}"/>'
    high = [round(float(_up(scale, score)[:-1]) * UP / 100) for score in search.scores]
    dots = "".join(f"M{number} {y}h0" for number, y in enumerate(high, start=1))
    worst = list(accumulate(high, max if of.higher else min))  # y goes down
    steps = [f"H{number}V{y}" for number, (before, y) in enumerate(pairwise(worst), start=2) if y != before]
    line = f"M1 {worst[0]}{''.join(steps)}H{search.budget}"
    drawn = (
        f'<svg viewBox="0 0 {search.budget + 1} {UP}" preserveAspectRatio="none">'
        f'<path class="questions" d="{dots}"/><path class="least" d="{line}"/></svg>'
    )
    ends = f'<text x="0" y="100%" dy="18">1</text><text class="left" x="100%" y="100%" dy="18">{search.budget}</text>'
    middle = '<line class="half" x1="50%" x2="50%" y2="100%"/>'
    words = f"{of.title} (up) of each question (right), and the worst so far; dashed: the reference view. "
    words += "First the middles of the branches, then points all over the box, then, right of the middle, refinement."
    return (
        f'<figure class="asked"><svg aria-hidden="true">{grid}{middle}{level}{drawn}{left}{ends}</svg>'
        f"<figcaption>{as_html(words)}</figcaption></figure>"
    )


def _up(scale: Axis, value: float) -> str:
    return scale.percent(scale.low + scale.high - value)


def found_html(of: Column, rows: Sequence[tuple[str, Searching, float | None]]) -> str:
    """What was found for each model, (name, search, score in the reference view): instead of a matrix of all views."""
    lines = [
        f'<tr><th scope="row">{as_html(name)}</th><td class="n">{value_text(reference)}</td>'
        f'<td class="n">{value_text(search.score)}</td><td class="n">{search.at}</td>'
        f"<td>{as_html(search.words)}</td></tr>"
        for name, search, reference in rows
    ]
    heads = ("Model", "#Reference", "#Worst", "#Question", "The worst view")
    head = "".join(
        f'<th scope="col" class="n">{one[1:]}</th>' if one[0] == "#" else f'<th scope="col">{one}</th>' for one in heads
    )
    told = f"{of.title} in the reference view and in the worst that was found for each model, by the same search."
    table = f'<table class="found"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    scrolled = f'<div class="scroll" tabindex="0" role="region" aria-label="Worst views found">{table}</div>'
    return f"<p class=quiet>{as_html(told)}</p>{scrolled}"
