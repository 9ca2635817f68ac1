"""A recipe's annotations, opened once: clips as methods see them, region scores, fingerprints."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.errors import DatasetError, UsageError
from maskvd_cli.core.placement import placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import Dataset, fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.zoo import get_arch
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.sweep.heatmap import ON_INPUT, Heatmap, HeatmapSpec, make_heatmap, scores_on_input


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
        if frame and (frame.rows > input_size.rows or frame.cols > input_size.cols):
            raise UsageError(
                f"frame {frame} does not fit into input {input_size}",
                remedy="make model.frame smaller or model.input larger (rows x columns)",
            )
        return cls(arch, input_size, frame, arch.grid(input_size))


class Scene:
    """The annotations that a sweep replays; everything is read when first asked for.

    Raises DatasetError for unusable annotations, UsageError for sizes that do not fit.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.geometry = Geometry.of(recipe)
        self._type: type[Dataset] = datasets.load(recipe.dataset.name)
        self._root = Path(recipe.dataset.root) if recipe.dataset.root else None
        self.dataset = self._type(self._root, recipe.dataset.split, recipe.dataset.protocol)

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
        return make_heatmap(self._type, self._root, self.heatmap_spec)

    @property
    def heatmap_spec(self) -> HeatmapSpec:
        """The recipe's heatmap section, defaults filled in."""
        section = self.recipe.heatmap
        canvas = self._type.canvas
        if section.canvas is not None:
            canvas = None if section.canvas == ON_INPUT else Size.parse(section.canvas)
        classes = section.classes if isinstance(section.classes, str) else tuple(section.classes)
        return HeatmapSpec(
            split=section.split or self._type.training_split,
            classes=classes,
            canvas=canvas,
            accumulate=section.accumulate,
            input=self.geometry.input,
            frame=self.geometry.frame,
        )

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What all points of the sweep share and what decides their results."""
        geometry, recipe = self.geometry, self.recipe
        return {
            "dataset": {
                "name": self.dataset.name,
                "split": self.dataset.split,
                "protocol": self.dataset.protocol,
                "fingerprint": fingerprint(self.clips),
            },
            "model": {
                "name": geometry.arch.name,
                "input": str(geometry.input),
                "frame": str(geometry.frame or "fit"),
            },
            "detections": "labels",
            "seed": recipe.seed,
        }

    @cached_property
    def heatmap_setting(self) -> dict[str, Any]:
        """What decides the static mask, for points that use one."""
        metadata = self.heatmap.metadata()
        kept = ("split", "classes", "canvas", "coordinates", "accumulate", "fingerprint")
        return {key: metadata[key] for key in kept} | {"align": self.recipe.heatmap.align}

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
        return scores_on_input(
            self.heatmap.counts,
            native=self.heatmap.spec.canvas is not None,
            align=self.recipe.heatmap.align,
            image=native,
            frame=self.geometry.frame,
            input_size=self.geometry.input,
            patch=self.geometry.arch.patch,
        )


def _only_size(clip: Clip) -> Size:
    """Return the native size of a clip's frames. Raises DatasetError where they differ."""
    sizes = sorted({frame.size for frame in clip.frames})
    if len(sizes) > 1:
        raise DatasetError(
            f"clip {clip.name} has frames of {sizes[0]} and {sizes[-1]} (rows x columns)",
            remedy="give frames of another size a video of their own",
        )
    return sizes[0]
