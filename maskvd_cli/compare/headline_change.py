"""Whether the headline changed between two runs, by leaving the same clips out of both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from maskvd_cli.compare.changes import (
    Change,
    Compared,
    Verdict,
    exact_change,
    is_better,
    ratio_of,
)
from maskvd_cli.compare.pairing import Side
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.statistics import Estimate, cluster_weights, paired_change
from maskvd_cli.store.runs import Run
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.stored import StoredTruth, evaluation, same_outputs


class HeadlineComparison:
    """Compares what two runs scored, and their stored outputs, where they have the same truth.

    `metric`: the headline, `of`: the metric whose records hold it. `damaged` gathers why outputs
    cannot be read; their points then have no interval.
    """

    def __init__(self, a: Run, b: Run, metric: Compared, of: str) -> None:
        self._a, self._b = a, b
        self._metric, self._of = metric, of
        self.damaged: list[ResultError] = []

    @cached_property
    def _truths(self) -> tuple[StoredTruth, StoredTruth] | None:
        """The truth of both runs, None where a run has none or the two differ."""
        if not (self._a.has_truth() and self._b.has_truth()):
            return None
        try:
            both = StoredTruth.of(self._a), StoredTruth.of(self._b)
        except ResultError as error:
            self.damaged.append(error)
            return None
        return both if both[0].is_that_of(both[1]) else None

    def change(self, a: Side, b: Side) -> Change | None:
        """Return the change of the headline, None where it was not measured in both runs."""
        old, new = a.value(self._metric.name), b.value(self._metric.name)
        if old is None or new is None:
            return None
        try:
            estimate = self._estimate(a, b, new - old)
        except ResultError as error:
            self.damaged.append(error)
            estimate = None
        return self._judged(old, new, estimate)

    def _judged(self, old: float, new: float, estimate: Estimate | str | None) -> Change:
        if isinstance(estimate, str):
            return exact_change(self._metric, old, new, estimate)
        ratio = ratio_of(old, new)
        if estimate is None or estimate.low is None or estimate.high is None:
            why = (
                "too few clips"
                if estimate is not None
                else "no predictions of both on the same truth"
            )
            verdict = Verdict.SAME if new == old else Verdict.NO_INTERVAL
            return Change(self._metric, old, new, new - old, ratio, verdict, f"no interval: {why}")
        verdict = Verdict.IMPROVEMENT if is_better(self._metric, old, new) else Verdict.REGRESSION
        if estimate.low <= 0.0 <= estimate.high:
            verdict = Verdict.NOISE
        assert self._truths is not None
        basis = f"Student's t, paired over {len(set(self._truths[0].videos))} videos"
        return Change(
            self._metric, old, new, new - old, ratio, verdict, basis, estimate.low, estimate.high
        )

    def _estimate(self, a: Side, b: Side, value: float) -> Estimate | str | None:
        """Return the change with its interval, a text where the outputs are the same."""
        keys = a.planned.key, b.planned.key
        runs = zip((self._a, self._b), keys, strict=True)
        if self._truths is None or not all(run.has_predictions(key) for run, key in runs):
            return None
        if value == 0.0 and same_outputs(*self._truths, keys):
            return "same detections"
        first = self._left_out(self._truths[0], a)
        return paired_change(value, self._left_out(self._truths[1], b), first)

    def _left_out(self, truth: StoredTruth, side: Side) -> Sequence[float | None]:
        """Return the headline with each group of videos left out in turn.

        Runs keep these values with their scores; outputs of older runs are matched again.
        """
        details = side.details(self._of)
        if details is not None and details.left_out:
            return details.left_out
        task = tasks.load(side.run.plan().task)()
        matched = evaluation(truth, side.planned.key, task)
        return [
            matched.headline(weights.astype(np.float64))
            for weights in cluster_weights(truth.videos)
        ]
