"""Start-up of the command line as ratios to a bare interpreter: `python tests/benchmarks/bench_cli.py`.

Fresh processes, interleaved, medians of 15.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
ARMS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "bench --help": [
        sys.executable,
        "-c",
        "import sys; sys.argv[1:] = ['--help']; from lensbench.cli import main; main()",
    ],
    "bench eval --help": [
        sys.executable,
        "-c",
        "import sys; sys.argv[1:] = ['eval', '--help']; from lensbench.cli import main; main()",
    ],
    "bench verify lifewatch_flowcam": [sys.executable, "-m", "lensbench", "verify", "lifewatch_flowcam"],
    "import datasets": [sys.executable, "-c", "import datasets"],
}


def main() -> None:
    """Print the table."""
    found: dict[str, list[float]] = {name: [] for name in ARMS}
    for _ in range(ROUNDS):
        for name, command in ARMS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            found[name].append(time.perf_counter() - started)
    bare = statistics.median(found["python -c pass"])
    print(f"{'command':<34} {'ms':>7} {'× bare':>8}")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"{name:<34} {1000 * middle:>7.1f} {middle / bare:>8.1f}")


if __name__ == "__main__":
    main()
