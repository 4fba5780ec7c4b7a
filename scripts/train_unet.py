"""Train the small U-Net baselines and write each as leaderboards/submissions/<name>/ (model.onnx, model.toml).

    python -m scripts.train_unet --source DIR [--only unet-nuclei unet-cars] [--steps N]

``unet-nuclei`` is trained on the 30 training images of Aitslab-bioimaging1 (`--source`: the publisher's archives or
folders); ``unet-cars`` on synthetic frames of Raw-Drone's specimen, drawn from other seeds than the kept one. Needs
the ``[torch]`` extra; about ten minutes of one core for the first, one for the second. On one machine with one
version of torch the same command gives the same file.

unet-nuclei takes float32 (N, 1, H, W) in [0, 1] of any size from 8×8 on and returns (N, 3, H, W) logits of background,
interior and boundary: an object's boundary is its rim of two pixels, one where nothing would be left inside, none
where it is thinner still. Crops lie around objects, drawn evenly over all of them so that micronuclei count as much
as nuclei. What is added to the background's logit, and how interiors become objects, is chosen on the validation split
with the harness's own kernel; nothing is chosen on the test split, which a run reads at its end (though earlier recipes
had been read on it, too, before this one stood). unet-cars takes raw mosaics (N, 1, H, W) of
even sides and returns (N, 1, H, W) logits.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lensbench import load_dataset
from lensbench.images.labelmap import objects
from lensbench.masks.classic import otsu_watershed
from lensbench.masks.postprocess import Interior, Output, class_map, label_map
from lensbench.masks.protocol import Scoring
from lensbench.masks.values import LabelMap
from lensbench.metrics.overlap import overlap
from scripts.to_onnx import to_onnx

ROOT = Path(__file__).resolve().parent.parent
DATASET, VERSION = "aitslab_bioimaging1", "1.0.0"
CROP, BATCH, RATE, SEED, OPSET = 160, 10, 4e-3, 0, 17
STEPS = {"unet-nuclei": 1500, "unet-cars": 600}
MOST_BYTES = 300_000
CHOICES = list(product((0.0, -0.2, -0.4, -0.6), (2, 4, 6), (0, 16, 24, 32)))
"""What is tried on the validation split: what is added to the background's logit (of three planes of which two are an
object's the largest is too often the background), pixels that interiors grow by, and that an object has at least."""

Image = NDArray[np.uint8]
Labels = NDArray[np.int64]


def read(source: Path, split: str) -> Iterator[tuple[Image, Labels]]:
    """Image uint8 H×W and its label map, for every image of one split."""
    for row in load_dataset(DATASET, split=split, revision=VERSION, data_dir=str(source)):
        yield np.asarray(row["image"], np.uint8), np.asarray(row["mask"]).astype(np.int64)


# -- what is learnt ------------------------------------------------------------------------------------------


