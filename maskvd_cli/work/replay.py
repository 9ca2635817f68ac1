"""Plan clips for one point from annotations: which tokens each frame recomputes, and the cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.threads import single_thread
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.fit import unplanned
from maskvd_cli.methods.masked_costs import counts_of
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import part_of
from maskvd_cli.work.counted import Counted, counted
from maskvd_cli.work.merge import MergedPoint, merged
from maskvd_cli.work.plan import PointSpec


def planned_clips(
    spec: PointSpec, scene: Scene, key: str = "", clips: tuple[int, int] | None = None
) -> Iterator[Piece]:
    """Plan clips [first, last), all by default, and evaluate the closed forms on them.

    Raises MaskvdError where the point cannot be planned from these clips.
    """
    views = scene.views(with_scores=spec.needs_heatmap)
    first, last = clips or (0, len(views))
    # Clips that do not differ are one object, and are planned once.
    known: dict[int, dict[str, NDArray[Any]]] = {}
    for number in range(first, last):
        view, started = views[number], time.perf_counter()
        if id(view) not in known:
            known[id(view)] = _planned(spec, scene, view).arrays()
        yield Piece(
            key, part_of(number), known[id(view)], {"seconds": time.perf_counter() - started}
        )


def replay(spec: PointSpec, scene: Scene) -> MergedPoint:
    """Plan all clips of one point and merge them."""
    return merged(spec, scene, planned_clips(spec, scene))


@single_thread()
def _planned(spec: PointSpec, scene: Scene, view: ClipView) -> Counted:
    arch = scene.geometry.arch
    trace = spec.method.plan(spec.params, arch, view)
    if trace is None:
        raise UsageError(
            unplanned(spec.method, arch) or f"{spec.method.name} cannot be planned",
            remedy="give a model to run (model.weights)",
        )
    real = np.full(view.frames, np.nan)
    if view.real is not None and trace.kept is not None:
        real = counts_of(trace.kept, view.real[:, None])[:, 0].numpy().astype(np.float64)
    return counted(spec, scene, view, trace, real)
