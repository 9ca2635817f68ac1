"""A second family, made for tests: a tiny convolutional detector, and a method that skips frames.

No token, no window, no closed form: everything that is told of them must come through the seams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from maskvd_cli.core.placement import check_patch
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Model, Stage, WeightsFile
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.methods.base import FrameContext, FrameTrace, Method, Params, Selection, Stages
from maskvd_cli.tasks.detections import Detections


@dataclass(frozen=True)
class ConvArch:
    """Three convolutions of one width at a stride of 8."""

    name: str
    width: int
    description: str = "three convolutions"
    paper: str = "made for tests"
    patch: int = 8
    backbone: str = "convolutional"

    @property
    def has(self) -> frozenset[str]:
        return frozenset()

    def grid(self, input_size: Size) -> Size:
        check_patch(input_size, self.patch)
        return input_size.tiles(self.patch)


@dataclass(frozen=True)
class ConvShape:
    """The only number that a point-wise head has."""

    classes: int


class ConvBackbone(nn.Module):
    def __init__(self, arch: ConvArch) -> None:
        super().__init__()
        self.arch = arch
        self.convs = nn.Sequential(
            nn.Conv2d(arch.width, arch.width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(arch.width, arch.width, 3, padding=1),
        )

    def forward(self, embedded: Tensor, grid: Size) -> Tensor:
        assert tuple(embedded.shape[-2:]) == tuple(grid)
        return self.convs(embedded)


class ConvDetector(Model):
    """One box per cell, the cell itself; its best class with a sigmoid score."""

    def __init__(self, arch: ConvArch, shape: ConvShape, input_size: Size, seed: int) -> None:
        super().__init__()
        self.arch, self.shape, self.input_size = arch, shape, input_size
        self.grid = arch.grid(input_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, arch.width, arch.patch, arch.patch)
            self.backbone = ConvBackbone(arch)
            self.head = nn.Conv2d(arch.width, shape.classes, 1)

    @property
    def stages(self) -> Sequence[Stage]:
        return ConvFamily.stages(self.arch, self.shape, self.grid)

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        weight = self.stem.weight
        return self.stem(to_input(images, self.input_size, weight.device).to(weight.dtype))

    def finish(self, features: Tensor) -> list[Detections]:
        side = self.arch.patch
        rows, cols = torch.meshgrid(*(torch.arange(n) * side for n in self.grid), indexing="ij")
        corners = torch.stack([cols, rows], dim=-1).reshape(-1, 2).float().to(features.device)
        boxes = torch.cat([corners, corners + side], dim=1)
        outputs: list[Detections] = []
        for logits in self.head(features).flatten(2).transpose(1, 2):
            scores, labels = logits.sigmoid().float().max(dim=1)
            best = scores.argsort(descending=True, stable=True)[:20]
            outputs.append(Detections(boxes[best], scores[best], labels[best]))
        return outputs


class ConvFamily(Family[ConvArch, ConvShape]):
    """Convolutional detectors without a closed form of any cost."""

    name = "conv"
    description = "tiny convolutional detectors"
    task = "detection"
    default_input = "64x128"

    @classmethod
    def archs(cls) -> Sequence[ConvArch]:
        return (ConvArch("conv-4", 4), ConvArch("conv-8", 8))

    @classmethod
    def build(
        cls, arch: ConvArch, shape: ConvShape, input_size: Size, *, seed: int
    ) -> ConvDetector:
        return ConvDetector(arch, shape, input_size, seed)

    @classmethod
    def random_shape(cls, arch: ConvArch, classes: int) -> ConvShape:
        return ConvShape(classes)

    @classmethod
    def shape_of(cls, arch: ConvArch, file: WeightsFile) -> ConvShape:
        return ConvShape(len(file.tensors["head.bias"]))

    @classmethod
    def stages(cls, arch: ConvArch, shape: ConvShape, grid: Size) -> Sequence[Stage]:
        return (Stage("stem", "embed"), Stage("head", "head"))

    @classmethod
    def shape_setting(cls, shape: ConvShape) -> dict[str, Any]:
        return {"classes": shape.classes}


class SkipParams(Params):
    """How often a frame is run."""

    every: int = Field(default=2, ge=1, description="frames between two that are run")


class Skip(Method[SkipParams]):
    """Runs every n-th frame and repeats its output; works with any family."""

    name = "skip"
    description = "runs every n-th frame, repeats its output on the others"
    paper = "made for tests"
    params_type = SkipParams
    role = "control"
    columns = {"every": "every"}  # noqa: RUF012

    def forget(self) -> None:
        """Do nothing: the harness keeps the last output."""

    def run(self, images: Sequence[Tensor], frame: FrameContext, stages: Stages) -> Any:
        if frame.index % self.params.every:
            self.trace = FrameTrace(0, full=False)
            return stages.last
        return super().run(images, frame, stages)

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        return self.backbone(tokens, frame.grid), FrameTrace(frame.grid.area, full=True)

    def state(self) -> Iterable[Tensor]:
        return ()
