"""Seconds and memory of merging, reading, reporting and comparing runs of ImageNet VID's size.

Writes two runs of 30 points over 639 segments (176,126 frames) through a sweep's own writers, with
made-up outputs in place of a model's: 60 detections a frame for `--whole` points, one a frame for
the others, the same in both runs, which is what a comparison has to read most of. Then merges a
point anew, reads back all that was written, reports the first run and compares both, each in a
process of its own.

    python benchmarks/vid_results.py [--share 1.0] [--whole 2] [--json benchmarks/vid_results.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from result_file import write_result
from vid_size import write_archive

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.machine.environment import environment
from maskvd_cli.machine.stopwatch import PARTS
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.piece import OUTPUT, Piece
from maskvd_cli.store.runs import Run, find_run, part_of
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.collect import Collection
from maskvd_cli.work.prepare import Sweep, prepare
from maskvd_cli.work.runner import choose_run, run_sweep
from maskvd_cli.work.unit import TRACE, Executor, Lost, Unit

DETECTIONS, CLASSES, GROUPS = 60, 30, 24
RECIPE_NAME = "vid-results.yaml"
RECIPE = """\
schema: 1
name: vid-results
dataset: {{name: imagenet-vid, root: {root}, split: val}}
heatmap: {{split: val, canvas: input}}
model: {{name: vitdet-ti, input: 672x672, frame: fit, weights: {weights}}}
detections: model
device: cpu
methods:
  - {{name: dense}}
  - {{name: dense-unpadded}}
  - name: maskvd
    period: [4, 8, 16, 32]
    static_keep_rate: [0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05]