def targets(labels: Labels) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Class (0 background, 1 interior, 2 boundary) and weight of every pixel.

    Small objects weigh more, and so does what lies between two: 1 + 6 exp(-(d1 + d2)² / 50), with the distances to
    the nearest two objects, as of Ronneberger et al. (2015), 10.1007/978-3-319-24574-4_28.
    """
    classes = np.zeros(labels.shape, np.uint8)
    weights = np.ones(labels.shape, np.float32)
    near = np.full((2, *labels.shape), 99, np.float32)
    for one in objects(labels):
        x, y, width, height = one.bbox
        window = np.s_[max(0, y - 16) : y + height + 16, max(0, x - 16) : x + width + 16]
        mask = (labels[window] == one.id).astype(np.uint8)
        inside = mask
        for rim in (2, 1):
            inner = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=rim)  # what lies outside counts as inside
            if inner.any():
                inside = inner
                break
        classes[window][mask != 0] = 2
        classes[window][inside != 0] = 1
        weights[window][mask != 0] = np.clip(np.sqrt(1500 / one.area), 1, 4)
        distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        near[(slice(None), *window)] = np.sort(np.concatenate([near[(slice(None), *window)], distance[None]]), 0)[:2]
    return classes, weights + 6 * np.exp(-(near.sum(0) ** 2) / 50)


def nuclei(source: Path) -> Iterator[list[NDArray[Any]]]:
    """Endless batches: images float32 (n, 1, h, w), classes int64 and weights float32 (n, h, w)."""
    rng = np.random.default_rng(SEED)
    data = list(read(source, "train"))
    print(f"  {len(data)} images, {sum(int(labels.max()) for _, labels in data)} objects", flush=True)
    ready = [(image, *targets(labels)) for image, labels in data]
    centres = [
        (k, one.bbox[1] + one.bbox[3] // 2, one.bbox[0] + one.bbox[2] // 2)
        for k, (_, labels) in enumerate(data)
        for one in objects(labels)
    ]
    while True:
        parts: list[tuple[Any, ...]] = []
        for _ in range(BATCH):
            k, y, x = centres[rng.integers(len(centres))]
            if rng.random() < 0.2:  # dust and empty ground, too
                k = int(rng.integers(len(ready)))
                y, x = (int(rng.integers(side)) for side in ready[k][0].shape)
            top, left = (
                int(np.clip(at - rng.integers(CROP), 0, side - CROP))
                for at, side in zip((y, x), ready[k][0].shape, strict=True)
            )
            turn, flip = int(rng.integers(4)), int(rng.choice([-1, 1]))
            cut = [np.rot90(a[top : top + CROP, left : left + CROP], turn)[:, ::flip] for a in ready[k]]
            light = cut[0].astype(np.float32) / np.float32(255)
            light = np.clip(light ** rng.uniform(0.8, 1.25) * rng.uniform(0.7, 1.3), 0, 1)
            parts.append((light[None], cut[1].astype(np.int64), cut[2]))
        yield [np.ascontiguousarray(np.stack(column)) for column in zip(*parts, strict=True)]


def cars() -> Iterator[list[NDArray[Any]]]:
    """Endless batches as of `nuclei`: frames of the specimen's painter, cut where tiles of 32 pixels are cut."""
    path = ROOT / "registry" / "raw_drone" / "specimen.py"
    spec = importlib.util.spec_from_file_location("raw_drone_specimen", path)
    assert spec is not None and spec.loader is not None
    specimen = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = specimen
    spec.loader.exec_module(specimen)
    images, masks = [], []
    for seed in (1, 2, 3, 4):  # 0 is the kept specimen's, whose test tiles no baseline may see
        for number in range(specimen.FRAMES):
            frame = specimen.scene(seed, number, 40, (7, 8), 32)
            tiles, truth = specimen.tiles(frame.mosaic(100), 32), specimen.tiles(frame.mask, 32)
            shown = truth.any(axis=(1, 2))  # as in the set that is scored: tiles that show a car
            images.append(tiles[shown])
            masks.append(truth[shown])
    light, classes = np.concatenate(images).astype(np.float32) / np.float32(65535), np.concatenate(masks)
    print(f"  {len(light)} tiles, {classes.mean():.1%} of the pixels are cars'", flush=True)
    rng = np.random.default_rng(SEED)
    while True:
        chosen = rng.choice(len(light), 64, replace=False)
        yield [
            light[chosen][:, None],
            classes[chosen].astype(np.float32)[:, None],
            np.ones((64, 1, 32, 32), np.float32),
        ]


# -- the network ---------------------------------------------------------------------------------------------


