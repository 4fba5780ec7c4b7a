"""Choose the severities of the tiers S: for each stage, the values at which the image has moved by equal steps.

    python scripts/calibrate_stages.py [raw_microscopy raw_drone]

The distance of a view is the median over frames of the root mean square difference to the reference view, in the
developed image's own units (0…1). Frames are the specimen's, because the real ones are not at hand where this is
kept; run on real frames it writes another version. Severity k lies at k × 0.008. Where a stage moves in leaps (bits,
JPEG), the nearest value stands; every value stands with its distance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench import load_dataset
from lensbench.images.decode import decode
from lensbench.isp import Camera, Developer, View, get_camera
from lensbench.isp.tiers import FOLDER, reference
from lensbench.paths import write_text

CONFIGS = {"raw_microscopy": "specimen", "raw_drone": "segmentation-specimen"}
FRAMES = 48
STEP, SEVERITIES = 0.008, 5
VERSION = 1


class Stage(NamedTuple):
    """One direction of one stage: an entry of a view, by how far it is moved (0…1)."""

    name: str
    entry: str
    value: Callable[[float], Any]


def rounded(value: float) -> float:
    """Four significant digits: what stands in the table is what is measured."""
    return float(f"{value:.4g}")


def linear(name: str, entry: str, begin: float, end: float) -> Stage:
    """From `begin`, which changes nothing, to `end`."""
    return Stage(name, entry, lambda t: rounded(begin + (end - begin) * t))


def power(name: str, entry: str, exponent: float) -> Stage:
    """Factors from 1 to 2**exponent."""
    return Stage(name, entry, lambda t: rounded(2 ** (exponent * t)))


def balance(name: str, exponent: float) -> Stage:
    """Red and blue gain moved apart, each by up to 2**exponent."""
    return Stage(name, "gains", lambda t: [rounded(2 ** (exponent * t)), 1.0, rounded(2 ** (-exponent * t))])


STAGES = (
    power("exposure-down", "exposure", -2),
    power("exposure-up", "exposure", 2),
    linear("black-down", "black", 0, -0.1),
    linear("black-up", "black", 0, 0.1),
    balance("warm", 1),
    balance("cool", -1),
    linear("saturation-down", "saturation", 1, 0),
    linear("saturation-up", "saturation", 1, 4),
    linear("hue-down", "hue", 0, -90),
    linear("hue-up", "hue", 0, 90),
    linear("sharpen-less", "sharpen_amount", 1, 0),
    linear("sharpen-more", "sharpen_amount", 1, 8),
    linear("denoise-more", "denoise_sigma", 0.5, 4),
    linear("gamma-down", "gamma", 2.2, 1),
    linear("gamma-up", "gamma", 2.2, 4),
    linear("contrast-less", "contrast", 0, -1),
    linear("contrast-more", "contrast", 0, 1),
    linear("bits-fewer", "bits", 12, 2),
    Stage("jpeg", "jpeg", lambda t: 100 - round(99 * t)),
)


class Frames:
    """Raw frames of one camera with their reference images."""

    def __init__(self, raws: Sequence[NDArray[np.uint16]], camera: Camera) -> None:
        self.raws, self.camera = raws, camera
        self._references = [Developer(camera, [reference()])(raw)[0] for raw in raws]

    def distances(self, views: Sequence[View]) -> list[float]:
        """Of each view: the median over frames of the root mean square difference to the reference."""
        developer = Developer(self.camera, views)
        squares = [
            np.mean((developer(raw) - clean) ** 2, axis=(1, 2, 3), dtype=np.float64)
            for raw, clean in zip(self.raws, self._references, strict=True)
        ]
        return [float(value) for value in np.median(np.sqrt(squares), axis=0)]


def specimen_frames(dataset: str) -> Frames:
    """`FRAMES` of the specimen's training frames, evenly chosen."""
    column = load_dataset(dataset, CONFIGS[dataset], split="train").data.column("image")
    chosen = np.linspace(0, len(column) - 1, FRAMES).round().astype(int)
    raws = [decode(column[int(number)].as_py()["bytes"], dataset) for number in chosen]
    return Frames(raws, get_camera(dataset))


def calibrated(stage: Stage, frames: Frames) -> tuple[list[Any], list[float]]:
    """(values of the severities, their distances): of the moves in 1/512 the one whose distance is nearest."""
    moves = [step / 512 for step in range(1, 513)]
    known: dict[float, float] = {}

    def far(move: float) -> float:
        if move not in known:
            (known[move],) = frames.distances([reference().but(**{stage.entry: stage.value(move)})])
        return known[move]

    values, distances = list[Any](), list[float]()
    for severity in range(1, SEVERITIES + 1):
        low, high, target = 0, len(moves) - 1, STEP * severity
        while low < high:  # the first move that is far enough
            middle = (low + high) // 2
            low, high = (low, middle) if far(moves[middle]) >= target else (middle + 1, high)
        best = min((max(low - 1, 0), low), key=lambda k: abs(far(moves[k]) - target))
        values.append(stage.value(moves[best]))
        distances.append(round(far(moves[best]), 5))
    return values, distances


def text(dataset: str, found: Mapping[str, tuple[str, list[Any], list[float]]]) -> str:
    """The tier as TOML."""
    lines = [
        "# S: one stage at a time moved away from the reference view, at five severities of equal image distance.",
        "# Written by scripts/calibrate_stages.py on synthetic frames; real ones will make another version.",
        "schema = 1",
        'letter = "S"',
        f"version = {VERSION}",
        f'title = "Single stages, calibrated on the specimen of {dataset}"',
        "",
    ]
    for name, (entry, values, _) in found.items():
        lines += [f"[series.{name}]", f"{entry} = {values}", ""]
    lines += [
        "[calibration]",
        f'dataset = "{dataset}"',
        f'config = "{CONFIGS[dataset]}"',
        "synthetic = true",
        f"frames = {FRAMES}",
        'distance = "median over frames of the RMS difference to the reference view"',
        f"targets = {[round(STEP * k, 4) for k in range(1, SEVERITIES + 1)]}",
        "",
        "[calibration.found]",
        *(f"{name} = {distances}" for name, (_, _, distances) in found.items()),
    ]
    return "\n".join(lines) + "\n"


def main(datasets: Sequence[str]) -> None:
    """Write the tier of each dataset."""
    for dataset in datasets:
        frames = specimen_frames(dataset)
        found = {stage.name: (stage.entry, *calibrated(stage, frames)) for stage in STAGES}
        path = Path(FOLDER) / f"stages-{dataset}.toml"
        write_text(path, text(dataset, found))
        print(path.name)
        for name, (_, values, distances) in found.items():
            print(f"  {name:16} {values}  {distances}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(CONFIGS))
