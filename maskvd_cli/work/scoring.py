"""Score stored outputs anew: the same numbers right after a run and ever after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.registry import every_metric
from maskvd_cli.metrics.session import FAILURE, Session
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.records import DamagedResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint
from maskvd_cli.work.plan import protocol_of
from maskvd_cli.work.sessions import no_method, stored_outputs


def scored(
    run: Run, metric: type[Metric], keys: Sequence[str], baseline: str | None
) -> Iterator[Finding]:
    """Yield what a metric that stands on outputs says of points, from the run's files alone.

    Points of one `baseline`, None where its outputs are not there. Raises ResultError for outputs
    or a truth that are missing or damaged.
    """
    measure = run.plan().measure or {}
    known = metric.name in measure.get("metrics", ())
    given = protocol_of(measure, metric.name) if known else metric.section().model_dump()
    protocol = {**given, "baseline": baseline}
    chosen, series = metric(), dict.fromkeys(keys, no_method)
    session = Session(series, baseline=baseline, outputs=stored_outputs(run))
    pieces = [_sound(piece, run) for piece in chosen.run(session, protocol)]
    yield from chosen.summarise(keys, pieces, protocol)


def scoring_metrics(plan: Plan) -> list[type[Metric]]:
    """Return the metrics that stand on stored outputs: those of a plan, and the usual ones."""
    named = (plan.measure or {}).get("metrics", ())
    usual = (metric for metric in every_metric() if metric.by_default or metric.name in named)
    return [metric for metric in usual if metric.from_outputs]


def _sound(piece: Piece, run: Run) -> Piece:
    """Return the piece. Raises DamagedResultError where it says why a point was not scored."""
    failure: dict[str, Any] | None = piece.facts.get(FAILURE)
    if failure is None:
        return piece
    if "traceback" not in failure:  # told in its own line, with the file
        raise DamagedResultError(failure["message"])
    raise DamagedResultError(
        f"{piece.key} cannot be scored ({failure['kind']}: {failure['message']})",
        where=run.folder,
        remedy="remove the point's file and sweep again",
    )


def baseline_key(plan: Plan, point: PlannedPoint) -> str | None:
    """Return the key of the baseline on the point's model and input; None: the plan has none."""
    for other in plan.points:
        method = plan.methods.get(other.method)
        beside = (other.model, other.input) == (point.model, point.input)
        if beside and method is not None and method.is_baseline(other.params):
            return other.key
    return None


def scorable(run: Run, plan: Plan) -> list[PlannedPoint]:
    """Return the points that have outputs."""
    return [point for point in plan.points if run.has_predictions(point.key)]
