"""Multiply-accumulates of what surrounds the backbone, in closed form: matrix products only.

Convolutions and linear layers; no biases, norms, activations, pooling or NMS.
"""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, Stage
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.head_arch import HeadArch

_RPN_CONVS, _BOX_CONVS, _MASK_CONVS, _KERNEL = 2, 4, 4, 9


def level_sizes(grid: Size) -> tuple[Size, ...]:
    """Return rows and columns of p2..p6 on a token grid; halving rounds p5 down and p6 up."""
    p5 = Size(grid.rows // 2, grid.cols // 2)
    finer = (Size(grid.rows * scale, grid.cols * scale) for scale in (4, 2, 1))
    return (*finer, p5, p5.tiles(2))


def embedding_macs(arch: ViTArch, grid: Size) -> int:
    """Patch embedding of all N tokens: N 3p^2 D."""
    return grid.area * 3 * arch.patch**2 * arch.dim


def pyramid_macs(arch: ViTArch, heads: HeadArch, grid: Size) -> int:
    """Pyramid: transposed convolutions, then per level 1 x 1 and 3 x 3 to C channels.

    A transposed 2 x 2 convolution costs 4 in out per input pixel: 4 D D/2 for p2 and p3 each, and
    4 (D/2)(D/4) on the four times larger map for p2.
    """
    dim, channels = arch.dim, heads.channels
    half, quarter = dim // 2, dim // 4
    upward = grid.area * (2 * 4 * dim * half + 4 * 4 * half * quarter)
    widths = (quarter, half, dim, dim)
    outward = sum(
        size.area * channels * (width + _KERNEL * channels)
        for size, width in zip(level_sizes(grid), widths, strict=False)
    )
    return upward + outward


def rpn_macs(heads: HeadArch, grid: Size) -> int:
    """RPN on all five levels: per cell two 3 x 3 convolutions, 1 logit and 4 deltas per anchor."""
    channels = heads.channels
    per_cell = channels * (_RPN_CONVS * _KERNEL * channels + 5 * heads.anchors_per_cell)
    return per_cell * sum(size.area for size in level_sizes(grid))


def box_head_macs(heads: HeadArch, proposals: int) -> int:
    """Box head at n proposals: four 3 x 3 convolutions, hidden layer, logits and deltas."""
    cells, channels = heads.roi_size**2, heads.channels
    convs = _BOX_CONVS * _KERNEL * cells * channels**2
    linear = cells * channels * heads.hidden + heads.hidden * (5 * heads.classes + 1)
    return proposals * (convs + linear)


def mask_head_macs(heads: HeadArch, regions: int) -> int:
    """Mask head at n regions: n s^2 (36 C^2 + 4 C^2 + 4 C K).

    Four 3 x 3 convolutions on s x s places of C channels, a transposed 2 x 2 convolution that
    doubles both sides, and 1 x 1 to K classes on the four times larger map.
    """
    channels, cells = heads.channels, heads.mask_roi_size**2
    convs = _MASK_CONVS * _KERNEL * channels**2
    upward, outward = 4 * channels**2, 4 * channels * heads.classes
    return regions * cells * (convs + upward + outward)


def head_macs(arch: ViTArch, heads: HeadArch, grid: Size, proposals: int) -> int:
    """Pyramid, RPN and box head at n proposals together."""
    return pyramid_macs(arch, heads, grid) + rpn_macs(heads, grid) + box_head_macs(heads, proposals)


def stages_of(arch: ViTArch, heads: HeadArch, grid: Size) -> tuple[Stage, ...]:
    """Return what surrounds the backbone; the box head's cost follows an output's `proposals`."""
    embedding = embedding_macs(arch, grid)
    pyramid, rpn = pyramid_macs(arch, heads, grid), rpn_macs(heads, grid)
    most = heads.post_nms

    def box_head(output: Any) -> float:
        proposals = None if output is None else output.proposals
        return box_head_macs(heads, most if proposals is None else proposals)

    return (
        Stage("embedding", EMBED, lambda output: embedding),
        Stage("pyramid", HEAD, lambda output: pyramid),
        Stage("rpn", HEAD, lambda output: rpn),
        Stage("box_head", HEAD, box_head),
    )


def mask_stages_of(arch: ViTArch, heads: HeadArch, grid: Size) -> tuple[Stage, ...]:
    """Return the same with a mask head, whose cost follows how many regions it computed."""

    def mask_head(output: Any) -> float:
        return mask_head_macs(heads, heads.detections if output is None else output.masked)

    return (*stages_of(arch, heads, grid), Stage("mask_head", HEAD, mask_head))
