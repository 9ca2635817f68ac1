"""Family plug-in: a convolutional detector; every cell is a box with its best class."""
# pyright: reportAssignmentType=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Model, Stage
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.tasks.detections import Detections


@dataclass(frozen=True)
class ConvArch:
    name: str = "tinyconv"
    description: str = "two convolutions"
    paper: str = ""
    patch: int = 8
    backbone: str = "convolutional"
    has: frozenset[str] = frozenset()

    def grid(self, input_size: Size) -> Size:
        return input_size.tiles(self.patch)


@dataclass(frozen=True)
class ConvShape:
    classes: int


class ConvBackbone(nn.Module):
    def __init__(self, arch: ConvArch) -> None:
        super().__init__()
        self.arch, self.conv = arch, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, embedded: Tensor, grid: Size) -> Tensor:
        return self.conv(embedded).relu()


class TinyConv(Model):
    def __init__(self, arch: ConvArch, shape: ConvShape, input_size: Size, seed: int) -> None:
        super().__init__()
        self.arch, self.input_size, self.grid = arch, input_size, arch.grid(input_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem, self.backbone = nn.Conv2d(3, 4, 8, 8), ConvBackbone(arch)
            self.head = nn.Conv2d(4, shape.classes, 1)

    @property
    def stages(self) -> Sequence[Stage]:
        return TinyConvFamily.stages()

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        return self.stem(to_input(images, self.input_size, self.stem.weight.device))

    def finish(self, features: Tensor) -> list[Detections]:
        rows, cols = torch.meshgrid(*(torch.arange(n) * 8 for n in self.grid), indexing="ij")
        corners = torch.stack([cols, rows], -1).reshape(-1, 2).float()
        scores, labels = self.head(features)[0].flatten(1).sigmoid().max(0)
        best = scores.argsort(descending=True, stable=True)[:9]
        return [Detections(torch.cat([corners, corners + 8], 1)[best], scores[best], labels[best])]


class TinyConvFamily(Family[ConvArch, ConvShape]):
    name, description, task = "tinyconv", "a convolutional detector", "detection"
    default_input = "32x48"
    archs = classmethod(lambda cls: (ConvArch(),))
    random_shape = classmethod(lambda cls, arch, classes: ConvShape(classes))
    shape_of = classmethod(lambda cls, arch, file: ConvShape(len(file.tensors["head.bias"])))
    shape_setting = classmethod(lambda cls, shape: {"classes": shape.classes})
    stages = classmethod(lambda cls, *parts: (Stage("stem", "embed"), Stage("head", "head")))

    @classmethod
    def build(cls, arch: ConvArch, shape: ConvShape, input_size: Size, *, seed: int) -> TinyConv:
        return TinyConv(arch, shape, input_size, seed)
