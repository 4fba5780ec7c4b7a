"""The maintainers' pipeline: its steps on a small registry, and `dvc repro` in a copy of the tree, offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lensbench.benchmark import get_benchmark, tier_names
from lensbench.data.prepared import Prepared, ids_and_labels
from lensbench.data.store import prepare
from lensbench.errors import DatasetError
from lensbench.models.card import read_card
from lensbench.pipeline import compare, restate, steps, write_shards
from lensbench.record import read_record, write_record
from lensbench.registry import Absent, Dataset, get_dataset
from lensbench.splits import read_manifest
from scripts.pin_manifests_dvc import pins
from tests.conftest import ROOT
from tests.graphs import colour_model
from tests.small_registry import NAME, SmallRegistry

BOARD = f"{NAME}-specimen"
TREE = ("benchmarks", "leaderboards", "registry", "src", ".dvc", ".dvcignore", ".gitignore")
FILES = ("dvc.yaml", "params.yaml", "pyproject.toml")
STAND_INS = ("majority", "features", "small-cnn")
"""Baselines that are replaced in the copy by something faster."""
TIERS = 1 + len(tier_names("raw_microscopy-isp"))
"""Boards of a benchmark with tiers; each dataset has the same."""


def yaml(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def relabel(manifest: Path) -> None:
    """What somebody who wants a better score would do: give the first image another label."""
    table = pq.ParquetFile(manifest).read()
    labels = table["label"].to_pylist()
    labels[0] = next(label for label in labels if label != labels[0])
    pq.write_table(table.set_column(2, "label", pa.array(labels)), manifest)


# -- what is written down ------------------------------------------------------------------------------------


def test_each_manifest_has_a_dvc_file_that_git_keeps() -> None:
    texts = pins()
    assert len(texts) >= 7
    for manifest, text in texts.items():
        assert manifest.with_name(f"{manifest.name}.dvc").read_text(encoding="utf-8") == text
        assert "cache: false" in text


def test_a_changed_manifest_is_not_pinned(tmp_path: Path) -> None:
    small = SmallRegistry(tmp_path / "registry")
    dataset = small.write()
    assert set(pins(small.root)) == set((dataset.folder / "splits").glob("*.parquet"))
    relabel(dataset.folder / "splits" / "specimen-test.parquet")
    with pytest.raises(DatasetError, match=r"specimen-test\.parquet is not the manifest"):
        pins(small.root)


def test_every_module_is_a_dependency_or_decides_no_number() -> None:
    stages = yaml(ROOT / "dvc.yaml")["stages"]
    named = {dep for stage in stages.values() for dep in stage["do"]["deps"] if dep.startswith("src/lensbench/")}
    there = {
        entry.relative_to(ROOT).as_posix()
        for entry in (ROOT / "src" / "lensbench").iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").is_file()
    }
    modules = ("__init__", "__main__", "errors", "overview", "paths", "progress")
    plain = {"cli", "publish", "sources"} | {f"{name}.py" for name in modules}
    assert {dep for dep in named if dep.count("/") == 2} == there - {f"src/lensbench/{name}" for name in plain}
    assert all((ROOT / dep).exists() for dep in named)


def test_outs_on_boards_are_files_and_nothing_is_frozen() -> None:
    stages = yaml(ROOT / "dvc.yaml")["stages"]
    outs = [next(iter(out)) if isinstance(out, dict) else out for s in stages.values() for out in s["do"]["outs"]]
    boards = [out for out in outs if out.startswith("leaderboards/")]
    assert len(boards) == 5 + 5 * TIERS
    assert all(Path(out).suffix in {".parquet", ".json", ".md", ".csv", ".html"} for out in boards)
    assert "frozen" not in (ROOT / "dvc.yaml").read_text(encoding="utf-8")


def test_every_tier_is_in_the_pipeline() -> None:
    stages, params = yaml(ROOT / "dvc.yaml")["stages"], yaml(ROOT / "params.yaml")
    assert {one["benchmark"] for one in params["isp_baselines"].values()} == set(params["isp_boards"])
    for head in params["isp_boards"]:
        names = [head, *tier_names(head)]
        assert len(names) == TIERS
        for stage, pattern in (("evaluate-isp", "${item.benchmark}"), ("leaderboards-isp", "${key}")):
            deps, outs = (json.dumps(stages[stage]["do"][part]).replace(pattern, head) for part in ("deps", "outs"))
            for name in names:
                assert f'"benchmarks/{name}.toml"' in deps and f'"leaderboards/{name}-specimen/' in outs, (stage, name)


def test_tiers_are_scored_and_shown_after_the_same_code_as_the_others() -> None:
    stages = yaml(ROOT / "dvc.yaml")["stages"]
    for plain in ("evaluate", "leaderboards"):
        code = [{dep for dep in stages[name]["do"]["deps"] if "src/" in dep} for name in (plain, f"{plain}-isp")]
        assert code[0] == code[1] != set()


def test_every_submission_has_a_record_on_its_board_and_every_board_is_in_the_pipeline() -> None:
    params = yaml(ROOT / "params.yaml")
    baselines = params["baselines"] | params["isp_baselines"]
    boards = {key: board["benchmark"] for key, board in params["boards"].items()}
    boards |= {f"{name}-specimen": name for head in params["isp_boards"] for name in (head, *tier_names(head))}
    for folder in sorted((ROOT / "leaderboards" / "submissions").iterdir()):
        card = read_card(folder / "model.toml")
        assert card.benchmark is not None and baselines[folder.name]["benchmark"] == card.benchmark
        tiers = tier_names(card.benchmark) if folder.name in params["isp_baselines"] else []
        for name, config in product((card.benchmark, *tiers), (card.config, "specimen")):
            spec = get_benchmark(name, config)
            board = ROOT / "leaderboards" / spec.slug
            digests = read_record(board / "records" / f"{folder.name}.json").result["digests"]
            assert (digests["benchmark"], digests["declared"]) == (spec.digest, card.digest), (folder.name, spec.slug)
            assert (board / "index.html").is_file() and boards[spec.slug] == spec.name
            assert spec.synthetic or (board / "predictions" / f"{folder.name}.parquet").is_file()


# -- the steps -----------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return SmallRegistry(tmp_path / "registry").write()


@pytest.fixture
def prepared(small: Dataset) -> Prepared:
    return prepare(small, None, "specimen")


@pytest.fixture
def shards(prepared: Prepared, tmp_path: Path) -> Path:
    write_shards(prepared, tmp_path / "built")
    return tmp_path / "built"


def test_shards_hold_what_was_prepared(prepared: Prepared, shards: Path) -> None:
    import datasets

    loaded = datasets.load_dataset("parquet", data_dir=str(shards))
    assert list(loaded) == list(prepared.arrow)
    for split, rows in loaded.items():
        ids, labels = ids_and_labels(prepared, split)
        assert tuple(rows["id"]) == ids
        names = rows.features["label"].names
        assert tuple(names[label] for label in rows["label"]) == labels
        stored = datasets.concatenate_datasets([datasets.Dataset.from_file(str(p)) for p in prepared.arrow[split]])
        assert rows.features == stored.features
        raw = datasets.Image(decode=False)
        assert rows.cast_column("image", raw)[:] == stored.cast_column("image", raw)[:]


def test_shards_are_not_mixed_with_those_of_another_build(prepared: Prepared, shards: Path) -> None:
    before = {path: path.read_bytes() for path in shards.iterdir()}
    with pytest.raises(DatasetError, match="is not empty"):
        write_shards(prepared, shards)
    assert {path: path.read_bytes() for path in shards.iterdir()} == before


def test_restated_splits_are_the_pinned_ones(small: Dataset, prepared: Prepared, shards: Path) -> None:
    restated = restate(shards, small, "specimen")
    assert {split: found["content_sha256"] for split, found in restated.items()} == prepared.digests
    for split, found in restated.items():
        pinned = read_manifest(small, "specimen", split)
        assert found["rows_sha256"] == pinned.digest
        assert found["rows"] == len(pinned.ids) == sum(found["classes"].values())
    assert [fact.state for fact in compare(small, small.latest, "specimen", restated)] == ["ok"] * len(restated)


def test_samples_of_several_images_without_labels_are_restated(tmp_path: Path) -> None:
    dataset = get_dataset("aitslab_bioimaging1", ROOT / "registry")
    prepared = prepare(dataset, None, "specimen")
    write_shards(prepared, tmp_path / "built")
    restated = restate(tmp_path / "built", dataset, "specimen")
    assert {split: found["content_sha256"] for split, found in restated.items()} == prepared.digests
    assert all(found["classes"] == {} for found in restated.values())
    assert {fact.state for fact in compare(dataset, "1.0.0", "specimen", restated)} == {"ok"}
    fewer = restated | {"test": restated["test"] | {"rows": 13, "rows_sha256": "0" * 64}}
    with pytest.raises(DatasetError, match="13 rows, and the pinned manifest has 14"):
        list(compare(dataset, "1.0.0", "specimen", fewer))
    path = next((tmp_path / "built").glob("test-*"))
    table = pq.ParquetFile(path).read()
    masks = table["mask"].to_pylist()
    masks[0] = masks[1]
    pq.write_table(table.set_column(table.schema.get_field_index("mask"), table.schema.field("mask"), [masks]), path)
    with pytest.raises(DatasetError, match="is not the one that was built"):
        restate(tmp_path / "built", dataset, "specimen")


def test_an_image_swapped_in_a_shard_is_refused(small: Dataset, shards: Path) -> None:
    path = next(shards.glob("test-*"))
    table = pq.ParquetFile(path).read()
    images = table["image"].to_pylist()
    images[0], images[1] = images[1], images[0]
    changed = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), [images])
    pq.write_table(changed, path)
    with pytest.raises(DatasetError, match="is not the one that was built"):
        restate(shards, small, "specimen")


def test_a_build_that_is_not_the_pinned_split_is_refused(small: Dataset, shards: Path) -> None:
    restated = restate(shards, small, "specimen")
    test = restated["test"]
    label = next(iter(test["classes"]))
    fewer = test | {"rows": test["rows"] - 1, "rows_sha256": "0" * 64}
    fewer["classes"] = test["classes"] | {label: test["classes"][label] - 1}
    other = test | {"rows_sha256": "0" * 64}
    with pytest.raises(DatasetError, match=f"rows of {label}, and the pinned manifest has"):
        list(compare(small, small.latest, "specimen", restated | {"test": fewer}))
    with pytest.raises(DatasetError, match="its ids are not those"):
        list(compare(small, small.latest, "specimen", restated | {"test": other}))


def test_rows_that_nobody_can_name_yet_are_unknown_and_never_ok(small: Dataset, shards: Path) -> None:
    restated = restate(shards, small, "specimen")
    test = restated["test"]
    label = next(iter(test["classes"]))
    fewer = test | {"rows": test["rows"] - 1, "rows_sha256": "0" * 64}
    fewer["classes"] = test["classes"] | {label: test["classes"][label] - 1}
    config = small.configs["specimen"]
    split = replace(config.splits["test"], absent={small.latest: Absent(ids=None, about=1, reason="")})
    configs = {**small.configs, "specimen": replace(config, splits={**config.splits, "test": split})}
    vague = replace(small, configs=configs)
    states = {f.what: f.state for f in compare(vague, small.latest, "specimen", restated | {"test": fewer})}
    assert states["specimen/test as built"] == "unknown"
    more = fewer | {"classes": fewer["classes"] | {label: test["classes"][label] + 1}}
    with pytest.raises(DatasetError, match=f"rows of {label}"):
        list(compare(vague, small.latest, "specimen", restated | {"test": more}))
    without = {split: found for split, found in restated.items() if split != "train"}
    assert "unknown" in {f.state for f in compare(small, small.latest, "specimen", without)}


def test_the_verify_step_writes_nothing_over_a_changed_manifest(
    small: Dataset, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSBENCH_REGISTRY", str(small.folder.parent))
    which = ["--dataset", NAME, "--version", small.latest, "--config", "specimen"]
    splits, out = tmp_path / "splits.json", tmp_path / "verified.json"
    run = CliRunner().invoke
    assert run(steps, ["split", *which, str(shards), "--out", str(splits)], catch_exceptions=False).exit_code == 0
    assert run(steps, ["verify", *which, str(splits), "--out", str(out)], catch_exceptions=False).exit_code == 0
    facts = json.loads(out.read_text())
    assert {fact["state"] for fact in facts} == {"ok", "unknown"}
    out.unlink()
    relabel(small.folder / "splits" / "equal400-test.parquet")
    with pytest.raises(DatasetError, match=r"equal400-test\.parquet is not the manifest"):
        run(steps, ["verify", *which, str(splits), "--out", str(out)], catch_exceptions=False)
    assert not out.exists()


# -- dvc repro -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copy:
    """A copy of the tree with its own cache, in which `STAND_INS` are replaced."""

    root: Path
    home: Path
    first: str
    """What the first `dvc repro` printed."""

    def dvc(self, *args: str) -> subprocess.CompletedProcess[str]:
        return dvc(self.root, self.home, *args)

    def repro(self) -> str:
        done = self.dvc("repro")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def dvc(root: Path, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`dvc` as `make refresh` runs it, with every way to the network closed."""
    closed = "http://127.0.0.1:9"
    binaries = Path(sys.executable).parent
    env = {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root / "src"),
        "HOME": str(home),
        "LENSBENCH_HOME": str(home / "lensbench"),
        "LENSBENCH_ZENODO": closed,
        "HF_HUB_OFFLINE": "1",
        **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), closed),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
    }
    command = [str(binaries / "dvc"), *args]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=540, check=False)


