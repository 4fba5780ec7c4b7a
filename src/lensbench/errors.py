"""What goes wrong because of the input, in one line that says what, where and how to mend it.

The command line prints a `LensbenchError` as one line and exits with 2; anything else that escapes is our bug
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LensbenchError(Exception):
    """A user's mistake or an unfit input: one clear line, exit code 2."""


class SourceError(LensbenchError):
    """Bytes that could not be fetched, or are not the bytes that were published."""


class ArchiveError(LensbenchError):
    """An archive that is damaged, hostile or not laid out as its publisher does."""


class DatasetError(LensbenchError):
    """A dataset, version, config or split that does not exist, or is not what its registry entry says."""


class BenchmarkError(LensbenchError):
    """A benchmark specification that is unknown or not valid."""


class ModelError(LensbenchError):
    """A model or prediction file that does not fit the benchmark's contract."""


class RecordError(LensbenchError):
    """A result record that is damaged or does not belong where it was put."""


class FrameError(LensbenchError):
    """A raw frame, or a camera's description, that cannot be developed."""


class ViewError(LensbenchError):
    """A view, or a tier of views, that is unknown or not valid."""


class LensbenchWarning(UserWarning):
    """Something true and worth knowing that does not stop the work."""


def printable(text: str) -> str:
    """`text` without control characters but line ends: a stranger's name must not steer the terminal.

    >>> printable("a\\x1b[31mb")
    'a\ufffd[31mb'
    """
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: ``; did you mean 'x'? known: x, y``.

    >>> nearest("lifewatch", ["lifewatch_flowcam", "raw_drone"])
    "; did you mean 'lifewatch_flowcam'? known: lifewatch_flowcam, raw_drone"
    >>> nearest("RAW_DRONE", ["lifewatch_flowcam", "raw_drone"])
    "; did you mean 'raw_drone'? known: lifewatch_flowcam, raw_drone"
    """
    names = sorted(known)
    lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f"; did you mean {lower[close[0]]!r}?" if close else ";"
    return f"{hint} known: {', '.join(names) or 'none'}"
