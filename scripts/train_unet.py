"""Train the small U-Net baseline of Aitslab-bioimaging1 on its 30 training images and write it as one ONNX file.

    python scripts/train_unet.py --source DIR [--out unet.onnx] [--steps N]

Needs the real dataset (`--source`: the publisher's archives or folders) and the ``[torch]`` extra; minutes on one
core. The network takes float32 (N, 1, H, W) in [0, 1] of any size from 8×8 on and returns (N, 3, H, W) logits of
background, interior and boundary: an object's boundary is its rim of two pixels, one where nothing would be left
inside, none where it is thinner still. Crops lie around objects, drawn evenly over all of them so that micronuclei
count as much as nuclei; validation and test images are never read in training.

At the end the model and Otsu + watershed are scored on the validation and the test split: pooled counts at IoU 0.5
and the foreground's IoU, by a matcher that is written out here so that the figures rest on nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lensbench import load_dataset
from lensbench.masks.classic import otsu_watershed
from lensbench.masks.postprocess import label_map

DATASET, VERSION = "aitslab_bioimaging1", "1.0.0"
WIDTHS = (8, 16, 24, 32)
CROP, BATCH, STEPS, RATE, SEED, OPSET = 256, 8, 900, 4e-3, 0, 17
MOST_BYTES = 300_000
CARD = {
    "name": "Small U-Net",
    "authors": ["The lensbench authors"],
    "licence": "Apache-2.0",
    "benchmark": DATASET,
    "labels": ["background", "interior", "boundary"],
    "input": {"layout": "NCHW", "range": [0.0, 1.0]},
    "output": {"kind": "logits"},
    "training": {
        "data": f"{DATASET}@{VERSION}/train (30 real images, CC-BY-4.0, doi:10.5281/zenodo.6657260)",
        "script": "scripts/train_unet.py",
    },
}

Image = NDArray[np.uint8]
Labels = NDArray[np.int64]


def read(source: Path, split: str) -> Iterator[tuple[Image, Labels]]:
    """Image uint8 H×W and its label map, for every image of one split."""
    for row in load_dataset(DATASET, split=split, revision=VERSION, data_dir=str(source)):
        yield np.asarray(row["image"], np.uint8), np.asarray(row["mask"]).astype(np.int64)


# -- what is learnt ------------------------------------------------------------------------------------------


def targets(labels: Labels) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Class (0 background, 1 interior, 2 boundary) and weight of every pixel: small objects weigh more."""
    classes = np.zeros(labels.shape, np.uint8)
    weights = np.ones(labels.shape, np.float32)
    for key in range(1, int(labels.max()) + 1):
        mask = (labels == key).astype(np.uint8)
        area = int(mask.sum())
        inside = mask
        for width in (2, 1):
            inner = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=width)  # what lies outside counts as inside
            if inner.any():
                inside = inner
                break
        classes[mask != 0] = 2
        classes[inside != 0] = 1
        weights[mask != 0] = np.clip(np.sqrt(1500 / area), 1, 4)
    return classes, weights


def crops(data: list[tuple[Image, Labels]], rng: np.random.Generator) -> Iterator[list[NDArray[Any]]]:
    """Endless batches: images float32 (n, 1, h, w), classes int64 and weights float32 (n, h, w)."""
    ready = [(image, *targets(labels)) for image, labels in data]
    objects = [
        (k, *np.argwhere(labels == key).mean(0).astype(int))
        for k, (_, labels) in enumerate(data)
        for key in range(1, int(labels.max()) + 1)
    ]
    while True:
        parts: list[tuple[Any, ...]] = []
        for _ in range(BATCH):
            k, y, x = objects[rng.integers(len(objects))]
            if rng.random() < 0.2:  # dust and empty ground, too
                k, y, x = rng.integers(len(ready)), *rng.integers(0, 1104, 2)
            shape = ready[k][0].shape
            top, left = (
                int(np.clip(at - rng.integers(CROP), 0, size - CROP)) for at, size in zip((y, x), shape, strict=True)
            )
            turn, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))
            cut = [np.rot90(a[top : top + CROP, left : left + CROP], turn)[:, ::flip] for a in ready[k]]
            light = cut[0].astype(np.float32) / np.float32(255)
            light = np.clip(light ** rng.uniform(0.8, 1.25) * rng.uniform(0.7, 1.3), 0, 1)
            parts.append((light[None], cut[1].astype(np.int64), cut[2]))
        yield [np.ascontiguousarray(np.stack(column)) for column in zip(*parts, strict=True)]


# -- the network ---------------------------------------------------------------------------------------------


