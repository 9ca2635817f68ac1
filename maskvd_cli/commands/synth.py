"""`maskvd synth`: a synthetic label set in KITTI's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskvd_cli.commands.terminal import print_facts, refuse_datasets


def synth(
    output: Annotated[Path, typer.Option("-o", "--output", help="New or empty folder.")],
    clips: Annotated[int, typer.Option(min=1, max=10_000, help="Number of sequences.")] = 20,
    frames: Annotated[int, typer.Option(min=2, max=100_000, help="Frames per sequence.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 0,
) -> None:
    """Write a synthetic label set in KITTI tracking's format (labels and seqmap, no images).

    For trying maskvd without KITTI: its numbers say nothing about real traffic.

    Example: maskvd synth -o demo/kitti --clips 8 --frames 120 --seed 0
    """
    from maskvd_cli.data.synthetic import write_labels

    refuse_datasets(output)
    summary = write_labels(output, clips, frames, seed)
    boxes = ", ".join(f"{name} {count}" for name, count in summary.boxes.items())
    print_facts(
        [
            ("folder", output),
            ("clips", summary.clips),
            ("frames", summary.frames),
            ("boxes", boxes),
            ("seed", seed),
        ]
    )
