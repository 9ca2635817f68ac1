"""Measured passes over the points that ran: accuracy, memory, latency, each by itself.

Each pass writes one file per point. Points whose file is there are not measured again, so a pass
that was killed goes on; latency begins a new session with the points that are missing, and runs
dense in it anew, since only what was measured side by side is compared.
"""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from maskvd_cli import __version__
from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.machine.device import gpu_reasons
from maskvd_cli.machine.disturbance import Disturbances
from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.machine.stopwatch import PARTS, stopwatch_for
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.metrics.energy import measure_energy, open_meter
from maskvd_cli.metrics.latency import BASELINE, CONTROL, measure_latency
from maskvd_cli.metrics.memory import measure_memory
from maskvd_cli.metrics.statistics import Estimate, Spread, mean_ratio, stratum_weights
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.measured import (
    PASSES,
    Energy,
    Latency,
    MeasuredRecord,
    Memory,
    PassName,
    StoredEstimate,
    StoredSpread,
)
from maskvd_cli.store.runs import NewerResultError, Run, utc_now
from maskvd_cli.store.schema import Failure, Plan, PlannedPoint
from maskvd_cli.work.plan import PointSpec, baseline_at
from maskvd_cli.work.scoring import Scorer, baseline_key

OnMeasured = Callable[[MeasuredRecord], None]
_TRACEBACK_CHARS = 4096


@dataclass(frozen=True)
class Item:
    """A point that ran, with all that is needed to run it again."""

    point: PlannedPoint
    task: PointSpec
    scene: Scene


