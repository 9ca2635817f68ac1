"""Time the heatmap against a loop over boxes, as in the Algorithm 1 of MaskVD's paper.

Two cases, both methods interleaved in one process, every sample kept: the KITTI labels (reading
included; needs MASKVD_KITTI) and a million boxes on a 720 x 1280 canvas.

    python benchmarks/heatmap.py --json benchmarks/heatmap.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from result_file import write_result

from maskvd_cli.core.size import Size
from maskvd_cli.data.gather import gather
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.masks.heatmap import accumulate

Boxes = NDArray[np.float64]


def corner_differences(boxes: Boxes, canvas: Size) -> NDArray[np.float64]:
    """What maskvd does."""
    return accumulate(torch.from_numpy(boxes), canvas).numpy()


def slice_per_box(boxes: Boxes, canvas: Size) -> NDArray[np.float64]:
    """Add one to a slice of the canvas for each box in turn."""
    counts = np.zeros(tuple(canvas))
    for x1, y1, x2, y2 in boxes:
        counts[int(y1) : int(y2), int(x1) : int(x2)] += 1
    return counts


METHODS = {"corner_differences": corner_differences, "slice_per_box": slice_per_box}


def million_boxes(canvas: Size) -> Boxes:
    """Random boxes of up to half the canvas a side, seed 0."""
    generator = np.random.default_rng(0)
    low = generator.random((1_000_000, 2)) * 0.9
    high = np.minimum(low + generator.random((1_000_000, 2)) * 0.5, 1)
    return np.concatenate([low, high], axis=1) * ([canvas.cols, canvas.rows] * 2)


def timed(work: Callable[[], NDArray[np.float64]]) -> tuple[float, NDArray[np.float64]]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def compare(read: Callable[[], Boxes], canvas: Size, rounds: int) -> dict[str, Any]:
    """Run both methods in turn, check that they agree, and keep every sample in seconds."""
    samples: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(rounds):
        results: list[NDArray[np.float64]] = []
        for name, method in METHODS.items():
            seconds, counts = timed(lambda method=method: method(read(), canvas))
            samples[name].append(seconds)
            results.append(counts)
        if not np.array_equal(results[0], results[1]):
            raise SystemExit("the two methods disagree")
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return {
        "canvas": str(canvas),
        "boxes": len(read()),
        "median_s": medians,
        "ratio": medians["slice_per_box"] / medians["corner_differences"],
        "samples_s": samples,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases: dict[str, Any] = {}
    if root := os.environ.get("MASKVD_KITTI"):

        def kitti() -> Boxes:
            return gather(Kitti(Path(root), "train", "raw"), "all").xyxy

        cases["all of KITTI, reading included"] = compare(kitti, Size(384, 1280), options.rounds)
    else:
        print("MASKVD_KITTI is not set: the KITTI case is left out")
    canvas = Size(720, 1280)
    boxes = million_boxes(canvas)
    cases["a million boxes"] = compare(lambda: boxes, canvas, options.rounds)
    for name, case in cases.items():
        parts = ", ".join(f"{key} {value:.3f} s" for key, value in case["median_s"].items())
        print(f"{name} ({case['boxes']} on {case['canvas']}): {parts}, {case['ratio']:.1f}x")
    if options.json:
        write_result(options.json, "python benchmarks/heatmap.py", {"cases": cases})


if __name__ == "__main__":
    main()
