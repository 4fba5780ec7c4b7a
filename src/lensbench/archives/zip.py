"""Zip archives: the directory is parsed by `zipfile`, members are read here, one `pread` each.

A third of a million members of one kilobyte make the cost per member count; `zipfile` builds several objects
and takes a lock for each, and cannot read a zip that lies inside another one without copying it out.
"""

from __future__ import annotations

import bz2
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from lensbench.archives.base import CHUNK, Context, IndexedArchive, Tally, Window
from lensbench.errors import ArchiveError

STORED, DEFLATED, BZIP2 = 0, 8, 12
LOCAL_HEADER = struct.Struct("<4s5HL2L2H")
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8 = 0x800
# What `zipfile` raises on a directory that is damaged or made up.
DAMAGED = (
    zipfile.BadZipFile,
    NotImplementedError,
    struct.error,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    OSError,
)


class _Entry(NamedTuple):
    at: int
    compressed: int
    size: int
    crc: int
    method: int
    raw: bytes | None
    """The name as the archive spells it, where that is not the normalised name in ASCII."""


class _Decompressor(Protocol):
    def decompress(self, data: bytes | memoryview, /, max_length: int) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class _Directory(io.BufferedReader):
    """The file as `zipfile` sees it: a table of contents beyond the limit is not even read."""

    limit = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As usual, below the limit."""
        if size is not None and size > self.limit:
            raise zipfile.BadZipFile(f"a directory of {size} bytes, limit {self.limit}")
        return super().read(size)


class ZipArchive(IndexedArchive[_Entry]):
    """A zip, on disk or stored inside another archive."""

    def __init__(self, window: Window, context: Context) -> None:
        super().__init__(context)
        self._window = window
        reader = _Directory(window.view(0, window.length))
        reader.limit = max(context.limits.directory, 1 << 17)  # the end record and its comment are read whole
        try:
            with reader, zipfile.ZipFile(reader) as directory:
                self._index = _index(directory.infolist(), directory.start_dir, context)
        except DAMAGED as error:
            raise ArchiveError(f"{self.label}: truncated, or not a zip archive ({error})") from error

    def close(self) -> None:
        """Release the file."""
        self._window.close()

    def _size(self, entry: _Entry) -> int:
        return entry.size

    def _fetch(self, name: str, entry: _Entry) -> bytes:
        raw = entry.raw or name.encode()
        # One read for header and data: the local extra field is rarely longer than a timestamp's 28 bytes.
        head = LOCAL_HEADER.size + len(raw)
        block = self._pread(name, head + 28 + entry.compressed, entry.at)
        begin = self._data_begins(name, raw, block)
        data: bytes | memoryview = memoryview(block)[begin : begin + entry.compressed]
        if len(data) < entry.compressed:
            data = self._pread(name, entry.compressed, entry.at + begin)
            if len(data) < entry.compressed:
                raise self._bad(name, "is truncated")
        if entry.method == STORED:
            payload = bytes(data)
        else:
            decompressor = _decompressor(entry.method)
            try:
                # One byte more than declared: enough to see that there is more, never the whole of a bomb.
                payload = decompressor.decompress(data, max_length=entry.size + 1)
            except (zlib.error, OSError) as error:
                raise self._bad(name, f"is damaged ({error})") from error
            self._check_end(name, entry, len(payload), decompressor)
        if zlib.crc32(payload) != entry.crc:
            raise self._bad(name, "is damaged (CRC-32 differs)")
        return payload

    def _pread(self, name: str, size: int, at: int) -> bytes:
        try:
            return self._window.pread(size, at)
        except OSError as error:
            raise self._bad(name, f"cannot be read ({error.strerror})") from error

    def _data_begins(self, name: str, raw: bytes, block: bytes) -> int:
        """Offset of the data from the local header at the start of `block`."""
        if len(block) < LOCAL_HEADER.size:
            raise self._bad(name, "is truncated")
        signature, _, flags, *_, name_length, extra_length = LOCAL_HEADER.unpack_from(block)
        head = LOCAL_HEADER.size + name_length
        if signature != b"PK\x03\x04" or block[LOCAL_HEADER.size : head] != raw or flags & ENCRYPTED:
            raise self._bad(name, "is not where the directory says (local header differs)")
        begins: int = head + extra_length
        return begins

    def _check_end(self, name: str, entry: _Entry, size: int, decompressor: _Decompressor) -> None:
        if size > entry.size:
            raise self._bad(name, f"unpacks to more than the {entry.size} bytes it declares")
        if size < entry.size or not decompressor.eof or decompressor.unused_data:
            raise self._bad(name, f"does not unpack to the {entry.size} bytes it declares")

    def _in_place(self, name: str) -> Window | None:
        entry = self._entry(name)
        if entry.method != STORED:
            return None
        raw = entry.raw or name.encode()
        header = self._pread(name, LOCAL_HEADER.size + len(raw), entry.at)
        begin = entry.at + self._data_begins(name, raw, header)
        if begin + entry.size > self._window.length:
            raise self._bad(name, "is truncated")
        return self._window.view(begin, entry.size)

    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        entry = self._entry(name)
        return entry.size, self._unpack(name, entry)

    def _unpack(self, name: str, entry: _Entry) -> Iterator[bytes]:
        """A compressed member in pieces, so that an inner archive never stands in memory."""
        raw = entry.raw or name.encode()
        at = entry.at + self._data_begins(name, raw, self._pread(name, LOCAL_HEADER.size + len(raw), entry.at))
        decompressor = _decompressor(entry.method)
        left, size, crc = entry.compressed, 0, 0
        pending = b""
        while not decompressor.eof:
            if not pending and getattr(decompressor, "needs_input", True):
                pending = self._pread(name, min(CHUNK, left), at)
                at, left = at + len(pending), left - len(pending) if pending else 0
            try:
                piece = decompressor.decompress(pending, max_length=CHUNK)
            except (zlib.error, OSError) as error:
                raise self._bad(name, f"is damaged ({error})") from error
            pending = getattr(decompressor, "unconsumed_tail", b"")
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size > entry.size or not (piece or pending or left):
                break
            yield piece
        self._check_end(name, entry, size, decompressor)
        if crc != entry.crc:
            raise self._bad(name, "is damaged (CRC-32 differs)")

    def _bad(self, name: str, what: str) -> ArchiveError:
        return ArchiveError(f"{self.label}: member {name!r} {what}")


def _decompressor(method: int) -> _Decompressor:
    return bz2.BZ2Decompressor() if method == BZIP2 else zlib.decompressobj(-15)


def _index(infos: list[zipfile.ZipInfo], end: int, context: Context) -> dict[str, _Entry]:
    tally = Tally(context)
    index: dict[str, _Entry] = {}
    for info in infos:
        # `orig_filename`: zipfile cuts `filename` at a NUL, which hides one from the check.
        raw = info.orig_filename
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{context.label}: member {raw!r} is a link or a device; refused")
        if info.flag_bits & ENCRYPTED:
            raise ArchiveError(f"{context.label}: member {raw!r} is encrypted; unpack it and give the folder")
        if raw.endswith(("/", "\\")) and not info.file_size:
            continue  # a folder: nothing is created under its name, and the files below it are checked
        name = tally.add(raw, info.file_size, info.compress_size)
        if info.compress_type not in (STORED, DEFLATED, BZIP2):
            raise ArchiveError(
                f"{context.label}: member {name!r} is compressed with method {info.compress_type}, "
                "of which only 0, 8 and 12 are read; unpack it and give the folder"
            )
        if info.compress_type == STORED and info.compress_size != info.file_size:
            raise ArchiveError(f"{context.label}: member {name!r} is stored but declares two sizes; refused")
        index[name] = _Entry(
            info.header_offset,
            info.compress_size,
            info.file_size,
            info.CRC,
            info.compress_type,
            None if raw is name and raw.isascii() else raw.encode("utf-8" if info.flag_bits & UTF8 else "cp437"),
        )
    _check_overlap(index, end, context.label)
    return index


def _check_overlap(index: dict[str, _Entry], end: int, label: str) -> None:
    """Refuse members that share bytes: a few megabytes could so declare petabytes."""
    before = 0
    for at, name, entry in sorted((entry.at, name, entry) for name, entry in index.items()):
        if at < before:
            raise ArchiveError(f"{label}: member {name!r} overlaps another one; refused")
        before = at + LOCAL_HEADER.size + len(entry.raw or name.encode()) + entry.compressed
    if before > end:
        raise ArchiveError(f"{label}: its last member runs into the directory; truncated or damaged")
