"""LW-DETR: our backbone, and the library's projector, decoder and heads behind it."""

from __future__ import annotations

from maskvd_cli.families.lwdetr.library import LW_DETR
from maskvd_cli.families.rfdetr.backbone import TappedTransformer
from maskvd_cli.families.rfdetr.detector import QueryModel


class LWDETR(QueryModel):
    """LW-DETR: a plain ViT in windows without class tokens."""

    transformer = TappedTransformer
    library = LW_DETR
