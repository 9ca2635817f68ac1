"""Methods that choose one set of tokens per frame before they see it, and run it masked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import (
    DETECTION_TOKENS,
    PLAIN_VIT,
    TAPS,
    WINDOW_CLASS_TOKENS,
)
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods import masked_costs
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenTrace,
)
from maskvd_cli.methods.masked_costs import Version
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.selecting import SelectingMethod


class MaskedParams(Params):
    """How chosen tokens run through the blocks, and how often a frame is full."""

    version: Version | None = Field(
        default=None,
        description="backbones with windows: C caches QKV in every block and attends over all "
        "tokens (published code, the default); T caches block inputs in windowed blocks and global "
        "blocks see kept tokens only (paper's text); H caches QKV in windowed blocks, else as T. "
        "With detection tokens C alone",
    )
    period: Annotated[int, Varied((2, 4, 8, 16, 32))] = Field(
        default=8, ge=1, le=1_000_000, description="P: every P-th frame of a clip is full"
    )


M = TypeVar("M", bound=MaskedParams)


class MaskedMethod(SelectingMethod[M]):
    """Frame t is full where t % period == 0; others recompute the tokens of `choose`.

    MACs: `masked_costs.executed`; state: `masked_costs.state_bytes`.
    """

    naming = ("version", "period")
    columns: ClassVar = {"version": "ver.", "period": "P"}
    own_execution: ClassVar = frozenset(("version",))
    knows = PLAIN_VIT | DETECTION_TOKENS | {TAPS, WINDOW_CLASS_TOKENS}

    def __init__(self, params: M, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.execution = MaskedExecution(backbone, self.params.version)

    def forget(self) -> None:
        self.execution.reset()

    def select(self, frame: FrameContext) -> Selection:
        if frame.index % self.params.period == 0:
            return Selection(torch.ones(frame.grid.area, dtype=torch.bool))
        return Selection(self.choose(frame))

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        assert selection.kept is not None
        return self.execution.run(tokens, frame.grid, selection.kept)

    @abstractmethod
    def choose(self, frame: FrameContext) -> Tensor:
        """Return the tokens that a masked frame recomputes, (N,) bool on the CPU."""

    @classmethod
    @abstractmethod
    def planned(cls, params: M, view: ClipView) -> Tensor:
        """Return the tokens recomputed on each frame of a clip, (frames, N) bool."""

    @classmethod
    def entering(cls, params: M, view: ClipView) -> NDArray[np.int64]:
        kept = cls.planned(params, view)
        return masked_costs.counts_of(kept, torch.ones(view.tokens, 1))[:, 0].numpy()

    def state(self) -> Iterable[Tensor]:
        return self.execution.state()

    @classmethod
    def resolve(cls, params: M, arch: ViTArch) -> M:
        version = masked_costs.resolve_version(params.version, arch)
        return params.model_copy(update={"version": version})

    @classmethod
    def constant_on_repeats(cls, params: M) -> bool:
        return params.version == "C"

    @classmethod
    def plan(cls, params: M, arch: ViTArch, view: ClipView) -> TokenTrace:
        return masked_costs.mask_trace(cls.planned(params, view), arch, view.grid)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: M, trace: TokenTrace) -> Macs:
        return masked_costs.executed(arch, grid, params.version, trace)

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: M, tokens: int) -> int | None:
        return int(masked_costs.published(arch, grid, params.version, tokens).published)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: M) -> int:
        return masked_costs.state_bytes(arch, grid, params.version)
