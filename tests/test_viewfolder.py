"""Masks made elsewhere in several views: a sub-folder or a file for each view."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.benchmark import get_benchmark
from lensbench.errors import ModelError
from lensbench.evaluation import evaluate, evaluate_predictions
from lensbench.masks.stored import read_masks
from lensbench.masks.values import ClassMap, LabelMap
from tests.aitslab_files import specimen
from tests.graphs import bright_model, write
from tests.masks_files import coco

DRONE, NUCLEI = "raw_drone-segmentation-isp", "aitslab_bioimaging1"

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Path:
    """A run of a model on the drone's specimen."""
    folder = tmp_path_factory.mktemp("run")
    path = write(folder, bright_model(channels=3), "bright.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENSBENCH_HOME", str(shared_home))
        return evaluate(path, DRONE, config="specimen", out=folder / "out").folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """Its masks as a stranger brings them: PNG files in a folder for each view."""
    for row in read_masks(run / "predictions.parquet"):
        assert isinstance(row.value, ClassMap)
        into = tmp_path / "masks" / row.view
        into.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(into / f"{row.id}.png"), row.value.pixels)
    return tmp_path / "masks"


def score(path: Path, **options: Any) -> dict[str, Any]:
    return dict(evaluate_predictions(path, DRONE, config="specimen", **options).record.result)


def test_a_folder_for_each_view_scores_as_the_run_that_it_came_from(run: Path, folder: Path) -> None:
    (folder / ".DS_Store").write_text("x")
    (folder / "notes.txt").write_text("x")
    given, stored = score(folder, name="m"), score(run / "predictions.parquet", name="m", out="stored")
    assert given["complete"] and given["notes"] == ["1 other files left aside"]
    for part in ("metrics", "views", "frames", "images"):
        assert given[part] == stored[part], part
    assert given["digests"]["predictions"] == stored["digests"]["predictions"]


def test_a_view_may_be_a_zip(folder: Path) -> None:
    whole = score(folder, out="whole")
    shutil.make_archive(str(folder / "me-u-ga"), "zip", folder / "me-u-ga")
    shutil.rmtree(folder / "me-u-ga")
    assert score(folder, out="zipped")["digests"]["predictions"] == whole["digests"]["predictions"]


def test_an_image_that_lacks_a_view_is_missing(folder: Path) -> None:
    first = min(path.stem for path in (folder / "bi-s-me").iterdir())
    (folder / "ma-u-me" / f"{first}.png").unlink()
    (folder / "me-s-me" / "nobody.png").write_bytes((folder / "me-s-me" / f"{first}.png").read_bytes())
    result = score(folder)
    assert not result["complete"] and result["coverage"]["missing_ids"] == [first]
    assert result["coverage"]["extra"] == 1
    assert "me-s-me: 1 answers belong to no image: nobody.png" in result["notes"]
    assert f"1 ids lack views and are not scored: {first!r}, for one, has no 'ma-u-me'" in result["notes"]


def test_a_view_that_is_missing_leaves_nothing_complete_and_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "bi-u-ga")
    result = score(folder)
    assert not result["complete"] and result["coverage"]["scored"] == 0
    assert "no masks for 1 of 12 views: bi-u-ga" in result["notes"]
    assert {one["value"] for one in result["metrics"].values()} == {None}


def link(folder: Path) -> None:
    (folder / "bi-s-me").rename(folder.parent / "elsewhere")
    (folder / "bi-s-me").symlink_to(folder.parent / "elsewhere")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def one_empty(folder: Path) -> None:
    shutil.rmtree(folder / "bi-s-me")
    (folder / "bi-s-me").mkdir()


def mixed(folder: Path) -> None:
    shutil.rmtree(folder / "bi-s-me")
    (folder / "bi-s-me.json").write_text("[]")


def resized(folder: Path) -> None:
    path = min((folder / "bi-s-me").iterdir())
    assert cv2.imwrite(str(path), np.zeros((5, 5), np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "bi-s-ga").rename(folder / "bi-s-gaa"), "'bi-s-gaa' is no view .* 'bi-s-ga'"),
        (lambda folder: (folder / "bi-x.json").write_text("[]"), "'bi-x.json' is no view of this benchmark"),
        (lambda folder: (folder / "bi-s-ga.json").write_text("[]"), "'bi-s-ga' is there twice"),
        (link, "'bi-s-me' is a link"),
        (resized, r"bi-s-me.*\.png"),
        (emptied, "12 views are brought in a sub-folder for each view"),
        (one_empty, "bi-s-me: no answer for any of 50 images"),
        (mixed, "maps for some views and files of objects for others"),
    ],
)
def test_what_is_no_folder_of_views_is_one_line(change: Callable[[Path], Any], words: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(ModelError, match=words) as caught:
        score(folder)
    assert "\n" not in str(caught.value) and not Path("runs").exists()


def test_a_file_of_objects_for_each_view_of_simulated_frames(tmp_path: Path) -> None:
    specimen().make(tmp_path / "source", size=24, seed=5, side=33, test_size=12)
    options: dict[str, Any] = {"config": "specimen", "source": tmp_path / "source", "isp": "corrected-12"}
    model = write(tmp_path, bright_model(), "bright.onnx")
    done = evaluate(model, NUCLEI, **options, out="run")
    maps: dict[str, dict[str, NDArray[np.uint32]]] = {}
    for row in read_masks(done.folder / "predictions.parquet"):
        assert isinstance(row.value, LabelMap)
        maps.setdefault(row.view, {})[row.id] = row.value.pixels
    (tmp_path / "objects").mkdir()
    for view, found in maps.items():
        (tmp_path / "objects" / f"{view}.json").write_text(json.dumps(coco(found, 0.5)))
    given = evaluate_predictions(tmp_path / "objects", NUCLEI, **options, out="given").record.result
    assert set(maps) == set(get_benchmark(DRONE).views.names) and given["complete"]  # type: ignore[union-attr]
    assert given["metrics"]["worst_view:f1@0.5"] == done.record.result["metrics"]["worst_view:f1@0.5"]
    assert given["metrics"]["clean:coco_ap"]["value"] is not None and given["benchmark"]["simulated"] is True
