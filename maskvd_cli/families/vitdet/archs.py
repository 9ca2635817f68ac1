"""The architectures of ViTDet's family."""

from __future__ import annotations

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch

_DEPTH = 12
_GLOBAL_BLOCKS = (2, 5, 8, 11)
_ALL_BLOCKS = tuple(range(_DEPTH))

_ARCHS = (
    ViTArch(
        name="vitdet-b",
        description="ViTDet-B: ViT-B with 14 x 14 windows, blocks 3, 6, 9, 12 global",
        dim=768,
        heads=12,
        depth=_DEPTH,
        patch=16,
        global_blocks=_GLOBAL_BLOCKS,
        window=Size(14, 14),
        position_table=Size(14, 14),
        relative_table=Size(64, 64),
        paper="ViTDet (ECCV 2022, arXiv 2203.16527)",
    ),
    ViTArch(
        name="vitdet-b-global",
        description="plain ViT-B with class token, global attention in all blocks",
        dim=768,
        heads=12,
        depth=_DEPTH,
        patch=16,
        global_blocks=_ALL_BLOCKS,
        window=Size(14, 14),
        position_table=Size(14, 14),
        relative_table=None,
        class_token=True,
        final_norm=True,
        paper="MaskVD (WACV 2025), its non-windowed backbone",
    ),
    ViTArch(
        name="vitdet-ti",
        description="small ViTDet: width 128, 6 x 8 windows, blocks 3, 6, 9, 12 global",
        dim=128,
        heads=4,
        depth=_DEPTH,
        patch=16,
        global_blocks=_GLOBAL_BLOCKS,
        window=Size(6, 8),
        position_table=Size(12, 40),
        relative_table=Size(12, 40),
        paper="ours, after ViTDet",
    ),
    ViTArch(
        name="vitdet-ti-global",
        description="small plain ViT: width 128, class token, global attention in all blocks",
        dim=128,
        heads=4,
        depth=_DEPTH,
        patch=16,
        global_blocks=_ALL_BLOCKS,
        window=Size(6, 8),
        position_table=Size(12, 40),
        relative_table=None,
        class_token=True,
        final_norm=True,
        paper="ours, after MaskVD's non-windowed backbone",
    ),
)
ARCHS = {arch.name: arch for arch in _ARCHS}
