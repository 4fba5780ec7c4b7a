"""What scoring masks costs, beside stardist, cellpose, torchmetrics and pycocotools at the same task.

    python tests/benchmarks/bench_masks.py [--rounds 7] [--peers .peers] [--real ../shared/realdata]

A script, not a timed test: it prints medians and ratios and fails nothing. The sides take turns, so that a busy
machine slows all of them. Peers that are absent (tests/peers.txt) are left out, with a word.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.masks.values import LabelMap, Masks, to_masks
from lensbench.metrics import METRICS, MaskPrediction, MaskTruth, mask_rows, score
from lensbench.metrics.boundary import boundary_rows
from lensbench.metrics.masks import Map

Labels = NDArray[np.uint32]
Pair = tuple[Map, Labels]
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("background", "object")
THRESHOLDS = [k / 20 for k in range(10, 20)]
IDS = [name for name, metric in METRICS.items() if "segmentation" in metric.tasks]
COCO = [name for name in IDS if name.startswith("coco")]
WHOLE = [name for name in IDS if name not in COCO and name != "boundary_iou"]


def ellipses(side: int, number: int, seed: int) -> Pair:
    """Objects of about the size that fits so many, and a prediction that shifts, loses, joins and invents some."""
    rng = np.random.default_rng(seed)
    true = np.zeros((side, side), np.uint32)
    mine = np.zeros_like(true)
    cells = int(np.ceil(np.sqrt(number)))
    pitch = side / cells
    for k in range(number):
        y, x = divmod(k, cells)
        centre = (np.array([y, x]) + 0.5 + rng.uniform(-0.15, 0.15, 2)) * pitch
        radius = rng.uniform(0.25, 0.45, 2) * pitch
        _draw(true, centre, radius, k + 1)
        if rng.random() < 0.9:
            shift = rng.normal(0, 0.08, 2) * pitch
            _draw(mine, centre + shift, radius * rng.uniform(0.85, 1.15, 2), k + 1 if rng.random() < 0.95 else k)
    return true, mine


def _draw(labels: Labels, centre: NDArray[Any], radius: NDArray[Any], number: int) -> None:
    low = np.maximum(np.floor(centre - radius), 0).astype(int)
    high = np.minimum(np.ceil(centre + radius) + 1, labels.shape).astype(int)
    y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
    inside = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1
    labels[low[0] : high[0], low[1] : high[1]][inside] = number


def prediction(pairs: list[Pair]) -> tuple[MaskTruth, MaskPrediction]:
    """The pairs as they are scored."""
    return MaskTruth([true for true, _ in pairs], NAMES), MaskPrediction([LabelMap(mine) for _, mine in pairs])


def ours(pairs: list[Pair]) -> Any:
    """The rows from which every metric of label maps is a quotient of sums."""
    return mask_rows(*prediction(pairs))


def valued(pairs: list[Pair]) -> Any:
    """Every metric of label maps, with its interval."""
    return score(*prediction(pairs), WHOLE, np.arange(len(pairs)))


def boundaries(pairs: list[Pair]) -> Any:
    """Boundary IoU, which is made apart."""
    return boundary_rows(*prediction(pairs))


def stardists(pairs: list[Pair]) -> Any:
    """Counts, F1 and PQ at ten thresholds."""
    from stardist.matching import matching

    return [matching(true, mine, thresh=THRESHOLDS) for true, mine in pairs]


def cellposes(pairs: list[Pair]) -> Any:
    """Counts and AP at ten thresholds."""
    from cellpose.metrics import average_precision

    return [
        average_precision(true.astype(np.int32), mine.astype(np.int32), threshold=THRESHOLDS) for true, mine in pairs
    ]


def torchmetrics_pq(pairs: list[Pair]) -> Any:
    """Panoptic quality alone."""
    import torch
    from torchmetrics.functional.detection import panoptic_quality

    found = []
    for pair in pairs:
        true, mine = (
            torch.from_numpy(np.stack([(one > 0).astype(np.int64), one.astype(np.int64)], -1)[None]) for one in pair
        )
        found.append(panoptic_quality(mine, true, things={1}, stuffs={0}))
    return found


def our_coco(truth: MaskTruth, answers: MaskPrediction) -> Any:
    """COCO's four scores, from the compressed counts on, intervals included."""
    return score(truth, answers, COCO, np.arange(len(truth)))


def pycocotools_coco(truth: list[dict[str, Any]], found: list[dict[str, Any]], side: int, all_sizes: bool) -> float:
    """AP by COCOeval, annotations with their counts already made; with its four area ranges or the one of all sizes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for entries in (truth, found):
            images = [{"id": i, "height": side, "width": side} for i in sorted({one["image_id"] for one in entries})]
            index = COCO()
            index.dataset = {"images": images, "categories": [{"id": 1}], "annotations": [*map(dict, entries)]}
            index.createIndex()
            sides.append(index)
        judge = COCOeval(*sides, "segm")
        judge.params.maxDets = [1, 10, 1_000]
        if not all_sizes:
            judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    return float(judge.eval["precision"][:, :, 0, 0, 2].mean())


def as_annotations(masks: list[Masks]) -> list[dict[str, Any]]:
    """The same masks as COCO's annotations."""
    from pycocotools import mask as api

    entries: list[dict[str, Any]] = []
    for image, one in enumerate(masks, 1):
        sure = np.zeros(len(one.rle)) if one.scores is None else one.scores
        for text, number in zip(one.rle, sure.tolist(), strict=True):
            code = {"size": list(one.shape), "counts": text}
            entries.append(
                {"id": len(entries) + 1, "image_id": image, "category_id": 1, "segmentation": code, "iscrowd": 0}
                | {"area": float(api.area(code)), "bbox": api.toBbox(code).tolist(), "score": number}
            )
    return entries


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of one call, all threads: other work on the machine counts little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def turns(works: dict[str, Callable[[], object]], rounds: int, images: int) -> None:
    """Print the median milliseconds an image of each, the first being ours."""
    for work in works.values():
        work()  # compilers and caches
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    own = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        middle = statistics.median(taken)
        shown = f"{1e3 * middle / images:.2f} ({1e3 * min(taken) / images:.2f})"
        print(f"  {name:58}{shown:>20}{middle / own:9.1f}")


