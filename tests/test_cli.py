"""The command line: instant help, one line per mistake, and the maintainer's folder of strangers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lensbench.benchmark import get_benchmark
from lensbench.cli import COMMANDS, bench
from lensbench.record import read_record
from lensbench.splits import read_manifest
from tests.graphs import broken_model, colour_model, write

HEAVY = ("numpy", "pandas", "pyarrow", "datasets", "torch", "sklearn", "dvc", "rich", "onnxruntime", "onnx", "cv2")
SLUG = "lifewatch_flowcam-specimen"


pytestmark = pytest.mark.usefixtures("workspace")


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(bench, [str(arg) for arg in args])


@pytest.mark.parametrize("args", [["--help"], ["eval", "--help"], ["refresh", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {args}; from lensbench.cli import bench; bench(standalone_mode=False); "
    code += "print(); print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()}
    assert "click" in loaded and not loaded & set(HEAVY)


def test_every_command_is_there_and_says_what_it_does() -> None:
    for name, text in COMMANDS.items():
        done = call(name, "--help")
        assert done.exit_code == 0 and len(text) > 20
        assert done.output.startswith("Usage: ")


def test_verify_prints_unknown_as_unknown() -> None:
    done = call("verify", "lifewatch_flowcam")
    assert done.exit_code == 0, done.output
    assert "unknown  decrop2025/train" in done.output and "ok       decrop2025/test: 33,718 rows" in done.output


def test_a_specimen_of_any_size_has_a_board_of_its_own(tmp_path: Path) -> None:
    assert call("specimen", "lifewatch_flowcam", "--size", "400", "--seed", "5", "--to", "big").exit_code == 0
    model = write(tmp_path, colour_model(), "my.onnx")
    base = ["eval", "--model", str(model), "--benchmark", "lifewatch_flowcam", "--config", "specimen", "--json"]
    own = call(*base, "--labels", "decrop2025", "--source", "big")
    assert own.exit_code == 0, own.output
    result = json.loads(own.stdout)["result"]
    assert (
        result["complete"] and result["digests"]["benchmark"] != get_benchmark("lifewatch_flowcam", "specimen").digest
    )
    small = call("specimen", "lifewatch_flowcam", "--size", "1", "--to", "small")
    assert small.exit_code != 0 and "cannot hold" in str(small.exception)


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    """A folder of strangers: two that are fine, three that are not."""
    root = tmp_path / "leaderboards" / "submissions"
    card = 'name = "{}"\nbenchmark = "lifewatch_flowcam"\nconfig = "specimen"\nlabels = "decrop2025"\n'
    for name, data in (("good", colour_model()), ("nan", broken_model("nan"))):
        write(root / name, data)
        (root / name / "model.toml").write_text(card.format(name))
    (root / "empty").mkdir()
    (root / "lost").mkdir()
    (root / "lost" / "model.toml").write_text(card.format("lost"))
    spec = get_benchmark("lifewatch_flowcam", "specimen")
    from lensbench.benchmark import benchmark_dataset

    manifest = read_manifest(benchmark_dataset(spec), spec.config, spec.split)
    rows = "".join(f"{key},Tripos\n" for key in manifest.ids)
    write(root / "file", ("id,label\n" + rows).encode(), "predictions.csv")
    (root / "file" / "model.toml").write_text(card.format("file") + 'file = "predictions.csv"\n')
    return root.parent


def test_refresh_scores_what_it_can_names_what_it_cannot_and_rebuilds(submissions: Path) -> None:
    done = call("refresh", "--leaderboards", submissions)
    assert done.exit_code == 1, "something failed"
    for words in ("scored  good: macro_recall", "scored  file: macro_recall", "failed  nan:", "failed  empty:"):
        assert words in done.output, done.output
    assert "failed  lost:" in done.output and "names the model or prediction file" in done.output
    records = submissions / SLUG / "records"
    assert sorted(path.name for path in records.iterdir()) == ["file.json", "good.json"]
    assert read_record(records / "good.json").result["complete"]
    page = (submissions / SLUG / "index.html").read_bytes()
    again = call("refresh", "--leaderboards", submissions)
    assert "known   good" in again.output and "known   file" in again.output
    assert (submissions / SLUG / "index.html").read_bytes() == page, "rebuilding is byte-identical"


def test_refresh_scores_again_what_has_changed(submissions: Path) -> None:
    call("refresh", "--leaderboards", submissions, "--only", "good", "--no-boards")
    before = read_record(submissions / SLUG / "records" / "good.json").sha256
    write(submissions / "submissions" / "good", colour_model(softmax=True))
    done = call("refresh", "--leaderboards", submissions, "--only", "good")
    assert "scored  good" in done.output
    assert read_record(submissions / SLUG / "records" / "good.json").sha256 != before


def test_another_declaration_is_another_submission(submissions: Path) -> None:
    call("refresh", "--leaderboards", submissions, "--only", "good", "--no-boards")
    card = submissions / "submissions" / "good" / "model.toml"
    card.write_text(card.read_text().replace("decrop2025", "equal400"))
    assert "scored  good" in call("refresh", "--leaderboards", submissions, "--only", "good", "--no-boards").output


def test_a_pipe_stops_nobody(submissions: Path) -> None:
    (submissions / "submissions" / "pipe").mkdir()
    os.mkfifo(submissions / "submissions" / "pipe" / "model.toml")
    done = call("refresh", "--leaderboards", submissions, "--no-boards")
    assert "failed  pipe:" in done.output and "scored  good" in done.output


def test_a_link_out_of_the_folder_is_not_followed(submissions: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, colour_model(), "secret.onnx")
    target = submissions / "submissions" / "good" / "model.onnx"
    target.unlink()
    target.symlink_to(secret)
    assert "failed  good:" in call("refresh", "--leaderboards", submissions, "--only", "good").output


def test_demo_ends_with_the_page_and_the_next_command() -> None:
    done = call("demo")
    assert done.exit_code == 0, done.output
    *_, page, following = done.output.strip().splitlines()
    assert page == "board: runs/demo/board/index.html" and Path("runs/demo/board/index.html").is_file()
    assert following.startswith("next:  bench eval --model my.onnx --benchmark lifewatch_flowcam")


def test_the_line_after_a_run_builds_its_board_wherever_the_run_lies(tmp_path: Path) -> None:
    model = write(tmp_path, colour_model(), "my.onnx")
    args = ["--model", str(model), "--benchmark", "lifewatch_flowcam", "--config", "specimen", "--labels", "decrop2025"]
    done = call("eval", *args, "--out", "my runs; echo/first one")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("board: bench ")]
    again = call(*shlex.split(line.removeprefix("board: bench ")))
    assert again.exit_code == 0, again.output
    assert "my" in Path("board/board.csv").read_text()


def test_leaderboard_of_runs_named(tmp_path: Path) -> None:
    model = write(tmp_path, colour_model(), "my.onnx")
    args = ["--model", str(model), "--benchmark", "lifewatch_flowcam", "--config", "specimen", "--labels", "decrop2025"]
    assert call("eval", *args, "--out", "run").exit_code == 0
    done = call("leaderboard", "lifewatch_flowcam", "run", "--config", "specimen", "--out", "board")
    assert done.exit_code == 0, done.output
    assert {p.name for p in Path("board").iterdir()} == {"README.md", "board.csv", "index.html"}
    assert "my" in Path("board/board.csv").read_text()
    shutil.rmtree("board")
    assert call("leaderboard", "lifewatch_flowcam", "nothing-here", "--config", "specimen").exit_code != 0
