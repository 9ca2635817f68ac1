"""Whether mAP50 changed between two runs: what the same clips, left out of both, change in it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from maskvd_cli.compare.changes import MAP50, Change, Verdict, exact_change
from maskvd_cli.compare.pairing import Side
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.statistics import Estimate, cluster_weights, paired_change
from maskvd_cli.store.detections import check_fit
from maskvd_cli.store.runs import Run

if TYPE_CHECKING:
    from maskvd_cli.tasks.coco import Evaluation


class MapComparison:
    """Compares stored predictions of two runs that have the same truth.

    `damaged` gathers why predictions cannot be read; their points then have no interval.
    """

    def __init__(self, a: Run, b: Run) -> None:
        self._a, self._b = a, b
        self.damaged: list[ResultError] = []

    @cached_property
    def _truth(self) -> dict[str, Any] | None:
        """The annotations, None where a run has none or the two differ."""
        if not (self._a.has_truth() and self._b.has_truth()):
            return None
        try:
            truth = self._a.truth()
            return truth if truth == self._b.truth() else None
        except ResultError as error:
            self.damaged.append(error)
            return None

    @cached_property
    def _video_of(self) -> list[str]:
        """Return for each frame, by rising id, the video it is of; of old runs the clip."""
        assert self._truth is not None
        images = sorted(self._truth["images"], key=lambda image: image["id"])
        return [str(image.get("video", image["clip"])) for image in images]

    def change(self, a: Side, b: Side) -> Change | None:
        """Return the change of mAP50, None where it was not measured in both runs."""
        if a.accuracy is None or b.accuracy is None:
            return None
        old, new = a.accuracy.map50, b.accuracy.map50
        if old is None or new is None:
            return None
        try:
            found = self._estimate(a, b, new - old)
        except ResultError as error:
            self.damaged.append(error)
            found = None
        except (KeyError, TypeError, IndexError, ValueError) as error:
            self.damaged.append(
                ResultError(
                    f"predictions or truth are damaged ({type(error).__name__}: {error})",
                    where=b.run.folder,
                    remedy="remove the point's file and sweep again",
                )
            )
            found = None
        return self._judged(old, new, found)

    def _judged(self, old: float, new: float, found: Estimate | str | None) -> Change:
        if isinstance(found, str):
            return exact_change(MAP50, old, new, found)
        ratio = new / old if old else None
        if found is None or found.low is None or found.high is None:
            why = (
                "too few clips" if found is not None else "no predictions of both on the same truth"
            )
            verdict = Verdict.SAME if new == old else Verdict.NO_INTERVAL
            return Change(MAP50, old, new, new - old, ratio, verdict, f"no interval: {why}")
        verdict = Verdict.REGRESSION if new < old else Verdict.IMPROVEMENT
        if found.low <= 0.0 <= found.high:
            verdict = Verdict.NOISE
        basis = f"Student's t, paired over {len(set(self._video_of))} videos"
        return Change(MAP50, old, new, new - old, ratio, verdict, basis, found.low, found.high)

    def _estimate(self, a: Side, b: Side, value: float) -> Estimate | str | None:
        """Return the change with its interval, a text where the detections are the same."""
        keys = (self._a, a.planned.key), (self._b, b.planned.key)
        if self._truth is None or not all(run.has_predictions(key) for run, key in keys):
            return None
        stored = [run.predictions(key) for run, key in keys]
        for found in stored:
            check_fit(self._truth, found)
        first, second = (found["results"] for found in stored)
        if first == second:
            return "same detections"
        # Matching brings pycocotools, which is needed for detections that differ only.
        from maskvd_cli.tasks.coco import evaluate  # noqa: PLC0415

        return paired_change(
            value, *(self._left_out(evaluate(self._truth, rows)) for rows in (second, first))
        )

    def _left_out(self, evaluation: Evaluation) -> list[float | None]:
        """Return mAP50 with each group of videos left out in turn, of every run alike."""
        return [evaluation.map50(weights) for weights in cluster_weights(self._video_of)]