@dataclass
class Passes:
    """The measured passes of a run. `earlier`: runs whose results may be taken over."""

    run: Run
    plan: Plan
    earlier: Sequence[Run]
    environment: dict[str, Any]
    retry_failed: bool = False
    on_measured: OnMeasured = lambda record: None
    on_talk: Callable[[str], None] = lambda text: None
    ran: list[MeasuredRecord] = field(default_factory=list[MeasuredRecord])

    def measure(self, items: Sequence[Item]) -> list[MeasuredRecord]:
        """Run what is missing of every pass of the plan; return what was measured now."""
        measure = self.plan.measure or {}
        for of in PASSES:
            if of not in measure.get("metrics", ()):
                continue
            protocol: dict[str, Any] = measure[of]
            if of == "accuracy":
                self._accuracy(items, protocol)
                continue
            missing = [item for item in items if not self._present(of, item, protocol)]
            for scene in dict.fromkeys(item.scene for item in missing):
                group = [item for item in missing if item.scene is scene]
                run_pass = {"memory": self._memory, "energy": self._energy}.get(of, self._latency)
                run_pass(scene, group, protocol)
        return self.ran

    def are_done(self, items: Sequence[Item]) -> bool:
        """Tell whether every pass of the plan is there; with `earlier` empty nothing is written."""
        measure = self.plan.measure or {}
        for of in measure.get("metrics", ()):
            protocol: dict[str, Any] = measure[of]
            for item in items:
                used = self._used(item, protocol) if of == "accuracy" else protocol
                if not self._present(of, item, used):
                    return False
        return True

    def _used(self, item: Item, protocol: dict[str, Any]) -> dict[str, Any]:
        """Return the protocol of the accuracy pass with the dense that a point is compared with."""
        baseline = baseline_key(self.plan, item.point)
        if baseline is not None and not self.run.has_predictions(baseline):
            baseline = None
        return {**protocol, "baseline": baseline}

    def _present(self, of: PassName, item: Item, protocol: dict[str, Any]) -> bool:
        """Tell whether a pass is done with a point, here or, taken over, in an earlier run."""
        key = item.point.key
        for source in (self.run, *self.earlier):
            try:
                record = source.measured(of, key)
            except NewerResultError:
                if source is self.run:
                    raise
                continue
            except ResultError:
                continue
            if record is None or record.protocol != protocol:
                continue
            if source is not self.run and record.status == "ok":
                try:
                    self.run.adopt_measured(record, source)
                except ResultError:  # without its raw samples it is measured anew
                    continue
            elif source is not self.run or (record.status == "failed" and self.retry_failed):
                continue
            self.on_measured(record)
            return True
        return False

    def _accuracy(self, items: Sequence[Item], protocol: dict[str, Any]) -> None:
        scorer: Scorer = Scorer(self.run)
        for item in items:
            key = item.point.key
            used = self._used(item, protocol)
            baseline: str | None = used["baseline"]
            if self._present("accuracy", item, used):
                continue
            self.on_talk(f"scoring {item.point.label}")
            self._attempt(
                "accuracy", key, used,
                lambda key=key, baseline=baseline: {"accuracy": scorer.accuracy(key, baseline)},
            )  # fmt: skip

    def _memory(self, scene: Scene, group: Sequence[Item], protocol: dict[str, Any]) -> None:
        clips = _clips(scene, group)
        for item in group:
            self.on_talk(f"memory of {item.point.label}")
            self._attempt(
                "memory", item.point.key, protocol,
                lambda item=item: {"memory": _peak(item, clips[0], int(protocol["frames"]))},
            )  # fmt: skip

    def _energy(self, scene: Scene, group: Sequence[Item], protocol: dict[str, Any]) -> None:
        clips = _clips(scene, group)
        for item in group:
            self.on_talk(f"energy of {item.point.label}")
            self._attempt(
                "energy", item.point.key, protocol,
                lambda item=item: {"energy": _energy_of(item, clips, protocol)},
            )  # fmt: skip

    def _latency(self, scene: Scene, group: Sequence[Item], protocol: dict[str, Any]) -> None:
        """Measure the points side by side with dense and its control; a new session."""
        clips = _clips(scene, group)
        detector = scene.measured.detector(scene.geometry)
        dense = baseline_at(group[0].task.site, scene.geometry.arch)
        series = {name: _method(dense, scene) for name in (BASELINE, CONTROL)}
        runnable: dict[str, Item] = {}
        for item in group:
            made = _method(item.task, scene)
            failure = _fails(lambda made=made: _try_out(scene, made, clips[0]))
            if failure is not None:
                self._write("latency", item.point.key, protocol, {}, failure)
                continue
            runnable[item.point.key] = item
            if item.task != dense:
                series[item.point.key] = made
        samples: list[pd.DataFrame] = []
        device = scene.measured.device
        watched = Disturbances(lambda: gpu_reasons(device))
        chosen = {name: int(protocol[name]) for name in ("rounds", "frames", "warmup", "seed")}

        def on_round(done: int) -> None:
            watched.sample()
            self.on_talk(f"latency, round {done} of {chosen['rounds']}")

        def measure() -> None:
            samples.append(
                measure_latency(
                    detector, series, clips, stopwatch_for(device), on_round=on_round, **chosen
                )
            )

        self.on_talk("latency, warming up")
        failure = _fails(measure) if runnable else None
        session, disturbed = secrets.token_hex(6), watched.found()
        if samples:
            self.run.write_session(session, samples[0])
        for key, item in runnable.items():
            name = BASELINE if item.task == dense else key
            share = self._full_share(key)
            found: dict[str, Any] = {}
            if samples:
                latency = latency_of(samples[0], name, session, share)
                found = {"latency": latency.model_copy(update={"disturbances": disturbed})}
            self._write("latency", key, protocol, found, failure)

    def _full_share(self, key: str) -> float | None:
        """Return the share of full frames in all of the data, as the point counted them."""
        record = self.run.point(key)
        return record.metrics.full_frame_share if record and record.metrics else None

    def _attempt(
        self,
        of: PassName,
        key: str,
        protocol: dict[str, Any],
        work: Callable[[], dict[str, Any]],
    ) -> None:
        found: dict[str, Any] = {}
        failure = _fails(lambda: found.update(work()))
        self._write(of, key, protocol, found, failure)

    def _write(
        self,
        of: PassName,
        key: str,
        protocol: dict[str, Any],
        found: dict[str, Any],
        failure: Failure | None,
    ) -> None:
        record = MeasuredRecord(
            key=key, of=of, status="failed" if failure else "ok", protocol=protocol,
            environment=self.environment, failure=failure, finished=utc_now(),
            tool_version=__version__, **({} if failure else found),
        )  # fmt: skip
        self.run.write_measured(record)
        self.ran.append(record)
        self.on_measured(record)


