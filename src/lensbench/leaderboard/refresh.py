"""Evaluate the submissions that are not scored yet, keep their records, rebuild the boards.

One that fails is named and the others go on: a folder of strangers' files never stops the maintainer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lensbench.benchmark import Benchmark, benchmark_names, get_benchmark, tier_names
from lensbench.digest import sha256_file
from lensbench.errors import LensbenchError, ModelError, RecordError
from lensbench.evaluation import Evaluated, evaluate, evaluate_predictions
from lensbench.leaderboard.board import read_board
from lensbench.models.card import Card, read_card
from lensbench.models.function import declared_function
from lensbench.paths import atomic
from lensbench.record import read_record, write_record
from lensbench.registry import SPECIMEN
from lensbench.sources import Progress

SUBMISSIONS = "submissions"


@dataclass(frozen=True)
class Outcome:
    """What became of a submission on one benchmark: `state` is scored, known or failed; `text` says it in a line."""

    name: str
    state: str
    text: str


def refresh(
    leaderboards: Path,
    runs: Path,
    *,
    only: Sequence[str] = (),
    config: str | None = None,
    tiers: bool = True,
    progress: Callable[[], Progress] | None = None,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Score every `submissions/<name>/` (or those in `only`) that has no record of its model on its benchmark's digest.

    A model is scored on the benchmark that it names and, unless `tiers` is false, on those that are tiers of it;
    predictions are of the named one alone. `config` replaces the dataset config that their `model.toml` names:
    ``specimen`` scores them all without an archive. `tell` is called with each outcome as it comes. Boards are not
    rebuilt here: see `rebuild`.
    """
    outcomes = []
    for folder in _folders(leaderboards, only):
        for outcome in _outcomes(folder, config, tiers, leaderboards, runs, progress):
            tell(outcome)
            outcomes.append(outcome)
    return outcomes


def rebuild(leaderboards: Path) -> list[Path]:
    """Write every board that has records or published references; returns the pages."""
    return [
        read_board(spec, leaderboards).write(leaderboards / spec.slug, linked=True) for spec in _boards(leaderboards)
    ]


def _folders(leaderboards: Path, only: Sequence[str]) -> list[Path]:
    root = leaderboards / SUBMISSIONS
    found = sorted(path for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
    unknown = sorted(set(only) - {path.name for path in found})
    if unknown:
        raise ModelError(f"{root} holds no submission {unknown[0]!r}")
    return [path for path in found if not only or path.name in only]


def _outcomes(
    folder: Path,
    config: str | None,
    tiers: bool,
    leaderboards: Path,
    runs: Path,
    progress: Callable[[], Progress] | None,
) -> Iterator[Outcome]:
    """One for each benchmark that it is scored on; one that fails, and why, does not stop the others."""

    def tried(name: str) -> Outcome:
        try:
            return _one(given, get_benchmark(name, config or given.card.config), leaderboards, runs, progress)
        except Exception as error:
            told = "" if name == given.benchmark else f"{name}: "
            return Outcome(folder.name, "failed", told + _words(error))

    try:
        given = _submission(folder)
    except Exception as error:
        yield Outcome(folder.name, "failed", _words(error))
        return
    yield tried(given.benchmark)
    try:
        names = tier_names(given.benchmark) if tiers and given.is_model else []
    except LensbenchError as error:
        yield Outcome(folder.name, "failed", f"tiers of {given.benchmark}: {error}")
        return
    yield from map(tried, names)


def _words(error: Exception) -> str:
    """What went wrong: one stranger's file never stops the others; where it shows a bug, that is named."""
    if isinstance(error, LensbenchError):
        return str(error)
    return f"{type(error).__name__}: {error} (a bug: please report it)"


@dataclass(frozen=True)
class _Submission:
    """A folder of `submissions/`, looked into."""

    name: str
    benchmark: str
    """The one that it names."""
    card: Card
    file: Path
    sha256: str

    @property
    def is_model(self) -> bool:
        """Whether it can be asked again, as prediction files cannot."""
        return bool(self.card.function) or self.file.suffix.lower() == ".onnx"


def _submission(folder: Path) -> _Submission:
    if (folder / "model.toml").is_symlink():
        raise ModelError(f"{folder / 'model.toml'}: a link; put the file itself there")
    card = read_card(folder / "model.toml")
    if card.benchmark is None:
        raise ModelError(f'{folder / "model.toml"}: names no benchmark; add benchmark = "…"')
    file = folder / (card.file or "model.onnx")
    if folder.is_symlink() or file.is_symlink() or not (card.function or file.is_file()):
        raise ModelError(f"{file}: no such file; model.toml names the model or prediction file in `file`")
    sha256 = declared_function(card).sha256 if card.function else sha256_file(file)
    return _Submission(folder.name, card.benchmark, card, file, sha256)


def _one(
    given: _Submission, spec: Benchmark, leaderboards: Path, runs: Path, progress: Callable[[], Progress] | None
) -> Outcome:
    record = leaderboards / spec.slug / "records" / f"{given.name}.json"
    if _scored(record, spec, given.sha256, given.card):
        return Outcome(given.name, "known", f"already on {spec.slug}")
    done = _score(given, spec, runs / spec.slug / f"submission-{given.name}", progress)
    predictions = done.folder / "predictions.parquet"
    target = leaderboards / spec.slug / "predictions" / f"{given.name}.parquet"
    if predictions.is_file():
        with atomic(target) as part:
            shutil.copyfile(predictions, part)
    else:
        target.unlink(missing_ok=True)  # never those of an earlier submission under this name
    write_record(done.record, record)
    value = done.record.value(spec.headline)
    shown = "–" if value is None else f"{value:.4f}"
    return Outcome(given.name, "scored", f"{spec.headline} {shown} on {spec.slug}")


def _score(given: _Submission, spec: Benchmark, out: Path, progress: Callable[[], Progress] | None) -> Evaluated:
    card, file = given.card, given.file
    if given.is_model:
        return evaluate(
            file.parent if card.function else file, spec, out=out, progress=progress() if progress else None
        )
    done = evaluate_predictions(file, spec, card=card, out=out)
    if file.suffix.lower() == ".parquet" and spec.task == "classification":  # masks are stored by every run
        with atomic(out / "predictions.parquet") as part:
            shutil.copyfile(file, part)
    return done


def _scored(record: Path, spec: Benchmark, sha256: str, card: Card) -> bool:
    """Whether the stored record is of the file with this digest, as it is declared now, on this benchmark."""
    try:
        digests = read_record(record).result["digests"] if record.is_file() else {}
    except RecordError:
        return False  # damaged: score again
    now = {"benchmark": spec.digest, "model": sha256, "declared": card.digest}
    return {key: digests.get(key) for key in now} == now


def _boards(leaderboards: Path) -> Iterable[Benchmark]:
    for name in benchmark_names():
        spec = get_benchmark(name)
        if spec.references or (leaderboards / spec.slug / "records").is_dir():
            yield spec
        if (leaderboards / f"{name}-{SPECIMEN}" / "records").is_dir():
            yield get_benchmark(name, SPECIMEN)
