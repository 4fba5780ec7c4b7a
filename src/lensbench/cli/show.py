"""`bench show`: everything the registry knows of one dataset, as sections of plain text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from lensbench.cli.options import registry_option

if TYPE_CHECKING:
    from lensbench.overview import ConfigView, Sheet, SplitView
    from lensbench.registry import Version
    from lensbench.sources import RemoteFile

SCHEMA = 1
"""Of the JSON: a field that goes or changes its meaning makes another."""
ALL, SOME = 24, 5
"""Up to `ALL` classes are shown; of more, the `SOME` largest and smallest."""


@click.command("show")
@click.argument("dataset")
@click.option("--config", help="The config whose splits, classes, groups and leaks are shown (default: the dataset's).")
@click.option("--classes", is_flag=True, help="Every class, also where there are many.")
@click.option("--json", "as_json", is_flag=True, help="Print everything, of all configs, as JSON.")
@registry_option
def command(dataset: str, config: str | None, classes: bool, as_json: bool) -> None:
    """Show what is known of a dataset: versions, configs, splits, classes, groups, known leaks, how to get and cite it.

    It reads the registry alone: no image, no archive, no network.
    """
    from lensbench.errors import printable
    from lensbench.overview import read_sheet

    sheet = read_sheet(dataset)
    view = sheet.config(config)
    for name, why in sheet.unreadable.items():
        click.echo(printable(f"not readable: {name}: {why}"), err=True)
    if as_json:
        click.echo(as_text(sheet), nl=False)
        return
    click.echo(click.style(printable(f"{sheet.entry.name}: {sheet.entry.title}"), bold=True))
    for title, lines in sections(sheet, view, classes):
        click.echo("\n" + click.style(printable(title), bold=True))
        click.echo(printable("\n".join(lines)))


def as_text(sheet: Sheet) -> str:
    """The sheet as JSON, ASCII alone, so that no name can steer a terminal."""
    return json.dumps({"schema": SCHEMA, **as_json(sheet)}, indent=1) + "\n"


def as_json(sheet: Sheet) -> dict[str, Any]:
    """All of the sheet as JSON values; no path of this machine."""
    entry = sheet.entry
    orders = {name: list(entry.label_order(name)) for name in entry.label_orders}
    return {
        **asdict(sheet.overview),
        "homepage": entry.homepage,
        "task": entry.task,
        "group": list(entry.group),
        "default_config": entry.default_config,
        "records": {name: asdict(version) for name, version in entry.versions.items()},
        "configs": [asdict(config) for config in sheet.configs],
        "classes": [{"name": c.name, "display": c.display, **c.attributes} for c in entry.classes],
        "label_orders": orders,
        "folders": list(entry.folders),
        "benchmarks": [asdict(benchmark) for benchmark in sheet.benchmarks],
    }


def sections(sheet: Sheet, view: ConfigView, every: bool) -> Iterator[tuple[str, list[str]]]:
    """(title, lines) of what `bench show` prints of one config; `every`: all classes."""
    chosen = f"({view.name}{', synthetic' if view.synthetic else ''})"
    yield "About", _about(sheet)
    yield "Versions", _versions(sheet)
    yield "Configs", _configs(sheet)
    yield f"Splits {chosen}", _splits(view)
    yield f"Classes {chosen}", _classes(sheet, view, every)
    yield f"Groups {chosen}", _groups(sheet, view)
    yield f"Known leaks {chosen}", _leaks(sheet, view)
    yield "Benchmarks", _benchmarks(sheet)
    yield "How to get it", _getting(sheet, view)
    yield "How to cite it", _citing(sheet)


# -- the dataset -----------------------------------------------------------------------------------------------


def _about(sheet: Sheet) -> list[str]:
    from lensbench.cli.layout import aligned
    from lensbench.cli.list import count, disk_words, track_words

    entry = sheet.entry
    lines = aligned([("homepage", entry.homepage), ("licence", entry.licence), ("task", entry.task)], indent=2)
    tracks = sheet.overview.tracks
    body = [
        (
            track_words(track),
            f"{count(track.examples)}{'' if track.basis in (None, 'splits', 'samples') else f' ({track.basis})'}",
            count(track.specimen) if track.specimen is not None else "none",
            disk_words(track.on_disk),
        )
        for track in tracks
    ]
    return [*lines, "", *aligned([("track", "examples", "specimen", "on disk"), *body], [1, 2], indent=2)]


def _versions(sheet: Sheet) -> list[str]:
    from lensbench.cli.layout import paragraph

    lines = []
    for line in sheet.overview.versions:
        version = sheet.entry.versions[line.name]
        state = {
            "blocked": f"BLOCKED: {line.reason}",
            "superseded": f"superseded by {line.reason}; stays loadable",
        }.get(line.state, line.state)
        lines += paragraph(f"{line.name} {state}", hang=7)
        numbers = [f"{_words(name)} {_number(n)}" for name, n in version.images.items()]
        lines += paragraph(f"{_record(version)}, {_doi(version)}, schema {version.schema}", indent=9)
        lines += paragraph(f"images: {', '.join(numbers)}", indent=9, hang=2) if numbers else []
    return lines


def _configs(sheet: Sheet) -> list[str]:
    from lensbench.cli.layout import aligned, paragraph
    from lensbench.cli.list import count

    names = list(dict.fromkeys(split.name for config in sheet.configs for split in config.splits))
    body = []
    for config in sheet.configs:
        rows = {split.name: count(split.rows) for split in config.splits}
        marks = " *" if config.default else ""
        body.append((config.name + marks, config.task, *(rows.get(name, "–") for name in names)))
    table = aligned([("config", "task", *names), *body], range(2, 2 + len(names)), indent=2)
    lines = [table[0]]
    for config, line in zip(sheet.configs, table[1:], strict=True):
        lines += [line, *paragraph(config.title, indent=6)]
    return [*lines, "  * the default"]


def _splits(view: ConfigView) -> list[str]:
    from lensbench.cli.layout import aligned, paragraph
    from lensbench.cli.list import count

    versions = list(dict.fromkeys(version for split in view.splits for version in split.content))
    body = [
        (
            split.name,
            count(split.rows),
            f"{split.sha256[:12]}…" if split.sha256 else "unknown",
            *(_content(split, version) for version in versions),
        )
        for split in view.splits
    ]
    lines = aligned([("split", "rows", "manifest", *(f"content {v}" for v in versions)), *body], [1], indent=2)
    if view.rule:
        options = ", ".join(f"{key} {value}" for key, value in view.rule.items() if key != "kind")
        samples = "" if view.samples is None else f" of {view.samples:,} samples"
        lines += paragraph(f"drawn{samples} by the rule {view.rule['kind']}: {options}", hang=2)
    for text, names in _gathered((split.awaited, split.name) for split in view.splits):
        lines += paragraph(f"the ids of {', '.join(names)} are unknown: {text}", hang=2)
    absences = (
        (f"{_absent(a)} ({version}: {a['reason']})", s.name) for s in view.splits for version, a in s.absent.items()
    )
    for text, names in _gathered(absences):
        lines += paragraph(f"listed without a file, in {', '.join(names)}: {text}", hang=2)
    return lines


def _absent(absent: Mapping[str, Any]) -> str:
    return f"about {absent['about']:,}, nobody knows which" if absent["ids"] is None else f"{len(absent['ids']):,}"


def _content(split: SplitView, version: str) -> str:
    content = split.content.get(version)
    if content is None:
        return "–"
    return f"{content['sha256'][:12]}… ({content['provenance']})" if content["sha256"] else "unknown"


def _gathered(pairs: Iterator[tuple[str | None, str]]) -> list[tuple[str, list[str]]]:
    """The names that share a text, texts in their first order; None is no text."""
    found: dict[str, list[str]] = {}
    for text, name in pairs:
        if text is not None:
            found.setdefault(text, []).append(name)
    return list(found.items())


# -- its samples -----------------------------------------------------------------------------------------------


def _classes(sheet: Sheet, view: ConfigView, every: bool) -> list[str]:
    from lensbench.cli.layout import aligned, paragraph

    entry = sheet.entry
    order = entry.label_order(view.labels)
    orders = ", ".join(f"{name} ({len(entry.label_order(name))})" for name in entry.label_orders)
    counts = {split.name: split.classes for split in view.splits if split.classes is not None}
    if not counts and not view.synthetic and (published := entry.attribute("images")):
        counts = {"published": {name: int(published[name] or 0) for name in order}}
    body, hidden = _ranked(order, counts, every)
    lines = paragraph(f"{len(order)} classes, numbered in the order {view.labels!r}", hang=2)
    displays = {label.name: label.display for label in entry.classes}
    named = any(displays[name].replace("_", " ").lower() != name.replace("_", " ").lower() for name in order)
    named = named and len(order) <= ALL
    table = aligned(
        [
            ("no.", "class", *(["name"] if named else []), *counts),
            *(
                (no, name, *([displays[name]] if named else []), *(f"{rows[name]:,}" for rows in counts.values()))
                for no, name in body
            ),
        ],
        [0, *range(2 + named, 2 + named + len(counts))],
        indent=2,
    )
    if hidden:
        every_one = f"bench show {entry.name} --config {view.name} --classes"
        table.insert(1 + SOME, f"       … {hidden} more: {every_one}")
    lines += table
    lacking = [split.name for split in view.splits if split.name not in counts]
    if view.task == "segmentation" and not counts:
        lines += paragraph("a row is a whole image, which has no class of its own")
    elif lacking:
        lines += paragraph(f"rows by class of {', '.join(lacking)}: not known yet", hang=2)
    return [*lines, *paragraph(f"label orders that --labels takes by name: {orders}", hang=2)]


def _ranked(
    order: Sequence[str], counts: Mapping[str, Mapping[str, int]], every: bool
) -> tuple[list[tuple[int, str]], int]:
    """(number, class) of those that are shown, and how many are not: of many, the largest and the smallest."""
    numbered = list(enumerate(order))
    if every or len(order) <= ALL:
        return numbered, 0
    ranked = sorted(numbered, key=lambda item: -sum(rows.get(item[1], 0) for rows in counts.values()))
    return [*ranked[:SOME], *ranked[-SOME:]], len(order) - 2 * SOME


def _groups(sheet: Sheet, view: ConfigView) -> list[str]:
    from lensbench.cli.layout import aligned, paragraph

    entry = sheet.entry
    made = "what the publisher calls one" if entry.group == ("group",) else " + ".join(entry.group)
    lines = paragraph(f"a group is {made}; it should not be in two splits")
    if all(split.groups is None for split in view.splits):
        return [*lines, *paragraph("how many there are is not known before the ids are")]
    body = [(s.name, _number(s.groups), _number(s.ungrouped)) for s in view.splits]
    lines += aligned([("split", "groups", "rows without one"), *body], [1, 2], indent=2)
    places = sum(split.groups or 0 for split in view.splits)
    if places:
        different = places - sum(len(splits) - 1 for splits in view.crossing.values())
        lines += paragraph(f"of {different:,} different groups, {len(view.crossing) or 'none'} in more than one split")
    return lines


def _leaks(sheet: Sheet, view: ConfigView) -> list[str]:
    from lensbench.cli.layout import paragraph

    lines = []
    for leak in view.leaks:
        group = leak.group or "groups that nobody could list yet"
        lines += paragraph(f"{group} in {', '.join(leak.splits)}: {leak.reason}", hang=2)
    lines += paragraph(f"NOT ON THE LIST: {', '.join(view.unlisted)}", hang=2) if view.unlisted else []
    if not lines:
        pinned = all(split.sha256 for split in view.splits)
        lines = paragraph("none" if pinned else "none; to be checked when the ids are known")
    others = [f"{c.name} ({len(c.leaks)})" for c in sheet.configs if c.leaks and c.name != view.name]
    return [*lines, *paragraph(f"of other configs: {', '.join(others)}", hang=2)] if others else lines


# -- what to do with it ----------------------------------------------------------------------------------------


def _benchmarks(sheet: Sheet) -> list[str]:
    from lensbench.cli.layout import aligned

    lines = [] if sheet.benchmarks else ["  none yet"]
    evaluated: dict[str, list[tuple[str, str]]] = {}
    for b in sheet.benchmarks:
        split = f"{b.config} {b.split} {b.version}, {'ready' if b.pinned else 'ids unknown'}"
        evaluated.setdefault(split, []).append((b.name, b.headline))
    for split, names in evaluated.items():
        lines += [f"  {split}", *aligned([("benchmark", "headline"), *names], indent=4)]
    return lines


def _getting(sheet: Sheet, view: ConfigView) -> list[str]:
    from lensbench.cli.layout import paragraph
    from lensbench.overview import default_version

    entry = sheet.entry
    version = default_version(entry)
    if version is None:
        return ["  every version is blocked or superseded; an older one is named with its version"]
    named = f', "{view.name}"' if not view.default else ""
    option = f" --config {view.name}" if not view.default else ""
    load = "lensbench.load_dataset"
    lines = [f'  load      {load}("{entry.name}"{named})', f"  fetch     bench fetch {entry.name}{option}"]
    if view.synthetic:
        return [*lines, *paragraph("it comes with lensbench: nothing is fetched")]
    specimen = entry.specimen_of(view.name)
    if specimen in entry.configs:
        lines.append(f'  specimen  {load}("{entry.name}", "{specimen}")')
    lines += ["", *_files(version), ""]
    folders = ", ".join(f"{name}/" for name in entry.folders) or "the class folders"
    by_hand = "without the network: lay these files, or what was unpacked from them"
    by_hand += f" ({folders}), into a folder and name it: data_dir= in Python, --source, or LENSBENCH_SOURCE"
    return [*lines, *paragraph(by_hand, hang=2)]


def _files(version: Version) -> list[str]:
    from lensbench.cli.layout import paragraph
    from lensbench.sources import NO_RECORD

    lines = paragraph(f"files of {version.name}{_from(version)}:")
    for file in version.files:
        lines += paragraph(f"{_file_name(file, version)}: {_size(file)}, {file.role}", indent=4, hang=2)
        digest = f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}" if file.md5 else None
        stated = "" if file.record == NO_RECORD else ": that of its record is checked when it is fetched"
        lines += paragraph(digest or f"digest unknown{stated}", indent=6)
    return lines


def _record(version: Version) -> str:
    from lensbench.sources import NO_RECORD

    return "no record" if version.record == NO_RECORD else f"record {version.record}"


def _from(version: Version) -> str:
    from lensbench.sources import NO_RECORD

    return ", which no record holds" if version.record == NO_RECORD else f", from Zenodo record {version.record}"


def _doi(version: Version) -> str:
    return "no doi" if version.doi == "none" else f"doi {version.doi}"


def _file_name(file: RemoteFile, version: Version) -> str:
    from lensbench.digest import UNKNOWN

    name = "every archive of the record (names unknown until it is read)" if file.name == UNKNOWN else file.name
    return name if file.record == version.record else f"{name} of record {file.record}"


def _size(file: RemoteFile) -> str:
    from lensbench.sources import size_text

    return size_text(file)


def _citing(sheet: Sheet) -> list[str]:
    from lensbench.cli.layout import paragraph
    from lensbench.overview import default_version

    version = default_version(sheet.entry) or list(sheet.entry.versions.values())[-1]
    lines = paragraph(version.citation, hang=2)
    return [*lines, *paragraph(f"licence {sheet.entry.licence}, version {version.name}, {_doi(version)}")]


def _number(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _words(key: str) -> str:
    return key.replace("_", " ")
