"""`maskvd synth`: synthetic clips in KITTI's format, drawn, re-enacted, or labels alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_facts,
    print_json,
    refuse_datasets,
    shows_progress,
    sign_of_life,
    talk_console,
)
from maskvd_cli.core.errors import UsageError

if TYPE_CHECKING:
    from maskvd_cli.data.synthetic import LabelSummary

_CLIPS, _FRAMES = 20, 100


def synth(
    output: Annotated[Path, typer.Option("-o", "--output", help="New or empty folder.")],
    clips: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help=f"Sequences; default {_CLIPS}, with --from-labels all."
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100_000,
            help=f"Frames a sequence; default {_FRAMES}, with --from-labels all.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 0,
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Draw the clips; without images, labels come from projected boxes alone.",
        ),
    ] = True,
    camera: Annotated[
        str | None,
        typer.Option(help="driving (10 fps), static (25 fps) or both in turn; default both."),
    ] = None,
    from_labels: Annotated[
        Path | None,
        typer.Option(help="KITTI folder whose labels are kept as they are and acted again."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write synthetic clips in KITTI tracking's layout.

    Labels, images and seqmap. For trying maskvd without KITTI: their numbers say nothing about real
    traffic.

    Example: maskvd synth -o demo/kitti --clips 20 --frames 100 --seed 0

    Real labels, drawn: maskvd synth -o demo/acted --from-labels KITTI --clips 2
    """
    refuse_datasets(output)
    if from_labels is not None:
        _refuse_with("--from-labels", {"--camera": camera is not None, "--no-images": not images})
        summary = _acted(output, from_labels, clips, frames, seed)
    elif images:
        summary = _drawn(output, clips or _CLIPS, frames or _FRAMES, seed, camera or "both")
    else:
        from maskvd_cli.data.synthetic import write_labels

        _refuse_with("--no-images", {"--camera": camera is not None})
        summary = write_labels(output, clips or _CLIPS, frames or _FRAMES, seed)
    if as_json:
        print_json({"folder": output, **asdict(summary), "seed": seed})
        return
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


def _refuse_with(option: str, given: dict[str, bool]) -> None:
    for other, is_given in given.items():
        if is_given:
            raise UsageError(f"does not go with {other}", where=option, remedy=f"drop {other}")


def _drawn(output: Path, clips: int, frames: int, seed: int, camera: str) -> LabelSummary:
    from maskvd_cli.data.rendered_sets import camera_choice, write_clips

    chosen = camera_choice(camera)
    with _drawing(clips * frames) as done:
        return write_clips(output, clips, frames, seed, chosen, done)


def _acted(
    output: Path, source: Path, clips: int | None, frames: int | None, seed: int
) -> LabelSummary:
    from maskvd_cli.data.rendered_sets import write_reenactment

    with _drawing(None) as done:
        return write_reenactment(source, output, clips, frames, seed, done)


@contextmanager
def _drawing(total: int | None) -> Generator[Callable[[], None]]:
    """Show on stderr how many frames are drawn."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = talk_console()
    columns = TextColumn("drawing frames"), MofNCompleteColumn(), TimeRemainingColumn()
    of = "" if total is None else f" of {total}"
    with Progress(*columns, console=console, disable=not shows_progress(console)) as progress:
        task = progress.add_task("frames", total=total)
        with sign_of_life(lambda: f"drawing frames, {progress.tasks[0].completed:.0f}{of} done"):
            yield lambda: progress.advance(task)
