"""Steps of the maintainers' pipeline (`dvc.yaml`) that no `bench` command is: ``python -m lensbench.pipeline STEP``.

build: a prepared dataset as Parquet shards, the form in which DVC keeps it (one file for thousands of images).
split: what those shards hold, restated from their own rows and bytes. verify: that against what the registry pins.
Each reads files and writes files, so that DVC can tell what changed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from lensbench.data.loader import load_builder
from lensbench.data.prepared import Prepared
from lensbench.data.rehash import rehash
from lensbench.data.store import prepare
from lensbench.digest import sha256_of
from lensbench.errors import DatasetError, LensbenchError
from lensbench.paths import atomic, write_text
from lensbench.registry import SPLITS, Dataset, get_dataset
from lensbench.splits import Manifest, read_manifest
from lensbench.verify import Checked, verify

Row = tuple[str, str | None, str | None, str]


def write_shards(prepared: Prepared, folder: Path) -> list[Path]:
    """Write each Arrow file of `prepared` as `<split>-<i>-of-<n>.parquet` into `folder`, which must be empty.

    Rows, their order, the published bytes of every image and the `datasets` features in the schema stay as they
    are; `datasets.load_dataset("parquet", data_dir=folder)` reads them.
    """
    if any(folder.glob("*")):
        raise DatasetError(f"{folder} is not empty: shards of another build would mix with these; remove it first")
    written = []
    for split, files in prepared.arrow.items():
        for i, source in enumerate(files):
            path = folder / f"{split}-{i:05}-of-{len(files):05}.parquet"
            with atomic(path) as part:
                _write_shard(source, part)
            written.append(path)
    return written


def _write_shard(arrow: Path, parquet: Path) -> None:
    with (
        pa.memory_map(str(arrow)) as mapped,
        pa.ipc.open_stream(mapped) as stream,
        pq.ParquetWriter(parquet, stream.schema, compression="zstd") as writer,
    ):
        for batch in stream:
            writer.write_batch(batch)


def restate(folder: Path, dataset: Dataset, config: str) -> dict[str, Any]:
    """What the shards in `folder` hold: by split, the number of rows, two digests, and rows per class name.

    `rows_sha256` is a manifest's digest over (id, split, label), to compare with the pinned one; `content_sha256`
    is over (id, split, label, group, sha256 of the sample), every sample hashed again, and equals `digests.data` of
    a record. Labels are null where the config has none. Raises DatasetError for a sample that is not as it was built.
    """
    builder, chosen = load_builder(dataset.folder), dataset.config(config)
    parts, order = builder.parts(chosen), dataset.label_order(chosen.labels)
    found = {}
    for split in SPLITS:
        files = sorted(folder.glob(f"{split}-*-of-*.parquet"))
        rows = [row for path in files for row in _rows(path, order, parts, builder.STEP)]
        if not files:
            continue
        found[split] = {
            "rows": len(rows),
            "rows_sha256": Manifest.of(split, [(key, label, group) for key, label, group, _ in rows]).digest,
            "content_sha256": sha256_of([[key, split, *rest] for key, *rest in sorted(rows)]),
            "classes": dict(sorted(_classes(label for _, label, _, _ in rows).items())),
        }
    if not found:
        raise DatasetError(f"{folder}: holds no <split>-<i>-of-<n>.parquet; run the build step first")
    return found


def _rows(path: Path, order: tuple[str, ...], parts: Mapping[str, str], step: int) -> Iterator[Row]:
    """(id, label name, group, sha256 of the sample) of every row, `step` rows at a time."""
    file = pq.ParquetFile(path)
    labelled = "label" in file.schema_arrow.names
    columns = ["id", "group", "sha256", *parts, *(["label"] if labelled else [])]
    for batch in file.iter_batches(step, columns=columns):
        labels = [order[i] for i in batch.column("label").to_pylist()] if labelled else [None] * batch.num_rows
        stated, groups = (batch.column(name).to_pylist() for name in ("sha256", "group"))
        for (key, found), label, group, digest in zip(
            rehash(batch, parts, path.name), labels, groups, stated, strict=True
        ):
            if found != digest:
                raise DatasetError(f"{path}: the image of {key} is not the one that was built")
            yield key, label, group, found


def _classes(labels: Iterable[str | None]) -> Counter[str]:
    """Rows per class, of those that have one."""
    return Counter(label for label in labels if label is not None)


def compare(dataset: Dataset, version: str, config: str, restated: Mapping[str, Any]) -> Iterator[Checked]:
    """Hold what was restated from the built rows against the pinned manifests.

    A split without a pinned manifest, or with fewer rows where dataset.toml cannot name the absent ids yet, is
    unknown. Raises DatasetError for anything else that differs.
    """
    for name, split in dataset.config(config).splits.items():
        what = f"{config}/{name} as built"
        if name not in restated:
            yield Checked(what, "unknown", "not built: its list is not pinned, and was not found")
            continue
        built = restated[name]
        text = f"{built['rows']:,} rows, content sha256 {built['content_sha256']}"
        if split.manifest is None:
            yield Checked(what, "unknown", f"{text}; no manifest is pinned to hold it against")
            continue
        absent = split.absent.get(version)
        named = absent.ids if absent else frozenset[str]()
        pinned = read_manifest(dataset, config, name).without(named or frozenset())
        if built["rows_sha256"] == pinned.digest:
            yield Checked(what, "ok", text)
        elif named is None and (fewer := len(pinned.ids) - built["rows"]) > 0 and not _more(built, pinned):
            yield Checked(what, "unknown", f"{text}; {fewer} listed ids have no file, and dataset.toml names none")
        else:
            raise DatasetError(f"{dataset.name} {version}, {what}: {_difference(built, pinned)}")


def _more(built: Mapping[str, Any], pinned: Manifest) -> bool:
    """Whether any class has more rows than its manifest."""
    return bool(Counter(built["classes"]) - _classes(pinned.labels))


def _difference(built: Mapping[str, Any], pinned: Manifest) -> str:
    ours, theirs = Counter(built["classes"]), _classes(pinned.labels)
    for label in sorted(ours | theirs):
        if ours[label] != theirs[label]:
            return f"{ours[label]} rows of {label}, and the pinned manifest has {theirs[label]}; build it again"
    if built["rows"] != len(pinned.ids):
        return f"{built['rows']:,} rows, and the pinned manifest has {len(pinned.ids):,}; build it again"
    return "its ids are not those of the pinned manifest, though it has as many rows; build it again"


# -- the command ---------------------------------------------------------------------------------------------

Step = Callable[..., None]


def _which(step: Step) -> Step:
    """The options that name one build: a row of `builds` in params.yaml."""
    for name in ("config", "version", "dataset"):
        step = click.option(f"--{name}", required=True)(step)
    return step


@click.group(help="Steps of the maintainers' pipeline; `dvc repro` runs them.")
def steps() -> None:
    """One subcommand a step."""


@steps.command("build", help="Write a dataset version's config as Parquet shards into OUT.")
@_which
@click.option("--out", type=click.Path(path_type=Path), required=True)
def _build(dataset: str, version: str, config: str, out: Path) -> None:
    from lensbench.progress import default_progress

    prepared = prepare(get_dataset(dataset), version, config, progress=default_progress("images"))
    for path in write_shards(prepared, out):
        click.echo(path)


@steps.command("split", help="Restate the splits of the shards in BUILT as one JSON file OUT.")
@_which
@click.argument("built", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def _split(dataset: str, version: str, config: str, built: Path, out: Path) -> None:
    splits = restate(built, get_dataset(dataset), config)
    _write_json(out, {"dataset": dataset, "version": version, "config": config, "splits": splits})
    for name, split in splits.items():
        click.echo(f"{name}: {split['rows']:,} rows of {len(split['classes'])} classes")


@steps.command("verify", help="Check the registry's locks and the restated splits in SPLITS; list what holds in OUT.")
@_which
@click.argument("splits", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def _verify(dataset: str, version: str, config: str, splits: Path, out: Path) -> None:
    entry = get_dataset(dataset)
    restated = json.loads(splits.read_text(encoding="utf-8"))["splits"]
    checked = [*verify(entry), *compare(entry, version, config, restated)]
    _write_json(out, [asdict(fact) for fact in checked])
    for fact in checked:
        click.echo(f"{fact.state:<8} {fact.what}: {fact.text}")


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Run one step: a LensbenchError is one line and exit code 2, as in `bench`."""
    try:
        steps(prog_name="python -m lensbench.pipeline")
    except LensbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
