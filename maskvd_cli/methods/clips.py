"""Run a method over the frames of a clip: the one loop that all passes share."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.machine.stopwatch import NoStopwatch, Stopwatch
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, Method, Params
from maskvd_cli.tasks.detections import Detections


@dataclass(frozen=True)
class ClipInput:
    """A clip as the model sees it.

    `images`: per frame (3, content rows, content cols) uint8, read when asked for; `view` holds the
    annotated boxes in input pixels and the region scores. `from_labels`: the annotated boxes of the
    frame before stand for the detector's.
    """

    name: str
    images: Sequence[Tensor]
    view: ClipView
    content: Size
    from_labels: bool

    def __len__(self) -> int:
        return len(self.images)

    def objects(self, position: int) -> Tensor | None:
        """Return the annotated boxes (m, 4) of a frame, in input pixels."""
        if self.view.boxes is None or self.view.frame_of is None:
            return None
        return self.view.boxes[self.view.frame_of == position]

    def context(self, position: int, before: Detections | None) -> FrameContext:
        """Return what a method may know of a frame; `before`: detections of the frame before."""
        boxes = scores = None
        if position and self.from_labels:
            boxes = self.objects(position - 1)
        elif position and before is not None:
            boxes, scores = before.xyxy, before.scores
        return FrameContext(
            position, self.view.input, self.content, self.view.patch, boxes, scores,
            self.view.region_scores, self.objects(position),
        )  # fmt: skip


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave: detections on the CPU in input pixels, the trace, and its times."""

    detections: Detections
    trace: FrameTrace
    times: dict[str, float]


@torch.inference_mode()
def run_frame(  # noqa: PLR0913, PLR0917 - who runs, what, after what, and timed by whom
    detector: Detector,
    method: Method[Params],
    clip: ClipInput,
    position: int,
    before: Detections | None,
    watch: Stopwatch,
) -> FrameResult:
    """Run one frame from its decoded and resized image to detections on the CPU.

    Everything that the method needs lies between start and stop of the watch; decoding, resizing
    and reading annotations do not.
    """
    image = clip.images[position]
    labelled = clip.context(position, None) if clip.from_labels else None
    watch.start()
    context = labelled or clip.context(position, before)
    watch.lap("mask")
    tokens = detector.embed([image])
    watch.lap("embed")
    features = method.step(tokens, context)
    watch.lap("backbone")
    found = detector.detect(features)[0].to("cpu")
    watch.lap("head")
    times = watch.stop()
    assert method.trace is not None
    return FrameResult(found, method.trace, times)


def run_clip(
    detector: Detector,
    method: Method[Params],
    clip: ClipInput,
    frames: int | None = None,
    watch: Stopwatch | None = None,
) -> Iterator[FrameResult]:
    """Reset the method and run the first `frames` of a clip, all of them by default."""
    watch = watch or NoStopwatch()
    method.reset()
    before: Detections | None = None
    for position in range(min(frames or len(clip), len(clip))):
        result = run_frame(detector, method, clip, position, before, watch)
        before = result.detections
        yield result
