"""What one clip recomputes and costs, as the piece of a point: arrays with an entry per frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.costs import Tokens
from maskvd_cli.methods.base import ClipView, TokenTrace
from maskvd_cli.methods.fit import unplanned
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.work.plan import PointSpec

# What precedes the names of arrays that are counts of a method.
COUNT = "count."


@dataclass(frozen=True)
class Counted:
    """What one clip recomputes, and what that costs, one entry per frame.

    `real` and `all_real` are the recomputed and all tokens that are not wholly padding, NaN where
    that is not known; `matrix` and `published` MACs by the two counters.
    """

    trace: TokenTrace
    real: NDArray[np.float64]
    all_real: NDArray[np.float64]
    matrix: NDArray[np.float64]
    published: NDArray[np.float64]
    more: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the clip's piece."""
        counts = {f"{COUNT}{name}": values for name, values in self.trace.counts.items()}
        return {
            "tokens": self.trace.tokens,
            "is_full": self.trace.full,
            "real_tokens": self.real,
            "all_real_tokens": self.all_real,
            "matrix": self.matrix,
            "published": self.published,
            **counts,
            **self.more,
        }


def counted(  # noqa: PLR0913, PLR0917 - the point, the clip, and what was seen of it
    spec: PointSpec,
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
    arch = scene.geometry.arch
    macs = spec.method.macs(arch, scene.geometry.grid, spec.params, trace)
    known = np.nan if view.real is None else float(view.real.sum())
    all_real = np.full(view.frames, known)
    if macs is not None:
        matrix = _each(macs.matrix, view.frames)
        return Counted(trace, real, all_real, matrix, _each(macs.published, view.frames))
    if executed is None:
        raise UsageError(
            unplanned(spec.method, arch) or f"{spec.method.name} states no cost",
            remedy="give a model to run (model.weights)",
        )
    return Counted(trace, real, all_real, executed, np.full(view.frames, np.nan))


def _each(costs: Tokens, frames: int) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(costs, dtype=np.float64), frames)
