"""Pin the default specimen of a dataset: `python scripts/pin_specimen.py lifewatch_flowcam`.

Restates the lists inside the archive in `registry/<name>/specimen/` as manifests beside the real ones, and prints
the `[configs.specimen]` block for dataset.toml: digests, rows, and the listed ids that have no file (the specimen
imitates the publisher there too).
"""

from __future__ import annotations

import argparse
import hashlib

from lensbench.data.class_folders import find_lists, index_images
from lensbench.data.source import Source, Spec
from lensbench.lists import parse_list
from lensbench.registry import SPECIMEN, SPLITS, get_dataset
from lensbench.splits import Manifest, write_manifest


def main() -> None:
    """Write the manifests and print the block."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    args = parser.parse_args()
    dataset = get_dataset(args.dataset)
    (archive,) = (dataset.folder / SPECIMEN).iterdir()
    source = Source(Spec(archives=(archive,)))
    names = next(name for name in dataset.label_orders if find_lists(source.texts(), dataset.label_order(name)))
    order = dataset.label_order(names)
    lists = find_lists(source.texts(), order)
    images, _ = index_images(source, order)
    data = archive.read_bytes()
    print(f"""
# Synthetic: made once by specimen.py, in the layout of {dataset.latest}, split by its own lists.
[configs.{SPECIMEN}]
title = "synthetic images of the same schema; says nothing about real plankton"
labels = "{dataset.config(None).labels}"
lists = "{names}"
synthetic = true

[[configs.{SPECIMEN}.files]]
role = "archive"
record = "none"
name = "{archive.name}"
size = {len(data)}
md5 = "{hashlib.md5(data).hexdigest()}"
sha256 = "{hashlib.sha256(data).hexdigest()}"
""")
    for split in SPLITS:
        rows = parse_list(lists[split].text, order, lists[split].where)
        manifest = Manifest.of(split, [(row.id, row.label, None) for row in rows])
        lock = write_manifest(manifest, dataset.folder / "splits" / f"{SPECIMEN}-{split}.parquet")
        absent = sorted(set(manifest.ids) - images.keys())
        ids = ", ".join(f'"{key}"' for key in absent)
        print(f"""[configs.{SPECIMEN}.splits.{split}]
rows = {len(rows)}
manifest = "splits/{SPECIMEN}-{split}.parquet"
sha256 = "{lock}"
listed_in = {{ role = "archive", path = "{lists[split].name}" }}""")
        if absent:
            why = "listed without a file on purpose: the publisher's lists have such lines"
            print(f'absent."{dataset.latest}" = {{ ids = [{ids}], about = {len(absent)}, reason = "{why}" }}')
        print()


if __name__ == "__main__":
    main()
