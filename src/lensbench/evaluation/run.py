"""What every evaluation does, whatever its track: get the data, hold its rows, name the run's folder, write the record.

Imports neither numpy nor an engine: `bench eval` says what is wrong with its options before either is loaded.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench import __version__
from lensbench.benchmark import Benchmark, benchmark_dataset
from lensbench.digest import sha256_file, sha256_of
from lensbench.errors import DatasetError, ModelError
from lensbench.models.card import Card
from lensbench.record import Record, write_record

if TYPE_CHECKING:
    from lensbench.data.prepared import Prepared
    from lensbench.models.model import Model
    from lensbench.result import About, Origin
    from lensbench.sources import Progress
    from lensbench.splits import Manifest


@dataclass(frozen=True)
class Evaluated:
    """A record and the folder that holds it with the predictions; the `ground` of one whose images can be shown."""

    record: Record
    folder: Path
    ground: Ground | None = None


@dataclass(frozen=True)
class Options:
    """How an evaluation is run, as its caller said; `started` is when, by `time.perf_counter`."""

    source: str | Path | None = None
    partial: bool = False
    out: str | Path | None = None
    progress: Progress | None = None
    confirm: Callable[[str], bool] | None = None
    started: float = 0.0


@dataclass(frozen=True)
class Brought:
    """Predictions made elsewhere: where they lie, and what is declared of the model behind them."""

    path: Path
    name: str | None
    card: Card

    def about(self, labels: str) -> About:
        """What the record says of that model."""
        from lensbench.result import About

        card = self.card
        return About(
            name=self.name or card.name or self.path.stem,
            kind="predictions",
            sha256=sha256_file(self.path) if self.path.is_file() else None,
            labels=labels,
            authors=card.authors,
            licence=card.licence,
            training=card.trained,
            url=card.url,
            declared=card.digest,
        )


@dataclass(frozen=True)
class Ground:
    """The prepared data of a benchmark's split, checked: `ids` in row order, `manifest` what was expected."""

    spec: Benchmark
    manifest: Manifest
    data: Prepared
    ids: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The Arrow files of the split, in row order."""
        return self.data.arrow[self.spec.split]

    @property
    def digest(self) -> str:
        """The content digest of the split."""
        return self.data.digests[self.spec.split]

    @property
    def origin(self) -> Origin:
        """Where the images came from, for the record."""
        from lensbench.result import Origin

        elsewhere = {split: cover.found for split, cover in self.data.coverage.items() if split != self.spec.split}
        return Origin(self.digest, self.data.unlisted, elsewhere)

    @property
    def unverified(self) -> list[str]:
        """What a reader has to take on trust about where the images came from: less where a pin of their content
        held."""
        from lensbench.data.prepared import pinned_content

        loose, pin = _unpinned(self.data), pinned_content(self.data, self.spec.split)
        if pin is None or not loose:  # `prepare` has refused other content than the pinned
            return loose
        copy = pin.provenance == "copy"
        return ["that the images are the publisher's: their content is that of a re-encoded copy"] if copy else []

    def corrupt(self, row: int) -> DatasetError:
        """The error for an image, named, that does not decode."""
        from lensbench.data.prepared import member_name

        return DatasetError(
            f"{member_name(self.data, self.spec.split, row)}: this image of {self.data.dataset.name} "
            f"{self.data.version} does not decode; fetch the archive again, or report it to the dataset's maintainers "
            "if its sha256 is the pinned one"
        )


def _unpinned(data: Prepared) -> list[str]:
    """Which files, or that all of them, are pinned by no digest."""
    if "folder" in data.source:
        return ["that the images are the publisher's: read from an unpacked folder, which no digest covers"]
    pinned = {f.name: f.sha256 or f.md5 for f in data.dataset.versions[data.version].files}
    pinned |= {f.name: f.sha256 for f in data.dataset.config(data.config).files}
    loose = [f["name"] for f in data.source.get("files", []) if not pinned.get(f["name"])]
    return [f"that {name} is the publisher's: its digest is not pinned yet" for name in loose]


def prepared(spec: Benchmark, options: Options) -> Ground:
    """The data of the evaluated split on disk, its content as it was built; raises LensbenchError in one line."""
    from lensbench.data.prepared import check_content, id_column
    from lensbench.data.store import prepare

    data = prepare(
        benchmark_dataset(spec),
        spec.version,
        spec.config,
        source=Path(options.source) if options.source else None,
        partial=options.partial,
        progress=options.progress,
        confirm=options.confirm,
        required=(spec.split,),
    )
    check_content(data, spec.split)
    spec, manifest = _rows(spec, data)
    return Ground(spec, manifest, data, tuple(id_column(data, spec.split).to_pylist()))


def _rows(spec: Benchmark, data: Prepared) -> tuple[Benchmark, Manifest]:
    """The evaluated manifest; a specimen of another size or seed has rows, digest and board of its own."""
    from lensbench.data.prepared import own_manifest
    from lensbench.splits import read_manifest

    if not (spec.synthetic and data.own_lists):
        return spec, read_manifest(benchmark_dataset(spec), spec.config, spec.split)
    manifest = own_manifest(data, spec.split, spec.cluster)
    return replace(spec.over(manifest.digest_for(spec.cluster)), absent=frozenset()), manifest


def about(model: Model, labels: str) -> About:
    """What the record says of a model that was run."""
    from lensbench.result import About

    card = model.card
    return About(
        name=model.name,
        kind=model.kind,
        sha256=model.sha256,
        labels=labels,
        authors=card.authors,
        licence=card.licence,
        training=card.trained,
        url=card.url,
        parameters=model.parameters,
        bytes=model.size,
        declared=model.own.digest,
    )


@contextmanager
def shown(options: Options, ground: Ground, title: str, total: int, done: int) -> Iterator[None]:
    """Show the progress of the inner loop in the block; an image that does not decode is named."""
    from lensbench.runner import CorruptImageError

    progress = options.progress
    if progress:
        progress.start(f"{title} on {ground.spec.slug}", total, done)
    try:
        yield
    except CorruptImageError as error:
        raise ground.corrupt(error.row) from error
    finally:
        if progress:
            progress.finish()


def plan_of(model: Model, ground: Ground, feed: Any, rows: int, shard: int, **more: Any) -> dict[str, Any]:
    """All that decides what a run computes; `feed` is a dataclass, `more` what a track adds."""
    import cv2
    import numpy as np
    import onnxruntime

    versions = {"numpy": np.__version__, "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__}
    return {
        "benchmark": ground.spec.digest,
        "data": ground.digest,
        "model": model.sha256,
        "feed": asdict(feed),
        "rows": rows,
        "shard": shard,
        "versions": versions,
        **more,
    }


def cut(ground: Ground, rows: int) -> tuple[int, int]:
    """(rows of a run, rows of a shard, about `rows`): a frame's views are in one shard, a search's questions each in
    one."""
    views, frames = ground.spec.views, len(ground.ids)
    if views is None:
        return frames, max(1, rows)
    if views.search is not None:
        return frames * views.search.budget, max(1, frames)
    return frames * len(views.names), max(1, rows // len(views.names)) * len(views.names)


def advance_of(options: Options) -> Callable[[int], object]:
    """What the inner loop calls after every image."""
    return options.progress.advance if options.progress else _nothing


def _nothing(_: int) -> None:
    return None


def run_folder(out: str | Path | None, spec: Benchmark, name: str, plan: Mapping[str, Any]) -> Path:
    """Where a run of that plan goes."""
    return Path(out) if out else Path("runs") / spec.slug / f"{slug(name)}-{sha256_of(plan)[:8]}"


def check_ids(answered: set[str], manifest: Manifest, spec: Benchmark, where: str) -> None:
    """Raise ModelError for predictions of which none is about an evaluated image."""
    if not answered & set(manifest.ids):
        raise ModelError(
            f"{where}: none of its {len(answered)} ids is in the {spec.split} split of {spec.dataset} "
            f"({spec.config}); ids look like {manifest.ids[0]!r}, and {min(answered, default='none')!r} was given"
        )


def finish(
    result: dict[str, Any],
    path: Path,
    seconds: Mapping[str, float],
    speed: float | None,
    ground: Ground | None = None,
    pixels: Mapping[str, Any] | None = None,
) -> Evaluated:
    """Write the record; `speed` is in images a second where all of them were computed in this run.

    `pixels`: digests of what this machine developed.
    """
    import numpy as np

    run = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "images_per_second": None if speed is None else round(speed, 1),
        "cores": cores(),
        "machine": platform.machine(),
        "versions": {"lensbench": __version__, "python": platform.python_version(), "numpy": np.__version__},
        **({} if pixels is None else {"pixels": pixels}),
    }
    record = Record(result, run)
    try:
        write_record(record, path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free some space, or give --out") from error
    return Evaluated(record, path.parent, ground)


def slug(name: str) -> str:
    """A file name for a model's name: lower-case letters, digits and dashes, at most 60 of them.

    >>> slug("Small CNN (specimen)"), slug("../..")
    ('small-cnn-specimen', 'model')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "model"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
