"""`bench isp views`: the tiers of views, or the views of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lensbench.isp.tiers import Tier
    from lensbench.isp.view import View


@click.command("views")
@click.option("--tier", "name", help="The views of this tier, or of a .toml file of the same form.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the tiers of views, or the views of one tier with what they change of the reference view.

    \b
    bench isp views
    bench isp views --tier corrected-12
    """
    from lensbench.isp.tiers import get_tier, tier_names

    tiers = [get_tier(name)] if name else [get_tier(known) for known in tier_names()]
    if as_json:
        click.echo(json.dumps({"schema": 1, "tiers": [_everything(tier) for tier in tiers]}, indent=1))
    elif name:
        (tier,) = tiers
        width = max(len(view.name) for view in tier.views)
        for view in tier.views:
            click.echo(f"{view.name:<{width}}  {view.digest[:16]}  {_changes(view)}")
    else:
        width = max(len(tier.name) for tier in tiers)
        for tier in tiers:
            views = f"{len(tier.views)} views"
            click.echo(f"{tier.letter}  {tier.name:<{width}}  {views:>9}  {tier.digest[:16]}  {tier.title}")


def _changes(view: View) -> str:
    from lensbench.isp.view import View as Kind

    reference = Kind().spec
    changed = {key: value for key, value in view.spec.items() if value != reference[key]}
    return ", ".join(f"{key} {_word(value)}" for key, value in changed.items()) or "the reference"


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(map(str, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _everything(tier: Tier) -> dict[str, Any]:
    return {
        "name": tier.name,
        "letter": tier.letter,
        "version": tier.version,
        "title": tier.title,
        "digest": tier.digest,
        "views": [{"name": view.name, "digest": view.digest, **view.spec} for view in tier.views],
        "box": {key: list(value) for key, value in tier.box.items()},
        "calibration": dict(tier.calibration),
    }
