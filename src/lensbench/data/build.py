"""Turn a source into Arrow files: plan, builder, `datasets`' writer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lensbench.data.loader import load_builder
from lensbench.data.locate import refuse_exchanged
from lensbench.data.plan import Plan, make_plan
from lensbench.data.source import Source
from lensbench.errors import DatasetError, LensbenchError
from lensbench.sources import Progress

if TYPE_CHECKING:
    from lensbench.data.builder import ImageBuilder
    from lensbench.data.store import Job

STREAMED = 16
"""Rows read at a time when streaming: the first one should not wait for many others."""


@dataclass(frozen=True)
class Result:
    """What was built: the plan, split → Arrow files in row order, image columns → how they are hashed."""

    plan: Plan
    arrow: Mapping[str, tuple[Path, ...]]
    parts: Mapping[str, str]


def build(job: Job, folder: Path, progress: Progress | None, num_proc: int | None) -> Result:
    """Write the Arrow files of all available splits into `folder`, a new one in an unfinished build."""
    from datasets.exceptions import DatasetGenerationError

    builder = open_builder(job, progress, folder.parent / "scratch")
    if progress is not None:
        rows = sum(table.num_rows for table in builder.plan.tables.values())
        progress.note(f"preparing {job.request.title}: {rows:,} samples")
    try:
        with _bars():
            builder.download_and_prepare(str(folder), num_proc=num_proc if num_proc and num_proc > 1 else None)
    except LensbenchError:
        raise
    except DatasetGenerationError as error:
        # In a worker process the cause survives as text only.
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise cause from error
        if "No space left on device" in str(cause):
            raise DatasetError(f"{folder}: cannot be written (No space left on device)") from error
        raise
    name = job.request.dataset.name
    for litter in folder.parent.rglob("*.lock"):
        litter.unlink()
    (folder.parent / "scratch").rmdir()
    arrow = {
        split: tuple(sorted([*folder.glob(f"{name}-{split}.arrow"), *folder.glob(f"{name}-{split}-*-of-*.arrow")]))
        for split in builder.plan.tables
    }
    return Result(builder.plan, arrow, builder.parts(job.request.config))


def open_builder(job: Job, progress: Progress | None, cache: Path, step: int | None = None) -> ImageBuilder:
    """The builder over the job's source, its plan made. `cache`: a folder `datasets` may put a lock into."""
    assert job.located is not None
    kind = load_builder(job.request.dataset.folder)
    source = Source(job.located.spec, progress.note if progress is not None else None)
    plan = make_plan(job.request, kind.index(source, job.request), job.located.failed)
    return kind(
        request=job.request,
        plan=plan,
        source=source,
        step=step,
        cache_dir=str(cache),
        hash=job.folder.name,
    )


def open_stream(job: Job, progress: Progress | None, cache: Path) -> ImageBuilder:
    """A builder to read from without preparing anything."""
    builder = open_builder(job, progress, cache, STREAMED)
    if job.located is not None:
        refuse_exchanged(job.located, job.shelf)
    return builder


@contextmanager
def _bars() -> Iterator[None]:
    """`datasets` draws its bars on a terminal only."""
    import datasets

    quiet = datasets.are_progress_bars_disabled() or sys.stderr.isatty()
    if not quiet:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not quiet:
            datasets.enable_progress_bars()
