"""The rounds of a latency session: every point over the same frames, in an order that is drawn."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.machine import device as devices
from maskvd_cli.machine.disturbance import Disturbances
from maskvd_cli.machine.failures import DEVICE_LOST, failure_of, let_go
from maskvd_cli.machine.standstill import Standstill
from maskvd_cli.machine.stopwatch import PARTS, Stopwatch, stopwatch_for
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.metrics.latency import BASELINE, CONTROL

if TYPE_CHECKING:
    from maskvd_cli.families.base import Model
    from maskvd_cli.metrics.session import Session

# A round in which the process stood still is run again, so often at most.
_TRIES = 3
_DTYPES = {"series": np.int16, "frame": np.int32, "is_full": np.bool_}

Rows = list[dict[str, Any]]


class Rounds:
    """Methods by the names of their series, and which of them still take part.

    A series that raises is dropped and heard of through `lost_now`; the others go on.
    """

    def __init__(  # noqa: PLR0913 - what runs, over what, how long, timed and drawn by what
        self,
        model: Model,
        series: Mapping[str, Callable[[], Method[Params]]],
        clips: Sequence[ClipInput],
        watch: Stopwatch,
        *,
        frames: int,
        seed: int,
        disturbances: Disturbances | None = None,
    ) -> None:
        self._model, self._clips, self._watch = model, clips, watch
        self._frames = frames
        self._names = sorted(series)
        self._drawn = random.Random(seed)
        self._disturbances = disturbances or Disturbances()
        self._still = Standstill()
        self._since: int | None = None
        self._lost: list[tuple[str, Exception]] = []
        self._lost_by: str | None = None
        self._notes: list[str] = []
        self._methods: dict[str, Method[Params]] = {}
        for name, make in series.items():
            with self._dropping(name):
                self._methods[name] = make()

    @classmethod
    def of(cls, session: Session, protocol: Mapping[str, Any]) -> Rounds:
        """Return the rounds of a session: baseline and control by these names, others by key."""
        baseline, device = session.baseline, session.device
        assert baseline is not None and device is not None
        series = {name: session.series[baseline] for name in (BASELINE, CONTROL)}
        others = (key for key in session.series if key != baseline and key not in session.lost)
        series |= {key: session.series[key] for key in others}
        return cls(
            session.model,
            series,
            session.clips,
            stopwatch_for(device),
            frames=int(protocol["frames"]),
            seed=int(protocol["seed"]),
            disturbances=Disturbances(lambda: devices.gpu_reasons(device)),
        )

    @contextmanager
    def _dropping(self, name: str) -> Generator[None]:
        """Drop a series where the block raises."""
        try:
            yield
        except Exception as error:  # a bug in one method must not cost the other points
            let_go(error)
            self._methods.pop(name, None)
            self._lost.append((name, error))
            if failure_of(error).kind == DEVICE_LOST:
                self._lost_by = name
                self._methods.clear()

    def lost_now(self) -> Iterator[tuple[str, Exception]]:
        """Yield the series that were dropped since this was asked last, and why."""
        while self._lost:
            yield self._lost.pop(0)

    def goes_on(self) -> bool:
        """Tell whether the baseline and its control still run.

        Raises ResultError where a series left a device on which no other can run.
        """
        if self._lost_by is not None:
            raise ResultError(
                f"{self._lost_by} left the device unusable for all that were timed beside it",
                remedy="leave it out of the recipe",
            )
        return BASELINE in self._methods and CONTROL in self._methods

    def warm_up(self, frames: int) -> None:
        """Let every series run the first frames of the first clip, full and masked ones."""
        for name in list(self._methods):
            if name not in self._methods:  # the device was lost
                return
            with self._dropping(name):
                for _ in run_clip(
                    self._model, self._methods[name], self._clips[0], frames, self._watch
                ):
                    pass

    def order(self) -> list[str]:
        """Draw the order of the next round; also of one that is done, so that orders stay."""
        return self._drawn.sample(self._names, len(self._names))

    def run(
        self, number: int, order: Sequence[str]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Run a round; return its samples as arrays, and facts. Repeated after a standstill."""
        clip = self._clips[number % len(self._clips)]
        rows: Rows = []
        repeated = 0
        for attempt in range(_TRIES):
            self._still.begin()
            with _small_heap(), self._still.listening():
                rows = self._once(clip, order)
            repeated = attempt
            if not self._still.stood:
                break
        if repeated or self._still.stood:
            end = "was measured again" if not self._still.stood else "could not be measured well"
            self._notes.append(f"the process stood still in round {number + 1}, which {end}")
        self._disturbances.sample()
        self._since = number if self._since is None else self._since
        facts = {
            "round": number,
            "clip": clip.name,
            "series": self._names,
            "since": self._since,
            "repeated": repeated,
            "disturbances": [*self._disturbances.found(), *self._notes],
        }
        return self._arrays(rows), facts

    def _once(self, clip: ClipInput, order: Sequence[str]) -> Rows:
        rows: Rows = []
        for name in order:
            if name not in self._methods:
                continue
            with self._dropping(name):
                method = self._methods[name]
                measured = self._quiet_run(method, clip)
                where = self._names.index(name)
                rows += [{"series": where, "frame": i, **row} for i, row in enumerate(measured)]
                # What a method keeps of a clip must not weigh on the next one.
                method.reset()
        return rows

    def _quiet_run(self, method: Method[Params], clip: ClipInput) -> Rows:
        """Run the frames of one series without the garbage collector stepping in."""
        # Images are read ahead, so that reading does not empty caches between frames.
        for position in range(min(self._frames, len(clip))):
            _ = clip.images[position]
        gc.collect()
        was_on = gc.isenabled()
        gc.disable()
        rows: Rows = []
        self._still.skip()
        try:
            for result in run_clip(self._model, method, clip, self._frames, self._watch):
                self._still.mark()
                rows.append({"is_full": result.trace.full, **result.times})
        finally:
            if was_on:
                gc.enable()
        return rows

    def _arrays(self, rows: Rows) -> dict[str, NDArray[Any]]:
        alive = {self._names.index(name) for name in self._methods}
        kept = [row for row in rows if row["series"] in alive]
        names = ("series", "frame", "is_full", *(f"{part}_ms" for part in (*PARTS, "total")))
        return {
            name: np.array([row[name] for row in kept], dtype=_DTYPES.get(name, np.float64))
            for name in names
        }