def label_maps(title: str, pairs: list[Pair], rounds: int, slow: bool) -> None:
    """All metrics of label maps beside each peer's counts at ten thresholds."""
    objects = [len(np.unique(true)) - 1 for true, _ in pairs]
    print(f"{title}: {len(pairs)} images, {min(objects)}-{max(objects)} objects")
    works: dict[str, Callable[[], object]] = {"lensbench: rows of every metric": lambda: ours(pairs)}
    if importlib.util.find_spec("stardist"):
        works["stardist: counts, F1, PQ at ten thresholds"] = lambda: stardists(pairs)
    if importlib.util.find_spec("cellpose"):
        works["cellpose: counts, AP at ten thresholds"] = lambda: cellposes(pairs)
    works["lensbench: boundary IoU, only when asked for"] = lambda: boundaries(pairs)
    turns(works, rounds, len(pairs))
    if slow and importlib.util.find_spec("torchmetrics"):
        few = pairs[:1]
        turns({"lensbench, one image": lambda: ours(few), "torchmetrics: PQ": lambda: torchmetrics_pq(few)}, 1, 1)
    whole = {f"lensbench: {len(WHOLE)} metrics, each with an interval": lambda: valued(pairs)}
    turns(whole, rounds, len(pairs))


def coco(images: int, side: int, number: int, rounds: int) -> None:
    """COCO's scores of scored label maps."""
    pairs = [ellipses(side, number, seed) for seed in range(images)]
    rng = np.random.default_rng(0)
    masks = [to_masks(LabelMap(mine)) for _, mine in pairs]
    masks = [Masks(one.shape, one.rle, rng.random(len(one.rle))) for one in masks]
    truth, answers = MaskTruth([true for true, _ in pairs], NAMES), MaskPrediction(masks)
    true, found = as_annotations([to_masks(LabelMap(one)) for one, _ in pairs]), as_annotations(masks)
    print(f"COCO AP from RLE at hand: {images} images {side}², {number} objects each")
    turns(
        {
            "lensbench: AP, AP50, AP75, AR, each with an interval": lambda: our_coco(truth, answers),
            "pycocotools as it comes": lambda: pycocotools_coco(true, found, side, True),
            "pycocotools, of its four area ranges the one we have": lambda: pycocotools_coco(true, found, side, False),
        },
        rounds,
        images,
    )
    gap = abs(pycocotools_coco(true, found, side, False) - (our_coco(truth, answers)["coco_ap"].value or 0))
    print(f"  largest difference in AP: {gap:.1e}")


def memory(side: int, number: int) -> None:
    """The most that scoring one large pair holds beside the pair itself."""
    pair = ellipses(side, number, 0)
    ours([pair])
    tracemalloc.start()
    ours([pair])
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    taken = statistics.median(seconds(lambda: ours([pair])) for _ in range(5))
    number = len(np.unique(pair[0])) - 1
    print(f"{side}² with {number:,} objects: {peak:.1f} MiB at most beside the maps, {1e3 * taken:.0f} ms")


def real(folder: Path) -> list[Pair]:
    """The test images of Aitslab-bioimaging1 with Otsu's threshold and a watershed."""
    from lensbench.images.decode import decode
    from lensbench.images.labelmap import from_colours
    from lensbench.masks.classic import otsu_watershed

    pairs: list[Pair] = []
    for path in sorted((folder / "aitslab_bioimaging1/test_nuclei/images").glob("*.png")):
        annotation = path.parent.parent / "annotations" / f"{path.stem}_objects.png"
        true = decode(annotation.read_bytes(), annotation.name)
        labels = from_colours(true) if true.ndim == 3 else true.astype(np.uint32)
        pairs.append((labels, otsu_watershed(decode(path.read_bytes(), path.name))))
    return pairs


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, default=Path(os.environ.get("LENSBENCH_PEERS", ROOT / ".peers")))
    parser.add_argument("--real", type=Path, default=ROOT.parent / "shared" / "realdata")
    parser.add_argument("--slow", action="store_true", help="torchmetrics' panoptic quality too (minutes)")
    args = parser.parse_args()
    sys.path.append(str(args.peers))
    if not args.peers.is_dir():
        print(f"{args.peers}: no peers; install them as tests/peers.txt says")
    print(f"processor milliseconds an image, median (least) of {args.rounds} turns; ratio to the first line")
    if args.real.is_dir():
        label_maps("real 1104²", real(args.real), args.rounds, args.slow)
    label_maps("drawn 1104²", [ellipses(1104, n, n) for n in (50, 100, 150, 200)], args.rounds, args.slow)
    label_maps("drawn 512²", [ellipses(512, 200, n) for n in range(4)], args.rounds, args.slow)
    coco(8, 512, 200, max(args.rounds // 2, 3))
    memory(4416, 5_000)


if __name__ == "__main__":
    main()
