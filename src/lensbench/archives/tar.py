"""Tar, plain or compressed: read as a stream, and by position once its headers have been seen."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lensbench.archives.base import CHUNK, Archive, Context, Limits, Order, Tally, Window
from lensbench.archives.names import Listing, Member, Names
from lensbench.errors import ArchiveError

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


class _Directory(NamedTuple):
    """What a tar has no table of: names, and by number where the data begin and their size in bytes."""

    names: Names
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def piece(self, number: int) -> _Piece:
        return _Piece(int(self.starts[number]), int(self.sizes[number]))


class TarArchive(Archive):
    """A tar, read as a stream: `iter` needs no directory first; random access is cheap where it is plain."""

    def __init__(self, window: Window, context: Context, compression: str) -> None:
        super().__init__(context)
        self._window = window
        self._compression = compression
        self._known: _Directory | None = None

    def close(self) -> None:
        """Release the file."""
        self._window.close()

    def members(self) -> Sequence[Member]:
        """All regular files in archive order; reads the whole archive once."""
        return Listing(self._directory().names, self._directory().sizes)

    def names(self) -> Names:
        """Their names; reads the whole archive once."""
        return self._directory().names

    def read(self, name: str) -> bytes:
        """The bytes of one member; a compressed tar is read from its start for it."""
        for _, data in self._walk(frozenset([name])):
            return data
        raise self._unknown(name)

    def read_numbers(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """As `read`, by number."""
        directory = self._directory()
        for number, name in zip(numbers, directory.names.at(numbers), strict=True):
            yield name, self.read(name) if self._compression else self._read_piece(name, directory.piece(number))

    @property
    def sequential(self) -> bool:
        """True where it is compressed."""
        return bool(self._compression)

    def iter(self, names: Iterable[str] | None = None, *, order: Order = "archive") -> Iterator[tuple[str, bytes]]:
        """As `Archive.iter`; order ``"given"`` is refused where each member would mean a new pass."""
        if order == "given" and names is not None and self._compression:
            raise ArchiveError(f"{self.label}: a compressed tar can only be read in its own order")
        return super().iter(names, order=order)

    def _directory(self) -> _Directory:
        if self._known is None:
            starts, sizes = array("q"), array("q")

            def names() -> Iterator[str]:
                with self._stream() as stream:
                    for name, piece in self._scan(stream):
                        starts.append(piece.at)
                        sizes.append(piece.size)
                        yield name

            found = Names.of(names(), self.label)
            self._known = _Directory(found, np.frombuffer(starts, np.int64), np.frombuffer(sizes, np.int64))
        return self._known

    def _number(self, name: str) -> int:
        number = self._directory().names.find(name)
        if number is None:
            raise self._unknown(name)
        return number

    def _walk(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        if not self._compression and self._known is not None:
            yield from self._walk_known(self._known, wanted)
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

    def _walk_known(self, known: _Directory, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes]]:
        every = range(len(known.names))
        for number in every if wanted is None else sorted(self._number(name) for name in sorted(wanted)):
            name = known.names[number]
            yield name, self._read_piece(name, known.piece(number))

    def _read_piece(self, name: str, piece: _Piece) -> bytes:
        with self._damage(name):
            data = self._window.pread(piece.size, piece.at)
        return self._whole(name, data, piece)

    def _whole(self, name: str, data: bytes, piece: _Piece) -> bytes:
        if len(data) != piece.size:
            raise self._truncated(name)
        return data

    def _in_place(self, name: str) -> Window | None:
        if self._compression:
            return None
        return self._window.view(*self._directory().piece(self._number(name)))

    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        piece = self._directory().piece(self._number(name))
        return piece.size, self._stream_member(name, piece)

    def _stream_member(self, name: str, piece: _Piece) -> Iterator[bytes]:
        left = piece.size
        with self._stream() as stream, self._damage(name):
            stream.seek(piece.at)
            while left and (chunk := stream.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
        if left:
            raise self._truncated(name)

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
        tally, seen = Tally(self._context), set[str]()
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
                if name in seen:
                    raise ArchiveError(f"{self.label}: member {name!r} is there twice; refused")
                seen.add(name)
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
