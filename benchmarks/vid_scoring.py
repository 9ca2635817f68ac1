"""Seconds and memory of scoring results of the size of ImageNet VID's validation set.

Writes synthetic pieces (639 clips, 176,126 frames, 30 classes) for each number of detections per
frame, then reads, matches and scores them in a process of their own, as `maskvd score` does.

    python benchmarks/vid_scoring.py [--detections 15 60] [--share 1.0] [-o FILE.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from maskvd_cli.metrics.statistics import cluster_weights
from maskvd_cli.store.piece import OUTPUT, Piece
from maskvd_cli.store.runs import Run, part_of
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.stored import StoredTruth, evaluation

CLIPS, VIDEOS, FRAMES, CLASSES, OBJECTS = 639, 555, 176_126, 30, 2
KEY = "synthetic-0123456789ab"


def lengths(share: float) -> list[int]:
    """Return the frames of each clip; the longest have ten times the mean."""
    clips, frames = max(int(CLIPS * share), 2), max(int(FRAMES * share), 20)
    drawn = np.random.default_rng(0).exponential(1.0, clips) + 0.1
    counts = np.maximum((drawn / drawn.sum() * frames).astype(int), 1)
    counts[0] += max(frames - int(counts.sum()), 0)
    return counts.tolist()


def write(run: Run, detections: int, share: float) -> int:
    """Write truth and pieces; return the number of frames."""
    drawn = np.random.default_rng(1)
    arrays: dict[str, Any] = {}
    counts = lengths(share)
    for number, frames in enumerate(counts):
        place = np.repeat(np.arange(frames, dtype=np.int32), OBJECTS)
        box = drawn.uniform(20, 300, (len(place), 4))
        label = drawn.integers(0, CLASSES, len(place)).astype(np.int16)
        truth = {
            "frame": place,
            "label": label,
            "ignore": np.zeros(len(place), dtype=np.bool_),
            "box": box,
            "index": np.arange(frames, dtype=np.int64),
            "size": np.full((frames, 2), 720, dtype=np.int32),
        }
        arrays |= {f"{part_of(number)}/{name}": array for name, array in truth.items()}
        run.write_piece(piece(drawn, number, frames, detections, box, label))
    names = [f"c{number}" for number in range(len(counts))]
    videos = [f"v{number % VIDEOS}" for number in range(len(counts))]
    classes = [f"class {number}" for number in range(CLASSES)]
    facts = {"task": "detection", "classes": classes, "clips": names, "videos": videos}
    run.write_truth_arrays(arrays, facts)
    return sum(counts)


def piece(  # noqa: PLR0913, PLR0917 - one clip of the truth, and how many are detected
    drawn: np.random.Generator, number: int, frames: int, detections: int, box: Any, label: Any
) -> Piece:
    """Return detections, of which the first of each frame lie near its objects."""
    frame = np.repeat(np.arange(frames, dtype=np.int32), detections)
    boxes = drawn.uniform(20, 300, (frames, detections, 4))
    labels = drawn.integers(0, CLASSES, (frames, detections))
    boxes[:, :OBJECTS] = box.reshape(frames, OBJECTS, 4) + drawn.normal(0, 8, (frames, OBJECTS, 4))
    labels[:, :OBJECTS] = label.reshape(frames, OBJECTS)
    outputs = {
        "frame": frame,
        "label": labels.reshape(-1).astype(np.int16),
        "box": boxes.reshape(-1, 4).round(3).astype(np.float32),
        "score": drawn.random(len(frame)).round(6).astype(np.float32),
    }
    arrays = {f"{OUTPUT}{name}": array for name, array in outputs.items()}
    return Piece(KEY, part_of(number), {"is_full": np.arange(frames) % 8 == 0, **arrays})


def score(folder: Path) -> dict[str, Any]:
    """Score the point as a sweep does and return seconds and peak memory of this process."""
    times = [time.perf_counter()]
    truth = StoredTruth.of(Run(folder))
    times.append(time.perf_counter())
    made = evaluation(truth, KEY, Detection())
    times.append(time.perf_counter())
    scores = made.scores()
    times.append(time.perf_counter())
    groups = [weights.astype(np.float64) for weights in cluster_weights(truth.videos)]
    left_out = [made.headline(weights) for weights in groups]
    times.append(time.perf_counter())
    parts = ("truth_s", "matching_s", "scores_s", "left_out_s")
    seconds = dict(zip(parts, np.diff(times).round(1).tolist(), strict=True))
    return {
        **scores.values,
        **seconds,
        "groups": len(left_out),
        "seconds": round(times[-1] - times[0], 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def main() -> None:
    """Measure each number of detections and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=int, nargs="+", default=[15, 60])
    parser.add_argument("--share", type=float, default=1.0, help="of the clips and frames")
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    if chosen.score:
        print(json.dumps(score(chosen.score)))
        return
    rows: list[dict[str, Any]] = []
    for detections in chosen.detections:
        with tempfile.TemporaryDirectory() as folder:
            frames = write(Run(Path(folder)), detections, chosen.share)
            command = [sys.executable, __file__, "--score", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.npz")) >> 20
        row = {"detections_per_frame": detections, "frames": frames, "files_mib": size}
        rows.append({**row, **json.loads(done.stdout)})
        print(rows[-1], file=sys.stderr)
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine, "points": rows}
    chosen.o.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
