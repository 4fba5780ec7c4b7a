"""`Leaderboard`: built from records, taken as a table, written as README.md, board.csv and index.html."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench.benchmark import Benchmark, get_benchmark, tier_names
from lensbench.errors import RecordError
from lensbench.leaderboard.escape import clean
from lensbench.leaderboard.markdown import markdown_text
from lensbench.leaderboard.page import page_text
from lensbench.leaderboard.standing import Refused, Standing, stand
from lensbench.leaderboard.table import WHOLE, csv_text, header, rows
from lensbench.paths import write_text
from lensbench.record import Record, read_record

if TYPE_CHECKING:
    import pandas as pd

RECORDS = "records"
RECORD = "record.json"


@dataclass(frozen=True)
class Leaderboard(Standing):
    """The board of one benchmark digest: a pure function of the benchmark and the records' `result` parts."""

    @classmethod
    def build(
        cls,
        benchmark: Benchmark,
        records: Iterable[tuple[str, Record]],
        refused: Iterable[Refused] = (),
        tiers: Iterable[Standing] = (),
    ) -> Leaderboard:
        """The board of `records`, given as (name of its file, record) in any order, shown with `tiers`."""
        return cls(**{**vars(stand(benchmark, records, refused)), "tiers": tuple(tiers)})

    def to_pandas(self) -> pd.DataFrame:
        """One row a record (status ``ranked``, then ``apart``), then the ``reference`` rows.

        Columns ``rank``, ``model``, ``status``, then ``<metric>``, ``<metric>_low``, ``<metric>_high`` for
        every metric of the benchmark (float64, NaN where unknown), then what else is known of the model.
        Counts and ranks are nullable Int64.
        """
        import pandas as pd

        names = header(self)
        table = pd.DataFrame.from_records(rows(self), columns=names)
        metrics = [f"{column.id}{end}" for column in self.columns for end in ("", "_low", "_high")]
        kinds = dict.fromkeys(metrics, "float64") | dict.fromkeys(WHOLE, "Int64") | {"overlaps_first": "boolean"}
        return table.astype(kinds)

    def write(self, folder: Path, linked: bool = False) -> Path:
        """Write README.md, board.csv and index.html into `folder`, each whole or not at all; the page.

        `linked`: the boards of its family lie beside `folder`, by their slugs.
        """
        texts = {
            "README.md": markdown_text(self, linked),
            "board.csv": csv_text(self),
            "index.html": page_text(self, linked),
        }
        for name, text in texts.items():
            write_text(folder / name, text)
        return folder / "index.html"

    def write_family(self, leaderboards: Path) -> list[Path]:
        """Write it and the boards of its tiers where their records lie; the pages."""
        boards = [self, *(Leaderboard(**vars(tier)) for tier in self.tiers)]
        return [board.write(leaderboards / board.benchmark.slug, linked=True) for board in boards]


def read_board(benchmark: Benchmark | str, folder: str | Path, extra: Sequence[str | Path] = ()) -> Leaderboard:
    """The board of the records stored in `folder`/<slug>/records/ and of the runs or record files in `extra`.

    Of a benchmark with tiers it holds theirs too; what in `extra` is of a tier's digest stands there.
    A stored file that is not a sound record is listed as refused and the others go on; one named in `extra`
    that cannot be read raises RecordError, because somebody asked for just that one. `benchmark` may be its name.
    """
    benchmark = get_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    folder, named = Path(folder), [_named(Path(path)) for path in extra]
    tiers = [get_benchmark(name, benchmark.config) for name in tier_names(benchmark.name)]
    theirs = [tier.digest for tier in tiers]
    own = [given for given in named if _digest(given[1]) not in theirs]
    return Leaderboard.build(
        benchmark,
        *_stored(benchmark, folder, own),
        [stand(tier, *_stored(tier, folder, [g for g in named if _digest(g[1]) == tier.digest])) for tier in tiers],
    )


def _stored(
    benchmark: Benchmark, folder: Path, named: Sequence[tuple[str, Record]]
) -> tuple[list[tuple[str, Record]], list[Refused]]:
    """The sound records among the stored ones, then those `named`; and the files that hold none."""
    records: list[tuple[str, Record]] = []
    refused: list[Refused] = []
    for path in sorted((folder / benchmark.slug / RECORDS).glob("*.json")):
        try:
            records.append((path.name, _read(path)))
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            refused.append(Refused(clean(path.name, 200), clean(reason, 300)))
    return [*records, *named], refused


def _named(path: Path) -> tuple[str, Record]:
    path = path / RECORD if path.is_dir() else path
    # a page names no path of this machine: the run's own folder is enough to find it again
    return path.resolve().parent.name if path.name == RECORD else path.name, _read(path)


def _digest(record: Record) -> Any:
    return record.result["digests"].get("benchmark")


def _read(path: Path) -> Record:
    if not path.exists():
        raise RecordError(f"{path}: no such record; `bench eval` writes one into its run folder")
    if not path.is_file():  # a pipe would keep the board waiting for ever
        raise RecordError(f"{path}: not a regular file")
    try:
        return read_record(path)
    except (ValueError, RecursionError) as error:
        # values that JSON can spell and a record cannot hold: lone surrogates, numbers past a double
        raise RecordError(f"{path}: not a record: {type(error).__name__}") from error
