"""Ours and the library's LW-DETR, side by side on small images."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.library_cases import ComparedPart
from maskvd_cli.families.lwdetr.archs import lwdetr
from maskvd_cli.families.lwdetr.detector import LWDETR
from maskvd_cli.families.lwdetr.library import to_our_names
from maskvd_cli.families.rfdetr.library_case import query_parts

_ARCH = lwdetr(
    "lwdetr-case", "", dim=24, heads=3, taps=(1, 2, 4), global_blocks=(1, 2), patch=4, side=8,
    table=Size(3, 3), windows_a_side=2, decoder_layers=2, channels=32, hidden=40,
)  # fmt: skip


def lwdetr_parts(dtype: torch.dtype) -> Iterator[ComparedPart]:
    """Yield what both compute of LW-DETR."""
    return query_parts(LWDETR, _ARCH, to_our_names, dtype)
