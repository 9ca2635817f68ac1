"""Time what maskvd does before the first frame runs, on annotations as large as ImageNet VID's.

Run `python benchmarks/vid_size.py`: it writes a synthetic validation set of the real size (555
videos in 639 segments, 176,126 frames) into a temporary folder and prints seconds and peak memory
of start-up and planning, each in a process of its own, first without a cache and then with it.
`--layout xml` writes one file per frame as ILSVRC2015 does, `archive` one JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskvd_cli.data.vid_xml import CLASSES, SYNSETS
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare

VIDEOS, SEGMENTS, FRAMES = 555, 639, 176_126
WIDTH, HEIGHT = 1280, 720
STEPS = ("start-up", "planning")
RECIPE = """\
schema: 1
name: vid-size
dataset: {{name: imagenet-vid, root: {root}, split: val}}
heatmap: {{split: val, canvas: input}}
model: {{name: vitdet-b, input: 672x672, frame: fit}}
detections: labels
methods:
  - name: maskvd
    period: [4, 8]
    static_keep_rate: [0.5, 0.3, 0.1]
"""


def segments(share: float) -> list[tuple[str, range]]:
    """Return each segment's video and frame numbers; `share` of the real number of videos."""
    videos = max(1, round(VIDEOS * share))
    cut = round((SEGMENTS - VIDEOS) * share)
    frames = round(FRAMES * share)
    parts: list[tuple[str, range]] = []
    lengths = [frames // videos + (video < frames % videos) for video in range(videos)]
    for video, length in enumerate(lengths):
        name = f"{video:08d}"
        if video < cut:
            half = length // 2
            parts += [(name, range(half)), (name, range(half + 5, length + 5))]
        else:
            parts.append((name, range(length)))
    return parts


def boxes_of(seed: int, count: int) -> Iterator[list[tuple[int, float, float, float, float]]]:
    """Yield for each frame one to three boxes that move: class, x, y, width, height."""
    drawn = np.random.default_rng([0, seed])
    objects = int(drawn.integers(1, 4))
    label = int(drawn.integers(0, len(CLASSES)))
    start = drawn.uniform([0, 0, 60, 60], [700, 300, 400, 300], (objects, 4))
    for frame in range(count):
        yield [(label, x + frame % 100, y, w, h) for x, y, w, h in start.tolist()]


def write_archive(root: Path, share: float) -> None:
    """Write `annotations/vid_val.json`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (video, frames) in enumerate(segments(share)):
        for frame, boxes in zip(frames, boxes_of(number, len(frames)), strict=True):
            image = len(images) + 1
            name = f"val/ILSVRC2015_val_{video}_{frame:06d}.JPEG"
            images.append({"id": image, "file_name": name, "width": WIDTH, "height": HEIGHT})
            for track, (label, *box) in enumerate(boxes):
                annotations.append({
                    "id": len(annotations) + 1, "image_id": image, "category_id": label + 1,
                    "bbox": box, "iscrowd": 0, "instance_id": track,
                })  # fmt: skip
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = root / "annotations" / "vid_val.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))


def write_xml(root: Path, share: float) -> None:
    """Write `Annotations/VID/val/<video>/<frame>.xml`."""
    synsets = list(SYNSETS)
    for number, (video, frames) in enumerate(segments(share)):
        folder = root / "Annotations" / "VID" / "val" / video
        folder.mkdir(parents=True, exist_ok=True)
        for frame, boxes in zip(frames, boxes_of(number, len(frames)), strict=True):
            objects = "".join(
                f"<object><trackid>{track}</trackid><name>{synsets[label]}</name><bndbox>"
                f"<xmax>{x + w:.0f}</xmax><xmin>{x:.0f}</xmin><ymax>{y + h:.0f}</ymax>"
                f"<ymin>{y:.0f}</ymin></bndbox><occluded>0</occluded></object>"
                for track, (label, x, y, w, h) in enumerate(boxes)
            )
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            (folder / f"{frame:06d}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def start_up(recipe: Path) -> dict[str, Any]:
    """Read annotations and heatmap and key every point, as a sweep does before it runs one."""
    loaded = load_recipe(recipe, catalog())
    started = time.perf_counter()
    sweep = prepare(loaded)
    clips = sweep.scene.source.frames()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds, "points": len(sweep.points), "clips": len(clips),
        "frames": sum(len(frames) for _, frames in clips), "keys": [p.key for p in sweep.points],
        "notes": sweep.scene.notes(),
    }  # fmt: skip


def planning(recipe: Path) -> dict[str, Any]:
    """Plan every point of the recipe with the command itself."""
    with tempfile.TemporaryDirectory() as results:
        started = time.perf_counter()
        arguments = ["sweep", str(recipe), "--results", results, "-q"]
        subprocess.run([sys.executable, "-m", "maskvd_cli", *arguments], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        return {"seconds": time.perf_counter() - started}


def measured(step: str, recipe: Path) -> dict[str, Any]:
    """Run one step in a fresh process; return what it says, with its peak memory in MiB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, "--recipe", str(recipe)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return {**json.loads(done.stdout), "process_seconds": time.perf_counter() - started}


def peak_mib() -> float:
    """Return the largest resident memory of this process and of its children."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose) / 1024


def main() -> None:
    """Write the set and print a line for each step, or run one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", choices=["archive", "xml"], default="archive")
    parser.add_argument("--share", type=float, default=1.0, help="of the real number of frames")
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--recipe", type=Path)
    options = parser.parse_args()
    if options.step:
        run = {"start-up": start_up, "planning": planning}[options.step]
        print(json.dumps({**run(options.recipe), "peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "vid"
        {"archive": write_archive, "xml": write_xml}[options.layout](root, options.share)
        recipe = Path(folder) / "vid-size.yaml"
        recipe.write_text(RECIPE.format(root=root))
        os.environ["MASKVD_CACHE"] = str(Path(folder) / "cache")
        keys: list[list[str]] = []
        for step in ("start-up", "start-up", "planning"):
            found = measured(step, recipe)
            keys += [found["keys"]] if "keys" in found else []
            extent = (
                f", {found['clips']} clips, {found['frames']} frames" if "clips" in found else ""
            )
            print(f"{step}: {found['seconds']:.1f} s, peak {found['peak_mib']:.0f} MiB{extent}")
        assert keys[0] == keys[1], "the cache changed a key"


if __name__ == "__main__":
    main()
