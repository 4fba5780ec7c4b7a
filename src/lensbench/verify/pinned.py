"""What `dataset.toml` pins, without building anything: manifests, their `.dvc` files, known leaks, digests.

Known leaks are a ratchet: a group in two splits must be on the list with its reason, and an entry that no longer
occurs must go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lensbench.digest import UNKNOWN, sha256_file
from lensbench.errors import DatasetError
from lensbench.registry import SPECIMEN, Config, Dataset, Leak
from lensbench.sources import NO_RECORD, RemoteFile
from lensbench.splits import Manifest, awaited, read_manifest
from lensbench.verify.facts import FAILED, Checked, failed, guarded, ok, unknown, verdict

Groups = Mapping[str, Sequence[str | None]]
"""Split → the group of each of its rows."""


def check_pins(dataset: Dataset) -> Iterator[Checked]:
    """Every manifest against its lock, splits against each other, leaks against their list, specimens."""
    for config in dataset.configs.values():
        manifests: dict[str, Manifest] = {}
        for split in config.splits:
            yield from guarded(f"{config.name}/{split}", _split, dataset, config, split, manifests)
        yield from _disjoint(config, manifests)
        groups = {name: manifest.groups for name, manifest in manifests.items()}
        yield from check_leaks(dataset, config, groups, f"{config.name}/leaks")
        yield from _contents(dataset, config)
        for file in config.files:
            yield from _file(dataset, config, file)
    yield from _sources(dataset)


def verify(dataset: Dataset) -> Iterator[Checked]:
    """`check_pins`, but for one who goes on only if all of it holds: raises DatasetError at the first failure."""
    for fact in check_pins(dataset):
        if fact.state == FAILED:
            raise DatasetError(fact.text if dataset.name in fact.text else f"{dataset.name}, {fact.what}: {fact.text}")
        yield fact


# -- manifests -----------------------------------------------------------------------------------------------


def _split(dataset: Dataset, config: Config, name: str, read: dict[str, Manifest]) -> Iterator[Checked]:
    """One manifest; what could be read goes into `read`."""
    split, what = config.splits[name], f"{config.name}/{name}"
    if split.manifest is None:
        yield unknown(what, f"not pinned: {awaited(dataset, config, split)}")
        return
    manifest = read_manifest(dataset, config.name, name)
    read[name] = manifest
    count = f"{len(manifest.ids):,} rows"
    problems = [] if split.rows in (None, len(manifest.ids)) else [f"{count}, and dataset.toml says {split.rows:,}"]
    names = frozenset(dataset.label_order(config.labels))
    for label in sorted({label for label in manifest.labels if label is not None} - names):
        problems.append(f"label {label!r} is not in the order {config.labels!r} of classes.csv")
    if config.task == "classification" and None in manifest.labels:
        problems.append(f"id {manifest.ids[manifest.labels.index(None)]} has no label")
    for version, absent in split.absent.items():
        for key in sorted((absent.ids or frozenset()) - frozenset(manifest.ids)):
            problems.append(f"id {key} is absent from {version} in dataset.toml, and not in the manifest")
    yield from verdict(what, problems, f"{count}, rows' sha256 {manifest.digest[:12]}…")


def dvc_file(manifest: Path) -> str:
    """The text of the `.dvc` file of `manifest`: git keeps the file, and `dvc status` names one that changed.

    Its md5 is quoted, because YAML would read one of digits alone as a number.
    """
    data = manifest.read_bytes()
    return f"""\
outs:
- md5: '{hashlib.md5(data, usedforsecurity=False).hexdigest()}'
  size: {len(data)}
  hash: md5
  cache: false
  path: {manifest.name}
