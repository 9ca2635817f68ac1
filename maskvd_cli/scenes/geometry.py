"""The backbone, its input, and how frames are laid into it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maskvd_cli.core.placement import frame_size
from maskvd_cli.core.size import Size
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.recipe.schema import Recipe

# A model, None for the recipe's first, and one of its inputs.
Site = tuple[str | None, str]


@dataclass(frozen=True)
class Geometry:
    """One input of a recipe's model, defaults filled in; `frame` is None for fit."""

    arch: ViTArch
    input: Size
    frame: Size | None
    grid: Size

    @classmethod
    def of(cls, recipe: Recipe, input_text: str) -> Geometry:
        """Resolve the recipe's model section at one of its inputs.

        Raises UsageError where sizes do not fit.
        """
        arch = get_arch(recipe.model.name)
        input_size = Size.parse(input_text)
        default = datasets.load(recipe.dataset.name).frame_at(input_size)
        frame = frame_size(recipe.model.frame, default, input_size)
        return cls(arch, input_size, frame, arch.grid(input_size))

    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""
        shape = {
            name: str(value) if isinstance(value, Size) else value
            for name, value in asdict(self.arch).items()
            if name not in ("description", "paper")
        }
        return {
            **shape,
            "backbone": self.arch.backbone,
            "input": str(self.input),
            "frame": str(self.frame or "fit"),
        }
