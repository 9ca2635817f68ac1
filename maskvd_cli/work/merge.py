"""Pieces of a point to its metrics and samples: a pure function, in the order of clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.layers import SELECTIVITY
from maskvd_cli.store.piece import KEPT, OUTPUT, Piece
from maskvd_cli.store.schema import Metrics
from maskvd_cli.work.counted import COUNT
from maskvd_cli.work.plan import PointSpec

GIGA, TERA = 1e9, 1e12
# Arrays of traced pieces: MACs of all but the backbone, and boxes that the last stage gets.
AROUND, PROPOSALS = "around", "proposals"


@dataclass(frozen=True)
class MergedPoint:
    """What a point yields: metrics, one row of samples per frame, and the seconds it took."""

    metrics: Metrics
    samples: pd.DataFrame
    seconds: float = 0.0


def merged(spec: PointSpec, scene: Scene, pieces: Iterable[Piece]) -> MergedPoint:
    """Join the pieces of all clips, in the order of clips; outputs stay in the pieces.

    Raises ValueError where pieces are not those of the scene's clips.
    """
    clips: list[dict[str, NDArray[Any]]] = []
    state: list[int] = []
    seconds = 0.0
    for piece in pieces:
        clips.append(
            {
                name: array
                for name, array in piece.arrays.items()
                if name != KEPT and not name.startswith(OUTPUT)
            }
        )
        seconds += float(piece.facts.get("seconds", 0.0))
        if "state_bytes" in piece.facts:
            state.append(int(piece.facts["state_bytes"]))
    _check(scene, clips)
    joined = {
        name: np.concatenate([clip[name] for clip in clips])
        for name in clips[0]
        # Pieces of an earlier maskvd tell it of fewer points.
        if not name.startswith(SELECTIVITY) or all(name in clip for clip in clips)
    }
    samples = _samples(scene, joined)
    metrics = _metrics(spec, scene, len(clips), joined, samples)
    if state:
        metrics = metrics.model_copy(update={"state_bytes": max(state)})
    return MergedPoint(metrics, samples, seconds)


def _check(scene: Scene, clips: Sequence[dict[str, NDArray[Any]]]) -> None:
    named = scene.source.frames()
    lengths = [len(frames) for _, frames in named]
    if [len(clip["tokens"]) for clip in clips] != lengths:
        raise ValueError("the pieces are not those of the clips")


def _samples(scene: Scene, joined: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """Return a row per frame; `count_...` are what the method's closed forms need besides.

    `selectivity_...`: how well scores of blocks tell objects apart, as `store.layers` reads.
    """
    named = scene.source.frames()
    columns: dict[str, Any] = {
        "clip": np.repeat([name for name, _ in named], [len(frames) for _, frames in named]),
        "frame": np.concatenate([np.asarray(frames) for _, frames in named]),
        "tokens": joined["tokens"],
        "real_tokens": joined["real_tokens"],
        "all_real_tokens": joined["all_real_tokens"],
        "is_full": joined["is_full"],
    }
    for name, values in joined.items():
        if name.startswith(COUNT):
            columns[f"count_{name.removeprefix(COUNT)}"] = values
        if name.startswith(SELECTIVITY):
            # Where there is none the file has no number, in place of NaN.
            columns[name] = pd.array(values, dtype="Float64")
    if PROPOSALS in joined:
        proposals = joined[PROPOSALS]
        columns["proposals"] = pd.array(
            [None if count < 0 else int(count) for count in proposals], dtype="Int64"
        )
    samples = pd.DataFrame(columns)
    return samples.astype({"real_tokens": "Int64", "all_real_tokens": "Int64"})


def _metrics(
    spec: PointSpec,
    scene: Scene,
    clips: int,
    joined: dict[str, NDArray[Any]],
    samples: pd.DataFrame,
) -> Metrics:
    """Return the means over all frames; where no model ran, state and detector in closed form."""
    arch, grid = scene.geometry.arch, scene.geometry.grid
    gmacs = float(joined["matrix"].mean()) / GIGA
    curve = cost_curve(spec, scene)
    mean = float(samples["tokens"].mean())
    real, all_real = samples["real_tokens"], samples["all_real_tokens"]
    around = _around(scene, joined)
    published = float(joined["published"].mean()) / GIGA
    state = spec.method.planned_state_bytes(arch, grid, spec.params)
    return Metrics(
        clips=clips,
        frames=len(samples),
        tokens=mean,
        keep_rate=mean / grid.area,
        keep_rate_real=None if real.isna().any() else float(real.sum() / all_real.sum()),
        full_frame_share=float(samples["is_full"].mean()),
        gmacs=gmacs,
        gmacs_published=None if np.isnan(published) else published,
        gmacs_detector=None if around is None else gmacs + around,
        gmacs_published_at_mean_tokens=(
            None if curve is None else curve[0] + curve[1] * mean + curve[2] * mean**2
        ),
        cost_curve=curve,
        tmacs_video=_of_a_video(scene, clips, joined),
        state_bytes=0 if state is None else state,
    )


def _of_a_video(scene: Scene, clips: int, joined: dict[str, NDArray[Any]]) -> float | None:
    """Return the mean published TMACs of all looks at a video; None where it is not known."""
    looks, conclusion = scene.geometry.looks, scene.conclusion
    published = float(joined["published"].sum()) / clips
    if looks is None or conclusion is None or np.isnan(published):
        return None
    return looks.count * (published + float(conclusion.published)) / TERA


def _around(scene: Scene, joined: dict[str, NDArray[Any]]) -> float | None:
    """Return the GMACs of everything but the backbone: of the frames, else at the most proposals.

    None where the number of classes is not known.
    """
    if AROUND in joined:
        return float(joined[AROUND].mean()) / GIGA
    around = scene.around_macs()
    return None if around is None else around / GIGA


def cost_curve(spec: PointSpec, scene: Scene) -> tuple[float, float, float] | None:
    """Return c0, c1, c2 of the published counter, GMACs = c0 + c1 n + c2 n^2 for n kept tokens.

    The closed forms are quadratic in n, so three whole-number evaluations determine them; None
    where more than n decides.
    """
    arch, grid = scene.geometry.arch, scene.geometry.grid
    at = [spec.method.published_at(arch, grid, spec.params, tokens) for tokens in (0, 1, 2)]
    none, one, two = at
    if none is None or one is None or two is None:
        return None
    twice_quadratic = two - 2 * one + none
    linear = one - none - twice_quadratic / 2
    return none / GIGA, linear / GIGA, twice_quadratic / 2 / GIGA