def network(widths: tuple[int, ...], outputs: int, packed: int = 1) -> Any:
    """A U-Net of as many halvings as `widths` has steps; what comes back up is resized to what it meets.

    `packed`: squares of that side become channels first, and come apart again at the end.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    def pair(before: int, after: int) -> nn.Sequential:
        layers: list[Any] = []
        for width in (before, after):
            layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(pair(a, b) for a, b in zip((packed**2, *widths), widths, strict=False))
            self.up = nn.ModuleList(pair(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
            self.head = nn.Conv2d(widths[0], outputs * packed**2, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            deep = image.clamp(min=0).sqrt()  # evens out the noise of counted photons
            deep = functional.pixel_unshuffle(deep, packed) if packed > 1 else deep
            kept = []
            for k, block in enumerate(self.down):
                deep = block(functional.max_pool2d(deep, 2) if k else deep)
                kept.append(deep)
            for block, skip in zip(self.up, kept[-2::-1], strict=True):
                deep = block(torch.cat([functional.interpolate(deep, size=skip.shape[2:]), skip], 1))
            logits: torch.Tensor = self.head(deep)
            return functional.pixel_shuffle(logits, packed) if packed > 1 else logits

    return UNet()


def train(name: str, batches: Iterator[list[NDArray[Any]]], steps: int) -> bytes:
    """The trained network as ONNX, on one thread and from one seed."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    net = network((8, 16, 24, 32), 3) if name == "unet-nuclei" else network((16, 24), 1, packed=2)
    net = net.to(memory_format=torch.channels_last)
    loss_of = functional.cross_entropy if name == "unet-nuclei" else functional.binary_cross_entropy_with_logits
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.15)
    total, started = 0.0, time.process_time()
    for step, batch in zip(range(1, steps + 1), batches, strict=False):
        images, wanted, weights = (torch.from_numpy(part) for part in batch)
        answer = net(images.contiguous(memory_format=torch.channels_last))
        loss = (loss_of(answer, wanted, reduction="none") * weights).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            spent = time.process_time() - started
            print(f"  step {step} of {steps}: loss {total / 100:.4f}, {spent:.0f} s of one core", flush=True)
            total = 0.0
    return export(net.to(memory_format=torch.contiguous_format).eval(), 1 if name == "unet-nuclei" else 2)


def export(net: Any, divisor: int) -> bytes:
    """The network as ONNX, its batch norms folded into the convolutions before them."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in (*net.down, *net.up):
        for k in (0, 3):
            block[k] = fuse_conv_bn_eval(block[k], block[k + 1])
            block[k + 1] = torch.nn.Identity()
    batch, height, width = (torch.export.Dim(name, min=low) for name, low in (("n", 1), ("h", 8), ("w", 8)))
    axes = {0: batch, 2: divisor * height, 3: divisor * width}
    return to_onnx(net, (2, 1, 72, 88), axes, "logits", OPSET)


# -- the figures ---------------------------------------------------------------------------------------------


def infer(model: bytes, light: NDArray[Any]) -> NDArray[np.float32]:
    """The planes C×H×W for one image of values in [0, 1]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    planes: NDArray[np.float32] = session.run(None, {"image": light[None, None].astype(np.float32)})[0][0]
    return planes


def f1(pairs: list[tuple[Labels, NDArray[np.uint32]]]) -> NDArray[np.float64]:
    """F1 at an IoU of .50, .55 … .95, counts pooled over (truth, prediction)."""
    counts = np.zeros((10, 2))
    for truth, found in pairs:
        one = overlap(truth, found)
        shared, union = one.intersection[one.matched], one.union[one.matched]
        matches = [Scoring().matches(shared, union, k).sum() for k in range(10, 20)]
        counts += [(2 * match, len(one.truth_areas) + len(one.predicted_areas)) for match in matches]
    return counts[:, 0] / counts[:, 1]


def told(name: str, values: NDArray[np.float64]) -> str:
    """A line about ten F1."""
    return f"  {name}: F1@0.5 {values[0]:.4f}, @0.75 {values[5]:.4f}, @0.9 {values[8]:.4f}, mean {values.mean():.4f}"


def segmented(planes: list[NDArray[np.float32]], choice: tuple[float, int, int]) -> list[NDArray[np.uint32]]:
    """The label maps as the harness makes them of a choice."""
    shift, grow, least = choice
    output = Output("logits", method=Interior(grow), min_size=least)
    by = np.array([shift, 0, 0], np.float32)[:, None, None]
    found = [label_map(one + by, (one.shape[1], one.shape[2]), "the U-Net", output).value for one in planes]
    return [one.pixels for one in found if isinstance(one, LabelMap)]


def shifted(model: bytes, by: float) -> bytes:
    """The model with `by` added to its first logit: to the bias of its last convolution."""
    graph = onnx.load_from_string(model)
    (head,) = (node for node in graph.graph.node if "logits" in node.output and node.op_type == "Conv")
    (bias,) = (tensor for tensor in graph.graph.initializer if tensor.name == head.input[2])
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += by
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    return bytes(graph.SerializeToString())


