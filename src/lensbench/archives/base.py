"""What every archive format shares: limits, the checks on member names and sizes, and windows on open files.

An archive is hostile until shown otherwise. A `Tally` sees every member's name and declared size before a
byte of it is read; readers then enforce those sizes on the bytes themselves.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from lensbench.archives.names import Listing, Member, Names
from lensbench.errors import ArchiveError
from lensbench.progress import megabytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
Order = Literal["archive", "given"]


@dataclass(frozen=True)
class Limits:
    """What an honest dataset stays below; sizes in bytes.

    `ratio` (uncompressed : compressed) counts for members above `ratio_from`. `directory` bounds a zip's
    table of contents and, with it, the memory that listing may take.
    """

    total: int = 64 << 30
    member: int = 2 << 30
    ratio: int = 1000
    ratio_from: int = 1 << 20
    members: int = 5_000_000
    directory: int = 256 << 20


@dataclass(frozen=True)
class Context:
    """What an archive hands on to the archives inside it."""

    label: str
    limits: Limits
    note: Callable[[str], None]
    scratch: Path
    """Folder for scratch files; they are unlinked at birth, so nothing is left there whatever happens."""
    open: Callable[[Window, Context], Archive]

    def inside(self, name: str) -> Context:
        """The context of member `name`, itself an archive."""
        return replace(self, label=f"{self.label}!{name}")


def safe_name(raw: str, label: str) -> str:
    r"""`raw` as a relative POSIX path, or an `ArchiveError` naming the archive `label`.

    Backslashes become slashes, ``.`` and empty components go; an absolute path, a drive letter, ``..``, NUL
    and text that is not Unicode are refused.

    >>> safe_name(".\\images\\a.jpg", "x.zip")
    'images/a.jpg'
    """
    name = raw.replace("\\", "/")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ArchiveError(f"{label}: member name {raw!r} is not text; refused") from None
    plain = name and name[0] not in "/." and name[-1] != "/" and name[1:2] != ":"
    if plain and "//" not in name and "/." not in name and "\0" not in name:
        return name  # nearly all of hundreds of thousands
    parts = [part for part in name.split("/") if part not in ("", ".")]
    inside = "/".join(parts)
    escapes = name.startswith("/") or re.match("[A-Za-z]:", inside) or ".." in parts or "\0" in name
    if escapes or not parts:
        raise ArchiveError(f"{label}: member name {raw!r} leaves the archive's folder; refused")
    return inside


class Tally:
    """Counts an archive's members as they are listed; refuses what breaks a limit."""

    def __init__(self, context: Context) -> None:
        self._label = context.label
        self._limits = context.limits
        self.members = 0
        self.total = 0

    def add(self, raw: str, size: int, compressed: int | None) -> str:
        """Admit a regular file of `size` declared bytes; returns its normalised name."""
        name = safe_name(raw, self._label)
        self.members += 1
        self.total += size
        limits = self._limits
        if size < 0 or size > limits.member:
            self._refuse(f"member {name!r} declares {size} bytes, limit {limits.member}")
        if self.total > limits.total:
            self._refuse(f"the members up to {name!r} unpack to {self.total} bytes, limit {limits.total}")
        if self.members > limits.members:
            self._refuse(f"more than {limits.members} members")
        if compressed is not None and size > limits.ratio_from and size > limits.ratio * compressed:
            self._refuse(f"member {name!r} unpacks {compressed} bytes to {size}, limit 1:{limits.ratio}")
        return name

    def _refuse(self, what: str) -> None:
        raise ArchiveError(f"{self._label}: {what}; refused as an absurd size")


