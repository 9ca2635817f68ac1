"""The shape of pyramid, RPN and box head; numbers only, no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEVELS = 5


def strides_of(patch: int) -> tuple[float, ...]:
    """Return the pixels between cells of p2..p6: a quarter of the patch, doubled level by level.

    Whole numbers are int, so that files and keys of patch 16 say 4 and not 4.0.
    """
    exact = [patch * 2**level / 4 for level in range(LEVELS)]
    return tuple(int(stride) if stride.is_integer() else stride for stride in exact)


@dataclass(frozen=True)
class SamplingRule:
    """Which boxes train a head: `count` per image, at most `positive_fraction` of them positive.

    A box is positive from an IoU of `positive_iou` with an object and negative below
    `negative_iou`; between, it counts neither way. `keep_best`: the boxes with the highest IoU of
    each object are positive however low it is.
    """

    count: int
    positive_fraction: float
    negative_iou: float
    positive_iou: float
    keep_best: bool


@dataclass(frozen=True)
class HeadArch:
    """Simple feature pyramid, RPN and one box head of ViTDet; the defaults are those of ViTDet-B.

    `classes` foreground classes (background is one more, the last); `channels` of all pyramid
    levels; `hidden` units of the box head's fully connected layer; `strides` pixels of the levels
    p2..p6, as `for_patch` gives them; `anchor_sizes` pixels, one per level; `anchor_ratios` height
    / width. `pre_nms` boxes per level and `post_nms` boxes per image are the RPN's at test,
    `training_*` in training;
    `score_floor`, `nms_iou` and `detections` are the final selection's. `ignore_overlap`: share of
    a box inside an ignore region from which it does not train.

    Raises ValueError where levels, sizes and strides do not belong together.
    """

    classes: int = 30
    channels: int = 256
    hidden: int = 1024
    strides: tuple[float, ...] = (4, 8, 16, 32, 64)
    anchor_sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    roi_size: int = 7
    pre_nms: int = 1000
    post_nms: int = 300
    training_pre_nms: int = 2000
    training_post_nms: int = 1000
    rpn_nms_iou: float = 0.7
    score_floor: float = 0.05
    nms_iou: float = 0.5
    detections: int = 100
    ignore_overlap: float = 0.5
    rpn_sampling: SamplingRule = SamplingRule(
        count=256, positive_fraction=0.5, negative_iou=0.3, positive_iou=0.7, keep_best=True
    )
    box_sampling: SamplingRule = SamplingRule(
        count=512, positive_fraction=0.25, negative_iou=0.5, positive_iou=0.5, keep_best=False
    )

    def __post_init__(self) -> None:
        if len(self.strides) != LEVELS or len(self.anchor_sizes) != LEVELS:
            raise ValueError("the pyramid has five levels: give five strides and anchor sizes")
        if self.strides != tuple(self.strides[0] * 2**level for level in range(LEVELS)):
            raise ValueError(f"strides {self.strides} do not double from level to level")
        if self.classes < 1:
            raise ValueError(f"{self.classes} classes: a detector needs at least one")

    @classmethod
    def for_patch(cls, patch: int, **parts: Any) -> HeadArch:
        """Return the heads on a backbone with this patch; `parts` are the other fields.

        Raises ValueError as the class does.
        """
        return cls(**{"strides": strides_of(patch), **parts})

    @property
    def mask_roi_size(self) -> int:
        """Side of the features that a mask head gets; its masks have twice that."""
        return 2 * self.roi_size

    @property
    def anchors_per_cell(self) -> int:
        """Number of anchors at each cell of a level."""
        return len(self.anchor_ratios)
