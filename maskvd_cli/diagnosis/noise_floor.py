"""The noise floor: the same work measured twice, interleaved, as the latency pass does it."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.machine.stopwatch import Stopwatch, stopwatch_for
from maskvd_cli.methods.base import ClipView, Method
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.registry import baseline
from maskvd_cli.metrics.latency import BASELINE, CONTROL
from maskvd_cli.metrics.rounds import measure_latency
from maskvd_cli.metrics.statistics import Estimate, Spread, mean_ratio

MODEL, INPUT = "vitdet-ti", Size(192, 640)
_SEED = 0
# Rounds tell how sure a ratio is, so many short ones tell more than few long ones.
_FRAMES, _FEWEST_FRAMES, _FEWEST_ROUNDS = 4, 2, 2
# Those of the small detectors that come with maskvd.
_HEADS = HeadArch(classes=3, channels=48, hidden=256)
# A first frame that takes more than these parts of the time is slow, or too slow for two rounds.
_SLOW, _TOO_SLOW = 50, 5


@dataclass(frozen=True)
class NoiseFloor:
    """How far two measurements of the same work differ here.

    `ratio` of their mean times, with Student's t over rounds, which also sees noise that lasts
    longer than a frame; `spread` of one frame's time in ms; `floor` the largest distance of the
    interval from 1.
    """

    device: str
    ratio: Estimate
    spread: Spread
    rounds: int
    frames: int
    floor: float


def measure_noise(
    device: torch.device,
    seconds: float,
    *,
    watch: Stopwatch | None = None,
    on_round: Callable[[int], None] = lambda number: None,
    clock: Callable[[], float] = time.perf_counter,
) -> NoiseFloor:
    """Run a small detector under the baseline and its control for about `seconds`.

    Its weights are random. A busy machine can take seconds for a frame; so rounds are begun while
    there is time, at least two, and shorter ones where frames are slow. `on_round` is told how many
    are done. Raises UsageError where already the first frame takes too large a part of the time.
    """
    arch = get_arch(MODEL)
    detector = Detector(arch, _HEADS, INPUT, seed=_SEED)
    detector = detector.requires_grad_(False).eval().to(device)
    kind = baseline()
    series: dict[str, Method[Any]] = {
        name: kind(kind.params_type(), detector.backbone) for name in (BASELINE, CONTROL)
    }
    watch, clip = watch or stopwatch_for(device), _clip(arch.patch)
    began = clock()
    for _ in run_clip(detector, series[BASELINE], clip, 1):
        pass
    spent = clock() - began
    if spent > seconds / _TOO_SLOW:
        raise UsageError(
            f"one frame of {MODEL} at {INPUT} took {spent:.1f} s, so nothing can be measured now",
            remedy="end other work; if others must run: export OMP_NUM_THREADS=1",
        )
    frames = _FRAMES if spent < seconds / _SLOW else _FEWEST_FRAMES
    rounds: list[pd.DataFrame] = []
    while len(rounds) < _FEWEST_ROUNDS or clock() - began < seconds:
        # Every round warms up with a frame and draws an order of its own.
        number = len(rounds)
        measured = measure_latency(
            detector, series, [clip], watch, rounds=1, frames=frames, warmup=1, seed=number
        )
        rounds.append(measured.assign(round=number))
        on_round(number + 1)
    return _floor_of(pd.concat(rounds), device, len(rounds))


def _floor_of(samples: pd.DataFrame, device: torch.device, rounds: int) -> NoiseFloor:
    ordered = samples.sort_values(["round", "frame"])
    first, second = (ordered[ordered["series"] == name] for name in (BASELINE, CONTROL))
    times = first["total_ms"].to_numpy()
    ratio = mean_ratio(times, second["total_ms"].to_numpy(), rounds=first["round"])
    spread = Spread.of(times)
    assert ratio is not None and ratio.low is not None and ratio.high is not None
    assert spread is not None
    floor = max(abs(ratio.low - 1), abs(ratio.high - 1))
    return NoiseFloor(device.type, ratio, spread, rounds, len(times), floor)


def _clip(patch: int) -> ClipInput:
    """Return a clip of random pixels, the same every time."""
    generator = torch.Generator().manual_seed(_SEED)
    images = torch.randint(0, 256, (_FRAMES, 3, *INPUT), dtype=torch.uint8, generator=generator)
    return ClipInput("noise", list(images), ClipView(_FRAMES, INPUT, patch), INPUT, False)
