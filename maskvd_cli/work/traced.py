"""Run the model over clips for one point: outputs, and the tokens of every frame.

Closed forms are evaluated on the traces afterwards; where there is none, operations are counted
while the model runs. Nothing is timed here.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement
from maskvd_cli.families.base import Model
from maskvd_cli.families.blocks.traits import TOKENS
from maskvd_cli.methods.base import ClipView, FrameTrace, Method, Params, TokenTrace
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.counting import around_macs, backbone_macs, watch_of
from maskvd_cli.methods.registry import baseline
from maskvd_cli.scenes.frames import ReadAhead
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.piece import KEPT, OUTPUT, WHOLE, Piece
from maskvd_cli.store.runs import part_of
from maskvd_cli.tasks.base import Task
from maskvd_cli.work.counted import counted
from maskvd_cli.work.merge import AROUND, PROPOSALS
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.selectivity import FeatureScores, Foreground, selectivity_arrays


def traced_clips(
    spec: PointSpec, scene: Scene, task: Task, key: str, clips: tuple[int, int]
) -> Iterator[Piece]:
    """Run every frame of clips [first, last) once; yield the piece of each clip as it ends.

    The state of the method is dropped after each clip, so that points can go side by side. Raises
    MaskvdError where an image is missing or the method cannot run.
    """
    model = scene.measured.model(scene.geometry)
    method = spec.method(spec.params, model.backbone)
    feed = scene.feed
    inputs = feed.clips(scene.views(with_scores=spec.needs_heatmap))
    for number in range(*clips):
        started = time.perf_counter()
        arrays, state = _traced(
            spec, scene, task, method, model, inputs[number], feed.placements[number]
        )
        method.reset()
        facts = {
            "clip": inputs[number].name,
            "state_bytes": state,
            "seconds": time.perf_counter() - started,
        }
        yield Piece(key, part_of(number), arrays, facts)


def _traced(  # noqa: PLR0913, PLR0917 - the point, the model, and one clip
    spec: PointSpec,
    scene: Scene,
    task: Task,
    method: Method[Params],
    model: Model,
    clip: ClipInput,
    placed: Placement,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the arrays of a clip and the most bytes that the method kept between its frames."""
    traces: list[FrameTrace] = []
    outputs: list[Any] = []
    real: list[float] = []
    around: list[float] = []
    executed: list[float | None] = []
    foreground, told = Foreground(clip.view), list[dict[int, float]]()
    kept: list[NDArray[np.float64] | None] = []
    scored = _features(spec, task, model, clip.view)
    state, watch = 0, watch_of(spec.method, model)
    with ReadAhead(clip.images) as images, scored or nullcontext():
        for result in run_clip(model, method, replace(clip, images=images), watch=watch):
            outputs.append(result.output)
            around.append(around_macs(result, model))
            executed.append(backbone_macs(result))
            real.append(_real_tokens(clip.view, result.trace))
            features = scored.taken() if scored else None
            told.append(foreground.of(len(told), result.trace, features))
            kept.append(result.trace.share(clip.view.tokens))
            # Indices of all frames of a long clip would fill the device.
            traces.append(result.trace.without_sets())
            state = max(state, method.state_bytes())
    macs = None if None in executed else np.array(executed, dtype=np.float64)
    trace, seen = TokenTrace.of(traces), np.array(real, dtype=np.float64)
    counts = counted(spec, scene, clip.view, trace, seen, macs)
    encoded = task.encode(outputs, placed, scene.measured.label_of)
    return {
        **counts.arrays(),
        PROPOSALS: np.array([_proposals(output) for output in outputs], dtype=np.int64),
        AROUND: np.array(around, dtype=np.float64),
        **selectivity_arrays(told),
        **_kept(kept),
        **{f"{OUTPUT}{name}": array for name, array in encoded.items()},
    }, state


def _kept(shares: Sequence[NDArray[np.float64] | None]) -> dict[str, NDArray[np.uint8]]:
    """Return the kept sets of a clip as `KEPT`; nothing where a frame does not tell its tokens."""
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return {}
    return {KEPT: np.rint(np.stack(known) * WHOLE).astype(np.uint8)}


def _features(spec: PointSpec, task: Task, model: Model, view: ClipView) -> FeatureScores | None:
    """Return what scores the features of the baseline's blocks, for tasks with objects."""
    if spec.method is not baseline() or not task.has_boxes or TOKENS not in model.backbone.arch.has:
        return None
    return FeatureScores(model.backbone, view.real)


def _proposals(output: Any) -> int:
    """Return how many boxes the last stage got; -1 where an output does not tell."""
    proposals: int | None = getattr(output, "proposals", None)
    return -1 if proposals is None else proposals


def _real_tokens(view: ClipView, trace: FrameTrace) -> float:
    """Return the recomputed tokens that are not wholly padding; NaN where layers differ."""
    if view.real is None:
        return np.nan
    if trace.full:
        return float(view.real.sum())
    if trace.mask is not None:
        return float(view.real[trace.mask.cpu()].sum())
    return np.nan
