"""Points that need not run: what a run holds already, and what earlier runs of its recipe hold."""

from __future__ import annotations

from collections.abc import Sequence

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.runs import NewerResultError, Run
from maskvd_cli.store.schema import PointRecord
from maskvd_cli.work.prepare import Sweep


def kept_points(
    sweep: Sweep, run: Run, earlier: Sequence[Run], *, retry_failed: bool
) -> list[PointRecord]:
    """Return the points that need not run; take over what earlier runs have."""
    kept: list[PointRecord] = []
    for point in sweep.points:
        # What failed may have failed for damage that no time of a file tells.
        record = stored_point(run, point.key, sweep, read_all=retry_failed)
        record = record or _adopted(run, earlier, point.key, sweep)
        if record is not None and not (retry_failed and record.status == "failed"):
            kept.append(record)
        else:
            for other in earlier:
                run.adopt_pieces(point.key, other)
    return kept


def stored_point(run: Run, key: str, sweep: Sweep, *, read_all: bool = False) -> PointRecord | None:
    """Return a point's record; None where it must run: damaged, or without samples or outputs.

    `read_all`: whether pieces are read that nobody has written to since. Raises NewerResultError
    for a file that this version must not replace.
    """
    try:
        record = run.point(key)
    except NewerResultError:
        raise
    except ResultError:
        return None
    if record is None or record.failure:
        return record
    complete = run.has_samples(key) and (not sweep.predicts or run.has_predictions(key))
    return record if complete and run.is_whole(record, read_all=read_all) else None


def _adopted(run: Run, earlier: Sequence[Run], key: str, sweep: Sweep) -> PointRecord | None:
    """Copy a point that an earlier run finished into `run`; None where none did."""
    for other in earlier:
        try:
            record = stored_point(other, key, sweep)
        except NewerResultError:
            continue
        if record is not None and record.status == "ok":
            run.adopt(record, other)
            return record
    return None
