"""The architectures by name."""

from __future__ import annotations

from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.models.arch import ViTArch

_ARCHS = (
    ViTArch(
        name="vitdet-b",
        description="ViTDet-B: ViT-B with 14 x 14 windows, blocks 3, 6, 9, 12 global",
        dim=768,
        heads=12,
        depth=12,
        patch=16,
        global_blocks=(2, 5, 8, 11),
        window=14,
    ),
    ViTArch(
        name="vitdet-b-global",
        description="plain ViT-B with class token, global attention in all blocks",
        dim=768,
        heads=12,
        depth=12,
        patch=16,
        global_blocks=tuple(range(12)),
        window=14,
        relative_positions=False,
        class_token=True,
        final_norm=True,
    ),
)
ARCHS = {arch.name: arch for arch in _ARCHS}


def get_arch(name: str) -> ViTArch:
    """Return the architecture called `name`. Raises UsageError for an unknown one."""
    if name not in ARCHS:
        raise UsageError(unknown("model", name, ARCHS))
    return ARCHS[name]
