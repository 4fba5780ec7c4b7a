"""The fetcher against a stand-in Zenodo that misbehaves in every way the real one is known to, and more."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from email.utils import formatdate
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest

from lensbench.errors import SourceError
from lensbench.progress import PlainProgress, RichProgress, default_progress
from lensbench.sources import RemoteFile, describe, fetch, find_local, is_offline
from lensbench.sources.digest import digest
from lensbench.sources.http import Retry, _Redirects, retry_after
from tests.zenodo_server import Behaviour, ZenodoServer

RECORD, NAME = "16679297", "Flowcam images+split.zip"
DATA = random.Random(1).randbytes(600_000)
MD5, SHA256 = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()
FILE = RemoteFile(RECORD, NAME, "archive", None, 555_000_000, None, None)
PINNED = replace(FILE, size=len(DATA), md5=MD5, sha256=SHA256)


class Waits:
    """Sleeps that only note how long they would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def retry(waits: Waits) -> Retry:
    return Retry(tries=4, timeout=0.5, sleep=waits)


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "LENSBENCH_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZenodoServer]:
    with ZenodoServer({RECORD: {NAME: DATA}}, concepts={"16679296": RECORD}) as zenodo:
        monkeypatch.setenv("LENSBENCH_ZENODO", zenodo.url)
        yield zenodo


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"lensbench-home"}


def check_whole(folder: Path) -> None:
    """The file is there, whole, and nothing beside it but the lock."""
    assert (folder / NAME).read_bytes() == DATA
    assert names(folder) == {NAME, f"{NAME}.lock"}


def check_nothing(folder: Path) -> None:
    assert names(folder) <= {f"{NAME}.lock"}


