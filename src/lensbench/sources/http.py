"""The network half of `sources`: one request, the retries around it, and a download that can be resumed.

What a server says about itself is not believed where its answer can be looked at: Zenodo sends
``Accept-Ranges: none`` and answers ranges (galaxyproject/galaxy#15296), and its API's own file links are
reported to ignore them (zenodo/zenodo#2575). So the status and the start in ``Content-Range`` decide, sizes
are counted and digests computed.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from lensbench import __version__
from lensbench.errors import SourceError, nearest
from lensbench.progress import Progress
from lensbench.sources.base import LocalFile, RemoteFile, RemoteInfo
from lensbench.sources.part import DiskFullError, Part

CHUNK = 1 << 20
API_LIMIT = 32 << 20
PROGRESS = 64 << 10  # bytes that make a try worth starting the count of failures anew

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """How patiently; times in seconds. Waits double from `first` to `longest`, less a random part."""

    tries: int = 8
    """Failures in a row, without progress between them, before giving up."""
    tries_unreachable: int = 3
    """The same for a server never reached so far: no such host, connection refused."""
    first: float = 1.0
    longest: float = 60.0
    obey: float = 300.0
    """The longest Retry-After that is waited for."""
    timeout: float = 30.0
    """Silence on a connection that counts as a stall."""
    sleep: Callable[[float], None] = time.sleep


class TransientError(Exception):
    """Something that may be better in a moment; `wait` is what the server asked for, in seconds."""

    def __init__(self, text: str, *, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(text)
        self.wait = wait
        self.unreachable = unreachable


class UnavailableError(SourceError):
    """A source that did not answer or did not deliver: another one may."""


def persist(attempt: Callable[[], T], retry: Retry, progress: Progress, have: Callable[[], int] = lambda: 0) -> T:
    """Call `attempt` until it returns, with growing waits; `have` tells the bytes held: progress counts."""
    failures, best, reached = 0, have(), have() > 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            if have() >= best + PROGRESS:  # the high-water mark: starting over again and again is no progress
                failures, best = 0, have()
            reached = reached or not error.unreachable
            failures += 1
            if failures >= (retry.tries if reached else retry.tries_unreachable):
                times = "once" if failures == 1 else f"{failures} times"
                raise UnavailableError(f"{error}; tried {times}, run again to go on") from error
            wait = min(retry.longest, retry.first * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)
            if error.wait is not None:
                if error.wait > retry.obey:
                    raise UnavailableError(f"{error}; asked to wait {error.wait:.0f} s, try later") from error
                wait = max(error.wait, wait)
            progress.note(f"{error}; trying again in {wait:.0f} s")
            retry.sleep(wait)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https down to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """The next request, or an error."""
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or urlsplit(req.full_url).scheme == "https"):
            raise SourceError(f"{req.full_url}: redirects to {newurl!r}; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener that knows http and https alone: the default one would also read file: and ftp:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class Answer(NamedTuple):
    """Status 200, 206 or 416, the headers, and a reader of what comes next, at most so many bytes."""

    status: int
    headers: Message
    read1: Callable[[int], bytes]

    def number(self, name: str) -> int | None:
        """The header `name` as a number; None where it is none."""
        value = self.headers.get(name, "").strip()
        return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None

    @property
    def range(self) -> tuple[int, int, int | None] | None:
        """First byte, last byte and total of Content-Range."""
        match = re.fullmatch(
            r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", self.headers.get("Content-Range", "")
        )
        return match and (int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3]))


@contextmanager
def request(url: str, headers: dict[str, str], timeout: float) -> Iterator[Answer]:
    """The answer to a GET; any other status is a `TransientError` or an `UnavailableError`."""
    sent = {"User-Agent": f"lensbench/{__version__}", "Accept-Encoding": "identity", **headers}
    try:
        answer = _opener().open(urllib.request.Request(url, headers=sent), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 416:
                raise _refusal(url, error) from error
        yield Answer(416, error.headers, lambda _: b"")
        return
    except urllib.error.URLError as error:
        raise _failure(url, error.reason if isinstance(error.reason, OSError) else error) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise UnavailableError(f"{url}: not a URL that can be fetched ({error})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, error) from error
    with answer:
        if answer.status not in (200, 206):
            raise UnavailableError(f"{url}: answered {answer.status} {answer.reason}")
        yield Answer(answer.status, answer.headers, answer.read1)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Turn what goes wrong while a body is read into a `TransientError`."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, error) from error


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    # Our words for the status, not the server's: those may hold line breaks or terminal escapes.
    text = f"{url}: answered {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    if 300 <= error.code < 400:
        return UnavailableError(f"{text}, a redirect in a circle or to something other than http(s); refused")
    if error.code in (408, 425, 429) or error.code >= 500:
        return TransientError(text, wait=retry_after(error.headers.get("Retry-After")))
    return UnavailableError(text)


def _failure(url: str, error: Exception) -> Exception:
    text = f"{url}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return UnavailableError(f"{url}: certificate not accepted ({error.verify_message})")
    if isinstance(error, urllib.error.URLError):
        return UnavailableError(text)
    if isinstance(error, TimeoutError):
        return TransientError(f"{url}: no answer in time")
    if isinstance(error, ConnectionResetError | BrokenPipeError | http.client.HTTPException):
        return TransientError(f"{url}: the connection was cut")
    return TransientError(text, unreachable=isinstance(error, ConnectionRefusedError | socket.gaierror))


def retry_after(value: str | None) -> float | None:
    """Seconds to wait from a Retry-After header (seconds or an HTTP date); None when there is none to read.

    >>> retry_after("59"), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
    (59.0, None, 0.0)
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def record_file(base: str, file: RemoteFile, retry: Retry, progress: Progress) -> RemoteInfo:
    """What the record says of `file`; must agree with what is pinned."""
    files = record_files(base, file.record, retry, progress)
    if file.name not in files:
        printable = [name for name in files if name.isprintable()][:50]
        raise SourceError(f"record {file.record} has no file {file.name!r}{nearest(file.name, printable)}")
    info = files[file.name]
    agree(file, "size", file.size, info.size, "its record")
    agree(file, "md5", file.md5, info.md5, "its record")
    return info


