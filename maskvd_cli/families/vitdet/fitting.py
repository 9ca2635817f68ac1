"""Which architecture a checkpoint has, told by the shapes of its tensors."""

from __future__ import annotations

import torch
from torch import nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import PatchEmbedding, VisionTransformer
from maskvd_cli.families.checkpoints import Shapes, differences, shapes_of
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.mask_detector import MaskDetector
from maskvd_cli.families.vitdet.mask_family import MASK_ARCHS
from maskvd_cli.families.vitdet.namings import CLASS_TOKEN, EMBEDDING, FINAL_NORM
from maskvd_cli.families.vitdet.renaming import CheckpointError, Converted, listed


def arch_differences(converted: Converted, arch: ViTArch) -> list[str]:
    """Return how the shapes differ from those of `arch`, nothing where they fit.

    The whole detector is compared, for as many classes, channels and hidden units as the file
    has; a backbone alone needs no patch convolution. Without relative positions the number of
    heads cannot be seen in shapes.
    """
    found = shapes_of(converted.tensors)
    with torch.device("meta"):
        if converted.contains == "detector":
            smallest = Size(2 * arch.patch, 2 * arch.patch)
            kind = MaskDetector if arch.name in MASK_ARCHS else Detector
            expected = shapes_of(kind(arch, _head_arch(found, arch), smallest).state_dict())
        else:
            parts = {"backbone": VisionTransformer(arch)}
            if any(name in found for name in EMBEDDING):
                parts |= {"embedding": PatchEmbedding(arch)}
            expected = shapes_of(nn.ModuleDict(parts).state_dict())
    return differences(expected, found)


def matching_archs(converted: Converted) -> list[ViTArch]:
    """Return the known architectures that have exactly these shapes."""
    known = (*ARCHS.values(), *MASK_ARCHS.values())
    fitting = [arch for arch in known if not arch_differences(converted, arch)]
    # A backbone alone is that of the same model without a mask head, too.
    return (
        fitting
        if converted.contains == "detector"
        else [arch for arch in fitting if arch.name not in MASK_ARCHS]
    )


def fitted_to(converted: Converted, arch: ViTArch, where: object) -> Converted:
    """Return `converted` as `arch` needs it, or raise CheckpointError with all that differs.

    Of a timm backbone, class token and final norm are dropped where `arch` has none.
    """
    tensors, dropped = dict(converted.tensors), dict(converted.dropped)
    if converted.naming == "timm":
        unwanted = () if arch.class_token else (CLASS_TOKEN,)
        unwanted += () if arch.final_norm else FINAL_NORM
        for name in unwanted:
            if tensors.pop(name, None) is not None:
                dropped[name] = f"{arch.name} has none"
    fitted = Converted(tensors, converted.naming, dropped)
    problems = arch_differences(fitted, arch)
    odd = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if odd:
        problems.append(f"no floating-point numbers: {listed(odd)}")
    if problems:
        raise CheckpointError(
            f"is no {arch.name}: {'; '.join(problems)}",
            where=where,
            remedy="name the architecture that it has, or none",
        )
    return fitted


def _head_arch(found: Shapes, arch: ViTArch) -> HeadArch:
    """Return the heads with the widths that the file has; at least 1, so that shapes can differ."""

    def width(name: str) -> int:
        return max([*found[name][:1], 1])

    return HeadArch.for_patch(
        arch.patch,
        classes=max(width("box_head.classes.bias") - 1, 1),
        channels=width("rpn.convs.0.bias"),
        hidden=width("box_head.fc.bias"),
    )
