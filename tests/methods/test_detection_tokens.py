"""Masked execution and gates on backbones with detection tokens, against an independent statement.

The reference keeps query, key and value of the whole sequence in every block, overwrites the rows
that run, and lets these attend to all rows: written with matrices of whole sequences and a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.yolos.archs import YolosArch, yolos
from maskvd_cli.families.yolos.transformer import DetectionTransformer
from maskvd_cli.methods.base import FrameContext
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.fit import unfit, unlike
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.pruned_execution import PrunedExecution
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.stgt import STGT, STGTParams

GRID, PATCH, DETECTIONS = Size(4, 5), 8, 3
N = GRID.area
ARCH = yolos(
    "detecting", "", dim=16, heads=2, depth=3, patch=PATCH, table=Size(3, 3),
    detections=DETECTIONS, mid_positions=True,
)  # fmt: skip


def backbone(arch: YolosArch = ARCH) -> DetectionTransformer:
    generator = torch.Generator().manual_seed(4)
    made = DetectionTransformer(arch).double().eval()
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.add_(0.3 * noise)
    return made.requires_grad_(False)


def clip(frames: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return list(torch.randn(frames, 1, N, 16, generator=generator, dtype=torch.float64))


def masks(frames: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(6)
    return [
        torch.rand(N, generator=generator) < 0.4 if frame else torch.ones(N, dtype=torch.bool)
        for frame in range(frames)
    ]


def reference(
    on: DetectionTransformer, frames: Sequence[Tensor], kept: Sequence[Tensor], *, pruned: bool
) -> Tensor:
    """Return the detection tokens of every frame, (frames, T, D).

    `pruned`: the first block's query, key and value are those of all tokens on every frame.
    """
    heads, width = ARCH.heads, ARCH.dim // ARCH.heads
    length = 1 + N + DETECTIONS
    caches = torch.zeros(ARCH.depth, 3, heads, length, width, dtype=torch.float64)
    assert on.class_token is not None and on.final_norm is not None and on.mid_positions is not None
    between, outputs = on.mid_positions.on(GRID), list[Tensor]()
    for tokens, mask in zip(frames, kept, strict=True):
        runs = torch.cat([torch.ones(1), mask, torch.ones(DETECTIONS)]).bool()
        placed = (tokens + on.positions_on(GRID))[0]
        x = torch.cat([on.class_token[0], placed, on.detection_tokens[0]])
        for number, block in enumerate(on.blocks):
            fresh = block.qkv(block.norm1(x)).view(length, 3, heads, width).permute(1, 2, 0, 3)
            cache = caches[number]
            those = torch.ones_like(runs) if pruned and number == 0 else runs
            cache[:, :, those] = fresh[:, :, those]
            query, key, value = cache
            weights = (query @ key.mT / width**0.5).softmax(-1)
            attended = (weights @ value).permute(1, 0, 2).reshape(length, ARCH.dim)
            y = x + block.projection(attended)
            x = y + block.mlp(block.norm2(y))
            if number < ARCH.depth - 1:
                x = x + between[number]
        outputs.append(on.final_norm(x[-DETECTIONS:]))
    return torch.stack(outputs)


def test_masked_frames_are_those_of_the_reference() -> None:
    on, frames, kept = backbone(), clip(5), masks(5)
    execution = MaskedExecution(on, "C")
    found = [
        execution.run(tokens, GRID, mask)[0][0] for tokens, mask in zip(frames, kept, strict=True)
    ]
    torch.testing.assert_close(
        torch.stack(found), reference(on, frames, kept, pruned=False), atol=1e-9, rtol=0
    )


def test_pruned_frames_are_those_of_the_reference() -> None:
    on, frames, kept = backbone(), clip(5), masks(5)
    execution = PrunedExecution(on)
    found = [
        execution.run(tokens, GRID, mask.nonzero()[:, 0] if number else None)[0]
        for number, (tokens, mask) in enumerate(zip(frames, kept, strict=True))
    ]
    expected = reference(on, frames, kept, pruned=True)
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-9, rtol=0)


def test_what_was_not_chosen_is_still_seen() -> None:
    """Detections of a masked frame depend on the tokens that it left out, as they were before."""
    on, (first, second), mask = backbone(), clip(2), masks(2)[1]
    outputs = []
    for scene in (first, torch.where(mask[:, None], first, -first)):
        execution = MaskedExecution(on, "C")
        execution.run(scene, GRID, torch.ones(N, dtype=torch.bool))
        outputs.append(execution.run(second, GRID, mask)[0])
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize("r", [1, 4])
def test_detection_tokens_go_through_every_gate(r: int) -> None:
    on = backbone()
    gated: tuple[GatedMethod[EventfulParams] | GatedMethod[STGTParams], ...] = (
        Eventful(EventfulParams(r=r), on),
        STGT(STGTParams(r=r), on),
    )
    pixels = Size(GRID.rows * PATCH, GRID.cols * PATCH)
    for method in gated:
        for index, tokens in enumerate(clip(3)):
            method.step(tokens, FrameContext(index, pixels, pixels, PATCH))
        assert method.trace is not None and len(method.trace.selected) == 3 * ARCH.depth
        for chosen in method.trace.selected.values():
            assert chosen.shape == (1, r + DETECTIONS)
            assert chosen[0, r:].tolist() == list(range(1 + N, 1 + N + DETECTIONS))
        assert method.trace.tokens == r


KNOWN = {"dense", "maskvd", "random", "oracle", "eventful", "stgt", "evit", "ats", "tome"}
KNOWN |= {"rgtp", "boxes-k", "svit", "vpp"}


def test_methods_run_or_say_why_not() -> None:
    for name in methods.names():
        reason = unlike(methods.load(name), ARCH)
        assert (reason is None) == (name in KNOWN), (name, reason)
        if reason is not None:
            assert "detecting" in reason and reason.startswith(name)


@pytest.mark.parametrize("version", ["T", "H"])
def test_detection_tokens_need_caches(version: str) -> None:
    masked = methods.load("maskvd")
    params = masked.params_type.model_validate({"version": version})
    reason = unfit(masked, params, ARCH)
    assert reason is not None and f"version {version} lets tokens attend to kept ones" in reason
    assert masked.resolve(masked.params_type(), ARCH).model_dump()["version"] == "C"


def test_pooled_keys_are_refused() -> None:
    kind = methods.load("dense")
    with pytest.raises(UsageError, match="pool 2 is for windowed backbones"):
        kind.resolve(kind.params_type.model_validate({"pool": 2}), ARCH)
