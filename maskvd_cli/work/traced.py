"""Run the model over clips for one point: outputs, and the tokens of every frame.

Nothing is counted while the model runs: the closed forms are evaluated on the traces afterwards.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.placement import Placement
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_costs import box_head_macs, embedding_macs, head_macs
from maskvd_cli.methods.base import ClipView, FrameTrace, Method, Params, TokenTrace
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.scenes.frames import ReadAhead
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.piece import OUTPUT, Piece
from maskvd_cli.store.runs import part_of
from maskvd_cli.tasks.base import Task
from maskvd_cli.work.counted import counted
from maskvd_cli.work.merge import AROUND, PROPOSALS
from maskvd_cli.work.plan import PointSpec


def traced_clips(
    spec: PointSpec, scene: Scene, task: Task, key: str, clips: tuple[int, int]
) -> Iterator[Piece]:
    """Run every frame of clips [first, last) once; yield the piece of each clip as it ends.

    The state of the method is dropped after each clip, so that points can go side by side. Raises
    MaskvdError where an image is missing or the method cannot run.
    """
    detector = scene.measured.detector(scene.geometry)
    method = spec.method(spec.params, detector.backbone)
    feed = scene.feed
    inputs = feed.clips(scene.views(with_scores=spec.needs_heatmap))
    for number in range(*clips):
        started = time.perf_counter()
        arrays, state = _traced(
            spec, scene, task, method, detector, inputs[number], feed.placements[number]
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
    detector: Detector,
    clip: ClipInput,
    placed: Placement,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the arrays of a clip and the most bytes that the method kept between its frames."""
    traces: list[FrameTrace] = []
    outputs: list[Any] = []
    real: list[float] = []
    state = 0
    with ReadAhead(clip.images) as images, _proposals(detector) as proposals:
        for result in run_clip(detector, method, replace(clip, images=images)):
            outputs.append(result.detections)
            real.append(_real_tokens(clip.view, result.trace))
            # Indices of all frames of a long clip would fill the device.
            traces.append(replace(result.trace, selected={}))
            state = max(state, method.state_bytes())
    made = counted(spec, scene, clip.view, TokenTrace.of(traces), np.array(real, dtype=np.float64))
    encoded = task.encode(outputs, placed, scene.measured.label_of)
    return {
        **made.arrays(),
        PROPOSALS: np.array(proposals, dtype=np.int64),
        AROUND: _around(scene, proposals),
        **{f"{OUTPUT}{name}": array for name, array in encoded.items()},
    }, state


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


def _around(scene: Scene, proposals: Sequence[int]) -> NDArray[np.float64]:
    """Return the MACs of everything but the backbone, at each frame's own proposals."""
    arch, grid, heads = scene.geometry.arch, scene.geometry.grid, scene.measured.heads
    fixed = embedding_macs(arch, grid) + head_macs(arch, heads, grid, 0)
    return fixed + box_head_macs(heads, 1) * np.array(proposals, dtype=np.float64)


def _real_tokens(view: ClipView, trace: FrameTrace) -> float:
    """Return the recomputed tokens that are not wholly padding; NaN where layers differ."""
    if view.real is None:
        return np.nan
    if trace.full:
        return float(view.real.sum())
    if set(trace.selected) == {"mask"}:
        return float(view.real[trace.selected["mask"].cpu()].sum())
    return np.nan
