"""How long work shows itself: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

EVERY = 5.0
"""Seconds between two lines of a plain log."""

Unit = Literal["bytes", "images"]


class Progress(Protocol):
    """What work tells of itself. Totals and steps are in one unit; `advance` may be called from many threads."""

    def start(self, name: str, total: int | None, done: int) -> None:
        """Begin `name`, of which `done` of `total` (None: unknown) are there already."""

    def advance(self, n: int) -> None:
        """`n` more are done."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def finish(self) -> None:
        """The work that was started is over."""


def default_progress(unit: Unit = "bytes") -> Progress:
    """A bar where standard error is a terminal, a plain log where it is not."""
    return RichProgress(unit) if sys.stderr.isatty() else PlainProgress(unit=unit)


def megabytes(size: float) -> str:
    """`size` bytes in words.

    >>> megabytes(555_000_000), megabytes(1_500)
    ('555.0 MB', '1.5 kB')
    """
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


def rate_text(rate: float) -> str:
    """A rate to two digits at least: a network that takes seconds an image has one, too.

    >>> rate_text(1234.5), rate_text(0.4321)
    ('1,234', '0.43')
    """
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


class Quiet:
    """Says nothing."""

    def start(self, name: str, total: int | None, done: int) -> None:
        """As `Progress.start`."""

    def advance(self, n: int) -> None:
        """As `Progress.advance`."""

    def note(self, text: str) -> None:
        """As `Progress.note`."""

    def finish(self) -> None:
        """As `Progress.finish`."""


class PlainProgress:
    """A line on standard error at most every few seconds, and every note."""

    def __init__(self, stream: IO[str] | None = None, every: float = EVERY, unit: Unit = "bytes") -> None:
        self._unit = unit
        self._stream = stream or sys.stderr
        self._every = every
        self._lock = threading.Lock()
        self._name, self._done, self._begin = "", 0, 0
        self._total: int | None = None
        self._started = self._said = time.monotonic()

    def start(self, name: str, total: int | None, done: int) -> None:
        """As `Progress.start`."""
        self._name, self._total, self._done, self._begin = name, total, done, done
        self._started = self._said = time.monotonic()
        size = "unknown size" if total is None else self._amount(total)
        verb = "fetching " if self._unit == "bytes" else ""
        self.note(f"{verb}{name} ({size})" + (f", {self._amount(done)} here already" if done else ""))

    def advance(self, n: int) -> None:
        """As `Progress.advance`."""
        with self._lock:
            self._done += n
            now = time.monotonic()
            if now - self._said < self._every:
                return
            self._said = now
        rate = (self._done - self._begin) / max(now - self._started, 1e-9)
        text = f"{self._name}: {self._amount(self._done)}, {self._rate(rate)}/s"
        if self._total:
            left = (self._total - self._done) / max(rate, 1e-9)
            text += f", {100 * self._done // self._total} %, {left:,.0f} s left"
        self.note(text)

    def _amount(self, n: float) -> str:
        return megabytes(n) if self._unit == "bytes" else f"{n:,.0f} images"

    def _rate(self, n: float) -> str:
        return megabytes(n) if self._unit == "bytes" else f"{rate_text(n)} images"

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        print(text, file=self._stream, flush=True)

    def finish(self) -> None:
        """As `Progress.finish`."""


class RichProgress:
    """A bar with amount, rate and time left; notes scroll above it."""

    def __init__(self, unit: Unit = "bytes") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *_amount_columns(unit),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task: TaskID | None = None

    def start(self, name: str, total: int | None, done: int) -> None:
        """As `Progress.start`."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._bar.start()
        self._task = self._bar.add_task(name, total=total, completed=done)

    def advance(self, n: int) -> None:
        """As `Progress.advance`."""
        if self._task is not None:
            self._bar.advance(self._task, n)

    def note(self, text: str) -> None:
        """As `Progress.note`."""
        self._console.print(text, markup=False, highlight=False)

    def finish(self) -> None:
        """As `Progress.finish`."""
        self._bar.stop()


def _amount_columns(unit: Unit) -> list[ProgressColumn]:
    from rich.progress import DownloadColumn, MofNCompleteColumn, ProgressColumn, Task, TransferSpeedColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Images per second."""

        def render(self, task: Task) -> Text:
            """The rate so far, empty before there is one."""
            return Text(f"{rate_text(task.speed)} images/s" if task.speed else "", style="progress.data.speed")

    if unit == "bytes":
        return [DownloadColumn(), TransferSpeedColumn()]
    return [MofNCompleteColumn(), Rate()]
