"""`bench publish --to hf:ORG/NAME` against a stand-in for the Hub, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lensbench.publish import NOTES, publish, read_notes
from lensbench.registry import get_dataset
from tests.hub_server import TOKEN, HubServer

NAME = "aitslab_bioimaging1"
REPO = "org/nuclei"
PUSH = """
import json, sys
from pathlib import Path
from lensbench.publish.hub import HubError, push

for line in sys.stdin:
    folder, repo = json.loads(line)
    try:
        print("pushed", push(Path(folder), repo), flush=True)
    except HubError as error:
        print("refused", error, flush=True)
"""
"""Pushes folders as the command does, without building them."""
PULL = """
import sys, json, datasets
rows = datasets.load_dataset(sys.argv[1], "specimen", revision=sys.argv[2])
print(json.dumps({split: part["id"][:] for split, part in rows.items()}))
try:
    datasets.load_dataset(sys.argv[1], "specimen", revision="9.9")
except datasets.exceptions.DatasetNotFoundError as error:
    print(error)
"""
"""Reads a repository with nothing but `datasets`: a version that is there, and one that is not."""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def folder(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder, to be copied by who changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSBENCH_HOME", str(shared_home))
        to = tmp_path_factory.mktemp("published") / "nuclei"
        return publish(get_dataset(NAME), to, configs=["specimen"]).folder


class Pusher:
    """A process that pushes one folder after the other, for its import takes longer than they do."""

    def __init__(self, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-c", PUSH]
        self.process = subprocess.Popen(
            command, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def push(self, folder: Path, repo: str) -> str:
        """What came of it: ``pushed ADDRESS`` or ``refused WHY``, one line."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), repo]) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip()


@pytest.fixture
def pusher(hub: HubServer, tmp_path: Path) -> Iterator[Pusher]:
    running = Pusher(hub.env(tmp_path / "hf"))
    yield running
    running.process.communicate(timeout=30)
    assert running.process.returncode == 0


def run(env: Mapping[str, str], *args: str | Path) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, **env}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, env=full, capture_output=True, text=True, check=False, timeout=120)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command that failed as it should."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    return errors[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_push_is_a_repository_a_tag_and_the_same_rows(
    hub: HubServer, folder: Path, workspace: Path, shared_home: Path
) -> None:
    env = hub.env(workspace / "hf")
    base = ("-m", "lensbench", "publish", NAME, "--config", "specimen", "--to", f"hf:{REPO}")
    hub.refusals["commit"] = 500
    text = one_line(run(env, *base, "--private"))
    kept = shared_home / "publish" / "org--nuclei"
    assert f"hf:{REPO}: the Hub refuses (500)" in text and f"lies in {kept}" in text
    assert read_notes(kept) is not None and hub.repos[REPO].private and not hub.repos[REPO].tags

    hub.refusals.clear()
    done = run(env, *base)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{hub.url}/datasets/{REPO}/tree/1.0.0"
    assert not kept.exists()
    repo = hub.repos[REPO]
    pushed = {path: data for path, data in repo.files().items() if path != ".gitattributes"}
    card = pushed.pop("README.md").decode()
    ours = contents(folder)
    assert f'load_dataset("{REPO}", "specimen", revision="1.0.0")' in card
    ours.pop("README.md")
    theirs, mine = (json.loads(files.pop(NOTES)) for files in (pushed, ours))
    assert theirs["configs"] == mine["configs"] and pushed == ours
    assert repo.tags == {"1.0.0": repo.commits[-1][0]} and "yaml" in hub.requests
    assert repo.commits[-1][1] == f"{NAME} 1.0.0, by bench publish"

    loaded = run(env, "-c", PULL, REPO, "1.0.0")
    assert loaded.returncode == 0, loaded.stderr
    ids, unknown = loaded.stdout.splitlines()
    for split, found in json.loads(ids).items():
        (path,) = folder.glob(f"data/specimen/{split}-*.parquet")
        assert found == pq.read_table(path)["id"].to_pylist()
    assert "'9.9' doesn't exist" in unknown


