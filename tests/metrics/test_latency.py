"""The stopwatch and the latency pass under fake clocks, and what must be off while they run."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.machine.stopwatch import ClockStopwatch
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, Method, Params, Selection
from maskvd_cli.methods.clips import ClipInput
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.metrics.peaks import bytes_held, highest, measure_memory
from maskvd_cli.metrics.rounds import measure_latency

INPUT = Size(64, 128)


class FakeClock:
    """Nanoseconds that pass only where told."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, milliseconds: float) -> None:
        self.now += int(milliseconds * 1e6)


@pytest.fixture(scope="module")
def detector() -> Detector:
    made = Detector(get_arch("vitdet-ti"), HeadArch(classes=3, channels=16, hidden=32), INPUT)
    return made.requires_grad_(False).eval()


def clips(frames: int = 5, count: int = 2) -> list[ClipInput]:
    view = ClipView(
        frames, INPUT, 16, torch.tensor([[0.0, 0, 40, 40]] * frames, dtype=torch.float64),
        torch.arange(frames), torch.linspace(0, 1, 32, dtype=torch.float64),
    )  # fmt: skip
    images = [torch.full((3, 48, 128), 9 * i, dtype=torch.uint8) for i in range(frames)]
    return [ClipInput(f"c{n}", images, view, Size(48, 128), True) for n in range(count)]


class Slow(Method[Params]):
    """Takes told times to choose and to compute; every second frame is full."""

    name = "slow"
    log: list[str]

    def __init__(self, detector: Detector, clock: FakeClock, label: str, log: list[str]) -> None:
        super().__init__(Params(), detector.backbone)
        self.clock, self.label, self.log = clock, label, log

    def forget(self) -> None:
        self.log.append(f"{self.label} reset")

    def select(self, frame: FrameContext) -> None:
        self.clock.pass_ms(2)

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        assert not _get_current_dispatch_mode_stack(), "something counts while time is taken"
        assert not getattr(torch.autograd, "_profiler_enabled")()  # noqa: B009
        assert torch.is_inference_mode_enabled()
        self.log.append(f"{self.label} {frame.index}")
        self.clock.pass_ms(1)
        self.clock.pass_ms(10 if frame.index % 2 == 0 else 4)
        return tokens, FrameTrace(32, full=frame.index % 2 == 0)

    def state(self) -> Iterable[Tensor]:
        return ()

    plan = macs = planned_state_bytes = classmethod(lambda cls, *args: None)  # type: ignore[assignment]


def test_laps_add_up_to_the_total() -> None:
    clock = FakeClock()
    watch = ClockStopwatch(clock)
    watch.start()
    for part, spent in (("mask", 1), ("embed", 2), ("mask", 4), ("backbone", 8), ("head", 16)):
        clock.pass_ms(spent)
        watch.lap(part)
    clock.pass_ms(100)
    assert watch.stop() == {
        "mask_ms": 5, "embed_ms": 2, "backbone_ms": 8, "head_ms": 16, "total_ms": 31,
    }  # fmt: skip


def run(detector: Detector, log: list[str], **changes: Any) -> Any:
    clock = FakeClock()
    series = {name: Slow(detector, clock, name, log) for name in ("dense", "control", "x")}
    protocol = {"rounds": 3, "frames": 4, "warmup": 2, "seed": 0, **changes}
    return measure_latency(detector, series, clips(), ClockStopwatch(clock), **protocol)


def test_the_pass_times_choice_and_backbone_apart(detector: Detector) -> None:
    samples = run(detector, [])
    assert set(samples["series"]) == {"dense", "control", "x"}
    assert len(samples) == 3 * 3 * 4
    assert set(samples["mask_ms"]) == {2}
    assert set(samples.loc[samples["is_full"], "backbone_ms"]) == {11}
    assert set(samples.loc[~samples["is_full"], "backbone_ms"]) == {5}
    parts = samples[["mask_ms", "embed_ms", "backbone_ms", "head_ms"]].sum(axis=1)
    assert parts.tolist() == samples["total_ms"].tolist()


