"""Zip archives: members are read here, one `pread` each.

A third of a million members of one kilobyte make the cost per member count; `zipfile` builds several objects
and takes a lock for each, and cannot read a zip that lies inside another one without copying it out.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from lensbench.archives.base import CHUNK, Context, IndexedArchive, Window
from lensbench.archives.directory import BZIP2, ENCRYPTED, LOCAL_HEADER, STORED, read_directory
from lensbench.errors import ArchiveError


class _Entry(NamedTuple):
    """A row of `directory.ENTRY`."""

    at: int
    compressed: int
    size: int
    crc: int
    method: int
    name_length: int


class _Decompressor(Protocol):
    def decompress(self, data: bytes | memoryview, /, max_length: int) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class ZipArchive(IndexedArchive):
    """A zip, on disk or stored inside another archive."""

    def __init__(self, window: Window, context: Context) -> None:
        super().__init__(context)
        self._window = window
        try:
            self._names, self._entries, self._spelled = read_directory(window, context)
        except OSError as error:
            raise ArchiveError(f"{self.label}: cannot be read ({error.strerror})") from error
        self._sizes = self._entries["size"]

    def close(self) -> None:
        """Release the file."""
        self._window.close()

    def _entry(self, number: int) -> tuple[str, bytes, _Entry]:
        """Name, the name as the archive spells it, and the row."""
        name = self._names[number]
        return name, self._spelled.get(number) or name.encode(), _Entry._make(self._entries[number].item())

    def read_numbers(self, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of some members, whole and checked."""
        names = self._names.at(numbers)
        for number, name, row in zip(numbers, names, self._entries[list(numbers)].tolist(), strict=True):
            yield name, self._read(name, self._spelled.get(number) or name.encode(), _Entry._make(row))

    def _fetch(self, number: int) -> bytes:
        return self._read(*self._entry(number))

    def _read(self, name: str, raw: bytes, entry: _Entry) -> bytes:
        # One read for header and data: the local extra field is rarely longer than a timestamp's 28 bytes.
        head = LOCAL_HEADER.size + len(raw)
        block = self._pread(name, head + 28 + entry.compressed, entry.at)
        begin = self._data_begins(name, raw, block)
        data: bytes | memoryview = memoryview(block)[begin : begin + entry.compressed]
        if len(data) < entry.compressed:
            data = self._pread(name, entry.compressed, entry.at + begin)
            if len(data) < entry.compressed:
                raise self._truncated(name)
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
            raise self._truncated(name)
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
        name, raw, entry = self._entry(self._number(name))
        if entry.method != STORED:
            return None
        header = self._pread(name, LOCAL_HEADER.size + len(raw), entry.at)
        begin = entry.at + self._data_begins(name, raw, header)
        if begin + entry.size > self._window.length:
            raise self._truncated(name)
        return self._window.view(begin, entry.size)

    def _chunks(self, name: str) -> tuple[int, Iterator[bytes]]:
        name, raw, entry = self._entry(self._number(name))
        return entry.size, self._unpack(name, raw, entry)

    def _unpack(self, name: str, raw: bytes, entry: _Entry) -> Iterator[bytes]:
        """A member in pieces, so that an inner archive never stands in memory."""
        at = entry.at + self._data_begins(name, raw, self._pread(name, LOCAL_HEADER.size + len(raw), entry.at))
        decompressor = _Stored(entry.size) if entry.method == STORED else _decompressor(entry.method)
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


class _Stored:
    """Bytes that are not compressed, behind the same interface."""

    unused_data = b""

    def __init__(self, size: int) -> None:
        self._left = size

    def decompress(self, data: bytes | memoryview, /, max_length: int) -> bytes:
        """The same again."""
        self._left -= len(data)
        return bytes(data)

    @property
    def eof(self) -> bool:
        """Whether all of it has come."""
        return self._left <= 0


def _decompressor(method: int) -> _Decompressor:
    return bz2.BZ2Decompressor() if method == BZIP2 else zlib.decompressobj(-15)
