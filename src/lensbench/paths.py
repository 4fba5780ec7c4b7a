"""Where things lie on disk, and how a file is written so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """The cache folder: ``LENSBENCH_HOME``, else ``~/.cache/lensbench`` (never Hugging Face's default cache)."""
    return Path(os.environ.get("LENSBENCH_HOME") or Path.home() / ".cache" / "lensbench")


def shipped(folder: str) -> Path:
    """`folder` (``registry`` or ``benchmarks``) as a checkout has it at its root, else as the wheel carries it."""
    checkout = PACKAGE.parent.parent / folder
    return checkout if (PACKAGE.parent.parent / "pyproject.toml").is_file() else PACKAGE / "_data" / folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes when it does not.

    >>> with atomic(Path("/tmp/lensbench-doctest.txt")) as part:
    ...     _ = part.write_text("whole")
    >>> Path("/tmp/lensbench-doctest.txt").read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # mkstemp's 0600 would hide a shared cache from its other readers
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with LF endings, whole or not at all."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
