"""Shards travel: pushed to a folder, pulled from it and from a plain web server over it, and verified on arrival."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensbench.data.store import prepare
from lensbench.pipeline import restate, write_shards
from lensbench.registry import get_dataset
from tests.conftest import ROOT

NAME, CONFIG = "aitslab_bioimaging1", "specimen"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A static web server over the folder that is the remote."""
    (tmp_path / "store").mkdir()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "store"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def run(repo: Path, *command: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    env = {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(repo.parent),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(repo.parent / "site"),
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.needs("dvc")
def test_shards_come_back_from_a_folder_and_from_plain_http(tmp_path: Path, workspace: Path, web: str) -> None:
    dataset = get_dataset(NAME, ROOT / "registry")
    repo = tmp_path / "repo"
    shards = repo / "build" / f"{NAME}-{CONFIG}"
    shards.mkdir(parents=True)
    prepared = prepare(dataset, None, CONFIG)
    names = [path.name for path in write_shards(prepared, shards)]
    run(repo, "git", "init", "--quiet")
    run(repo, "dvc", "init", "--quiet")
    run(repo, "dvc", "add", "--quiet", str(shards.relative_to(repo)))
    run(repo, "dvc", "remote", "add", "--local", "disk", str(tmp_path / "store"))
    run(repo, "dvc", "remote", "add", "--local", "web", web)
    run(repo, "dvc", "push", "--quiet", "-r", "disk")
    kept = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(kept) == len(names) + 1  # the shards and DVC's list of them: no loose image
    for remote in ("disk", "web"):
        shutil.rmtree(repo / ".dvc" / "cache")
        shutil.rmtree(shards)
        run(repo, "dvc", "pull", "--quiet", "-r", remote)
        assert sorted(path.name for path in shards.iterdir()) == sorted(names)
        found = restate(shards, dataset, CONFIG)
        assert {split: facts["content_sha256"] for split, facts in found.items()} == prepared.digests
