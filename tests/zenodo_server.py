"""A stand-in for Zenodo on 127.0.0.1, with its contradictory headers and every way a download goes wrong.

>>> with ZenodoServer({"16679297": {"data.zip": b"..."}}) as server:  # doctest: +SKIP
...     monkeypatch.setenv("LENSBENCH_ZENODO", server.url)
...     server.behave(Behaviour(cut_after=1000), Behaviour(status=503))
...     fetch(...)
...     assert server.sent_twice("16679297", "data.zip") == 0

Behaviours are used up one per request for bytes (`behave`) or for a record (`behave_api`); after the last one
the server is honest. Bytes are counted as they are handed to the kernel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

CHUNK = 64 << 10
PAGE = b"<!DOCTYPE html><html><body>Zenodo is down for maintenance</body></html>"


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered; the default is how Zenodo answers on a good day."""

    status: int = 200
    """Another one than 200: an error page with it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to, or replacing, the usual ones."""
    cut_after: int | None = None
    """Bytes of the body after which the connection is closed."""
    stall_after: int | None = None
    """Bytes after which nothing more comes, for `stall` seconds."""
    stall: float = 5.0
    ignore_range: bool = False
    """200 and the whole file, whatever was asked."""
    length: int | None = None
    """What Content-Length says instead of the truth."""
    page: bool = False
    """A web page with status 200."""
    shift: int = 0
    """A 206 that starts so many bytes after the one asked for."""
    etag: str | None = None
    corrupt: bool = False
    """The first byte is another one; headers as for the true file."""
    chunked: bool = False
    """No length: chunked transfer."""
    extra: bytes = b""
    """Sent after the file, when chunked."""
    pause: float = 0.0
    """Seconds between 64 KiB pieces: a slow line."""


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    range: str | None
    if_range: str | None
    agent: str | None


@dataclass
class _File:
    data: bytes
    md5: str
    sent: list[tuple[int, int]] = field(default_factory=list)


