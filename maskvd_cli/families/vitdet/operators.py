"""torchvision's box operators, loaded at their first call.

Its import takes longer than planning a sweep from annotations, which needs none of them.
"""

# torchvision's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from torch import Tensor


def batched_nms(xyxy: Tensor, scores: Tensor, group: Tensor, iou: float) -> Tensor:
    """Return the indices (int64) of boxes (n, 4) that no better box of their group overlaps."""
    from torchvision import ops  # noqa: PLC0415

    return ops.batched_nms(xyxy, scores, group, iou)


def box_area(xyxy: Tensor) -> Tensor:
    """Return the areas (n,) of boxes (n, 4)."""
    from torchvision import ops  # noqa: PLC0415

    return ops.box_area(xyxy)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the overlaps (n, m), intersection over union, of boxes (n, 4) and (m, 4)."""
    from torchvision import ops  # noqa: PLC0415

    return ops.box_iou(first, second)


def roi_align(features: Tensor, rois: Tensor, size: int, scale: float) -> Tensor:
    """Return pooled features (n, channels, size, size) of rois (n, 5): image, x1, y1, x2, y2.

    `scale`: features per pixel. Half pixels are aligned; a bin takes as many samples as it needs.
    """
    from torchvision import ops  # noqa: PLC0415

    return ops.roi_align(features, rois, size, scale, sampling_ratio=0, aligned=True)
