"""Speed of `bench eval` against the physical floor and against the loops a user would write.

    python tests/benchmarks/bench_eval.py [--images 33718] [--rounds 3] [--models tiny mobile resnet18] [--work DIR]

Floor = decoding and resizing alone, of bytes already in memory, plus inference alone, of a preallocated batch, each
on all cores. `loop` = first image read to last prediction shard on disk, as `bench eval` in a process of its own
reports it; `rest` = everything else that process did, from exec to exit. Arms are interleaved, the minimum of the
rounds is compared. Data are a specimen (synthetic images), weights are random.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
USERS_SHARE = 16
"""The users' loops are slow: they run over every 16th of the images and are scaled, which favours none."""
LIMIT = {"resnet18": 8_192}
"""Images for the floor and the loop of the slowest network."""


def main() -> None:
    """Build the data once, then measure every network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=33_718)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=["tiny", "mobile", "resnet18"])
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--no-users", action="store_true", help="leave the users' loops out")
    args = parser.parse_args()
    os.environ["LENSBENCH_HOME"] = str(args.work / "home")
    source = specimen(args.work, args.images)
    print(f"specimen of {args.images:,} test images, {os.cpu_count()} cores, {args.rounds} rounds, minima\n")
    print(f"{'network':<10} {'parameters':>11} {'images':>7} {'arm':<26} {'seconds':>9} {'× floor':>8}")
    for name in args.models:
        measure(
            name,
            source,
            args.work,
            min(args.images, LIMIT.get(name, args.images)),
            args.rounds,
            not args.no_users,
        )
    memory(source, args.work)


def specimen(work: Path, images: int) -> Path:
    """A folder with a specimen archive of `images` test images, made once."""
    folder = work / f"specimen-{images}"
    if not folder.is_dir():
        part = work / f"part-{images}"
        size = str(images + images // 5 + 1_000)  # validation takes a tenth, train what is left
        command = [
            "specimen",
            "lifewatch_flowcam",
            "--size",
            size,
            "--test-size",
            str(images),
            "--to",
            str(part),
        ]
        subprocess.run([sys.executable, "-m", "lensbench", *command], check=True)
        part.rename(folder)
    return folder


def measure(name: str, source: Path, work: Path, images: int, rounds: int, users: bool) -> None:
    """Interleave floor, ours and the users' loops; print the minima."""
    from lensbench.evaluation.run import cores
    from lensbench.models.card import Card
    from lensbench.models.contract import bind
    from lensbench.models.gate import read_graph
    from lensbench.models.model import one
    from lensbench.models.onnx import start
    from lensbench.runner import open_images
    from tests.benchmarks.networks import NETWORKS

    spec, prepared = prepare(source)
    data, parameters = NETWORKS[name](len(spec.labels))
    model = work / f"{name}.onnx"
    model.write_bytes(data)
    feed = bind(read_graph(data, name), Card(labels="equal400"), spec, name).feed
    infer = one(start(data, feed.input, (feed.output,), name))
    views = [bytes(v) for v in open_images(prepared.arrow["test"]).slices(0, images)]
    whole = images == len(open_images(prepared.arrow["test"]))
    arms: dict[str, Callable[[], float]] = {
        "decode + resize alone": lambda: decode_alone(views, feed, cores()),
        "inference alone": lambda: infer_alone(infer, feed, images, cores()),
    }
    found: dict[str, list[float]] = {}
    arms["lensbench loop"] = lambda: loop(model, source, work, images if not whole else None, found)
    if users:
        for label, function in users_loops(model, prepared.arrow["test"], images).items():
            arms[label] = function
    for _ in range(rounds):
        for label, arm in arms.items():
            found.setdefault(label, []).append(arm())
    floor = min(found["decode + resize alone"]) + min(found["inference alone"])
    print(f"{name:<10} {parameters:>11,} {images:>7,} {'floor':<26} {floor:>9.2f} {1:>8.2f}")
    for label, seconds in found.items():
        text = "" if label == "rest of bench eval" else f"{min(seconds) / floor:>8.2f}"
        print(f"{'':<30} {label:<26} {min(seconds):>9.2f} {text}")


def prepare(source: Path):  # type: ignore[no-untyped-def]
    """The benchmark and the built specimen."""
    from lensbench.benchmark import benchmark_dataset, get_benchmark
    from lensbench.data.store import prepare as build

    spec = get_benchmark("lifewatch_flowcam", "specimen")
    return spec, build(benchmark_dataset(spec), spec.version, spec.config, source=source, required=("test",))


