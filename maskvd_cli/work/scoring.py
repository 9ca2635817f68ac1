"""Score stored outputs: the same numbers right after a run and ever after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from maskvd_cli.core.point import changes_nothing
from maskvd_cli.metrics.statistics import Estimate, cluster_weights, paired_change
from maskvd_cli.store.measured import Accuracy, AgeAccuracy, ClassAccuracy, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint
from maskvd_cli.tasks.base import Scores, Task
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.stored import StoredTruth, evaluation
from maskvd_cli.work.plan import BASELINE


@dataclass(frozen=True)
class Scored:
    """One point's scores, its headline, and the headline without each group of videos in turn."""

    scores: Scores
    headline: float | None
    left_out: Sequence[float | None]


class Scorer:
    """Scores the outputs of a run from its files alone; what is asked for twice is made once.

    Raises ResultError for outputs or a truth that are missing or damaged.
    """

    def __init__(self, run: Run, task: Task | None = None) -> None:
        self._run = run
        self._baselines: dict[str, Scored] = {}
        self._task = task

    @cached_property
    def task(self) -> Task:
        """What the run's model was asked for."""
        return self._task or tasks.load(self._run.plan().task)()

    @cached_property
    def _truth(self) -> StoredTruth:
        return StoredTruth.of(self._run)

    def scored(self, key: str) -> Scored:
        """Match and score the outputs of a point."""
        made = evaluation(self._truth, key, self.task)
        scores = made.scores()
        # Clips of one video are no independent samples, and are left out together.
        groups = cluster_weights(self._truth.videos)
        left_out = [made.headline(weights.astype(np.float64)) for weights in groups]
        return Scored(scores, scores.values[self.task.headline().name], left_out)

    def scored_with_change(self, key: str, baseline: str | None) -> tuple[Scored, Estimate | None]:
        """Return the scores of a point, and the change of its headline against the baseline's."""
        if baseline is None:
            return self.scored(key), None
        if baseline not in self._baselines:
            self._baselines[baseline] = self.scored(baseline)
        theirs = self._baselines[baseline]
        ours = theirs if key == baseline else self.scored(key)
        return ours, _change(ours, theirs)

    def accuracy(self, key: str, baseline: str | None) -> Accuracy:
        """Return the scores of a point as they are stored, with its change."""
        scored, change = self.scored_with_change(key, baseline)
        values, details = scored.scores.values, scored.scores.details
        return Accuracy(
            map50=values["map50"],
            map=values["map"],
            frames=details["frames"],
            objects=details["objects"],
            detections=details["detections"],
            by_class={
                name: ClassAccuracy(**scores) for name, scores in details["by_class"].items()
            },
            by_age=[AgeAccuracy(**bucket) for bucket in details["by_age"]],
            map50_change=None if change is None else StoredEstimate(**asdict(change)),
            left_out=list(scored.left_out),
        )


def _change(ours: Scored, theirs: Scored) -> Estimate | None:
    if ours.headline is None or theirs.headline is None:
        return None
    if ours is theirs:
        return Estimate(0.0, None, None)
    return paired_change(ours.headline - theirs.headline, ours.left_out, theirs.left_out)


def baseline_key(plan: Plan, point: PlannedPoint) -> str | None:
    """Return the key of dense on the point's model and input, None where the plan has none."""
    for other in plan.points:
        beside = (other.model, other.input) == (point.model, point.input)
        if other.method == BASELINE and changes_nothing(other.params) and beside:
            return other.key
    return None


def scorable(run: Run, plan: Plan) -> list[PlannedPoint]:
    """Return the points that have outputs."""
    return [point for point in plan.points if run.has_predictions(point.key)]
