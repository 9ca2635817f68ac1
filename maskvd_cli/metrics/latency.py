"""Latency: points interleaved in rounds over the same frames, nothing else running beside."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.machine.stopwatch import Stopwatch
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.clips import ClipInput, run_clip

BASELINE, CONTROL = "dense", "control"


def measure_latency(  # noqa: PLR0913 - the parts of the protocol
    detector: Detector,
    series: Mapping[str, Method[Params]],
    clips: Sequence[ClipInput],
    watch: Stopwatch,
    *,
    rounds: int,
    frames: int,
    warmup: int,
    seed: int,
    on_round: Callable[[int], None] = lambda number: None,
) -> pd.DataFrame:
    """Return one row per series, round and frame: `is_full`, the parts' and the total `_ms`.

    Every series runs `warmup` frames first, which holds a full and a masked one. Each round takes
    the next clip and lets every series run its first frames, in an order drawn from `seed`. What a
    method selects ahead counts as `mask`; gates and drops choose between the layers, and their
    choice is part of the backbone's time.
    """
    for method in series.values():
        for _ in run_clip(detector, method, clips[0], warmup, watch):
            pass
    rows: list[dict[str, Any]] = []
    drawn = random.Random(seed)
    with _small_heap():
        for number in range(rounds):
            clip = clips[number % len(clips)]
            for name in drawn.sample(sorted(series), len(series)):
                measured = _quiet_run(detector, series[name], clip, frames, watch)
                where = {"series": name, "round": number, "clip": clip.name}
                rows += [{**where, "frame": i, **row} for i, row in enumerate(measured)]
                # What a method keeps of a clip must not weigh on the next one.
                series[name].reset()
            on_round(number + 1)
    return pd.DataFrame(rows)


@contextmanager
def _small_heap() -> Generator[None]:
    """Let collections look at new objects alone; of all that is loaded they take long."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _quiet_run(
    detector: Detector, method: Method[Params], clip: ClipInput, frames: int, watch: Stopwatch
) -> list[dict[str, Any]]:
    """Run the frames of one series without the garbage collector stepping in."""
    # Images are read ahead, so that reading does not empty caches between frames.
    for position in range(min(frames, len(clip))):
        _ = clip.images[position]
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        results = run_clip(detector, method, clip, frames, watch)
        return [{"is_full": result.trace.full, **result.times} for result in results]
    finally:
        if was_on:
            gc.enable()
