"""Only the numbers of clips and frames, where the dataset itself is not there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from maskvd_cli.data.registry import datasets
from maskvd_cli.methods.base import ClipView
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.recipe.statistics import StatisticsSection
from maskvd_cli.scenes.geometry import Geometry
from maskvd_cli.scenes.source import Source, stride_setting


class Statistics(Source):
    """Clips without boxes, as long as the recipe says, or as equally long as can be.

    Equally long ones are exact for methods that treat the first frame of a clip apart and all
    others alike.
    """

    def __init__(self, recipe: Recipe, statistics: StatisticsSection) -> None:
        dataset = datasets.load(recipe.dataset.name)
        self._statistics = statistics
        self._named = {
            "name": dataset.name,
            "split": recipe.dataset.split or dataset.evaluation_split,
            "protocol": recipe.dataset.protocol or dataset.protocols[0],
        }
        self._stride = recipe.dataset.frame_stride
        self._lengths = _lengths(statistics)

    @property
    def root(self) -> None:
        return None

    @property
    def classes(self) -> int | None:
        return self._statistics.classes

    def setting(self) -> dict[str, Any]:
        stated = self._statistics.model_dump(mode="json")
        if stated["lengths"] is None:
            del stated["lengths"]
        return {**self._named, "statistics": stated, **stride_setting(self._stride)}

    def heatmap_setting(self, geometry: Geometry) -> None:
        return None

    def frames(self) -> list[tuple[str, Sequence[int]]]:
        return self._frames

    @cached_property
    def _frames(self) -> list[tuple[str, Sequence[int]]]:
        # Asked for after every clip of every point.
        return [
            (str(number), range(0, length, self._stride))
            for number, length in enumerate(self._lengths)
        ]

    def views(self, geometry: Geometry, *, with_scores: bool) -> list[ClipView]:
        view_of = {
            length: ClipView(-(-length // self._stride), geometry.input, geometry.arch.patch)
            for length in set(self._lengths)
        }
        return [view_of[length] for length in self._lengths]

    def notes(self) -> list[str]:
        stated = self._statistics
        lengths = "as long as it says" if stated.lengths else "equally long"
        return [
            f"Planned from the numbers of clips ({stated.clips}) and frames ({stated.frames}) that "
            f"the recipe states; no dataset was read. Clips are taken as {lengths}, which matters "
            "only to methods with a period."
        ]


def _lengths(statistics: StatisticsSection) -> list[int]:
    """Return the number of frames of each clip."""
    if statistics.lengths is not None:
        return [group.frames for group in statistics.lengths for _ in range(group.clips)]
    shorter, longer_clips = divmod(statistics.frames, statistics.clips)
    shorter_clips = statistics.clips - longer_clips
    return [shorter + 1] * longer_clips + [shorter] * shorter_clips
