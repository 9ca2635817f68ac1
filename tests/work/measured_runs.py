"""A small measured sweep: KITTI's layout with frames, and the weights of a tiny detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch

NATIVE = Size(375, 1242)
LABEL = "{frame} {track} {name} 0 0 0.0 {x1} {y1} {x2} {y2} 1.5 1.6 3.9 0.0 1.6 20.0 0.0"
RECIPE = """\
schema: 1
name: measured
dataset: {{name: kitti, root: {root}, split: train}}
model: {{name: vitdet-ti, input: 64x128, frame: 48x128, weights: {weights}}}
methods:
  - name: maskvd
    period: 3
    mask: static
    static_keep_rate: [0.5, 0.2]
latency: {{rounds: 2, frames: 4, warmup: 2}}
memory: {{frames: 4}}
device: cpu
"""


def write_kitti(root: Path, clips: int = 2, frames: int = 6) -> Path:
    """Write sequences with noisy frames, one moving car, one pedestrian, one region to ignore."""
    drawn = np.random.default_rng(0)
    training = root / "training"
    for number in range(clips):
        images = training / "image_02" / f"{number:04d}"
        images.mkdir(parents=True)
        rows: list[str] = []
        for frame in range(frames):
            pixels = drawn.integers(0, 256, (*NATIVE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(images / f"{frame:06d}.png", compress_level=1)
            left = 100.0 + 40 * frame + 200 * number
            rows += [
                LABEL.format(frame=frame, track=0, name="Car", x1=left, y1=150.0, x2=left + 260,
                             y2=300.0),
                LABEL.format(frame=frame, track=1, name="Pedestrian", x1=900.0, y1=140.0, x2=960.0,
                             y2=310.0),
                LABEL.format(frame=frame, track=-1, name="DontCare", x1=1100.0, y1=100.0,
                             x2=1200.0, y2=200.0),
            ]  # fmt: skip
        labels = training / "label_02"
        labels.mkdir(exist_ok=True)
        (labels / f"{number:04d}.txt").write_text("\n".join(rows) + "\n")
    return root


def write_weights(path: Path, classes: int = 3, seed: int = 0, name: str = "vitdet-ti") -> Path:
    """Write random weights of a small detector that detects something, in float16."""
    heads = HeadArch(classes=classes, channels=16, hidden=32)
    detector = Detector(get_arch(name), heads, Size(64, 128), seed=seed)
    save(path, {name: t.half() for name, t in detector.state_dict().items()}, {})
    return path


def write_recipe(folder: Path, changes: str = "") -> Path:
    """Write frames, weights and the recipe into a folder; return the recipe."""
    root = write_kitti(folder / "kitti")
    weights = write_weights(folder / "tiny.safetensors")
    path = folder / "measured.yaml"
    path.write_text(RECIPE.format(root=root, weights=weights) + changes)
    return path