class ZenodoServer:
    """Serves `records` (record id → file name → content or path); a context manager."""

    def __init__(
        self,
        records: Mapping[str, Mapping[str, bytes | Path]],
        *,
        concepts: Mapping[str, str] | None = None,
        checksums: bool = True,
    ) -> None:
        self.concepts = dict(concepts or {})
        """Concept id → the record it resolves to."""
        self.checksums = checksums
        self.requests: list[Request] = []
        self._files: dict[tuple[str, str], _File] = {}
        for record, files in records.items():
            for name, content in files.items():
                data = content if isinstance(content, bytes) else content.read_bytes()
                self._files[record, name] = _File(data, hashlib.md5(data).hexdigest())
        self._behaviours: deque[Behaviour] = deque()
        self._api_behaviours: deque[Behaviour] = deque()
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def behave(self, *behaviours: Behaviour) -> None:
        """Answer the next requests for bytes so, one each."""
        self._behaviours.extend(behaviours)

    def behave_api(self, *behaviours: Behaviour) -> None:
        """Answer the next requests for a record so, one each."""
        self._api_behaviours.extend(behaviours)

    def sent(self, record: str, name: str) -> int:
        """Bytes of the file handed to the kernel so far, repeats included."""
        with self._lock:
            return sum(stop - start for start, stop in self._files[record, name].sent)

    def sent_twice(self, record: str, name: str) -> int:
        """Bytes sent more than once: those sent, less those of the file that were sent at all."""
        with self._lock:
            spans = sorted(self._files[record, name].sent)
        covered, reach = 0, 0
        for start, stop in spans:
            covered += max(0, stop - max(start, reach))
            reach = max(reach, stop)
        return sum(stop - start for start, stop in spans) - covered

    def ranges(self) -> list[str | None]:
        """The Range headers of the requests for bytes, in order."""
        return [request.range for request in self.requests if "/files/" in request.path]

    def record_json(self, record: str) -> bytes | None:
        """The API's answer, with the links that refuse ranges; None for an unknown record."""
        record = self.concepts.get(record, record)
        files = [
            {
                "key": name,
                "size": len(file.data),
                **({"checksum": f"md5:{file.md5}"} if self.checksums else {}),
                "links": {"self": f"{self.url}/api/records/{record}/files/{quote(name, safe='')}/content"},
            }
            for (owner, name), file in self._files.items()
            if owner == record
        ]
        if not files:
            return None
        concept = next((key for key, value in self.concepts.items() if value == record), str(int(record) - 1))
        about = {
            "id": int(record),
            "conceptrecid": concept,
            "doi": f"10.5281/zenodo.{record}",
            "metadata": {"license": {"id": "cc-by-4.0"}},
            "files": files,
        }
        return json.dumps(about).encode()

    def next_behaviour(self, api: bool) -> Behaviour:
        """The behaviour that is due."""
        with self._lock:
            due = self._api_behaviours if api else self._behaviours
            return due.popleft() if due else Behaviour()

    def file(self, record: str, name: str) -> _File | None:
        """The file, or None."""
        return self._files.get((record, name))

    def count(self, file: _File, start: int, stop: int) -> None:
        """Note that bytes [start, stop) went out."""
        with self._lock:
            file.sent.append((start, stop))

    def _handler(self) -> type[_Handler]:
        return type("Handler", (_Handler,), {"zenodo": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    zenodo: ZenodoServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        headers = self.headers
        self.zenodo.requests.append(
            Request(self.path, headers.get("Range"), headers.get("If-Range"), headers.get("User-Agent"))
        )
        url = urlsplit(self.path)
        api = re.fullmatch(r"/api/records/([^/]+)", url.path)
        content = re.fullmatch(r"/api/records/([^/]+)/files/([^/]+)/content", url.path)
        direct = re.fullmatch(r"/records/([^/]+)/files/([^/]+)", url.path)
        try:
            if api:
                self._record(unquote(api[1]), self.zenodo.next_behaviour(True))
            elif content:
                self._file(content, Behaviour(ignore_range=True))
            elif direct and parse_qs(url.query).get("download") == ["1"]:
                self._file(direct, self.zenodo.next_behaviour(False))
            else:
                self._page(404)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client went away, as clients do

    def _record(self, record: str, behaviour: Behaviour) -> None:
        body = self.zenodo.record_json(record)
        if behaviour.status != 200 or behaviour.page or body is None:
            self._page(404 if body is None else behaviour.status, behaviour.headers)
            return
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, behaviour)
        self.wfile.write(body[: behaviour.cut_after])

    def _file(self, match: re.Match[str], behaviour: Behaviour) -> None:
        file = self.zenodo.file(unquote(match[1]), unquote(match[2]))
        if file is None or behaviour.status != 200 or behaviour.page:
            self._page(404 if file is None else behaviour.status, behaviour.headers)
            return
        size = len(file.data)
        etag = behaviour.etag or f'"md5:{file.md5}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        valid = self.headers.get("If-Range", etag) == etag
        start = int(asked[1]) if asked and valid and not behaviour.ignore_range else None
        if start is not None and start >= size:
            self._page(416, {"Content-Range": f"bytes */{size}"})
            return
        begin = 0 if start is None else start + behaviour.shift
        answer = {
            "Content-Type": "application/octet-stream",
            "ETag": etag,
            "Content-MD5": base64.b64encode(bytes.fromhex(file.md5)).decode(),
            "X-RateLimit-Limit": "60",
            "Retry-After": "59",  # sent with every answer, also the good ones
        }
        if behaviour.chunked:
            answer["Transfer-Encoding"] = "chunked"
        else:
            answer["Content-Length"] = str(size - begin if behaviour.length is None else behaviour.length)
        if start is not None:
            answer["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
        self._head(200 if start is None else 206, answer, behaviour, ranges=True)
        self._body(file, begin, behaviour)

    def _body(self, file: _File, begin: int, behaviour: Behaviour) -> None:
        limits = [len(file.data) - begin, behaviour.cut_after, behaviour.stall_after]
        stop = begin + min(limit for limit in limits if limit is not None)
        for at in range(begin, stop, CHUNK):
            end = min(at + CHUNK, stop)
            piece = file.data[at:end]
            if behaviour.corrupt and at == 0:
                piece = bytes([piece[0] ^ 1]) + piece[1:]
            self._send(piece, behaviour.chunked)
            self.zenodo.count(file, at, end)
            if behaviour.pause:
                self.zenodo.closing.wait(behaviour.pause)
        if behaviour.extra:
            self._send(behaviour.extra, behaviour.chunked)
        if behaviour.stall_after is not None:
            self.wfile.flush()
            self.zenodo.closing.wait(behaviour.stall)
        elif behaviour.chunked and behaviour.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, piece: bytes, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def _head(self, status: int, headers: Mapping[str, str], behaviour: Behaviour, ranges: bool = False) -> None:
        self.send_response(status)
        if ranges:  # both, as Zenodo does
            self.send_header("Accept-Ranges", "none")
            self.send_header("Accept-Ranges", "bytes")
        for name, value in {**headers, **behaviour.headers}.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _page(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self._head(
            status,
            {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(PAGE)), **(headers or {})},
            Behaviour(),
        )
        self.wfile.write(PAGE)
