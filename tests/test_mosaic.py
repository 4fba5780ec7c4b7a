"""Raw frames as inputs: 16 bits, one channel, their own size, value / 65535 and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto

from lensbench.benchmark import get_benchmark
from lensbench.data.store import prepare
from lensbench.errors import DatasetError, ModelError
from lensbench.evaluation import evaluate, evaluate_predictions
from lensbench.predictions import stored_scores
from lensbench.registry import get_dataset
from tests.graphs import colour_model, write

NAME = "raw_microscopy"
LABELS = get_benchmark(NAME, "specimen").labels

pytestmark = pytest.mark.usefixtures("workspace")


def model(folder: Path, **options: Any) -> Path:
    given: dict[str, Any] = {"classes": len(LABELS), "channels": 1, "side": "s"} | options
    return write(folder, colour_model(**given))


def frames() -> list[Any]:
    """The test frames of the specimen, decoded by OpenCV alone."""
    prepared = prepare(get_dataset(NAME), None, "specimen")
    tables = [pa.ipc.open_stream(path.read_bytes()).read_all() for path in prepared.arrow["test"]]
    rows = [row["bytes"] for table in tables for row in table["image"].to_pylist()]
    return [cv2.imdecode(np.frombuffer(row, np.uint8), cv2.IMREAD_UNCHANGED) for row in rows]


def scores_of(folder: Path) -> np.ndarray[Any, Any]:
    return np.asarray(stored_scores(folder / "predictions.parquet"))


@pytest.mark.parametrize("options", [{}, {"layout": "NHWC"}, {"batch": 1}, {"batch": 4}])
def test_the_scores_are_those_of_the_plain_loop(options: dict[str, Any], tmp_path: Path) -> None:
    path = model(tmp_path, **options)
    found = evaluate(path, NAME, config="specimen", labels=LABELS)
    assert found.record.result["complete"] and found.record.result["benchmark"]["task"] == "classification"
    plain = model(tmp_path / "plain", layout=options.get("layout", "NCHW"))
    session = onnxruntime.InferenceSession(plain.read_bytes())
    expected = []
    for frame in frames():
        assert frame.dtype == np.uint16
        fed = frame.astype(np.float32) * np.float32(1 / 65535)
        fed = fed[None, None] if options.get("layout", "NCHW") == "NCHW" else fed[None, :, :, None]
        expected.append(session.run(None, {"x": fed})[0][0])
    np.testing.assert_allclose(scores_of(found.folder), np.array(expected), rtol=1e-5, atol=1e-5)


def test_intervals_leave_out_one_zone_at_a_time(tmp_path: Path) -> None:
    record = evaluate(model(tmp_path), NAME, config="specimen", labels=LABELS).record.result
    manifest = prepare(get_dataset(NAME), None, "specimen")
    groups = {g for path in manifest.arrow["test"] for g in pa.ipc.open_stream(path.read_bytes()).read_all()["group"]}
    assert record["metrics"]["nll"]["groups"] == len({str(g) for g in groups}) > 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 3}, r"gives N×1×H×W or N×H×W×1; put the processing the model needs into its graph"),
        ({"side": 100}, r"takes images of 100×100, and these are 36×36"),
        ({"dtype": TensorProto.UINT8}, "a uint8 input cannot take 16-bit raw frames"),
    ],
)
def test_a_model_that_cannot_take_raw_frames_is_one_line(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        evaluate(model(tmp_path, **options), NAME, config="specimen", labels=LABELS)


def test_alphabetical_means_the_classes_of_the_benchmark(tmp_path: Path) -> None:
    spec = get_benchmark("raw_drone-classification", "specimen")
    path = write(tmp_path, colour_model(classes=2, channels=1, side="s"))
    found = evaluate(path, spec, labels="alphabetical")
    assert found.record.result["complete"] and spec.labels == ("car", "no car")


@pytest.mark.parametrize("name", ["raw_microscopy", "raw_drone-classification"])
def test_a_split_that_is_not_drawn_yet_names_the_missing_file(name: str, tmp_path: Path) -> None:
    spec = get_benchmark(name)
    assert spec.manifest == "unknown" and spec.expected is None and len(spec.digest) == 64
    path = model(tmp_path, classes=len(spec.labels))
    predictions = tmp_path / "p.csv"
    predictions.write_text(f"id,label\nx,{spec.labels[0]}\n")
    words = r"not pinned yet: .*first complete build from .*record 5235536"
    with pytest.raises(DatasetError, match=words):
        evaluate(path, name, labels=spec.labels)
    with pytest.raises(DatasetError, match=words):
        evaluate_predictions(predictions, name)
