"""Run the detector over all clips for one point: predictions, and the tokens of every frame.

Nothing is counted while the model runs: the closed forms are evaluated on the traces afterwards.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.methods.base import ClipView, FrameTrace, TokenTrace
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.counting import around_macs, backbone_macs, watch_of
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
    detector = model.model(scene.geometry)
    method = task.method(task.params, detector.backbone)
    # Operations are counted where no closed form tells them; nothing is timed here.
    watch = watch_of(task.method, detector)
    around: list[float] = []
    feed = scene.feed
    clips: list[Counted] = []
    proposals: list[int | None] = []
    results: list[dict[str, Any]] = []
    frames: list[dict[str, int]] = []
    state_bytes = 0
    inputs = feed.clips(scene.views(with_scores=task.needs_heatmap))
    for clip, placed in zip(inputs, feed.placements, strict=True):
        traces: list[FrameTrace] = []
        executed: list[float | None] = []
        for result in run_clip(detector, method, clip, watch=watch):
            image = len(frames) + len(traces) + 1
            results += prediction_rows(image, result.output, placed, model.label_of)
            traces.append(result.trace)
            proposals.append(result.output.proposals)
            around.append(around_macs(result, detector))
            executed.append(backbone_macs(result))
            state_bytes = max(state_bytes, method.state_bytes())
        stale = ages([made.full for made in traces])
        frames += [{"image_id": len(frames) + i + 1, "age": age} for i, age in enumerate(stale)]
        clips.append(_counted(task, scene, clip, traces, executed))
    method.reset()
    samples = samples_of(scene, clips)
    samples["proposals"] = pd.array(proposals, dtype="Int64")
    metrics = metrics_of(task, scene, clips, samples)
    changed = {
        "state_bytes": state_bytes,
        "gmacs_detector": metrics.gmacs + float(np.mean(around)) / GIGA,
    }
    return Outcome(
        metrics.model_copy(update=changed), samples, {"frames": frames, "results": results}
    )


def _counted(
    task: PointSpec,
    scene: Scene,
    clip: ClipInput,
    traces: Sequence[FrameTrace],
    executed: Sequence[float | None],
) -> Counted:
    made, real = TokenTrace.of(traces), _real_tokens(clip.view, traces)
    macs = None if None in executed else np.array(executed, dtype=np.float64)
    return counted(task, scene, clip.view, made, real, macs)


def _real_tokens(view: ClipView, traces: Sequence[FrameTrace]) -> NDArray[np.float64]:
    """Return the recomputed tokens that are not wholly padding; NaN where layers differ."""
    unknown = np.full(len(traces), np.nan)
    if view.real is None:
        return unknown
    for position, made in enumerate(traces):
        if made.full:
            unknown[position] = float(view.real.sum())
        elif made.mask is not None:
            unknown[position] = float(view.real[made.mask.cpu()].sum())
    return unknown
