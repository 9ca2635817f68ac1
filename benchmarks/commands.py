"""Time the commands of the main job from the shell, start of Python included.

Needs MASKVD_KITTI. Results go to a temporary folder, a new one for every sweep.

    python benchmarks/commands.py --json benchmarks/commands.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from result_file import write_result

COMMANDS = {
    "maskvd --help": ["--help"],
    "maskvd heatmap": ["heatmap", "-o", "heatmap.npz", "--force"],
    "maskvd mask": ["mask", "heatmap.npz", "--force"],
    "maskvd sweep --dataset kitti": ["sweep", "--dataset", "kitti", "--fresh"],
    "maskvd report": ["report"],
}


def seconds(arguments: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "maskvd_cli", *arguments],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not os.environ.get("MASKVD_KITTI"):
        raise SystemExit("set MASKVD_KITTI to the folder of the KITTI tracking labels")
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, arguments in COMMANDS.items():
                samples[name].append(seconds(arguments, Path(folder)))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    for name, value in medians.items():
        print(f"{value:7.3f} s  {name}")
    if options.json:
        content = {"median_s": medians, "samples_s": samples}
        write_result(options.json, "python benchmarks/commands.py", content)


if __name__ == "__main__":
    main()
