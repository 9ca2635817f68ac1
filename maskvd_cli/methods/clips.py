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

# Of one image; the frames of a step have one more.
_DIMENSIONS = 3


@dataclass(frozen=True)
class ClipInput:
    """A clip as the model sees it.

    `images`: per frame (3, content rows, content cols) uint8, read when asked for, with one axis
    more in front where a model takes several frames at a time; `view` holds the
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
    past: Sequence[Any],
    watch: Stopwatch,
    task: Task,
) -> FrameResult:
    """Run one frame from its decoded and resized image to its output on the CPU.

    `past`: outputs of the frames before, the last one at least, all where the model concludes;
    then the output of a clip's last frame is what `Model.conclude` says. `task`: the model's, which
    tells what the next frame may know of the last one. Everything that the method needs lies
    between start and stop of the watch; decoding, resizing and reading annotations do not. A frame
    that fails resets the method.
    """
    image = clip.images[position]
    images = [image] if image.dim() == _DIMENSIONS else list(image)
    before = past[-1] if past else None
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
        output = method.run(images, frame, stages)
        if model.concludes and position == len(clip) - 1:
            output = stages.conclude([*past, output])
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
    past: list[Any] = []
    for position in range(min(frames or len(clip), len(clip))):
        result = run_frame(model, method, clip, position, past, watch, task)
        past = [*past, result.output] if model.concludes else [result.output]
        yield result
