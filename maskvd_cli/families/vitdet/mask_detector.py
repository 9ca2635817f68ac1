"""ViTDet with a mask head: the detector, and the pixels of what it detects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import mask_stages_of
from maskvd_cli.families.vitdet.mask_head import MaskHead, mask_loss
from maskvd_cli.tasks.detections import Targets
from maskvd_cli.tasks.instances import InstanceTargets


class MaskDetector(Detector):
    """The detector as it is without masks, weights drawn alike, and a mask head after it.

    Boxes, scores and classes are the detector's own; masks are computed of what remains of them.
    """

    task: ClassVar[str] = "instance-masks"

    def __init__(self, arch: ViTArch, heads: HeadArch, input_size: Size, *, seed: int = 0) -> None:
        super().__init__(arch, heads, input_size, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.mask_head = MaskHead(heads)

    @property
    def stages(self) -> Sequence[Stage]:
        """Those of the detector and the mask head with their closed forms."""
        return mask_stages_of(self.arch, self.heads, self.grid)

    @torch.no_grad()
    def finish(self, features: Tensor) -> list[Any]:
        """Return the `Instances` of each image from the backbone's features (B, N, D).

        Boxes are in pixels of the padded input. Raises MaskvdError where outputs are not finite.
        """
        levels = self.levels(features)
        return self.mask_head.instances(levels, self.detected(levels))

    def head_losses(
        self, features: Tensor, targets: Sequence[Targets], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses of the detector and `masks`, on the positive regions of the box head.

        Raises UsageError for targets without silhouettes, and for a label that is no class.
        """
        levels = self.levels(features)
        objects = [_with_silhouettes(target).to(features.device) for target in targets]
        losses, regions = self.losses_at(levels, objects, generator)
        positive = [region.xyxy[: len(region.nearest)] for region in regions]
        return losses | mask_loss(self.mask_head(levels, positive), regions, objects)


def _with_silhouettes(target: Targets) -> InstanceTargets:
    if not isinstance(target, InstanceTargets):
        raise UsageError(
            "there are no instance masks to learn from",
            remedy="use a dataset that has them: synthetic or youtube-vis",
        )
    return target
