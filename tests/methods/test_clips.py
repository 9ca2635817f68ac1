"""The loop over frames: who is told what, what is off the clock, what a failing frame leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.machine.stopwatch import NoStopwatch
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, Selection
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.counting import MacWatch, backbone_macs
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.trace import TokenTrace

INPUT = Size(64, 128)


@pytest.fixture(scope="module")
def detector() -> Detector:
    made = Detector(get_arch("vitdet-ti"), HeadArch(classes=3, channels=16, hidden=32), INPUT)
    return made.requires_grad_(False).eval()


class Watched(ClipInput):
    """A clip that notes when its annotated boxes are looked up."""

    looked: list[int]
    running: list[bool]

    def objects(self, position: int) -> Tensor | None:
        assert not self.running, "annotations are read on the clock"
        self.looked.append(position)
        return super().objects(position)


class Clock(NoStopwatch):
    """Tells whether a frame is on the clock."""

    def __init__(self, running: list[bool]) -> None:
        self.running = running

    def start(self) -> None:
        self.running.append(True)

    def stop(self) -> dict[str, float]:
        self.running.clear()
        return {}

    def abandon(self) -> None:
        self.running.clear()


def clip(*, from_labels: bool = False) -> Watched:
    view = ClipView(
        3, INPUT, 16, torch.tensor([[0.0, 0, 40, 40]] * 3, dtype=torch.float64), torch.arange(3),
        torch.linspace(0, 1, 32, dtype=torch.float64),
    )  # fmt: skip
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 48, 128), dtype=torch.uint8, generator=drawn)
    made = Watched("c", list(images), view, Size(48, 128), from_labels)
    for name in ("looked", "running"):
        object.__setattr__(made, name, [])
    return made


class Curious(Dense):
    """Notes what it is told of each frame."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(DenseParams(), detector.backbone)
        self.told: list[FrameContext] = []

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        self.told.append(frame)
        return super().compute(tokens, frame, selection)


class Knowing(Curious):
    """A control that needs the truth."""

    needs_truth = True


def test_the_truth_is_for_those_who_need_it(detector: Detector) -> None:
    for kind, looked in ((Curious, []), (Knowing, [0, 1, 2])):
        method, frames = kind(detector), clip()
        list(run_clip(detector, method, frames, watch=Clock(frames.running)))
        assert frames.looked == looked
        assert all((frame.truth is not None) == (kind is Knowing) for frame in method.told)


def test_labels_are_looked_up_before_the_clock_starts(detector: Detector) -> None:
    method, frames = Curious(detector), clip(from_labels=True)
    list(run_clip(detector, method, frames, watch=Clock(frames.running)))
    assert frames.looked == [0, 1]
    assert [frame.boxes is not None for frame in method.told] == [False, True, True]
    assert all(frame.scores is None for frame in method.told)


class Failing(Eventful):
    """Fails while frame 1 runs, or after it, in the heads."""

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        features, trace = super().compute(tokens, frame, selection)
        return (features * torch.nan if frame.index else features), trace


def test_a_frame_that_fails_in_the_heads_leaves_no_state(detector: Detector) -> None:
    method, frames = Failing(EventfulParams(r=4), detector.backbone), clip()
    results = run_clip(detector, method, frames, watch=Clock(frames.running))
    next(results)
    assert method.state_bytes() > 0
    with pytest.raises(MaskvdError, match="region proposal network"):
        next(results)
    assert method.state_bytes() == 0
    assert not frames.running


def test_a_failing_frame_ends_its_count(detector: Detector) -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    method = Failing(EventfulParams(r=4), detector.backbone)
    with pytest.raises(MaskvdError, match="region proposal network"):
        list(run_clip(detector, method, clip(), watch=MacWatch()))
    assert not _get_current_dispatch_mode_stack()


PARAMS: dict[str, dict[str, Any]] = {
    "maskvd": {"period": 2, "static_keep_rate": 0.2}, "random": {"period": 2},
    "oracle": {"period": 2}, "eventful": {"r": 8}, "stgt": {"r": 8}, "dense": {},
    "dense-unpadded": {},
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMS)
def test_closed_forms_equal_what_is_counted_frame_by_frame(name: str, detector: Detector) -> None:
    kind = methods.load(name)
    method = kind(kind.params_type.model_validate(PARAMS[name]), detector.backbone)
    results = list(run_clip(detector, method, clip(from_labels=True), watch=MacWatch()))
    trace = TokenTrace.of([result.trace for result in results])
    macs = kind.macs(detector.arch, detector.grid, method.params, trace)
    assert macs is not None
    expected = torch.as_tensor(macs.matrix).expand(len(results)).tolist()
    assert [backbone_macs(result) for result in results] == expected
    for result in results:
        counted = result.times["embed_macs"] + result.times["head_macs"]
        assert counted == detector.around_macs(result.output, result.ran)


def test_a_trace_says_how_its_sets_are_read() -> None:
    sets = {"a": torch.tensor([0, 1]), "b": torch.tensor([1, 4])}
    trace = FrameTrace(2, False, {}, sets, {"a": 0.25, "b": 0.5}, lead=1)
    # A quarter of the layers sees all tokens; the first index is the class token's.
    share = trace.share(4)
    assert share is not None
    assert share.tolist() == [1.0, 0.25, 0.25, 0.75]
    assert trace.mask is None
    assert FrameTrace(1, False, {}, {"mask": sets["a"]}).mask is sets["a"]
    assert trace.without_sets().selected == {}
    assert FrameTrace(1, False).share(4) is None