def one_line(error: pytest.ExceptionInfo[SourceError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_fetch_verifies_and_returns_both_digests(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    local = fetch(FILE, tmp_path / "a" / "b", retry=retry)
    assert (local.size, local.md5, local.sha256) == (len(DATA), MD5, SHA256)
    check_whole(tmp_path / "a" / "b")
    assert server.sent_twice(RECORD, NAME) == 0
    assert all(request.agent and request.agent.startswith("lensbench/") for request in server.requests)
    assert not any(request.path.endswith("/content") for request in server.requests)


def test_a_finished_file_is_verified_and_not_fetched_again(
    server: ZenodoServer, tmp_path: Path, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch(PINNED, tmp_path, retry=retry)
    asked = len(server.requests)
    assert fetch(PINNED, tmp_path, retry=retry).sha256 == first.sha256
    monkeypatch.setenv("LENSBENCH_OFFLINE", "true")
    assert fetch(FILE, tmp_path, retry=retry).sha256 == first.sha256
    assert len(server.requests) == asked
    monkeypatch.delenv("LENSBENCH_OFFLINE")
    assert fetch(FILE, tmp_path, retry=retry).sha256 == first.sha256  # unpinned: the record is asked, no bytes
    assert server.sent(RECORD, NAME) == len(DATA)
    server.behave_api(Behaviour(page=True))
    assert fetch(FILE, tmp_path, retry=retry).sha256 == first.sha256


def test_a_finished_file_that_was_changed_is_refused(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    fetch(PINNED, tmp_path, retry=retry)
    (tmp_path / NAME).write_bytes(b"x" + DATA[1:])
    for file in (PINNED, FILE):
        with pytest.raises(SourceError, match=MD5) as error:
            fetch(file, tmp_path, retry=retry)
        assert hashlib.md5(b"x" + DATA[1:]).hexdigest() in one_line(error)
    (tmp_path / NAME).write_bytes(DATA[:-1])
    with pytest.raises(SourceError, match="bytes, but record"):
        fetch(PINNED, tmp_path, retry=retry)


@pytest.mark.parametrize(
    "behaviours",
    [
        [Behaviour(cut_after=200_000), Behaviour(cut_after=100_000)],
        [Behaviour(cut_after=200_000, chunked=True)],
        [Behaviour(stall_after=300_000)],
        [Behaviour(cut_after=0), Behaviour(cut_after=200_000)],
        [Behaviour(status=503), Behaviour(cut_after=1), Behaviour(status=500), Behaviour(status=429)],
    ],
    ids=["cuts", "cut chunks", "stall", "cut at once", "errors between"],
)
def test_what_is_cut_goes_on_where_it_stopped(
    behaviours: list[Behaviour], server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    server.behave(*behaviours)
    fetch(FILE, tmp_path, retry=replace(retry, tries=6))
    check_whole(tmp_path)
    assert server.sent_twice(RECORD, NAME) == 0
    assert server.ranges()[0] is None
    last = [request for request in server.requests if request.range][-1]
    assert last.if_range == f'"md5:{MD5}"'


def test_progress_starts_the_count_of_failures_anew(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(*[Behaviour(cut_after=66_000)] * 8)
    fetch(FILE, tmp_path, retry=replace(retry, tries=2))
    check_whole(tmp_path)
    assert server.sent_twice(RECORD, NAME) == 0


def test_starting_over_again_and_again_is_no_progress(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(*[Behaviour(cut_after=300_000, ignore_range=True)] * 20)
    with pytest.raises(SourceError, match="cut after 300000 of 600000 bytes; tried 4 times"):
        fetch(FILE, tmp_path, retry=retry)
    assert len(server.ranges()) <= 5


def test_an_ignored_range_starts_over(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(cut_after=200_000), Behaviour(ignore_range=True))
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert server.sent_twice(RECORD, NAME) == 200_000


@pytest.mark.parametrize("shift", [1000, -1000])
def test_a_range_from_the_wrong_offset_is_not_written(
    shift: int, server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    server.behave(Behaviour(cut_after=200_000), Behaviour(shift=shift))
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert server.ranges() == [None, "bytes=200000-", None]


@pytest.mark.parametrize("length", [len(DATA) - 1000, len(DATA) + 1000])
def test_a_lie_about_the_length_is_refused_before_the_first_byte(
    length: int, server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    server.behave(Behaviour(length=length))
    with pytest.raises(SourceError, match=f"expected size {len(DATA)}, but .* says {length}") as error:
        fetch(FILE, tmp_path, retry=retry)
    one_line(error)
    check_nothing(tmp_path)


def test_more_bytes_than_the_file_has_are_refused(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(chunked=True, extra=b"more"))
    with pytest.raises(SourceError, match="sends more than"):
        fetch(FILE, tmp_path, retry=retry)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("form", ["seconds", "date", "none"])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(
    form: str, status: int, server: ZenodoServer, tmp_path: Path, retry: Retry, waits: Waits
) -> None:
    headers, least, most = {
        "seconds": ({"Retry-After": "7"}, 7.0, 7.0),
        "date": ({"Retry-After": formatdate(time.time() + 290, usegmt=True)}, 200.0, 290.0),
        "none": (dict[str, str](), 0.5, 1.0),
    }[form]
    server.behave_api(Behaviour(status=status, headers=headers))
    server.behave(Behaviour(status=status, headers=headers))
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert len(waits.seconds) == 2
    assert all(least <= seconds <= most for seconds in waits.seconds)


def test_a_wait_of_a_day_is_not_waited_for(server: ZenodoServer, tmp_path: Path, retry: Retry, waits: Waits) -> None:
    server.behave(Behaviour(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(SourceError, match="asked to wait 86400 s"):
        fetch(FILE, tmp_path, retry=retry)
    assert waits.seconds == []


def test_waits_grow(server: ZenodoServer, tmp_path: Path, retry: Retry, waits: Waits) -> None:
    server.behave(*[Behaviour(status=503)] * 9)
    with pytest.raises(SourceError, match=r"503 .*tried 8 times"):
        fetch(FILE, tmp_path, retry=replace(retry, tries=8, longest=16))
    for seconds, whole in zip(waits.seconds, (1, 2, 4, 8, 16, 16, 16), strict=True):
        assert whole / 2 <= seconds <= whole


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_another_refusal_is_final(
    status: int, server: ZenodoServer, tmp_path: Path, retry: Retry, waits: Waits
) -> None:
    server.behave(Behaviour(status=status))
    with pytest.raises(SourceError, match=str(status)) as error:
        fetch(FILE, tmp_path, retry=retry)
    one_line(error)
    assert waits.seconds == []
    check_nothing(tmp_path)


def test_a_web_page_is_never_stored(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(page=True))
    with pytest.raises(SourceError, match="web page") as error:
        fetch(FILE, tmp_path, retry=retry)
    one_line(error)
    check_nothing(tmp_path)
    server.behave(Behaviour(cut_after=200_000), Behaviour(page=True))
    with pytest.raises(SourceError, match="web page"):
        fetch(FILE, tmp_path, retry=retry)
    fetch(FILE, tmp_path, retry=retry)  # what came before the page is still good
    check_whole(tmp_path)
    assert server.sent_twice(RECORD, NAME) == 0


def test_a_redirect_in_a_circle_is_one_line(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    here = f"{server.url}/records/{RECORD}/files/Flowcam%20images%2Bsplit.zip?download=1"
    server.behave(*[Behaviour(status=302, headers={"Location": here})] * 12)
    with pytest.raises(SourceError, match="in a circle") as error:
        fetch(FILE, tmp_path, retry=retry)
    one_line(error)
    check_nothing(tmp_path)


def test_a_page_instead_of_the_record(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave_api(Behaviour(page=True))
    with pytest.raises(SourceError, match="not a record"):
        fetch(FILE, tmp_path, retry=retry)


@pytest.mark.parametrize(
    "redirect", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "data:text/plain,x"]
)
def test_redirects_lead_to_http_only(redirect: str, server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(status=302, headers={"Location": redirect}))
    with pytest.raises(SourceError, match=r"(?i)redirect"):
        fetch(FILE, tmp_path, retry=retry)
    check_nothing(tmp_path)


def test_no_redirect_from_https_down_to_http() -> None:
    secure = urllib.request.Request("https://127.0.0.1/x")
    follow = partial(_Redirects().redirect_request, secure, None, 302, "Found", Message())
    assert follow("https://127.0.0.1/y").full_url == "https://127.0.0.1/y"
    with pytest.raises(SourceError, match="refused"):
        follow("http://127.0.0.1/y")


def test_a_redirect_keeps_the_range(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    where = f"{server.url}/records/{RECORD}/files/Flowcam%20images%2Bsplit.zip?download=1"
    server.behave(Behaviour(cut_after=200_000), Behaviour(status=302, headers={"Location": where}))
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert server.sent_twice(RECORD, NAME) == 0


def test_the_etag_is_checked_before_the_first_byte(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(etag=f'"md5:{"0" * 32}"'))
    with pytest.raises(SourceError, match=f"{MD5}, but the ETag .* says {'0' * 32}"):
        fetch(FILE, tmp_path, retry=retry)
    check_nothing(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"md5": "0" * 32}, (MD5, "0" * 32)), ({"size": 5}, (str(len(DATA)), "5"))],
    ids=["md5", "size"],
)
def test_pins_and_record_must_agree(
    wrong: dict[str, str], named: tuple[str, str], server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    with pytest.raises(SourceError) as error:
        fetch(replace(FILE, **wrong), tmp_path, retry=retry)  # type: ignore[arg-type]
    assert all(word in one_line(error) for word in named)
    assert server.ranges() == []


def test_wrong_bytes_are_thrown_away(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(corrupt=True))
    with pytest.raises(SourceError, match=f"what came has md5 [0-9a-f]+, but .* has {MD5}; thrown away"):
        fetch(FILE, tmp_path, retry=retry)
    check_nothing(tmp_path)
    with pytest.raises(SourceError, match="sha256"):
        fetch(replace(FILE, sha256="0" * 64), tmp_path, retry=retry)
    check_nothing(tmp_path)
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)


def test_a_concept_id_and_unknown_names(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    with pytest.raises(SourceError, match=f"16679296 is a concept id, pin {RECORD}"):
        fetch(replace(FILE, record="16679296"), tmp_path, retry=retry)
    with pytest.raises(SourceError, match="did you mean 'Flowcam images"):
        describe(replace(FILE, name="Flowcam_images+split.zip"), retry=retry)
    with pytest.raises(SourceError, match="404"):
        describe(replace(FILE, record="1"), retry=retry)
    with pytest.raises(SourceError, match="plain file name"):
        fetch(replace(FILE, name="../x.zip"), tmp_path, retry=retry)


def test_describe_asks_the_record_only(server: ZenodoServer, retry: Retry) -> None:
    info = describe(FILE, retry=retry)
    assert (info.size, info.md5) == (len(DATA), MD5)
    assert [request.path for request in server.requests] == [f"/api/records/{RECORD}"]


def test_without_any_digest_a_changed_etag_starts_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, retry: Retry
) -> None:
    with ZenodoServer({RECORD: {NAME: DATA}}, checksums=False) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        server.behave(Behaviour(cut_after=200_000, etag='"old"'))
        fetch(FILE, tmp_path, retry=retry)
        check_whole(tmp_path)
        assert server.sent_twice(RECORD, NAME) == 200_000  # If-Range did not match: a 200
        (tmp_path / NAME).unlink()
        server.behave(Behaviour(cut_after=200_000, etag='W/"weak"'))
        fetch(FILE, tmp_path, retry=retry)
        assert server.ranges()[-1] is None


def test_mirrors_follow_when_the_record_fails(
    monkeypatch: pytest.MonkeyPatch, server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    bad = f"{server.url}/records/{RECORD}/files/gone.zip?download=1"
    with ZenodoServer({"1": {"m.zip": DATA}}) as mirror:
        good = f"{mirror.url}/records/1/files/m.zip?download=1"
        mirrored = replace(FILE, mirrors=(bad, good))
        server.behave(Behaviour(cut_after=200_000), *[Behaviour(status=503)] * 4)
        fetch(mirrored, tmp_path / "a", retry=retry)  # resumed at the mirror: the md5 is known and decides
        check_whole(tmp_path / "a")
        assert mirror.sent("1", "m.zip") == 400_000

        monkeypatch.setenv("LENSBENCH_ZENODO", "http://127.0.0.1:9")
        fetch(replace(PINNED, mirrors=(good,)), tmp_path / "b", retry=retry)
        check_whole(tmp_path / "b")
        with pytest.raises(SourceError):  # nothing known to check a mirror by
            fetch(replace(FILE, mirrors=(good,)), tmp_path / "c", retry=retry)
        check_nothing(tmp_path / "c")
        mirror.behave(Behaviour(corrupt=True))
        with pytest.raises(SourceError, match=f"no source delivered it: .*{MD5}"):
            fetch(replace(PINNED, mirrors=(good,)), tmp_path / "d", retry=retry)
        check_nothing(tmp_path / "d")


def test_an_unreachable_server_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, retry: Retry, waits: Waits
) -> None:
    with pytest.raises(SourceError, match=rf"127.0.0.1:9/api/records/{RECORD}: .*refused.*tried 3 times") as error:
        fetch(FILE, tmp_path, retry=replace(retry, tries=99))
    one_line(error)
    assert len(waits.seconds) == 2
    monkeypatch.setenv("LENSBENCH_ZENODO", "http://no-such-host.invalid")
    with pytest.raises(SourceError, match=r"no-such-host\.invalid"):
        fetch(FILE, tmp_path, retry=retry)
    monkeypatch.setenv("LENSBENCH_ZENODO", "file:///etc")
    with pytest.raises(SourceError, match="file"):
        fetch(FILE, tmp_path, retry=retry)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "LENSBENCH_OFFLINE"])
@pytest.mark.parametrize(("value", "offline"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("", False)])
def test_offline_never_touches_the_network(
    *,
    name: str,
    value: str,
    offline: bool,
    monkeypatch: pytest.MonkeyPatch,
    server: ZenodoServer,
    tmp_path: Path,
    retry: Retry,
) -> None:
    monkeypatch.setenv(name, value)
    assert is_offline() is offline
    if offline:
        for work in (lambda: fetch(FILE, tmp_path, retry=retry), lambda: describe(FILE, retry=retry)):
            with pytest.raises(SourceError, match=rf"offline .*{RECORD} \(about 555.0 MB\)") as error:
                work()
            one_line(error)
        assert server.requests == []


FETCH = """
import sys
from pathlib import Path
from lensbench.sources import RemoteFile, fetch
file = RemoteFile(sys.argv[1], sys.argv[2], "archive", None, None, None, None)
print(fetch(file, Path(sys.argv[3])).sha256, flush=True)
"""


def spawn(folder: Path, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + FETCH, RECORD, NAME, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def wait_for(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_killed_process_is_resumed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, retry: Retry) -> None:
    data = random.Random(2).randbytes(8 << 20)
    part = tmp_path / f"{NAME}.part"
    with ZenodoServer({RECORD: {NAME: data}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        server.behave(Behaviour(pause=0.02))
        child = spawn(tmp_path)
        wait_for(lambda: part.exists() and part.stat().st_size > 1 << 20)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=10)
        had = part.stat().st_size
        assert not (tmp_path / NAME).exists()
        assert 0 < had < len(data)
        local = fetch(FILE, tmp_path, retry=retry)
        assert local.sha256 == hashlib.sha256(data).hexdigest()
        assert server.ranges()[-1] == f"bytes={had}-"
        assert server.sent_twice(RECORD, NAME) <= 1 << 20  # what lay in the sockets when the process died


@pytest.mark.parametrize("damage", ["sidecar gone", "sidecar garbled", "other file", "too long", "bytes changed"])
def test_a_part_that_does_not_belong_is_not_built_upon(
    damage: str, server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    server.behave(Behaviour(cut_after=200_000))
    with pytest.raises(SourceError, match="cut after 200000"):
        fetch(FILE, tmp_path, retry=replace(retry, tries=1))
    part, about = tmp_path / f"{NAME}.part", tmp_path / f"{NAME}.part.json"
    if damage == "sidecar gone":
        about.unlink()
    elif damage == "sidecar garbled":
        about.write_text("[1")
    elif damage == "other file":
        about.write_text(json.dumps({**json.loads(about.read_text()), "md5": "0" * 32}))
    elif damage == "too long":
        part.write_bytes(DATA + b"x")
    else:
        part.write_bytes(b"x" + DATA[1:200_000])
        with pytest.raises(SourceError, match="thrown away"):
            fetch(FILE, tmp_path, retry=retry)
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert server.ranges()[-1] is None


def test_a_whole_part_needs_no_request(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    server.behave(Behaviour(cut_after=200_000))
    with pytest.raises(SourceError):
        fetch(FILE, tmp_path, retry=replace(retry, tries=1))
    (tmp_path / f"{NAME}.part").write_bytes(DATA)
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert len(server.ranges()) == 1


def test_416_is_done_only_if_the_digest_says_so(
    monkeypatch: pytest.MonkeyPatch, server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    """Size unknown: the record is down, and a mirror has the rest of what the digest pins."""
    url = f"{server.url}/records/{RECORD}/files/Flowcam%20images%2Bsplit.zip?download=1"
    monkeypatch.setenv("LENSBENCH_ZENODO", "http://127.0.0.1:9")
    file = replace(FILE, sha256=SHA256, mirrors=(url,))
    for content, ends in ((DATA, True), (b"x" + DATA[1:], False)):
        server.behave(Behaviour(cut_after=200_000))
        with pytest.raises(SourceError):
            fetch(file, tmp_path, retry=replace(retry, tries=1))
        (tmp_path / f"{NAME}.part").write_bytes(content)
        if ends:
            fetch(file, tmp_path, retry=retry)
            check_whole(tmp_path)
            (tmp_path / NAME).unlink()
        else:
            with pytest.raises(SourceError, match="thrown away"):
                fetch(file, tmp_path, retry=retry)
            check_nothing(tmp_path)


def test_two_processes_fetch_the_bytes_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(2 << 20)
    with ZenodoServer({RECORD: {NAME: data}}) as server:
        monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
        server.behave(Behaviour(pause=0.05))
        first = spawn(tmp_path)
        wait_for(lambda: server.sent(RECORD, NAME) > 0)
        second = spawn(tmp_path)
        outcomes = [child.communicate(timeout=20) for child in (first, second)]
        assert [out.strip() for out, _ in outcomes] == [hashlib.sha256(data).hexdigest()] * 2
        assert "another process is fetching" in outcomes[1][1]
        assert server.sent(RECORD, NAME) == len(data)
        check = json.loads((Path(os.environ["LENSBENCH_HOME"]) / "digests.json").read_text())
        assert list(check) == [str((tmp_path / NAME).resolve())]


def test_a_full_disk_while_writing_is_one_line_and_resumable(
    server: ZenodoServer, tmp_path: Path, retry: Retry
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
    child = spawn(tmp_path, before=limit)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert f"{tmp_path}: {NAME} needs 300.0 kB more there" in last
    assert "the 300.0 kB that came are kept" in last
    assert not (tmp_path / NAME).exists()
    fetch(FILE, tmp_path, retry=retry)
    check_whole(tmp_path)
    assert server.ranges()[-1] == "bytes=300000-"


def test_a_disk_too_small_is_said_before_the_first_byte(
    server: ZenodoServer, tmp_path: Path, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(SourceError, match=r"needs 600.0 kB more there, but 100 bytes are free; .*LENSBENCH_HOME"):
        fetch(replace(FILE, mirrors=("http://127.0.0.1:9/x",)), tmp_path, retry=retry)
    assert server.ranges() == []
    check_nothing(tmp_path)


def test_a_folder_that_cannot_be_written(server: ZenodoServer, tmp_path: Path, retry: Retry) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be written"):
        fetch(FILE, tmp_path / "file" / "below", retry=retry)


def test_find_local(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / NAME).write_bytes(DATA)
    other = RemoteFile("1", "other.zip", "splits", None, None, None, None)
    assert find_local([PINNED, other], tmp_path) == {NAME: below / NAME}
    assert find_local([PINNED], below / NAME) == {NAME: below / NAME}
    assert find_local([other], below / NAME) == {}
    (tmp_path / NAME).write_bytes(DATA)
    assert find_local([PINNED], tmp_path) == {NAME: tmp_path / NAME}
    (tmp_path / NAME).unlink()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / NAME).write_bytes(DATA)
    with pytest.raises(SourceError, match="twice"):
        find_local([PINNED], tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        find_local([PINNED], tmp_path / "nowhere")
    (below / NAME).write_bytes(DATA[:-1])
    with pytest.raises(SourceError, match="599999 bytes, but record"):
        find_local([PINNED], below)
    (below / NAME).write_bytes(b"x" + DATA[1:])
    with pytest.raises(SourceError, match="md5"):
        find_local([PINNED], below)


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = digest(path)
    with monkeypatch.context() as patch:
        patch.setattr("lensbench.sources.digest.Hashes.update", lambda *_: pytest.fail("hashed again"))
        assert digest(path) == first
    state = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # the same size and mtime: ctime tells
    assert digest(path).md5 == hashlib.md5(b"two").hexdigest()
    memo = Path(os.environ["LENSBENCH_HOME"]) / "digests.json"
    for garbage in ("", "[]", json.dumps({str(path): 1}), "\x00"):
        memo.write_text(garbage)
        assert digest(path).sha256 == hashlib.sha256(b"two").hexdigest()
    with pytest.raises(SourceError, match="cannot be read"):
        digest(tmp_path / "gone")


def test_digests_without_a_writable_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"one")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "file" / "home"))
    assert digest(tmp_path / "x").md5 == hashlib.md5(b"one").hexdigest()


def test_retry_after_dates_and_nonsense() -> None:
    assert retry_after(formatdate(time.time() - 100, usegmt=True)) == 0
    assert 50 < (retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert retry_after("-1") is None
    assert retry_after("9" * 400) is None


def test_plain_progress_says_little() -> None:
    stream = StringIO()
    progress = PlainProgress(stream, every=3600)
    progress.start("x.zip", 1_000_000, 0)
    for _ in range(100):
        progress.advance(1000)
    assert stream.getvalue() == "fetching x.zip (1.0 MB)\n"
    progress = PlainProgress(stream, every=0)
    progress.start("x.zip", 1_000_000, 500_000)
    progress.advance(250_000)
    assert "500.0 kB here already" in stream.getvalue()
    assert "75 %" in stream.getvalue()


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(default_progress(), PlainProgress)
    terminal: IO[str] = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress = default_progress()
    assert isinstance(progress, RichProgress)
    for done in (0, 100):
        progress.start("[x].zip", 1000, done)
    progress.advance(400)
    progress.note("[red]note")
    progress.finish()
    shown = terminal.getvalue() if isinstance(terminal, StringIO) else ""
    assert "[x].zip" in shown
    assert "[red]note" in shown
    assert "500/1,000 bytes" in shown or "0.5/1.0 kB" in shown


def test_importing_sources_is_light() -> None:
    heavy = ["http.client", "numpy", "rich", "ssl", "urllib.request"]
    code = f"import sys, lensbench.sources; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
