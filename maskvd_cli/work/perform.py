"""Perform a unit of work: the one place that knows how, whichever executor asks."""

from __future__ import annotations

from collections.abc import Iterator

from maskvd_cli.machine.failures import failure_of
from maskvd_cli.store.piece import Piece
from maskvd_cli.work.prepare import Sweep
from maskvd_cli.work.replay import planned_clips
from maskvd_cli.work.sessions import perform_session
from maskvd_cli.work.traced import traced_clips
from maskvd_cli.work.unit import PLAN, TRACE, Lost, OnTalk, OpenSweep, Unit


def perform(
    unit: Unit, open_sweep: OpenSweep, on_talk: OnTalk = lambda text: None
) -> Iterator[Piece | Lost]:
    """Yield each piece of a unit as it ends, and a `Lost` where one could not be made."""
    try:
        yield from _pieces(unit, open_sweep(unit.recipe), on_talk)
        return
    except Exception as error:  # a bug in one method must not cost the other points
        failure = failure_of(error)
    # Outside of the block, so that nobody holds the error while others run.
    yield Lost(failure)


def _pieces(unit: Unit, sweep: Sweep, on_talk: OnTalk) -> Iterator[Piece]:
    if unit.what not in (TRACE, PLAN):
        yield from perform_session(unit, sweep, on_talk)
        return
    key = unit.keys[0]
    spec, scene = sweep.at(key)
    if unit.what == PLAN:
        yield from planned_clips(spec, scene, key, unit.clips)
    else:
        clips = unit.clips or (0, len(scene.source.frames()))
        yield from traced_clips(spec, scene, sweep.task, key, clips)
