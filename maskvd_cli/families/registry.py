"""The families by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.registry import Registry
from maskvd_cli.families.base import Family

families: Registry[Family[Any, Any]] = Registry(
    "family",
    Family,
    "maskvd.families",
    {
        "lwdetr": "maskvd_cli.families.lwdetr.family:LWDETRFamily",
        "rfdetr": "maskvd_cli.families.rfdetr.family:RFDETRFamily",
        "vitdet": "maskvd_cli.families.vitdet.family:ViTDet",
        "vitdet-masks": "maskvd_cli.families.vitdet.mask_family:MaskViTDet",
        "vivit": "maskvd_cli.families.vivit.family:ViViTFamily",
        "owlv2": "maskvd_cli.families.owlv2.family:Owlv2Family",
        "yolos": "maskvd_cli.families.yolos.family:YolosFamily",
    },
)
