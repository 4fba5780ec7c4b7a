"""`bench fetch`: bring a dataset to this machine, verified and prepared, before the machine goes offline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lensbench.cli.options import asker, registry_option

if TYPE_CHECKING:
    from lensbench.data.job import Job
    from lensbench.data.prepared import Prepared


@click.command("fetch")
@click.argument("dataset")
@click.option("--version", help="The dataset version (default: the newest).")
@click.option("--config", help="The config that is to be there (default: the dataset's).")
@click.option("--build/--no-build", default=True, show_default=True, help="Prepare it, or only fetch the archives.")
@click.option("--yes", is_flag=True, help="Download without asking.")
@registry_option
def command(dataset: str, version: str | None, config: str | None, build: bool, yes: bool) -> None:
    """Fetch what a config needs, verify it and prepare it, so that everything works offline afterwards.

    What is here already is not fetched again. A download that was cut goes on where it stopped.

    \b
    bench fetch lifewatch_flowcam
    bench fetch lifewatch_flowcam --config equal400 --no-build
    """
    from lensbench.data.locate import downloads
    from lensbench.data.store import find, prepare
    from lensbench.errors import LensbenchWarning
    from lensbench.progress import default_progress
    from lensbench.registry import get_dataset

    entry = get_dataset(dataset)
    chosen, scheme = entry.version(version), entry.config(config)
    if chosen.superseded_by:
        _say(f"note: {entry.name} {chosen.name} is superseded by {chosen.superseded_by}", err=True)
    before = frozenset(downloads().glob("*"))
    job, prepared = find(entry, chosen.name, scheme.name, progress=default_progress(), confirm=asker(yes))
    was = prepared is not None
    if build and prepared is None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LensbenchWarning)
            prepared = prepare(entry, chosen.name, scheme.name, progress=default_progress("images"))
        for warning in caught:
            _say(f"note: {warning.message}", err=True)
    _say(f"{job.request.title}: {entry.title}")
    for line in _sources(job, before):
        _say(line)
    for line in _prepared(prepared, "was here already" if was else "prepared now"):
        _say(line)


def _sources(job: Job, before: frozenset[Path]) -> list[str]:
    """Where the bytes lie that a build reads; `before`: what was in the folder of downloads."""
    from lensbench.data.locate import downloads
    from lensbench.progress import megabytes
    from lensbench.sources.digest import digest

    located = job.located
    if located is None:
        return ["archives: none here; what was prepared from them is enough"]
    if located.provenance.get("folder"):
        return [f"archives: unpacked in {located.spec.base} (LENSBENCH_SOURCE)"]
    lines = []
    for path in located.spec.archives:
        when = "fetched now" if path.parent == downloads() and path not in before else "was here already"
        local = digest(path)
        lines.append(f"archive: {path} ({megabytes(local.size)}, sha256 {local.sha256[:12]}…, {when})")
    return [*lines, f"note: {located.failed}"] if located.failed else lines


def _prepared(prepared: Prepared | None, when: str) -> list[str]:
    """Where the prepared data lies, what of it is there, and how it is loaded; None: only the archives are wanted."""
    from lensbench.overview import bytes_in
    from lensbench.progress import megabytes

    if prepared is None:
        return ["not prepared: the first use does that, offline, too"]
    splits = ", ".join(f"{split} {cover.found:,}" for split, cover in prepared.coverage.items() if cover.found)
    lines = [f"prepared: {prepared.folder} ({megabytes(bytes_in(prepared.folder))}, {when})", f"splits: {splits}"]
    lines += [f"without {split}: {why}" for split, why in prepared.unavailable.items()]
    name, config, version = prepared.dataset.name, prepared.config, prepared.version
    latest = "" if version == prepared.dataset.latest else f', revision="{version}"'
    return [*lines, f'offline now: lensbench.load_dataset("{name}", "{config}"{latest})']


def _say(text: str, err: bool = False) -> None:
    from lensbench.errors import printable

    click.echo(printable(text), err=err)
