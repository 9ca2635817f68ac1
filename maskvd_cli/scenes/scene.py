"""What the points at one input of one model share: geometry, clips, the heads' shape."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.base import EMBED, HEAD, Stage, cost_of
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import ClipView
from maskvd_cli.recipe.schema import Recipe, limit_of
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.frames import FrameFeed, KeptFrames
from maskvd_cli.scenes.geometry import Geometry, Site
from maskvd_cli.scenes.loaded import Held
from maskvd_cli.scenes.revisions import revisions_of
from maskvd_cli.scenes.source import Source
from maskvd_cli.scenes.stated import Statistics
from maskvd_cli.scenes.weights import Weights
from maskvd_cli.tasks.registry import tasks


class Scene:
    """One model, the only one of `recipe`, at one input; what must be read is read when asked for.

    Raises DatasetError for unusable annotations.
    """

    def __init__(  # noqa: PLR0913 - the model, its input, and what is shared
        self,
        recipe: Recipe,
        detections: str,
        geometry: Geometry,
        source: Source,
        weights: Weights | None = None,
        *,
        kept: KeptFrames | None = None,
    ) -> None:
        self._kept = kept
        self.recipe = recipe
        self.weights = weights
        self.detections = detections
        self.geometry = geometry
        self.source = source

    @cached_property
    def shape(self) -> Any:
        """The family's shape of the heads, or None where the number of classes is not known."""
        if self.weights is not None:
            return self.weights.shape
        classes, geometry = self.source.classes, self.geometry
        return None if classes is None else geometry.family.random_shape(geometry.arch, classes)

    @cached_property
    def stages(self) -> Sequence[Stage]:
        """The model's parts beside the backbone; none where the shape is not known."""
        geometry = self.geometry
        if self.shape is None:
            return ()
        return geometry.family.stages(geometry.arch, self.shape, geometry.grid)

    @cached_property
    def conclusion(self) -> Macs | None:
        """What the model does at the end of a clip; None where it is not known."""
        geometry = self.geometry
        if self.shape is None:
            return None
        return geometry.family.conclusion(geometry.arch, self.shape)

    def around_macs(self, output: Any = None, ran: Collection[str] = (EMBED, HEAD)) -> float | None:
        """Return the MACs beside the backbone at an output, at the most where it is None.

        `ran`: the parts that ran. None where they are not known, or must be counted.
        """
        return cost_of(self.stages, output, ran) if self.stages else None

    @property
    def measured(self) -> Weights:
        """The model. Raises UsageError where the sweep only plans."""
        if self.weights is None:
            raise UsageError("the sweep has no model", remedy="give model.weights")
        return self.weights

    @cached_property
    def feed(self) -> FrameFeed:
        """The clips' frames as the model sees them. Raises UsageError where there are none."""
        if not isinstance(self.source, Annotations):
            raise UsageError("statistics have no frames", remedy="give the dataset itself")
        noise = self.recipe.seed if self.recipe.dataset.pixels == "noise" else None
        return FrameFeed(
            self.source.dataset, self.source.clips, self.geometry,
            from_labels=self.detections == "labels", noise_seed=noise,
            clip_boxes=self.recipe.dataset.clip_boxes, kept=self._kept,
        )  # fmt: skip

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What all points of the scene share and what decides their results."""
        heads = None
        if self.shape is not None:
            heads = self.geometry.family.shape_setting(self.shape)
        return {
            "dataset": self.source.setting(),
            "model": {**self.geometry.setting(), "heads": heads},
            "detections": self.detections,
            "seed": self.recipe.seed,
            **self._measured_setting(),
            **revisions_of(self.geometry.family),
            **subset_of(self.recipe),
        }

    def _measured_setting(self) -> dict[str, Any]:
        """Return what decides results where the model runs; nothing where it does not.

        Images stand in it where they are files, by a digest that sees most of their changes.
        """
        if self.weights is None:
            return {}
        pixels, source = self.recipe.dataset.pixels, self.source
        setting = {**self.weights.setting(), "pixels": pixels}
        images = source.images if isinstance(source, Annotations) else None
        if pixels == "images" and images is not None:
            setting["images"] = images
        if self.recipe.dataset.clip_boxes:
            setting["clip_boxes"] = True
        return {"measured": setting}

    @cached_property
    def heatmap_setting(self) -> dict[str, Any] | None:
        """What decides the static mask, for points that use one; None where there can be none."""
        return self.source.heatmap_setting(self.geometry)

    def views(self, *, with_scores: bool) -> list[ClipView]:
        """Return the clips as methods may see them; region scores only where asked for."""
        return self.source.views(self.geometry, with_scores=with_scores)

    def notes(self) -> list[str]:
        """Return what a reader of the results must know of the source and the weights."""
        return [*self.source.notes(), *(self.weights.notes() if self.weights else ())]


def scenes_of(recipe: Recipe, detections: str) -> dict[Site, Scene]:
    """Return a scene for each model and input of the recipe; they share what is read.

    Raises UsageError for sizes that do not fit and a task without boxes to clip, DatasetError for a
    folder that cannot be used.
    """
    each = recipe.for_each_model()
    geometries = [
        (number, single, text, Geometry.of(single, text))
        for number, single in enumerate(each)
        for text in single.model.input
    ]
    _check_boxes(recipe, [geometry.family.task for *_, geometry in geometries])
    statistics = recipe.dataset.statistics
    source = Statistics(recipe, statistics) if statistics else Annotations(recipe)
    weights: dict[str, Weights] = {}
    kept = KeptFrames()
    if isinstance(source, Annotations) and recipe.model.weights is not None:
        held, classes = Held(), source.dataset.classes
        weights = {single.model.known_as: Weights(single, classes, held) for single in each}
    return {
        (single.model.known_as if number else None, text): Scene(
            single, detections, geometry, source, weights.get(single.model.known_as), kept=kept
        )
        for number, single, text, geometry in geometries
    }


def _check_boxes(recipe: Recipe, names: Iterable[str]) -> None:
    """Raise UsageError where boxes are to be cut and a model of the recipe gives none."""
    for name in names if recipe.dataset.clip_boxes else ():
        if not tasks.load(name).has_boxes:
            raise UsageError(
                f"dataset.clip_boxes: outputs of the task {name} have no boxes",
                remedy="leave it out",
            )


def subset_of(recipe: Recipe) -> dict[str, Any]:
    """Return `subset` with what a recipe leaves out of the data; empty where nothing."""
    limit = limit_of(recipe)
    if limit is None:
        return {}
    return {"subset": {**limit.model_dump(mode="json"), "smoke": recipe.smoke}}
