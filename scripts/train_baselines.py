"""Train the three baselines of the LifeWatch FlowCam specimen and write them as submissions.

    python -m scripts.train_baselines [--out leaderboards/submissions] [--only majority features small-cnn]

Each is trained on the train split of a specimen that is drawn on the spot: larger than the kept one, from
another seed, so that no image of the kept one's test split is seen. All take float32 (N, 3, 100, 100) RGB in
[0, 1] and return (N, 95) logits in the label order ``decrop2025``:

* ``majority``: the logarithm of the class frequencies, whatever the image shows;
* ``features``: numbers on colour, edges, grey values and outline, computed inside the ONNX graph, then
  logistic regression (scikit-learn);
* ``small-cnn``: five convolutions (torch; needs the ``[torch]`` extra).

At the end every model is scored on the kept specimen's test split: top-1 and macro recall with its interval.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lensbench.stats import hash_groups, jackknife
from scripts.to_onnx import to_onnx

ROOT = Path(__file__).resolve().parent.parent
SIDE, CLASSES, OPSET = 100, 95, 17
MOST_BYTES = 300_000

Images = NDArray[np.uint8]  # (n, 100, 100): the files' three channels are equal
Labels = NDArray[np.int64]


def load_specimen() -> Any:
    """The dataset's ``specimen.py`` as a module."""
    path = ROOT / "registry" / "lifewatch_flowcam" / "specimen.py"
    spec = importlib.util.spec_from_file_location("lifewatch_flowcam_specimen", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def read(specimen: Any, split: str, **plan: int) -> tuple[list[str], Images, Labels]:
    """Ids, pictures as the harness resizes them, and labels of one split of the specimen of ``plan``."""
    index = {row.name: row.decrop2025 for row in specimen.classes()}
    rows = [row for row in specimen.plan(**plan) if row.split == split and row.shipped]
    images = np.empty((len(rows), SIDE, SIDE), np.uint8)
    for k, row in enumerate(rows):
        image = cv2.imdecode(np.frombuffer(specimen.encode(row, index), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        images[k] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)[:, :, 0]
    return [row.id for row in rows], images, np.array([index[row.folder] for row in rows])


def batches(images: Images, size: int = 64) -> Any:
    """Float32 (size, 3, 100, 100) RGB batches in [0, 1]."""
    for start in range(0, len(images), size):
        grey = images[start : start + size, None].astype(np.float32) / np.float32(255)
        yield np.ascontiguousarray(np.broadcast_to(grey, (len(grey), 3, SIDE, SIDE)))


def infer(model: bytes, images: Images) -> NDArray[np.float32]:
    """The model's only output for every image."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": batch})[0] for batch in batches(images)])


class Graph:
    """An ONNX graph under construction; every operation returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an initializer."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, operator: str, *inputs: str | float, **attributes: Any) -> str:
        """Add a node; a number among the inputs becomes an initializer."""
        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        output = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def mean(self, plane: str) -> str:
        """Mean over the picture: (n, c, 1, 1)."""
        return self.add("GlobalAveragePool", plane)

    def model(self, output: str, width: int | None) -> bytes:
        """The serialised model with input ``image`` and output ``scores`` = ``output``."""
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["scores"])]
        graph = helper.make_graph(
            nodes,
            "lensbench_baseline",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", width or "features"])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


# -- majority ------------------------------------------------------------------------------------------------


def majority(images: Images, labels: Labels, epochs: int) -> bytes:
    """Log class frequencies."""
    graph = Graph()
    flat = graph.add("Flatten", graph.mean("image"))
    weights = graph.constant(np.zeros((3, CLASSES)))
    prior = graph.constant(np.log(np.bincount(labels, minlength=CLASSES) / len(labels)))
    return graph.model(graph.add("Gemm", flat, weights, prior), CLASSES)


# -- features ------------------------------------------------------------------------------------------------


def _spread(graph: Graph, plane: str, centre: str) -> str:
    deviation = graph.add("Sub", plane, centre)
    return graph.add("Sqrt", graph.add("Add", graph.mean(graph.add("Mul", deviation, deviation)), 1e-8))


def _edges(graph: Graph, grey: str) -> list[str]:
    """Sobel and Laplace energy at four scales."""
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    laplace = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 4
    kernels = graph.constant(np.stack([sobel, sobel.T, laplace])[:, None])
    found = []
    for scale in (1, 2, 4, 8):
        small = graph.add("AveragePool", grey, kernel_shape=[scale] * 2, strides=[scale] * 2) if scale > 1 else grey
        response = graph.add("Conv", small, kernels, kernel_shape=[3, 3])
        found.append(graph.mean(graph.add("Abs", response)))
        found.append(graph.add("Sqrt", graph.add("Add", graph.mean(graph.add("Mul", response, response)), 1e-8)))
    return found


def _outline(graph: Graph, grey: str) -> list[str]:
    """Area, second moments, edge length and darkness of what is darker than the frame's border."""
    axis = np.linspace(-1, 1, SIDE)
    border = np.zeros((SIDE, SIDE))
    border[:4], border[-4:], border[:, :4], border[:, -4:] = 1, 1, 1, 1
    background = graph.mean(graph.add("Mul", grey, graph.constant(border[None, None] / border.mean())))
    darker = graph.add("Sub", graph.add("Sub", background, grey), 0.06)
    inside = graph.add("Sigmoid", graph.add("Mul", darker, 60.0))
    area = graph.add("Add", graph.mean(inside), 1e-3)

    def moment(*weights: str) -> str:
        weighted = inside
        for weight in weights:
            weighted = graph.add("Mul", weighted, weight)
        return graph.add("Div", graph.mean(weighted), area)

    x, y = graph.constant(axis[None, None, None, :]), graph.constant(axis[None, None, :, None])
    mx, my = moment(x), moment(y)
    xx = graph.add("Sub", moment(x, x), graph.add("Mul", mx, mx))
    yy = graph.add("Sub", moment(y, y), graph.add("Mul", my, my))
    xy = graph.add("Sub", moment(x, y), graph.add("Mul", mx, my))
    spread, difference = graph.add("Add", xx, yy), graph.add("Sub", xx, yy)
    length = graph.add("Add", graph.add("Mul", difference, difference), graph.add("Mul", graph.add("Mul", xy, xy), 4.0))
    steps = graph.constant(np.array([[[[-1, 1], [0, 0]]], [[[-1, 0], [1, 0]]]]))
    rim = graph.mean(graph.add("Abs", graph.add("Conv", inside, steps, kernel_shape=[2, 2])))
    shade = graph.add("Div", graph.mean(graph.add("Mul", inside, grey)), area)
    contrast = _spread(graph, graph.add("Mul", inside, graph.add("Sub", grey, shade)), graph.constant(0.0))
    squat = graph.add("Div", spread, area)
    return [
        area,
        spread,
        squat,
        graph.add("Sqrt", graph.add("Add", length, 1e-8)),
        rim,
        shade,
        contrast,
        background,
    ]


def feature_graph() -> tuple[Graph, str]:
    """The graph up to the features, (n, features) float32."""
    graph = Graph()
    colour = graph.mean("image")
    grey = graph.add("ReduceMean", "image", axes=[1], keepdims=1)
    centre = graph.mean(grey)
    scaled = graph.add("Div", graph.add("Sub", grey, centre), _spread(graph, grey, centre))
    centres = graph.constant(np.linspace(-3, 2, 11)[None, :, None, None])
    distance = graph.add("Abs", graph.add("Sub", scaled, centres))
    histogram = graph.mean(graph.add("Relu", graph.add("Sub", 1.0, graph.add("Mul", distance, 2.0))))
    parts = [colour, _spread(graph, "image", colour), histogram, *_edges(graph, grey), *_outline(graph, grey)]
    return graph, graph.add("Flatten", graph.add("Concat", *parts, axis=1))


def features(images: Images, labels: Labels, epochs: int) -> bytes:
    """Logistic regression on the graph's features; the standardisation is folded into its weights."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    graph, flat = feature_graph()
    values = infer(graph.model(flat, None), images).astype(np.float64)
    scaler = StandardScaler().fit(values)
    fitted = LogisticRegression(max_iter=400, tol=1e-3, class_weight="balanced").fit(scaler.transform(values), labels)
    print(f"  {values.shape[1]} features, {fitted.n_iter_[0]} iterations")
    weights = fitted.coef_ / scaler.scale_
    offset = fitted.intercept_ - weights @ scaler.mean_
    scores = graph.add("Gemm", flat, graph.constant(weights.T), graph.constant(offset))
    return graph.model(scores, CLASSES)


# -- small-cnn -----------------------------------------------------------------------------------------------


def small_cnn(images: Images, labels: Labels, epochs: int) -> bytes:
    """Five convolutions on the picture at half size, mean and maximum over the picture, one linear layer."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                block(1, 12, 1), block(12, 32, 2), block(32, 40, 2), block(40, 48, 1), block(48, 60, 2)
            )
            self.head = nn.Linear(120, CLASSES)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            grey = nn.functional.avg_pool2d(image.mean(1, keepdim=True), 2)
            deep = self.body((grey - grey.mean((2, 3), keepdim=True)) * 5)
            scores: torch.Tensor = self.head(torch.cat([deep.mean((2, 3)), deep.amax((2, 3))], 1))
            return scores

    network = Network().to(memory_format=torch.channels_last)  # twice as fast
    frequency = np.bincount(labels, minlength=CLASSES)
    weight = torch.tensor((frequency.mean() / frequency) ** 0.7, dtype=torch.float32)
    size = 128
    steps = len(images) // size
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        order, total = rng.permutation(len(images)), 0.0
        for step in range(steps):
            chosen = order[step * size : (step + 1) * size]
            turned = np.rot90(images[chosen], int(rng.integers(4)), (1, 2))
            turned = turned[:, :, :: int(rng.choice([-1, 1]))]
            batch = torch.from_numpy(np.ascontiguousarray(turned)).float().div(255)[:, None]
            loss = nn.functional.cross_entropy(
                network(batch), torch.from_numpy(labels[chosen]), weight=weight, label_smoothing=0.03
            )
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1} of {epochs}: loss {total / steps:.3f}", flush=True)
    return export(network.eval())


