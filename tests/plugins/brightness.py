"""Family plug-in for the task of frames' classes: bright or dark, told by two kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from frame_label import FrameClass
from tinyconv import ConvArch, ConvShape, TinyConv, TinyConvFamily
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage


class Brightness(TinyConv):
    """Sums what lies above and below grey; its weights are set, not learnt."""

    task = "frame-label"

    def __init__(self, arch: ConvArch, shape: ConvShape, input_size: Size, seed: int) -> None:
        super().__init__(arch, shape, input_size, seed)
        with torch.no_grad():
            for parameter in (*self.stem.parameters(), *self.backbone.parameters()):
                parameter.zero_()
            for number, sign in ((0, 1.0), (1, -1.0)):
                self.stem.weight[number] = sign
                self.backbone.conv.weight[number, number, 1, 1] = 1.0

    @property
    def stages(self) -> Sequence[Stage]:
        return ()

    def finish(self, features: Tensor) -> list[FrameClass]:  # pyright: ignore
        return [FrameClass(features[0, :2].amax((1, 2)))]


class BrightnessFamily(TinyConvFamily):
    name, description, task = "brightness", "bright or dark", "frame-label"
    archs = classmethod(lambda cls: (ConvArch("brightness"),))
    stages = classmethod(lambda cls, *parts: ())

    @classmethod
    def build(cls, arch: ConvArch, shape: ConvShape, input_size: Size, *, seed: int) -> Brightness:
        return Brightness(arch, shape, input_size, seed)
