"""Run the detector over all clips for one point: predictions, and the tokens of every frame.

Nothing is counted while the model runs: the closed forms are evaluated on the traces afterwards.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_costs import box_head_macs, embedding_macs, head_macs
from maskvd_cli.methods.base import ClipView, FrameTrace, TokenTrace
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.tasks.ages import ages
from maskvd_cli.tasks.coco import prediction_rows
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.replay import GIGA, Counted, Outcome, counted, metrics_of, samples_of


def trace(task: PointSpec, scene: Scene) -> Outcome:
    """Run every frame of the scene's clips once.

    Raises MaskvdError where an image is missing or the method cannot run.
    """
    model = scene.measured
    detector = model.detector(scene.geometry)
    method = task.method(task.params, detector.backbone)
    feed = scene.feed
    clips: list[Counted] = []
    proposals: list[NDArray[np.int64]] = []
    results: list[dict[str, Any]] = []
    frames: list[dict[str, int]] = []
    state_bytes = 0
    inputs = feed.clips(scene.views(with_scores=task.needs_heatmap))
    for clip, placed in zip(inputs, feed.placements, strict=True):
        traces: list[FrameTrace] = []
        with _proposals(detector) as counts:
            for result in run_clip(detector, method, clip):
                image = len(frames) + len(traces) + 1
                results += prediction_rows(image, result.detections, placed, model.label_of)
                traces.append(result.trace)
                state_bytes = max(state_bytes, method.state_bytes())
        stale = ages([made.full for made in traces])
        frames += [{"image_id": len(frames) + i + 1, "age": age} for i, age in enumerate(stale)]
        clips.append(_counted(task, scene, clip, traces))
        proposals.append(np.array(counts, dtype=np.int64))
    method.reset()
    samples = samples_of(scene, clips)
    found = np.concatenate(proposals)
    samples["proposals"] = found
    metrics = metrics_of(task, scene, clips, samples)
    changed = {"state_bytes": state_bytes, "gmacs_detector": metrics.gmacs + _around(scene, found)}
    return Outcome(
        metrics.model_copy(update=changed), samples, {"frames": frames, "results": results}
    )


@contextmanager
def _proposals(detector: Detector) -> Generator[list[int]]:
    """Note how many boxes the box head gets on each frame."""
    counts: list[int] = []

    def note(module: object, inputs: tuple[object, Sequence[Tensor]]) -> None:
        counts.append(len(inputs[1][0]))

    handle = detector.box_head.register_forward_pre_hook(note)
    try:
        yield counts
    finally:
        handle.remove()


def _around(scene: Scene, proposals: NDArray[np.int64]) -> float:
    """Return the mean GMACs of everything but the backbone, at each frame's own proposals."""
    arch, grid, heads = scene.geometry.arch, scene.geometry.grid, scene.measured.heads
    fixed = embedding_macs(arch, grid) + head_macs(arch, heads, grid, 0)
    return (fixed + box_head_macs(heads, 1) * float(proposals.mean())) / GIGA


def _counted(
    task: PointSpec, scene: Scene, clip: ClipInput, traces: Sequence[FrameTrace]
) -> Counted:
    made = TokenTrace.of(traces)
    return counted(task, scene, clip.view, made, _real_tokens(clip.view, traces))


def _real_tokens(view: ClipView, traces: Sequence[FrameTrace]) -> NDArray[np.float64]:
    """Return the recomputed tokens that are not wholly padding; NaN where layers differ."""
    unknown = np.full(len(traces), np.nan)
    if view.real is None:
        return unknown
    for position, made in enumerate(traces):
        if made.full:
            unknown[position] = float(view.real.sum())
        elif set(made.selected) == {"mask"}:
            unknown[position] = float(view.real[made.selected["mask"].cpu()].sum())
    return unknown
