"""The `datasets` builder under every image classification dataset of the registry.

Instantiating a builder patches what its module and its parents' modules import (`open`, `os.path.join`,
`Path` …), so nothing else lives here: files are read in `layout` and `samples`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

import datasets
import pyarrow as pa

from lensbench.data.layout import Source
from lensbench.data.loader import rebuild
from lensbench.data.plan import Metadata, Plan, Request
from lensbench.data.samples import read_samples
from lensbench.errors import ArchiveError, LensbenchError
from lensbench.registry import Label


class BuildError(ArchiveError, datasets.exceptions.DatasetGenerationError):  # type: ignore[misc]
    """A sample that stops the build; an error of `datasets`' own kind comes through from a worker process."""


class ClassificationBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Rows in manifest order: what the plan knows, what the class table says, and the image as published.

    A registry entry derives from it and says which columns there are. `SHARD` rows are one unit of work for a
    process; `step` rows (fewer in streaming) are read at a time.
    """

    SHARD = 256
    metadata: ClassVar[Metadata]

    @classmethod
    def columns(cls) -> datasets.Features:
        """The columns but for `label`, which is added with the config's class names."""
        raise NotImplementedError

    @classmethod
    def of_class(cls, label: Label) -> Mapping[str, Any]:
        """What the class table says of every image of one class, by column."""
        raise NotImplementedError

    def __init__(self, *, request: Request, plan: Plan, source: Source, step: int = SHARD, **kwargs: Any) -> None:
        self.request = request
        self.plan = plan
        self.source = source
        self.step = step
        super().__init__(
            dataset_name=request.dataset.name,
            config_name=request.config.name,
            version=datasets.Version(request.version.name),
            **kwargs,
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # By path, not by module name: a spawned worker never heard of a module loaded from a file.
        return rebuild, (self.request.dataset.folder, self.__dict__)

    def _info(self) -> datasets.DatasetInfo:
        dataset, version = self.request.dataset, self.request.version
        features = self.columns()
        features["label"] = datasets.ClassLabel(names=list(self.request.order))
        return datasets.DatasetInfo(
            description=f"{dataset.title}: {self.request.config.title}",
            citation=version.citation,
            homepage=dataset.homepage,
            license=dataset.licence,
            features=features,
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"split": split, "starts": list(range(0, table.num_rows, self.SHARD))}
            )
            for split, table in self.plan.tables.items()
        ]

    def _generate_tables(self, split: str, starts: list[int]) -> Iterator[tuple[int, pa.Table]]:
        rows = self.plan.tables[split]
        labels = {name: index for index, name in enumerate(self.request.order)}
        classes = {label.name: self.of_class(label) for label in self.request.dataset.classes}
        schema = self.info.features.arrow_schema
        for start in starts:
            stop = min(start + self.SHARD, rows.num_rows)
            for step in range(start, stop, self.step):
                part = rows.slice(step, min(self.step, stop - step))
                names = part["label"].to_pylist()
                columns = dict(zip(part.column_names, part.columns, strict=True)) | self._samples(part)
                for name in next(iter(classes.values()), {}):
                    columns[name] = pa.array([classes[label][name] for label in names], schema.field(name).type)
                columns["label"] = pa.array([labels[label] for label in names], pa.int64())
                yield step, pa.table({name: columns[name] for name in schema.names}, schema=schema)

    def over(self, plan: Plan) -> Self:
        """The same builder over other rows."""
        other = copy.copy(self)
        other.plan = plan
        return other

    def _samples(self, rows: pa.Table) -> dict[str, pa.Array]:
        try:
            return read_samples(self.source, rows)
        except LensbenchError as error:
            raise BuildError(str(error)) from error
