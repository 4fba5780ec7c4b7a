"""Read archives without unpacking more than needed: zip (also inside a zip), 7z, tar, and unpacked folders.

>>> with open_archive(path) as outer:                          # doctest: +SKIP
...     with outer.nested("data/images.zip") as images:
...         for name, data in images.iter():
...             ...

A zip stored inside another archive is read where it lies. What is compressed as a whole (7z, a zip deflated
inside a zip) is unpacked once to a scratch file that has no name on disk, so nothing is left behind however
the process ends. No member's name ever becomes a path on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lensbench.archives.base import Archive, Context, Limits, Window, safe_name
from lensbench.archives.formats import FolderArchive, SevenZipArchive
from lensbench.archives.names import Member, Names
from lensbench.archives.tar import TarArchive
from lensbench.archives.zip import ZipArchive
from lensbench.errors import ArchiveError
from lensbench.paths import home

__all__ = ["Archive", "Limits", "Member", "Names", "open_archive", "safe_name"]

TAR = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}


def open_archive(
    path: Path,
    *,
    limits: Limits | None = None,
    note: Callable[[str], None] | None = None,
    scratch: Path | None = None,
) -> Archive:
    """Open `path`: a zip, 7z, tar, tar.gz, tar.bz2, tar.xz (told by content) or a folder.

    `note` is told, in one line, when something must be unpacked to a scratch file; `scratch` is the folder
    for it (default: inside the cache folder).

    Raises `ArchiveError` for what is damaged, hostile or no archive.
    """
    context = Context(
        label=str(path),
        limits=limits or Limits(),
        note=note or _silent,
        scratch=scratch or home() / "scratch",
        open=_open,
    )
    try:
        if path.is_dir():
            return FolderArchive(path, context)
        window = Window.of(path)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({error.strerror})") from error
    return _open(window, context)


def _open(window: Window, context: Context) -> Archive:
    """The archive in `window`, which it then owns."""
    try:
        head = window.pread(512, 0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return ZipArchive(window, context)
        if head.startswith(b"7z\xbc\xaf\x27\x1c"):
            return SevenZipArchive(window, context)
        for magic, compression in TAR.items():
            if head.startswith(magic):
                return TarArchive(window, context, compression)
        if head[257:262] == b"ustar" or (context.label.endswith(".tar") and len(head) == 512):
            return TarArchive(window, context, "")
    except BaseException:
        window.close()
        raise
    window.close()
    raise ArchiveError(f"{context.label}: not a zip, 7z or tar archive (it begins with {head[:16]!r})")


def _silent(text: str) -> None:
    """Say nothing."""
