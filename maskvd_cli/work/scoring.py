"""Score stored predictions: the same numbers right after a run and ever after."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.point import changes_nothing
from maskvd_cli.metrics.statistics import Estimate, cluster_weights, paired_change
from maskvd_cli.store.detections import check_fit
from maskvd_cli.store.measured import (
    Accuracy,
    AgeAccuracy,
    ClassAccuracy,
    StoredEstimate,
)
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint
from maskvd_cli.tasks.ages import by_age
from maskvd_cli.tasks.coco import Evaluation, evaluate
from maskvd_cli.work.plan import BASELINE


@dataclass(frozen=True)
class _Scored:
    """One point's evaluation, the age of every frame, and how many detections it stands on."""

    evaluation: Evaluation
    age_of: NDArray[np.int64]
    detections: int


class Scorer:
    """Scores the predictions of a run from its files alone; what is asked for twice is made once.

    Raises ResultError for predictions or a truth that are missing or damaged.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._baselines: dict[str, tuple[_Scored, list[float | None]]] = {}

    @cached_property
    def _truth(self) -> dict[str, Any]:
        return self._run.truth()

    @cached_property
    def _video_of(self) -> list[str]:
        """Return for each frame, by rising id, the video it is of; of old runs the clip."""
        images = sorted(self._truth["images"], key=lambda image: image["id"])
        return [str(image.get("video", image["clip"])) for image in images]

    def accuracy(self, key: str, baseline: str | None) -> Accuracy:
        """Return the scores of a point, and its change against the baseline's predictions."""
        try:
            scored = self._scored(key)
            change = None if baseline is None else self._change(scored, key, baseline)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ResultError(
                f"predictions or truth are damaged ({type(error).__name__}: {error})",
                where=self._run.folder,
                remedy="remove the point's file and sweep again",
            ) from error
        overall = scored.evaluation.overall
        return Accuracy(
            map50=overall.map50,
            map=overall.map,
            frames=len(scored.evaluation.images),
            objects=overall.objects,
            detections=scored.detections,
            by_class={
                name: ClassAccuracy(**asdict(scores))
                for name, scores in scored.evaluation.by_class.items()
            },
            by_age=[
                AgeAccuracy(**asdict(found)) for found in by_age(scored.evaluation, scored.age_of)
            ],
            map50_change=None if change is None else StoredEstimate(**asdict(change)),
        )

    def _scored(self, key: str) -> _Scored:
        stored = self._run.predictions(key)
        check_fit(self._truth, stored)
        evaluation = evaluate(self._truth, stored["results"])
        age_of = {frame["image_id"]: frame["age"] for frame in stored["frames"]}
        ages = np.array([age_of[number] for number in evaluation.images], dtype=np.int64)
        return _Scored(evaluation, ages, len(stored["results"]))

    def _change(self, scored: _Scored, key: str, baseline: str) -> Estimate | None:
        if baseline not in self._baselines:
            dense = scored if key == baseline else self._scored(baseline)
            self._baselines[baseline] = dense, self._left_out(dense.evaluation)
        dense, without = self._baselines[baseline]
        ours, theirs = scored.evaluation.overall.map50, dense.evaluation.overall.map50
        if ours is None or theirs is None:
            return None
        if key == baseline:
            return Estimate(0.0, None, None)
        return paired_change(ours - theirs, self._left_out(scored.evaluation), without)

    def _left_out(self, evaluation: Evaluation) -> list[float | None]:
        """Return mAP50 with each group of videos left out in turn."""
        return [evaluation.map50(weights) for weights in cluster_weights(self._video_of)]


def baseline_key(plan: Plan, point: PlannedPoint) -> str | None:
    """Return the key of dense on the point's model and input, None where the plan has none."""
    for other in plan.points:
        beside = (other.model, other.input) == (point.model, point.input)
        if other.method == BASELINE and changes_nothing(other.params) and beside:
            return other.key
    return None


def scorable(run: Run, plan: Plan) -> list[PlannedPoint]:
    """Return the points that have predictions."""
    return [point for point in plan.points if run.has_predictions(point.key)]
