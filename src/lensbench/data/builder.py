"""The `datasets` builder under every dataset of the registry.

Instantiating a builder patches what its module and its parents' modules import (`open`, `os.path.join`,
`Path` …), so nothing else lives here: files are read in `source`, `samples` and `lensbench.images`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Self

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from lensbench.data.index import Index
from lensbench.data.plan import Plan
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import ArchiveError, DatasetError, LensbenchError
from lensbench.registry import Config, Label

CLASSIFICATION = "classification"
FIRST, BATCH = 16, 4 << 20
"""Rows that are read first; bytes that are read together from then on: memory must not grow with the images."""


class BuildError(ArchiveError, datasets.exceptions.DatasetGenerationError):  # type: ignore[misc]
    """A sample that stops the build; an error of `datasets`' own kind comes through from a worker process."""


class ImageBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Rows in manifest order: what the index knows, what the class table says, and what the files hold.

    A registry entry derives from it and says how its publisher's files become samples. `SHARD` rows are one unit of
    work for a process; `step` rows (fewer in streaming, and of large images) are read at a time.
    """

    SHARD = 256
    STEP = 256

    @classmethod
    def columns(cls, config: Config) -> datasets.Features:
        """The columns but for `label`, which is added to classification configs with the config's class names.

        `id`, `image`, `group` and `sha256` are among them.
        """
        raise NotImplementedError

    @classmethod
    def parts(cls, config: Config) -> Mapping[str, str]:
        """The image columns, and how each enters a sample's hash: ``bytes``, ``pixels`` or ``labelmap``."""
        raise NotImplementedError

    @classmethod
    def index(cls, source: Source, request: Request) -> Index:
        """What lies in a source, one row per sample; no image need be decoded. DatasetError for what does not fit."""
        raise NotImplementedError

    @classmethod
    def read(cls, source: Source, rows: pa.Table, config: Config) -> Mapping[str, pa.Array]:
        """The columns that need files, for some rows of the index: every part, and `sha256` (`images.content`)."""
        raise NotImplementedError

    @classmethod
    def of_class(cls, label: Label) -> Mapping[str, Any]:
        """What the class table says of every image of one class, by column."""
        return {}

    @classmethod
    def take(cls, source: Source, rows: pa.Table, config: Config) -> dict[str, pa.Array]:
        """What `read` gives; a DatasetError where it asks for a column that the index has not."""
        try:
            return dict(cls.read(source, rows, config))
        except KeyError as error:
            raise DatasetError(
                f"builder.py: read() asks for what is not there ({_text(error)}); does index() give it?"
            ) from error

    def __init__(self, *, request: Request, plan: Plan, source: Source, step: int | None = None, **kwargs: Any) -> None:
        self.request = request
        self.plan = plan
        self.source = source
        self.step = step or self.STEP
        super().__init__(
            dataset_name=request.dataset.name,
            config_name=request.config.name,
            version=datasets.Version(request.version.name),
            **kwargs,
        )

    def _info(self) -> datasets.DatasetInfo:
        dataset, version = self.request.dataset, self.request.version
        return datasets.DatasetInfo(
            description=f"{dataset.title}: {self.request.config.title}",
            citation=version.citation,
            homepage=dataset.homepage,
            license=dataset.licence,
            features=self.features(self.request),
        )

    @classmethod
    def features(cls, request: Request) -> datasets.Features:
        """All columns of a config, `label` among them where its task is classification."""
        columns = cls.columns(request.config)
        if request.config.task != CLASSIFICATION:
            return columns
        items = list(columns.items())
        after = 1 + max(i for i, (name, _) in enumerate(items) if name in cls.parts(request.config))
        label = datasets.ClassLabel(names=list(request.order))
        return datasets.Features(dict([*items[:after], ("label", label), *items[after:]]))

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"split": split, "starts": list(range(0, table.num_rows, self.SHARD))}
            )
            for split, table in self.plan.tables.items()
        ]

    def _generate_tables(self, split: str, starts: list[int]) -> Iterator[tuple[int, pa.Table]]:
        rows = self.plan.tables[split]
        schema = self.info.features.arrow_schema
        order = pa.array(self.request.order, pa.string())
        classes = self._classes(schema) if "label" in schema.names else {}
        step = min(self.step, FIRST)
        for start in starts:
            at, stop = start, min(start + self.SHARD, rows.num_rows)
            while at < stop:
                part = rows.slice(at, min(step, stop - at))
                columns = dict(zip(part.column_names, part.columns, strict=True)) | self._samples(part)
                if "label" in schema.names:
                    label = pc.index_in(part["label"], value_set=order)
                    if label.null_count:
                        first = part.filter(label.is_null())
                        raise BuildError(f"{first['id'][0]}: label {first['label'][0].as_py()!r} is not in classes.csv")
                    columns |= {name: values.take(label) for name, values in classes.items()}
                    columns["label"] = label
                table = _fitted(columns, schema)
                yield at, table
                at += part.num_rows
                step = max(1, min(self.step, part.num_rows * BATCH // table.nbytes))

    def _classes(self, schema: pa.Schema) -> dict[str, pa.Array]:
        """Column → what the class table says, by label index."""
        known = {label.name: self.of_class(label) for label in self.request.dataset.classes}
        said = [known[name] for name in self.request.order]
        return {name: pa.array([row[name] for row in said], schema.field(name).type) for name in (said or [{}])[0]}

    def over(self, plan: Plan) -> Self:
        """The same builder over other rows."""
        other = copy.copy(self)
        other.plan = plan
        return other

    def _samples(self, rows: pa.Table) -> dict[str, pa.Array]:
        try:
            return self.take(self.source, rows, self.request.config)
        except LensbenchError as error:
            raise BuildError(str(error)) from error


def _fitted(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """`columns` in the types that columns() states; BuildError for one that is not there or does not fit."""
    found = []
    for field in schema:
        if field.name not in columns:
            raise BuildError(
                f"builder.py: column {field.name!r} is in columns(), but neither index() nor read() gives it"
            )
        try:
            found.append(pa.table({field.name: columns[field.name]}, schema=pa.schema([field])).column(0))
        except (pa.ArrowException, TypeError) as error:
            raise BuildError(
                f"builder.py: column {field.name!r} is {field.type} in columns(), and what index() or read() gives "
                f"does not fit: {str(error).splitlines()[0]}"
            ) from error
    try:
        return pa.Table.from_arrays(found, schema=schema)
    except pa.ArrowException as error:
        raise BuildError(f"builder.py: columns of different length: {str(error).splitlines()[0]}") from error


def _text(error: KeyError) -> str:
    return str(error.args[0]) if error.args else "a key"
