"""A whole dataset folder as a stranger would bring it: small, complete, with a known leak; and ways to damage it."""

from __future__ import annotations

import importlib.util
import io
import os
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from scripts import pin

NAME = "tiny_cells"
SPLITS = ("train", "test")

CLASSES = "name,display,plain\nround,Round,0\nsquare,Square,1\n"

SPECIMEN = '''
"""Blocks on noise, in integer arithmetic."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from lensbench.images.decode import encode_png


def draw(key):
    """Image and label map of one sample."""
    noise = np.frombuffer(hashlib.shake_256(key.encode()).digest(256), np.uint8).reshape(16, 16) >> 2
    labels = np.zeros((16, 16), np.uint16)
    labels[2:6, 2:6], labels[6:9, 6:12] = 300, 7
    return noise + (labels > 0) * np.uint8(100), labels


def make(folder, *, size=12, seed=0, layout="1.0.0"):
    """`size` samples of three groups; g0 is in both splits, as in the original."""
    if size < 4:
        raise ValueError(f"{size} samples cannot hold two splits")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(size):
            split = "test_set" if n % 3 == 0 else "train_set"
            group = ("g0", f"g{1 + n % 3}")[n > 1]
            key = f"{('round', 'square')[n % 2]}_{group}_{seed}x{n:03}"
            image, labels = draw(key)
            for name, array in ((f"{key}.png", image), (f"{key}_mask.png", labels)):
                archive.writestr(zipfile.ZipInfo(f"{split}/{name}"), encode_png(array))
    return [path]
'''

BUILDER = '''
"""Cells with masks; everything is in the file name."""

import datasets
import numpy as np
import pyarrow as pa

from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.images.content import labelmap_sha256, pixels_sha256, sample_sha256
from lensbench.images.decode import decode

SPLITS = {"train_set": "train", "test_set": "test"}


class Builder(ImageBuilder):
    """One image and one mask a sample."""

    @classmethod
    def columns(cls, config):
        text = datasets.Value("string")
        image = {"image": datasets.Image(), "mask": datasets.Image()}
        return datasets.Features({"id": text, **image, "group": text, "plate": text, "sha256": text})

    @classmethod
    def parts(cls, config):
        return {"image": "pixels", "mask": "labelmap"}

    @classmethod
    def index(cls, source, request):
        rows = []
        for container, name in source.files():
            folder, _, file = name.rpartition("/")
            if file.endswith(".png") and not file.endswith("_mask.png"):
                label, group, _ = file.removesuffix(".png").split("_")
                rows.append({"id": file.removesuffix(".png"), "label": label, "group": group, "plate": group[0],
                             "container": container, "member": name, "split": SPLITS[folder.rpartition("/")[2]]})
        return Index(pa.Table.from_pylist(rows))

    @classmethod
    def read(cls, source, rows, config):
        found = {"image": [], "mask": [], "sha256": []}
        for row in rows.to_pylist():
            hashes = {}
            for part, name in (("image", row["member"]), ("mask", row["member"].replace(".png", "_mask.png"))):
                data = source.read(row["container"], name)
                pixels = decode(data, source.where(row["container"], name))
                hashes[part] = (pixels_sha256 if part == "image" else labelmap_sha256)(pixels)
                found[part].append({"bytes": data, "path": name})
            found["sha256"].append(sample_sha256(hashes))
        schema = cls.columns(config).arrow_schema
        return {name: pa.array(values, schema.field(name).type) for name, values in found.items()}
'''

CITATION = "Nobody (2020). Tiny cells [Data set]."

