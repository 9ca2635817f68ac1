"""Simple feature pyramid: five levels from the backbone's single map (ViTDet, section 3)."""

from __future__ import annotations

from torch import Tensor, nn

from maskvd_cli.families.blocks.channel_norm import ChannelNorm


class FeaturePyramid(nn.Module):
    """Levels p2..p6 at 4, 2, 1, 1/2 and 1/4 times the token grid, `channels` wide.

    Halving an odd side rounds p5 down and p6 up.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            (
                nn.Sequential(
                    nn.ConvTranspose2d(dim, dim // 2, 2, 2),
                    ChannelNorm(dim // 2),
                    nn.GELU(),
                    nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2),
                    *_outward(dim // 4, channels),
                ),
                nn.Sequential(
                    nn.ConvTranspose2d(dim, dim // 2, 2, 2), *_outward(dim // 2, channels)
                ),
                nn.Sequential(*_outward(dim, channels)),
                nn.Sequential(nn.MaxPool2d(2), *_outward(dim, channels)),
            )
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return p2..p6, (B, channels, rows, cols) each, of features (B, dim, rows, cols)."""
        levels = [stage(features) for stage in self.stages]
        return [*levels, levels[-1][..., ::2, ::2]]


def _outward(dim: int, channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(dim, channels, 1, bias=False),
        ChannelNorm(channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        ChannelNorm(channels),
    )
