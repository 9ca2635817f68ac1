"""The records of a session that has ended: the values of each point, or why it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.errors import ResultError
from maskvd_cli.machine.failures import failure_of
from maskvd_cli.metrics.base import Finding
from maskvd_cli.metrics.session import FAILURE
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run, utc_now
from maskvd_cli.store.schema import Failure
from maskvd_cli.work.unit import Lost
from maskvd_cli.work.wanted import Wanted

_NOTHING = Failure(kind="Incomplete", message="the metric has no values of this point")


@dataclass(frozen=True)
class Ended:
    """A session of the points `keys`: its pieces, and `lost`, what could not be performed."""

    name: str
    wanted: Wanted
    keys: Sequence[str]
    pieces: Sequence[Piece]
    lost: Sequence[Lost]


def concluded(ended: Ended, run: Run, environment: Mapping[str, Any]) -> list[MeasuredRecord]:
    """Store the raw samples and return the records, which are not written yet."""
    failures = _failures(ended)
    findings: dict[str, Finding] = {}
    if None not in failures:
        try:
            findings = _findings(ended, run)
        except ResultError:
            raise
        except Exception as error:  # a bug in one metric must not cost the others
            failures[None] = failure_of(error)
    records: list[MeasuredRecord] = []
    for key in ended.keys:
        finding = None if key in failures or None in failures else findings.get(key)
        reason = _reason(failures, key, ended.wanted.baseline)
        records.append(_record(ended.wanted, key, environment, finding, reason))
    return records


def _findings(ended: Ended, run: Run) -> dict[str, Finding]:
    """Return what the metric says of each point, and store its raw samples where it has some."""
    metric = ended.wanted.metric()
    summary = metric.summarise(ended.keys, ended.pieces, ended.wanted.protocol)
    findings = {finding.key: finding for finding in summary}
    samples = metric.samples(ended.pieces)
    if samples is None or not len(samples):
        return findings
    run.write_session(ended.name, samples, metric.name)
    return {
        key: Finding(key, found.values, {**found.details, "session": ended.name})
        for key, found in findings.items()
    }


def _failures(ended: Ended) -> dict[str | None, Failure]:
    """Return why points have no values, by key; under None, why the whole session has none."""
    dropped: dict[str | None, Failure] = {
        piece.key: Failure(**piece.facts[FAILURE])
        for piece in ended.pieces
        if FAILURE in piece.facts
    }
    return dropped | {each.key: each.failure for each in ended.lost}


def _reason(failures: Mapping[str | None, Failure], key: str, baseline: str | None) -> Failure:
    """Return why a point has no values, where it has none."""
    own = failures.get(key) or failures.get(None)
    if own is None and baseline in failures:
        beside = failures[baseline]
        return beside.model_copy(update={"message": f"the baseline failed: {beside.message}"})
    return own or _NOTHING


def _record(
    wanted: Wanted,
    key: str,
    environment: Mapping[str, Any],
    finding: Finding | None,
    reason: Failure,
) -> MeasuredRecord:
    def record(**outcome: Any) -> MeasuredRecord:
        return MeasuredRecord(
            key=key,
            of=wanted.metric.name,
            protocol=dict(wanted.protocol),
            estimator=wanted.metric.estimator,
            conditions=dict(wanted.conditions),
            environment=dict(environment),
            finished=utc_now(),
            tool_version=__version__,
            **outcome,
        )

    def failed(why: Failure) -> MeasuredRecord:
        return record(status="failed", values={}, details={}, failure=why)

    if finding is None:
        return failed(reason)
    try:
        values = {name: StoredEstimate(**asdict(value)) for name, value in finding.values.items()}
        return record(status="ok", values=values, details=dict(finding.details))
    except ValueError as error:  # values that no file may hold, such as NaN
        return failed(failure_of(error))
