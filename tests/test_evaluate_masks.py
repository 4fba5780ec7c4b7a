"""From a segmentation model, or masks made elsewhere, to a record: on the specimens, through the real path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto

from lensbench.benchmark import benchmark_dataset, benchmark_root, get_benchmark
from lensbench.cli import bench
from lensbench.data.prepared import id_column
from lensbench.data.store import prepare
from lensbench.digest import canonical
from lensbench.errors import BenchmarkError, LensbenchError, ModelError
from lensbench.evaluation import Evaluated, evaluate, evaluate_predictions, maskrun
from lensbench.leaderboard.board import Leaderboard
from lensbench.masks.rle import encode
from lensbench.masks.stored import Row, read_masks, write_masks
from lensbench.masks.values import ClassMap, LabelMap, Masks
from lensbench.masktruth import TrueMaps
from lensbench.record import check_record, read_record
from lensbench.splits import read_manifest
from tests import aitslab_files
from tests.graphs import LEVEL, bright_model, colour_model, detection_model, map_model, write

NAME, DRONE = "aitslab_bioimaging1", "raw_drone-segmentation"

pytestmark = pytest.mark.usefixtures("workspace")


def run(
    data: bytes, folder: Path = Path("models"), name: str = "m", benchmark: str = NAME, **options: Any
) -> Evaluated:
    return evaluate(write(folder, data, f"{name}.onnx"), benchmark, config="specimen", **options)


def truth(benchmark: str = NAME) -> dict[str, NDArray[Any]]:
    """Id → true map of the specimen's test split."""
    spec = get_benchmark(benchmark, "specimen")
    found = prepare(benchmark_dataset(spec), spec.version, spec.config)
    ids = id_column(found, "test").to_pylist()
    return dict(zip(ids, TrueMaps.of(found.arrow["test"], ids, spec.truth == "labelmap"), strict=True))


def metrics(done: Evaluated) -> dict[str, float | None]:
    return {key: entry["value"] for key, entry in done.record.result["metrics"].items()}


def stored(done: Evaluated) -> dict[str, Any]:
    return {row.id: row.value for row in read_masks(done.folder / "predictions.parquet")}


def label_pngs(folder: Path, maps: dict[str, NDArray[Any]]) -> Path:
    folder.mkdir()
    for key, pixels in maps.items():
        assert cv2.imwrite(str(folder / f"{key}.png"), pixels.astype(np.uint16))
    return folder


# Models


def test_a_strangers_model_scores_without_a_word_declared() -> None:
    done = run(bright_model(3))
    result = done.record.result
    assert result["complete"] and result["benchmark"]["task"] == "segmentation" and result["benchmark"]["synthetic"]
    assert result["digests"]["benchmark"] == get_benchmark(NAME, "specimen").digest
    assert result["protocol"]["name"] == "default"
    assert result["metrics"]["f1@0.5"]["value"] > 0.5
    assert (
        "three planes are background, interior and boundary; a pixel has the class of the largest" in result["assumed"]
    )
    assert any("4-connected components, the interior's" in text for text in result["assumed"])
    assert [image["id"] for image in result["images"]] == sorted(truth())
    counts = [sum(image[key] for image in result["images"]) for key in ("tp", "fp", "fn")]
    assert counts == [result["curve"][0][key] for key in ("tp", "fp", "fn")]
    assert counts[0] + counts[2] == sum(len(np.unique(m)) - 1 for m in truth().values())
    assert read_record(done.folder / "record.json") == done.record
    assert done.folder.parent == Path("runs/aitslab_bioimaging1-specimen")


def plain(maps: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What `bright_model` should find, without any of our code between: OpenCV's components."""
    return {key: cv2.connectedComponents((m > LEVEL).astype(np.uint8), connectivity=4)[1] for key, m in maps.items()}


def images() -> dict[str, NDArray[np.float32]]:
    spec = get_benchmark(NAME, "specimen")
    found = prepare(benchmark_dataset(spec), spec.version, spec.config)
    tables = [pa.ipc.open_stream(path.read_bytes()).read_all() for path in found.arrow["test"]]
    read = {}
    for row in (row for table in tables for row in table.to_pylist()):
        pixels = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        read[row["id"]] = pixels.astype(np.float32) * np.float32(1 / 255)
    return read


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"planes": 2, "layout": "NHWC"},
        {"batch": 1},
        {"batch": 3, "side": 64},
        {"channels": 3, "planes": 2},
        {"side": 64},
        {"sigmoid": True, "metadata": {"lensbench": json.dumps({"output": {"kind": "probabilities"}})}},
    ],
)
def test_every_layout_batch_and_size_gives_the_plain_answer(options: dict[str, Any]) -> None:
    found, expected = stored(run(bright_model(**options))), plain(images())
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert np.array_equal(value.pixels, expected[key]), key