"""


def check_dvc_files(dataset: Dataset) -> Iterator[Checked]:
    """Beside every pinned manifest lies the `.dvc` file of this very manifest."""
    problems, found = [], 0
    for manifest in (split.manifest for config in dataset.configs.values() for split in config.splits.values()):
        if manifest is None or not manifest.is_file():
            continue
        path, found = manifest.with_name(f"{manifest.name}.dvc"), found + 1
        if not path.is_file():
            problems.append(f"{path.name} is missing beside its manifest: scripts/pin_manifests_dvc.py writes it")
        elif _unquoted(path.read_text(encoding="utf-8", errors="replace")) != _unquoted(dvc_file(manifest)):
            problems.append(f"{path.name} is not of this manifest: scripts/pin_manifests_dvc.py writes it anew")
    if found:
        yield from verdict("splits", problems, f"{found} manifests, each with its .dvc file")


def _unquoted(text: str) -> list[str]:
    """Sorted lines: DVC quotes and orders as it likes when it writes the file itself."""
    return sorted(text.replace("'", "").replace("- ", "  ").split("\n"))


def _disjoint(config: Config, manifests: Mapping[str, Manifest]) -> Iterator[Checked]:
    seen: dict[str, str] = {}
    for name, manifest in manifests.items():
        if both := sorted(seen.keys() & set(manifest.ids)):
            more = f" ({len(both):,} such ids)" if len(both) > 1 else ""
            yield failed(f"{config.name}/{name}", f"id {both[0]} is in {seen[both[0]]} and in {name}{more}")
        seen.update(dict.fromkeys(manifest.ids, name))


# -- known leaks -----------------------------------------------------------------------------------------------


def check_leaks(dataset: Dataset, config: Config, groups: Groups, what: str) -> Iterator[Checked]:
    """Hold the groups that are in two splits against the config's list of known leaks.

    `groups` may lack splits, and values may be null: then a leak may be there that nobody can see, which is
    unknown; one that is seen must be listed in any case, beside an entry for those that nobody could list, too.
    """
    crossing = _crossing(config, groups)
    listed = {leak.group: leak for leak in dataset.leaks if leak.config == config.name}
    vague = listed.pop(None, None)
    whole = set(groups) == set(config.splits) and all(None not in values for values in groups.values())
    unlisted = [] if vague and whole else [group for group in crossing if group not in listed]
    problems = [_unlisted(group, crossing[group]) for group in unlisted]
    problems += [text for leak in listed.values() if (text := _outdated(leak, crossing, whole))]
    if vague and whole:
        problems.append('an entry with group = "unknown" is left, and all groups are pinned: list them, or remove it')
    if problems:
        yield from verdict(what, problems, "")
    elif whole:
        count = len({group for values in groups.values() for group in values})
        known = f"{len(crossing)} of {count:,} groups in two splits, each on the list of known leaks with its reason"
        yield ok(what, known if crossing else f"none of {count:,} groups is in two splits")
    elif groups or vague:  # a config of which nothing is pinned has said so
        yield unknown(what, _unseen(config, groups, vague, len(crossing)))


def _crossing(config: Config, groups: Groups) -> dict[str, tuple[str, ...]]:
    """Group → its splits, where it is in several."""
    found: dict[str, list[str]] = {}
    for split in config.splits:
        for group in sorted({group for group in groups.get(split, ()) if group is not None}):
            found.setdefault(group, []).append(split)
    return {group: tuple(splits) for group, splits in sorted(found.items()) if len(splits) > 1}


def _unlisted(group: str, splits: Sequence[str]) -> str:
    return f"group {group} is in {' and '.join(splits)}, and is not on the list of known leaks ([[leaks]])"


def _outdated(leak: Leak, crossing: Mapping[str, Sequence[str]], whole: bool) -> str:
    """What is wrong with an entry of the list, if anything can be said."""
    found = crossing.get(str(leak.group), ())
    if not set(found) <= set(leak.splits):
        return f"group {leak.group} is in {' and '.join(found)}, and its entry in [[leaks]] says {list(leak.splits)}"
    if set(found) == set(leak.splits) or not whole:
        return ""
    here = f"is in {' and '.join(found)} only" if found else "is in no two splits any more"
    return f"the known leak of group {leak.group} in {list(leak.splits)} no longer occurs (it {here}): update its entry"


def _unseen(config: Config, groups: Groups, vague: Leak | None, seen: int) -> str:
    lacking = [split for split in config.splits if split not in groups]
    without = sum(group is None for values in groups.values() for group in values)
    why = [f"{', '.join(lacking)} not pinned"] if lacking else []
    why += [f"{without:,} rows without a group"] if without else []
    said = f"; {seen:,} groups seen in two splits" if seen else ""
    return f"whether a group is in two splits: {', '.join(why)}{said}" + (f" ({vague.reason})" if vague else "")


# -- digests -------------------------------------------------------------------------------------------------


def _contents(dataset: Dataset, config: Config) -> Iterator[Checked]:
    """Pinned content digests say from what they come; those of the newest version are all there."""
    for split in config.splits.values():
        what = f"{config.name}/{split.name} content"
        for version, content in split.content.items():
            if version not in dataset.versions:
                yield failed(what, f"a digest for version {version}, which there is not")
            if (content.provenance == SPECIMEN) != config.synthetic:
                kind = "synthetic" if config.synthetic else "not synthetic"
                yield failed(what, f'provenance = "{content.provenance}", but the config is {kind}')
        pinned = split.content.get(dataset.latest)
        if split.manifest and (pinned is None or pinned.sha256 is None) and not config.synthetic:
            yield unknown(what, f"not pinned until {dataset.latest} is built (see --deep)")


def _file(dataset: Dataset, config: Config, file: RemoteFile) -> Iterator[Checked]:
    what, path = f"{config.name}/{file.name}", dataset.folder / SPECIMEN / file.name
    if not path.is_file():
        yield failed(what, f"{path} is missing: restore it with `git checkout` or reinstall lensbench")
        return
    found = {"size": path.stat().st_size, "md5": _md5(path), "sha256": sha256_file(path)}
    pins = {"size": file.size, "md5": file.md5, "sha256": file.sha256}
    problems = [
        f"{path}: {kind} {str(found[kind])[:12]}, and dataset.toml pins {str(pin)[:12]}"
        for kind, pin in pins.items()
        if pin is not None and found[kind] != pin
    ]
    if file.sha256 is None:
        problems.append("its sha256 is not pinned, and the file is here")
    yield from verdict(what, problems, f"sha256 {str(found['sha256'])[:12]}…")


def _md5(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _sources(dataset: Dataset) -> Iterator[Checked]:
    """The publisher's files whose digest nobody has seen."""
    for version in dataset.versions.values():
        for file in version.files:
            if file.sha256 is None:
                stated = "md5 pinned, sha256 not seen yet" if file.md5 else "digest not seen yet"
                name = file.name if file.name != UNKNOWN else "files"
                where = "" if file.record == NO_RECORD else f" of record {file.record}"
                yield unknown(f"{version.name}/{name}", f"{file.role}{where}: {stated}")
