"""7z, and a folder that somebody has unpacked already."""

from __future__ import annotations

import io
import os
import stat
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.archives.base import (
    Context,
    IndexedArchive,
    Scratch,
    Tally,
    Window,
    safe_name,
)
from lensbench.archives.names import Names
from lensbench.errors import ArchiveError
from lensbench.progress import megabytes


class FolderArchive(IndexedArchive):
    """A folder as an archive: its regular files by path. Linked files count, linked folders are refused."""

    def __init__(self, folder: Path, context: Context) -> None:
        super().__init__(context)
        self._folder = folder
        tally = Tally(context)
        found: list[tuple[str, int, str]] = []
        for top, folders, files in os.walk(folder, onerror=self._unreadable):
            linked = next((name for name in folders if Path(top, name).is_symlink()), None)
            if linked:
                raise ArchiveError(f"{self.label}: {Path(top, linked)} is a link to a folder; copy the real one here")
            inside = Path(top).relative_to(folder).as_posix()
            for file in files:
                raw = file if inside == "." else f"{inside}/{file}"
                name, size = self._admit(Path(top, file), raw, tally)
                found.append((name, size, raw))
        found.sort()
        self._names = Names.of((name for name, _, _ in found), self.label)
        self._sizes = np.array([size for _, size, _ in found], np.int64)
        self._raw = {number: raw for number, (name, _, raw) in enumerate(found) if raw != name}

    def _admit(self, path: Path, raw: str, tally: Tally) -> tuple[str, int]:
        try:
            state = path.stat()
        except OSError as error:
            raise ArchiveError(f"{self.label}: {raw!r} cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(state.st_mode):
            raise ArchiveError(f"{self.label}: {raw!r} is not a regular file")
        return tally.add(raw, state.st_size, None), state.st_size

    def _path(self, number: int) -> Path:
        return self._folder / (self._raw.get(number) or self._names[number])

    def _unreadable(self, error: OSError) -> None:
        raise ArchiveError(f"{self.label}: {error.filename} cannot be read ({error.strerror})") from error

    def close(self) -> None:
        """Nothing is held."""

    def _fetch(self, number: int) -> bytes:
        try:
            data = self._path(number).read_bytes()
        except OSError as error:
            raise self._unopened(number, error) from error
        if len(data) != self._sizes[number]:
            raise ArchiveError(f"{self.label}: {self._names[number]!r} has changed while it was being read")
        return data

    def _in_place(self, name: str) -> Window | None:
        number = self._number(name)
        try:
            return Window.of(self._path(number))
        except OSError as error:
            raise self._unopened(number, error) from error

    def _unopened(self, number: int, error: OSError) -> ArchiveError:
        return ArchiveError(f"{self.label}: {self._names[number]!r} cannot be read ({error.strerror})")


class SevenZipArchive(IndexedArchive):
    """A 7z archive, unpacked once into one unlinked scratch file (its members are compressed together)."""

    def __init__(self, window: Window, context: Context) -> None:
        super().__init__(context)
        try:
            import py7zr
        except ImportError:
            raise ArchiveError(f'{self.label}: reading 7z needs py7zr: pip install "lensbench[formats]"') from None
        self._window: Window | None = None
        try:
            with window, py7zr.SevenZipFile(io.BufferedReader(window)) as archive:
                self._list(archive, window.length)
                self._unpack(archive)
        except ArchiveError:
            raise
        except Exception as error:  # py7zr answers damage with whatever its parser trips over
            what = str(error) or type(error).__name__
            raise ArchiveError(f"{self.label}: truncated, damaged or not a 7z archive ({what})") from error

    def _list(self, archive: Any, packed: int) -> None:
        if archive.needs_password():
            raise ArchiveError(f"{self.label}: is encrypted; unpack it and give the folder")
        tally, sizes = Tally(self._context), array("q")
        self._names = Names.of(self._admit(archive, packed, tally, sizes), self.label)
        self._sizes = np.frombuffer(sizes, np.int64)
        self._starts = self._sizes.cumsum() - self._sizes
        limits = self._context.limits
        if tally.total > max(limits.ratio_from, limits.ratio * packed):
            raise ArchiveError(f"{self.label}: unpacks {packed} bytes to {tally.total}; refused as an absurd size")

    def _admit(self, archive: Any, packed: int, tally: Tally, sizes: array[int]) -> Iterator[str]:
        """The names of the regular files; their sizes go to `sizes`."""
        for info in archive.list():
            if info.is_directory:
                continue
            if not info.is_file or info.is_symlink:
                raise ArchiveError(f"{self.label}: member {info.filename!r} is a link or a device; refused")
            name = tally.add(info.filename, info.uncompressed, packed)
            sizes.append(info.uncompressed)
            yield name

    def _unpack(self, archive: Any) -> None:
        size = int(self._sizes.sum())
        self._context.note(f"{self.label}: unpacking {megabytes(size)} to a scratch file")
        scratch = Scratch(size, self._context)
        try:
            written = _unpack_7z(archive, self._names, self._sizes, self._starts, scratch)
            short = np.flatnonzero(written != self._sizes)
            if len(short):
                raise self._truncated(self._names[int(short[0])])
            self._window = scratch.window()
        finally:
            scratch.close()

    def close(self) -> None:
        """Release the scratch file, and with it its space."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _fetch(self, number: int) -> bytes:
        if self._window is None:
            raise ArchiveError(f"{self.label}: is closed")
        size = int(self._sizes[number])
        data = self._window.pread(size, int(self._starts[number]))
        if len(data) != size:
            raise self._truncated(self._names[number])
        return data

    def _in_place(self, name: str) -> Window | None:
        number = self._number(name)
        if self._window is None:
            raise ArchiveError(f"{self.label}: is closed")
        return self._window.view(int(self._starts[number]), int(self._sizes[number]))


def _unpack_7z(
    archive: Any, names: Names, sizes: NDArray[np.int64], starts: NDArray[np.int64], scratch: Scratch
) -> NDArray[np.int64]:
    """Let py7zr write every member to its own region of `scratch`; returns the bytes written by number.

    Through a writer factory no name from the archive ever reaches the file system.
    """
    from py7zr.io import Py7zIO, WriterFactory

    written = np.zeros(len(names), np.int64)

    class Region(Py7zIO):
        def __init__(self, number: int) -> None:
            self._number = number
            self._start, self._room, self._done = int(starts[number]), int(sizes[number]), 0

        def write(self, s: bytes | bytearray) -> int:
            if self._done + len(s) > self._room:
                raise ArchiveError(f"member {names[self._number]!r} unpacks to more than it declares")
            scratch.write(bytes(s), self._start + self._done)
            self._done += len(s)
            written[self._number] = self._done
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            raise io.UnsupportedOperation("a region is only written")

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self._done

    class Regions(WriterFactory):
        def create(self, filename: str) -> Region:
            number = names.find(safe_name(filename, "7z"))
            if number is None:
                raise ArchiveError(f"member {filename!r} is not in the directory")
            return Region(number)

    archive.extractall(factory=Regions())
    return written
