"""Our backbone in windows, and the library's projector, decoder and heads behind it: RF-DETR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage, TrainableModel
from maskvd_cli.families.blocks.vit import PatchEmbedding
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.backbone import AntialiasedTransformer, TappedTransformer
from maskvd_cli.families.rfdetr.costs import stages_of
from maskvd_cli.families.rfdetr.groups import first_group
from maskvd_cli.families.rfdetr.library import RF_DETR, Library, QueryDetector
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.tasks.detections import Detections, Targets, check_labels


class QueryModel(TrainableModel):
    """The whole detector for one input size; the parameters do not depend on that size.

    `transformer`: what the backbone is; `library`: whose modules stand behind it. New weights are
    drawn from `seed` and leave the global random state as it was. Raises UsageError where patch and
    windows do not divide the input, where it has fewer tokens than the decoder has queries, and
    where transformers is missing.
    """

    transformer: ClassVar[type[TappedTransformer]]
    library: ClassVar[Library]

    def __init__(
        self, arch: QueryArch, shape: QueryShape, input_size: Size, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.arch, self.shape, self.input_size = arch, shape, input_size
        self.heads = replace(shape, groups=1)
        self.grid = arch.grid(input_size)
        if self.grid.area < shape.queries:
            raise UsageError(
                f"input {input_size} has {self.grid.area} tokens, fewer than the {shape.queries} "
                f"queries of {arch.name}",
                remedy="make the input larger",
            )
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the generators of all GPUs, too.
            torch.default_generator.manual_seed(seed)
            self.embedding = PatchEmbedding(arch)
            self.backbone = self.transformer(arch)
            self.queries = QueryDetector(arch, shape, library=self.library)

    @property
    def stages(self) -> Sequence[Stage]:
        """Patch embedding, projector, proposals, decoder and heads with their closed forms."""
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

    def predicted(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, Q, K) and boxes (B, Q, 4) from the backbone's features (B, N, T D).

        Boxes are centre and size (x, y, width, height) as shares of the input.
        """
        return self.queries(features.transpose(1, 2).unflatten(2, self.grid))

    @torch.no_grad()
    def finish(self, features: Tensor) -> list[Detections]:
        """Return the detections of each image from the backbone's features (B, N, T D).

        Boxes are in pixels of the padded input. Raises MaskvdError where outputs are not finite.
        """
        logits, boxes = self.predicted(features)
        if not bool(torch.isfinite(logits).all() & torch.isfinite(boxes).all()):
            raise MaskvdError(
                "scores or boxes of the detector are not finite",
                remedy="run in float32, or check the checkpoint",
            )
        return self.queries.detections(logits, boxes, self.input_size)

    def head_losses(
        self, features: Tensor, targets: Sequence[Targets], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses `classes`, `boxes`, `overlaps` from the features (B, N, T D).

        Nothing is drawn. Raises UsageError for a label that is no class.
        """
        del generator
        check_labels(targets, self.shape.classes)
        laid = features.transpose(1, 2).unflatten(2, self.grid)
        return self.queries.losses(laid, targets, self.input_size)

    def exported(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what inference needs of `tensors`: of groups of queries the first."""
        return first_group(tensors, self.shape)


class RFDETR(QueryModel):
    """RF-DETR: DINOv2 in windows with class tokens."""

    transformer = AntialiasedTransformer
    library = RF_DETR