def measure_latency(  # noqa: PLR0913 - the parts of the protocol
    detector: Model,
    series: Mapping[str, Method[Params]],
    clips: Sequence[ClipInput],
    watch: Stopwatch,
    *,
    rounds: int,
    frames: int,
    warmup: int,
    seed: int,
) -> pd.DataFrame:
    """Return one row per series, round and frame: `is_full`, the parts' and the total `_ms`.

    Every series runs `warmup` frames first, which holds a full and a masked one. Each round takes
    the next clip and lets every series run its first frames, in an order drawn from `seed`.
    Raises what the first series raised that did.
    """
    makers = {name: (lambda method=method: method) for name, method in series.items()}
    made = Rounds(detector, makers, clips, watch, frames=frames, seed=seed)
    made.warm_up(warmup)
    tables: list[pd.DataFrame] = []
    for number in range(rounds):
        arrays, facts = made.run(number, made.order())
        for _, error in made.lost_now():
            raise error
        table = pd.DataFrame(arrays)
        table["series"] = np.array(facts["series"], dtype=object)[table["series"]]
        tables.append(table.assign(round=number, clip=facts["clip"]))
    return pd.concat(tables, ignore_index=True)


@contextmanager
def _small_heap() -> Generator[None]:
    """Let collections look at new objects alone; of all that is loaded they take long."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
