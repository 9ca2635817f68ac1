"""A split's annotations, opened once for all inputs: clips, region scores, fingerprints."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.looks import looked_at
from maskvd_cli.core.placement import placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import FRAME_INPUT, Dataset, fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.zoo import frame_of
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView
from maskvd_cli.recipe.schema import LimitSection, Recipe, limit_of
from maskvd_cli.scenes.geometry import Geometry, looks_of
from maskvd_cli.scenes.given_heatmap import heatmap_from_file
from maskvd_cli.scenes.heatmap import (
    HeatmapSpec,
    ObjectHeatmap,
    input_scores,
    make_heatmap,
    native_scores,
)
from maskvd_cli.scenes.source import Source, stride_setting


class Annotations(Source):
    """A split's annotations; everything is read when first asked for, and once.

    Raises DatasetError for unusable annotations.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._section = recipe.heatmap
        self._recipe = recipe
        self._limit = limit_of(recipe)
        self._stride = recipe.dataset.frame_stride
        self._type: type[Dataset] = datasets.load(recipe.dataset.name)
        self._given = Path(recipe.dataset.root) if recipe.dataset.root else None
        self.dataset = self._type(self._given, recipe.dataset.split, recipe.dataset.protocol)
        self._heatmaps: dict[HeatmapSpec, ObjectHeatmap] = {}
        self._views: dict[Geometry, list[ClipView]] = {}
        self._scores_of: dict[tuple[Geometry, Size], torch.Tensor] = {}

    @property
    def root(self) -> Path:
        return self.dataset.root

    @property
    def classes(self) -> int | None:
        return len(self.dataset.classes) or None

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """The clips that models run over: the videos, or the looks at them."""
        looks = looks_of(self._recipe)
        if looks is None:
            return self.videos
        return tuple(look for video in self.videos for look in looked_at(video, looks))

    @cached_property
    def videos(self) -> tuple[Clip, ...]:
        """The split's clips, or the part that the recipe asks for. DatasetError where none."""
        whole = (clip for clip in self.dataset.clips() if len(clip))
        limit = self._limit or LimitSection()
        clips = tuple(
            replace(clip, frames=clip.frames[:: self._stride][: limit.frames])
            for clip in islice(whole, limit.clips)
        )
        if not clips:
            raise DatasetError(
                f"split {self.dataset.split} has no frames",
                where=self.dataset.root,
                remedy="choose another split",
            )
        return clips

    def setting(self) -> dict[str, Any]:
        dataset = self.dataset
        return {
            "name": dataset.name,
            "split": dataset.split,
            "protocol": dataset.protocol,
            "fingerprint": self._fingerprint,
            **stride_setting(self._stride),
        }

    @cached_property
    def images(self) -> str | None:
        """A cheap digest of the image files, for the keys of points that see them.

        None without any: what is drawn follows from the code and the annotations.
        """
        if not any(frame.file for clip in self.videos for frame in clip.frames):
            return None
        return self.dataset.image_fingerprint(self.videos)

    @cached_property
    def _fingerprint(self) -> str:
        clips = self.videos
        known = self.dataset.whole_fingerprint
        if known is not None and self._limit is None and self._stride == 1:
            return known
        return fingerprint(self.dataset.classes, clips)

    def heatmap(self, geometry: Geometry) -> ObjectHeatmap:
        """Return the object heatmap: of the training split, or the one in the recipe's file."""
        section = self._section
        spec = HeatmapSpec.of(
            self._type,
            split=section.split,
            classes=[section.classes] if isinstance(section.classes, str) else section.classes,
            canvas=section.canvas,
            accumulate=section.accumulate,
            input_size=geometry.input,
            frame=geometry.frame,
            clips=section.clips,
        )
        # In native pixels the input decides nothing, and the boxes need not be read again.
        key = spec if spec.canvas is None else replace(spec, input=spec.canvas, frame=None)
        if key not in self._heatmaps:
            self._heatmaps[key] = self._read_heatmap(spec)
        return self._heatmaps[key]

    def _read_heatmap(self, spec: HeatmapSpec) -> ObjectHeatmap:
        if self._section.file is not None:
            return heatmap_from_file(Path(self._section.file), spec, self._section.canvas)
        try:
            return make_heatmap(self._type, self._given, spec, self.dataset.protocol)
        except DatasetError as error:
            if spec.split == self.dataset.split:
                raise
            learnt = (
                f"or take the heatmap from another split (--set heatmap.split="
                f"{self.dataset.split}) or file (--set heatmap.file=FILE)"
            )
            raise DatasetError(
                f"{error.message} (needed for the heatmap)",
                where=error.where,
                remedy=f"{error.remedy}, {learnt}" if error.remedy else learnt[3:],
            ) from error

    def heatmap_setting(self, geometry: Geometry) -> dict[str, Any]:
        heatmap = self.heatmap(geometry)
        align = None if heatmap.lies_on_input else self._section.align
        return heatmap.setting() | {"align": align}

    def frames(self) -> list[tuple[str, Sequence[int]]]:
        return self._frames

    @cached_property
    def _frames(self) -> list[tuple[str, Sequence[int]]]:
        # Asked for after every clip of every point.
        return [(clip.name, [frame.index for frame in clip.frames]) for clip in self.clips]

    def views(self, geometry: Geometry, *, with_scores: bool) -> list[ClipView]:
        if geometry not in self._views:
            self._views[geometry] = list(_views(self.clips, geometry))
        views = self._views[geometry]
        if not with_scores:
            return views
        sizes = [clip.frames[0].size for clip in self.clips]
        scores = {size: self.region_scores(geometry, size) for size in set(sizes)}
        return [
            replace(view, region_scores=scores[size])
            for view, size in zip(views, sizes, strict=True)
        ]

    def region_scores(self, geometry: Geometry, native: Size) -> torch.Tensor:
        """Return the region scores for frames of this native size, computed once."""
        heatmap, patch = self.heatmap(geometry), geometry.arch.patch
        key = geometry, native
        if key not in self._scores_of:
            if heatmap.lies_on_input:
                scores = input_scores(heatmap.counts, patch)
            else:
                content = placement(native, geometry.frame, geometry.input).content
                image = native if self._section.align == "image" else None
                scores = native_scores(heatmap.counts, content, geometry.input, patch, image)
            self._scores_of[key] = scores
        return self._scores_of[key]

    def notes(self) -> list[str]:
        """Return what the readers of both splits remarked, and where the heatmap comes from."""
        notes = [*self.dataset.remarks(), *self._notes_on_frames()]
        for heatmap in self._heatmaps.values():
            notes += [heatmap.origin(), *heatmap.remarks(self.dataset, self.clips)]
        return list(dict.fromkeys(notes))

    def _notes_on_frames(self) -> list[str]:
        """Say where frames keep their aspect though the dataset's own frame does not."""
        own = self._type.frame
        models = [model for model in self._recipe.models if model.frame is None]
        inputs = [(model.name, Size.parse(text)) for model in models for text in model.input]
        default = {
            (name, size): frame_of(name, self._type.frame_at(size), size) for name, size in inputs
        }
        fitted = sorted({size for (_, size), frame in default.items() if own and frame is None})
        if not fitted:
            return []
        return [
            f"Frames keep their aspect in {', '.join(map(str, fitted))} (frame: fit): the frame "
            f"{own} of {self.dataset.name} belongs to {FRAME_INPUT}."
        ]


def _views(clips: Sequence[Clip], geometry: Geometry) -> Iterator[ClipView]:
    """Yield a view of each clip; looks of one length have no boxes to differ by, and share one."""
    shared: dict[int, ClipView] = {}
    for clip in clips:
        if geometry.looks is None:
            yield _view(clip, geometry)
            continue
        if len(clip) not in shared:
            shared[len(clip)] = _view(clip, geometry)
        yield shared[len(clip)]


def _view(clip: Clip, geometry: Geometry) -> ClipView:
    placed = placement(_only_size(clip), geometry.frame, geometry.input)
    objects = [frame.boxes.objects for frame in clip.frames]
    frame_of = np.repeat(np.arange(len(clip)), [len(boxes) for boxes in objects])
    return ClipView(
        frames=len(clip),
        input=geometry.input,
        patch=geometry.arch.patch,
        boxes=torch.from_numpy(placed.place(np.concatenate(objects))),
        frame_of=torch.from_numpy(frame_of),
        real=real_tokens(placed.content, geometry.input, geometry.arch.patch),
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
