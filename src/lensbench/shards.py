"""A run's folder: work cut into a fixed plan of shards, one atomic file each, so that a killed run goes on.

What a shard holds depends on the plan alone, never on what was left to do; the merged `predictions.parquet` of a
resumed run has the bytes of an undisturbed one.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
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

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What every file of this run carries: label names, kind and the plan's digest."""
        known = {"labels": self.plan["labels"], "kind": self.plan["kind"], "plan": self.digest}
        return {METADATA: canonical(known)}

    def refuse_others(self) -> None:
        """Raise ModelError for a folder with files of a run's names that no run put there: they are the user's."""
        names = ("shards", "predictions.parquet", "record.json", REPORT)
        theirs = [name for name in names if (self.folder / name).exists()]
        if theirs and not (self.folder / "plan.json").is_file():
            raise ModelError(f"{self.folder} holds {theirs[0]} that no run put there; give --out another folder")

    def open(self) -> None:
        """Take the folder over: what another plan left in it is removed, what this one left is kept."""
        stated = self.folder / "plan.json"
        if not stated.is_file() or stated.read_text(encoding="utf-8") != self._text():
            shutil.rmtree(self.folder / "shards", ignore_errors=True)
            for old in (self.predictions, self.record, self.folder / "assumed.json", self.folder / REPORT):
                old.unlink(missing_ok=True)
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

    def write(self, path: Path, table: pa.Table) -> None:
        """Put one shard in place, whole or not at all."""
        try:
            with atomic(path) as part:
                write_parquet(table, part)
        except OSError as error:
            raise ModelError(
                f"{path}: cannot be written ({error.strerror}); free some space, then run again"
            ) from error

    def merge(self) -> None:
        """Join the shards into `predictions.parquet` (one row group each) and drop them."""
        if not self.holds(self.predictions, self.rows):
            try:
                with atomic(self.predictions) as part:
                    self._join(part)
            except OSError as error:
                raise ModelError(
                    f"{self.predictions}: cannot be written ({error.strerror}); free some space"
                ) from error
        shutil.rmtree(self.folder / "shards", ignore_errors=True)

    def _join(self, part: Path) -> None:
        schema = pq.read_schema(self.shards[0][0])
        options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
        with pq.ParquetWriter(part, schema, **options) as writer:
            for path, _, _ in self.shards:
                writer.write_table(pq.ParquetFile(path).read())


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