def export(network: Any) -> bytes:
    """The network as ONNX, its batch norms folded into the convolutions before them."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for k, (layer, norm, activation) in enumerate(network.body):
        network.body[k] = torch.nn.Sequential(fuse_conv_bn_eval(layer, norm), activation)
    return to_onnx(network, (2, 3, SIDE, SIDE), {0: torch.export.Dim("batch")}, "scores", 18)


# -- the command ---------------------------------------------------------------------------------------------

TITLES: dict[str, tuple[str, Callable[[Images, Labels, int], bytes]]] = {
    "majority": ("Majority class (specimen)", majority),
    "features": ("Colour and shape features + logistic regression (specimen)", features),
    "small-cnn": ("Small CNN (specimen)", small_cnn),
}

CARD = """\
name = "{title}"
authors = ["The lensbench authors"]
licence = "Apache-2.0"
benchmark = "lifewatch_flowcam"
config = "specimen"
file = "model.onnx"
labels = "decrop2025"

[input]
layout = "NCHW"
colour = "RGB"
range = [0.0, 1.0]

[output]
kind = "logits"

[training]
data = "lifewatch_flowcam specimen (synthetic), size {size}, seed {seed}, train split of {images} images"
script = "scripts/train_baselines.py"
"""


def macro_recall(hits: NDArray[np.bool_], labels: Labels) -> float:
    """Mean over the classes present of the share of their images that were hit."""
    support = np.bincount(labels, minlength=CLASSES)
    return float(np.mean((np.bincount(labels, hits, CLASSES) / np.maximum(support, 1))[support > 0]))


def describe(scores: NDArray[np.float32], ids: list[str], labels: Labels) -> str:
    """Top-1 and macro recall with its jackknife interval over 200 groups of hashed ids."""
    hits = scores.argmax(1) == labels
    groups = hash_groups(ids)
    without = [macro_recall(hits[groups != g], labels[groups != g]) for g in np.unique(groups)]
    value = macro_recall(hits, labels)
    interval = jackknife(np.array(without), value, "unit")
    return f"macro recall {value:.4f} ({interval.low:.4f} to {interval.high:.4f}), top-1 {hits.mean():.4f}"


def main() -> None:
    """Train, write, score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "leaderboards" / "submissions")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES), help="default: all")
    parser.add_argument("--size", type=int, default=26_000, help="images in the training specimen")
    parser.add_argument("--seed", type=int, default=1, help="its seed; 0 is the kept specimen's")
    parser.add_argument("--epochs", type=int, default=14, help="of the small CNN")
    options = parser.parse_args()
    if options.seed == 0:
        parser.error("seed 0 is the kept specimen's, whose test images no baseline may see; choose another")
    specimen = load_specimen()
    print(f"Drawing a specimen of {options.size} images, seed {options.seed}", flush=True)
    _, images, labels = read(
        specimen,
        "train",
        size=options.size,
        seed=options.seed,
        test_size=CLASSES * 3,
        validation_size=CLASSES * 3,
    )
    ids, test_images, test_labels = read(specimen, "test")
    print(f"Training on {len(images)} images; scoring on the kept specimen's {len(test_images)} test images")
    for name in options.only:
        started = time.perf_counter()
        title, train = TITLES[name]
        print(f"{name}:", flush=True)
        model = train(images, labels, options.epochs)
        if len(model) > MOST_BYTES:
            raise SystemExit(f"{name}: {len(model)} bytes are more than a baseline may have ({MOST_BYTES})")
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model)
        card = CARD.format(title=title, size=options.size, seed=options.seed, images=len(images))
        (folder / "model.toml").write_text(card, encoding="utf-8")
        result = describe(infer(model, test_images), ids, test_labels)
        print(f"  {len(model)} bytes, {time.perf_counter() - started:.0f} s, {result}", flush=True)


if __name__ == "__main__":
    main()