def on_threads(work: Callable[[range], None], n: int, threads: int, chunk: int = 64) -> float:
    """Seconds that `threads` threads take to do `n` items, dealt in chunks."""
    lock, todo = threading.Lock(), iter(range(0, n, chunk))

    def run() -> None:
        while True:
            with lock:
                first = next(todo, None)
            if first is None:
                return
            work(range(first, min(first + chunk, n)))

    workers = [threading.Thread(target=run) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def decode_alone(views, feed, threads: int) -> float:  # type: ignore[no-untyped-def]
    """Floor, first half: bytes in memory to resized pixels in a slot."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    slots = threading.local()

    def work(rows: range) -> None:
        slot = getattr(slots, "slot", None)
        if slot is None:
            slot = slots.slot = np.zeros((feed.height, feed.width, 3), np.uint8)
        for i in rows:
            image = cv2.imdecode(np.frombuffer(views[i], np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            cv2.resize(image, (feed.width, feed.height), dst=slot, interpolation=cv2.INTER_LINEAR)

    return on_threads(work, len(views), threads)


def infer_alone(infer, feed, n: int, threads: int) -> float:  # type: ignore[no-untyped-def]
    """Floor, second half: the same preallocated batch again and again."""
    import numpy as np

    batch = np.random.default_rng(0).random((feed.batch, 3, feed.height, feed.width), dtype=np.float32)

    def work(rows: range) -> None:
        for _ in range(rows.start, rows.stop, feed.batch):
            infer(batch)

    return on_threads(work, n, threads)


def loop(model: Path, source: Path, work: Path, images: int | None, found: dict[str, list[float]]) -> float:
    """Seconds of the evaluation loop in a fresh `bench eval`; what the process took besides goes to `rest`."""
    with tempfile.TemporaryDirectory(dir=work) as out:
        command = [sys.executable, "-c", CHILD, str(model), str(source), out, str(images or 0)]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall = time.perf_counter() - started
    seconds = json.loads(done.stdout.splitlines()[-1])
    found.setdefault("rest of bench eval", []).append(wall - seconds["loop"])
    return float(seconds["loop"])


# `bench eval` itself; where a network is too slow for all images, the same code over the first rows.
CHILD = """
import json, sys
model, source, out, images = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if images:
    from lensbench import runner
    whole = runner.open_images
    def some(files, column="image"):
        return Cut(whole(files, column))
    class Cut:
        def __init__(self, images): self.images = images
        def __len__(self): return images_n
        def slices(self, a, b): return self.images.slices(a, b)
    images_n = images
    runner.open_images = some
    from lensbench.data import store
    both = store.ids_and_labels
    store.ids_and_labels = lambda prepared, split: tuple(column[:images_n] for column in both(prepared, split))
from lensbench.evaluation import evaluate
done = evaluate(model, "lifewatch_flowcam", config="specimen", labels="equal400", source=source, out=out)
print(json.dumps(done.record.run["seconds"]))
"""


def users_loops(model: Path, files: Sequence[Path], images: int) -> dict[str, Callable[[], float]]:
    """What one would otherwise write, over a share of the images and scaled to all of them."""
    import datasets
    import numpy as np
    import onnxruntime as ort
    from numpy.typing import NDArray
    from PIL import Image

    share = max(64, images // USERS_SHARE)
    scale = images / share
    data = datasets.concatenate_datasets([datasets.Dataset.from_file(str(f)) for f in files]).select(range(share))
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    def tensor(image: Image.Image) -> NDArray[np.float32]:
        resized = image.convert("RGB").resize((100, 100), Image.Resampling.BILINEAR)
        return (np.asarray(resized, np.float32) / 255.0).transpose(2, 0, 1)

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) * scale

    def by_index() -> None:
        for i in range(share):
            session.run(None, {"x": tensor(data[i]["image"])[None]})

    def by_map() -> None:
        def batch(rows: dict[str, list[Image.Image]]) -> dict[str, object]:
            return {"scores": session.run(None, {"x": np.stack([tensor(i) for i in rows["image"]])})[0]}

        data.map(batch, batched=True, batch_size=32, remove_columns=data.column_names, load_from_cache_file=False)

    loops = {"ds[i] + PIL": lambda: timed(by_index), "datasets.map, batch 32": lambda: timed(by_map)}
    datasets.disable_progress_bars()
    try:
        from torch.utils.data import DataLoader
    except ImportError:
        print("torch is not here: no DataLoader arm")
        return loops

    def collate(rows: list[dict[str, Image.Image]]) -> NDArray[np.float32]:
        return np.stack([tensor(row["image"]) for row in rows])

    def by_loader() -> None:
        for batch in DataLoader(data, batch_size=32, num_workers=2, collate_fn=collate):
            session.run(None, {"x": batch})

    return loops | {"DataLoader, 2 workers": lambda: timed(by_loader)}


def memory(source: Path, work: Path) -> None:
    """Peak private memory of `bench eval` over few and over all images."""
    small = specimen(work, 3_000)
    print(f"\npeak private memory (RssAnon) of bench eval, network tiny\n{'images':>8} {'MiB':>7}")
    model = work / "tiny.onnx"
    if not model.is_file():
        from tests.benchmarks.networks import tiny

        model.write_bytes(tiny(95)[0])
    for folder in (small, source):
        prepare(folder)
        with tempfile.TemporaryDirectory(dir=work) as out:
            command = [sys.executable, "-m", "lensbench", "eval", "--model", str(model), "--source", str(folder)]
            command += [
                "--benchmark",
                "lifewatch_flowcam",
                "--config",
                "specimen",
                "--labels",
                "equal400",
                "--out",
                out,
            ]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            peak = 0
            while child.poll() is None:
                peak = max(peak, private(child.pid))
                time.sleep(0.02)
        print(f"{folder.name.split('-')[1]:>8} {peak / 1024:>7.0f}")


def private(pid: int) -> int:
    """RssAnon of a process in KiB, 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
