"""The other formats: tar (plain or compressed), 7z, and a folder that somebody has unpacked already."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lensbench.archives.base import (
    CHUNK,
    Archive,
    Context,
    IndexedArchive,
    Limits,
    Member,
    Order,
    Scratch,
    Tally,
    Window,
    safe_name,
)
from lensbench.errors import ArchiveError
from lensbench.progress import megabytes

BLOCK = 512
HEADER_LIMIT = 1 << 20  # a long name or extended header of an honest tar stays far below
DAMAGED = (
    tarfile.TarError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
    IndexError,
    struct.error,
    RecursionError,
)


class _Piece(NamedTuple):
    at: int
    size: int


class FolderArchive(IndexedArchive[Path]):
    """A folder as an archive: its regular files by path. Linked files count, linked folders are refused."""

    def __init__(self, folder: Path, context: Context) -> None:
        super().__init__(context)
        tally = Tally(context)
        self._sizes: dict[Path, int] = {}
        index: dict[str, Path] = {}
        for top, folders, files in os.walk(folder, onerror=self._unreadable):
            linked = next((name for name in folders if Path(top, name).is_symlink()), None)
            if linked:
                raise ArchiveError(f"{self.label}: {Path(top, linked)} is a link to a folder; copy the real one here")
            for name in files:
                path = Path(top, name)
                index[self._admit(path, path.relative_to(folder).as_posix(), tally)] = path
        self._index = dict(sorted(index.items()))

    def _admit(self, path: Path, raw: str, tally: Tally) -> str:
        try:
            state = path.stat()
        except OSError as error:
            raise ArchiveError(f"{self.label}: {raw!r} cannot be read ({error.strerror})") from error
        if not stat.S_ISREG(state.st_mode):
            raise ArchiveError(f"{self.label}: {raw!r} is not a regular file")
        self._sizes[path] = state.st_size
        return tally.add(raw, state.st_size, None)

    def _unreadable(self, error: OSError) -> None:
        raise ArchiveError(f"{self.label}: {error.filename} cannot be read ({error.strerror})") from error

    def close(self) -> None:
        """Nothing is held."""

    def _size(self, entry: Path) -> int:
        return self._sizes[entry]

    def _fetch(self, name: str, entry: Path) -> bytes:
        try:
            data = entry.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{self.label}: {name!r} cannot be read ({error.strerror})") from error
        if len(data) != self._sizes[entry]:
            raise ArchiveError(f"{self.label}: {name!r} has changed while it was being read")
        return data

    def _in_place(self, name: str) -> Window | None:
        try:
            return Window.of(self._entry(name))
        except OSError as error:
            raise ArchiveError(f"{self.label}: {name!r} cannot be read ({error.strerror})") from error


class SevenZipArchive(IndexedArchive[_Piece]):
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
                self._index = self._list(archive, window.length)
                self._unpack(archive)
        except ArchiveError:
            raise
        except Exception as error:  # py7zr answers damage with whatever its parser trips over
            what = str(error) or type(error).__name__
            raise ArchiveError(f"{self.label}: truncated, damaged or not a 7z archive ({what})") from error

    def _list(self, archive: Any, packed: int) -> dict[str, _Piece]:
        if archive.needs_password():
            raise ArchiveError(f"{self.label}: is encrypted; unpack it and give the folder")
        tally = Tally(self._context)
        index: dict[str, _Piece] = {}
        for info in archive.list():
            if info.is_directory:
                continue
            if not info.is_file or info.is_symlink:
                raise ArchiveError(f"{self.label}: member {info.filename!r} is a link or a device; refused")
            at = tally.total
            index[tally.add(info.filename, info.uncompressed, packed)] = _Piece(at, info.uncompressed)
        limits = self._context.limits
        if tally.total > max(limits.ratio_from, limits.ratio * packed):
            raise ArchiveError(f"{self.label}: unpacks {packed} bytes to {tally.total}; refused as an absurd size")
        return index

    def _unpack(self, archive: Any) -> None:
        size = sum(piece.size for piece in self._index.values())
        self._context.note(f"{self.label}: unpacking {megabytes(size)} to a scratch file")
        scratch = Scratch(size, self._context)
        try:
            written = _unpack_7z(archive, self._index, scratch)
            for name, piece in self._index.items():
                if written.get(name, 0) != piece.size:
                    raise ArchiveError(f"{self.label}: member {name!r} is truncated")
            self._window = scratch.window()
        finally:
            scratch.close()

    def close(self) -> None:
        """Release the scratch file, and with it its space."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _size(self, entry: _Piece) -> int:
        return entry.size

    def _fetch(self, name: str, entry: _Piece) -> bytes:
        if self._window is None:
            raise ArchiveError(f"{self.label}: is closed")
        data = self._window.pread(entry.size, entry.at)
        if len(data) != entry.size:
            raise ArchiveError(f"{self.label}: member {name!r} is truncated")
        return data

    def _in_place(self, name: str) -> Window | None:
        at, size = self._entry(name)
        return None if self._window is None else self._window.view(at, size)


