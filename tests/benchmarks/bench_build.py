"""CPU time and private memory of a build against reading the same members alone.

    python tests/benchmarks/bench_build.py [--images 20000 | --full] [--rounds 5] [--inner stored] [--work DIR]

Floor = `zipfile` over the inner archive, unpacked before, with sha256 and image header of every member, in a process of
its own. Build = `prepare` from the nested archive, all columns, metadata table and lists included, in a fresh cache
folder, again in a process of its own. Times are user + system, by `getrusage` of the process from exec to exit, and of
the work alone, imports done before. Arms are interleaved, medians of the rounds compared. Memory is the peak of
RssAnon, sampled every 10 ms; the second table has builds of other sizes beside it.

The archive is a specimen in the publisher's layout, made once and kept in DIR; its images are drawn from a pool of 512
pictures. "padded" has the same images with 16 KiB of noise behind each: what grows with the bytes of a build shows
there, what grows with their number in the last column.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INNER = "inner.zip"
SPECIMEN = ROOT / "registry" / "lifewatch_flowcam" / "specimen.py"
FULL = 337_567
POOL = 512
PAD = 16 << 10
KIB = 1024
SMALL, FEW = 8, 5_000
"""The builds beside the measured one: an eighth of its images, and few, with and without padding."""


def main() -> None:
    """Print the tables, or be one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arm", nargs="?", choices=["floor", "build"], help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} images, 3 rounds unless --rounds says otherwise")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--inner", choices=["stored", "deflated"], default="stored", help="how the outer zip holds it")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench")
    args = parser.parse_args()
    if args.arm:
        {"floor": floor, "build": build}[args.arm](args.folder)
        return
    images = FULL if args.full else args.images
    rounds = args.rounds or (3 if args.full else 5)
    peak = compare(archive(args.work, images, args.inner), images, rounds)
    memory(args.work, args.inner, images, peak)


def compare(folder: Path, images: int, rounds: int) -> float:
    """Floor and build in turn; medians. Returns the peak of the build's memory in KiB."""
    found: dict[str, list[dict[str, float]]] = {"floor": [], "build": []}
    for _ in range(rounds):
        for arm, runs in found.items():
            runs.append(measure(arm, folder))
    size = (folder / INNER).stat().st_size
    print(f"specimen of {images:,} images, {size / 1e6:.0f} MB, medians of {rounds}, {os.cpu_count()} cores\n")
    print(
        f"{'arm':<8} {'CPU s, work':>12} {'× floor':>8} {'process':>9} {'× floor':>8} {'wall s':>8} {'RssAnon MiB':>12}"
    )
    middle = {arm: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for arm, runs in found.items()}
    for arm, run in middle.items():
        ratios = [run[key] / middle["floor"][key] for key in ("work", "process")]
        print(
            f"{arm:<8} {run['work']:>12.2f} {ratios[0]:>8.2f} {run['process']:>9.2f} {ratios[1]:>8.2f} "
            f"{run['wall']:>8.1f} {run['peak'] / KIB:>12.0f}"
        )
    return middle["build"]["peak"]


def memory(work: Path, inner: str, images: int, peak: float) -> None:
    """Peak private memory of the build over the number of images, and over their bytes."""
    print(f"\n{'build of':>8} {'archive MB':>11} {'RssAnon MiB':>12}   grows by")
    small, few = (archive(work, count, inner) for count in (images // SMALL, FEW))
    for count, folder, kib in [
        (FEW, few, measure("build", few)["peak"]),
        (FEW, padded := archive(work, FEW, inner, PAD), measure("build", padded)["peak"]),
        (images // SMALL, small, less := measure("build", small)["peak"]),
        (images, archive(work, images, inner), peak),
    ]:
        size = (folder / INNER).stat().st_size / 1e6
        rate = f"{(peak - less) * KIB / (images - images // SMALL):.0f} bytes an image" if count == images else ""
        print(f"{count:>8,} {size:>11,.0f} {kib / KIB:>12.0f}   {rate}".rstrip())


def measure(arm: str, folder: Path) -> dict[str, float]:
    """Seconds of CPU and of the clock, and the peak of RssAnon in KiB, of one arm in a fresh process."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as home:
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, __file__, arm, str(folder)],
            stdout=subprocess.PIPE,
            env=os.environ | {"LENSBENCH_HOME": home, "HF_HOME": home},
        )
        peak = 0
        while True:
            peak = max(peak, private(child.pid))
            done, status, usage = os.wait4(child.pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.01)
        assert child.stdout is not None
        said = child.stdout.read()
        child.stdout.close()
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arm} ended with {child.returncode}")
    work = json.loads(said)["work"]
    return {
        "work": work,
        "process": usage.ru_utime + usage.ru_stime,
        "wall": time.perf_counter() - started,
        "peak": peak,
    }


def private(pid: int) -> int:
    """RssAnon of a process in KiB, 0 once it has gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


# -- the arms ------------------------------------------------------------------------------------------------


def floor(folder: Path) -> None:
    """Read, hash and look at every JPEG of the inner zip, which lies there as a file of its own."""
    from lensbench.data.samples import header

    started = time.process_time()
    with zipfile.ZipFile(folder / INNER) as images:
        for info in images.infolist():
            data = images.read(info)
            hashlib.sha256(data).hexdigest()
            header(data, info.filename)
    print(json.dumps({"work": time.process_time() - started}))


def build(folder: Path) -> None:
    """What a user's first `load_dataset` does."""
    import datasets  # noqa: F401 (imported lazily by a build; its start-up is the process's, not the work's)

    from lensbench.data.store import prepare
    from lensbench.registry import get_dataset

    dataset = get_dataset("lifewatch_flowcam")
    started = time.process_time()
    prepared = prepare(dataset, "2.0.0", "specimen", source=folder / "source")
    assert sum(cover.found for cover in prepared.coverage.values()) > 0
    print(json.dumps({"work": time.process_time() - started}))


# -- the archive ---------------------------------------------------------------------------------------------


def archive(work: Path, images: int, inner: str, pad: int = 0) -> Path:
    """A folder with the publisher's archive under `source`, and its inner zip beside it; made once."""
    folder = work / f"build-{images}-{inner}{'-padded' if pad else ''}"
    if folder.is_dir():
        return folder
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as name:
        part = Path(name) / "part"
        module = specimen(pad)
        (path,) = module.make(
            part / "source", size=images, test_size=images // 10, validation_size=images // 10, inner=inner
        )
        with zipfile.ZipFile(path) as outer:
            (member,) = (name for name in outer.namelist() if name.endswith(".zip"))
            with outer.open(member) as packed, (part / INNER).open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
        part.rename(folder)
    return folder


def specimen(pad: int) -> Any:
    """The dataset's own `specimen.py`, drawing a few pictures again and again; `pad` bytes of noise behind each."""
    spec = importlib.util.spec_from_file_location("bench_specimen", SPECIMEN)
    assert spec is not None and spec.loader is not None
    module = sys.modules["bench_specimen"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    draw, pool, rng = module.encode, list[bytes](), random.Random(7)

    def encode(row: Any, index: dict[str, int]) -> bytes:
        if len(pool) < POOL:
            pool.append(draw(row, index) + rng.randbytes(pad))
            return pool[-1]
        return pool[int(row.id[:8], 16) % POOL]

    vars(module)["encode"] = encode
    return module


if __name__ == "__main__":
    main()
