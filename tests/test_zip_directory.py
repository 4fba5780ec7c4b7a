"""A zip's table of contents in columns: the listing of `zipfile` in a fraction of the memory; members by number."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lensbench.archives import Limits, Names, directory, names, open_archive
from lensbench.errors import ArchiveError
from tests.test_archives import CONTENT, FORMATS, pack, refuse

SIGNATURE = b"PK\x01\x02"


@pytest.mark.parametrize("kind", FORMATS)
def test_members_by_number_and_name(kind: str, tmp_path: Path) -> None:
    order = sorted(CONTENT) if kind == "folder" else list(CONTENT)
    with open_archive(pack(kind, CONTENT, tmp_path / "x")) as archive:
        found = archive.names()
        assert found.column.to_pylist() == list(found) == order
        assert [found.find(name) for name in order] == list(range(len(order)))
        assert found.find("no/such") is None
        some = range(0, len(order), 9)
        wanted = [(order[number], CONTENT[order[number]]) for number in some]
        assert list(archive.read_numbers(some)) == wanted
        assert list(archive.read_numbers([*some][::-1])) == wanted[::-1]
        members = archive.members()
        assert members[3].name == order[3]
        assert members[-1] == list(members)[-1]
        assert list(members[5:9:2]) == [members[5], members[7]]
        for number in (-1, len(order)):
            with pytest.raises(IndexError):
                list(archive.read_numbers([number]))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_member_comes_in_pieces(kind: str, tmp_path: Path) -> None:
    content = {"long.csv": random.Random(1).randbytes(2_500_000), "empty.txt": b""}
    with open_archive(pack(kind, content, tmp_path / "x")) as archive:
        for name, data in content.items():
            assert b"".join(archive.chunks(name)) == data
        with pytest.raises(ArchiveError, match="no member"):
            list(archive.chunks("x"))


@pytest.mark.parametrize("kind", ["zip", "zip-deflated"])
@pytest.mark.parametrize("change", ["damaged", "truncated"])
def test_pieces_are_checked_as_the_whole_is(kind: str, change: str, tmp_path: Path) -> None:
    path = pack(kind, {"a.csv": random.Random(1).randbytes(2_500_000)}, tmp_path / "x.zip")
    with open_archive(path) as archive:
        data = bytearray(path.read_bytes())
        data[2_000_000:] = b"" if change == "truncated" else bytes(1) + data[2_000_001:]
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match=r"member 'a\.csv' (is damaged|is truncated|does not unpack)"):
            list(archive.chunks("a.csv"))


@given(st.lists(st.text(max_size=4), unique=True, max_size=30), st.text(max_size=4))
def test_a_name_is_found_or_is_not_there(given_names: list[str], other: str) -> None:
    found = Names.of(iter(given_names), "x.zip")
    assert list(found) == given_names
    assert [found.find(name) for name in given_names] == list(range(len(given_names)))
    assert found.find(other) == (given_names.index(other) if other in given_names else None)


def test_names_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "hash", len, raising=False)
    found = Names.of(["aa", "b", "bb", "a", ""], "x.zip")
    assert [found.find(name) for name in ("aa", "b", "bb", "a", "", "cc")] == [0, 1, 2, 3, 4, None]
    with pytest.raises(ArchiveError, match=r"x\.zip: member 'b' is there twice"):
        Names.of(["aa", "b", "bb", "a", "b", "aa"], "x.zip")


# -- against zipfile -----------------------------------------------------------------------------------------


def write(seed: int, wide: bool, prefix: bool) -> bytearray:
    """A zip with names in both encodings, comments, extra fields, folders; `wide`: sizes and offsets in 64 bits;
    `prefix`: something else stands before it."""
    rng = random.Random(seed)
    out = io.BytesIO()
    out.write(b"PK\x03\x04 not a member" if prefix else b"")
    with pytest.MonkeyPatch.context() as patch:
        if wide:
            patch.setattr(zipfile, "ZIP64_LIMIT", 20)
        with zipfile.ZipFile(out, "a") as archive:
            archive.comment = rng.choice([b"", b"hello"])
            for number in range(rng.randint(0, 6)):
                info = zipfile.ZipInfo(f"{rng.choice(['a', 'ü', '×', 'b/c'])}{number}{rng.choice(['', '.jpg', '/'])}")
                info.compress_type = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
                info.comment = rng.choice([b"", b"PK\x05\x06"])
                info.extra = rng.choice([b"", struct.pack("<HH3s", 0xCAFE, 3, b"abc")])
                data = b"" if info.filename.endswith("/") else rng.randbytes(rng.randint(0, 90))
                with archive.open(info, "w", force_zip64=wide) as file:
                    file.write(data)
    return bytearray(out.getvalue())


def theirs(path: Path) -> list[tuple[str, int, int, int]]:
    """Name, size, CRC-32 and offset of the regular files, by `zipfile`."""
    with zipfile.ZipFile(path) as archive:
        files = [i for i in archive.infolist() if i.file_size or not i.is_dir()]
        return [(i.filename, i.file_size, i.CRC, i.header_offset) for i in files]


def ours(path: Path) -> list[tuple[str, int, int, int]]:
    """The same by lensbench."""
    with open_archive(path, limits=Limits(total=1 << 20)) as archive:
        rows = directory.read_directory(archive._window, archive._context).entries  # type: ignore[attr-defined]
        columns = (rows[field].tolist() for field in ("size", "crc", "at"))
        return list(zip(archive.names(), *columns, strict=True))


@pytest.mark.parametrize("step", [directory.STEP, 50])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), wide=st.booleans(), prefix=st.booleans())
def test_the_listing_is_zipfiles(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, wide: bool, prefix: bool
) -> None:
    monkeypatch.setattr(directory, "STEP", step)
    path = tmp_path / "x.zip"
    path.write_bytes(write(seed, wide, prefix))
    assert ours(path) == theirs(path)
    with zipfile.ZipFile(path) as archive, open_archive(path) as mine:
        assert dict(mine.iter()) == {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), wide=st.booleans(), flips=st.integers(1, 3))
def test_a_damaged_directory_is_refused_or_read_as_zipfile_reads_it(
    tmp_path: Path, seed: int, wide: bool, flips: int
) -> None:
    path, rng = tmp_path / "x.zip", random.Random(seed)
    data = write(seed, wide, False)
    begin = data.find(SIGNATURE) if SIGNATURE in data else 0
    for _ in range(flips):
        data[rng.randrange(begin, len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        found = ours(path)
    except ArchiveError as error:
        assert "\n" not in str(error)
        return
    try:
        expected = theirs(path)
    except UnicodeDecodeError:
        return  # in the name of a folder, which is not looked at here
    except zipfile.BadZipFile as error:
        assert "Corrupt extra field" in str(error)  # of a field that is not needed
        return
    normal = [(name.replace("\\", "/").strip("/"), *rest) for name, *rest in expected]
    assert [tuple(row) for row in normal] == found or any("\\" in name for name, *_ in expected)


def test_names_of_the_time_before_unicode(tmp_path: Path) -> None:
    """No flag: code page 437, where every byte is a letter; the local header must spell the name alike."""
    path = pack("zip", {"##.jpg": b"1", "plain.jpg": b"2"}, tmp_path / "x.zip")
    path.write_bytes(path.read_bytes().replace(b"##", "üß".encode("cp437")))
    with open_archive(path) as archive:
        assert dict(archive.iter()) == {"üß.jpg": b"1", "plain.jpg": b"2"}
        assert archive.read("üß.jpg") == b"1"
    assert [row[0] for row in theirs(path)] == ["üß.jpg", "plain.jpg"]


# -- hostile -------------------------------------------------------------------------------------------------


def patch_entry(path: Path, at: int, value: bytes, entry: int = 0) -> None:
    """Overwrite bytes of the central entry number `entry` from its offset `at`."""
    data = bytearray(path.read_bytes())
    begin = -4
    for _ in range(entry + 1):
        begin = data.index(SIGNATURE, begin + 4)
    data[begin + at : begin + at + len(value)] = value
    path.write_bytes(data)


def two(tmp_path: Path) -> Path:
    return pack("zip", {"a.jpg": bytes(100), "b.jpg": bytes(100)}, tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [
        (6, b"\x40", "'b.jpg' needs a newer reader"),
        (10, b"\x0e", "'b.jpg' is compressed with a method other than 0, 8 and 12"),
        (20, b"\x63", "'b.jpg' is stored but declares two sizes"),
        (0, b"PX", "has no signature"),
        (28, b"\xff\xff", "directory is cut off"),
        (30, b"\x05", "directory is cut off"),
        (42, b"\xff\xff\xff\x7f", "its last member runs into the directory"),
        (42, b"\x00", "overlaps another one"),
        (46, b"\xff\xfe", "b.jpg|is not text|is there twice"),
    ],
)
def test_a_made_up_entry_is_refused(at: int, value: bytes, match: str, tmp_path: Path) -> None:
    path = two(tmp_path)
    patch_entry(path, at, value, entry=1)
    if at == 46:  # a name that is flagged as UTF-8 and is not
        patch_entry(path, 9, b"\x08", entry=1)
    refuse(path, match)


@pytest.mark.parametrize("field", [20, 24, 42])
def test_a_64_bit_field_that_is_not_there_is_refused(field: int, tmp_path: Path) -> None:
    path = two(tmp_path)
    patch_entry(path, field, b"\xff\xff\xff\xff")
    refuse(path, "refused|runs into the directory")


def test_numbers_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    """64-bit sizes and offsets near 2⁶⁴ neither wrap around nor end in a traceback."""
    path = tmp_path / "x.zip"
    for values in ((2**64 - 1, 2**64 - 1, 2**64 - 1), (100, 2**63, 0), (100, 100, 2**64 - 30), (2**60, 2**60, 0)):
        data = zipfile.ZipInfo("a.jpg")
        extra = struct.pack("<HH3Q", 1, 24, *values)
        head = struct.pack(
            "<4s4B4HL2L5H2L", SIGNATURE, 45, 3, 45, 0, 0, 0, 0, 0, 0, *[0xFFFFFFFF] * 2, 5, 28, *[0] * 4, 0xFFFFFFFF
        )
        entry = head + data.filename.encode() + extra
        for said in (30, 2**32 - 1):
            end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), said, 0)
            path.write_bytes(b"PK\x03\x04" + bytes(26) + entry + end)
            refuse(path, "refused|runs into the directory|a directory of")


def test_a_part_of_several_is_refused(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 20)
        path = two(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x06\x07") + 16] = 2
    path.write_bytes(data)
    refuse(path, "a part of several")


# -- memory --------------------------------------------------------------------------------------------------


def test_a_member_costs_some_hundred_bytes_of_memory(tmp_path: Path) -> None:
    """Its name of 70 characters among them; `zipfile` takes 600."""
    count = 20_000
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"Some_class/ecotaxa_Some_class_{number:036d}.jpg", b"")
    tracemalloc.start()
    try:
        with open_archive(path) as opened:
            kept, peak = tracemalloc.get_traced_memory()
            assert kept < 170 * count
            assert peak < 170 * count + (4 << 20)
            assert len(opened.members()) == count
            assert sum(member.size for member in opened.members()) == 0
            assert tracemalloc.get_traced_memory()[1] == peak
    finally:
        tracemalloc.stop()