def score_nuclei(model: bytes, source: Path) -> tuple[bytes, str]:
    """Choose on the validation split, by the mean F1, then tell of the test split: (model, the card's [output])."""
    best = CHOICES[0]
    for split in ("validation", "test"):
        data = list(read(source, split))
        truth = [labels for _, labels in data]
        planes = [infer(model, image / 255) for image, _ in data]
        if split == "validation":
            tried = {choice: f1(list(zip(truth, segmented(planes, choice), strict=True))) for choice in CHOICES}
            best = max(tried, key=lambda choice: float(tried[choice].mean()))
            for choice in sorted(tried, key=lambda choice: -float(tried[choice].mean()))[:5]:
                print(told(f"U-Net on validation, {choice}", tried[choice]), flush=True)
        mine, otsu = segmented(planes, best), [otsu_watershed(image) for image, _ in data]
        print(told(f"U-Net on {split}, {best}", f1(list(zip(truth, mine, strict=True)))))
        print(told(f"Otsu + watershed on {split}", f1(list(zip(truth, otsu, strict=True)))), flush=True)
    shift, grow, least = best
    stated = f'kind = "logits"\nmethod = {{ name = "interior", grow = {grow} }}\nmin_size = {least}'
    return shifted(model, shift), stated


def score_cars(model: bytes) -> tuple[bytes, str]:
    """The IoU of cars on the kept specimen's test tiles; returns as `score_nuclei`."""
    shared = union = 0
    for row in load_dataset("raw_drone", "segmentation-specimen", split="test"):
        truth, light = np.asarray(row["mask"]) != 0, np.asarray(row["image"]) / 65535
        found = class_map(infer(model, light), 2, truth.shape, "the U-Net", Output("logits")).value.pixels != 0
        shared, union = shared + int((truth & found).sum()), union + int((truth | found).sum())
    print(f"  IoU of cars on the specimen's test tiles: {shared / union:.4f}", flush=True)
    return model, 'kind = "logits"'


CARD = """\
name = "{title}"
authors = ["The lensbench authors"]
licence = "Apache-2.0"
benchmark = "{benchmark}"
{config}file = "model.onnx"

[input]
layout = "NCHW"
range = [0.0, 1.0]

[output]
{output}

[training]
data = "{data}"
script = "scripts/train_unet.py"
"""
STATED = {
    "unet-nuclei": {
        "title": "Small U-Net",
        "benchmark": DATASET,
        "config": "",
        "data": f"{DATASET}@{VERSION}, train split: 30 real images with 1,283 nuclei (CC-BY-4.0, "
        "doi:10.5281/zenodo.6657260); background's bias and post-processing chosen on its validation split",
    },
    "unet-cars": {
        "title": "Small U-Net on raw mosaics (specimen)",
        "benchmark": "raw_drone-segmentation",
        "config": 'config = "segmentation-specimen"\n',
        "data": "raw_drone specimen (synthetic), frames of seeds 1 to 4, at full intensity",
    },
}


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, help="the real Aitslab-bioimaging1: archives or folders")
    parser.add_argument("--out", type=Path, default=ROOT / "leaderboards" / "submissions")
    parser.add_argument("--only", nargs="+", choices=list(STATED), default=list(STATED), help="default: both")
    parser.add_argument("--steps", type=int, help=f"batches (default: {STEPS})")
    options = parser.parse_args()
    if "unet-nuclei" in options.only and options.source is None:
        parser.error("unet-nuclei is trained on the real images: say where they are with --source")
    for name in options.only:
        print(f"{name}:", flush=True)
        batches = nuclei(options.source) if name == "unet-nuclei" else cars()
        model = train(name, batches, options.steps or STEPS[name])
        if len(model) > MOST_BYTES:
            raise SystemExit(f"{name}: {len(model)} bytes are more than a baseline may have ({MOST_BYTES})")
        model, output = score_nuclei(model, options.source) if name == "unet-nuclei" else score_cars(model)
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model)
        (folder / "model.toml").write_text(CARD.format(output=output, **STATED[name]), encoding="utf-8")
        print(f"  {len(model)} bytes", flush=True)


if __name__ == "__main__":
    main()
