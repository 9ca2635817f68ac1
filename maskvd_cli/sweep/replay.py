"""Replay annotations for one point: which tokens it recomputes on every frame, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.core.types import Clip
from maskvd_cli.measure.threads import single_thread
from maskvd_cli.methods.base import ClipView
from maskvd_cli.store.schema import Metrics
from maskvd_cli.sweep.plan import Task
from maskvd_cli.sweep.scene import Scene

GIGA = 1e9


@dataclass(frozen=True)
class Outcome:
    """What a replayed point yields: metrics, and one row of samples per frame."""

    metrics: Metrics
    samples: pd.DataFrame


@single_thread()
def replay(task: Task, scene: Scene) -> Outcome:
    """Count tokens frame by frame and evaluate the closed forms on them.

    Raises MaskvdError where the point cannot be planned from these annotations.
    """
    views = scene.views(with_scores=task.needs_heatmap)
    samples = pd.concat(
        [_samples(task, clip, view) for clip, view in zip(scene.clips, views, strict=True)],
        ignore_index=True,
    )
    return Outcome(_metrics(task, scene, samples, views), samples)


def _samples(task: Task, clip: Clip, view: ClipView) -> pd.DataFrame:
    kept = task.method.select(task.params, view)
    tokens = kept.sum(1)
    return pd.DataFrame(
        {
            "clip": clip.name,
            "frame": [frame.index for frame in clip.frames],
            "tokens": tokens.numpy(),
            "real_tokens": (kept & view.real).sum(1).numpy(),
            "all_real_tokens": int(view.real.sum()),
            "is_full": (tokens == view.tokens).numpy(),
        }
    )


def _metrics(task: Task, scene: Scene, samples: pd.DataFrame, views: Sequence[ClipView]) -> Metrics:
    arch, grid = scene.geometry.arch, scene.geometry.grid
    tokens: NDArray[np.int64] = samples["tokens"].to_numpy(dtype=np.int64)
    macs = task.method.macs(arch, grid, task.params, tokens)
    curve = cost_curve(task, scene)
    mean = float(tokens.mean())
    real = samples["real_tokens"].sum() / samples["all_real_tokens"].sum()
    return Metrics(
        clips=len(views),
        frames=len(samples),
        tokens=mean,
        keep_rate=mean / grid.area,
        keep_rate_real=float(real),
        full_frame_share=float(samples["is_full"].mean()),
        gmacs=float(np.mean(macs.matrix)) / GIGA,
        gmacs_published=float(np.mean(macs.published)) / GIGA,
        gmacs_published_at_mean_tokens=curve[0] + curve[1] * mean + curve[2] * mean**2,
        cost_curve=curve,
        state_bytes=task.method.state_bytes(arch, grid, task.params),
    )


def cost_curve(task: Task, scene: Scene) -> tuple[float, float, float]:
    """Return c0, c1, c2 of the published counter, GMACs = c0 + c1 n + c2 n^2 for n kept tokens.

    All closed forms are quadratic in n, so three whole-number evaluations determine them.
    """
    arch, grid = scene.geometry.arch, scene.geometry.grid
    at = [int(task.method.macs(arch, grid, task.params, n).published) for n in (0, 1, 2)]
    twice_quadratic = at[2] - 2 * at[1] + at[0]
    linear = at[1] - at[0] - twice_quadratic / 2
    return at[0] / GIGA, linear / GIGA, twice_quadratic / 2 / GIGA
