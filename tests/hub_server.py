"""A stand-in for the Hugging Face Hub on 127.0.0.1: dataset repositories, commits, tags, large files, tokens.

>>> with HubServer() as hub:  # doctest: +SKIP
...     subprocess.run([...], env={**os.environ, **hub.env(tmp_path)})
...     hub.repos["org/name"].files()["README.md"]

`huggingface_hub` reads its address when it is imported, so clients run in processes of their own. The Xet protocol
is not spoken: `env` turns it off. A `refusals` entry answers one kind of request with an error page of that status.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml  # type: ignore[import-untyped]

TOKEN = "hf_right"
USER = "someone"
LARGE = (".parquet",)
"""Names that go to large file storage, as the Hub's own .gitattributes say."""


@dataclass
class Repo:
    """One dataset repository: its commits, oldest first, and what each tag names."""

    private: bool
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)
    """(oid, title, files)."""
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, title: str, files: dict[str, bytes]) -> str:
        """Add a commit; returns its oid."""
        oid = hashlib.sha1(f"{len(self.commits)} {title} {sorted(files)}".encode()).hexdigest()
        self.commits.append((oid, title, files))
        return oid

    def resolve(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(oid, files) of a branch, tag or commit."""
        head = self.commits[-1][0]
        oid = head if revision in ("main", "refs/heads/main") else self.tags.get(revision, revision)
        return next(((found, files) for found, _, files in self.commits if found == oid), None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Files by path; KeyError for an unknown revision."""
        found = self.resolve(revision)
        if found is None:
            raise KeyError(revision)
        return found[1]


class HubServer:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.refusals: dict[str, int] = {}
        """Kind of request (``commit``, ``create``, ``tag`` …) → the status it is answered with."""
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def env(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """Environment of a client: this server, a home of its own, a token or none."""
        names = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        return {**names, "HF_TOKEN": token or "", "HF_HUB_DISABLE_TELEMETRY": "1", "USE_TORCH": "0"}

    def add(self, repo: str, files: dict[str, bytes], private: bool = False) -> Repo:
        """A repository as the Hub makes it, with `files` in its first commit."""
        made = self.repos[repo] = Repo(private)
        made.commit("initial commit", {".gitattributes": b"*.parquet filter=lfs\n", **files})
        return made


ROUTES = [
    ("GET", "whoami", r"/api/whoami-v2"),
    ("POST", "create", r"/api/repos/create"),
    ("POST", "yaml", r"/api/validate-yaml"),
    ("GET", "refs", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/refs"),
    ("GET", "tree", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?"),
    ("POST", "paths", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)"),
    ("POST", "preupload", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)"),
    ("POST", "commit", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)"),
    ("POST", "tag", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tag/(?P<revision>[^/]+)"),
    ("DELETE", "untag", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tag/(?P<revision>[^/]+)"),
    ("POST", "batch", r"/datasets/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch"),
    ("PUT", "put", r"/lfs/(?P<oid>[0-9a-f]{64})"),
    ("HEAD", "resolve", r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
    ("GET", "resolve", r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
    ("GET", "info", r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?"),
]
OPEN = ("resolve", "info", "tree", "paths", "refs")
"""What needs no token."""


class _RefusedError(Exception):
    def __init__(self, status: int, text: str, code: str = "", **more: str) -> None:
        super().__init__(text)
        self.status, self.code, self.more = status, code, more


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.query = parse_qs(url.query)
        found = next(
            ((name, m) for verb, name, p in ROUTES if verb == self.command and (m := re.fullmatch(p, url.path))), None
        )
        try:
            if found is None:
                raise _RefusedError(404, f"no such page: {url.path}")
            name, match = found
            fields = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
            with self.hub.lock:
                self.hub.requests.append(name)
                self._admit(name)
                getattr(self, f"_{name}")(**fields)
        except _RefusedError as refused:
            headers = {"X-Error-Message": str(refused)} | ({"X-Error-Code": refused.code} if refused.code else {})
            self._send(json.dumps({"error": str(refused), **refused.more}).encode(), refused.status, headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client went away, as clients do

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _admit(self, name: str) -> None:
        if name in self.hub.refusals:
            raise _RefusedError(self.hub.refusals[name], f"{name} is refused to {self.headers.get('Authorization')}")
        if name not in (*OPEN, "put") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _RefusedError(401, "Invalid username or password.")

    def _repo(self, repo: str) -> Repo:
        if repo not in self.hub.repos:
            raise _RefusedError(404, "Repository not found", "RepoNotFound")
        return self.hub.repos[repo]

    def _at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]]:
        found = self._repo(repo).resolve(revision)
        if found is None:
            raise _RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    # -- accounts and repositories -------------------------------------------------------------------------------

    def _whoami(self) -> None:
        self._json({"type": "user", "name": USER, "orgs": [{"name": "org"}], "auth": {"type": "access_token"}})

    def _create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or USER
        if owner not in (USER, "org"):
            raise _RefusedError(403, f"You don't have the rights to create a dataset under the namespace {owner!r}")
        if not re.fullmatch(r"[\w.-]{1,96}", asked["name"]) or asked.get("type") != "dataset":
            raise _RefusedError(400, "Invalid repository name")
        repo = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/datasets/{repo}"
        if repo in self.hub.repos:
            raise _RefusedError(409, "You already created this dataset repo", url=url)
        self.hub.add(repo, {}, asked.get("visibility") == "private")
        self._json({"url": url, "name": repo})

    def _yaml(self) -> None:
        text = json.loads(self.body)["content"]
        found = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
        data = yaml.safe_load(found[1]) if found else None
        wrong = [] if isinstance(data, dict) else [{"message": "front matter is missing"}]
        self._json({"errors": wrong, "warnings": []}, 400 if wrong else 200)

    def _info(self, repo: str, revision: str = "main") -> None:
        oid, files = self._at(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(files)]
        about = {"id": repo, "sha": oid, "private": self._repo(repo).private, "siblings": siblings, "tags": []}
        self._json({**about, "downloads": 0, "likes": 0, "disabled": False, "gated": False})

    def _refs(self, repo: str) -> None:
        found = self._repo(repo)
        head = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.commits[-1][0]}
        tags = [{"name": t, "ref": f"refs/tags/{t}", "targetCommit": oid} for t, oid in found.tags.items()]
        self._json({"branches": [head], "converts": [], "tags": tags})

    def _tag(self, repo: str, revision: str) -> None:
        found, tag = self._repo(repo), json.loads(self.body)["tag"]
        if tag in found.tags:
            raise _RefusedError(409, f"Tag {tag} already exists")
        found.tags[tag] = self._at(repo, revision)[0]
        self._json({})

    def _untag(self, repo: str, revision: str) -> None:
        del self._repo(repo).tags[revision]
        self._json({})

    # -- reading --------------------------------------------------------------------------------------------------

    def _tree(self, repo: str, revision: str, path: str = "") -> None:
        _, files = self._at(repo, revision)
        prefix = f"{path}/" if path else ""
        inside = {name: data for name, data in files.items() if name.startswith(prefix)}
        if path and not inside:
            raise _RefusedError(404, f"{path} does not exist on {revision}", "EntryNotFound")
        deep = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folders = {
            name[: at + len(prefix)]
            for name in inside
            for at, letter in enumerate(name[len(prefix) :])
            if letter == "/" and (deep or "/" not in name[len(prefix) : at + len(prefix)])
        }
        rows = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        rows += [_entry(n, data) for n, data in sorted(inside.items()) if deep or "/" not in n[len(prefix) :]]
        self._json(rows)

    def _paths(self, repo: str, revision: str) -> None:
        _, files = self._at(repo, revision)
        form = self.headers.get("Content-Type", "")
        asked = json.loads(self.body)["paths"] if "json" in form else parse_qs(self.body.decode())["paths"]
        rows = [_entry(path, files[path]) for path in asked if path in files]
        for path in asked:
            if path not in files and any(name.startswith(f"{path}/") for name in files):
                rows.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self._json(rows)

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        oid, files = self._at(repo, revision)
        if path not in files:
            raise _RefusedError(404, "Entry not found", "EntryNotFound")
        data = files[path]
        headers = {"ETag": f'"{_entry(path, data)["oid"]}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.command == "GET":
            start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
            self._send(data[start:stop], 206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})
        else:
            self._send(data, 200, headers)

    # -- writing --------------------------------------------------------------------------------------------------

    def _preupload(self, repo: str, revision: str) -> None:
        _, files = self._at(repo, revision)
        rows = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["path"].endswith(LARGE) else "regular"
            entry = _entry(file["path"], files[file["path"]]) if file["path"] in files else {}
            oid = entry.get("lfs", entry).get("oid")
            rows.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": rows})

    def _batch(self, repo: str) -> None:
        self._repo(repo)
        rows = []
        for item in json.loads(self.body)["objects"]:
            action = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
            rows.append({**item, **({} if item["oid"] in self.hub.objects else {"actions": action})})
        self._json({"transfer": "basic", "objects": rows})

    def _put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400, "these bytes have another sha256")
        self.hub.objects[oid] = self.body
        self._send(b"", 200, {})

    def _commit(self, repo: str, revision: str) -> None:
        _, before = self._at(repo, revision)
        files, title = dict(before), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise _RefusedError(400, f"unknown operation {item['key']}")
        oid = self._repo(repo).commit(title, files)
        self._json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/datasets/{repo}/commit/{oid}"})

    # -- answers --------------------------------------------------------------------------------------------------

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the Hub lists it: a git blob's oid, and its sha256 where it is a large one."""
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        large = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "size": len(data), "oid": _blob(pointer), "lfs": large}
    return {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
