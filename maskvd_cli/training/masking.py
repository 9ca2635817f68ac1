"""The backbone in training with the static mask on: tokens outside it give zero features.

A single frame has no cache, so nothing stale can stand in for the tokens that are left out. A
non-windowed backbone runs on the chosen tokens alone, as MaskVD's does. In a windowed one, whose
blocks need whole windows, the features of other tokens are zero before every block and after the
last: as keys they are the same constant everywhere. No gradient passes through them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.data.gather import gather, protocol_for
from maskvd_cli.families.base import TrainableModel
from maskvd_cli.families.blocks import traits
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.masks.heatmap import accumulate
from maskvd_cli.masks.static import region_scores, static_mask
from maskvd_cli.training.frames import FrameList
from maskvd_cli.training.geometry import TrainingInput


def check_maskable(arch: ViTArch) -> None:
    """Raise UsageError for a backbone that is read at several depths, or has tokens in windows.

    What would be read there of tokens outside the mask is said nowhere.
    """
    if arch.has & {traits.TAPS, traits.WINDOW_CLASS_TOKENS}:
        raise UsageError(
            f"mask is not for {arch.name}, whose features are read at several depths",
            remedy="leave mask out",
        )


def training_mask(
    listed: FrameList, geometry: TrainingInput, keep_rate: float, patch: int
) -> Tensor:
    """Return the static mask (N,) bool of the training split.

    Its heatmap sums every annotated box as it lies in the input: of native classes too, where they
    are not those of a protocol of one's own. Raises UsageError for a keep rate that keeps no token.
    """
    used = listed.dataset
    everything = type(used)(used.root, used.split, protocol_for("all", type(used), used.protocol))
    boxes = gather(everything, "all", (geometry.input, geometry.frame)).xyxy
    heatmap = accumulate(torch.from_numpy(boxes), geometry.input)
    kept = static_mask(region_scores(heatmap, patch), keep_rate)
    if not kept.any():
        raise UsageError(
            f"mask.static_keep_rate {keep_rate} keeps none of {len(kept)} tokens",
            remedy=f"use at least {1 / len(kept):.4f}",
        )
    return kept


def features(detector: TrainableModel, images: Sequence[Tensor], kept: Tensor | None) -> Tensor:
    """Return the backbone's features (B, N, D); `kept` (N,) bool on its device, None: all."""
    tokens = detector.embed(images)
    if kept is None:
        return detector.backbone(tokens, detector.grid)
    return masked_features(detector.backbone, tokens, detector.grid, kept)


def masked_features(
    backbone: VisionTransformer, tokens: Tensor, grid: Size, kept: Tensor
) -> Tensor:
    """Return the features (B, N, D) of embedded patches, zero where `kept` (N,) bool is false."""
    sequence = tokens + backbone.positions_on(grid)
    if backbone.arch.windowed_depth:
        share = kept.to(sequence.dtype)[:, None]
        for block in backbone.blocks:
            sequence = block(sequence * share, grid)
        return backbone.finish(sequence) * share
    index = kept.nonzero().squeeze(1)
    sequence = backbone.with_class_token(sequence[:, index])
    for block in backbone.blocks:
        attended = block.attend_among(block.qkv(block.norm1(sequence)), grid, index)
        sequence = block.complete(sequence, attended)
    found = backbone.finish(sequence)
    empty = found.new_zeros(len(found), len(kept), found.shape[2])
    return empty.index_copy(1, index, found)
