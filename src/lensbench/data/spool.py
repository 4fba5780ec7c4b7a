"""Tables as long as a source is rich, kept in files without a name: mapped, they take no private memory.

The files lie in the cache folder and are unlinked at birth, so nothing is left however the process ends.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from typing import IO

import pyarrow as pa

from lensbench.errors import DatasetError
from lensbench.paths import home


def nameless() -> IO[bytes]:
    """A new empty file in the cache folder that no other process can open."""
    folder = home() / "scratch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise _unwritable(error) from error


def append(file: IO[bytes], data: bytes) -> None:
    """Write all of `data` to the end of such a file."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _unwritable(error) from error


def spooled(schema: pa.Schema, blocks: Iterable[pa.Table]) -> pa.Table:
    """The rows of all `blocks`, read where they lie on disk; each block may go once the next one is asked for."""
    with nameless() as file:
        try:
            with pa.ipc.new_stream(file, schema) as writer:
                for block in blocks:
                    writer.write_table(block)
        except OSError as error:
            raise _unwritable(error) from error
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()


def _unwritable(error: OSError) -> DatasetError:
    return DatasetError(
        f"{home() / 'scratch'}: cannot be written ({error.strerror or error}); free some space, or set LENSBENCH_HOME "
        "to a larger disk"
    )
