"""Time the drawing of synthetic frames on one core, and make the README's moving picture of them.

python benchmarks/synthetic.py
python benchmarks/synthetic.py --gif docs/images/synthetic.gif
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskvd_cli.data.rendering.frames import render
from maskvd_cli.data.rendering.world import FAMILIES, FRAMES_PER_S, Family, World, build_world

CLIPS, FRAMES, WARM_UP = 5, 40, 4
GIF_FRAMES, GIF_COLS, GIF_COLOURS, GIF_STEP_S = 30, 440, 72, 0.12
# Chosen by eye: places with people, cyclists and cars.
GIF_CLIPS: tuple[tuple[Family, int, int], ...] = (("driving", 12, 0), ("static", 15, 0))


def frames_per_s(worlds: list[World], *, with_image: bool) -> float:
    """Return how many frames a second one core draws, first frames (textures) left out."""
    spent = 0.0
    for world in worlds:
        for frame in range(FRAMES):
            began = time.perf_counter()
            render(world, frame, with_image=with_image)
            spent += (time.perf_counter() - began) * (frame >= WARM_UP)
    return len(worlds) * (FRAMES - WARM_UP) / spent


def picture(step: int) -> Image.Image:
    """Return one picture of the loop: a driving camera above, a static one below."""
    parts = []
    for family, seed, number in GIF_CLIPS:
        count = round(GIF_FRAMES * GIF_STEP_S * FRAMES_PER_S[family]) + 1
        world = build_world(family, (seed,), number, count)
        drawn = render(world, round(step * GIF_STEP_S * FRAMES_PER_S[family])).image
        assert drawn is not None
        rows = round(GIF_COLS * drawn.shape[0] / drawn.shape[1])
        parts.append(cv2.resize(drawn, (GIF_COLS, rows), interpolation=cv2.INTER_AREA))
    return Image.fromarray(np.concatenate(parts))


def write_gif(file: Path) -> None:
    """Write the loop; one palette for all of it and no dithering keep it small."""
    pictures = [picture(step) for step in range(GIF_FRAMES)]
    sample = Image.fromarray(np.concatenate([np.asarray(shown) for shown in pictures[::6]]))
    palette = sample.quantize(GIF_COLOURS)
    flat = [shown.quantize(palette=palette, dither=Image.Dither.NONE) for shown in pictures]
    file.parent.mkdir(parents=True, exist_ok=True)
    flat[0].save(file, save_all=True, append_images=flat[1:], loop=0, optimize=True,
                 duration=round(1000 * GIF_STEP_S))  # fmt: skip
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gif", type=Path, help="write the moving picture here instead of timing")
    given = parser.parse_args()
    if given.gif:
        write_gif(given.gif)
        return
    cv2.setNumThreads(1)
    for family in FAMILIES:
        worlds = [build_world(family, (0,), number, FRAMES) for number in range(CLIPS)]
        drawn, labels = (frames_per_s(worlds, with_image=choice) for choice in (True, False))
        print(f"{family}: {drawn:.0f} frames/s drawn, {labels:.0f} frames/s labels alone")


if __name__ == "__main__":
    main()
