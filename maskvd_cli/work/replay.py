"""Replay clips for one point: which tokens it recomputes on every frame, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.costs import Tokens
from maskvd_cli.machine.threads import single_thread
from maskvd_cli.methods.base import ClipView, TokenTrace
from maskvd_cli.methods.fit import unplanned
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.schema import Metrics
from maskvd_cli.work.plan import PointSpec

GIGA = 1e9


@dataclass(frozen=True)
class Outcome:
    """What a point yields: metrics, one row of samples per frame, predictions where a model ran.

    `predictions`: `results` in COCO's format and `frames`, each with its `image_id` and `age`.
    """

    metrics: Metrics
    samples: pd.DataFrame
    predictions: dict[str, Any] | None = None


@dataclass(frozen=True)
class Counted:
    """What one clip recomputes, and what that costs, one entry per frame.

    `real` and `all_real` are the recomputed and all tokens that are not wholly padding, NaN where
    that is not known.
    """

    trace: TokenTrace
    real: NDArray[np.float64]
    all_real: NDArray[np.float64]
    matrix: NDArray[np.float64]
    published: NDArray[np.float64]


@single_thread()
def replay(task: PointSpec, scene: Scene) -> Outcome:
    """Plan frame by frame and evaluate the closed forms on it.

    Raises MaskvdError where the point cannot be planned from these clips.
    """
    views = scene.views(with_scores=task.needs_heatmap)
    # Clips that do not differ are one object, and are planned once.
    planned = {key: _planned(task, scene, view) for key, view in {id(v): v for v in views}.items()}
    clips = [planned[id(view)] for view in views]
    samples = samples_of(scene, clips)
    return Outcome(metrics_of(task, scene, clips, samples), samples)


def _planned(task: PointSpec, scene: Scene, view: ClipView) -> Counted:
    arch = scene.geometry.arch
    trace = task.method.plan(task.params, arch, view)
    if trace is None:
        raise UsageError(
            unplanned(task.method, arch) or f"{task.method.name} cannot be planned",
            remedy="give a model to run (model.weights)",
        )
    real = np.full(view.frames, np.nan)
    if view.real is not None and trace.kept is not None:
        real = (trace.kept & view.real).sum(1).numpy().astype(np.float64)
    return counted(task, scene, view, trace, real)


def counted(  # noqa: PLR0913, PLR0917 - the point, the clip, and what was seen of it
    task: PointSpec,
    scene: Scene,
    view: ClipView,
    trace: TokenTrace,
    real: NDArray[np.float64],
    executed: NDArray[np.float64] | None = None,
) -> Counted:
    """Evaluate the closed forms on a clip's trace; `real` as in `Counted`.

    `executed` (frames,): MACs that were counted while the model ran, which stand where the method
    has no closed form; the published counter is then not known, NaN. Raises UsageError without.
    """
    macs = task.method.macs(scene.geometry.arch, scene.geometry.grid, task.params, trace)
    known = np.nan if view.real is None else float(view.real.sum())
    all_real = np.full(view.frames, known)
    if macs is not None:
        matrix = _each(macs.matrix, view.frames)
        return Counted(trace, real, all_real, matrix, _each(macs.published, view.frames))
    if executed is None:
        reason = unplanned(task.method, scene.geometry.arch)
        raise UsageError(
            reason or f"{task.method.name} told no cost",
            remedy="give a model to run (model.weights)",
        )
    return Counted(trace, real, all_real, executed, np.full(view.frames, np.nan))


def _each(costs: Tokens, frames: int) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(costs, dtype=np.float64), frames)


def samples_of(scene: Scene, clips: Sequence[Counted]) -> pd.DataFrame:
    """Return a row per frame; `count_...` are what the method's closed forms need besides."""
    named = scene.source.frames()
    samples = pd.DataFrame(
        {
            "clip": np.repeat([name for name, _ in named], [len(frames) for _, frames in named]),
            "frame": np.concatenate([np.asarray(frames) for _, frames in named]),
            "tokens": np.concatenate([clip.trace.tokens for clip in clips]),
            "real_tokens": np.concatenate([clip.real for clip in clips]),
            "all_real_tokens": np.concatenate([clip.all_real for clip in clips]),
            "is_full": np.concatenate([clip.trace.full for clip in clips]),
        }
    )
    for name in clips[0].trace.counts:
        samples[f"count_{name}"] = np.concatenate([clip.trace.counts[name] for clip in clips])
    return samples.astype({"real_tokens": "Int64", "all_real_tokens": "Int64"})


def metrics_of(
    task: PointSpec, scene: Scene, clips: Sequence[Counted], samples: pd.DataFrame
) -> Metrics:
    """Return the means over all frames; state in closed form, detector at the most proposals."""
    arch, grid = scene.geometry.arch, scene.geometry.grid
    gmacs = float(np.concatenate([clip.matrix for clip in clips]).mean()) / GIGA
    published = float(np.concatenate([clip.published for clip in clips]).mean()) / GIGA
    around = scene.around_macs()
    state = task.method.planned_state_bytes(arch, grid, task.params)
    curve = cost_curve(task, scene)
    mean = float(samples["tokens"].mean())
    real, all_real = samples["real_tokens"], samples["all_real_tokens"]
    return Metrics(
        clips=len(clips),
        frames=len(samples),
        tokens=mean,
        keep_rate=mean / grid.area,
        keep_rate_real=None if real.isna().any() else float(real.sum() / all_real.sum()),
        full_frame_share=float(samples["is_full"].mean()),
        gmacs=gmacs,
        gmacs_published=None if np.isnan(published) else published,
        gmacs_detector=None if around is None else gmacs + around / GIGA,
        gmacs_published_at_mean_tokens=(
            None if curve is None else curve[0] + curve[1] * mean + curve[2] * mean**2
        ),
        cost_curve=curve,
        state_bytes=0 if state is None else state,
    )


def cost_curve(task: PointSpec, scene: Scene) -> tuple[float, float, float] | None:
    """Return c0, c1, c2 of the published counter, GMACs = c0 + c1 n + c2 n^2 for n kept tokens.

    The closed forms are quadratic in n, so three whole-number evaluations determine them; None
    where more than n decides.
    """
    arch, grid = scene.geometry.arch, scene.geometry.grid
    at = [task.method.published_at(arch, grid, task.params, tokens) for tokens in (0, 1, 2)]
    none, one, two = at
    if none is None or one is None or two is None:
        return None
    twice_quadratic = two - 2 * one + none
    linear = one - none - twice_quadratic / 2
    return none / GIGA, linear / GIGA, twice_quadratic / 2 / GIGA
