"""The inner loop: equal to the plain loop anybody would write, whatever the threads, layout, batch or cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensbench.benchmark import Benchmark, get_benchmark
from lensbench.errors import DatasetError, ModelError
from lensbench.models.card import Card
from lensbench.models.contract import Feed, bind
from lensbench.models.gate import read_graph
from lensbench.models.model import Infer, one
from lensbench.models.onnx import start
from lensbench.runner import CorruptImageError, Images, infer_rows, open_images, probe
from tests.graphs import broken_model, colour_model

N = 150


def encoded(n: int = N) -> list[bytes]:
    rng = np.random.default_rng(1)
    images = []
    for i in range(n):
        shape = (int(rng.integers(1, 160)), int(rng.integers(1, 160))) + (() if i % 5 == 0 else (3,))
        ok, data = cv2.imencode(".jpg", rng.integers(0, 256, shape, dtype=np.uint8))
        assert ok
        images.append(data.tobytes())
    return images


def arrow(path: Path, images: list[bytes | None], batch: int = 40) -> Path:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("id", pa.string()), ("image", kind)])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            column = pa.array([{"bytes": b, "path": "x"} for b in part], kind)
            writer.write_batch(pa.record_batch([pa.array([str(i) for i in range(len(part))]), column], schema=schema))
    return path


@pytest.fixture(scope="module")
def spec() -> Benchmark:
    return get_benchmark("lifewatch_flowcam")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = tmp_path_factory.mktemp("arrow")
    every = encoded()
    first, second = every[:100], every[100:]
    return open_images([arrow(folder / "a.arrow", list(first)), arrow(folder / "b.arrow", list(second))])


def model(spec: Benchmark, **options: Any) -> tuple[Feed, Infer]:
    fields = options.pop("card", {})
    data = colour_model(**options)
    feed = bind(read_graph(data, "m"), Card(labels="decrop2025", **fields), spec, "m").feed
    return feed, one(start(data, feed.input, (feed.output,), "m"))


def plain_loop(feed: Feed, infer: Infer) -> NDArray[np.float32]:
    """What a user would write: one image at a time, float64 normalisation."""
    rows = []
    for data in encoded():
        flag = cv2.IMREAD_COLOR if feed.channels == 3 else cv2.IMREAD_GRAYSCALE
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        assert decoded is not None
        image: NDArray[Any] = cv2.resize(decoded, (feed.width, feed.height))
        image = image[:, :, None] if image.ndim == 2 else image
        image = image if feed.bgr else image[:, :, ::-1]
        if feed.dtype == "float32":
            image = (image * np.array(feed.scale) + np.array(feed.shift)).astype(np.float32)
        image = image.transpose(2, 0, 1) if feed.layout == "NCHW" else image
        copies = np.stack([image] * (feed.batch if feed.fixed else 1))
        rows.append(infer(np.ascontiguousarray(copies))[0])
    return np.stack(rows)


def run(
    images: Images, feed: Feed, infer: Infer, threads: int = 2, start: int = 0, stop: int = N
) -> NDArray[np.float32]:
    out = np.full((stop - start, feed.classes), np.nan, np.float32)
    infer_rows(images, start, stop, feed, infer, out, threads, lambda n: None)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch": 1},
        {"batch": 7},
        {"batch": 100},
        {"layout": "NHWC"},
        {"layout": "NHWC", "batch": 1},
        {"channels": 1},
        {"dtype": 2},
        {"card": {"colour": "BGR"}},
        {"card": {"range": (0.0, 255.0), "mean": (158.0, 150.0, 140.0), "std": (127.5, 120.0, 110.0)}},
    ],
)
def test_equals_the_plain_loop(options: dict[str, Any], images: Images, spec: Benchmark) -> None:
    feed, infer = model(spec, **options)
    np.testing.assert_allclose(run(images, feed, infer), plain_loop(feed, infer), rtol=1e-3, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.sampled_from([128]))
def test_threads_and_cuts_at_chunk_borders_change_no_bit(threads: int, cut: int) -> None:
    spec, images = get_benchmark("lifewatch_flowcam"), _cached_images()
    feed, infer = model(spec)
    whole = run(images, feed, infer, 1)
    parts = [run(images, feed, infer, threads, 0, cut), run(images, feed, infer, threads, cut, N)]
    assert np.array_equal(whole, np.concatenate(parts))


_CACHE: list[Images] = []


def _cached_images() -> Images:
    if not _CACHE:
        import tempfile

        folder = Path(tempfile.mkdtemp(prefix="lensbench-test-"))
        _CACHE.append(open_images([arrow(folder / "a.arrow", list(encoded()))]))
    return _CACHE[0]


def png(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    ok, data = cv2.imencode(".png", values)
    assert ok
    return data.tobytes()


def as_is(spec: Benchmark, **size: int) -> Benchmark:
    """The benchmark without a resize: every image at its own size, or all of the stated one."""
    return replace(spec, input=replace(spec.input, height=size.get("height"), width=size.get("width"), resize="none"))


@pytest.mark.parametrize("batch", ["n", 1, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_without_resize_every_image_goes_at_its_own_size(
    batch: int | str, threads: int, tmp_path: Path, spec: Benchmark
) -> None:
    """They were resized to the first one's. The model gives the sides away, so that it would be seen."""
    sides = [(20 + i // 7 % 3, 30) if i % 11 else (5, 7 + i) for i in range(N)]
    every = [png(*side, 3, seed=i) for i, side in enumerate(sides)]
    images = open_images([arrow(tmp_path / "a.arrow", list(every))])
    data = colour_model(batch=batch, side="s")
    feed = bind(read_graph(data, "m"), Card(labels="decrop2025"), as_is(spec), "m").feed
    assert feed.own and not feed.resize
    feed = replace(feed, height=5, width=7)
    seen: list[tuple[int, int]] = []
    infer = one(start(data, feed.input, (feed.output,), "m"))

    def watched(fed: NDArray[Any]) -> NDArray[np.float32]:
        seen.append(fed.shape[2:])
        return infer(fed)

    probe(images, feed, watched)
    found = run(images, feed, watched, threads)
    assert set(seen) == set(sides)
    alone = colour_model(side="s")
    single = one(start(alone, feed.input, (feed.output,), "m"))
    decoded = [np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)) for data in every]
    plain = [
        single((image[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32))[0]
        for image in decoded
    ]
    np.testing.assert_allclose(found, np.stack(plain), rtol=1e-4, atol=1e-4)


def test_without_resize_an_image_of_another_size_than_stated_is_refused(tmp_path: Path, spec: Benchmark) -> None:
    data = colour_model(side=16)
    feed = bind(read_graph(data, "m"), Card(labels="decrop2025"), as_is(spec, height=16, width=16), "m").feed
    infer = one(start(data, feed.input, (feed.output,), "m"))
    images = open_images([arrow(tmp_path / "a.arrow", [png(16, 16, 3), png(16, 17, 3)])])
    run(images, feed, infer, stop=1)
    with pytest.raises(
        DatasetError, match=r"row 1: an image of 16×17, and this benchmark gives images of 16×16 as they"
    ):
        run(images, feed, infer, stop=2)


@pytest.mark.parametrize(("channels", "shape"), [(1, (100, 100)), (3, (100, 100, 3)), (1, (100, 100, 3))])
def test_sixteen_bits_are_not_cut_down_to_eight(
    channels: int, shape: tuple[int, ...], tmp_path: Path, spec: Benchmark
) -> None:
    feed, infer = model(spec, channels=channels)
    images = open_images([arrow(tmp_path / "a.arrow", [png(*shape, dtype=np.uint16)])])
    with pytest.raises(DatasetError, match="row 0: a uint16 image, and this benchmark gives 8-bit ones"):
        run(images, feed, infer, stop=1)


def test_slices_cross_batches_and_files(images: Images) -> None:
    every = encoded()
    assert len(images) == N
    assert [bytes(v) for v in images.slices(35, 130)] == every[35:130]
    assert images.slices(10, 10) == []


def test_a_corrupt_image_is_named_by_its_row_the_first_one_wins(tmp_path: Path, spec: Benchmark) -> None:
    every: list[bytes | None] = list(encoded())
    every[77], every[140] = b"\xff\xd8broken", b""
    feed, infer = model(spec)
    broken = open_images([arrow(tmp_path / "a.arrow", every)])
    with pytest.raises(CorruptImageError) as caught:
        run(broken, feed, infer, threads=1)
    assert caught.value.row == 77


def test_rows_without_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="without embedded image bytes"):
        open_images([arrow(tmp_path / "a.arrow", [None, b"x"])])


