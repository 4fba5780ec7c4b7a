"""What twelve views of a raw frame cost, beside the published pipeline restated (tests/restated_isp.py).

    python tests/benchmarks/bench_isp.py [--rounds 5] [--engine numba numpy] [--frame 3648 5472] [--no-frame]

A script, not a timed test: it prints CPU seconds (of all threads together) and ratios, and fails nothing. The
restatement runs in its published form: one view at a time, nothing shared, unsharp masking column by column. The
sides take turns, so that a busy machine slows both; the least of the rounds counts. Compilation is not timed. The
twelve views of `corrected-12` are compared with the published ones: their like was never restated.

Of a whole frame the restatement is timed once, on three of the twelve views (one for each demosaic), times four;
ours develops all twelve, tile by tile into one buffer, as a consumer of tiles has them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
from numpy.typing import NDArray

from lensbench.isp import Camera, Developer, View, get_camera
from lensbench.isp.engines import ENGINES, has_numba
from lensbench.isp.tiers import get_tier
from tests.restated_isp import DEMOSAICS, VIEWS, developed

METHODS = dict(zip(DEMOSAICS, ("bilinear", "malvar2004", "menon2007"), strict=True))
SHARPEN, DENOISE = {"s": "filter", "u": "unsharp-vertical"}, {"me": "median", "ga": "gaussian"}
THREE = ("bi-s-me", "ma-u-ga", "me-u-me")
RESTATED = "restated, published"
SWEEP = 940 * 7
"""Frames of the microscopy sweep: 940 at seven intensities, each in twelve views."""


def view(name: str) -> View:
    """A view of the published pipeline."""
    d, s, n = name.split("-")
    return View(name, demosaic=METHODS[d], sharpen=SHARPEN[s], denoise=DENOISE[n], balance="after", edges="published")


def drawn(height: int, width: int) -> NDArray[np.uint16]:
    """Smooth ground, edges and shot noise."""
    rng = np.random.default_rng(0)
    y, x = np.arange(height)[:, None], np.arange(width)
    light = 0.35 + 0.2 * np.sin(x / 31) * np.cos(y / 23) + 0.15 * ((x // 20 + y // 33) % 3 == 0)
    return np.asarray(np.clip(rng.normal(light, 0.01) * 60000, 0, 65520), np.uint16)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def theirs(raw: NDArray[np.uint16], camera: Camera, names: tuple[str, ...]) -> None:
    """The restatement, a view at a time."""
    for name in names:
        developed(raw, name, black=camera.black[0], span=camera.span, gains=camera.gains, matrix=camera.matrix)


def tile_by_tile(developer: Developer, raw: NDArray[np.uint16]) -> None:
    """All views of a frame that is too large to keep them."""
    for _ in developer.tiles(raw):
        pass


def small(camera: Camera, engines: list[str], rounds: int) -> None:
    """Twelve views of 256×256 pixels, as published and corrected, and the sweeps that they make."""
    raw = drawn(256, 256)
    tiers = {"published": [view(name) for name in VIEWS], "corrected-12": list(get_tier("corrected-12").views)}
    developers = {
        f"{engine}, {tier}": Developer(camera, views, engine) for tier, views in tiers.items() for engine in engines
    }
    out = np.empty((len(VIEWS), 3, *raw.shape), np.float32)
    theirs(raw, camera, VIEWS)
    for developer in developers.values():
        developer(raw, out)
    times: dict[str, list[float]] = {name: [] for name in (RESTATED, *developers)}
    for _ in range(rounds):
        times[RESTATED].append(seconds(lambda: theirs(raw, camera, VIEWS)))
        for name, developer in developers.items():
            runs = [seconds(lambda d=developer: d(raw, out)) for _ in range(8)]  # type: ignore[misc]
            times[name].append(min(runs))
    least = {name: min(values) for name, values in times.items()}
    print(f"12 views of 256×256: least CPU ms of {rounds} rounds, the ratio to the published pipeline, and the sweep")
    for name, value in least.items():
        print(f"  {name:22}{1e3 * value:9.2f} ms{least[RESTATED] / value:8.1f}×{value * SWEEP:8.0f} s")


def large(camera: Camera, engines: list[str], shape: tuple[int, int]) -> None:
    """Twelve views of a whole frame."""
    raw = drawn(*shape)
    base = 4 * seconds(lambda: theirs(raw, camera, THREE))
    print(f"12 views of {shape[0]}×{shape[1]}: CPU s; restated = 4 × ({', '.join(THREE)}), timed once")
    print(f"  {RESTATED:22}{base:9.2f} s")
    for engine in engines:
        developer = Developer(camera, [view(name) for name in VIEWS], engine)
        tile_by_tile(developer, raw[:512, :512])
        value = min(seconds(lambda d=developer: tile_by_tile(d, raw)) for _ in range(3))  # type: ignore[misc]
        print(f"  {engine:22}{value:9.2f} s{base / value:9.1f}×")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--engine", nargs="+", choices=ENGINES, default=[e for e in ENGINES if e != "numba" or has_numba()]
    )
    parser.add_argument("--frame", nargs=2, type=int, default=(3648, 5472), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--no-frame", action="store_true", help="only the small frame")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    known = get_camera("raw_drone")
    camera = Camera("RGGB", (known.black[0],) * 4, known.white, known.span, known.gains, known.matrix)
    small(camera, args.engine, args.rounds)
    if not args.no_frame:
        large(camera, args.engine, tuple(args.frame))


if __name__ == "__main__":
    main()
