"""Where things lie on disk, and how a file is written so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lensbench.errors import LensbenchError

PACKAGE = Path(__file__).resolve().parent


def named(variable: str) -> Path | None:
    """The path that an environment variable names, its ``~`` expanded; None where it names none."""
    text = os.environ.get(variable)
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError as error:  # a user who does not exist
        raise LensbenchError(f"{variable}={text!r} cannot be expanded ({error})") from error


def home() -> Path:
    """The cache folder: ``LENSBENCH_HOME``, else ``~/.cache/lensbench`` (never Hugging Face's default cache).

    Raises LensbenchError for one whose letters are none in this locale: pyarrow opens no file by such a name.
    """
    folder = named("LENSBENCH_HOME") or Path.home() / ".cache" / "lensbench"
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise LensbenchError(
            f"the cache folder {str(folder)!a} holds bytes that are no text in this locale: set PYTHONUTF8=1, or name "
            "another with LENSBENCH_HOME"
        ) from error
    return folder


def shipped(folder: str) -> Path:
    """`folder` (``registry`` or ``benchmarks``) as a checkout has it at its root, else as the wheel carries it."""
    checkout = PACKAGE.parent.parent / folder
    return checkout if (PACKAGE.parent.parent / "pyproject.toml").is_file() else PACKAGE / "_data" / folder


def read_regular(path: Path, most: int = 4_000_000) -> bytes:
    """The bytes of a regular file, of a larger one the first ``most + 1``; OSError for anything else.

    A FIFO would be waited for, and a device read, without end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with path.open("rb") as file:
        return file.read(most + 1)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block that names no file, as a full disk's at a write, `path` to name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


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
        with naming(path):
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