def record_files(base: str, record: str, retry: Retry, progress: Progress) -> dict[str, RemoteInfo]:
    """All files of a record by name, as its API lists them."""
    url = f"{base}/api/records/{quote(record, safe='')}"

    def ask() -> bytes:
        with request(url, {"Accept": "application/json"}, retry.timeout) as answer, reading(url):
            body = b""
            while len(body) < API_LIMIT and (chunk := answer.read1(CHUNK)):
                body += chunk
            if len(body) != (answer.number("Content-Length") or len(body)):
                raise TransientError(f"{url}: the connection was cut")
            return body

    try:
        answered = json.loads(persist(ask, retry, progress))
        found = str(int(answered.get("id", record)))
        entries = {str(entry["key"]): entry for entry in answered["files"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(f"{url}: the answer is not a record as Zenodo describes one") from error
    if found != record:
        raise SourceError(f"{url}: answers with record {found}: {record} is a concept id, pin {found}")
    return {name: _info(entry, name, url) for name, entry in entries.items()}


def _info(entry: dict[str, object], name: str, url: str) -> RemoteInfo:
    stated = re.fullmatch(r"md5:([0-9a-fA-F]{32})", str(entry.get("checksum")))
    size = entry.get("size")
    if not isinstance(size, int) or size < 0:
        raise UnavailableError(f"{url}: states no size for {name}")
    return RemoteInfo(size, stated and stated[1].lower())


def agree(file: RemoteFile, what: str, expected: int | str | None, stated: int | str | None, by: str) -> None:
    """Refuse `stated` where it contradicts `expected`; unknown contradicts nothing."""
    if expected is None or stated is None or str(expected).lower() == str(stated).lower():
        return
    raise SourceError(
        f"{file.name} of record {file.record}: expected {what} {expected}, but {by} says {stated}; nothing was stored"
    )


def download(base: str, file: RemoteFile, final: Path, retry: Retry, progress: Progress) -> LocalFile:
    """Fetch `file` to `final` from its record, then from its mirrors; the caller holds the lock."""
    failures: list[SourceError] = []
    urls = [f"{base}/records/{quote(file.record, safe='')}/files/{quote(file.name, safe='')}?download=1"]
    try:
        info = record_file(base, file, retry, progress)
        file = replace(file, size=info.size, md5=info.md5 or file.md5)
    except UnavailableError as error:
        failures.append(error)
        urls = []  # what does not answer for its metadata will not for its bytes
    if file.md5 or file.sha256:
        urls += file.mirrors
    elif file.mirrors and not urls:
        progress.note(f"{file.name}: mirrors are not asked, because no digest is known to check them by")
    with Part(final, file) as part:
        for url in urls:
            attempt = partial(_attempt, url, file, part, retry, progress)
            try:
                progress.start(file.name, file.size, part.size)
                persist(attempt, retry, progress, lambda: part.size)
                return part.finish(url)
            except DiskFullError:
                raise
            except SourceError as error:
                failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise SourceError(f"{file.name} of record {file.record}: no source delivered it: {'; '.join(map(str, failures))}")


def _attempt(url: str, file: RemoteFile, part: Part, retry: Retry, progress: Progress) -> None:
    """One connection: ask for what is missing and append it."""
    if file.size is not None and part.size == file.size:
        return
    part.require_space()
    with request(url, part.range_headers(url), retry.timeout) as answer:
        _check_kind(url, answer, file)
        if not _take_up(url, answer, file, part, progress):
            return
        length = answer.number("Content-Length")
        end = file.size if file.size is not None else length and part.size + length
        while True:
            with reading(url):
                chunk = answer.read1(CHUNK)
            if not chunk:
                break
            if end is not None and part.size + len(chunk) > end:
                raise UnavailableError(f"{url}: sends more than the {end} bytes of {file.name}")
            part.write(chunk)
            progress.advance(len(chunk))
    if end is not None and part.size < end:
        raise TransientError(f"{url}: the connection was cut after {part.size} of {end} bytes")


def _check_kind(url: str, answer: Answer, file: RemoteFile) -> None:
    """Before the first byte: a web page, a re-encoding or another file's ETag is not what was asked for."""
    if answer.status == 416:
        return
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html") and (file.size is None or answer.number("Content-Length") != file.size):
        raise UnavailableError(f"{url}: answered with a web page instead of {file.name}; nothing was stored")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UnavailableError(f"{url}: answered with a re-encoded file; nothing was stored")
    tagged = re.fullmatch(r'"md5:([0-9a-fA-F]{32})"', answer.headers.get("ETag", ""))
    agree(file, "md5", file.md5, tagged and tagged[1], f"the ETag of {url}")
    total = answer.range[2] if answer.status == 206 and answer.range else None
    agree(file, "size", file.size, total, url)
    if answer.status == 200:
        agree(file, "size", file.size, answer.number("Content-Length"), url)


def _take_up(url: str, answer: Answer, file: RemoteFile, part: Part, progress: Progress) -> bool:
    """Make `part` end where the answer's body begins; False when nothing is missing."""
    if answer.status == 416:
        if part.size and answer.headers.get("Content-Range", "").strip() == f"bytes */{part.size}":
            return False  # all of it is here, if the digests say so too
        part.restart()
        raise TransientError(f"{url}: has no such range")
    if answer.status == 206:
        if answer.range and answer.range[0] == part.size > 0 and part.continues(url, answer.headers.get("ETag")):
            return True
        asked, start = part.size, answer.range[0] if answer.range else "an unknown byte"
        part.restart()
        raise TransientError(f"{url}: asked for bytes from {asked}, answered from {start}; starting over")
    if part.size:
        progress.note(f"{url}: sends the whole file again instead of the rest")
        progress.start(file.name, file.size, 0)
    part.begin(url, answer.headers.get("ETag"))
    return True
