"""A run's folder: work cut into a fixed plan of shards, one atomic file each, so that a killed run goes on.

What a shard holds depends on the plan alone, never on what was left to do; the merged `predictions.parquet` of a
resumed run has the bytes of an undisturbed one.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lensbench.digest import canonical, sha256_of
from lensbench.errors import ModelError
from lensbench.paths import atomic, write_text
from lensbench.predictions import METADATA, write_parquet

ROWS = 4_096
"""Rows in a shard of class scores: 1.6 MB for 95 classes, all that a run holds of its output."""

REPORT = "report.html"
"""The pictures of a segmentation, beside its record."""

FOUND = b"found"
"""Where a merged search keeps the sha256 of what tells of its questions."""
WORST_VIEW = "worst-view.json"
"""What a search found, where a benchmark has one: a view that can be rendered and scored again."""


@dataclass(frozen=True)
class Run:
    """The folder of one model on one benchmark, and the plan that says what belongs in it."""

    folder: Path
    plan: Mapping[str, Any]
    rows: int
    shard: int
    """Rows in a shard."""

    @cached_property
    def digest(self) -> str:
        """Names the plan; a shard of another one is not taken."""
        return sha256_of(self.plan)

    @property
    def predictions(self) -> Path:
        """The merged predictions."""
        return self.folder / "predictions.parquet"

    @property
    def record(self) -> Path:
        """The result record."""
        return self.folder / "record.json"

    @property
    def shards(self) -> list[tuple[Path, int, int]]:
        """(file, first row, row after the last) of every shard."""
        folder = self.folder / "shards"
        starts = range(0, self.rows, self.shard)
        return [(folder / f"{i:05}.parquet", a, min(a + self.shard, self.rows)) for i, a in enumerate(starts)]

    def question(self, number: int, digest: str) -> Path:
        """The file with all answers to one question of a search: those of another view are not taken for them."""
        return self.folder / "shards" / f"{number:05}-{digest[:16]}.parquet"

    def kept(self) -> list[Path]:
        """The answers to questions that are there."""
        return sorted((self.folder / "shards").glob("?????-*.parquet"))

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What every file of this run carries: label names, kind and the plan's digest."""
        known = {"labels": self.plan["labels"], "kind": self.plan["kind"], "plan": self.digest}
        return {METADATA: canonical(known)}

    def refuse_others(self) -> None:
        """Raise ModelError for a folder with files of a run's names that no run put there: they are the user's."""
        names = ("shards", "predictions.parquet", "record.json", REPORT, WORST_VIEW)
        theirs = [name for name in names if (self.folder / name).exists()]
        if theirs and not (self.folder / "plan.json").is_file():
            raise ModelError(f"{self.folder} holds {theirs[0]} that no run put there; give --out another folder")

    def open(self) -> None:
        """Take the folder over: what another plan left in it is removed, what this one left is kept."""
        stated = self.folder / "plan.json"
        if not stated.is_file() or stated.read_text(encoding="utf-8") != self._text():
            shutil.rmtree(self.folder / "shards", ignore_errors=True)
            for old in ("predictions.parquet", "record.json", "assumed.json", REPORT, WORST_VIEW):
                (self.folder / old).unlink(missing_ok=True)
            write_text(stated, self._text())
        (self.folder / "shards").mkdir(parents=True, exist_ok=True)

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Leave nothing behind when the work in the block fails before its first shard."""
        try:
            yield
        except BaseException:
            if not any((self.folder / "shards").glob("*.parquet")) and not self.predictions.exists():
                for left in (self.folder / "shards", self.folder / "plan.json", self.folder / ".lock"):
                    shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
                with suppress(OSError):  # not empty: something of the user's lies there
                    self.folder.rmdir()
            raise

    def _text(self) -> str:
        return json.dumps(self.plan, sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    def holds(self, path: Path, rows: int) -> bool:
        """Whether `path` is a whole file of this plan with `rows` rows."""
        if not path.is_file():
            return False
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError):
            return False
        stated = (file.schema_arrow.metadata or {}).get(METADATA)
        return bool(file.metadata.num_rows == rows and stated == self.metadata[METADATA])

    @property
    def found(self) -> str | None:
        """The sha256 of what tells of the questions of a merged search."""
        stated = (pq.read_schema(self.predictions).metadata or {}).get(FOUND)
        return None if stated is None else stated.decode("ascii", "replace")

    def write(self, path: Path, table: pa.Table) -> None:
        """Put one shard in place, whole or not at all."""
        try:
            with atomic(path) as part:
                write_parquet(table, part)
        except OSError as error:
            raise ModelError(
                f"{path}: cannot be written ({error.strerror}); free some space, then run again"
            ) from error

    def merge(self, questions: Sequence[Path] = (), found: str = "") -> None:
        """Join the shards into `predictions.parquet` and drop them; `questions` are files of one view each, whose rows
        come out id by id, and `found` is the sha256 of what tells of them, which is kept with the rows."""
        if not self.holds(self.predictions, self.rows):
            try:
                with atomic(self.predictions) as part:
                    self._join([path for path, _, _ in self.shards], part, questions, found)
            except OSError as error:
                raise ModelError(
                    f"{self.predictions}: cannot be written ({error.strerror}); free some space"
                ) from error
        shutil.rmtree(self.folder / "shards", ignore_errors=True)

    def _join(self, shards: Sequence[Path], part: Path, questions: Sequence[Path], found: str) -> None:
        """One row group for each shard."""
        schema = told_schema(questions[0], found) if questions else pq.read_schema(shards[0])
        options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        with pq.ParquetWriter(part, schema, **options) as writer:
            for table in by_id(questions, ROWS) if questions else (pq.ParquetFile(path).read() for path in shards):
                writer.write_table(table)


def told_schema(question: Path, found: str) -> pa.Schema:
    """The schema of the joined questions: theirs, and the sha256 of what tells of them."""
    schema = pq.read_schema(question)
    return schema.with_metadata({**(schema.metadata or {}), FOUND: found.encode()})


def by_id(questions: Sequence[Path], rows: int) -> Iterator[pa.Table]:
    """The rows of files that hold the same ids in one view each: id by id, each in all views; about `rows` at a
    time."""
    whole = [pq.ParquetFile(path).read() for path in questions]
    step = max(1, rows // len(whole))
    for start in range(0, whole[0].num_rows, step):
        part = pa.concat_tables([table.slice(start, step) for table in whole]).combine_chunks()
        ids = part.num_rows // len(whole)
        yield part.take(pa.array([view * ids + row for row in range(ids) for view in range(len(whole))], pa.int64()))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against a second process; raises ModelError when one already runs there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(f"{folder}: another `bench eval` is running there; wait for it, or give --out") from error
        yield
