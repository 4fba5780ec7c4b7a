"""A zip's table of contents as columns: 32 bytes a member beside its name.

`zipfile` makes an object of half a kilobyte of every entry and keeps the table itself; here it is read a
piece at a time. The format is PKWARE's APPNOTE 6.3.10: 4.3.12 (entries), 4.3.14 to 16 (end records), 4.5.3
(sizes beyond 4 GiB).
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench.archives.base import Context, Tally, Window
from lensbench.archives.names import Names
from lensbench.errors import ArchiveError

STORED, DEFLATED, BZIP2 = 0, 8, 12
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8 = 0x800
VERSION = 63
"""What a reader must understand at most; 6.3 is the last of APPNOTE."""
LOCAL_HEADER = struct.Struct("<4s5HL2L2H")
BEYOND = 0xFFFF_FFFF
"""What stands in a field of 32 bits whose value is in the extra field."""
HUGE = 1 << 60
STEP = 1 << 18
"""Bytes of the table that are looked at together."""

_CENTRAL = np.dtype(
    [
        ("signature", "<u4"),
        ("made_by", "<u2"),
        ("version", "u1"),
        ("reserved", "u1"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("modified", "<u4"),
        ("crc", "<u4"),
        ("compressed", "<u4"),
        ("size", "<u4"),
        ("name_length", "<u2"),
        ("extra", "<u2"),
        ("comment", "<u2"),
        ("disk", "<u2"),
        ("internal", "<u2"),
        ("external", "<u4"),
        ("at", "<u4"),
    ]
)
_LENGTHS = struct.Struct("<3H")
_LENGTHS_AT = 28
_SIGNATURE = int.from_bytes(b"PK\x01\x02", "little")
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_COMMENT = 0xFFFF
_WIDE = ("size", "compressed", "at")
"""The fields that may be wider than 32 bits, in the order in which they then stand."""

ENTRY = np.dtype(
    [("at", "i8"), ("compressed", "i8"), ("size", "i8"), ("crc", "u4"), ("method", "u2"), ("name_length", "u2")]
)
"""One member: offset of its local header, sizes in bytes, CRC-32, method, length of its name as spelled there."""


class Directory(NamedTuple):
    """The regular files of a zip: names, rows of `ENTRY`, and by number what is spelled otherwise than its name."""

    names: Names
    entries: NDArray[np.void]
    spelled: dict[int, bytes]


def read_directory(window: Window, context: Context) -> Directory:
    """The checked table of contents of the zip in `window`; ArchiveError for what is damaged or hostile."""
    start, size, shift = _find(window, context.label)
    if size > context.limits.directory:
        raise ArchiveError(
            f"{context.label}: a directory of {size} bytes, limit {context.limits.directory}; refused as an absurd size"
        )
    tally = Tally(context)
    parts: list[NDArray[np.void]] = [np.empty(0, ENTRY)]
    spelled: dict[int, bytes] = {}

    def names() -> Iterator[str]:
        for data, places in _blocks(window, start, size, context.label):
            entries = _Entries.parse(context.label, data, places, shift).regular()
            sizes = zip(entries.rows["size"].tolist(), entries.rows["compressed"].tolist(), strict=True)
            for (raw, text), (unpacked, packed) in zip(entries.spellings(), sizes, strict=True):
                name = tally.add(text, unpacked, packed)
                if name.encode() != raw:
                    spelled[tally.members - 1] = raw
                yield name
            parts.append(entries.rows)

    found = Names.of(names(), context.label)
    directory = Directory(found, np.concatenate(parts), spelled)
    _check_overlap(directory, start, context.label)
    return directory


def _find(window: Window, label: str) -> tuple[int, int, int]:
    """Where the directory starts, its size, and how far it lies from where it says (something stands before)."""
    tail_at = max(0, window.length - _END.size - _COMMENT)
    tail = window.pread(_END.size + _COMMENT, tail_at)
    at = len(tail) - _END.size
    if not (tail[max(at, 0) :].startswith(b"PK\x05\x06") and tail.endswith(b"\0\0")):
        at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise _damaged(label, "no end record")
    *_, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    locator = window.pread(_LOCATOR.size, end - _LOCATOR.size) if end > _LOCATOR.size + _END64.size else b""
    if locator.startswith(b"PK\x06\x07"):
        _, disk, _, disks = _LOCATOR.unpack(locator)
        if disk or disks > 1:
            raise _damaged(label, "a part of several")
        record = window.pread(_END64.size, end - _LOCATOR.size - _END64.size)
        if record.startswith(b"PK\x06\x06"):
            *_, size, offset = _END64.unpack(record)
            end -= _LOCATOR.size + _END64.size
    if size + offset > end:
        raise _damaged(label, f"a directory of {size} bytes from {offset} on")
    return end - size, size, end - size - offset


def _blocks(window: Window, start: int, size: int, label: str) -> Iterator[tuple[bytes, list[int]]]:
    """Pieces of the directory, with the offsets of the whole entries in each."""
    at, stop, rest = start, start + size, b""
    while at < stop:
        piece = window.pread(min(STEP, stop - at), at)
        if not piece:
            raise _damaged(label, "its directory is cut off")
        at += len(piece)
        block, places, begin = rest + piece, [], 0
        while begin + _CENTRAL.itemsize <= len(block):
            end = begin + _CENTRAL.itemsize + sum(_LENGTHS.unpack_from(block, begin + _LENGTHS_AT))
            if end > len(block):
                break
            places.append(begin)
            begin = end
        yield block, places
        rest = block[begin:]
    if rest:
        raise _damaged(label, "its directory is cut off")


@dataclass(frozen=True)
class _Entries:
    """Some entries of a directory: where each begins in `data`, its fixed fields, and what is made of them."""

    label: str
    data: bytes
    places: NDArray[np.int64]
    fields: NDArray[np.void]
    rows: NDArray[np.void]

    @classmethod
    def parse(cls, label: str, data: bytes, places: list[int], shift: int) -> _Entries:
        """The entries of `data` that begin at `places`, their offsets put right by `shift`."""
        begins = np.array(places, np.int64)
        octets = np.frombuffer(data, np.uint8)[begins[:, None] + np.arange(_CENTRAL.itemsize)]
        fields = octets.view(_CENTRAL).ravel()
        if (fields["signature"] != _SIGNATURE).any():
            raise _damaged(label, "an entry of its directory has no signature")
        rows = np.empty(len(places), ENTRY)
        for name in ENTRY.names or ():
            rows[name] = fields[name]
        entries = cls(label, data, begins, fields, rows)
        entries._widen()
        rows["at"] += shift
        return entries

    def _widen(self) -> None:
        """Take what does not fit into 32 bits from the extra fields."""
        wide = np.stack([self.fields[name] == BEYOND for name in _WIDE])
        for number in np.flatnonzero(wide.any(axis=0)):
            begin = int(self.places[number]) + _CENTRAL.itemsize + int(self.fields["name_length"][number])
            values = _zip64(self.data[begin : begin + int(self.fields["extra"][number])])
            if values is None:
                continue
            names = [name for name, needed in zip(_WIDE, wide[:, number], strict=True) if needed]
            if len(values) < len(names):
                raise _damaged(self.label, "an entry of its directory lacks a size")
            for name, value in zip(names, values, strict=False):
                self.rows[name][number] = min(value, HUGE)

    def regular(self) -> _Entries:
        """The regular files among them; folders go, links, devices and what cannot be read here are refused."""
        kind, rows = self.fields["external"] >> 16 & 0o170000, self.rows
        self._refuse(~np.isin(kind, (0, stat.S_IFREG, stat.S_IFDIR)), "is a link or a device; refused")
        self._refuse(self.fields["flags"] & ENCRYPTED != 0, "is encrypted; unpack it and give the folder")
        self._refuse(self.fields["version"] > VERSION, "needs a newer reader; unpack it and give the folder")
        lengths = rows["name_length"].astype(np.int64)
        last = np.frombuffer(self.data, np.uint8)[self.places + _CENTRAL.itemsize - 1 + lengths]
        # nothing is created under a folder's name, and the files below it are checked
        files = (lengths == 0) | ~np.isin(last, (ord("/"), ord("\\"))) | (rows["size"] > 0)
        unread = files & ~np.isin(rows["method"], (STORED, DEFLATED, BZIP2))
        self._refuse(unread, "is compressed with a method other than 0, 8 and 12; unpack it and give the folder")
        differ = files & (rows["method"] == STORED) & (rows["compressed"] != rows["size"])
        self._refuse(differ, "is stored but declares two sizes; refused")
        return replace(self, places=self.places[files], fields=self.fields[files], rows=rows[files])

    def spellings(self) -> Iterator[tuple[bytes, str]]:
        """Each name in the archive's bytes, and decoded."""
        columns = self.places + _CENTRAL.itemsize, self.rows["name_length"], self.fields["flags"] & UTF8
        for begin, length, utf8 in zip(*(column.tolist() for column in columns), strict=True):
            raw = self.data[begin : begin + length]
            try:
                yield raw, raw.decode("utf-8" if utf8 or raw.isascii() else "cp437")
            except UnicodeDecodeError:
                raise ArchiveError(f"{self.label}: member name {raw!r} is not text; refused") from None

    def _refuse(self, which: NDArray[np.bool_], what: str) -> None:
        """Name the first of `which`, if there is one."""
        if which.any():
            name = next(islice(self.spellings(), int(np.argmax(which)), None))[1]
            raise ArchiveError(f"{self.label}: member {name!r} {what}")


def _zip64(extra: bytes) -> tuple[int, ...] | None:
    """The numbers of 64 bits in an extra field; None where it has no such part."""
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<HH", extra)
        part, extra = extra[4 : 4 + length], extra[4 + length :]
        if tag == 1:
            return struct.unpack_from(f"<{len(part) // 8}Q", part)
    return None


def _check_overlap(directory: Directory, end: int, label: str) -> None:
    """Refuse members that share bytes: a few megabytes could so declare petabytes."""
    rows = directory.entries
    order = np.argsort(rows["at"], kind="stable")
    begins = rows["at"][order]
    ends = begins + LOCAL_HEADER.size + rows["name_length"][order] + rows["compressed"][order]
    shared = np.flatnonzero(ends[:-1] > begins[1:])
    if len(shared):
        name = directory.names[int(order[shared[0] + 1])]
        raise ArchiveError(f"{label}: member {name!r} overlaps another one; refused")
    if len(ends) and ends[-1] > end:
        raise ArchiveError(f"{label}: its last member runs into the directory; truncated or damaged")


def _damaged(label: str, what: str) -> ArchiveError:
    return ArchiveError(f"{label}: truncated, or not a zip archive ({what})")
