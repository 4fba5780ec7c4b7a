"""Train the baselines of the ISP track and write each as leaderboards/submissions/<name>/ (model.onnx, model.toml).

    python -m scripts.train_isp [--only cells tiles cars] [--steps N] [--out DIR]

Three tasks: ``cells`` (Raw-Microscopy, kinds of cells), ``tiles`` and ``cars`` (Raw-Drone, car or no car, and which
pixels). Of each there are two networks that differ in nothing but the images that they are shown: ``one-view`` is
trained on the reference view alone, ``all-views`` on the twelve views of its tier, one drawn for every image of every
batch. So what is between them on the board is what the views did.

All are trained on synthetic frames of the specimens' painters, drawn from other seeds than the kept ones: the kept
ones' train splits have some seventy images, too few for twelve views to be told from chance. Needs the ``[torch]``
extra; one core, some minutes each. On one machine with one version of torch the same command gives the same file.
Each takes float32 (N, 3, H, W) in [0, 1]. At the end every view of the kept specimen's test split is scored.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lensbench import load_dataset
from lensbench.images.tiles import tiles
from lensbench.isp import Developer, get_camera
from lensbench.isp.tiers import HEADLINE, REFERENCE, get_tier
from scripts.to_onnx import to_onnx

ROOT = Path(__file__).resolve().parent.parent
BATCH, RATE, SEED, OPSET = 64, 4e-3, 0, 18
STEPS = {"cells": 600, "tiles": 1500, "cars": 600}
"""Batches. After 600 the worst views of the two networks for tiles were level on the kept specimen."""
MOST_BYTES = 300_000
SEEDS = (1, 2, 3, 4)
"""Of the painters; 0 is the kept specimens', whose images no baseline may see before it is scored."""
TIER = get_tier(HEADLINE)
VIEWS = {"one-view": [TIER.views.index(TIER.view(REFERENCE))], "all-views": list(range(len(TIER.views)))}

Frames = NDArray[np.uint16]
Truth = NDArray[np.int64]
Views = NDArray[np.float16]


def shown_in(which: str) -> str:
    """How a card says in which views a network was trained: the tier's name is all of its views."""
    return HEADLINE if which == "all-views" else f"{HEADLINE}/{REFERENCE}"


def painter(dataset: str) -> Any:
    """A dataset's `specimen.py` as a module."""
    name, path = f"{dataset}_specimen", ROOT / "registry" / dataset / "specimen.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def cells() -> tuple[Frames, Truth]:
    """Frames at full intensity and their classes in the published order."""
    specimen = painter("raw_microscopy")
    order = list(specimen.published_counts())
    crops = [(seed, crop) for seed in SEEDS for crop in specimen.plan(specimen.counts_of(400), seed)]
    known = [(seed, crop) for seed, crop in crops if crop.label in order]
    frames = np.stack([specimen.mosaics(crop, seed)[100] for seed, crop in known])
    return frames, np.array([order.index(crop.label) for _, crop in known])


def drone() -> Iterator[tuple[Any, Any, Any]]:
    """The painter, and tiles and masks of one frame after another."""
    specimen = painter("raw_drone")
    for seed in SEEDS:
        for number in range(specimen.FRAMES):
            frame = specimen.scene(seed, number, 28, (7, 8), 32)
            yield specimen, tiles(frame.mosaic(100), 32), tiles(frame.mask, 32)


def car_tiles() -> tuple[Frames, Truth]:
    """Tiles as of the published draw, and 0 where they show a car, else 1."""
    frames: list[Any] = []
    classes: list[int] = []
    for specimen, images, masks in drone():
        drawn = specimen.balanced(masks.sum(axis=(1, 2), dtype=np.int64), 32)
        for label, chosen in enumerate(drawn):
            frames.append(images[chosen])
            classes += [label] * len(chosen)
    return np.concatenate(frames), np.array(classes)


def cars() -> tuple[Frames, Truth]:
    """Tiles that show a car, and their masks."""
    parts = [(images[shown], masks[shown]) for _, images, masks in drone() for shown in [masks.any(axis=(1, 2))]]
    return np.concatenate([images for images, _ in parts]), np.concatenate([masks for _, masks in parts]).astype(int)


def developed(frames: Frames, dataset: str) -> Views:
    """Every frame in every view of the tier: frames × views × 3 × height × width."""
    developer = Developer(get_camera(dataset), TIER.views)
    out = np.empty((len(frames), len(TIER.views), 3, *frames.shape[1:]), np.float16)
    for row, frame in zip(out, frames, strict=True):
        row[:] = developer(frame)
    return out


