"""`bench eval --isp` from end to end: simulated frames, raw frames in other views, black frames told."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from lensbench import shards
from lensbench.benchmark import benchmark_dataset, get_benchmark
from lensbench.cli import bench
from lensbench.derived import in_views
from lensbench.digest import canonical
from lensbench.errors import ModelError
from lensbench.evaluation import Evaluated, evaluate, evaluate_predictions
from lensbench.evaluation.worst import search_worst
from lensbench.images.decode import decode
from lensbench.images.write_tiff import tiff
from lensbench.isp import View
from lensbench.masks.stored import read_masks
from lensbench.record import read_record
from lensbench.splits import read_manifest
from tests import aitslab_files
from tests.aitslab_files import coloured, png, specimen
from tests.graphs import bright_model, colour_model, power_model, write
from tests.raw_drone_files import changed, small
from tests.test_evaluate_views import manifest_of

FLOWCAM, NUCLEI, MICRO, DRONE = (
    "lifewatch_flowcam",
    "aitslab_bioimaging1",
    "raw_microscopy-isp",
    "raw_drone-segmentation-isp",
)

pytestmark = pytest.mark.usefixtures("workspace")


def command(*args: str) -> str:
    done = CliRunner().invoke(bench, ["eval", *args])
    assert done.exit_code == 0, done.output
    return done.output


def told(path: Path = Path("runs")) -> dict[str, Any]:
    (record,) = path.rglob("record.json")
    return dict(read_record(record).result)


# -- images of 8 bits ----------------------------------------------------------------------------------------


def two_views(path: Path) -> str:
    head = 'schema = 1\nletter = "X"\nversion = 1\ntitle = "Two"\n'
    path.write_text(f"{head}[[axis]]\nred = {{ gains = [4.0, 1.0, 0.25] }}\nbi-s-ga = {{}}\n")
    return str(path)


def test_a_classifier_is_scored_on_simulated_frames_and_everything_says_so(tmp_path: Path) -> None:
    model = write(tmp_path / "models", colour_model(), "m.onnx")
    given = ("--model", str(model), "--benchmark", FLOWCAM, "--config", "specimen", "--labels", "decrop2025")
    output = command(*given, "--isp", two_views(tmp_path / "two.toml"))
    result = told()
    spec = in_views(get_benchmark(FLOWCAM, "specimen"), str(tmp_path / "two.toml"))
    assert result["complete"] and result["digests"]["benchmark"] == spec.digest
    assert result["benchmark"]["simulated"] is True and result["grid"]["reference"] == "bi-s-ga"
    assert "simulated: raw frames made of 8-bit images" in output and "board: none" in output
    page = next(Path("runs").rglob("report.html"))
    assert page.parent.parent.name == f"{FLOWCAM}-isp-simulated-{spec.views.tier.name}-specimen"  # type: ignore[union-attr]
    assert "Simulated: raw frames made of 8-bit images" in page.read_text(encoding="utf-8")
    views = {one["name"]: one["metrics"]["macro_recall"]["value"] for one in result["views"]}
    assert result["metrics"]["worst_view:macro_recall"]["value"] == min(views.values())
    assert 0 < result["metrics"]["flip_rate"]["value"] < 1


def test_a_killed_run_on_simulated_frames_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tier = write(tmp_path / "models", colour_model(), "m.onnx"), two_views(tmp_path / "two.toml")
    options: dict[str, Any] = {"config": "specimen", "labels": "decrop2025", "isp": tier}
    script = f"""
import os, signal
from lensbench import shards
from lensbench.evaluation import evaluate
from lensbench.progress import Quiet
shards.ROWS = 512
class Deadly(Quiet):
    done = 0
    def advance(self, n):
        self.done += n
        if self.done > 2000:
            os.kill(os.getpid(), signal.SIGKILL)