HEAD = f"""
schema = 1
name = "{NAME}"
title = "Tiny cells"
licence = "CC-BY-4.0"
homepage = "https://example.org"
task = "classification"
group = ["group"]
default_config = "official"
folders = ["train_set", "test_set"]

[versions."1.0.0"]
record = "1"
doi = "10.0/0"
citation = "{CITATION}"
images = {{ advertised = 30 }}

[[versions."1.0.0".files]]
role = "archive"
record = "1"
name = "tiny.zip"
size = "unknown"
md5 = "unknown"
sha256 = "unknown"

[[leaks]]
config = "official"
group = "g0"
splits = ["train", "test"]
reason = "drawn per image"

[[leaks]]
config = "specimen"
group = "g0"
splits = ["train", "test"]
reason = "as in the original"

[configs.grouped]
title = "no group in two splits"
labels = "plain"
samples = 30
rule = {{ kind = "stratified-group-kfold", by = "group", folds = 3, seed = 1, test = [0] }}

[configs.drawn]
title = "a published draw"
labels = "plain"
samples = 30
rule = {{ kind = "permutation", seed = 1, draws = 2, draw = 1, train = 20 }}

[configs.official]
title = "as published"
labels = "plain"

[configs.specimen]
title = "synthetic"
labels = "plain"
synthetic = true
"""

UNPINNED = '[configs.{config}.splits.{split}]\nrows = "unknown"\nmanifest = "unknown"\nsha256 = "unknown"\n'

CARD = f"""---
pretty_name: Tiny cells
license: cc-by-4.0
task_categories: [image-classification]
size_categories: [n<1K]
tags: [cells]
---

# Tiny cells

## Motivation
To be tested.
## Composition
Blocks on noise.
### Splits
`official`, `grouped`, `drawn` and `specimen`.
## Collection
None.
## Preprocessing
None.
## Columns
`id`, `image`, `mask`, `label`, `group`, `plate`, `sha256`.

```python
# a comment, no heading
```
## Known limits
Tiny.
## Specimen
Like the rest.
## Licence and citation
CC-BY-4.0. {CITATION}
"""

BENCHMARK = f"""
schema = 1
name = "{NAME}"
revision = 1
title = "Tiny cells"
task = "classification"
dataset = "{NAME}"
version = "1.0.0"
config = "official"
split = "test"
cluster = "plate"
input = {{ height = 16, width = 16, resize = "none", colour = "grey", range = [0.0, 1.0] }}
output = {{ kinds = ["logits"] }}
metrics = {{ headline = "top1", ids = ["macro_f1"] }}
"""


@dataclass(frozen=True)
class Tiny:
    """The registry, the dataset's folder in it, and a folder with the real archive."""

    root: Path
    source: Path

    @property
    def folder(self) -> Path:
        return self.root / NAME

    def replace(self, file: str, old: str, new: str) -> None:
        """Exchange one piece of text of a file of the folder; it must be there."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


def write(place: Path) -> Tiny:
    """Write the folder, pin its specimen and its official split with `scripts/pin.py`."""
    tiny = Tiny(place / "registry", place / "source")
    tiny.folder.mkdir(parents=True)
    (place / "benchmarks").mkdir()
    (place / "benchmarks" / f"{NAME}.toml").write_text(BENCHMARK)
    for name, text in (
        ("classes.csv", CLASSES),
        ("specimen.py", SPECIMEN),
        ("builder.py", BUILDER),
        ("README.md", CARD),
    ):
        (tiny.folder / name).write_text(text)
    spec = importlib.util.spec_from_file_location("tests_tiny_specimen", tiny.folder / "specimen.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(tiny.folder / "specimen")
    module.make(tiny.source, size=30, seed=1)
    unpinned = {
        c: "".join(UNPINNED.format(config=c, split=s) for s in SPLITS)
        for c in ("grouped", "drawn", "official", "specimen")
    }
    toml = tiny.folder / "dataset.toml"
    toml.write_text(HEAD + "".join(unpinned.values()))
    for config, options in (("specimen", ()), ("official", ("--source", str(tiny.source), "--provenance", "official"))):
        said = pin_config(tiny, config, *options)
        toml.write_text(toml.read_text().replace(unpinned[config], said[max(0, said.find("[configs.official")) :]))
    return tiny


def pin_config(tiny: Tiny, config: str, *options: str) -> str:
    """What `scripts/pin.py` prints."""
    said = io.StringIO()
    with patch.dict(os.environ), redirect_stdout(said):
        pin.main([NAME, "--registry", str(tiny.root), "--config", config, *options])
    return said.getvalue()