@pytest.mark.parametrize(("what", "words"), [("nan", "NaN"), ("inf", "infinite|NaN"), ("transposed", "shape")])
def test_outputs_that_are_no_scores_are_refused(what: str, words: str, images: Images, spec: Benchmark) -> None:
    data = broken_model(what)
    feed = bind(read_graph(data, "m"), Card(labels="decrop2025"), spec, "m").feed
    with pytest.raises(ModelError, match=words):
        run(images, feed, one(start(data, feed.input, (feed.output,), "m")))


def test_a_score_that_depends_on_its_neighbours_is_refused(images: Images, spec: Benchmark) -> None:
    data = broken_model("neighbours")
    feed = bind(read_graph(data, "m"), Card(labels="decrop2025"), spec, "m").feed
    with pytest.raises(ModelError, match="which others are in its batch"):
        probe(images, feed, one(start(data, feed.input, (feed.output,), "m")))


def test_a_fixed_batch_is_probed_with_other_neighbours(images: Images, spec: Benchmark) -> None:
    feed, infer = model(spec, batch=4)

    def shifted(batch: NDArray[Any]) -> NDArray[np.float32]:
        scores = infer(batch)
        return np.asarray(scores - scores.mean(axis=0, keepdims=True), np.float32)

    with pytest.raises(ModelError, match="which others are in its batch"):
        probe(images, feed, shifted)
    probe(images, feed, infer)


def test_a_random_model_is_refused(images: Images, spec: Benchmark) -> None:
    feed, infer = model(spec)
    rng = np.random.default_rng()

    def noisy(batch: NDArray[Any]) -> NDArray[np.float32]:
        return infer(batch) + rng.normal(size=(len(batch), feed.classes)).astype(np.float32)

    with pytest.raises(ModelError, match="different scores for the same images"):
        probe(images, feed, noisy)
    probe(images, feed, infer)
    probe(images, replace(feed, batch=1), infer)


def test_a_model_that_onnxruntime_cannot_load_is_one_line() -> None:
    data = colour_model().replace(b"MatMul", b"MatMux")
    with pytest.raises(ModelError, match="onnxruntime cannot load it"):
        start(data, "x", ("y",), "m.onnx")
