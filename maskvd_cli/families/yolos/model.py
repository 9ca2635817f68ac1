"""YOLOS: patches, a transformer with detection tokens, and two heads on these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Model, Stage
from maskvd_cli.families.blocks.vit import PatchEmbedding
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.yolos.archs import YolosArch
from maskvd_cli.families.yolos.costs import stages_of
from maskvd_cli.families.yolos.shape import HeadsShape
from maskvd_cli.families.yolos.transformer import DetectionTransformer
from maskvd_cli.tasks.detections import Detections


class Head(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        layers = [nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, outputs)]
        # A module list whose members keep their type.
        self.layers = cast(Sequence[nn.Linear], nn.ModuleList(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs (..., X) of tokens (..., D)."""
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(tokens)))))


class Yolos(Model):
    """The whole detector for one input size; the parameters do not depend on that size.

    New weights are drawn from `seed` and leave the global random state as it was. Raises UsageError
    where the patch does not divide the input.
    """

    def __init__(
        self, arch: YolosArch, shape: HeadsShape, input_size: Size, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.arch, self.shape, self.input_size = arch, shape, input_size
        self.grid = arch.grid(input_size)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the generators of all GPUs, too.
            torch.default_generator.manual_seed(seed)
            self.embedding = PatchEmbedding(arch)
            self.backbone = DetectionTransformer(arch)
            # One output more, for no object.
            self.class_labels_classifier = Head(arch.dim, shape.classes + 1)
            self.bbox_predictor = Head(arch.dim, 4)

    @property
    def heads(self) -> HeadsShape:
        """The shape of what follows the backbone."""
        return self.shape

    @property
    def stages(self) -> Sequence[Stage]:
        """Patch embedding and heads, with their closed forms."""
        return stages_of(self.arch, self.shape, self.grid)

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
        """Return the detections of each image from the backbone's features (B, T, D).

        One for every detection token, with its best class. Boxes are in pixels of the input, and
        may reach over it. Raises MaskvdError where outputs are not finite.
        """
        boxes, scores = self.scored(features)
        if not bool(torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
            raise MaskvdError(
                "boxes or scores are not finite", remedy="run in float32, or check the checkpoint"
            )
        outputs: list[Detections] = []
        for xyxy, of_classes in zip(boxes.float(), scores.float(), strict=True):
            best, labels = of_classes.max(dim=1)
            order = best.argsort(descending=True, stable=True)
            outputs.append(Detections(xyxy[order], best[order], labels[order]))
        return outputs

    def scored(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (B, T, 4) xyxy in pixels of the input, and scores (B, T, classes).

        Scores are a softmax over the classes and no object. In the features' own precision.
        """
        scores = self.class_labels_classifier(features).softmax(-1)[..., :-1]
        centre, size = self.bbox_predictor(features).sigmoid().split(2, dim=-1)
        side = features.new_tensor([self.input_size.cols, self.input_size.rows])
        corners = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
        return corners * side.repeat(2), scores
