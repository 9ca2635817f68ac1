"""`maskvd film`: watch one point of a recipe at work, frame by frame."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.sweep import load_named
from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    at_work,
    new_file,
    print_json,
    refuse_datasets,
    say,
    shows_progress,
    sign_of_life,
    talk_console,
)
from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskvd_cli.film.render import Summary

_MOST_FRAMES = 10_000


def film(
    recipe: Annotated[
        str | None,
        typer.Argument(help="Recipe file, or the name of a shipped recipe. Default: demo."),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(
            help="The point to show: its label, or words or a part of it that fit no other."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The film, .mp4 or .gif.")] = Path(
        "film.mp4"
    ),
    video: Annotated[
        Path | None, typer.Option(help="Show this video file, not a clip of the dataset.")
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(help="Clip of the dataset, its name or number from 1. Default: the first."),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, max=_MOST_FRAMES, help="Show the first N frames.")
    ] = 60,
    fps: Annotated[
        float | None,
        typer.Option(min=1, max=120, help="Frames a second. Default: as recorded, else 10."),
    ] = None,
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Least score of detections that are shown.")
    ] = 0.5,
    width: Annotated[
        int | None,
        typer.Option(min=320, max=1920, help="Pixels. Default: as recorded, 640 to 1280."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Run the recipe on this dataset, as in `maskvd sweep`.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (sets dataset.root).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Film a point at work: kept tokens, detections, misses, cost.

    The detector runs with the point's method, and with the baseline beside it. Tokens that the
    method does not recompute are dark. An object that the baseline finds (IoU 0.5, right class,
    --score) and the method does not is red: it is missed because of skipping. Objects that both
    miss are grey and dashed, all others white. GMACs are the backbone's. With gates or dropping, a
    token is the brighter the more gates or blocks recompute it.

    With --video there is no truth, and red is what only the baseline detects; the heatmap of the
    static mask is still the recipe's. Random weights detect nothing that means anything.

    Examples: maskvd film demo --point "maskvd period=16 static_keep_rate=0.1" -o clip.mp4
    · maskvd film demo --point "stgt r=60" --video street.mp4 -o street.gif
    """
    if video is not None and clip is not None:
        raise UsageError("--video and --clip do not go together", remedy="give one of them")
    output = _output(output, force=force)
    loaded = load_named(recipe, dataset, root, list(set_ or []))

    from maskvd_cli.film.opening import choose_point, open_film
    from maskvd_cli.film.render import FilmStyle, make_film

    choose_point(loaded, point)
    with at_work("reading annotations and making the heatmap"):
        opened = open_film(loaded, point, clip=clip, video=video, frames=frames)
    source = opened.scene.source
    refuse_datasets(output, source.root)
    name = str(video) if video is not None else opened.footage.clip.name
    say(f"{opened.task.label} on {name}, {counted(len(opened.footage.clip), 'frame')}")
    for remark in opened.remarks:
        say(f"note: {remark}")
    with sign_of_life("drawing frames"), _progress(len(opened.footage.clip)) as on_frame:
        made = make_film(
            output,
            opened.task,
            opened.scene,
            opened.footage,
            FilmStyle(score, fps, width),
            on_frame,
        )
    annotated = opened.footage.objects is not None
    if as_json:
        print_json(
            {
                "point": opened.task.label, "film": output, "frames": made.frames,
                "missed": made.missed, "of": made.met, "annotated": annotated,
                "gmacs": made.gmacs, "baseline_gmacs": made.baseline_gmacs,
            }
        )  # fmt: skip
    _say_made(made, output, annotated=annotated)


def _output(path: Path, *, force: bool) -> Path:
    """Return the output with a suffix, checked before anything is run."""
    suffix = ".gif" if path.suffix == ".gif" else ".mp4"
    if path.suffix not in ("", ".mp4", ".gif"):
        raise ResultError("wrong kind of film", where=path, remedy="name it with .mp4 or .gif")
    path = new_file(path, suffix, force=force)
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ResultError("cannot be written", where=path, remedy="choose another place")
    return path


@contextmanager
def _progress(frames: int) -> Generator[Callable[[], None]]:
    """Show frames done and time left on a terminal's stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = talk_console()
    bar = Progress(
        TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not shows_progress(console),
    )  # fmt: skip
    with bar:
        task = bar.add_task("frames", total=frames)
        yield lambda: bar.advance(task)


def _say_made(made: Summary, output: Path, *, annotated: bool) -> None:
    size = output.stat().st_size / 1e6
    of = "objects" if annotated else "that the baseline detects"
    say(f"missed because of skipping: {made.missed} of {made.met} {of}")
    say(f"GMACs: mean {made.gmacs:.2f}, baseline {made.baseline_gmacs:.2f}")
    say(f"film: {output} ({counted(made.frames, 'frame')}, {size:.1f} MB)")