evaluate({str(model)!r}, {FLOWCAM!r}, out="killed", progress=Deadly(), **{options!r})
"""
    whole = evaluate(model, FLOWCAM, out="whole", **options)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert len(list(Path("killed/shards").glob("*.parquet"))) >= 2
    monkeypatch.setattr(shards, "ROWS", 512)
    resumed = evaluate(model, FLOWCAM, out="killed", **options)
    assert canonical(resumed.record.result) == canonical(whole.record.result)


def test_a_matrix_of_classes_is_scored_on_simulated_frames(tmp_path: Path) -> None:
    spec = in_views(get_benchmark(FLOWCAM, "specimen"))
    manifest = manifest_of(spec)
    assert spec.views is not None
    pairs = zip(manifest.ids, manifest.labels, strict=True)
    rows = [(key, view, str(label)) for key, label in pairs for view in spec.views.names]
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("id", "view", "label"), *rows])
    args = ("--predictions", str(tmp_path / "p.csv"), "--benchmark", FLOWCAM, "--config", "specimen")
    assert "simulated:" in command(*args, "--isp")
    assert told()["metrics"]["worst_view:macro_recall"]["value"] == 1.0
    refused = CliRunner().invoke(bench, ["eval", *args])
    assert isinstance(refused.exception, ModelError), "without --isp there are no views"


def odd_images(folder: Path) -> tuple[Path, dict[str, tuple[int, int]]]:
    """A source of test images of any size, and the size of each by its id; the first is black, the second white."""
    spec = get_benchmark(NUCLEI)
    ids = sorted(read_manifest(benchmark_dataset(spec), spec.config, "test").ids)
    sizes = [(6, 6), (5, 7), (1, 1), (3, 2), (33, 20), (21, 35)]
    files: dict[str, bytes] = {}
    for number, (key, size) in enumerate(zip(ids, sizes, strict=False)):
        image = np.full(size, {0: 0, 1: 255}.get(number, 20), np.uint8)
        labels = np.zeros(size, np.int64)
        labels[: size[0] // 2 + 1, : size[1] // 2 + 1] = 1
        if number > 1:
            image[labels > 0] = 230
        files |= aitslab_files.pair(key, "test", png(image), png(coloured(labels)))
    return aitslab_files.write(folder, files), dict(zip(ids, sizes, strict=False))


def test_odd_and_tiny_images_are_segmented_at_their_own_size(tmp_path: Path) -> None:
    source, sizes = odd_images(tmp_path / "source")
    model = write(tmp_path, bright_model(), "bright.onnx")
    done = evaluate(model, NUCLEI, source=source, partial=True, isp="corrected-12")
    rows = list(read_masks(done.folder / "predictions.parquet"))
    assert [(row.id, row.value.shape) for row in rows] == [
        (key, size) for key, size in sizes.items() for _ in range(12)
    ]
    result, (black, white, *_) = done.record.result, sizes
    assert result["coverage"]["scored"] == len(sizes)
    assert result["metrics"]["clean:iou_fg"]["value"] > 0.5
    assert f"1 of 6 frames is all black, no pixel above the black level: {black}" in result["notes"]
    assert f"1 of 6 frames is saturated, no pixel below the white level: {white}" in result["notes"]
    again = evaluate_predictions(
        done.folder / "predictions.parquet", NUCLEI, source=source, partial=True, isp="corrected-12", out="again"
    ).record.result
    assert again["metrics"] == result["metrics"] and again["benchmark"]["simulated"] is True


def test_a_specimen_of_odd_sides_is_complete(tmp_path: Path) -> None:
    specimen().make(tmp_path / "source", size=24, seed=5, side=49, test_size=12)
    model = write(tmp_path, bright_model(), "bright.onnx")
    output = command(
        *("--model", str(model), "--benchmark", NUCLEI, "--config", "specimen"),
        *("--source", str(tmp_path / "source"), "--isp", "paper-12"),
    )
    result = told()
    assert result["complete"] and result["grid"]["reference"] == "bi-s-ga" and result["grid"]["tier"] == "paper-12"
    assert "simulated:" in output and f"{NUCLEI}-isp-simulated-paper-12" in output
    page = next(Path("runs").rglob("report.html")).read_text(encoding="utf-8")
    assert "images as published, answers of the reference view" in page


# -- raw frames in other views -------------------------------------------------------------------------------


def test_a_view_in_a_file_scores_as_it_does_in_the_grid(tmp_path: Path) -> None:
    model = write(tmp_path / "models", power_model(), "power.onnx")
    view = View(demosaic="menon2007", sharpen="unsharp", denoise="median")
    (tmp_path / "found.json").write_text(json.dumps({"view": view.spec}))
    options: dict[str, Any] = {"config": "specimen", "labels": "published"}
    whole = evaluate(model, MICRO, out="whole", **options).record.result
    args = ("--model", str(model), "--benchmark", MICRO, "--config", "specimen", "--labels", "published")
    output = command(*args, "--isp", str(tmp_path / "found.json"), "--out", "alone")
    alone = told(Path("alone"))
    (same,) = [one for one in whole["views"] if one["digest"] == view.digest]
    reference, mine = alone["views"]
    assert mine["metrics"] == same["metrics"] and mine["digest"] == same["digest"]
    assert alone["metrics"]["worst_view:macro_recall"]["value"] == same["metrics"]["macro_recall"]["value"]
    assert alone["metrics"]["clean:macro_recall"] == whole["metrics"]["clean:macro_recall"]
    assert not reference["compared"] and alone["digests"]["benchmark"] != whole["digests"]["benchmark"]
    assert alone["benchmark"]["name"] == f"{MICRO}-in-view_{view.digest[:8]}" and "simulated" not in output


def test_the_worst_view_of_simulated_frames_can_be_searched_and_scored_again(tmp_path: Path) -> None:
    specimen().make(tmp_path / "source", size=24, seed=5, side=33, test_size=12)
    model = write(tmp_path, bright_model(), "bright.onnx")
    spec = in_views(get_benchmark(NUCLEI, "specimen"))
    found = search_worst(model, spec, source=tmp_path / "source", budget=14, seed=1)
    again = evaluate(model, NUCLEI, config="specimen", source=tmp_path / "source", isp=found.worst.view)
    assert again.record.value("worst_view:f1@0.5") == pytest.approx(found.worst.score)


# -- frames in which nothing can be seen ---------------------------------------------------------------------


def blanked(folder: Path) -> Path:
    """A drone archive whose test tiles of frame 1 are black, or white: below their black level, at their white one."""
    path = small(folder, size=96, dtype="uint16", scales=(100,), full=())

    def change(name: str, data: bytes) -> bytes:
        if "/images_tiles_32/raw_scale100/" not in name:
            return data
        pixels: NDArray[Any] = decode(data, name)
        number = int(Path(name).stem.partition("_")[2])
        value = {1: 4000, 2: 65520}.get(number)
        return data if value is None else tiff(np.full(pixels.shape, value, np.uint16))

    return changed(path, change).replace(path)


def drone(source: Path, model: Path, **options: Any) -> Evaluated:
    return evaluate(model, DRONE, config="specimen", source=source, **options)


def test_black_and_saturated_frames_are_scored_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, model = blanked(tmp_path / "source"), write(tmp_path, bright_model(channels=3), "bright.onnx")
    done = drone(source, model, out="whole")
    result = done.record.result
    ids = pq.read_table(done.folder / "predictions.parquet", columns=["id"])["id"].unique().to_pylist()
    black, white = ([key for key in ids if key.endswith(end)] for end in ("_00001", "_00002"))
    assert black and white, "the split holds some of each"

    def sentence(keys: list[str], words: str) -> str:
        verb = "is" if len(keys) == 1 else "are"
        return f"{len(keys)} of {len(ids)} frames {verb} {words} level: {', '.join(sorted(keys)[:10])}"

    notes = [note for note in result["notes"] if "frames" in note]
    assert [note.removesuffix(", …") for note in notes] == [
        sentence(black, "all black, no pixel above the black"),
        sentence(white, "saturated, no pixel below the white"),
    ]
    assert result["complete"] and len(result["images"]) == len(ids)
    monkeypatch.setattr("lensbench.evaluation.maskrun.MOST", 1)
    assert canonical(drone(source, model, out="shards").record.result) == canonical(result)
    assert canonical(drone(source, model, out="whole").record.result) == canonical(result), "nothing was left to do"


def test_where_every_frame_shows_something_nothing_is_said(tmp_path: Path) -> None:
    model = write(tmp_path, bright_model(channels=3), "bright.onnx")
    assert not [note for note in evaluate(model, DRONE, config="specimen").record.result["notes"] if "black" in note]