# -- the networks --------------------------------------------------------------------------------------------


def classifier(classes: int) -> Any:
    """Four convolutions, mean and maximum over the picture, one linear layer."""
    import torch
    from torch import nn

    widths = ((3, 16, 1), (16, 32, 2), (32, 48, 2), (48, 64, 1))

    class Classifier(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*(part for width in widths for part in _layer(*width)))
            self.head = nn.Linear(2 * widths[-1][1], classes)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            deep = self.body(image * 4 - 2)
            scores: torch.Tensor = self.head(torch.cat([deep.mean((2, 3)), deep.amax((2, 3))], 1))
            return scores

    return Classifier()


def segmenter() -> Any:
    """A U-Net of two halvings, one plane out; what comes back up is resized to what it meets."""
    import torch
    from torch import nn
    from torch.nn import functional

    widths = (12, 24, 32)

    class Segmenter(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            pairs = zip((3, *widths), widths, strict=False)
            self.down = nn.ModuleList(nn.Sequential(*_layer(a, b), *_layer(b, b)) for a, b in pairs)
            pairs = zip(widths[-2::-1], widths[:0:-1], strict=True)
            self.up = nn.ModuleList(nn.Sequential(*_layer(a + b, a), *_layer(a, a)) for a, b in pairs)
            self.head = nn.Conv2d(widths[0], 1, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            deep, kept = image * 4 - 2, []
            for k, block in enumerate(self.down):
                deep = block(functional.max_pool2d(deep, 2) if k else deep)
                kept.append(deep)
            for block, skip in zip(self.up, kept[-2::-1], strict=True):
                deep = block(torch.cat([functional.interpolate(deep, size=skip.shape[2:]), skip], 1))
            plane: torch.Tensor = self.head(deep)
            return plane

    return Segmenter()


def _layer(before: int, after: int, stride: int = 1) -> list[Any]:
    from torch import nn

    return [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def batches(images: Views, truth: Truth, views: list[int]) -> Iterator[tuple[NDArray[np.float32], Truth]]:
    """Endless batches, turned and mirrored; the view of every image is drawn from `views`.

    Images, turns and the order of both are the same whatever the views are.
    """
    which, order = np.random.default_rng(SEED), np.random.default_rng(SEED + 1)
    while True:
        chosen, turn, flip = order.integers(len(images), size=BATCH), int(order.integers(4)), int(order.choice([-1, 1]))
        view = np.array(views)[which.integers(len(views), size=BATCH)]
        given, wanted = images[chosen, view].astype(np.float32), truth[chosen]
        given = np.rot90(given, turn, (2, 3))[..., ::flip]
        if wanted.ndim > 1:
            wanted = np.rot90(wanted, turn, (1, 2))[..., ::flip]
        yield np.ascontiguousarray(given), np.ascontiguousarray(wanted)


def train(net: Any, given: Iterator[tuple[Any, Any]], steps: int) -> Any:
    """Train on one thread, from one seed."""
    import torch
    from torch.nn import functional

    net = net.to(memory_format=torch.channels_last)  # faster
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.2)
    total, started = 0.0, time.process_time()
    for step, (images, wanted) in zip(range(1, steps + 1), given, strict=False):
        answer = net(torch.from_numpy(images).contiguous(memory_format=torch.channels_last))
        truth = torch.from_numpy(wanted)
        if truth.dim() > 1:
            loss = functional.binary_cross_entropy_with_logits(answer[:, 0], truth.float())
        else:
            loss = functional.cross_entropy(answer, truth, label_smoothing=0.03)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            spent = time.process_time() - started
            print(f"  step {step} of {steps}: loss {total / 100:.4f}, {spent:.0f} s of one core", flush=True)
            total = 0.0
    return net.to(memory_format=torch.contiguous_format).eval()


def export(net: Any, output: str) -> bytes:
    """The network as ONNX, its batch norms folded into the convolutions before them."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in [part for part in net.modules() if isinstance(part, torch.nn.Sequential)]:
        for k in range(0, len(block), 3):
            block[k] = fuse_conv_bn_eval(block[k], block[k + 1])
            block[k + 1] = torch.nn.Identity()
    axes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=8), 3: torch.export.Dim("w", min=8)}
    return to_onnx(net, (2, 3, 36, 40), axes, output, OPSET)


# -- the figures ---------------------------------------------------------------------------------------------


def hits(answer: NDArray[np.float32], truth: Truth) -> float:
    """Share of images whose class is the largest score's."""
    return float((answer.argmax(1) == truth).mean())


def iou(answer: NDArray[np.float32], truth: Truth) -> float:
    """IoU of the cars' pixels, over all images together."""
    found = answer[:, 0] >= 0
    return float((found & (truth != 0)).sum() / (found | (truth != 0)).sum())


def score(model: bytes, images: Views, truth: Truth, measure: Callable[[Any, Any], float]) -> dict[str, float]:
    """What every view of the images scores."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = {}
    for number, view in enumerate(TIER.views):
        answers = [session.run(None, {"image": image[None].astype(np.float32)})[0] for image in images[:, number]]
        found[view.name] = measure(np.concatenate(answers), truth)
    return found


# -- the command ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is learnt from what: `read` gives frames and truth to train on; labels are None for a segmentation."""

    title: str
    benchmark: str
    dataset: str
    config: str
    labels: str | None
    read: Callable[[], tuple[Frames, Truth]]
    network: Callable[[], Any]

    def kept(self) -> tuple[Frames, Truth]:
        """Frames and truth of the kept specimen's test split."""
        rows = list(load_dataset(self.dataset, self.config, split="test"))
        truth = [row["label"] if self.labels else np.asarray(row["mask"]) != 0 for row in rows]
        return np.stack([np.asarray(row["image"], np.uint16) for row in rows]), np.array(truth).astype(np.int64)

    def card(self, which: str, images: int) -> str:
        """The `model.toml` of one of its networks."""
        return CARD.format(
            title=f"{self.title}, {which.replace('-', ' ')} (specimen)",
            benchmark=self.benchmark,
            config=self.config,
            labels=f'labels = "{self.labels}"\n' if self.labels else "",
            data=f"{self.dataset} specimen (synthetic), {images} images of seeds {SEEDS[0]} to {SEEDS[-1]}",
            views=f'"{shown_in(which)}"',
        )


CELLS = Task("Small CNN", "raw_microscopy-isp", "raw_microscopy", "specimen", "published", cells, lambda: classifier(9))
TILES = Task(
    "Small CNN",
    "raw_drone-classification-isp",
    "raw_drone",
    "classification-specimen",
    "classification",
    car_tiles,
    lambda: classifier(2),
)
CARS = Task("Small U-Net", "raw_drone-segmentation-isp", "raw_drone", "segmentation-specimen", None, cars, segmenter)
TASKS = {"cells": CELLS, "tiles": TILES, "cars": CARS}

CARD = """\
name = "{title}"
authors = ["The lensbench authors"]
licence = "Apache-2.0"
benchmark = "{benchmark}"
config = "{config}"
file = "model.onnx"
{labels}
[input]
layout = "NCHW"
colour = "RGB"
range = [0.0, 1.0]

[output]
kind = "logits"

[training]
data = "{data}"
views = [{views}]
script = "scripts/train_isp.py"
"""


def main() -> None:
    """Train, score, write."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "leaderboards" / "submissions")
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS), help="default: all")
    parser.add_argument("--steps", type=int, help=f"batches (default: {STEPS})")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in options.only:
        task = TASKS[name]
        frames, truth = task.read()
        images = developed(frames, task.dataset)
        kept, answers = task.kept()
        kept_images = developed(kept, task.dataset)
        for which, views in VIEWS.items():
            print(f"{name}-{which}: {len(images)} images, views {len(views)}", flush=True)
            torch.manual_seed(SEED)
            net = train(task.network(), batches(images, truth, views), options.steps or STEPS[name])
            model = export(net, "logits")
            if len(model) > MOST_BYTES:
                raise SystemExit(f"{name}: {len(model)} bytes are more than a baseline may have ({MOST_BYTES})")
            told(score(model, kept_images, answers, hits if task.labels else iou))
            folder = options.out / f"{name}-{which}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.onnx").write_bytes(model)
            (folder / "model.toml").write_text(task.card(which, len(images)), encoding="utf-8")


def told(found: dict[str, float]) -> None:
    """Print what the views score."""
    values = np.array(list(found.values()))
    print("  " + ", ".join(f"{view} {value:.3f}" for view, value in found.items()))
    print(f"  clean {found[REFERENCE]:.3f}, mean {values.mean():.3f}, worst {values.min():.3f}", flush=True)


if __name__ == "__main__":
    main()
