"""Run a method over the frames of a clip: the one loop that all passes share."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import BACKBONE, HEAD, Model
from maskvd_cli.machine.stopwatch import NoStopwatch, Stopwatch
from maskvd_cli.methods.base import ClipView, FrameContext, FrameTrace, Method, Stages
from maskvd_cli.methods.stages import SELECTION
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.registry import tasks


@dataclass(frozen=True)
class ClipInput:
    """A clip as the model sees it.

    `images`: per frame (3, content rows, content cols) uint8, read when asked for; `view` holds the
    annotated boxes in input pixels and the region scores. `from_labels`: the annotated boxes of the
    frame before stand for the detector's. `clip_boxes`: outputs are cut at the frame's border.
    """

    name: str
    images: Sequence[Tensor]
    view: ClipView
    content: Size
    from_labels: bool
    clip_boxes: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def objects(self, position: int) -> Tensor | None:
        """Return the annotated boxes (m, 4) of a frame, in input pixels."""
        return self.view.objects(position)

    def context(
        self, position: int, boxes: Tensor | None, scores: Tensor | None, truth: Tensor | None
    ) -> FrameContext:
        """Return what a method may know of a frame beside the clip; None: it may not."""
        view = self.view
        return FrameContext(
            position,
            view.input,
            self.content,
            view.patch,
            boxes,
            scores,
            view.region_scores,
            truth,
        )


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave: its output on the CPU, the trace, its times, and the parts that ran.

    A detector's output is in input pixels. `ran`: which of `embed` and `head` the method called.
    """

    output: Any
    trace: FrameTrace
    times: dict[str, float]
    ran: frozenset[str] = frozenset()


@torch.inference_mode()
def run_frame(  # noqa: PLR0913, PLR0917 - who runs, what, after what, and timed by whom
    model: Model,
    method: Method[Any],
    clip: ClipInput,
    position: int,
    before: Any | None,
    watch: Stopwatch,
    task: Task,
) -> FrameResult:
    """Run one frame from its decoded and resized image to its output on the CPU.

    `before`: the output of the frame before; `task`: the model's, which tells what the next frame
    may know of it. Everything that the method needs lies between start
    and stop of the watch; decoding, resizing and reading annotations do not. A frame that fails
    resets the method.
    """
    image = clip.images[position]
    truth = clip.objects(position) if method.needs_truth else None
    labelled = clip.objects(position - 1) if position and clip.from_labels else None
    stages = Stages(model, watch, before)
    try:
        watch.start()
        boxes = scores = None
        if clip.from_labels:
            boxes = labelled
        elif position and before is not None:
            hints = task.hints(before)
            boxes, scores = (None, None) if hints is None else (hints.boxes, hints.scores)
        frame = clip.context(position, boxes, scores, truth)
        watch.lap(SELECTION)
        output = method.run([image], frame, stages)
        if HEAD not in stages.ran:
            watch.lap(BACKBONE)
        times = watch.stop()
    except BaseException:
        watch.abandon()
        method.reset()
        raise
    if clip.clip_boxes:
        output = task.cut(output, clip.content)
    assert method.trace is not None, f"{method.name} left no trace of frame {position}"
    return FrameResult(output, method.trace, times, frozenset(stages.ran))


def run_clip(
    model: Model,
    method: Method[Any],
    clip: ClipInput,
    frames: int | None = None,
    watch: Stopwatch | None = None,
) -> Iterator[FrameResult]:
    """Reset the method and run the first `frames` of a clip, all of them by default."""
    watch, task = watch or NoStopwatch(), tasks.load(model.task)()
    method.reset()
    before: Any | None = None
    for position in range(min(frames or len(clip), len(clip))):
        result = run_frame(model, method, clip, position, before, watch, task)
        before = result.output
        yield result
