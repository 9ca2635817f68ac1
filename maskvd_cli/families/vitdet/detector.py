"""ViTDet: a plain vision transformer, a simple feature pyramid, an RPN and one box head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage, TrainableModel
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.vitdet.box_head import BoxHead
from maskvd_cli.families.vitdet.head_arch import HeadArch, strides_of
from maskvd_cli.families.vitdet.head_costs import stages_of
from maskvd_cli.families.vitdet.head_losses import (
    Regions,
    box_losses,
    rpn_losses,
    sample_regions,
)
from maskvd_cli.families.vitdet.pyramid import FeaturePyramid
from maskvd_cli.families.vitdet.rpn import RegionProposalNetwork
from maskvd_cli.tasks.detections import Detections, Targets, check_labels


class Detector(TrainableModel):
    """The whole detector for one input size; the parameters do not depend on that size.

    New weights are drawn from `seed` and leave the global random state as it was. Runs on any
    device in float32, bfloat16 or float16; boxes are always float32. Raises UsageError where the
    patch does not divide the input, or a side has fewer than two patches; ValueError where the
    strides of `heads` are not those of the patch.
    """

    def __init__(self, arch: ViTArch, heads: HeadArch, input_size: Size, *, seed: int = 0) -> None:
        super().__init__()
        self.arch, self.heads, self.input_size = arch, heads, input_size
        self.grid = arch.grid(input_size)
        if min(self.grid) < 2:
            raise UsageError(
                f"input {input_size} has a side of one patch, too small for the feature pyramid",
                remedy=f"use at least {2 * arch.patch}x{2 * arch.patch}",
            )
        if heads.strides != strides_of(arch.patch):
            raise ValueError(f"strides {heads.strides} do not belong to patch {arch.patch}")
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the generators of all GPUs, too.
            torch.default_generator.manual_seed(seed)
            self.embedding = PatchEmbedding(arch)
            self.backbone = VisionTransformer(arch)
            self.pyramid = FeaturePyramid(arch.dim, heads.channels)
            self.rpn = RegionProposalNetwork(heads)
            self.box_head = BoxHead(heads)

    @property
    def stages(self) -> Sequence[Stage]:
        """Patch embedding, pyramid, RPN and box head with their closed forms."""
        return stages_of(self.arch, self.heads, self.grid)

    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return the detections of images (3, rows, cols) uint8, every token computed."""
        return self.finish(self.backbone(self.embed(images), self.grid))

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return the patch embeddings (B, N, D), without positions, of (3, rows, cols) uint8.

        Raises UsageError for an image that does not fit into the input.
        """
        weight = self.embedding.conv.weight
        return self.embedding(to_input(images, self.input_size, weight.device).to(weight.dtype))

    @torch.no_grad()
    def finish(self, features: Tensor) -> list[Detections]:
        """Return the detections of each image from the backbone's features (B, N, D).

        Boxes are in pixels of the padded input. Raises MaskvdError where outputs are not finite.
        """
        return self.detected(self.levels(features))

    @torch.no_grad()
    def detected(self, levels: Sequence[Tensor]) -> list[Detections]:
        """Return the detections of each image from the pyramid's levels."""
        heads = self.heads
        found = self.rpn.proposals(
            self.rpn(levels), self.input_size, pre_nms=heads.pre_nms, post_nms=heads.post_nms
        )
        boxes = [proposals.xyxy for proposals in found]
        return self.box_head.detections(self.box_head(levels, boxes), boxes, self.input_size)

    def losses(
        self, images: Sequence[Tensor], targets: Sequence[Targets], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the training losses: `rpn_objectness`, `rpn_deltas`, `box_classes`, `box_deltas`.

        One `targets` per image. `generator` samples anchors and regions; it may be on the CPU
        whatever the model's device is. Raises UsageError for a label that is no class, ValueError
        where images and targets differ in number.
        """
        if len(images) != len(targets):
            raise ValueError(f"{len(images)} images, but targets for {len(targets)}")
        features = self.backbone(self.embed(images), self.grid)
        return self.head_losses(features, targets, generator)

    def head_losses(
        self, features: Tensor, targets: Sequence[Targets], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the `losses` from the backbone's features (B, N, D), whoever computed them.

        Raises UsageError for a label that is no class.
        """
        return self.losses_at(self.levels(features), targets, generator)[0]

    def losses_at(
        self, levels: Sequence[Tensor], targets: Sequence[Targets], generator: torch.Generator
    ) -> tuple[dict[str, Tensor], list[Regions]]:
        """Return the `losses` from the pyramid's levels, and the regions that the box head learnt.

        Raises UsageError for a label that is no class.
        """
        check_labels(targets, self.heads.classes)
        heads = self.heads
        objects = [target.to(levels[0].device) for target in targets]
        output = self.rpn(levels)
        found = self.rpn.proposals(
            output, self.input_size,
            pre_nms=heads.training_pre_nms, post_nms=heads.training_post_nms,
        )  # fmt: skip
        losses = rpn_losses(output, objects, heads, generator)
        regions = sample_regions([p.xyxy for p in found], objects, heads, generator)
        predicted = self.box_head(levels, [region.xyxy for region in regions])
        return losses | box_losses(predicted, regions), regions

    def levels(self, features: Tensor) -> list[Tensor]:
        """Return the pyramid's levels of the backbone's features (B, N, D)."""
        return self.pyramid(features.transpose(1, 2).unflatten(2, self.grid))