def one_family(params: str) -> str:
    """The parameters with one baseline and one family of the ISP track: all of them take minutes."""
    others = r"  (?:tiles|cars)-\S+-views?: .*\n(?:    \{.*\}\n)?|  cells-all-views: .*\n|  raw_drone-\S+-isp: \*.*\n"
    kept = re.sub(others, "", params)
    assert kept.count("-view") == 1 and kept.count("-isp: *") == 1
    return kept


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    root, home = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("home")
    ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local", "predictions")
    for name in TREE + FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignore)
        else:
            shutil.copy(source, root / name)
    for number, name in enumerate(STAND_INS):
        folder = root / "leaderboards" / "submissions" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(colour_model(metadata={"note": str(number)}))
        lines = (f'name = "{name}"', f'benchmark = "{NAME}"', 'config = "specimen"', 'labels = "decrop2025"')
        (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    params = root / "params.yaml"
    params.write_text(one_family(params.read_text(encoding="utf-8")), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    first = dvc(root, home, "repro")
    assert first.returncode == 0, first.stdout + first.stderr
    yield Copy(root, home, first.stdout)
    shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.needs("dvc")
def test_repro_does_the_job_once_and_then_nothing(copy: Copy) -> None:
    stages = list(yaml(copy.root / "dvc.lock")["stages"])
    for stage in stages:
        assert f"Running stage '{stage}'" in copy.first
    board = copy.root / "leaderboards" / BOARD
    assert {path.name for path in board.iterdir()} >= {"README.md", "board.csv", "index.html"}
    assert "EfficientNetV2-B0 (paper)" in (copy.root / "leaderboards" / NAME / "README.md").read_text(encoding="utf-8")
    again = copy.repro()
    assert "Running stage" not in again
    for stage in stages:
        assert f"Stage '{stage}' didn't change, skipping" in again
    assert "Data and pipelines are up to date" in copy.dvc("status").stdout


@pytest.mark.slow
@pytest.mark.needs("dvc")
def test_no_out_on_a_board_is_a_folder_and_only_shards_and_predictions_are_cached(copy: Copy) -> None:
    lock = yaml(copy.root / "dvc.lock")["stages"]
    outs = [out for stage in lock.values() for out in stage["outs"]]
    boards = [out for out in outs if out["path"].startswith("leaderboards/")]
    params = yaml(copy.root / "params.yaml")
    scored = len(params["baselines"]) + len(params["isp_baselines"]) * TIERS
    assert len(boards) == scored * 2 + (len(params["boards"]) + len(params["isp_boards"]) * TIERS) * 3
    assert all("nfiles" not in out and not out["md5"].endswith(".dir") for out in boards)
    assert all((copy.root / out["path"]).is_file() for out in boards)
    kept = {path.name for path in (copy.root / ".dvc" / "cache" / "files" / "md5").glob("*/*")}
    cached = {out["path"] for out in outs if out["md5"][2:] in kept}
    builds = {f"build/{key}" for key in params["builds"]}
    assert {path for path in cached if not path.endswith(".parquet")} == builds
    assert len(cached) == scored + len(builds)


@pytest.mark.slow
@pytest.mark.needs("dvc")
def test_the_record_is_of_the_data_that_was_verified(copy: Copy) -> None:
    splits = json.loads((copy.root / "build" / f"{BOARD}.splits.json").read_text())["splits"]
    record = read_record(copy.root / "leaderboards" / BOARD / "records" / "majority.json")
    assert record.result["digests"]["data"] == splits["test"]["content_sha256"]
    assert record.result["digests"]["manifest"] and record.result["complete"]
    assert record.result["coverage"]["scored"] == splits["test"]["rows"]


@pytest.mark.slow
@pytest.mark.needs("dvc")
def test_a_strangers_record_survives_and_stands_on_the_board(copy: Copy) -> None:
    board = copy.root / "leaderboards" / BOARD
    ours = read_record(board / "records" / "majority.json")
    theirs = replace(ours, result={**ours.result, "model": {**ours.result["model"], "name": "A stranger's model"}})
    write_record(theirs, board / "records" / "stranger.json")
    (board / "records" / "broken.json").write_text("{")
    before = {name: (board / "records" / name).read_bytes() for name in ("stranger.json", "broken.json")}
    with (copy.root / "leaderboards" / "submissions" / "majority" / "model.toml").open("a") as card:
        card.write("# evaluated again\n")
    said = copy.repro()
    assert "Running stage 'evaluate@majority'" in said
    assert f"Running stage 'leaderboards@{BOARD}'" in said
    assert f"Stage 'leaderboards@{NAME}' didn't change" in said
    assert {name: (board / "records" / name).read_bytes() for name in before} == before
    assert "A stranger's model" in (board / "board.csv").read_text(encoding="utf-8")
    assert "broken.json" in (board / "README.md").read_text(encoding="utf-8")
    assert "Running stage" not in copy.repro()


@pytest.mark.slow
@pytest.mark.needs("dvc")
@pytest.mark.parametrize("name", ["specimen-test", "decrop2025-test"])
def test_a_tampered_manifest_is_named_and_refused(copy: Copy, name: str) -> None:
    manifest = copy.root / "registry" / NAME / "splits" / f"{name}.parquet"
    records = copy.root / "leaderboards" / BOARD / "records"
    whole, before = manifest.read_bytes(), {path: path.read_bytes() for path in records.iterdir()}
    relabel(manifest)
    try:
        assert f"modified:           registry/{NAME}/splits/{name}.parquet" in copy.dvc("status").stdout
        done = copy.dvc("repro")
        assert done.returncode != 0
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert f"{name}.parquet is not the manifest that {NAME} pins" in errors[0]
        assert "Traceback" not in done.stderr
        assert {path: path.read_bytes() for path in records.iterdir()} == before
    finally:
        manifest.write_bytes(whole)
    assert "Running stage 'evaluate" not in copy.repro()
    assert manifest.with_name(f"{manifest.name}.dvc").read_text().replace("'", "") == pins(copy.root / "registry")[
        manifest
    ].replace("'", "")
