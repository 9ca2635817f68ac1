"""`maskvd train`: train or fine-tune the model of a recipe."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_facts,
    print_json,
    reading_annotations,
    refuse_datasets,
    say,
    shows_progress,
    talk_console,
)
from maskvd_cli.core.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from maskvd_cli.training.runner import Outcome
    from maskvd_cli.training.setup import Training


_OF_FRAMES = ("map50", "mAP50"), ("map", "mAP")
_OF_VIDEOS = ("top1", "top-1"), ("top5", "top-5")


def train(
    recipe: Annotated[str, typer.Argument(help="Training recipe, or the name of a shipped one.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of this training.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Stop where there is no checkpoint to go on with.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda:1 of several.")] = "auto",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a detector or a recogniser, or go on where a training stopped.

    The same command starts it and goes on. DIR holds the log (log.jsonl), checkpoints and, at the
    end, NAME.safetensors with its model card. A training that was killed ends with the same weights
    as one that was not.

    Example: maskvd train train-synthetic -o runs/synthetic
    """
    from maskvd_cli.machine.device import resolve_device
    from maskvd_cli.recipe.shipped import find_training
    from maskvd_cli.training.folder import TrainingFolder
    from maskvd_cli.training.load import load_training
    from maskvd_cli.training.runner import run_training
    from maskvd_cli.training.setup import prepare

    chosen = resolve_device(device)
    loaded = load_training(find_training(recipe), set_ or [])
    root = loaded.recipe.dataset.root
    refuse_datasets(output, None if root is None else Path(root))
    with reading_annotations():
        training = prepare(loaded, chosen)
    folder = TrainingFolder(output)
    try:
        with _Display() as display:
            outcome = run_training(training, folder, display, must_continue=resume)
    except KeyboardInterrupt:
        command = shlex.join(["maskvd", *sys.argv[1:]])
        kept = "its checkpoints are kept" if folder.has_checkpoint() else "before a checkpoint"
        say(f"interrupted: {kept}; go on with: {command}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _print_outcome(outcome, output, as_json=as_json)


def _print_outcome(outcome: Outcome, output: Path, *, as_json: bool) -> None:
    result = outcome.result
    for note in outcome.notes:
        say(f"note: {note}")
    if outcome.was_finished:
        say(f"nothing to do: this training is finished after {result['steps']} steps")
    weights = output / result["file"]
    if as_json:
        print_json({"folder": output, **result})
        return
    accuracy = result["accuracy"]
    print_facts(
        [
            ("weights", weights),
            ("sha256", result["sha256"]),
            ("model card", weights.with_suffix(".md")),
            ("steps", result["steps"]),
            *_scores(accuracy),
        ]
    )


def _scores(accuracy: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the headline, the same by class, and the other score, as lines."""
    names = _OF_VIDEOS if "top1" in accuracy else _OF_FRAMES
    (first, header), (second, other) = names
    by_class = accuracy[f"{first}_by_class"]
    return [
        (header, f"{accuracy[first]:.1f}"),
        *[(f"  {name}", f"{value:.1f}") for name, value in by_class.items()],
        (other, f"{accuracy[second]:.1f}"),
    ]


class _Display:
    """A bar on stderr with losses, learning rate, speed and time left; without a terminal, lines
    at twenty places of the training.
    """

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = talk_console()
        self._live = shows_progress(console)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._bar.add_task("steps", total=None, facts="")
        self._every, self._said = 1, 0

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begins(self, training: Training, step: int) -> None:
        """Say where the training begins or goes on."""
        steps = training.schedule.steps
        self._bar.update(self._task, total=steps, completed=step)
        self._every, self._said = max(steps // 20, 1), step
        say(f"{'goes on after' if step else 'begins at'} step {step} of {steps} on "
            f"{training.device}: {len(training.learnt)} {_kind(training)} to learn, "
            f"{len(training.evaluated)} to evaluate")  # fmt: skip
        if training.fresh:
            say(f"note: {len(training.fresh)} parameters start anew: {', '.join(training.fresh)}")

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def logged(self, entry: dict[str, Any]) -> None:
        """Show a line of the log."""
        if entry["kind"] == "evaluation":
            header, value = _scores(entry)[0]
            text = f"step {entry['step']}: {header} {value}"
            self._bar.console.print(text) if self._live else say(text)
            return
        facts = _facts(entry)
        self._bar.update(self._task, facts=facts)
        if not self._live and entry["step"] - self._said >= self._every:
            self._said = entry["step"]
            say(f"step {entry['step']}: {facts}")


def _kind(training: Training) -> str:
    from maskvd_cli.training.frames import LookList

    return "videos" if isinstance(training.learnt, LookList) else "frames"


def _facts(entry: dict[str, Any]) -> str:
    named = ("rpn_objectness", "rpn_deltas", "box_classes", "box_deltas", "cross_entropy")
    parts = " ".join(
        f"{name.replace('_', ' ')} {entry[name]:.3f}" for name in named if name in entry
    )
    return (
        f"loss {entry['loss']:.3f} ({parts}), learning rate {entry['learning_rate']:.1e}, "
        f"{entry['images_per_s']:.1f} images/s, {_minutes(entry['seconds_left'])} left"
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
