"""The dense backbone: golden outputs, batches, sizes, precisions, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer, pool_cells
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.zoo import get_arch

WINDOWED = ViTArch(
    name="small", description="", dim=16, heads=2, depth=3, patch=4, global_blocks=(1,),
    window=Size(4, 3), position_table=Size(3, 3), relative_table=Size(5, 4),
)  # fmt: skip
PLAIN = replace(
    WINDOWED, global_blocks=(0, 1, 2), relative_table=None, class_token=True, final_norm=True
)
GRID = Size(6, 7)


def backbone(arch: ViTArch, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    made = VisionTransformer(arch).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.2 * noise)
    return made


def tokens(batch: int, grid: Size = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, grid.area, 16, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("arch", [WINDOWED, PLAIN])
def test_a_batch_equals_single_runs(arch: ViTArch) -> None:
    made, batch = backbone(arch), tokens(2)
    with torch.inference_mode():
        whole = made(batch, GRID)
        single = torch.cat([made(one[None], GRID) for one in batch])
    assert torch.allclose(whole, single, atol=1e-12)


def test_windows_see_nothing_of_each_other() -> None:
    made = backbone(replace(WINDOWED, global_blocks=()))
    one, other = tokens(1), tokens(1)
    other[0, 0] += 1
    with torch.inference_mode():
        changed = (made(one, GRID) - made(other, GRID)).abs().sum(-1).view(*GRID) > 0
    inside = torch.zeros(*GRID, dtype=torch.bool)
    inside[:4, :3] = True
    assert torch.equal(changed, inside)


def test_padding_takes_part_as_the_qkv_of_zero() -> None:
    """A 1 x 1 grid in a 4 x 3 window: one real key beside eleven of the bias."""
    made = backbone(replace(WINDOWED, depth=1, global_blocks=(), relative_table=None))
    block = made.blocks[0]
    one = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        qkv = block.qkv(one)
        found = block.attend(qkv, Size(1, 1))
        keys = torch.cat([qkv, block.qkv.bias.expand(1, 11, -1)], dim=1)
        query, key, value = block.split(keys)
        expected = block.merge((query[:, :, :1] @ key.mT / 8**0.5).softmax(-1) @ value)
    assert torch.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("arch", [WINDOWED, PLAIN])
def test_lower_precisions_stay_close(arch: ViTArch, dtype: torch.dtype) -> None:
    made = backbone(arch)
    with torch.inference_mode():
        exact = made(tokens(1), GRID)
        low = made.to(dtype)(tokens(1).to(dtype), GRID)
    assert low.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}[dtype]
    assert (low.double() - exact).abs().max() < tolerance * exact.abs().max()


def test_every_parameter_gets_a_gradient() -> None:
    for arch in (WINDOWED, PLAIN):
        made = backbone(arch)
        made(tokens(1), GRID).square().sum().backward()
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_the_gradient_is_that_of_finite_differences() -> None:
    made, step = backbone(WINDOWED), 1e-6
    table = made.blocks[1].relative
    assert table is not None
    made(tokens(1), GRID).sum().backward()
    assert table.rows.grad is not None
    with torch.no_grad():
        before = made(tokens(1), GRID).sum()
        table.rows[4, 2] += step
        after = made(tokens(1), GRID).sum()
    assert float((after - before) / step) == pytest.approx(float(table.rows.grad[4, 2]), rel=1e-3)


def test_resized_positions_follow_the_weights() -> None:
    made = backbone(WINDOWED)
    with torch.no_grad():
        before = made.positions_on(GRID).clone()
        made.positions.mul_(3)
        assert torch.allclose(made.positions_on(GRID), 3 * before)
        assert made.positions_on(Size(3, 3)).shape == (1, 9, 16)


def test_patches_come_in_raster_order() -> None:
    embedding = PatchEmbedding(WINDOWED)
    images = torch.zeros(1, 3, 8, 12)
    images[0, :, 4:, 8:] = 1
    with torch.inference_mode():
        different = (embedding(images) - embedding(torch.zeros(1, 3, 8, 12))).abs().sum(-1) > 1e-6
    assert different.tolist() == [[False] * 5 + [True]]


def test_pooling_averages_cells() -> None:
    heads = torch.arange(8.0).view(1, 1, 8, 1)
    assert pool_cells(heads, Size(2, 4), 2).flatten().tolist() == [2.5, 4.5]


def test_the_zoo_has_the_published_shapes() -> None:
    with torch.device("meta"):
        sizes = {name: VisionTransformer(arch) for name, arch in ARCHS.items()}
    blocks = sizes["vitdet-b"].blocks
    shapes = [tuple(block.relative.rows.shape) for block in blocks if block.relative]
    assert shapes == [(27, 64), (27, 64), (127, 64)] * 4
    assert sizes["vitdet-b-global"].class_token is not None
    for name in ("vitdet-ti", "vitdet-ti-global"):
        grid = get_arch(name).grid(Size(192, 640))
        assert get_arch(name).windows(grid) == Size(2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "3 heads do not divide the width 16"),
        ({"global_blocks": (3,)}, r"global blocks \(3,\) lie outside 0..2"),
        ({"class_token": True}, "a class token needs global attention"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(WINDOWED, **change)  # pyright: ignore[reportArgumentType]


def test_a_backbone_made_in_inference_mode_follows_its_weights() -> None:
    with torch.inference_mode():
        made = backbone(WINDOWED)
        before = made.positions_on(GRID).clone()
        made.positions.mul_(3)
        assert torch.allclose(made.positions_on(GRID), 3 * before)
        assert made(tokens(1), GRID).isfinite().all()
