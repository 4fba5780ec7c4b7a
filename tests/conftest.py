"""Shared fixtures, and the rule for tests that need something a bare machine may lack.

``@pytest.mark.needs("realdata")`` skips, with a word, where the thing is absent; where ``LENSBENCH_REQUIRE``
names it (a comma-separated list: CI sets it), its absence is a failure, because a skipped test proves nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.peer_process import Peers

# How long an example takes is a matter of what else the machine does: no test is timed.
settings.register_profile("lensbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lensbench")

ROOT = Path(__file__).resolve().parent.parent


def _realdata() -> Path:
    return Path(os.environ.get("LENSBENCH_REALDATA", ROOT.parent / "shared" / "realdata"))


def chromium() -> str | None:
    """Path of a Chromium that is already on the machine."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None and importlib.util.find_spec("torchmetrics") is not None


def peers_folder() -> Path:
    """Where tests/peers.txt is installed: ``LENSBENCH_PEERS``, or ``.peers`` beside ``.venv``."""
    return Path(os.environ.get("LENSBENCH_PEERS", ROOT / ".peers"))


def _has_peers() -> bool:
    return (peers_folder() / "stardist").is_dir() and (peers_folder() / "cellpose").is_dir()


PRESENT: dict[str, tuple[Callable[[], bool], str]] = {
    "realdata": (lambda: _realdata().is_dir(), "real samples (../shared/realdata or LENSBENCH_REALDATA)"),
    "torch": (_has_torch, "torch and torchmetrics (the CPU wheel)"),
    "dvc": (lambda: importlib.util.find_spec("dvc") is not None, "dvc"),
    "peers": (_has_peers, "stardist and cellpose (see tests/peers.txt)"),
    "chromium": (lambda: chromium() is not None, "chromium"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = {name for name in os.environ.get("LENSBENCH_REQUIRE", "").split(",") if name}
    for mark in item.iter_markers("needs"):
        (name,) = mark.args
        present, what = PRESENT[name]
        if not present():
            if name in required:
                pytest.fail(f"LENSBENCH_REQUIRE names {name!r}, but {what} is not here", pytrace=False)
            pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real samples (use with ``@pytest.mark.needs("realdata")``)."""
    return _realdata()


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    """Peers can be asked, in a process of their own (use with ``@pytest.mark.needs("peers")``)."""
    with Peers(peers_folder()) as process:
        yield process


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests in a `workspace`: the specimen is built once for them all."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def workspace(tmp_path: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch, _own_home: None) -> Path:
    """An empty current folder, and the shared cache."""
    monkeypatch.setenv("LENSBENCH_HOME", str(shared_home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, and none reaches for the network."""
    monkeypatch.setenv("LENSBENCH_HOME", str(tmp_path / "lensbench-home"))
    monkeypatch.setenv("LENSBENCH_ZENODO", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("LENSBENCH_SOURCE", raising=False)
