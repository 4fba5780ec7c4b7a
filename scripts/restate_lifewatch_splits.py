"""Restate the publisher's LifeWatch split lists as our manifests: `python scripts/restate_lifewatch_splits.py LISTS`.

LISTS holds one folder per published split, `dataset_files_decrop2025/` and `dataset_files_equal400/`, each with
the publisher's `test.txt`, `val.txt` and `classes.txt` (ai4os-hub/phyto-plankton-classification, Apache-2.0;
images CC-BY-4.0). Every line is checked against classes.csv before a row is written. Prints the sha256 locks
for dataset.toml.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from lensbench.lists import parse_classes, parse_list
from lensbench.registry import get_dataset
from lensbench.splits import Manifest, write_manifest

PUBLISHED_MD5 = {
    ("decrop2025", "test"): "eb577291530299ac5e3e5b09aabf0957",
    ("decrop2025", "validation"): "a63e4c5e706b32ac13d72bcdb3463527",
    ("equal400", "test"): "618307a152f569255021c9ed1ab5f9a5",
    ("equal400", "validation"): "67b1102ad01a29bd43db5f07689bf57a",
}
FILES = {"test": "test.txt", "validation": "val.txt"}


def main() -> None:
    """Restate each list whose md5 is the one recorded for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lists", type=Path)
    parser.add_argument("--registry", type=Path, default=None)
    args = parser.parse_args()
    dataset = get_dataset("lifewatch_flowcam", args.registry)
    for (config, split), md5 in PUBLISHED_MD5.items():
        folder = args.lists / f"dataset_files_{config}"
        data = (folder / FILES[split]).read_bytes()
        found = hashlib.md5(data).hexdigest()
        if found != md5:
            raise SystemExit(f"{folder / FILES[split]}: md5 {found}, expected {md5}")
        order = dataset.label_order(config)
        if parse_classes((folder / "classes.txt").read_text(encoding="utf-8")) != order:
            raise SystemExit(f"{folder / 'classes.txt'}: not the order of classes.csv")
        rows = parse_list(data.decode("ascii"), order)
        manifest = Manifest.of(split, [(row.id, row.label, None) for row in rows])
        path = dataset.folder / "splits" / f"{config}-{split}.parquet"
        print(f"{path.name}: {len(rows)} rows, sha256 {write_manifest(manifest, path)}, digest {manifest.digest}")


if __name__ == "__main__":
    main()
