"""Groups of queries: training has several side by side, inference the first."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from maskvd_cli.families.rfdetr.shape import QueryShape

_MODEL = r"queries\.detr\.model\."
# One row for each query of all groups.
_TABLES = re.compile(_MODEL + r"(query_feat|reference_point_embed)\.weight")
# Layers of the first stage, which every group has under its number.
_LATER = re.compile(_MODEL + r"enc_out(put|put_norm|_bbox_embed|_class_embed)\.(?!0\.)\d+\..*")


def first_group(tensors: Mapping[str, Tensor], shape: QueryShape) -> dict[str, Tensor]:
    """Return a detector's tensors by our names without the groups of queries beyond the first."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _LATER.fullmatch(name):
            continue
        made[name] = tensor[: shape.queries].clone() if _TABLES.fullmatch(name) else tensor
    return made
