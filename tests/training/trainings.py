"""A tiny detector and a tiny set in KITTI's layout, for tests of training."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.archs import ARCHS

ROWS, COLS = 64, 96
TINY = ViTArch(
    name="tiny", description="", dim=32, heads=2, depth=2, patch=16, global_blocks=(1,),
    window=Size(3, 3), position_table=Size(4, 6), relative_table=Size(4, 6),
)  # fmt: skip
TINY_GLOBAL = ViTArch(
    name="tiny-global", description="", dim=32, heads=2, depth=2, patch=16, global_blocks=(0, 1),
    window=Size(3, 3), position_table=Size(4, 6), relative_table=None,
    class_token=True, final_norm=True,
)  # fmt: skip
RECIPE = """
schema: 1
kind: training
name: tiny
dataset: {name: kitti, root: kitti}
model:
  name: tiny
  input: 64x96
  frame: 64x96
  channels: 24
  hidden: 32
  anchor_sizes: [16, 24, 32, 64, 128]
  anchor_ratios: [0.5, 1, 2]
  proposals: 48
  regions: 24
optimiser: {learning_rate: 2e-3, clip: 1.0}
schedule: {length: 8, warmup: 2}
batch: 2
ema: 0.9
augmentation: {flip: 0.5, scale: [0.8, 1.2]}
evaluation: {every: 1000, limit: 6}
checkpoint_every: 2
log_every: 1
workers: 0
seed: 3
"""
_KINDS = {"Car": (200, 40, 40), "Pedestrian": (40, 200, 40), "Cyclist": (40, 40, 220)}
_SIDES = {"Car": (16, 26), "Pedestrian": (28, 14), "Cyclist": (20, 20)}


def register() -> None:
    """Make the tiny architectures known by name."""
    ARCHS[TINY.name], ARCHS[TINY_GLOBAL.name] = TINY, TINY_GLOBAL


def write_recipe(folder: Path, changes: dict[str, str] | None = None) -> Path:
    """Write the tiny recipe, with texts replaced, and return its path."""
    text = RECIPE
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


def write_kitti(folder: Path, *, frames: int = 24, sequences: int = 2, seed: int = 0) -> Path:
    """Write coloured boxes on noise as a KITTI training set; a colour and shape per class."""
    rng = np.random.default_rng(seed)
    for sequence in range(sequences):
        images = folder / "training" / "image_02" / f"{sequence:04d}"
        labels = folder / "training" / "label_02" / f"{sequence:04d}.txt"
        images.mkdir(parents=True)
        labels.parent.mkdir(parents=True, exist_ok=True)
        rows: list[str] = []
        for frame in range(frames):
            pixels = rng.integers(60, 120, (ROWS, COLS, 3), dtype=np.uint8)
            for track, left in enumerate(rng.permutation([2, 34, 66])[: rng.integers(1, 4)]):
                rows.append(_painted(pixels, frame, track, int(left), rng))
            Image.fromarray(pixels).save(images / f"{frame:06d}.png", compress_level=1)
        labels.write_text("".join(rows))
    return folder


def _painted(
    pixels: np.ndarray, frame: int, track: int, left: int, rng: np.random.Generator
) -> str:
    kind = str(rng.choice(list(_KINDS)))
    rows, cols = _SIDES[kind]
    top = int(rng.integers(2, ROWS - rows - 2))
    pixels[top : top + rows, left : left + cols] = _KINDS[kind]
    place = f"{left} {top} {left + cols} {top + rows}"
    return f"{frame} {track} {kind} 0 0 0 {place} -1 -1 -1 -1 -1 -1 -1\n"


if __name__ == "__main__":
    # A process of its own, for a test to kill: the recipe, then the rest of the command line.
    import torch
    import typer

    from maskvd_cli import app as maskvd
    from maskvd_cli.commands.train import train

    register()
    torch.set_num_threads(1)
    app = typer.Typer(cls=maskvd.app.info.cls, rich_markup_mode=None)
    app.command()(train)
    app.callback()(lambda: None)
    app(["train", *sys.argv[1:]])
