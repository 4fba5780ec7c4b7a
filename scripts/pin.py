"""Pin what is seen for the first time: `python scripts/pin.py DATASET [--config C] [--source DIR] [--registry DIR]`.

Reads a specimen, or a real source, with the dataset's own builder, places the samples by the publisher's lists, his
folders or the config's rule (never by an earlier manifest), writes `splits/<config>-<split>.parquet` with their `.dvc`
files, and prints what pins them for dataset.toml. A manifest that is pinned and says nothing else than what was found
is left as it is, and so is its lock; `--anew` writes that one, too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from lensbench.benchmark import benchmark_names, benchmark_root
from lensbench.data.loader import load_builder
from lensbench.data.locate import Located, locate, locate_given
from lensbench.data.plan import Plan, make_plan
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.digest import sha256_file, sha256_rows
from lensbench.paths import write_text
from lensbench.registry import SPECIMEN, Config, Dataset, Split, get_dataset
from lensbench.splits import HASHED, Manifest, read_manifest_file, write_manifest
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
    tables = [tomllib.loads((benchmark_root() / f"{name}.toml").read_text()) for name in benchmark_names()]
    named = {table["cluster"] for table in tables if table["dataset"] == dataset.name}
    return sorted(named - {HASHED, "group"})


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
    names = ["group", *clusters(dataset), "sha256"]
    return (
        located,
        {name: _seen(plan, name, _columns(request, opened, plan.tables[name], names)) for name in plan.tables},
        plan.unavailable,
    )


def _forgotten(split: Split) -> Split:
    """A split of which nothing is pinned but which ids were never shipped."""
    return replace(split, rows=None, manifest=None, sha256=None)


def _columns(request: Request, source: Source, rows: pa.Table, names: list[str]) -> Columns:
    """The columns `names` of some rows of the index, from there or from the files."""
    kind, found = load_builder(request.dataset.folder), {name: dict[str, str | None]() for name in names}
    for start in range(0, rows.num_rows, kind.STEP):
        part = rows.slice(start, kind.STEP)
        read = kind.read(source, part, request.config)
        for name in names:
            values = part[name] if name in part.column_names and name not in read else read[name]
            found[name].update(zip(part["id"].to_pylist(), values.to_pylist(), strict=True))
    return found


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


def files(config: Config, located: Located) -> Iterator[str]:
    """Lines for dataset.toml: the archives of a specimen."""
    for path in located.spec.archives:
        data = path.read_bytes()
        yield f"[[configs.{config.name}.files]]"
        yield f'role = "archive"\nrecord = "none"\nname = "{path.name}"\nsize = {len(data)}'
        yield f'md5 = "{hashlib.md5(data).hexdigest()}"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'


def main(argv: list[str] | None = None) -> None:
    """Write the manifests and print what pins them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--config", help="default: the specimen, or with --source the default config")
    parser.add_argument("--source", type=Path, help="the archives, or an unpacked copy")
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--provenance", choices=("official", "copy"), default="official", help="what --source holds")
    parser.add_argument("--anew", action="store_true", help="write manifests that hold, too")
    args = parser.parse_args(argv)
    if args.registry:
        os.environ["LENSBENCH_REGISTRY"] = str(args.registry.resolve())
    dataset = get_dataset(args.dataset)
    config = dataset.config(args.config or (None if args.source else SPECIMEN))
    located, splits, unavailable = see(dataset, config, args.source)
    locks = {name: pin(dataset, config, seen, args.anew) for name, seen in splits.items()}
    if config.synthetic:
        print("\n".join(files(config, located)))
    provenance = SPECIMEN if config.synthetic else args.provenance
    print("\n".join(tables(dataset, config, splits, locks, provenance)))
    for name, why in unavailable.items():
        print(f"# {name} is not pinned: {why}")


if __name__ == "__main__":
    main()
