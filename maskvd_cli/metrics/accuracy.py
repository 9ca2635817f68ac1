"""Accuracy: what the task scores, and how far the headline is from the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import dropped, sound_pieces
from maskvd_cli.metrics.statistics import CHANGE_ESTIMATOR, cluster_weights, paired_change
from maskvd_cli.store.piece import Piece
from maskvd_cli.tasks.quantities import change_of

if TYPE_CHECKING:
    from maskvd_cli.metrics.session import Outputs, Session
    from maskvd_cli.tasks.base import Evaluation, Task


class Accuracy(Metric):
    """Scores of the stored outputs; the change is of the headline, with videos left out in turn."""

    name = "accuracy"
    description = "what the task scores, from the outputs that the sweep stored of every frame"
    order: ClassVar[int] = 10
    estimator: ClassVar[int] = CHANGE_ESTIMATOR
    together: ClassVar[bool] = True
    from_outputs: ClassVar[bool] = True
    needs_truth: ClassVar[bool] = True
    details: ClassVar[Mapping[str, str]] = {
        "left_out": "the headline with each group of videos left out, in their order; "
        "`maskvd compare` needs it",
    }

    @classmethod
    def scored_by(cls, task: type[Task]) -> tuple[Quantity, ...]:
        """Return what points are scored by, first the one whose change is told."""
        return task.quantities

    @classmethod
    def evaluation(cls, outputs: Outputs, key: str) -> Evaluation | None:
        """Return the evaluation of a point, None where it has no outputs."""
        return outputs.evaluation(key)

    @classmethod
    def yields(cls, task: type[Task]) -> tuple[Quantity, ...]:
        """Return what points are scored by, and the change of the first of it."""
        scored = cls.scored_by(task)
        return (*scored, change_of(scored[0])) if scored else ()

    @classmethod
    def details_of(cls, task: type[Task]) -> Mapping[str, str]:
        """Return what the task's scores say, and what is left out."""
        return {**task.details, **cls.details}

    @classmethod
    def parts(cls, protocol: Mapping[str, Any], series: int) -> tuple[str, ...]:
        """Return a part for each point."""
        del protocol
        return tuple(f"scores-{number:05d}" for number in range(series))

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield a piece per point; its facts hold scores, details, and what videos left out do."""
        outputs = session.stored()
        parts = self.parts(protocol, len(session.series))
        beside = None if session.baseline is None else self._scored(outputs, session.baseline)
        for number, (key, part) in enumerate(zip(session.series, parts, strict=True)):
            if part in session.done or key in session.lost:
                continue
            session.on_talk(f"scoring {number + 1} of {len(session.series)}")
            try:
                is_baseline = key == session.baseline
                scored = beside if is_baseline else self._scored(outputs, key)
                if scored is not None:
                    facts = {**scored, "baseline": _headline(beside), "is_baseline": is_baseline}
                    yield Piece(key, part, facts=facts)
            except Exception as error:  # damaged outputs of one point must not cost the others
                yield dropped(key, part, error)

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return the scores, and the change where the baseline has outputs, too."""
        del protocol
        for piece in sound_pieces(keys, pieces):
            facts = piece.facts
            known = {name: value for name, value in facts["values"].items() if value is not None}
            values = {name: Estimate(value) for name, value in known.items()}
            if (change := _change(facts)) is not None:
                values[f"{facts['headline']}_change"] = change
            details = {**facts["details"], "left_out": facts["left_out"]}
            yield Finding(piece.key, values, details)

    def _scored(self, outputs: Outputs, key: str) -> dict[str, Any] | None:
        """Return what a point scores, None where it has no outputs."""
        evaluation = self.evaluation(outputs, key)
        if evaluation is None:
            return None
        scores = evaluation.scores()
        # Clips of one video are no independent samples, and are left out together.
        left_out = [evaluation.headline(weights) for weights in cluster_weights(outputs.clusters)]
        return {
            "headline": self.scored_by(type(outputs.task))[0].name,
            "values": dict(scores.values),
            "details": dict(scores.details),
            "left_out": left_out,
        }


def _headline(scored: dict[str, Any] | None) -> dict[str, Any] | None:
    if scored is None:
        return None
    return {"value": scored["values"][scored["headline"]], "left_out": scored["left_out"]}


def _change(facts: Mapping[str, Any]) -> Estimate | None:
    """Return the change of the headline in points; None without a baseline or a score."""
    beside, ours = facts["baseline"], facts["values"][facts["headline"]]
    if beside is None or ours is None or beside["value"] is None:
        return None
    if facts["is_baseline"]:
        return Estimate(0.0)
    return paired_change(ours - beside["value"], facts["left_out"], beside["left_out"])
