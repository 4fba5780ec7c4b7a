"""`Leaderboard`: built from records, taken as a table, written as README.md, board.csv and index.html."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lensbench.benchmark import Benchmark, get_benchmark
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
        cls, benchmark: Benchmark, records: Iterable[tuple[str, Record]], refused: Iterable[Refused] = ()
    ) -> Leaderboard:
        """The board of `records`, given as (name of its file, record) in any order."""
        return cls(**vars(stand(benchmark, records, refused)))

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

    def write(self, folder: Path) -> Path:
        """Write README.md, board.csv and index.html into `folder`, each whole or not at all; the page."""
        texts = {"README.md": markdown_text(self), "board.csv": csv_text(self), "index.html": page_text(self)}
        for name, text in texts.items():
            write_text(folder / name, text)
        return folder / "index.html"


def read_board(benchmark: Benchmark | str, folder: Path, extra: Sequence[Path] = ()) -> Leaderboard:
    """The board of the records stored in `folder`/<slug>/records/ and of the runs or record files in `extra`.

    A stored file that is not a sound record is listed as refused and the others go on; one named in `extra`
    that cannot be read raises RecordError, because somebody asked for just that one. `benchmark` may be its name.
    """
    benchmark = get_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    records: list[tuple[str, Record]] = []
    refused: list[Refused] = []
    for path in sorted((folder / benchmark.slug / RECORDS).glob("*.json")):
        try:
            records.append((path.name, _read(path)))
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            refused.append(Refused(clean(path.name, 200), clean(reason, 300)))
    for named in extra:
        path = named / RECORD if named.is_dir() else named
        # a page names no path of this machine: the run's own folder is enough to find it again
        records.append((path.resolve().parent.name if path.name == RECORD else path.name, _read(path)))
    return Leaderboard.build(benchmark, records, refused)


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
