"""ViViT's factorised encoder: tubelets, a spatial and a temporal transformer, a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage, TrainableModel
from maskvd_cli.families.vivit.archs import ViViTArch
from maskvd_cli.families.vivit.costs import stages_of
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.families.vivit.transformer import ClassTransformer, TubeletEmbedding
from maskvd_cli.tasks.recognised import Recognised

# Of pixels in 0..1, the same for all channels.
PIXEL_MEAN, PIXEL_STD = 0.45, 0.225
# Share of the features that the classifier sees, in training.
DROPOUT = 0.5


class ViViT(TrainableModel):
    """The whole recogniser for one input size; the parameters do not depend on that size.

    Frames come step by step: `embed` takes the frames of one step, `finish` gives its features, and
    `conclude` runs temporal transformer and classifier on the features of a look. New weights are
    drawn from `seed` and leave the global random state as it was. Raises UsageError where the patch
    does not divide the input.
    """

    task: ClassVar[str] = "recognition"
    concludes: ClassVar[bool] = True

    def __init__(
        self, arch: ViViTArch, shape: ClassifierShape, input_size: Size, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.arch, self.shape, self.input_size = arch, shape, input_size
        self.heads = shape
        self.grid = arch.grid(input_size)
        self.dropout = DROPOUT
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the generators of all GPUs, too.
            torch.default_generator.manual_seed(seed)
            self.embedding = TubeletEmbedding(arch)
            self.backbone = ClassTransformer(arch)
            self.temporal = ClassTransformer(arch.temporal)
            self.classifier = nn.Linear(arch.dim, shape.classes)
            nn.init.trunc_normal_(self.classifier.weight, std=0.02)
            nn.init.zeros_(self.classifier.bias)

    @property
    def stages(self) -> Sequence[Stage]:
        """Embedding, and temporal transformer with classifier, with their closed forms."""
        return stages_of(self.arch, self.shape, self.grid)

    @property
    def looks(self) -> Looks:
        """How it looks at a video."""
        return self.arch.looks

    def forward(self, looks: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, classes) of whole looks (frames, 3, rows, cols)."""
        features = self.backbone(self.embed(looks), self.grid)
        return self.logits(features.unflatten(0, (len(looks), -1))[:, :, 0])

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return the tokens (B, N, D), without positions, of B steps' frames one after the other.

        Frames (3, rows, cols) in 0..255, uint8 or float, fill the input; of a look they may stand
        in one tensor (frames, 3, rows, cols). Raises UsageError for others, and for frames that
        make up no whole steps.
        """
        images = [frame for part in images for frame in (part if part.dim() > 3 else (part,))]
        weight, tubelet = self.embedding.conv.weight, self.arch.looks.tubelet
        if not images or len(images) % tubelet:
            raise UsageError(
                f"{len(images)} images are no whole steps of {tubelet}",
                remedy=f"give {tubelet} frames for each step",
            )
        for image in images:
            if tuple(image.shape) != (3, *self.input_size):
                raise UsageError(
                    f"an image is {tuple(image.shape)}, not (3, {self.input_size.rows}, "
                    f"{self.input_size.cols})",
                    remedy="crop frames to the input",
                )
        stacked = torch.stack([image.to(weight.device) for image in images])
        pixels = normalised(stacked.to(torch.promote_types(stacked.dtype, torch.float32)) / 255)
        steps = pixels.unflatten(0, (-1, tubelet)).transpose(1, 2)
        return self.embedding(steps.to(weight.dtype))

    def finish(self, features: Tensor) -> list[Recognised]:
        """Return the features of each step from the spatial transformer's (B, 1, D).

        Raises MaskvdError where they are not finite.
        """
        if not bool(torch.isfinite(features).all()):
            raise MaskvdError(
                "the features of a step are not finite",
                remedy="run in float32, or check the checkpoint",
            )
        return [Recognised(step[0]) for step in features]

    def conclude(self, outputs: Sequence[Recognised]) -> Recognised:
        """Return the last output with the logits of the look that the outputs are of.

        Raises UsageError where there are not as many as a look has steps.
        """
        weight = self.classifier.weight
        features = torch.stack([output.features for output in outputs])
        logits = self.logits(features.to(weight.device, weight.dtype)[None])[0]
        return replace(outputs[-1], logits=logits.float().to(outputs[-1].features.device))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (B, classes) of looks' features (B, steps, D)."""
        return self.classifier(self.summary(features))

    def head_losses(
        self, features: Tensor, targets: Sequence[int], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the training loss from the spatial transformer's (B * steps, 1, D).

        `targets`: the class of each look. `dropout` of what the classifier sees is dropped, drawn
        from `generator` (on the CPU). Raises UsageError for a label that is no class.
        """
        if not all(0 <= target < self.shape.classes for target in targets):
            raise UsageError(
                f"labels {list(targets)} reach outside 0..{self.shape.classes - 1}",
                remedy="make a model with as many classes as the dataset has",
            )
        summary = self.summary(features.unflatten(0, (len(targets), -1))[:, :, 0])
        kept = torch.rand(summary.shape, generator=generator) >= self.dropout
        logits = self.classifier(summary * kept.to(summary) / (1 - self.dropout))
        wanted = torch.tensor(targets, device=logits.device)
        return {"cross_entropy": F.cross_entropy(logits.float(), wanted)}

    def summary(self, features: Tensor) -> Tensor:
        """Return the temporal transformer's class tokens (B, D) of features (B, steps, D)."""
        steps = self.arch.looks.steps
        if features.shape[1] != steps:
            raise UsageError(
                f"a look has {features.shape[1]} steps, {self.arch.name} takes {steps}",
                remedy="give looks whole",
            )
        return self.temporal(features, Size(1, steps))[:, 0]


def normalised(pixels: Tensor) -> Tensor:
    """Return pixels in 0..1 as the model takes them."""
    return (pixels - PIXEL_MEAN) / PIXEL_STD