def _unpack_7z(archive: Any, index: Mapping[str, _Piece], scratch: Scratch) -> dict[str, int]:
    """Let py7zr write every member to its own region of `scratch`; returns the bytes written by name.

    Through a writer factory no name from the archive ever reaches the file system.
    """
    from py7zr.io import Py7zIO, WriterFactory

    written: dict[str, int] = {}

    class Region(Py7zIO):
        def __init__(self, name: str) -> None:
            self._name = name
            self._piece = index[name]
            written[name] = 0

        def write(self, s: bytes | bytearray) -> int:
            done = written[self._name]
            if done + len(s) > self._piece.size:
                raise ArchiveError(f"member {self._name!r} unpacks to more than it declares")
            scratch.write(bytes(s), self._piece.at + done)
            written[self._name] = done + len(s)
            return len(s)

        def read(self, size: int | None = None) -> bytes:
            raise io.UnsupportedOperation("a region is only written")

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return written[self._name]

    class Regions(WriterFactory):
        def create(self, filename: str) -> Region:
            return Region(safe_name(filename, "7z"))

    archive.extractall(factory=Regions())
    return written


class TarArchive(Archive):
    """A tar, read as a stream: `iter` needs no directory first; random access is cheap where it is plain."""

    def __init__(self, window: Window, context: Context, compression: str) -> None:
        super().__init__(context)
        self._window = window
        self._compression = compression
        self._index: dict[str, _Piece] | None = None

    def close(self) -> None:
        """Release the file."""
        self._window.close()

    def members(self) -> Sequence[Member]:
        """All regular files in archive order; reads the whole archive once."""
        return [Member(name, piece.size) for name, piece in self._pieces().items()]

    def read(self, name: str) -> bytes:
        """The bytes of one member; a compressed tar is read from its start for it."""
        for _, data in self._walk(frozenset([name])):
            return data
        raise self._unknown(name)

    def iter(self, names: Iterable[str] | None = None, *, order: Order = "archive") -> Iterator[tuple[str, bytes]]:
        """As `Archive.iter`; order ``"given"`` is refused where each member would mean a new pass."""
        if order == "given" and names is not None and self._compression:
            raise ArchiveError(f"{self.label}: a compressed tar can only be read in its own order")
        return super().iter(names, order=order)

    def _pieces(self) -> dict[str, _Piece]:
        if self._index is None:
            with self._stream() as stream:
                self._index = dict(self._scan(stream))
        return self._index

    def _walk(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        if not self._compression and self._index is not None:
            yield from self._walk_index(self._index, wanted)
            return
        missing = set(wanted or ())
        with self._stream() as stream:
            for name, piece in self._scan(stream):
                if wanted is None or name in missing:
                    missing.discard(name)
                    with self._damage(name):
                        stream.seek(piece.at)
                        data = stream.read(piece.size)
                    yield name, self._whole(name, data, piece)
        if missing:
            raise self._unknown(min(missing))

    def _walk_index(self, index: dict[str, _Piece], wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        for name in index if wanted is None else wanted:
            if name not in index:
                raise self._unknown(name)
        for name, piece in index.items():
            if wanted is None or name in wanted:
                with self._damage(name):
                    data = self._window.pread(piece.size, piece.at)
                yield name, self._whole(name, data, piece)

    def _whole(self, name: str, data: bytes, piece: _Piece) -> bytes:
        if len(data) != piece.size:
            raise ArchiveError(f"{self.label}: member {name!r} is truncated")
        return data

    def _in_place(self, name: str) -> Window | None:
        if self._compression:
            return None
        pieces = self._pieces()
        if name not in pieces:
            raise self._unknown(name)
        return self._window.view(*pieces[name])

    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        pieces = self._pieces()
        if name not in pieces:
            raise self._unknown(name)
        return pieces[name].size, self._stream_member(name, pieces[name])

    def _stream_member(self, name: str, piece: _Piece) -> Iterator[bytes]:
        left = piece.size
        with self._stream() as stream, self._damage(name):
            stream.seek(piece.at)
            while left and (chunk := stream.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise ArchiveError(f"{self.label}: member {name!r} is truncated")

    def _stream(self) -> IO[bytes]:
        """The uncompressed archive from its beginning, with a descriptor of its own."""
        if self._window.closed:
            raise ArchiveError(f"{self.label}: is closed")
        raw = io.BufferedReader(self._window.view(0, self._window.length))
        if not self._compression:
            return raw
        if self._compression == "gz":
            return cast(IO[bytes], gzip.open(raw))
        return bz2.open(raw) if self._compression == "bz2" else lzma.open(raw)

    def _scan(self, stream: IO[bytes]) -> Iterator[tuple[str, _Piece]]:
        """The members as their headers come by; the archive must end with its end mark."""
        tally = Tally(self._context)
        headers = _Headers(stream)
        where = "the first member"
        with self._damage(where), tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:") as tar:
            while True:
                with self._damage(where):
                    info = tar.next()
                if info is None:
                    break
                cast(Any, tar).members.clear()  # tarfile would keep every header
                where = f"after {info.name}"
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise ArchiveError(f"{self.label}: member {info.name!r} is a link or a device; refused")
                name = tally.add(info.name, info.size, None)
                self._bound(info.offset_data + info.size)
                yield name, _Piece(info.offset_data, info.size)
        with self._damage(where):
            if headers.last != bytes(BLOCK):
                raise ArchiveError(f"{self.label}: truncated or damaged {where} (no end mark)")
            self._drain(stream)

    def _drain(self, stream: IO[bytes]) -> None:
        """Read on to the compressor's own end, where its checksum stands."""
        limit: Limits = self._context.limits
        left = limit.ratio_from if self._compression else 0
        while left > 0 and (chunk := stream.read(CHUNK)):
            left -= len(chunk)

    def _bound(self, end: int) -> None:
        """Headers count too: an archive of nothing but long headers unpacks to a lot."""
        limits, packed = self._context.limits, self._window.length
        most = limits.total + HEADER_LIMIT + limits.members * 8 * BLOCK
        if end > min(most, max(limits.ratio_from, limits.ratio * packed)):
            raise ArchiveError(f"{self.label}: unpacks {packed} bytes to {end} and more; refused as an absurd size")

    @contextmanager
    def _damage(self, where: str) -> Iterator[None]:
        try:
            yield
        except DAMAGED as error:
            what = str(error) or type(error).__name__
            raise ArchiveError(f"{self.label}: truncated or damaged at {where!r} ({what})") from error


class _Headers:
    """The stream as `tarfile` sees it: remembers the last block read, and refuses a header out of proportion.

    `tarfile` ends its iteration alike at the end mark, at a cut and at a damaged header; the last block tells
    which it was.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        """Read a header or an extended header."""
        if not 0 <= size <= HEADER_LIMIT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        return self.last