def test_a_tag_never_loses_or_changes_a_row(hub: HubServer, pusher: Pusher, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    done = f"pushed {hub.url}/datasets/{REPO}/tree/1.0.0"
    assert pusher.push(mine, REPO) == done
    repo = hub.repos[REPO]
    first = dict(repo.tags)
    assert pusher.push(mine, REPO) == done and repo.tags == first and len(repo.commits) == 2, "nothing to do"

    notes = json.loads((mine / NOTES).read_text())
    notes["configs"]["more"] = notes["configs"]["specimen"]
    (mine / NOTES).write_text(json.dumps(notes))
    (mine / "data" / "specimen").rename(mine / "data" / "renamed")
    assert pusher.push(mine, REPO) == done
    assert repo.tags == {"1.0.0": repo.commits[-1][0]} != first, "more is no loss"
    assert {p.split("/")[1] for p in repo.files() if p.startswith("data/")} == {"renamed"}, "no old shard stays"

    notes["configs"]["specimen"]["splits"]["test"]["sha256"] = "0" * 64
    (mine / NOTES).write_text(json.dumps(notes))
    before = len(repo.commits)
    refused = pusher.push(mine, REPO)
    assert "has a tag 1.0.0 that holds other rows (specimen/test)" in refused and f"lies in {mine}" in refused
    assert len(repo.commits) == before

    notes["dataset"] = "other"
    (mine / NOTES).write_text(json.dumps(notes))
    assert f"hf:{REPO} holds {NAME}, not other" in pusher.push(mine, REPO)


def test_a_hub_that_repeats_the_token_does_not_get_it_printed(hub: HubServer, pusher: Pusher, folder: Path) -> None:
    hub.refusals["create"] = 400
    refused = pusher.push(folder, REPO)
    assert "create is refused to Bearer (the token)" in refused and TOKEN not in refused
    env = hub.env(folder.parent / "hf")
    hub.refusals = {"whoami": 400}
    done = run(env, "-m", "lensbench", "--debug", "publish", NAME, "--to", f"hf:{REPO}")
    assert done.returncode == 2 and "Traceback" in done.stderr and TOKEN not in done.stderr + done.stdout, done.stderr


def test_what_others_hold_is_left_alone(hub: HubServer, pusher: Pusher, folder: Path) -> None:
    theirs = hub.add("org/theirs", {"README.md": b"", "train.csv": b"a,b\n"})
    assert "refused hf:org/theirs holds train.csv, which bench publish did not" in pusher.push(folder, "org/theirs")
    assert theirs.files().keys() == {".gitattributes", "README.md", "train.csv"}
    refused = pusher.push(folder, "others/nuclei")
    assert "hf:others/nuclei: the token may not write there (403)" in refused and f"lies in {folder}" in refused
    damaged = hub.add("org/damaged", {NOTES: b'{"schema": 1, "configs": []}'})
    assert "is not what bench publish writes" in pusher.push(folder, "org/damaged")
    assert len(theirs.commits) == len(damaged.commits) == 1 and read_notes(folder) is not None


@pytest.mark.parametrize(
    ("repo", "change", "words"),
    [
        (REPO, {"HF_TOKEN": ""}, "needs a token"),
        (REPO, {"HF_TOKEN": "hf_wrong"}, "does not know the token (401)"),
        (REPO, {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        (REPO, {"HF_HUB_OFFLINE": "1"}, "the network is off"),
        ("nuclei", {}, "write hf:ORG/NAME"),
        ("org/a--b..c", {}, "is no name of a repository"),
        ("org/../x", {}, "is no name of a repository"),
    ],
)
def test_what_cannot_be_pushed_is_one_line_before_anything_is_built(
    hub: HubServer, tmp_path: Path, repo: str, change: dict[str, str], words: str
) -> None:
    done = run(hub.env(tmp_path / "hf") | change, "-m", "lensbench", "publish", NAME, "--to", f"hf:{repo}")
    assert words in one_line(done) and not done.stdout
    assert not hub.repos and not (Path(os.environ["LENSBENCH_HOME"]) / "publish").exists()
