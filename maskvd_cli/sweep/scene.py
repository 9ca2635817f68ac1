"""A recipe's annotations, opened once: clips as methods see them, region scores, fingerprints."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.placement import check_frame, placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import Dataset, fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.zoo import get_arch
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.sweep.heatmap import (
    Heatmap,
    HeatmapSpec,
    input_scores,
    make_heatmap,
    native_scores,
)


@dataclass(frozen=True)
class Geometry:
    """The backbone, its input, and how frames are laid into it, defaults filled in."""

    arch: ViTArch
    input: Size
    frame: Size | None
    grid: Size

    @classmethod
    def of(cls, recipe: Recipe) -> Geometry:
        """Resolve the recipe's model section. Raises UsageError where sizes do not fit."""
        arch = get_arch(recipe.model.name)
        input_size = Size.parse(recipe.model.input)
        default = datasets.load(recipe.dataset.name).frame
        chosen = recipe.model.frame
        frame = default if chosen is None else None if chosen == "fit" else Size.parse(chosen)
        check_frame(frame, input_size)
        return cls(arch, input_size, frame, arch.grid(input_size))


class Scene:
    """The annotations that a sweep replays; everything is read when first asked for.

    Raises DatasetError for unusable annotations, UsageError for sizes that do not fit.
    """

    def __init__(self, recipe: Recipe, detections: str) -> None:
        self.recipe = recipe
        self.detections = detections
        self.geometry = Geometry.of(recipe)
        self._type: type[Dataset] = datasets.load(recipe.dataset.name)
        self._root = Path(recipe.dataset.root) if recipe.dataset.root else None
        self.dataset = self._type(self._root, recipe.dataset.split, recipe.dataset.protocol)
        self._scores_of: dict[Size, torch.Tensor] = {}

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """The split's clips. Raises DatasetError where there are none."""
        clips = tuple(clip for clip in self.dataset.clips() if len(clip))
        if not clips:
            raise DatasetError(
                f"split {self.dataset.split} has no frames",
                where=self.dataset.root,
                remedy="choose another split",
            )
        return clips

    @cached_property
    def heatmap(self) -> Heatmap:
        """The object heatmap of the training split."""
        section, geometry = self.recipe.heatmap, self.geometry
        spec = HeatmapSpec.of(
            self._type,
            split=section.split,
            classes=[section.classes] if isinstance(section.classes, str) else section.classes,
            canvas=section.canvas,
            accumulate=section.accumulate,
            input_size=geometry.input,
            frame=geometry.frame,
        )
        return make_heatmap(self._type, self._root, spec)

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What all points of the sweep share and what decides their results."""
        geometry, dataset = self.geometry, self.dataset
        shape = asdict(geometry.arch)
        del shape["description"]
        return {
            "dataset": {
                "name": dataset.name,
                "split": dataset.split,
                "protocol": dataset.protocol,
                "fingerprint": fingerprint(dataset.classes, self.clips),
            },
            "model": {
                **shape,
                "backbone": geometry.arch.backbone,
                "input": str(geometry.input),
                "frame": str(geometry.frame or "fit"),
            },
            "detections": self.detections,
            "seed": self.recipe.seed,
        }

    @cached_property
    def heatmap_setting(self) -> dict[str, Any]:
        """What decides the static mask, for points that use one."""
        metadata = self.heatmap.metadata()
        kept = ("split", "classes", "canvas", "coordinates", "accumulate", "fingerprint")
        align = self.recipe.heatmap.align if self.heatmap.spec.canvas else None
        return {key: metadata[key] for key in kept} | {"align": align}

    def notes(self) -> list[str]:
        """Return what the readers of the annotations remarked, for both splits."""
        tallies = [self.dataset.tally]
        if "heatmap" in self.__dict__:
            tallies.append(self.heatmap.dataset.tally)
        return [note for tally in tallies if (note := tally.note())]

    def views(self, *, with_scores: bool) -> list[ClipView]:
        """Return the clips as methods may see them; region scores only where asked for."""
        if not with_scores:
            return self._views
        sizes = [clip.frames[0].size for clip in self.clips]
        scores = {size: self._scores(size) for size in set(sizes)}
        return [
            replace(view, region_scores=scores[size])
            for view, size in zip(self._views, sizes, strict=True)
        ]

    @cached_property
    def _views(self) -> list[ClipView]:
        return [self._view(clip) for clip in self.clips]

    def _view(self, clip: Clip) -> ClipView:
        geometry = self.geometry
        placed = placement(_only_size(clip), geometry.frame, geometry.input)
        objects = [frame.boxes.objects for frame in clip.frames]
        frame_of = np.repeat(np.arange(len(clip)), [len(boxes) for boxes in objects])
        return ClipView(
            frames=len(clip),
            input=geometry.input,
            patch=geometry.arch.patch,
            boxes=torch.from_numpy(placed.place(np.concatenate(objects))),
            frame_of=torch.from_numpy(frame_of),
            region_scores=None,
            real=real_tokens(placed.content, geometry.input, geometry.arch.patch),
        )

    def _scores(self, native: Size) -> torch.Tensor:
        """Return the region scores for frames of this native size, computed once."""
        geometry, heatmap = self.geometry, self.heatmap
        if native not in self._scores_of:
            if heatmap.spec.canvas is None:
                scores = input_scores(heatmap.counts, geometry.arch.patch)
            else:
                content = placement(native, geometry.frame, geometry.input).content
                image = native if self.recipe.heatmap.align == "image" else None
                scores = native_scores(
                    heatmap.counts, content, geometry.input, geometry.arch.patch, image
                )
            self._scores_of[native] = scores
        return self._scores_of[native]


def _only_size(clip: Clip) -> Size:
    """Return the native size of a clip's frames. Raises DatasetError where they differ."""
    sizes = sorted({frame.size for frame in clip.frames})
    if len(sizes) > 1:
        raise DatasetError(
            f"clip {clip.name} has frames of {sizes[0]} and {sizes[-1]} (rows x columns)",
            remedy="give frames of another size a video of their own",
        )
    return sizes[0]
