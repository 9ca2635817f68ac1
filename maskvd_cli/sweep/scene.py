"""What the points at one input of a recipe's model share: geometry, clips, the heads' shape."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from maskvd_cli.methods.base import ClipView
from maskvd_cli.models.head_arch import HeadArch
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.sweep.annotations import Annotations
from maskvd_cli.sweep.geometry import Geometry
from maskvd_cli.sweep.source import Source
from maskvd_cli.sweep.statistics import Statistics


class Scene:
    """One input; whatever must be read is read when first asked for.

    Raises DatasetError for unusable annotations.
    """

    def __init__(self, recipe: Recipe, detections: str, geometry: Geometry, source: Source) -> None:
        self.recipe = recipe
        self.detections = detections
        self.geometry = geometry
        self.source = source

    @property
    def heads(self) -> HeadArch | None:
        """Pyramid, RPN and box head, or None where the number of classes is not known."""
        classes = self.source.classes
        return None if classes is None else HeadArch(classes=classes)

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What all points of the scene share and what decides their results."""
        heads = self.heads
        shape = None
        if heads is not None:
            shape = {
                "classes": heads.classes,
                "channels": heads.channels,
                "hidden": heads.hidden,
                "proposals": heads.post_nms,
            }
        return {
            "dataset": self.source.setting(),
            "model": {**self.geometry.setting(), "heads": shape},
            "detections": self.detections,
            "seed": self.recipe.seed,
        }

    @cached_property
    def heatmap_setting(self) -> dict[str, Any] | None:
        """What decides the static mask, for points that use one; None where there can be none."""
        return self.source.heatmap_setting(self.geometry)

    def views(self, *, with_scores: bool) -> list[ClipView]:
        """Return the clips as methods may see them; region scores only where asked for."""
        return self.source.views(self.geometry, with_scores=with_scores)

    def notes(self) -> list[str]:
        """Return what a reader of the results must know of the source."""
        return self.source.notes()


def scenes_of(recipe: Recipe, detections: str) -> dict[str, Scene]:
    """Return a scene for each input of the recipe's model; they share what is read.

    Raises UsageError for sizes that do not fit, DatasetError for a folder that cannot be used.
    """
    geometries = {text: Geometry.of(recipe, text) for text in recipe.model.input}
    statistics = recipe.dataset.statistics
    source = Statistics(recipe, statistics) if statistics else Annotations(recipe)
    return {
        text: Scene(recipe, detections, geometry, source) for text, geometry in geometries.items()
    }