def network() -> Any:
    """A U-Net of three halvings; what comes back up is resized to what it meets, so any size will do."""
    import torch
    from torch import nn
    from torch.nn import functional

    def pair(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[Any] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(pair(a, b) for a, b in zip((1, *WIDTHS), WIDTHS, strict=False))
            self.up = nn.ModuleList(pair(a + b, a) for a, b in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True))
            self.head = nn.Conv2d(WIDTHS[0], 3, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            deep = image.clamp(min=0).sqrt()  # evens out the noise of counted photons
            kept = []
            for k, block in enumerate(self.down):
                deep = block(functional.max_pool2d(deep, 2) if k else deep)
                kept.append(deep)
            for block, skip in zip(self.up, kept[-2::-1], strict=True):
                deep = block(torch.cat([functional.interpolate(deep, size=skip.shape[2:]), skip], 1))
            logits: torch.Tensor = self.head(deep)
            return logits

    return UNet()


def train(data: list[tuple[Image, Labels]], steps: int) -> Any:
    """The trained network, on one thread and from one seed."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    net = network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    total, started = 0.0, time.perf_counter()
    for step, batch in zip(range(1, steps + 1), crops(data, np.random.default_rng(SEED)), strict=False):
        images, classes, weights = (torch.from_numpy(part) for part in batch)
        losses = functional.cross_entropy(
            net(images.contiguous(memory_format=torch.channels_last)), classes, reduction="none"
        )
        loss = (losses * weights).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            print(
                f"  step {step} of {steps}: loss {total / 100:.4f}, {time.perf_counter() - started:.0f} s", flush=True
            )
            total = 0.0
    return net.to(memory_format=torch.contiguous_format).eval()


def export(net: Any) -> bytes:
    """The network as one ONNX file with its card; the exporter's notes (files of a machine) are taken out."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in (*net.down, *net.up):
        for k in (0, 3):
            block[k] = fuse_conv_bn_eval(block[k], block[k + 1])
            block[k + 1] = torch.nn.Identity()
    batch, height, width = (
        torch.export.Dim(name, min=low) for name, low in (("batch", 1), ("height", 8), ("width", 8))
    )
    program = torch.onnx.export(
        net,
        (torch.zeros(2, 1, 72, 88),),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: batch, 2: height, 3: width},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise SystemExit("torch.onnx.export returned nothing")
    model = program.model_proto
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.producer_name, model.producer_version = "pytorch", ""
    onnx.helper.set_model_props(model, {"lensbench": json.dumps(CARD, ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


# -- the figures ---------------------------------------------------------------------------------------------

Segment = Callable[[Image], NDArray[Any]]


def unet(model: bytes) -> Segment:
    """The model with the harness's own rules for three planes nobody declared: interior, grown by 2 px."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def segment(image: Image) -> NDArray[Any]:
        light = image[None, None].astype(np.float32) / np.float32(255)
        answer = label_map(session.run(None, {"image": light})[0][0], image.shape[:2], "the U-Net")
        return answer.value.pixels

    return segment


def count(truth: NDArray[Any], found: NDArray[Any], twentieths: int) -> tuple[int, int, int]:
    """(matched, missed, false) objects at IoU ≥ `twentieths`/20 ≥ 1/2, pair by pair."""
    matched: set[int] = set()
    for key in range(1, int(truth.max()) + 1):
        own = truth == key
        for other in set(np.unique(found[own]).tolist()) - {0} - matched:
            theirs = found == other
            both = int((own & theirs).sum())
            if 20 * both >= twentieths * (int(own.sum()) + int(theirs.sum()) - both):
                matched.add(other)
                break
    return len(matched), int(truth.max()) - len(matched), int(found.max()) - len(matched)


def describe(name: str, segment: Segment, source: Path, split: str) -> str:
    """F1 at three thresholds and the foreground's IoU, all pooled over a split, in one line."""
    counts, inside, either, seconds = np.zeros((3, 3), int), 0, 0, 0.0
    for image, truth in read(source, split):
        started = time.perf_counter()
        found = segment(image)
        seconds += time.perf_counter() - started
        counts += [count(truth, found, twentieths) for twentieths in (10, 15, 18)]
        inside += int(((truth != 0) & (found != 0)).sum())
        either += int(((truth != 0) | (found != 0)).sum())
    figures = [2 * matched / (2 * matched + missed + false) for matched, missed, false in counts.tolist()]
    scores = ", ".join(f"F1@{t} {value:.4f}" for t, value in zip((0.5, 0.75, 0.9), figures, strict=True))
    matched, missed, false = counts[0].tolist()
    return (
        f"  {name} on {split}: {scores}, foreground IoU {inside / either:.4f}; "
        f"at 0.5 {matched} matched, {missed} missed, {false} false; {seconds:.1f} s"
    )


def main() -> None:
    """Train, write, score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="the real dataset: archives or folders")
    parser.add_argument("--out", type=Path, default=Path("unet.onnx"))
    parser.add_argument("--steps", type=int, default=STEPS, help=f"batches of {BATCH} crops (default: {STEPS})")
    parser.add_argument("--score", type=Path, metavar="FILE", help="train nothing, only score this model")
    options = parser.parse_args()
    if options.score:
        model = options.score.read_bytes()
    else:
        data = list(read(options.source, "train"))
        print(f"Training on {len(data)} images, {sum(int(labels.max()) for _, labels in data)} objects", flush=True)
        model = export(train(data, options.steps))
        if len(model) > MOST_BYTES:
            raise SystemExit(f"{len(model)} bytes are more than a baseline may have ({MOST_BYTES})")
        options.out.write_bytes(model)
        print(f"{options.out}: {len(model)} bytes", flush=True)
    for split in ("validation", "test"):
        print(describe("U-Net", unet(model), options.source, split), flush=True)
        print(describe("Otsu + watershed", otsu_watershed, options.source, split), flush=True)


if __name__ == "__main__":
    main()