"""
WRITTEN = ("prepare", "write")
STEPS = (*WRITTEN, "merge", "read")
# Runs maskvd and says at its end how much memory it held at most: what a parent is told of a child
# holds its own peak, too.
MASKVD = """\
import sys
from pathlib import Path
from maskvd_cli.app import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print("peak", status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


class Made(Executor):
    """Yields pieces of the size that a model's have, drawn from the numbers of point and clip."""

    name: ClassVar[str] = "made"
    description: ClassVar[str] = "made-up pieces"
    whole: int = 2

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Yield the pieces of points, scores, memory and rounds."""
        for unit in units:
            sweep = self.open_sweep(unit.recipe)
            number = [point.key for point in sweep.points].index(unit.keys[0])
            if unit.what == TRACE:
                pieces = self._traced(unit, sweep, number)
            else:
                pieces = {"accuracy": scores, "memory": peaks, "latency": rounds}[unit.what](unit)
            for piece in pieces:
                yield unit, piece

    def _traced(self, unit: Unit, sweep: Sweep, number: int) -> Iterator[Piece]:
        detections = DETECTIONS if number < self.whole else 1
        assert unit.clips is not None
        for clip in range(*unit.clips):
            frames = len(sweep.scene.source.frames()[clip][1])
            drawn = np.random.default_rng([number, clip])
            arrays = {**counts(drawn, frames), **outputs(drawn, frames, detections)}
            facts = {"clip": str(clip), "state_bytes": 1 << 23, "seconds": 1.0}
            yield Piece(unit.keys[0], part_of(clip), arrays, facts)


def counts(drawn: np.random.Generator, frames: int) -> dict[str, Any]:
    """Return what is counted of each frame of a clip."""
    tokens = drawn.integers(100, 1764, frames).astype(np.float64)
    return {
        "tokens": tokens,
        "is_full": np.arange(frames) % 8 == 0,
        "real_tokens": tokens,
        "all_real_tokens": np.full(frames, 1764.0),
        "matrix": tokens * 5e6,
        "published": tokens * 5.5e6,
        "proposals": np.full(frames, 1000),
        "around": np.full(frames, 2e9),
    }


def outputs(drawn: np.random.Generator, frames: int, detections: int) -> dict[str, Any]:
    """Return a clip's detections."""
    number = frames * detections
    arrays = {
        "frame": np.repeat(np.arange(frames, dtype=np.int32), detections),
        "label": drawn.integers(0, CLASSES, number).astype(np.int16),
        "box": drawn.uniform(20, 300, (number, 4)).round(3).astype(np.float32),
        "score": drawn.random(number).round(6).astype(np.float32),
    }
    return {f"{OUTPUT}{name}": array for name, array in arrays.items()}


def scores(unit: Unit) -> Iterator[Piece]:
    """Yield the scores of the points, with each group of videos left out."""
    baseline = unit.options["baseline"]
    drawn = {
        key: np.random.default_rng([1, number]).normal(50, 1, GROUPS + 1).tolist()
        for number, key in enumerate(unit.keys)
    }
    one = {"map50": 50.0, "map": 30.0, "objects": 8000}
    details = {
        "frames": 176_126, "objects": 8000 * CLASSES, "detections": 10_567_560,
        "by_class": {f"class {number}": one for number in range(CLASSES)},
        "by_age": [{"first": age, "last": age, "frames": 9, "objects": 8, "map50": 1.0}
                   for age in range(12)],
    }  # fmt: skip
    beside = {"value": drawn[baseline][0], "left_out": drawn[baseline][1:]}
    for number, key in enumerate(unit.keys):
        value, *left_out = drawn[key]
        facts = {
            "headline": "map50", "values": {"map50": value, "map": value / 2}, "details": details,
            "left_out": left_out, "baseline": beside, "is_baseline": key == baseline,
        }  # fmt: skip
        yield Piece(key, f"scores-{number:05d}", facts=facts)


def peaks(unit: Unit) -> Iterator[Piece]:
    """Yield a peak for each point."""
    facts = {"peak_mib": 300.0, "state_bytes": 1 << 23, "measured_by": "cpu-allocations"}
    for key in unit.keys:
        yield Piece(key, "peak", facts={**facts, "frames": 18, "others_mib": 0.0})


def rounds(unit: Unit) -> Iterator[Piece]:
    """Yield the rounds of the points beside their baseline."""
    protocol, baseline = unit.options["protocol"], unit.options["baseline"]
    shares = unit.options["full_share"]
    yield Piece("", "begin", facts={"baseline": baseline, "full_share": shares})
    names = sorted(["baseline", "control", *(key for key in unit.keys if key != baseline)])
    frames, drawn = int(protocol["frames"]), np.random.default_rng(2)
    rows = len(names) * frames
    for number in range(int(protocol["rounds"])):
        parts = {f"{part}_ms": drawn.uniform(9, 10, rows) for part in PARTS}
        arrays = {
            "series": np.repeat(np.arange(len(names), dtype=np.int16), frames),
            "frame": np.tile(np.arange(frames, dtype=np.int32), len(names)),
            "is_full": np.tile(np.arange(frames) % 4 == 0, len(names)),
            **parts,
            "total_ms": np.sum(list(parts.values()), axis=0),
        }
        facts = {"round": number, "clip": "c", "series": names, "since": 0, "repeated": 0,
                 "disturbances": []}  # fmt: skip
        yield Piece("", f"round-{number:05d}", arrays, facts)


def recipe_in(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write annotations, weights and a recipe of 30 points."""
    root, weights = folder / "vid", folder / "tiny.safetensors"
    write_archive(root, options.share)
    heads = HeadArch(classes=CLASSES, channels=16, hidden=32)
    detector = Detector(get_arch("vitdet-ti"), heads, Size(64, 128), seed=0)
    save(weights, {name: tensor.half() for name, tensor in detector.state_dict().items()}, {})
    (folder / RECIPE_NAME).write_text(RECIPE.format(root=root, weights=weights))
    return {}


def opened(folder: Path) -> Sweep:
    return prepare(load_recipe(folder / RECIPE_NAME, catalog()))


def write(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write both runs as a sweep does."""
    sweep = opened(folder)
    for name in ("a", "b"):
        executor = Made(lambda loaded: sweep)
        executor.whole = options.whole
        run, _ = choose_run(sweep, folder / name, fresh=True)
        outcome = run_sweep(sweep, run, executor=executor)
        assert not outcome.failed
        assert not outcome.unmeasured, outcome.unmeasured[0].failure
    files = [path.stat().st_size for path in (folder / "a").rglob("*") if path.is_file()]
    frames = sum(len(frames) for _, frames in sweep.scene.source.frames())
    return {"points": len(sweep.points), "frames": frames, "files": len(files),
            "files_mib": sum(files) >> 20}  # fmt: skip


def merge(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Merge the pieces of the first point anew, as a sweep does where they are all there."""
    del options
    sweep, run = opened(folder), find_run(folder / "a")
    began, before = time.perf_counter(), peak_mib()
    collection = Collection(sweep, run, environment())
    point = sweep.points[0]
    assert not collection.units([point])
    (record,) = collection.records([point], ())
    assert record.status == "ok", record.failure
    return {"merging_s": round(time.perf_counter() - began, 2), "opened_mib": before}


def read(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Read back everything that was written of a run, one file after the other."""
    del options
    run = Run(find_run(folder / "a").folder)
    plan, number = run.plan(), 0
    run.environment()
    _, facts = run.truth_arrays()
    for point in plan.points:
        record = run.point(point.key)
        assert record is not None and run.is_whole(record)
        assert len(run.samples(point.key)) == (record.metrics and record.metrics.frames)
        number += len([run.piece(point.key, clip) for clip in range(len(facts["clips"]))])
        found = [run.measured(of, point.key) for of in ("accuracy", "memory", "latency")]
        records = [one for one in found if isinstance(one, MeasuredRecord)]
        assert len(records) == len(found)
        run.session(records[-1].details["session"], records[-1])
    return {"pieces": number}


def peak_mib() -> int:
    """Return the most memory that this process held."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10


def timed(command: Sequence[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a command; return its seconds from the shell, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - began, 2)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return seconds, done


def measured(folder: Path, options: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """Return seconds and peak memory of every step; what a folder holds is not written again."""
    written = folder / "written.json"
    found: dict[str, Mapping[str, Any]] = {}
    if written.exists():
        found = json.loads(written.read_text())
    own = ["--folder", str(folder), "--whole", str(options.whole), "--share", str(options.share)]
    for step in (step for step in STEPS if step not in found):
        seconds, done = timed([sys.executable, __file__, "--step", step, *own])
        found[step] = {"seconds": seconds, **json.loads(done.stdout)}
        print(step, found[step], file=sys.stderr)
        if step in WRITTEN:
            written.write_text(json.dumps(found))
    a, b = str(folder / "a"), str(folder / "b")
    commands = {
        "report": ["report", a],
        "report as a page": ["report", a, "-o", str(folder / "a.html"), "--force"],
        "report with figures": ["report", a, "--figures", str(folder / "figures"), "--force"],
        "compare": ["compare", a, b],
    }
    for name, words in commands.items():
        seconds, done = timed([sys.executable, "-c", MASKVD, *words])
        peak = int(done.stderr.split()[-1]) >> 10
        found[name] = {"seconds": seconds, "peak_mib": peak}
        print(name, found[name], file=sys.stderr)
    return found


def main() -> None:
    """Measure all steps, or run one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the clips and frames")
    parser.add_argument("--whole", type=int, default=2, help="points of 60 detections a frame")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep the runs there, and use those there")
    options = parser.parse_args()
    if options.step:
        steps = {"prepare": recipe_in, "write": write, "merge": merge, "read": read}
        found = steps[options.step](options.folder, options)
        print(json.dumps({**found, "peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MASKVD_CACHE"] = str(folder / "cache")
        steps = measured(folder, options)
    if options.json:
        words = f"--share {options.share:g} --whole {options.whole}"
        content = {"whole_points": options.whole, "steps": steps}
        write_result(options.json, f"python benchmarks/vid_results.py {words}", content)


if __name__ == "__main__":
    main()
