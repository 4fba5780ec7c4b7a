"""A benchmark in views that its file does not name: 8-bit images as simulated raw frames, raw frames in other views.

What comes out is a benchmark with a name and a digest of its own, so that nothing of it is ever ranked beside the
other's records: no file names it, and no board is kept of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lensbench.benchmark import Benchmark
from lensbench.errors import BenchmarkError, ViewError
from lensbench.isp.inverse import Inverse
from lensbench.isp.tiers import HEADLINE, REFERENCE, Tier, get_tier, reference, tier_names
from lensbench.isp.view import View, read_view
from lensbench.metrics import get_metric
from lensbench.metrics.views import KINDS
from lensbench.reference import RELATIVE, unrelated
from lensbench.viewspec import OUTSIDE, Views

SIMULATED = "-isp-simulated"
OTHERS = ("worst_view", "clean")
"""What is made of a metric that is not the headline."""
HEADLINES = (*OTHERS, *(kind for kind in KINDS if kind not in OTHERS and f"{kind}:" != RELATIVE))
"""What is made of that one: everything but what is relative to a reference model, of which there is none."""
AGREEMENT = {
    "classification": ("all_views:top1", "flip_rate", "consistency"),
    "segmentation": ("all_views:iou_fg_macro", "mask_consistency"),
}


def in_views(spec: Benchmark, tier: str | Tier | View = HEADLINE) -> Benchmark:
    """The benchmark `spec` with its images in the views of `tier`: a tier's name or TOML file, or one view (.json).

    Raw frames that `spec` gives in views are given in these instead, beside its own reference view. 8-bit images are
    taken back to raw frames first (`lensbench.isp.inverse`): the benchmark then says that it is simulated. Raises
    BenchmarkError or ViewError in one line for what cannot be.
    """
    chosen = tier_of(tier)
    if chosen.box:
        raise ViewError(f"tier {chosen.name} is a box to search in, not a grid of views")
    if spec.input.mosaic:
        raise BenchmarkError(f"{spec.name} gives raw frames as they are; name a benchmark that gives them in views")
    if spec.simulation is not None:
        raise BenchmarkError(f"{spec.name} is in views already; give the benchmark that it is made of")
    return _simulated(spec, chosen) if spec.views is None else _otherwise(spec, spec.views, chosen)


def tier_of(given: str | Tier | View) -> Tier:
    """The tier that is asked for; one that did not come with lensbench is called by its digest, not by its file."""
    if isinstance(given, str) and given.endswith(".json"):
        given = read_view(Path(given))
    if isinstance(given, View):
        name = f"view_{given.digest[:8]}"
        return Tier(name, "", 1, "one view", (given.but(name=name),), {}, {})
    tier = get_tier(given) if isinstance(given, str) else given
    if not isinstance(tier, Tier):
        raise ViewError(f"{given!r} is neither a tier nor a view: give one, or a tier's name or a file")
    shipped = tier.name in tier_names() and get_tier(tier.name).digest == tier.digest
    return tier if shipped else replace(tier, name=f"tier_{tier.digest[:8]}")


def _otherwise(spec: Benchmark, views: Views, tier: Tier) -> Benchmark:
    """The same raw frames in other views."""
    if tier.digest == views.tier.digest:
        return spec
    return replace(
        spec,
        name=f"{spec.name}-in-{tier.name}",
        title=f"{spec.title}; here in {_words(tier)} instead",
        references=(),
        arguments=unrelated(spec.arguments),  # a reference model's errors hold in the views that it was scored in
        views=_beside(tier, views.reference),
        made_of=_made_of(spec, tier),
    )


def _simulated(spec: Benchmark, tier: Tier) -> Benchmark:
    """8-bit images as raw frames, and the metrics over views that its own become."""
    other = next((view for view in tier.views if view.intensity != 100), None)
    if other is not None:
        raise ViewError(
            f"{spec.name}: view {other.name} of {tier.name} is of a recording at {other.intensity} % of the light, and "
            "frames simulated from its images have one recording: name another tier"
        )
    arguments, metrics = dict[str, Any](), dict[str, int]()
    for metric, base in _over_views(spec):
        given = spec.arguments.get(base) if base else None
        metrics[metric] = get_metric(metric, given).version
        if given:
            arguments[metric] = given
    named = "" if tier.name == HEADLINE else f"-{tier.name}"
    return replace(
        spec,
        name=f"{spec.name}{SIMULATED}{named}",
        title=f"{spec.title}, simulated raw frames in {_words(tier)}",
        metrics=metrics,
        arguments=arguments,
        references=(),
        views=_beside(tier, next((view for view in tier.views if view.name == REFERENCE), reference())),
        simulation=Inverse(),
        made_of=_made_of(spec, tier),
    )


def _over_views(spec: Benchmark) -> Iterator[tuple[str, str | None]]:
    """(metric over views, the one that it is made of): of the headline every kind, the worst view first."""
    for base in spec.metrics:
        kinds = OTHERS if base != spec.headline else HEADLINES
        yield from ((f"{kind}:{base}", base) for kind in kinds)
        if base == spec.headline:
            yield from ((metric, None) for metric in AGREEMENT[spec.task])


def _beside(tier: Tier, view: View) -> Views:
    """The views of a tier, compared with `view`: under its own name in the grid, or as one beside it."""
    own = next((one for one in tier.views if one == view), None)
    if own is None and any(one.name == OUTSIDE for one in tier.views):
        raise ViewError(f"tier {tier.name}: {OUTSIDE!r} is the view beside the grid; give yours another name")
    return Views(tier, own or view.but(name=OUTSIDE))


def _made_of(spec: Benchmark, tier: Tier) -> tuple[str, str]:
    return spec.name, tier.name if tier.name in tier_names() else "FILE"


def _words(tier: Tier) -> str:
    return f"{tier.title[:1].lower()}{tier.title[1:]}"
