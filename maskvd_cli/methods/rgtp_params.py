"""What RGTP takes: how importance is computed, how it follows tokens, and what is dropped by it."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, Literal

from pydantic import Field

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.traits import CLASS_FEATURES
from maskvd_cli.methods.attention_maps import POOL, Fusion, Rollout
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.pruned import PrunedParams

Reset = Literal["full", "1in2", "1in4"]
# Of backbones that are read at their class token alone.
STEP_PARAMS = ("foreground", "background", "reset")


class RGTPParams(PrunedParams):
    """How importance is computed, and how it follows tokens."""

    radius: Annotated[int, Varied((0, 1, 2, 3))] = Field(
        default=1, ge=0, le=16, description="r: how many tokens away a token is looked for; 0: not"
    )
    score_threshold: Annotated[float, Varied.steps(0, 0.9, 0.1, with_scores=True)] = Field(
        default=0.1, ge=0, le=1, description="boxes above this score are what importance is for"
    )
    fusion: Fusion = Field(
        default="rms",
        description="heads are fused by root mean square (published code) or mean (text)",
    )
    rollout: Rollout = Field(
        default="matvec",
        description="importance goes back as a vector, through maps of 2 x 2 cells (pooled, on "
        "grids with even sides), or through the product of all maps (matrix: same outcome, N times "
        "the cost)",
    )
    foreground: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="recognisers: every round(1 / foreground)-th of the K tokens goes on, by rank",
    )
    background: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="recognisers: every round(1 / background)-th of the other tokens goes on, in "
        "raster order; 0: none",
    )
    reset: Reset | None = Field(
        default=None,
        description="recognisers: what goes on at every P-th step of a look but the first: all "
        "tokens, half of them (a checkerboard) or a quarter; null: half",
    )

    def told(self) -> dict[str, Any]:
        """Return the parameters as results tell them, without those that a detector has not."""
        told = super().told()
        left_out = STEP_PARAMS if self.reset is None else ()
        return {name: value for name, value in told.items() if name not in left_out}

    def at(self, arch: ViTArch) -> RGTPParams:
        """Return the parameters with what depends on the backbone filled in.

        Raises UsageError for what does not fit it.
        """
        if CLASS_FEATURES in arch.has:
            return self._on_steps(arch)
        for name in STEP_PARAMS:
            if getattr(self, name) != RGTPParams.model_fields[name].default:
                raise UsageError(
                    f"{name} is for models that are read at their class token, and {arch.name} is "
                    "read at all tokens",
                    remedy=f"leave {name} out",
                )
        if self.rollout == "pooled" and arch.lead:
            raise UsageError(
                f"rollout pooled has no cell for the class token of {arch.name}",
                remedy="choose rollout matvec",
            )
        if not arch.global_blocks:
            raise UsageError(
                f"importance goes back through global blocks, and {arch.name} has none",
                remedy="use another model",
            )
        return self

    def _on_steps(self, arch: ViTArch) -> RGTPParams:
        if self.rollout != "matvec":
            raise UsageError(
                f"rollout {self.rollout} is for detectors; {arch.name} is read at its class token",
                remedy="choose rollout matvec",
            )
        if self.score_threshold != RGTPParams.model_fields["score_threshold"].default:
            raise UsageError(
                f"score_threshold is for boxes, and {arch.name} detects none",
                remedy="leave score_threshold out",
            )
        return self.model_copy(update={"reset": self.reset or "1in2"})

    def on_step(self, index: int, grid: Size) -> int:
        """Return how many tokens of the grid go on at a step of a look.

        Raises UsageError for a k that is larger than the grid.
        """
        count = self.count(grid.area)
        if index == 0:
            return grid.area
        if index % self.period == 0:
            return {
                "1in2": ceil(grid.area / 2),
                "1in4": ceil(grid.rows / 2) * ceil(grid.cols / 2),
            }.get(self.reset or "", grid.area)
        others = ceil((grid.area - count) / self.every_other) if self.every_other else 0
        return ceil(count / self.every) + others

    @property
    def every(self) -> int:
        """The stride, by rank, at which tokens among the K go on."""
        return round(1 / self.foreground)

    @property
    def every_other(self) -> int:
        """The stride, in raster order, at which other tokens go on; 0: none does."""
        return round(1 / self.background) if self.background else 0


def check_poolable_grid(grid: Size) -> None:
    """Raise UsageError unless 2 x 2 cells cover the grid."""
    if grid.rows % POOL or grid.cols % POOL:
        raise UsageError(
            f"2 x 2 cells do not cover the token grid {grid} (rows x columns)",
            remedy="choose rollout matvec or another input",
        )
