"""OWLv2: patches, CLIP's vision transformer, and heads that read a box from every token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Model, Stage
from maskvd_cli.families.blocks.vit import PatchEmbedding
from maskvd_cli.families.owlv2.archs import Owlv2Arch
from maskvd_cli.families.owlv2.costs import stages_of
from maskvd_cli.families.owlv2.shape import QueriesShape
from maskvd_cli.families.owlv2.transformer import ProductTransformer
from maskvd_cli.families.preprocess import Pixels, to_input
from maskvd_cli.tasks.detections import Detections

# CLIP's, of pixels in 0..255; padding is black.
CLIP = Pixels(
    mean=(122.7709383, 116.7460125, 104.09373615),
    std=(68.5005327, 66.6321579, 70.32316305),
    padding=0.0,
)
# Of an image's tokens, those with the best scores; benchmarks look at no more.
_DETECTIONS = 100
_NORM_EPS, _BIAS_EPS = 1e-6, 1e-4


class PlacedBoxHead(nn.Module):
    """Three linear layers with GELU between them, plus what depends on a token's place."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense0, self.dense1 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dense2 = nn.Linear(dim, 4)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return centre and size (B, N, 4) in 0..1 of tokens (B, N, D)."""
        hidden = F.gelu(self.dense1(F.gelu(self.dense0(tokens))))
        return (self.dense2(hidden) + bias).sigmoid()


class ClassHead(nn.Module):
    """Cosine of tokens and texts, with a shift and a scale that each token gives itself."""

    def __init__(self, arch: Owlv2Arch, classes: int) -> None:
        super().__init__()
        self.dense0 = nn.Linear(arch.dim, arch.query_dim)
        self.logit_shift, self.logit_scale = nn.Linear(arch.dim, 1), nn.Linear(arch.dim, 1)
        self.queries = nn.Parameter(torch.randn(classes, arch.query_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, N, classes) of tokens (B, N, D)."""
        cosine = _unit(self.dense0(tokens)) @ _unit(self.queries).mT
        return (cosine + self.logit_shift(tokens)) * (F.elu(self.logit_scale(tokens)) + 1)


class Owlv2(Model):
    """The whole detector for one input size; the parameters do not depend on that size.

    The embeddings of the texts that stand for classes are parameters, computed once beforehand. New
    weights are drawn from `seed` and leave the global random state as it was. Raises UsageError
    where the patch does not divide the input.
    """

    def __init__(
        self, arch: Owlv2Arch, shape: QueriesShape, input_size: Size, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.arch, self.shape, self.input_size = arch, shape, input_size
        self.grid = arch.grid(input_size)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which seeds the generators of all GPUs, too.
            torch.default_generator.manual_seed(seed)
            self.embedding = PatchEmbedding(arch)
            self.embedding.conv.register_parameter("bias", None)
            self.backbone = ProductTransformer(arch)
            self.class_head = ClassHead(arch, shape.classes)
            self.box_head = PlacedBoxHead(arch.dim)
        self.box_bias: Tensor
        self.register_buffer("box_bias", box_bias(self.grid), persistent=False)

    @property
    def heads(self) -> QueriesShape:
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
        pixels = to_input(images, self.input_size, weight.device, CLIP)
        return self.embedding(pixels.to(weight.dtype))

    @torch.no_grad()
    def finish(self, features: Tensor) -> list[Detections]:
        """Return the detections of each image from the backbone's features (B, N, D).

        Of the best 100 tokens, each with its best class. Boxes are in pixels of the input, and may
        reach over it. Raises MaskvdError where outputs are not finite.
        """
        boxes, scores = self.scored(features)
        if not bool(torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
            raise MaskvdError(
                "boxes or scores are not finite", remedy="run in float32, or check the checkpoint"
            )
        outputs: list[Detections] = []
        for xyxy, of_classes in zip(boxes.float(), scores.float(), strict=True):
            best, labels = of_classes.max(dim=1)
            order = best.argsort(descending=True, stable=True)[:_DETECTIONS]
            outputs.append(Detections(xyxy[order], best[order], labels[order]))
        return outputs

    def scored(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (B, N, 4) xyxy in pixels of the input, and scores (B, N, classes).

        A score is the sigmoid of its logit. In the features' own precision.
        """
        scores = self.class_head(features).sigmoid()
        centre, size = self.box_head(features, self.box_bias).split(2, dim=-1)
        side = features.new_tensor([self.input_size.cols, self.input_size.rows])
        corners = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
        return corners * side.repeat(2), scores


def box_bias(grid: Size) -> Tensor:
    """Return what a token's place adds to its box before the sigmoid, (N, 4) float32.

    The logits of its lower right corner and of the sides of a patch, in shares of the grid.
    """
    rows, cols = (torch.arange(1, side + 1, dtype=torch.float32) / side for side in grid)
    corners = torch.stack([cols.repeat(grid.rows), rows.repeat_interleave(grid.cols)], dim=-1)
    sides = (torch.ones(2) / torch.tensor([grid.cols, grid.rows])).expand_as(corners)
    placed = torch.cat([corners, sides], dim=-1)
    return torch.log(placed + _BIAS_EPS) - torch.log1p(-placed + _BIAS_EPS)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + _NORM_EPS)
