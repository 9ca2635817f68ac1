"""Small backbones, clips and methods that the tests of gated methods share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import FrameContext, FrameTrace
from maskvd_cli.methods.dense import Dense
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.stgt import STGT, STGTParams

PATCH = 16
SMALL = ViTArch(
    name="small", description="", dim=16, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=Size(6, 6),
)  # fmt: skip
PLAIN = ViTArch(
    name="plain", description="", dim=16, heads=2, depth=2, patch=PATCH, global_blocks=(0, 1),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
BARE = ViTArch(
    name="bare", description="", dim=16, heads=1, depth=2, patch=PATCH, global_blocks=(0, 1),
    window=Size(4, 4), position_table=Size(6, 6), relative_table=None,
)  # fmt: skip
UNEVEN = Size(10, 11)
EVEN = Size(8, 12)


def backbone(arch: ViTArch, dtype: torch.dtype = torch.float64, seed: int = 0) -> VisionTransformer:
    """A backbone whose every parameter is drawn, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    made = VisionTransformer(arch)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            deviation = 1.0 if "norm" in name else 0.25
            parameter.copy_(deviation * torch.randn(parameter.shape, generator=generator))
    return made.to(dtype).eval()


def clip(frames: int, grid: Size, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Frames (t, N, 16) that all change everywhere, some tokens much more than others."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(grid.area, 16, generator=generator, dtype=torch.float64)
    moves = torch.randn(frames, grid.area, 16, generator=generator, dtype=torch.float64)
    scale = torch.rand(frames, grid.area, 1, generator=generator, dtype=torch.float64) ** 4
    return (base + (moves * scale).cumsum(0)).to(dtype)


def context(index: int, grid: Size) -> FrameContext:
    pixels = Size(grid.rows * PATCH, grid.cols * PATCH)
    return FrameContext(index, pixels, pixels, PATCH)


def run(
    method: GatedMethod[Any] | Dense, frames: Tensor, grid: Size
) -> tuple[Tensor, list[FrameTrace]]:
    """Return features and traces of frames (t, N, D) or a batch of clips (t, B, N, D)."""
    outputs, traces = [], []
    with torch.inference_mode():
        for index, tokens in enumerate(frames):
            batch = tokens if tokens.dim() == 3 else tokens[None]
            outputs.append(method.step(batch, context(index, grid)))
            assert method.trace is not None
            traces.append(method.trace)
    return torch.stack(outputs), traces


def eventful(on: VisionTransformer, **params: Any) -> Eventful:
    return Eventful(EventfulParams(**params), on)


def stgt(on: VisionTransformer, **params: Any) -> STGT:
    return STGT(STGTParams(**params), on)


EVENTFUL_WAYS: tuple[dict[str, Any], ...] = (
    {}, {"update": "qk"}, {"update": "tokenwise"}, {"gate": "before_ln"},
)  # fmt: skip


def methods_on(on: VisionTransformer, **params: Any) -> Iterator[GatedMethod[Any]]:
    """Yield both methods, in every way that runs on all backbones."""
    for way in EVENTFUL_WAYS:
        yield eventful(on, **params, **way)
    yield stgt(on, **params)
    yield stgt(on, **params, gate="before_ln")