class Window(io.RawIOBase):
    """A read-only, seekable view of `length` bytes of a file from `start` on.

    It owns its descriptor (pass a duplicate). `pread` keeps no position, so threads may share a window.
    """

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._start = start
        self._position = 0
        self.length = length

    @classmethod
    def of(cls, path: Path) -> Window:
        """The whole of the regular file `path`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return cls(descriptor, 0, os.fstat(descriptor).st_size)

    def view(self, start: int, length: int) -> Window:
        """A window on part of this one, with a life of its own."""
        return Window(os.dup(self._descriptor), self._start + start, length)

    def pread(self, size: int, at: int) -> bytes:
        """Up to `size` bytes from offset `at`; fewer only where the window (or a truncated file) ends."""
        size = max(0, min(size, self.length - at))
        data = os.pread(self._descriptor, size, self._start + at)
        while len(data) < size:  # the kernel hands out at most 2 GiB at once
            more = os.pread(self._descriptor, size - len(data), self._start + at + len(data))
            if not more:
                break
            data += more
        return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` from the current position; returns the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.pread(len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, as `io.IOBase.seek`."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        if origin + offset < 0:
            raise OSError(errno.EINVAL, "seek before the beginning")
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        if not self.closed:
            os.close(self._descriptor)
            self._descriptor = -1  # never read a stranger's file that got the same number
        super().close()


class Scratch:
    """An unlinked file of known size, filled at given offsets and then read through a `Window`."""

    def __init__(self, size: int, context: Context) -> None:
        self._folder = context.scratch
        self._label = context.label
        self._size = size
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise self._full(f"{megabytes(free)} are free")
        self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (closed by `close`)

    def write(self, data: bytes | memoryview, at: int) -> None:
        """Put `data` at offset `at`."""
        try:
            while data:
                written = os.pwrite(self._file.fileno(), data, at)
                data, at = memoryview(data)[written:], at + written
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise self._full(os.strerror(error.errno)) from error
            raise

    def window(self) -> Window:
        """A window on all of it; the file lives as long as the window."""
        return Window(os.dup(self._file.fileno()), 0, self._size)

    def close(self) -> None:
        """Let go; without a window the bytes are gone."""
        self._file.close()

    def _full(self, why: str) -> ArchiveError:
        return ArchiveError(
            f"{self._label}: unpacking needs {megabytes(self._size)} of scratch space in {self._folder}, "
            f"but {why}; free some, or set LENSBENCH_HOME to a larger disk"
        )


class Archive(ABC):
    """Read access to the regular files of an archive; a context manager.

    Errors are `ArchiveError`s naming the archive and, where one is at fault, the member.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def label(self) -> str:
        """The archive in messages: its path, then ``!member`` for each level inside."""
        return self._context.label

    @abstractmethod
    def members(self) -> Sequence[Member]:
        """All regular files, in the order of the archive's own directory."""

    @abstractmethod
    def names(self) -> Names:
        """The names of `members`, numbered in their order; their `column` is an Arrow array."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of one member, whole and checked."""

    @abstractmethod
    def read_numbers(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """Lazily, (name, bytes) of the members with those numbers in `names`; IndexError for one not there."""

    @abstractmethod
    def _walk(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        """Lazily, in archive order, the members in `wanted` (None: all)."""

    @abstractmethod
    def _in_place(self, name: str) -> Window | None:
        """A window on the member's bytes as they lie on disk; None where they are compressed."""

    @abstractmethod
    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        """The member's size, and its bytes in pieces."""

    @property
    def sequential(self) -> bool:
        """Whether reading one member means reading all before it."""
        return False

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one member in pieces, checked when the last one has come; a long one is never in memory."""
        return self._chunks(name)[1]

    def iter(self, names: Iterable[str] | None = None, *, order: Order = "archive") -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) lazily: the first item comes before the last member is read.

        `names`: only these (None: all); an unknown one is an error. `order`: ``"archive"``, the order in
        which they lie there, or ``"given"``, the order of `names`, for formats with random access.
        """
        if order == "given" and names is not None:
            return ((name, self.read(name)) for name in names)
        return self._walk(None if names is None else frozenset(names))

    def nested(self, name: str) -> Archive:
        """Open member `name`, itself an archive: in place where it is stored, else through a scratch file."""
        inner = self._context.inside(name)
        window = self._in_place(name)
        if window is None:
            size, chunks = self._chunks(name)
            inner.note(f"{name} is compressed inside {self.label}: unpacking {megabytes(size)} to a scratch file")
            scratch = Scratch(size, inner)
            try:
                at = 0
                for chunk in chunks:
                    scratch.write(chunk, at)
                    at += len(chunk)
                window = scratch.window()
            finally:
                scratch.close()
        return inner.open(window, inner)

    @abstractmethod
    def close(self) -> None:
        """Release files and scratch space."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _unknown(self, name: str) -> ArchiveError:
        return ArchiveError(f"{self.label}: no member {name!r}")

    def _truncated(self, name: str) -> ArchiveError:
        return ArchiveError(f"{self.label}: member {name!r} is truncated")


class IndexedArchive(Archive):
    """An archive with a directory of its own: by member number, a name, a size, and where the bytes are."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._names = Names.of((), context.label)
        self._sizes: NDArray[np.int64] = np.empty(0, np.int64)

    @abstractmethod
    def _fetch(self, number: int) -> bytes:
        """The checked bytes of one member."""

    def _number(self, name: str) -> int:
        number = self._names.find(name)
        if number is None:
            raise self._unknown(name)
        return number

    def members(self) -> Sequence[Member]:
        """All regular files, in the order of the archive's own directory."""
        return Listing(self._names, self._sizes)

    def names(self) -> Names:
        """Their names."""
        return self._names

    def read(self, name: str) -> bytes:
        """The bytes of one member, whole and checked."""
        return self._fetch(self._number(name))

    def read_numbers(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of some members, whole and checked."""
        return ((name, self._fetch(number)) for number, name in zip(numbers, self._names.at(numbers), strict=True))

    def _walk(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        if wanted is None:
            return ((name, self._fetch(number)) for number, name in enumerate(self._names))
        numbers = sorted(self._number(name) for name in sorted(wanted))  # the first unknown name is the one named
        return ((self._names[number], self._fetch(number)) for number in numbers)

    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        number = self._number(name)
        return int(self._sizes[number]), iter([self._fetch(number)])
