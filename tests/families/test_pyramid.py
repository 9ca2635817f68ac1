"""The feature pyramid: its levels on any grid, and its norm."""

from __future__ import annotations

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.channel_norm import ChannelNorm
from maskvd_cli.families.vitdet.head_costs import level_sizes
from maskvd_cli.families.vitdet.pyramid import FeaturePyramid


@pytest.mark.parametrize(
    ("grid", "p5", "p6"),
    [
        (Size(8, 8), Size(4, 4), Size(2, 2)),
        (Size(21, 21), Size(10, 10), Size(5, 5)),
        (Size(10, 11), Size(5, 5), Size(3, 3)),
        (Size(2, 3), Size(1, 1), Size(1, 1)),
    ],
)
def test_levels_have_the_sizes_of_their_scales(grid: Size, p5: Size, p6: Size) -> None:
    pyramid = FeaturePyramid(8, 6)
    levels = pyramid(torch.randn(2, 8, *grid, generator=torch.Generator().manual_seed(0)))
    expected = [Size(scale * grid.rows, scale * grid.cols) for scale in (4, 2, 1)] + [p5, p6]
    assert [tuple(level.shape) for level in levels] == [(2, 6, *size) for size in expected]
    assert level_sizes(grid) == tuple(expected)


def test_p6_is_every_second_pixel_of_p5() -> None:
    levels = FeaturePyramid(8, 6)(torch.randn(1, 8, 10, 12))
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2])


def test_every_level_ends_in_a_norm_over_channels() -> None:
    for level in FeaturePyramid(8, 6)(torch.randn(1, 8, 6, 6)):
        torch.testing.assert_close(level.mean(1), torch.zeros_like(level[:, 0]), atol=1e-5, rtol=0)


def test_the_norm_is_that_of_each_pixel_over_its_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    norm = ChannelNorm(5)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(5, generator=generator))
        norm.bias.copy_(torch.randn(5, generator=generator))
    x = 1e-3 * torch.randn(2, 5, 3, 4, generator=generator)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    expected = (x - mean) / (variance + 1e-6).sqrt() * scale + shift
    torch.testing.assert_close(norm(x), expected)


def test_parameters_are_numbered_as_published() -> None:
    names = {name for name, _ in FeaturePyramid(8, 6).named_parameters()}
    outward = ("{}.weight", "{}.weight {}.bias") * 2
    expected = set()
    for stage, start, upward in ((0, 4, (0, 1, 3)), (1, 1, (0,)), (2, 0, ()), (3, 1, ())):
        for number in upward:
            expected |= {f"stages.{stage}.{number}.{part}" for part in ("weight", "bias")}
        for offset, parts in enumerate(outward):
            number = start + offset
            expected |= {f"stages.{stage}.{part.format(number)}" for part in parts.split()}
    assert names == expected