def test_series_interleave_in_rounds_over_the_same_frames(detector: Detector) -> None:
    log: list[str] = []
    samples = run(detector, log)
    steps = [entry.split()[0] for entry in log if not entry.endswith("reset")]
    warmup, rounds = steps[:6], steps[6:]
    assert sorted(warmup) == sorted(["dense", "control", "x"] * 2)
    for number in range(3):
        blocks = rounds[12 * number : 12 * number + 12]
        assert sorted(blocks[::4]) == ["control", "dense", "x"]
        assert blocks[0::4] == blocks[3::4]
    assert samples.groupby("round")["clip"].agg(["nunique", "first"]).values.tolist() == [
        [1, "c0"], [1, "c1"], [1, "c0"],
    ]  # fmt: skip


def test_the_order_within_rounds_is_drawn_from_the_seed(detector: Detector) -> None:
    def order(seed: int) -> list[str]:
        return run(detector, [], rounds=4, frames=1, seed=seed)["series"].tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_warm_up_holds_full_and_masked_frames(detector: Detector) -> None:
    log: list[str] = []
    run(detector, log)
    assert log[:3] == ["dense reset", "dense 0", "dense 1"]


@pytest.mark.parametrize("breaks", [False, True])
def test_no_collection_runs_in_timed_frames_and_the_collector_is_as_before_afterwards(
    detector: Detector, breaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, collecting = Slow.compute, list[bool]()

    def watched(
        self: Slow, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        collecting.append(gc.isenabled())
        if breaks and len(collecting) > 6:
            raise ZeroDivisionError
        return compute(self, tokens, frame, selection)

    monkeypatch.setattr(Slow, "compute", watched)
    before = gc.isenabled(), gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError) if breaks else nullcontext():
        run(detector, [])
    warmup = 6
    assert all(collecting[:warmup])
    assert collecting[warmup:]
    assert not any(collecting[warmup:])
    assert (gc.isenabled(), gc.get_freeze_count()) == before


def test_a_choice_ahead_is_timed_in_real_methods(detector: Detector) -> None:
    params = MaskVDParams(period=4, static_keep_rate=0.3)
    series: dict[str, Any] = {
        "dense": Dense(DenseParams(), detector.backbone),
        "m": MaskVD(params, detector.backbone),
    }
    samples = measure_latency(
        detector, series, clips(), ClockStopwatch(), rounds=1, frames=5, warmup=2, seed=0
    )
    masked = samples[(samples["series"] == "m") & ~samples["is_full"]]
    dense = samples[samples["series"] == "dense"]
    assert len(masked) == 3
    assert masked["mask_ms"].median() > dense["mask_ms"].median()
    assert samples["total_ms"].min() > 0


def test_highest_running_sum() -> None:
    assert highest([]) == 0
    assert highest([5, -3, 4, -6, 2]) == 6
    assert highest([-5, 2]) == 0


class Hoarder(Dense):
    """Dense that allocates a known number of bytes while it computes, and keeps some."""

    held: Tensor | None = None

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        big = torch.empty(64 << 20, dtype=torch.uint8)
        big.fill_(1)
        self.held = torch.empty(1 << 20, dtype=torch.uint8)
        del big
        return super().compute(tokens, frame, selection)

    def state(self) -> Iterable[Tensor]:
        return () if self.held is None else (self.held,)


def test_peak_on_the_cpu_sees_what_is_allocated_and_freed(detector: Detector) -> None:
    clip = clips()[0]

    def made_as(kind: type[Dense]) -> Any:
        return kind(DenseParams(), detector.backbone)

    plain = measure_memory(detector, lambda: made_as(Dense), clip, 3)
    hoard = measure_memory(detector, lambda: made_as(Hoarder), clip, 3)
    assert plain.measured_by == "cpu-allocations"
    assert plain.frames == 3
    assert plain.peak_mib > bytes_held(detector) / 2**20
    # The large tensor is alive beside the weights, but not beside the heads' activations.
    assert 64 <= hoard.peak_mib - bytes_held(detector) / 2**20 < 68
    assert (plain.state_bytes, hoard.state_bytes) == (0, 1 << 20)


def test_held_bytes_count_a_shared_storage_once() -> None:
    layer = torch.nn.Linear(10, 10, bias=False)
    both = torch.nn.ModuleList([layer, torch.nn.Linear(10, 10, bias=False)])
    both[1].weight = layer.weight
    assert bytes_held(both) == 400
