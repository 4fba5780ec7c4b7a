"""Restate the publisher's Aitslab-bioimaging1 split as our manifests: `python scripts/restate_aitslab.py LIST DIR`.

LIST is the article's text (Arvidsson et al. 2023, Data in Brief 46:108769, CC-BY-4.0): its three tables name every
file and are the authority for the split. DIR holds the data, as the three zips or unpacked; it must agree with the
tables file by file, and the hash of every sample is taken from it. Prints the `[configs.*.splits.*]` tables and the
known leaks for dataset.toml.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lensbench.data.loader import load_builder
from lensbench.data.request import Request
from lensbench.data.source import Source, unpacked
from lensbench.digest import sha256_rows
from lensbench.registry import Dataset, get_dataset
from lensbench.splits import Manifest, write_manifest

HEADINGS = {"Training dataset": "train", "Development dataset": "validation", "Test dataset": "test"}
LINE = re.compile(r"\| (\S+)\.C01 \| (\S+)\.png \| (\S+)_objects\.png \|")
COUNTS = {"train": 30, "validation": 10, "test": 10}
REASON = "the publisher drew the split per image, not per well"


def parse(text: str) -> dict[str, str]:
    """Id → split, from the article's tables; raises ValueError for a line whose three names differ or a wrong count."""
    found: dict[str, str] = {}
    split = ""
    for line in text.splitlines():
        split = HEADINGS.get(line.strip(), split)
        if match := LINE.fullmatch(line.strip()):
            if len({*match.groups()}) != 1 or not split or match[1] in found:
                raise ValueError(f"not a line of one image, or its second: {line}")
            found[match[1]] = split
    counts = {name: list(found.values()).count(name) for name in COUNTS}
    if counts != COUNTS:
        raise ValueError(f"the list has {counts} images, the publisher {COUNTS}")
    return found


def samples(dataset: Dataset, folder: Path, listed: dict[str, str]) -> pa.Table:
    """One row per image in `folder`: what its name says, and `sha256`; raises ValueError where the list differs."""
    request = Request(dataset, dataset.version(None), dataset.config("official"))
    builder, source = load_builder(dataset.folder), Source(unpacked(folder, dataset.folders))
    rows = builder.index(source, request).rows
    placed = dict(zip(rows["id"].to_pylist(), rows["split"].to_pylist(), strict=True))
    if differs := sorted(key for key in placed.keys() | listed.keys() if placed.get(key) != listed.get(key)):
        raise ValueError(
            f"{differs[0]} is of {placed.get(differs[0])} in {folder}, of {listed.get(differs[0])} in the list"
        )
    return rows.append_column("sha256", builder.read(source, rows, request.config)["sha256"])


def block(config: str, manifest: Manifest, lock: str) -> str:
    """The table of one split for dataset.toml, its content digest unknown where no sample has a hash."""
    lines = [f"[configs.{config}.splits.{manifest.split}]", f"rows = {len(manifest.ids)}"]
    lines += [f'manifest = "splits/{config}-{manifest.split}.parquet"', f'sha256 = "{lock}"']
    content, provenance = "unknown", "official"
    if "sha256" in manifest.columns:
        columns = zip(manifest.ids, manifest.groups, manifest.columns["sha256"], strict=True)
        content = sha256_rows([key, manifest.split, None, group, digest] for key, group, digest in columns)
        provenance = "copy"
    lines.append(f'content."1.0.0" = {{ sha256 = "{content}", provenance = "{provenance}" }}')
    return "\n".join(lines)


def leaks(config: str, rows: pa.Table) -> str:
    """The groups that are in more than one split, as `[[leaks]]`, each with the fields that make it one."""
    fields: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows.select(["group", "split", "field"]).to_pylist():
        fields[row["group"]][row["split"]].append(f"f{row['field']}")
    tables = []
    for group, found in sorted(fields.items()):
        if len(found) > 1:
            names = [split for split in COUNTS if split in found]
            which = " and ".join(f"{', '.join(found[split])} in {split}" for split in names)
            lines = ["[[leaks]]", f'config = "{config}"', f'group = "{group}"']
            lines += [f"splits = {json.dumps(names)}", f'reason = "{REASON}: {which}"']
            tables.append("\n".join(lines))
    return "\n\n".join(tables)


def main() -> None:
    """Write the manifests of `official` and `raw`, and print what pins them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--registry", type=Path, default=None)
    args = parser.parse_args()
    dataset = get_dataset("aitslab_bioimaging1", args.registry)
    try:
        rows = samples(dataset, args.data, parse(args.list.read_text(encoding="utf-8")))
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for config, further in (("official", ("plate", "sha256")), ("raw", ("plate",))):  # no original was ever hashed
        for split in COUNTS:
            mine = rows.filter(pc.equal(rows["split"], split))
            keys = zip(*(mine[name].to_pylist() for name in ("id", "label", "group")), strict=True)
            manifest = Manifest.of(split, keys, {name: mine[name].to_pylist() for name in further})
            lock = write_manifest(manifest, dataset.folder / "splits" / f"{config}-{split}.parquet")
            print(block(config, manifest, lock), end="\n\n")
    print(leaks("official", rows), leaks("raw", rows), sep="\n\n")


if __name__ == "__main__":
    main()