@pytest.mark.parametrize("halvings", [1, 3, 5])
def test_images_are_padded_to_what_a_network_needs_found_by_trying(halvings: int) -> None:
    odd = {(40, 60), (33, 47), (32, 32)}
    images_of = {f"i{k}": np.full(shape, 0.9, np.float32) for k, shape in enumerate(sorted(odd))}
    from lensbench.maskrunner import Network
    from lensbench.models.card import Card
    from lensbench.models.maskcontract import bind_masks
    from lensbench.models.onnx import read_onnx

    model = read_onnx(write(Path("models"), bright_model(halvings=halvings), "u.onnx"))
    feed = bind_masks(model.graph, Card(), get_benchmark(NAME, "specimen"), "u").feed
    network = Network(feed, model.open("x", ("y",)), "u")
    for image in images_of.values():
        value, words = network.answer(image[None], 0)
        assert isinstance(value, LabelMap) and value.shape == image.shape and value.pixels.min() == 1
        divides = all(side % 2**halvings == 0 for side in image.shape)
        assert any("padded by reflection" in word for word in words) != divides
        assert network.fits[image.shape] == (1 if divides else 2**halvings)


def test_declared_postprocessing_is_used_and_stands_in_the_protocol() -> None:
    card = {"output": {"threshold": 0.9, "method": {"name": "watershed", "min_distance": 4}, "min_size": 30}}
    declared = run(bright_model(metadata={"lensbench": json.dumps(card)}), name="declared")
    output = declared.record.result["protocol"]["output"]
    assert (output["threshold"], output["min_size"]) == (0.9, 30)
    assert output["method"] == {"name": "watershed", "min_distance": 4}
    assert not any("connected components" in text for text in declared.record.result["assumed"])
    undeclared = run(bright_model(), name="plain")
    assert metrics(declared) != metrics(undeclared)
    for value in stored(declared).values():
        sizes = np.bincount(value.pixels.ravel())[1:]
        assert not len(sizes) or sizes.min() >= 30
    assert declared.record.result["digests"]["benchmark"] == undeclared.record.result["digests"]["benchmark"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"threshold": 2}, "threshold lies between 0 and 1"),
        ({"method": {"name": "magic"}}, "one of components, watershed, interior"),
        ({"method": {"name": "watershed", "min_distance": 0}}, "min_distance is a whole number of 1"),
        ({"connectivity": 6}, "connectivity is one of 4, 8"),
        ({"kind": "heatmap"}, "kind 'heatmap' is not one of"),
        ({"size": 3}, "unknown entry 'size'"),
    ],
)
def test_a_wrong_declaration_is_one_line(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        run(bright_model(metadata={"lensbench": json.dumps({"output": entry})}))
    assert "\n" not in str(caught.value) and not Path("runs").exists()


def test_a_map_of_integers_keeps_its_ids() -> None:
    done = run(map_model())
    assert done.record.result["protocol"]["tiling"] is None
    seen = {int(i) for value in stored(done).values() for i in np.unique(value.pixels)}
    assert seen == {0, 70_000}
    assert metrics(done)["iou_fg"] == metrics(run(bright_model(), name="planes"))["iou_fg"]


@pytest.mark.parametrize("entry", [{"method": {"name": "components"}}, {"min_size": 9}])
def test_a_postprocessing_that_a_readymade_map_would_not_get_is_refused(entry: dict[str, Any]) -> None:
    """It was printed and recorded, and not done."""
    card = {"output": {"kind": "labelmap", **entry}}
    with pytest.raises(ModelError, match=f"{next(iter(entry))} under .output. would do nothing"):
        run(map_model(metadata={"lensbench": json.dumps(card)}))


def test_masks_of_foreground_given_as_label_maps_are_told(tmp_path: Path) -> None:
    maps = truth()
    one = {key: (m > 0).astype(np.uint8) * 255 for key, m in maps.items()}
    notes = evaluate_predictions(label_pngs(tmp_path / "one", one), NAME, config="specimen").record.result["notes"]
    assert any("numbered object by object" in note for note in notes)
    notes = evaluate_predictions(label_pngs(tmp_path / "all", maps), NAME, config="specimen").record.result["notes"]
    assert not any("numbered object by object" in note for note in notes)


def test_scored_masks_are_kept_with_their_scores() -> None:
    boxes = np.array([[10, 10, 40, 50], [30, 30, 60, 60]], np.float32)
    done = run(detection_model(boxes, np.array([0.25, 0.75], np.float32)))
    for value in stored(done).values():
        assert isinstance(value, Masks) and value.scores is not None
        assert value.scores.tolist() == [0.25, 0.75]
        first, second = (int(np.diff(spans).sum()) for spans in value.spans("m"))
        assert 0.97 * 30 * 40 < first <= 30 * 40 and 0.97 * 30 * 30 < second <= 30 * 30  # rounded at the corners
    assert done.record.result["images"][0]["n_predicted"] == 2
    assert done.record.result["protocol"]["output"] == {"threshold": 0.5}
    assert done.record.result["protocol"]["max_detections"] == 100
    assert done.record.value("coco_ap") is not None and done.record.value("coco_ar") is not None


@pytest.mark.parametrize("number", [0, 1, 3])
def test_detections_are_told_by_their_shapes_and_may_take_one_bare_image(number: int) -> None:
    boxes = np.array([[4, 4, 20, 20], [2, 30, 9, 40], [50, 2, 60, 9]], np.float32)[:number]
    done = run(detection_model(boxes, np.linspace(1, 0.5, number, dtype=np.float32), bare=True))
    assert {len(value.rle) for value in stored(done).values()} == {number}
    assert {image["n_predicted"] for image in done.record.result["images"]} == {number}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bright_model(5), "objects are made of one"),
        (bright_model(channels=4), "gives N×1×H×W or N×H×W×1"),
        (map_model(64), "it gives no planes of floats, which alone can be put together from tiles"),
        (colour_model(3), "no output is N×K×h×w floats or a map of integers h×w"),
        (bright_model(metadata={"lensbench": '{"output": {"kind": "classmap"}}'}), "declares a classmap, and aits"),
        (bright_model(metadata={"lensbench": '{"output": {"name": "nope"}}'}), "no output is called 'nope'"),
        (bright_model(metadata={"lensbench": '{"output": {"kind": "probabilities"}}'}), "no probability; are these"),
        (bright_model(2, halvings=8), "image 1|failed while running"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_one_line_and_leaves_nothing(data: bytes, words: str) -> None:
    with pytest.raises(LensbenchError, match=words) as caught:
        run(data, out="broken")
    assert "\n" not in str(caught.value) and not Path("broken").exists()


def test_a_model_that_names_no_benchmark_is_told_which_it_fits() -> None:
    with pytest.raises(BenchmarkError, match=r"--benchmark aitslab_bioimaging1 or .* raw_drone-segmentation"):
        evaluate(write(Path("models"), bright_model()))


# Runs


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(Path("models"), bright_model(3, side=64), "my.onnx")
    script = f"""
import os, signal
from lensbench.evaluation import evaluate, maskrun
from lensbench.progress import Quiet
maskrun.MOST = 2
class Deadly(Quiet):
    done = 0
    def advance(self, n):
        self.done += n
        if self.done > 7:
            os.kill(os.getpid(), signal.SIGKILL)
evaluate({str(path)!r}, {NAME!r}, config="specimen", out="killed", progress=Deadly())
"""
    truth()  # the build is not what is killed
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = sorted(Path("killed/shards").glob("*.parquet"))
    assert left and not Path("killed/predictions.parquet").exists()
    monkeypatch.setattr(maskrun, "MOST", 2)
    kept = left[0].stat().st_ino
    resumed = evaluate(path, NAME, config="specimen", out="killed")
    whole = evaluate(path, NAME, config="specimen", out="whole")
    assert (resumed.folder / "predictions.parquet").read_bytes() == (whole.folder / "predictions.parquet").read_bytes()
    assert canonical(resumed.record.result) == canonical(whole.record.result)
    assert resumed.record.run["images_per_second"] is None and whole.record.run["images_per_second"] is not None
    assert kept and any("tiles" in text for text in resumed.record.result["assumed"])


def test_a_finished_run_is_scored_again_without_inference() -> None:
    first = run(bright_model(3, side=64))
    stamp = (first.folder / "predictions.parquet").stat().st_mtime_ns
    again = run(bright_model(3, side=64))
    assert (again.folder / "predictions.parquet").stat().st_mtime_ns == stamp
    assert canonical(again.record.result) == canonical(first.record.result)
    assert again.record.run["images_per_second"] is None


def test_a_damaged_stored_file_is_computed_again() -> None:
    first = run(bright_model())
    (first.folder / "predictions.parquet").write_bytes(b"PAR1")
    assert canonical(run(bright_model()).record.result) == canonical(first.record.result)


def test_the_record_does_not_depend_on_the_number_of_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(bright_model(), out="whole")
    monkeypatch.setattr(maskrun, "MOST", 3)
    cut = run(bright_model(), out="cut")
    assert canonical(cut.record.result) == canonical(whole.record.result)


# Masks made elsewhere


@pytest.mark.parametrize("form", ["folder", "npz", "coco", "kaggle", "parquet"])
def test_perfect_masks_score_one_in_every_metric(form: str, tmp_path: Path) -> None:
    maps = truth()
    done = evaluate_predictions(brought(form, maps, tmp_path), NAME, config="specimen")
    result = done.record.result
    assert result["complete"] and result["coverage"]["missing"] == 0
    values = metrics(done)
    unscored = {key for key, value in values.items() if value is None}
    coco = {"coco_ap", "coco_ap50", "coco_ap75", "coco_ar"}
    assert unscored == {*coco, "recall_medium"}, "nobody gave scores, and no object of the specimen is that large"
    assert {key for key, value in values.items() if value == 0.0} == {"splits", "merges"}
    assert {key for key, value in values.items() if value == 1.0} == set(values) - unscored - {"splits", "merges"}
    assert all(
        (image["fp"], image["fn"], image["splits"], image["merges"]) == (0, 0, 0, 0) for image in result["images"]
    )
    assert result["digests"]["data"] != "unknown"
    assert result["protocol"]["output"] is None and result["model"]["kind"] == "predictions"


def brought(form: str, maps: dict[str, NDArray[Any]], folder: Path) -> Path:
    if form == "folder":
        return label_pngs(folder / "labels", maps)
    if form == "npz":
        arrays: dict[str, Any] = {key: value.astype(np.int64) for key, value in maps.items()}
        np.savez_compressed(folder / "labels.npz", **arrays)
        return folder / "labels.npz"
    if form == "parquet":
        path = folder / "p.parquet"
        write_masks(path, (Row(key, "original", LabelMap(m)) for key, m in sorted(maps.items())), "labelmap", {})
        return path
    rows = [(key, text, m.shape) for key, m in maps.items() for text in encode(m)[1]]
    if form == "coco":
        results = [
            {"image_id": key, "segmentation": {"size": list(shape), "counts": text.decode()}}
            for key, text, shape in rows
        ]
        (folder / "r.json").write_text(json.dumps(results))
        return folder / "r.json"
    lines = ["ImageId,EncodedPixels"]
    for key, m in maps.items():
        for number in np.unique(m[m > 0]):
            flat = np.flatnonzero((m == number).ravel(order="F"))
            starts = flat[np.diff(flat, prepend=-2) > 1]
            ends = flat[np.diff(flat, append=flat[-1] + 2) > 1]
            lines.append(f"{key},{' '.join(f'{a + 1} {b - a + 1}' for a, b in zip(starts, ends, strict=True))}")
    (folder / "k.csv").write_text("\n".join(lines) + "\n")
    return folder / "k.csv"


def test_perfect_scored_masks_are_perfect_for_coco_at_any_number_of_objects(tmp_path: Path) -> None:
    maps = truth()
    assert max(len(np.unique(m)) for m in maps.values()) > 200
    path, rng = tmp_path / "p.parquet", np.random.default_rng(5)
    coded = {key: tuple(encode(m)[1]) for key, m in sorted(maps.items())}
    rows = (Row(key, "original", Masks(maps[key].shape, texts, rng.random(len(texts)))) for key, texts in coded.items())
    write_masks(path, rows, "rle", {})
    done = evaluate_predictions(path, NAME, config="specimen")
    assert {metrics(done)[key] for key in ("coco_ap", "coco_ap50", "coco_ap75", "coco_ar", "f1@0.5")} == {1.0}
    assert done.record.result["protocol"]["max_detections"] == max(map(len, coded.values()))
    board = CliRunner().invoke(bench, ["leaderboard", NAME, "--config", "specimen", str(done.folder), "--out", "board"])
    assert board.exit_code == 0, board.output
    assert "maps as given" in Path("board/README.md").read_text()


def test_what_a_run_stored_scores_as_the_model_did() -> None:
    done = run(bright_model(3))
    again = evaluate_predictions(done.folder / "predictions.parquet", NAME, config="specimen", name="again")
    assert again.record.result["metrics"] == done.record.result["metrics"]
    assert again.record.result["images"] == done.record.result["images"]
    assert again.record.result["digests"]["predictions"] == done.record.result["digests"]["predictions"]


def test_missing_extra_and_double_answers_are_told(tmp_path: Path) -> None:
    maps = truth()
    folder = label_pngs(tmp_path / "labels", maps)
    first, second, *_ = sorted(maps)
    (folder / f"{first}.png").unlink()
    cv2.imwrite(str(folder / f"{second}.tif"), maps[second].astype(np.uint16))
    (folder / "stranger.png").write_bytes((folder / f"{second}.png").read_bytes())
    result = evaluate_predictions(folder, NAME, config="specimen").record.result
    assert not result["complete"]
    assert (result["coverage"]["missing"], result["coverage"]["extra"]) == (2, 1)
    assert result["coverage"]["missing_ids"] == [first, second]
    assert len(result["images"]) == len(maps) - 2
    assert f"1 ids have more than one answer, of which none was taken: {second}" in result["notes"]
    assert "1 answers belong to no image: stranger.png" in result["notes"]


@pytest.mark.parametrize("what", ["shape", "rgb", "float", "none", "ids", "view", "unsorted", "size"])
def test_masks_that_are_not_fit_are_one_line_and_leave_nothing(what: str, tmp_path: Path) -> None:
    maps = truth()
    key = min(maps)
    words = {
        "shape": "transposed|the image is",
        "rgb": "one number a pixel",
        "float": "integers, not scores",
        "none": "no answer for any of",
        "ids": "none of its 1 ids is in the test split",
        "view": "'isp-3' is no view of this benchmark",
        "unsorted": "not sorted by id",
        "size": "the image is",
    }[what]
    path = tmp_path / "labels"
    if what in ("ids", "view", "unsorted", "size"):
        path = tmp_path / "p.parquet"
        rows = {
            "ids": [("nobody", "original", maps[key])],
            "view": [(key, "isp-3", maps[key])],
            "unsorted": [(k, "original", maps[k]) for k in sorted(maps, reverse=True)[:2]],
            "size": [(key, "original", maps[key][:-1])],
        }[what]
        write_masks(path, (Row(k, v, LabelMap(m)) for k, v, m in rows), "labelmap", {})
    else:
        path.mkdir()
        pixels = maps[key]
        if what == "float":
            np.save(path / f"{key}.npy", pixels.astype(np.float32))
        elif what == "rgb":
            cv2.imwrite(str(path / f"{key}.png"), np.dstack([pixels.astype(np.uint8)] * 3))
        else:
            name = "other" if what == "none" else key
            cv2.imwrite(str(path / f"{name}.png"), pixels.astype(np.uint16)[: -1 if what == "shape" else None])
    with pytest.raises(ModelError, match=words) as caught:
        evaluate_predictions(path, NAME, config="specimen")
    assert "\n" not in str(caught.value) and not Path("runs").exists()


def test_masks_that_overlap_without_scores_leave_nothing(tmp_path: Path) -> None:
    key, shape = min(truth()), truth()[min(truth())].shape
    both = tuple(encode(np.ones(shape, np.uint32))[1]) * 2
    write_masks(tmp_path / "p.parquet", [Row(key, "original", Masks(shape, both))], "rle", {})
    with pytest.raises(ModelError, match="overlap"):
        evaluate_predictions(tmp_path / "p.parquet", NAME, config="specimen")
    assert not Path("runs").exists()


def test_a_source_without_one_image_of_the_split_is_one_line(tmp_path: Path) -> None:
    spec = get_benchmark(NAME)
    listed = read_manifest(benchmark_dataset(spec), spec.config, "train").ids[0]
    source = aitslab_files.write(tmp_path / "source", aitslab_files.pair(listed, "train"))
    path = write(Path("models"), bright_model(), "m.onnx")
    with pytest.raises(LensbenchError, match="test") as caught:
        evaluate(path, NAME, source=source, partial=True)
    assert "\n" not in str(caught.value) and not Path("runs").exists()


# Classes of pixels: raw tiles


def test_raw_tiles_are_scored_by_class_at_their_own_size(tmp_path: Path) -> None:
    done = run(bright_model(2), benchmark=DRONE)
    result = done.record.result
    assert result["complete"] and result["benchmark"]["config"] == "segmentation-specimen"
    assert all(isinstance(value, ClassMap) for value in stored(done).values())
    assert set(result["metrics"]) == set(get_benchmark(DRONE).metrics) and result["curve"] == []
    maps, pairs = truth(DRONE), stored(done)
    union = sum(int(((pairs[key].pixels > 0) | (true > 0)).sum()) for key, true in maps.items())
    inter = sum(int(((pairs[key].pixels > 0) & (true > 0)).sum()) for key, true in maps.items())
    assert result["metrics"]["iou_fg"]["value"] == pytest.approx(inter / union, abs=1e-12)
    same = evaluate_predictions(done.folder / "predictions.parquet", DRONE, config="specimen")
    assert same.record.result["metrics"] == result["metrics"]
    perfect = evaluate_predictions(label_pngs(tmp_path / "cars", maps), DRONE, config="segmentation-specimen")
    assert set(metrics(perfect).values()) == {1.0}


def test_objects_and_wrong_classes_are_no_answer_where_classes_are_scored(tmp_path: Path) -> None:
    boxes = np.array([[1, 1, 9, 9]], np.float32)
    with pytest.raises(ModelError, match=r"gives objects .*scores classes"):
        run(detection_model(boxes, np.array([1], np.float32)), benchmark=DRONE)
    maps = truth(DRONE)
    key = min(maps)
    folder = label_pngs(tmp_path / "cars", {key: maps[key] + 2})
    with pytest.raises(ModelError, match="a classmap holds 0 to 1"):
        evaluate_predictions(folder, DRONE, config="specimen")
    done = run(map_model(dtype=TensorProto.UINT8), benchmark=DRONE)
    assert done.record.result["complete"]


# A Python function


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("def level():\n    return 0.5\n")
    path = tmp_path / "mine.py"
    path.write_text(
        f"""
import cv2
import numpy as np
def labels(image):
    assert image.dtype == np.float32 and image.ndim == 3
    return cv2.connectedComponents((image[0] > {LEVEL}).astype(np.uint8), connectivity=4)[1]
def planes(image):
    return 40.0 * (image - {LEVEL})
def scores(image):
    return [float(image.mean()), 0.5]
def wrong(image):
    raise ValueError("no\\nidea")
def drawn(image):
    return np.random.default_rng().random(image.shape)
def truth(image):
    return image[0] > 0.5
def text(image):
    return "cells"
def late(image):
    import beside
    return (image[0] > beside.level()).astype(np.int32)
"""
    )
    yield path
    for name in ("mine", "beside"):
        sys.modules.pop(name, None)


def test_a_function_is_a_model_and_said_to_be_trusted(module: Path) -> None:
    from lensbench.digest import sha256_file

    onnx = run(bright_model())
    assert evaluate("mine:late", NAME, config="specimen").record.result["complete"]
    for name in ("labels", "planes"):
        done = evaluate(f"mine:{name}", NAME, config="specimen")
        result = done.record.result
        assert result["model"]["kind"] == "callable" and result["model"]["name"] == f"mine:{name}"
        assert result["digests"]["model"] == sha256_file(module)
        assert any("trusted code" in text for text in result["assumed"])
        assert metrics(done) == metrics(onnx)
    shown = CliRunner().invoke(bench, ["eval", "--model", "mine:labels", "--benchmark", NAME, "--config", "specimen"])
    assert shown.exit_code == 0 and "trusted code" in shown.output


def test_a_function_can_classify_too(module: Path) -> None:
    done = evaluate("mine:scores", "raw_drone-classification", config="specimen", labels=["car", "no car"])
    assert done.record.result["complete"] and done.record.result["model"]["kind"] == "callable"
    assert done.record.value("top1") is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine:wrong", "mine:wrong raised ValueError: no idea"),
        ("mine:drawn", "different answers for the same image"),
        ("mine:truth", "which pixels, not which object"),
        ("mine:text", "values, expected numbers"),
        ("mine:absent", "mine has no function 'absent'"),
        ("nowhere_to_be_found:f", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_function_that_does_not_do_is_one_line(name: str, words: str, module: Path) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        evaluate(name, NAME, config="specimen", out="broken")
    assert "\n" not in str(caught.value) and not Path("broken").exists()


def test_a_function_needs_a_benchmark(module: Path) -> None:
    with pytest.raises(BenchmarkError, match="name one: --benchmark"):
        evaluate("mine:labels")


# Metrics of torchmetrics


@pytest.mark.needs("torch")
def test_a_benchmark_may_name_a_metric_of_torchmetrics(tmp_path: Path) -> None:
    metric = "torchmetrics:segmentation.MeanIoU"
    text = (
        (benchmark_root() / f"{NAME}.toml").read_text(encoding="utf-8").replace('"aji_plus"', f'"aji_plus", "{metric}"')
    )
    text += f'[metrics.arguments."{metric}"]\nnum_classes = 2\ninclude_background = false\n'
    (tmp_path / f"{NAME}.toml").write_text(text, encoding="utf-8")
    spec = get_benchmark(NAME, "specimen", root=tmp_path)
    done = evaluate(write(Path("models"), bright_model(), "m.onnx"), spec)
    value = done.record.value(metric)
    assert value is not None and 0 < value < 1
    assert done.record.result["metrics"][metric]["groups"] == 8
    (row,) = Leaderboard.build(spec, [("a.json", done.record)]).ranked
    assert row.entry.score(metric).value == value


# The command


def test_the_command_prints_metrics_worst_images_and_what_was_assumed() -> None:
    path = write(Path("models"), bright_model(3), "u.onnx")
    args = ["eval", "--model", str(path), "--benchmark", NAME, "--config", "specimen"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    for words in ("worst images by f1@0.5", "protocol: default", "assumed: three planes", "jackknife-logit, 8 groups"):
        assert words in done.output
    as_json = CliRunner().invoke(bench, [*args, "--json"])
    assert check_record(json.loads(as_json.stdout), "stdout").result["protocol"]["name"] == "default"


def test_a_classifiers_options_are_refused() -> None:
    path = write(Path("models"), bright_model(3), "u.onnx")
    command = ["eval", "--model", str(path), "--benchmark", NAME, "--labels", "alphabetical"]
    done = subprocess.run(
        [sys.executable, "-m", "lensbench", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LENSBENCH_OFFLINE": "1"},
    )
    assert done.returncode == 2 and "labels are the order of a classifier's outputs" in done.stderr


# Real images


@pytest.mark.needs("realdata")
@pytest.mark.slow
def test_a_real_network_on_the_real_split(realdata: Path) -> None:
    model = realdata / "models" / "unet2d_nuclei_broad_onnx" / "weights.onnx"
    done = evaluate(model, NAME, source=realdata / NAME)
    result = done.record.result
    assert result["complete"] and result["coverage"]["expected"] == 10 and not result["benchmark"]["synthetic"]
    assert sum(image["n_truth"] for image in result["images"]) == 438
    assert any("run in 3×3 tiles (height 512 px" in text for text in result["assumed"])
    assert result["metrics"]["f1@0.5"]["groups"] == 5


@pytest.mark.needs("realdata")
def test_perfect_masks_of_the_real_split_score_one(realdata: Path, tmp_path: Path) -> None:
    spec = get_benchmark(NAME)
    found = prepare(benchmark_dataset(spec), spec.version, spec.config, source=realdata / NAME)
    ids = id_column(found, "test").to_pylist()
    maps = dict(zip(ids, TrueMaps.of(found.arrow["test"], ids, True), strict=True))
    done = evaluate_predictions(label_pngs(tmp_path / "labels", maps), NAME, source=realdata / NAME)
    assert {key for key, value in metrics(done).items() if value not in (1.0, None)} == {"splits", "merges"}
    assert sum(image["tp"] for image in done.record.result["images"]) == 438
    assert sum(image["splits"] + image["merges"] for image in done.record.result["images"]) == 0
