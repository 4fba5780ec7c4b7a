"""Pin what is seen for the first time: `python scripts/pin.py DATASET [--config C] [--registry DIR]`.

Reads a specimen, or with `--source DIR --provenance official` (or `copy`) a real source, with the dataset's own
builder, places the samples by the publisher's lists, his folders or the config's rule (never by an earlier manifest),
writes `splits/<config>-<split>.parquet` with their `.dvc` files, and prints what pins them for dataset.toml. Labels
and groups that `bench verify` would refuse are refused before anything is written. A manifest that is pinned and says
nothing else than what was found is left as it is, and so is its lock; `--anew` writes that one, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from lensbench.benchmark import benchmark_names, benchmark_root
from lensbench.data.loader import load_builder
from lensbench.data.locate import Located, locate, locate_given
from lensbench.data.plan import Plan, make_plan
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.digest import sha256_file, sha256_rows
from lensbench.errors import BenchmarkError, DatasetError, LensbenchError, printable
from lensbench.paths import write_text
from lensbench.registry import SPECIMEN, Config, Dataset, Split, get_dataset
from lensbench.sources import NO_RECORD
from lensbench.splits import HASHED, Manifest, read_manifest_file, write_manifest
from lensbench.verify.facts import FAILED
from lensbench.verify.groups import GROUP, check_bound
from lensbench.verify.pinned import dvc_file

Columns = Mapping[str, Mapping[str, str | None]]
"""Column → id → value, of the samples of a split that have files."""


@dataclass(frozen=True)
class Seen:
    """A split as it was found: its manifest, the ids without a file, its content digest."""

    manifest: Manifest
    absent: tuple[str, ...]
    content: str


def clusters(dataset: Dataset) -> list[str]:
    """The columns that benchmarks of the dataset leave out at once, but for those every manifest has."""
    ours = [table for table in map(_benchmark, benchmark_names()) if table.get("dataset") == dataset.name]
    named = {str(table.get("cluster", HASHED)) for table in ours}
    return sorted(named - {HASHED, GROUP})


def _benchmark(name: str) -> dict[str, Any]:
    path = benchmark_root() / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path}: not valid TOML: {error}") from error


def see(dataset: Dataset, config: Config, source: Path | None) -> tuple[Located, dict[str, Seen], Mapping[str, str]]:
    """The source, every split of `config` that it tells, and why it does not tell the others."""
    config = replace(config, splits={name: _forgotten(split) for name, split in config.splits.items()})
    unpinned, version = replace(dataset, configs={**dataset.configs, config.name: config}), dataset.version(None)
    place = dataset.folder / SPECIMEN if config.synthetic and source is None else source
    if place is None:
        located = locate(unpinned, version, config, None, None)
    else:
        located = locate_given(unpinned, version, config, place, None)
    opened = Source(located.spec)
    request = Request(unpinned, version, config, own_lists=config.synthetic)
    plan = make_plan(request, load_builder(dataset.folder).index(opened, request))
    columns = {name: _columns(request, opened, rows) for name, rows in plan.tables.items()}
    check(dataset, config, columns)
    names = [GROUP, *clusters(dataset), "sha256"]
    seen = {name: _seen(plan, name, {key: found[key] for key in names}) for name, found in columns.items()}
    return located, seen, plan.unavailable


def _forgotten(split: Split) -> Split:
    """A split of which nothing is pinned but which ids were never shipped."""
    return replace(split, rows=None, manifest=None, sha256=None)


def _columns(request: Request, source: Source, rows: pa.Table) -> Columns:
    """What a manifest holds of some rows of the index, and what their group is made of: from there or the files."""
    kind, dataset = load_builder(request.dataset.folder), request.dataset
    built = kind.columns(request.config)
    names = {"label", GROUP, *clusters(dataset), "sha256", *(name for name in dataset.group if name in built)}
    found = {name: dict[str, str | None]() for name in sorted(names)}
    for start in range(0, rows.num_rows, kind.STEP):
        part = rows.slice(start, kind.STEP)
        given = dict(zip(part.column_names, part.columns, strict=True)) | kind.take(source, part, request.config)
        if lacking := [name for name in found if name not in given]:
            whose = f", the cluster of a benchmark in {benchmark_root()}" if lacking[0] in clusters(dataset) else ""
            raise DatasetError(f"builder.py: neither index() nor read() gives the column {lacking[0]!r}{whose}")
        of_class = kind.of_class(dataset.classes[0]) if dataset.classes else {}
        if lacking := [name for name in built if name not in {*given, *of_class}]:
            raise DatasetError(
                f"builder.py: column {lacking[0]!r} is in columns(), but neither index() nor read() gives it"
            )
        for name, values in found.items():
            values.update(zip(part["id"].to_pylist(), given[name].to_pylist(), strict=True))
    return found


def check(dataset: Dataset, config: Config, splits: Mapping[str, Columns]) -> None:
    """Raise DatasetError for labels that are no classes, and for groups that are not those stated."""
    held = next(iter(splits.values()))  # make_plan has refused a source of which no split has a sample
    columns = {name: [value for split in splits.values() for value in split[name].values()] for name in held}
    names, labels = frozenset(dataset.label_order(config.labels)), columns["label"]
    if config.task == "classification" and None in labels:
        key = next(k for split in splits.values() for k, label in split["label"].items() if label is None)
        raise DatasetError(f"{key}: index() gives it no label, and a row of a classification has one")
    if strange := sorted({label for label in labels if label is not None} - names):
        raise DatasetError(
            f"index() gives the label {strange[0]!r}, which is not in the order {config.labels!r} of classes.csv"
        )
    if config.synthetic and set(columns[GROUP]) == {None}:
        raise DatasetError("index() gives no sample of the specimen a group: what may not cross splits, it cannot show")
    for fact in check_bound(dataset.group, columns, "groups"):
        if fact.state == FAILED:
            raise DatasetError(fact.text)


def _seen(plan: Plan, split: str, columns: Columns) -> Seen:
    ids, labels = (plan.manifests[split][name].to_pylist() for name in ("id", "label"))
    further = {name: [values.get(key) for key in ids] for name, values in columns.items()}
    groups = further.pop("group")
    rows = list(zip(ids, labels, groups, strict=True))
    here = [(*row, digest) for row, digest in zip(rows, further["sha256"], strict=True) if digest is not None]
    content = sha256_rows([key, split, label, group, digest] for key, label, group, digest in here)
    absent = tuple(key for key in ids if columns["sha256"].get(key) is None)
    return Seen(Manifest.of(split, rows, further), absent, content)


def says_the_same(pinned: Manifest, found: Manifest) -> bool:
    """Whether every value of a pinned manifest is the found one; it may know less."""
    if (pinned.ids, pinned.labels) != (found.ids, found.labels) or not pinned.columns.keys() <= found.columns.keys():
        return False
    pairs = [(pinned.groups, found.groups), *((pinned.columns[name], found.columns[name]) for name in pinned.columns)]
    return all(old in (None, new) for ours, theirs in pairs for old, new in zip(ours, theirs, strict=True))


def pin(dataset: Dataset, config: Config, seen: Seen, anew: bool) -> str:
    """Write the manifest of one split and its `.dvc` file, unless the pinned one holds; return its lock."""
    path = dataset.folder / "splits" / f"{config.name}-{seen.manifest.split}.parquet"
    if anew or not path.is_file() or not says_the_same(read_manifest_file(path), seen.manifest):
        write_manifest(seen.manifest, path)
    write_text(path.with_name(f"{path.name}.dvc"), dvc_file(path))
    return sha256_file(path)


def tables(
    dataset: Dataset, config: Config, splits: Mapping[str, Seen], locks: Mapping[str, str], provenance: str
) -> Iterator[str]:
    """Lines for dataset.toml: one table a split."""
    for name, seen in splits.items():
        known = config.splits[name]
        yield f"[configs.{config.name}.splits.{name}]"
        yield f"rows = {len(seen.manifest.ids)}"
        yield f'manifest = "splits/{config.name}-{name}.parquet"'
        yield f'sha256 = "{locks[name]}"'
        if known.listed_in:
            yield f'listed_in = {{ role = "{known.listed_in[0]}", path = "{known.listed_in[1]}" }}'
        if seen.absent:
            reason = known.absent[dataset.latest].reason if dataset.latest in known.absent else "listed without a file"
            ids, count, why = json.dumps(list(seen.absent)), len(seen.absent), json.dumps(reason, ensure_ascii=False)
            yield f'absent."{dataset.latest}" = {{ ids = {ids}, about = {count}, reason = {why} }}'
        yield f'content."{dataset.latest}" = {{ sha256 = "{seen.content}", provenance = "{provenance}" }}'
        yield ""


def files(dataset: Dataset, config: Config, located: Located) -> Iterator[str]:
    """Lines for dataset.toml: the archives of a specimen, or those of the newest version that are not pinned yet."""
    place = f"configs.{config.name}" if config.synthetic else f'versions."{dataset.latest}"'
    pinned = set() if config.synthetic else {file.sha256 for file in dataset.version(None).files}
    for file in located.provenance.get("files", ()):
        if file["sha256"] in pinned:
            continue
        if not config.synthetic:
            yield '# in the place of this file\'s entry that says "unknown"'
        yield f"[[{place}.files]]"
        yield f'role = "{file["role"]}"\nrecord = "{NO_RECORD if config.synthetic else file["record"]}"'
        yield f"name = {json.dumps(file['name'], ensure_ascii=False)}\nsize = {file['size']}"
        yield f'md5 = "{file["md5"]}"\nsha256 = "{file["sha256"]}"\n'
    if "folder" in located.provenance:
        yield f"# unpacked: there is no archive whose digest could be pinned in [[{place}.files]]\n"


def main(argv: list[str] | None = None) -> None:
    """Write the manifests and print what pins them; a user's mistake is one line and exit code 2, as of `bench`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--config", help="default: the specimen, or with --source the default config")
    parser.add_argument("--source", type=Path, help="the archives, or an unpacked copy")
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--provenance", choices=("official", "copy"), help="what --source holds, to be said with it")
    parser.add_argument("--anew", action="store_true", help="write manifests that hold, too")
    args = parser.parse_args(argv)
    if args.source and not args.provenance:
        parser.error("--source needs --provenance: official (the publisher's own archive) or copy (anything else)")
    if args.registry:
        os.environ["LENSBENCH_REGISTRY"] = str(args.registry.resolve())
    try:
        print("\n".join(_pinned(args)))
    except LensbenchError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)


def _pinned(args: argparse.Namespace) -> list[str]:
    """Write what the arguments ask for; the lines for dataset.toml."""
    dataset = get_dataset(args.dataset)
    config = dataset.config(args.config or (None if args.source else SPECIMEN))
    located, splits, unavailable = see(dataset, config, args.source)
    locks = {name: pin(dataset, config, seen, args.anew) for name, seen in splits.items()}
    provenance = SPECIMEN if config.synthetic else args.provenance
    lines = [*files(dataset, config, located), *tables(dataset, config, splits, locks, provenance)]
    return lines + [f"# {name} is not pinned: {why}" for name, why in unavailable.items()]


if __name__ == "__main__":
    main()
