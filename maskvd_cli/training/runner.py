"""Run a training to its end, from wherever it stands."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

from maskvd_cli.core.errors import ResultError
from maskvd_cli.training.checkpoint import Progress
from maskvd_cli.training.evaluation import evaluated
from maskvd_cli.training.export import export
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.loading import KeptLooks, TrainingFrames, TrainingSequences, batches
from maskvd_cli.training.setup import Training
from maskvd_cli.training.spatial import EVALUATED, LEARNT
from maskvd_cli.training.steps import StepReport, run_step


class Watcher(Protocol):
    """Who is told how a training goes on."""

    def begins(self, training: Training, step: int) -> None:
        """Hear that steps after `step` begin."""

    def computed(self, done: int, videos: int) -> None:
        """Hear of how many videos the features are computed, before steps begin."""

    def stepped(self, step: int) -> None:
        """Hear that a step is done."""

    def logged(self, entry: dict[str, Any]) -> None:
        """Hear a line of the log."""


@dataclass(frozen=True)
class FinishedTraining:
    """The facts of a finished training, whether it was finished before, and what to know of it."""

    result: dict[str, Any]
    was_finished: bool
    notes: tuple[str, ...] = ()


def run_training(
    training: Training, folder: TrainingFolder, watcher: Watcher, *, must_continue: bool = False
) -> FinishedTraining:
    """Train to the end, going on from the newest checkpoint; then evaluate and export.

    A killed training that goes on on the same processor ends with the very weights of one that was
    not. With `must_continue` a folder without a checkpoint is an error. Raises ResultError.
    """
    with folder.locked():
        notes = tuple(folder.claim(training))
        if (finished := folder.result(training)) is not None:
            return FinishedTraining(finished, was_finished=True, notes=notes)
        if must_continue and not folder.has_checkpoint():
            raise ResultError(
                "holds no checkpoint to go on with",
                where=folder.path,
                remedy="leave --resume out to begin",
            )
        _compute_features(training, folder, watcher)
        progress = folder.restore(training)
        folder.cut_log(progress.step)
        watcher.begins(training, progress.step)
        progress = _Run(training, folder, watcher, progress).to_the_end()
        result = export(training, folder.path, progress)
        folder.log({"kind": "result", "step": progress.step, **result["accuracy"]})
        folder.finish(result)
        return FinishedTraining(result, was_finished=False, notes=notes)


def _compute_features(training: Training, folder: TrainingFolder, watcher: Watcher) -> None:
    """Let a recogniser's spatial model run over all videos, as far as it has not yet."""
    if (spatial := training.spatial) is None:
        return
    for part, listed in ((LEARNT, training.learnt), (EVALUATED, training.evaluated)):
        assert isinstance(listed, LookList)
        place = folder.path / "features"
        workers = training.recipe.workers
        spatial.compute(listed, training.geometry, place, part, watcher.computed, workers)


def _learnt(training: Training) -> Any:
    """Return what is learnt at each position: frames, looks, or with a method what it wants."""
    listed, recipe = training.learnt, training.recipe
    if training.spatial is not None:
        assert isinstance(listed, LookList)
        return KeptLooks(listed, training.spatial.kept[LEARNT], recipe.seed)
    frames = TrainingFrames(listed, training.geometry, recipe)
    if (learner := training.learner) is not None:
        return TrainingSequences(frames, learner.frames, learner.reach)
    return frames


class _Run:
    """The steps from one start of the process on."""

    def __init__(
        self, training: Training, folder: TrainingFolder, watcher: Watcher, progress: Progress
    ) -> None:
        self.training, self.folder, self.watcher = training, folder, watcher
        self.step, self.seconds = progress.step, progress.seconds
        self._summed: dict[str, float] = defaultdict(float)
        self._kept: dict[str, float] = defaultdict(float)
        self._steps, self._logged_at = 0, progress.seconds

    def to_the_end(self) -> Progress:
        """Run the steps that are left; return how far the training is then."""
        training, recipe = self.training, self.training.recipe
        each, last = recipe.batch * recipe.accumulate, training.schedule.steps
        positions = range(self.step * each, last * each)
        # Reading what is kept takes less time than handing it over from a worker.
        workers = recipe.workers if training.spatial is None else 0
        loaded = batches(_learnt(training), positions, recipe.batch, workers=workers,
                         seed=recipe.seed)  # fmt: skip
        while self.step < last:
            began = time.perf_counter()
            report = run_step(training, loaded, self.step)
            self.seconds += time.perf_counter() - began
            self.step += 1
            self.watcher.stepped(self.step)
            self._after(report)
        return Progress(self.step, self.seconds)

    def _after(self, report: StepReport) -> None:
        recipe, ended = self.training.recipe, self.step == self.training.schedule.steps
        self._count(report)
        if ended or self.step % recipe.log_every == 0:
            self._log(self._line(report))
        # The end is evaluated by the export, with the weights as they are stored.
        if not ended and self.step % recipe.evaluation.every == 0:
            scores, kept = evaluated(self.training)
            shares = {"kept": [round(share, 4) for share in kept]} if kept else {}
            self._log({"kind": "evaluation", "step": self.step, **scores.content(), **shares})
        if ended or self.step % recipe.checkpoint_every == 0:
            self.folder.store(self.training, Progress(self.step, self.seconds))

    def _count(self, report: StepReport) -> None:
        self._steps += 1
        for name, loss in report.losses.items():
            self._summed[name] += loss
        for name, share in report.kept.items():
            self._kept[name] += share

    def _line(self, report: StepReport) -> dict[str, Any]:
        """Return the line on the steps since the last one: means of losses, speed, time left."""
        recipe, schedule = self.training.recipe, self.training.schedule
        losses = {name: round(value / self._steps, 6) for name, value in self._summed.items()}
        kept = {name: round(value / self._steps, 4) for name, value in self._kept.items()}
        pace = (self.seconds - self._logged_at) / self._steps
        self._summed.clear()
        self._kept.clear()
        self._steps, self._logged_at = 0, self.seconds
        return {
            "kind": "steps",
            "step": self.step,
            "epoch": round(self.step / schedule.steps_per_epoch, 3),
            "loss": round(sum(losses.values()), 6),
            **losses,
            **({"kept": kept} if kept else {}),
            "learning_rate": report.learning_rate,
            "gradient_norm": round(report.gradient_norm, 4),
            "images_per_s": round(recipe.batch * recipe.accumulate / pace, 3),
            "seconds": round(self.seconds, 1),
            "seconds_left": round((schedule.steps - self.step) * pace, 1),
        }

    def _log(self, entry: dict[str, Any]) -> None:
        self.folder.log(entry)
        self.watcher.logged(entry)
