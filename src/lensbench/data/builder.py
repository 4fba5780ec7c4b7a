"""The `datasets` builder under every dataset of the registry.

Instantiating a builder patches what its module and its parents' modules import (`open`, `os.path.join`,
`Path` …), so nothing else lives here: files are read in `source`, `samples` and `lensbench.images`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import datasets
import pyarrow as pa

from lensbench.data.index import Index
from lensbench.data.loader import rebuild
from lensbench.data.plan import Plan
from lensbench.data.request import Request
from lensbench.data.source import Source
from lensbench.errors import ArchiveError, LensbenchError
from lensbench.registry import Config, Label

CLASSIFICATION = "classification"


class BuildError(ArchiveError, datasets.exceptions.DatasetGenerationError):  # type: ignore[misc]
    """A sample that stops the build; an error of `datasets`' own kind comes through from a worker process."""


class ImageBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Rows in manifest order: what the index knows, what the class table says, and what the files hold.

    A registry entry derives from it and says how its publisher's files become samples. `SHARD` rows are one unit of
    work for a process; `step` rows (fewer in streaming) are read at a time.
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

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # By path, not by module name: a spawned worker never heard of a module loaded from a file.
        return rebuild, (self.request.dataset.folder, self.__dict__)

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
        labels = {name: index for index, name in enumerate(self.request.order)}
        known = {label.name: self.of_class(label) for label in self.request.dataset.classes}
        classes = known if self.request.config.task == CLASSIFICATION else {}
        for start in starts:
            stop = min(start + self.SHARD, rows.num_rows)
            for step in range(start, stop, self.step):
                part = rows.slice(step, min(self.step, stop - step))
                names = part["label"].to_pylist()
                columns = dict(zip(part.column_names, part.columns, strict=True)) | self._samples(part)
                for name in next(iter(classes.values()), {}):
                    columns[name] = pa.array([classes[label][name] for label in names], schema.field(name).type)
                if "label" in schema.names:
                    columns["label"] = pa.array([labels[label] for label in names], pa.int64())
                yield step, pa.table({name: columns[name] for name in schema.names}, schema=schema)

    def over(self, plan: Plan) -> Self:
        """The same builder over other rows."""
        other = copy.copy(self)
        other.plan = plan
        return other

    def _samples(self, rows: pa.Table) -> dict[str, pa.Array]:
        try:
            return dict(self.read(self.source, rows, self.request.config))
        except LensbenchError as error:
            raise BuildError(str(error)) from error