def latency_of(
    samples: pd.DataFrame,
    series: str,
    session: str,
    full_share: float | None = None,
) -> Latency:
    """Summarise one series of a session beside its dense and control.

    `full_share`: of full frames in all of the data, for what stands for all of it. Where a kind of
    frame was not timed, there is no speed-up and nothing expected of all of the data.
    """

    def of(name: str) -> pd.DataFrame:
        return samples[samples["series"] == name].sort_values(["round", "frame"])

    def total(name: str) -> Any:
        return of(name)["total_ms"].to_numpy()

    own = of(series)
    full = own["is_full"].to_numpy()
    parts = {part: _spread(own[f"{part}_ms"]) for part in ("total", *PARTS)}
    speedup: StoredEstimate | None = StoredEstimate(value=1.0, low=None, high=None)
    # Without weights nothing here stands for all of the data: a kind of frame was not timed.
    weights = stratum_weights(full, full_share)
    if series != BASELINE:
        speedup = _stored(
            mean_ratio(
                total(BASELINE), total(series),
                rounds=own["round"], full=full, full_share=full_share,
            )
        )  # fmt: skip
    control = mean_ratio(total(BASELINE), total(CONTROL), rounds=of(CONTROL)["round"])
    return Latency(
        session=session,
        parts={part: spread for part, spread in parts.items() if spread is not None},
        full=_spread(own.loc[own["is_full"], "total_ms"]),
        masked=_spread(own.loc[~own["is_full"], "total_ms"]),
        expected_ms=None if weights is None else float(weights @ total(series)),
        expected_parts_ms={}
        if weights is None
        else {part: float(weights @ own[f"{part}_ms"].to_numpy()) for part in PARTS},
        speedup=speedup,
        control=_stored(control),
    )


def _stored(estimate: Estimate | None) -> StoredEstimate | None:
    return None if estimate is None else StoredEstimate(**asdict(estimate))


def _spread(samples: pd.Series[float]) -> StoredSpread | None:
    made = Spread.of(samples.to_numpy())
    return None if made is None else StoredSpread(**asdict(made))


def _clips(scene: Scene, group: Sequence[Item]) -> list[ClipInput]:
    needed = any(item.task.needs_heatmap for item in group)
    return scene.feed.clips(scene.views(with_scores=needed))


def _method(task: PointSpec, scene: Scene) -> Method[Params]:
    return task.method(task.params, scene.measured.detector(scene.geometry).backbone)


def _try_out(scene: Scene, method: Method[Params], clip: ClipInput) -> None:
    """Run two frames, so that a point that cannot run does not end the session of all others."""
    for _ in run_clip(scene.measured.detector(scene.geometry), method, clip, 2):
        pass
    method.reset()


def _peak(item: Item, clip: ClipInput, frames: int) -> Memory:
    detector = item.scene.measured.detector(item.scene.geometry)
    found = measure_memory(detector, lambda: _method(item.task, item.scene), clip, frames)
    return Memory(**asdict(found))


def _energy_of(item: Item, clips: Sequence[ClipInput], protocol: dict[str, Any]) -> Energy:
    scene = item.scene
    found = measure_energy(
        scene.measured.detector(scene.geometry), _method(item.task, scene), clips,
        open_meter(scene.measured.device),
        frames=int(protocol["frames"]), seconds=float(protocol["seconds"]),
    )  # fmt: skip
    return Energy(**asdict(found))


def _fails(work: Callable[[], object]) -> Failure | None:
    """Do the work and return why it failed, None where it did not."""
    try:
        work()
    except MaskvdError as error:
        return Failure(kind=type(error).__name__, message=str(error))
    except Exception as error:  # a bug in one method must not cost the other points
        trace = tidy_path(traceback.format_exc())[-_TRACEBACK_CHARS:]
        return Failure(kind=type(error).__name__, message=str(error), traceback=trace)
    return None
