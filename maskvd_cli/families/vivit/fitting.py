"""Which architecture a recogniser's checkpoint has, told by the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Arch
from maskvd_cli.families.checkpoints import differences, shapes_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vivit.archs import ARCHS, ViViTArch
from maskvd_cli.families.vivit.model import ViViT
from maskvd_cli.families.vivit.shape import ClassifierShape


def arch_differences(tensors: Mapping[str, Tensor], arch: ViViTArch) -> list[str]:
    """Return how shapes under our names differ from those of `arch`, nothing where they fit.

    For as many classes as the tensors have. The number of heads cannot be seen in shapes.
    """
    shapes = shapes_of(tensors)
    classes = max([*shapes.get("classifier.bias", ())[:1], 1])
    with torch.device("meta"):
        model = ViViT(arch, ClassifierShape(classes), Size(arch.patch, arch.patch))
    return differences(shapes_of(model.state_dict()), shapes)


def fitting_archs(tensors: Mapping[str, Tensor], wanted: Arch | None, where: object) -> list[str]:
    """Return the names of the architectures that have exactly these shapes.

    Raises CheckpointError about `where` unless `wanted` is one of them, where one is.
    """
    if wanted is None:
        return [name for name, arch in ARCHS.items() if not arch_differences(tensors, arch)]
    problems = ["it is a recogniser"]
    if isinstance(wanted, ViViTArch):
        problems = arch_differences(tensors, wanted)
    if problems:
        raise CheckpointError(
            f"is no {wanted.name}: {'; '.join(problems)}",
            where=where,
            remedy="name the architecture that it has, or none",
        )
    return [wanted.name]
