"""Dense without padding is a dense backbone on the frame's own grid, with the tables cut to it."""

from __future__ import annotations

from dataclasses import replace

import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import FrameContext
from maskvd_cli.methods.dense_unpadded import DenseUnpadded, DenseUnpaddedParams

GRID, INSIDE = Size(7, 6), Size(5, 4)
ARCH = ViTArch(
    name="small", description="", dim=12, heads=3, depth=3, patch=4, global_blocks=(1,),
    window=Size(3, 4), position_table=GRID, relative_table=GRID,
)  # fmt: skip


def random_backbone() -> VisionTransformer:
    torch.manual_seed(1)
    made = VisionTransformer(ARCH).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return made


def cut_to_frame(whole: VisionTransformer) -> VisionTransformer:
    """Return the backbone of the frame's grid: its corner of positions, its range of offsets."""
    arch = replace(ARCH, position_table=INSIDE, relative_table=INSIDE)
    made = VisionTransformer(arch).double().eval()
    weights = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    weights["positions"] = weights["positions"][: INSIDE.rows, : INSIDE.cols]
    for axis, whole_side, side in (
        ("rows", GRID.rows, INSIDE.rows), ("cols", GRID.cols, INSIDE.cols),
    ):  # fmt: skip
        name, spare = f"blocks.1.relative.{axis}", whole_side - side
        weights[name] = weights[name][spare : len(weights[name]) - spare]
    made.load_state_dict(weights)
    return made


def test_a_padded_frame_equals_the_frame_alone() -> None:
    whole = random_backbone()
    tokens = torch.randn(2, GRID.area, 12, dtype=torch.float64)
    # The last pixel row and column reach only just into their tokens.
    frame = FrameContext(0, Size(28, 24), Size(17, 13), patch=4)
    with torch.inference_mode():
        found = DenseUnpadded(DenseUnpaddedParams(), whole).step(tokens, frame)
        corner = tokens.view(2, *GRID, 12)[:, : INSIDE.rows, : INSIDE.cols].flatten(1, 2)
        expected = cut_to_frame(whole)(corner, INSIDE)
    laid = found.view(2, *GRID, 12)
    inside = laid[:, : INSIDE.rows, : INSIDE.cols].flatten(1, 2)
    assert torch.allclose(inside, expected, atol=1e-10)
    assert not laid[:, INSIDE.rows :].any()
    assert not laid[:, :, INSIDE.cols :].any()


def test_without_padding_it_is_dense_itself() -> None:
    whole = random_backbone()
    tokens = torch.randn(2, GRID.area, 12, dtype=torch.float64)
    frame = FrameContext(0, Size(28, 24), Size(28, 24), patch=4)
    method = DenseUnpadded(DenseUnpaddedParams(), whole)
    with torch.inference_mode():
        assert torch.equal(method.step(tokens, frame), whole(tokens, GRID))
    trace = method.trace
    assert trace is not None
    assert (trace.tokens, trace.full) == (GRID.area, True)
