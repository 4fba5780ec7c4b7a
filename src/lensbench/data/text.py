"""A text file of a source, read as a stream: the publisher's lists and tables are as long as his archive is rich."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

UTF8, ANYTHING = "utf-8-sig", "latin-1"


@dataclass(frozen=True)
class Text:
    """A text file: what to call it in a message, its folder and name, and its bytes in pieces, as often as asked."""

    where: str
    folder: str
    name: str
    chunks: Callable[[], Iterator[bytes]]

    @cached_property
    def encoding(self) -> str:
        """UTF-8; where it is not, Latin-1, which decodes any byte and keeps ASCII."""
        decoder = codecs.getincrementaldecoder(UTF8)()
        try:
            for chunk in self.chunks():
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return ANYTHING
        return UTF8

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal files."""
        sha256 = hashlib.sha256()
        for chunk in self.chunks():
            sha256.update(chunk)
        return sha256.digest()

    @cached_property
    def first_line(self) -> str:
        """As far as the first piece of the file has it."""
        return next(self.chunks(), b"").partition(b"\n")[0].decode(self.encoding, errors="replace")

    def open(self, newline: str | None = None) -> io.TextIOWrapper:
        """The decoded text, line by line; `newline` as for `open`."""
        return io.TextIOWrapper(io.BufferedReader(_Stream(self.chunks())), self.encoding, newline=newline)

    def read(self) -> str:
        """All of the decoded text."""
        with self.open() as lines:
            return lines.read()


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer`; 0 at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
