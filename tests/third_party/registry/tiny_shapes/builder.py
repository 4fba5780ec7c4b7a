import csv
import io
from collections.abc import Mapping
from pathlib import PurePosixPath

import datasets
import pyarrow as pa

from lensbench.data.builder import ImageBuilder
from lensbench.data.index import Index
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import DatasetError
from lensbench.images.content import pixels_sha256, sample_sha256
from lensbench.images.decode import decode
from lensbench.registry import Config


class Builder(ImageBuilder):
    """Drawn shapes, one to an image."""

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        text = datasets.Value("string")
        return datasets.Features({"id": text, "image": datasets.Image(), "group": text, "sha256": text})

    @classmethod
    def parts(cls, config: Config) -> Mapping[str, str]:
        return {"image": "pixels"}

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        files = {name: (container, name) for container, name in source.files()}
        table = next((name for name in files if PurePosixPath(name).name == "labels.csv"), None)
        if table is None:
            raise DatasetError("the source holds no labels.csv")
        rows = list(csv.DictReader(io.StringIO(source.read(*files[table]).decode())))
        root = PurePosixPath(table).parent
        places = [files.get(str(root / "images" / f"{row['id']}.png")) for row in rows]
        kept = [(row, place) for row, place in zip(rows, places, strict=True) if place]
        columns = {name: [row[name] for row, _ in kept] for name in ("id", "label", "group", "split")}
        columns |= {"container": [c for _, (c, _) in kept], "member": [name for _, (_, name) in kept]}
        return Index(pa.table(columns))

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        images, hashes = [], []
        for container, member in zip(rows["container"].to_pylist(), rows["member"].to_pylist(), strict=True):
            data = source.read(container, member)
            pixels = decode(data, source.where(container, member))
            images.append({"bytes": data, "path": member})
            hashes.append(sample_sha256({"image": pixels_sha256(pixels)}))
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return {"image": pa.array(images, kind), "sha256": pa.array(hashes)}
