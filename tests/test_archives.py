"""Archives read in place: parity with the standard library, laziness, and every hostile case refused."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast

import py7zr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lensbench.archives import Archive, Limits, Member, open_archive, safe_name
from lensbench.archives.base import Window
from lensbench.errors import ArchiveError

RNG = random.Random(7)
CONTENT = {f"Class_{i % 3}/img_{i:03d}.jpg": RNG.randbytes(RNG.randint(0, 400)) for i in range(40)}
CONTENT["Class_0/zeros.bin"] = bytes(300_000)
FORMATS = ["zip", "zip-deflated", "zip-bzip2", "tar", "tar.gz", "tar.bz2", "tar.xz", "7z", "folder"]


def pack(kind: str, content: dict[str, bytes], path: Path) -> Path:
    """`content` as an archive of `kind`, made by somebody else's writer."""
    if kind.startswith("zip"):
        method = {
            "zip": zipfile.ZIP_STORED,
            "zip-deflated": zipfile.ZIP_DEFLATED,
            "zip-bzip2": zipfile.ZIP_BZIP2,
        }[kind]
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    elif kind.startswith("tar"):
        with tarfile.open(path, cast(Literal["w:"], f"w:{kind[4:]}")) as archive:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    elif kind == "7z":
        with py7zr.SevenZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(data, name)
    else:
        for name, data in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def zip_bytes(content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read_all(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    with open_archive(path, limits=limits) as archive:
        archive.members()
        return dict(archive.iter())


def refuse(path: Path, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(ArchiveError, match=match) as error:
        read_all(path, limits)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    scratch = Path(os.environ["LENSBENCH_HOME"]) / "scratch"
    assert not scratch.exists() or list(scratch.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_reads_alike(kind: str, tmp_path: Path) -> None:
    path = pack(kind, CONTENT, tmp_path / "x")
    order = sorted(CONTENT) if kind == "folder" else list(CONTENT)
    with open_archive(path) as archive:
        some = [order[7], order[2]]
        assert list(archive.iter(some)) == [(name, CONTENT[name]) for name in (order[2], order[7])]
        assert list(archive.members()) == [Member(name, len(CONTENT[name])) for name in order]
        assert list(archive.iter()) == [(name, CONTENT[name]) for name in order]
        assert list(archive.iter([])) == []
        assert archive.read(order[5]) == CONTENT[order[5]]
        for work in (lambda: archive.read("no/such"), lambda: list(archive.iter(["no/such", order[0]]))):
            with pytest.raises(ArchiveError, match="no member 'no/such'"):
                work()
        if kind in ("tar.gz", "tar.bz2", "tar.xz"):
            with pytest.raises(ArchiveError, match="own order"):
                archive.iter(some, order="given")
        else:
            assert list(archive.iter(some, order="given")) == [(name, CONTENT[name]) for name in some]


PARTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=12)
NAMES = (
    st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda name: len(name.encode()) < 200)
)


@pytest.mark.parametrize("kind", ["zip", "zip-deflated", "tar", "tar.gz"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6))
def test_round_trip_over_names(kind: str, tmp_path: Path, content: dict[str, bytes]) -> None:
    assert read_all(pack(kind, content, tmp_path / f"{kind}.archive")) == content


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab./\\:\0C é\n"), max_size=12))
def test_safe_names_stay_inside_or_are_refused(raw: str) -> None:
    try:
        name = safe_name(raw, "x.zip")
    except ArchiveError as error:
        assert "\n" not in str(error)
        return
    assert name
    assert "\0" not in name
    assert "\\" not in name
    assert not name.startswith("/")
    assert all(part not in ("", ".", "..") for part in name.split("/"))
    assert safe_name(name, "x.zip") == name


ESCAPES = [
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/..",
    "C:/x",
    "c:x",
    "..\\x",
    "\\\\host\\x",
    "a\0b",
    "",
    ".",
    "./",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_escaping_names_are_refused(name: str) -> None:
    with pytest.raises(ArchiveError, match="refused"):
        safe_name(name, "x.zip")


@pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "a\\..\\..\\x"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_escaping_members_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    refuse(pack(kind, {"ok": b"1", name: b"2"}, tmp_path / "x"), "leaves the archive's folder")


def test_a_nul_in_a_zip_name_is_seen(tmp_path: Path) -> None:
    path = pack("zip", {"a#b": b"1"}, tmp_path / "x")
    path.write_bytes(path.read_bytes().replace(b"a#b", b"a\0b"))
    refuse(path, "leaves the archive's folder")


def test_an_escaping_7z_member_is_refused(tmp_path: Path) -> None:
    path = pack("7z", {"aa/x": b"1"}, tmp_path / "x.7z")
    refuse(rename_in_7z(path, "aa/x", "../x"), "leaves the archive's folder")


def rename_in_7z(path: Path, old: str, new: str) -> Path:
    """Write `new` over `old` in a header that py7zr is told not to compress, and mend both checksums."""
    import zlib

    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(b"1", old)
    data = path.read_bytes().replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
    at, size = struct.unpack_from("<QQ", data, 12)
    crc = zlib.crc32(data[32 + at : 32 + at + size])
    start = struct.pack("<QQL", at, size, crc)
    path.write_bytes(data[:8] + struct.pack("<L", zlib.crc32(start)) + start + data[32:])
    return path


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/b", b"1")
        archive.writestr("a/b", b"2")
    refuse(tmp_path / "x.zip", "'a/b' is there twice")
    refuse(pack("zip", {"a/b": b"1", "a\\b": b"2"}, tmp_path / "y.zip"), "twice")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("./a"), io.BytesIO())
    refuse(tmp_path / "x.tar", "'a' is there twice")


def test_folders_in_archives_are_no_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/", b"")
        archive.writestr("a/b", b"1")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        file = tarfile.TarInfo("a/b")
        file.size = 1
        tar.addfile(file, io.BytesIO(b"1"))
    assert read_all(tmp_path / "x.zip") == read_all(tmp_path / "x.tar") == {"a/b": b"1"}


TYPES = [
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
    tarfile.GNUTYPE_SPARSE,
]


@pytest.mark.parametrize("kind", TYPES)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo("a")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    refuse(tmp_path / "x.tar", "link or a device|truncated or damaged")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(mode: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a")
        info.external_attr = (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refuse(tmp_path / "x.zip", "link or a device")


def test_links_in_a_7z_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("real")
    with py7zr.SevenZipFile(tmp_path / "x.7z", "w") as archive:
        archive.write(tmp_path / "link", "link")
    refuse(tmp_path / "x.7z", "link or a device")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    path = pack("zip", {"a": b"1"}, tmp_path / "x.zip")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # local flags
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refuse(path, "encrypted")
    with py7zr.SevenZipFile(tmp_path / "x.7z", "w", password="secret") as archive:
        archive.writestr(b"1", "a")
    refuse(tmp_path / "x.7z", "encrypted")


@pytest.mark.parametrize("kind", FORMATS)
def test_absurd_sizes_are_refused(kind: str, tmp_path: Path) -> None:
    path = pack(kind, {"a": RNG.randbytes(5000), "b": RNG.randbytes(6000)}, tmp_path / "x")
    read_all(path, Limits(total=11_000, member=6000, members=2))
    refuse(path, "'b' declares 6000 bytes, limit 5999", Limits(member=5999))
    refuse(path, "unpack to 11000 bytes, limit 10999", Limits(total=10_999))
    refuse(path, "more than 1 members", Limits(members=1))


@pytest.mark.parametrize("kind", ["zip-deflated", "zip-bzip2", "tar.gz", "tar.bz2", "tar.xz", "7z"])
def test_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    path = pack(kind, {"zeros": bytes(4 << 20)}, tmp_path / "x")
    refuse(path, "absurd", Limits(ratio=100))
    assert len(read_all(path, Limits(ratio=10**6))["zeros"]) == 4 << 20


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"zeros": bytes(64 << 20)}, zipfile.ZIP_DEFLATED))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<L", 1000)
    (tmp_path / "x.zip").write_bytes(data)
    tracemalloc.start()
    try:
        refuse(tmp_path / "x.zip", "'zeros' unpacks to more than the 1000 bytes it declares")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two directory entries on one kernel, as in an overlapping bomb."""
    data = zip_bytes({"a": bytes(100), "b": bytes(100)})
    at = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", at + 4)
    data = data[: second + 42] + struct.pack("<L", 1) + data[second + 46 :]
    (tmp_path / "x.zip").write_bytes(data)
    refuse(tmp_path / "x.zip", "overlaps")


def test_a_huge_directory_is_refused(tmp_path: Path) -> None:
    path = pack("zip", {f"{'x' * 100}{i}": b"" for i in range(2000)}, tmp_path / "x.zip")
    refuse(path, "directory of [0-9]+ bytes", Limits(directory=100_000))


def test_a_local_header_that_contradicts_the_directory(tmp_path: Path) -> None:
    path = pack("zip", {"aaa": b"1"}, tmp_path / "x.zip")
    data = path.read_bytes()
    path.write_bytes(data[:30] + b"bbb" + data[33:])
    refuse(path, "local header differs")


def test_long_local_extra_fields_are_skipped(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            info = zipfile.ZipInfo(f"é{i}")
            info.extra = struct.pack("<HH", 0xCAFE, 500) + bytes(500)
            archive.writestr(info, b"data" * i)
        with archive.open("zip64", "w", force_zip64=True) as file:
            file.write(b"big")
    expected = {"é0": b"", "é1": b"data", "é2": b"datadata", "zip64": b"big"}
    assert read_all(tmp_path / "x.zip") == expected


def test_a_zip_made_without_seeking(tmp_path: Path) -> None:
    """Sizes come after the data there (data descriptors)."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.data += data  # type: ignore[arg-type]
            return len(data)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    (tmp_path / "x.zip").write_bytes(pipe.data)
    assert read_all(tmp_path / "x.zip") == CONTENT


@pytest.mark.parametrize("kind", ["zip", "zip-deflated", "zip-bzip2", "tar", "tar.gz", "tar.bz2", "tar.xz", "7z"])
def test_truncation_anywhere_is_an_error(kind: str, tmp_path: Path) -> None:
    few = dict(list(CONTENT.items())[:6])
    whole = pack(kind, few, tmp_path / "whole").read_bytes()
    rng = random.Random(kind)
    # Only the padding after a plain tar's end mark may go: it carries nothing.
    last = whole.rindex(next(data for data in reversed(few.values()) if data)) if kind == "tar" else len(whole) - 1
    cuts = {0, 1, 512, last, *(rng.randrange(last) for _ in range(25))}
    for cut in sorted(cuts):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        refuse(tmp_path / "cut.tar", "cut.tar")


def test_a_tar_cut_between_members_is_an_error(tmp_path: Path) -> None:
    """Where `tarfile` itself sees a good end."""
    data = pack("tar", {"a": bytes(512), "b": bytes(512)}, tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(data[:1024])
    refuse(tmp_path / "x.tar", "no end mark")
    (tmp_path / "x.tar").write_bytes(data[:1024] + b"\1" + data[1025:])
    refuse(tmp_path / "x.tar", "truncated or damaged")


@pytest.mark.parametrize("kind", ["zip", "zip-deflated", "zip-bzip2", "tar", "tar.gz", "7z"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 4))
def test_damage_is_an_archive_error_or_harmless(kind: str, tmp_path: Path, seed: int, flips: int) -> None:
    """No flipped bits end in a traceback; with a checksum in the format, none end in wrong bytes."""
    few = dict(list(CONTENT.items())[:4])
    path = tmp_path / f"damaged-{kind}"
    data = bytearray(pack(kind, few, path).read_bytes())
    rng = random.Random(seed)
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        got = read_all(path, Limits(total=1 << 20))
    except ArchiveError as error:
        assert "\n" not in str(error)
    else:
        if kind != "tar":  # a plain tar checks its headers only
            assert all(got[name] == few[name] for name in got if name in few)


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = pack("zip", {"good": b"1" * 50, "bad": b"2" * 50}, tmp_path / "x.zip")
    path.write_bytes(path.read_bytes().replace(b"2" * 50, b"2" * 49 + b"3"))
    with open_archive(path) as archive:
        assert archive.read("good") == b"1" * 50
        with pytest.raises(ArchiveError, match=r"x.zip: member 'bad' is damaged \(CRC-32"):
            archive.read("bad")


@pytest.mark.parametrize("outer", ["zip", "zip-deflated", "zip-bzip2", "tar", "tar.gz", "7z", "folder"])
@pytest.mark.parametrize("inner", ["zip", "zip-deflated", "tar.gz", "7z"])
def test_an_archive_inside_an_archive(outer: str, inner: str, tmp_path: Path) -> None:
    data = pack(inner, CONTENT, tmp_path / "inner").read_bytes()
    path = pack(outer, {"top/readme.txt": b"hello", "top/inner.bin": data}, tmp_path / "outer")
    notes: list[str] = []
    with open_archive(path, note=notes.append) as archive:
        nested = archive.nested("top/inner.bin")
    with nested:  # outlives the outer one
        assert dict(nested.iter()) == CONTENT
        assert nested.label == f"{path}!top/inner.bin"
        with pytest.raises(ArchiveError, match=r"outer!top/inner.bin: no member"):
            nested.read("x")
    stored = outer in ("zip", "tar", "folder")
    assert sum("is compressed inside" in note for note in notes) == (0 if stored or outer == "7z" else 1)
    assert len([note for note in notes if "scratch" in note]) == (not stored) + (inner == "7z")
    assert list((tmp_path / "lensbench-home").glob("scratch/*")) == []


def test_a_damaged_compressed_inner_archive(tmp_path: Path) -> None:
    inner = zip_bytes(CONTENT)
    data = bytearray(zip_bytes({"inner.zip": inner}, zipfile.ZIP_DEFLATED))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    with (
        open_archive(tmp_path / "x.zip") as archive,
        pytest.raises(ArchiveError, match=r"member 'inner\.zip' "),
    ):
        archive.nested("inner.zip")
    assert list((tmp_path / "lensbench-home").glob("scratch/*")) == []


def test_a_large_compressed_inner_archive_never_stands_in_memory(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        inner = zip_bytes({"zeros": bytes(16 << 20), "noise": RNG.randbytes(1 << 20)})
        (tmp_path / "x.zip").write_bytes(zip_bytes({"inner.zip": inner}, method))
        tracemalloc.start()
        try:
            with (
                open_archive(tmp_path / "x.zip", limits=Limits(ratio=10**6)) as archive,
                archive.nested("inner.zip") as nested,
            ):
                assert tracemalloc.get_traced_memory()[1] < 10 << 20
                assert len(nested.read("zeros")) == 16 << 20
        finally:
            tracemalloc.stop()


class Watched(Window):
    """A window that notes how far it was read."""

    furthest = 0

    def pread(self, size: int, at: int) -> bytes:
        """Read and note."""
        data = super().pread(size, at)
        if at + len(data) < self.length * 0.95:  # not the directory at the end
            Watched.furthest = max(Watched.furthest, at + len(data))
        return data

    def view(self, start: int, length: int) -> Window:
        """A watched view."""
        return Watched(os.dup(self._descriptor), self._start + start, length)


@pytest.mark.parametrize("kind", ["zip", "zip-deflated", "tar", "tar.gz", "folder"])
def test_the_first_item_comes_before_the_last_is_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {f"{i}": random.Random(i).randbytes(20_000) for i in range(10, 60)}
    path = pack(kind, content, tmp_path / "x")
    if kind == "folder":
        with open_archive(path) as archive:
            items = archive.iter()
            assert next(items)[0] == "10"
            (path / "59").unlink()
            with pytest.raises(ArchiveError, match="'59' cannot be read"):
                list(items)
        return
    monkeypatch.setattr(Watched, "furthest", 0)
    monkeypatch.setattr("lensbench.archives.Window", Watched)
    with open_archive(path) as archive:
        items = archive.iter()
        assert next(items) == ("10", content["10"])
        assert 20_000 <= Watched.furthest < path.stat().st_size / 4
        assert dict(items) == {name: data for name, data in content.items() if name != "10"}


def test_nothing_is_left_of_a_scratch_file_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes({"inner.zip": zip_bytes(CONTENT)}, zipfile.ZIP_DEFLATED))
    code = (
        "import os, sys; from pathlib import Path; from lensbench.archives import open_archive\n"
        "inner = open_archive(Path(sys.argv[1])).nested('inner.zip')\n"
        "inner.members(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    scratch = tmp_path / "lensbench-home" / "scratch"
    assert scratch.is_dir()
    assert list(scratch.iterdir()) == []


def test_no_room_for_a_scratch_file(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes({"inner.zip": zip_bytes(CONTENT)}, zipfile.ZIP_DEFLATED))
    code = (
        "import resource, sys; from pathlib import Path; from lensbench.archives import open_archive\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "open_archive(Path(sys.argv[1])).nested('inner.zip')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "ArchiveError" in last
    assert "of scratch space in" in last
    assert "LENSBENCH_HOME" in last


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a zip, 7z or tar"),
        (b"<!DOCTYPE html><html>", "it begins with b'<!DOCTYPE html>"),
        (b"PK\x03\x04" + bytes(100), "truncated, or not a zip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "not a 7z"),
        (gzip.compress(b"hello" * 500), "truncated or damaged"),
        (bz2.compress(b"hello" * 500), "truncated or damaged"),
        (b"\x1f\x8b" + bytes(100), "truncated or damaged"),
    ],
    ids=["empty", "html", "zip", "7z", "gz", "bz2", "gzip header"],
)
def test_what_is_no_archive_is_refused(data: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    refuse(tmp_path / "x", match)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_archive(tmp_path / "nowhere.zip")


def test_an_empty_archive_has_no_members(tmp_path: Path) -> None:
    assert read_all(pack("zip", {}, tmp_path / "x.zip")) == {}
    assert read_all(pack("tar", {}, tmp_path / "x.tar")) == {}
    assert read_all(tmp_path / "x.tar") == {}


def test_links_in_a_folder(tmp_path: Path) -> None:
    """A linked file is the user's own doing (git-annex, DVC); a linked folder could lead in circles."""
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "real").write_bytes(b"1")
    (folder / "a" / "x").symlink_to(tmp_path / "real")
    assert read_all(folder) == {"a/x": b"1"}
    (folder / "a" / "dead").symlink_to(tmp_path / "gone")
    refuse(folder, "'a/dead' cannot be read")
    (folder / "a" / "dead").unlink()
    os.mkfifo(folder / "pipe")
    refuse(folder, "'pipe' is not a regular file")
    (folder / "pipe").unlink()
    (folder / "round").symlink_to(folder)
    refuse(folder, "link to a folder")


def test_7z_without_py7zr_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack("7z", {"a": b"1"}, tmp_path / "x.7z")
    monkeypatch.setitem(sys.modules, "py7zr", None)
    refuse(path, r'pip install "lensbench\[formats\]"')


def test_threads_may_share_an_archive(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = pack("zip-deflated", CONTENT, tmp_path / "x.zip")
    with open_archive(path) as archive, ThreadPoolExecutor(8) as pool:
        names = [name for name in CONTENT for _ in range(20)]
        assert list(pool.map(archive.read, names)) == [CONTENT[name] for name in names]


def test_a_closed_archive_reads_nothing(tmp_path: Path) -> None:
    opened: list[Callable[[], Archive]] = [
        lambda: open_archive(pack("zip", CONTENT, tmp_path / "x.zip")),
        lambda: open_archive(pack("7z", CONTENT, tmp_path / "x.7z")),
        lambda: open_archive(pack("tar", CONTENT, tmp_path / "x.tar")),
    ]
    for make in opened:
        archive = make()
        archive.close()
        archive.close()
        with pytest.raises(ArchiveError, match=r"x\.(zip|7z|tar)"):
            archive.read("Class_0/zeros.bin")


def test_no_descriptor_leaks(tmp_path: Path) -> None:
    inner = zip_bytes(CONTENT)
    path = pack("zip-deflated", {"i.zip": inner, "bad.zip": inner[:-30]}, tmp_path / "x.zip")

    def descriptors() -> Sequence[Path]:
        return list(Path("/proc/self/fd").iterdir())

    before = len(descriptors())
    for _ in range(5):
        with open_archive(path) as archive:
            with archive.nested("i.zip") as nested:
                next(iter(nested.iter()))
            with pytest.raises(ArchiveError, match=r"bad\.zip"):
                archive.nested("bad.zip")
    assert len(descriptors()) <= before
