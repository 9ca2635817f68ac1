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
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from maskvd_cli.core.quantity import Quantity
    from maskvd_cli.training.runner import FinishedTraining
    from maskvd_cli.training.setup import Training


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
    _print_outcome(outcome, training, output, as_json=as_json)


def _print_outcome(
    outcome: FinishedTraining, training: Training, output: Path, *, as_json: bool
) -> None:
    result = outcome.result
    for note in outcome.notes:
        say(f"note: {note}")
    if outcome.was_finished:
        say(f"nothing to do: this training is finished after {result['steps']} steps")
    weights = output / result["file"]
    if as_json:
        print_json({"folder": output, **result})
        return
    accuracy, (_, of_classes) = result["accuracy"], training.scores
    headline, *others = training.task.quantities
    print_facts(
        [
            ("weights", weights),
            ("sha256", result["sha256"]),
            ("model card", weights.with_suffix(".md")),
            ("steps", result["steps"]),
            (headline.header, f"{accuracy[headline.name]:.1f}"),
            *[(f"  {name}", f"{value:.1f}") for name, value in accuracy[of_classes].items()],
            *[(one.header, f"{accuracy[one.name]:.1f}") for one in others if one.name in accuracy],
            *_beside_method(result, headline.name, headline.header),
            *_before_tuning(result, headline.name, headline.header),
        ]
    )


def _beside_method(result: dict[str, Any], name: str, header: str) -> list[tuple[str, str]]:
    """Return what is told of a method's weights beside their accuracy; nothing of a detector's."""
    if "kept" not in result:
        return []
    shares = " ".join(f"{100 * share:.0f}" for share in result["kept"])
    return [
        (f"{header} with every token", f"{result['baseline'][name]:.1f}"),
        ("tokens computed by block, %", shares),
    ]


def _before_tuning(result: dict[str, Any], name: str, header: str) -> list[tuple[str, str]]:
    """Return how the initial weights score under the method that was tuned for."""
    untuned = result.get("untuned")
    return [] if untuned is None else [(f"{header} before tuning", f"{untuned[name]:.1f}")]


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
        self._every, self._said, self._unit = 1, 0, ""
        self._headline: Quantity | None = None

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begins(self, training: Training, step: int) -> None:
        """Say where the training begins or goes on."""
        from maskvd_cli.families.vitdet.renaming import listed

        steps, self._headline = training.schedule.steps, training.task.headline()
        self._bar.update(self._task, total=steps, completed=step)
        self._every, self._said = max(steps // 20, 1), step
        self._unit = training.learnt.unit
        say(f"{'goes on after' if step else 'begins at'} step {step} of {steps} on "
            f"{training.device}: {counted(len(training.learnt), training.learnt.unit)} to learn, "
            f"{len(training.evaluated)} to evaluate")  # fmt: skip
        if fresh := training.fresh:
            say(f"note: {counted(len(fresh), 'parameter')} anew: {listed(fresh)}")
        if left := training.taken.left:
            where = Path(training.recipe.init or "").name
            say(f"note: {counted(len(left), 'parameter')} of {where} left: {listed(left)}")

    def computed(self, done: int, videos: int) -> None:
        """Show how far the spatial model is, which runs once over all videos."""
        self._bar.update(self._task, total=videos, completed=done, facts="features of videos")
        if not self._live and 20 * done // videos > 20 * (done - 1) // videos:
            say(f"features of {done} of {counted(videos, 'video')} computed")

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def logged(self, entry: dict[str, Any]) -> None:
        """Show a line of the log."""
        if entry["kind"] == "evaluation":
            assert self._headline is not None
            text = f"step {entry['step']}: {self._headline.header} "
            text += f"{entry[self._headline.name]:.1f}"
            self._bar.console.print(text) if self._live else say(text)
            return
        facts = _facts(entry, self._unit)
        self._bar.update(self._task, facts=facts)
        if not self._live and entry["step"] - self._said >= self._every:
            self._said = entry["step"]
            say(f"step {entry['step']}: {facts}")


def _facts(entry: dict[str, Any], unit: str) -> str:
    """Return a line of the log in words; what stands behind the loss there are its parts."""
    names = list(entry)
    named = names[names.index("loss") + 1 : names.index("learning_rate")]
    parts = " ".join(
        f"{name.replace('_', ' ')} {entry[name]:.3f}"
        for name in named
        if isinstance(entry[name], float)
    )
    return (
        f"loss {entry['loss']:.3f} ({parts}), learning rate {entry['learning_rate']:.1e}, "
        f"{entry['images_per_s']:.1f} {unit}s/s, {_minutes(entry['seconds_left'])} left"
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
