"""Annotations to heatmap: gather the boxes of a split and accumulate them on a canvas."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from maskvd_cli import __version__
from maskvd_cli.core.errors import DatasetError, UsageError
from maskvd_cli.core.placement import check_frame
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import Dataset
from maskvd_cli.data.gather import Gathered, gather, protocol_for
from maskvd_cli.data.overlap import shared_frames
from maskvd_cli.machine.threads import single_thread
from maskvd_cli.masks.heatmap import accumulate, accumulate_union
from maskvd_cli.masks.static import normalised, on_input, region_scores

ON_INPUT = "input"


@dataclass(frozen=True)
class HeatmapSpec:
    """What decides a heatmap besides the dataset's folder.

    `canvas` is a size for native pixels, or None: boxes placed as the model sees them, on a canvas
    of the input's size. `frame` is the size that frames are stretched to, None for fit.
    `clips`: only the first so many of the split, None for all.
    """

    split: str
    classes: str | tuple[str, ...]
    canvas: Size | None
    accumulate: Literal["sum", "union"]
    input: Size
    frame: Size | None
    clips: int | None = None

    @classmethod
    def of(  # noqa: PLR0913 - the choices of a recipe's heatmap section
        cls,
        dataset: type[Dataset],
        *,
        split: str | None,
        classes: Sequence[str],
        canvas: str | None,
        accumulate: Literal["sum", "union"],
        input_size: Size,
        frame: Size | None,
        clips: int | None = None,
    ) -> HeatmapSpec:
        """Fill in the dataset's defaults; `classes` are names, or only `all` or `protocol`.

        Raises UsageError for a canvas that is no size, and where frames do not fit into the input.
        """
        words = classes[0] if list(classes) in (["all"], ["protocol"]) else tuple(sorted(classes))
        size = None if canvas == ON_INPUT else _size(canvas) if canvas else dataset.canvas
        if size is None:
            check_frame(frame, input_size)
        split = split or dataset.training_split
        return cls(split, words, size, accumulate, input_size, frame, clips)


def _size(text: str) -> Size:
    try:
        return Size.parse(text)
    except ValueError as error:
        raise UsageError(f"canvas {error}; or write `{ON_INPUT}`") from error


class ObjectHeatmap(ABC):
    """Counts per pixel, `counts` (rows, cols) float64, and where they come from."""

    counts: Tensor

    @property
    @abstractmethod
    def lies_on_input(self) -> bool:
        """Whether boxes were placed as the model sees them, rather than in native pixels."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Return what a reader of the heatmap's file needs to know, as JSON values."""

    @abstractmethod
    def setting(self) -> dict[str, Any]:
        """Return what decides the counts, as JSON values for the keys of points."""

    @abstractmethod
    def origin(self) -> str:
        """Return one sentence on file, split, frames and classes."""

    @abstractmethod
    def remarks(self, evaluated: Dataset, clips: Sequence[Clip]) -> list[str]:
        """Return what a reader of results must know, above all of frames seen before."""


@dataclass(frozen=True)
class Heatmap(ObjectHeatmap):
    """A heatmap of a split's annotations."""

    counts: Tensor
    spec: HeatmapSpec
    gathered: Gathered
    dataset: Dataset

    @property
    def lies_on_input(self) -> bool:
        return self.spec.canvas is None

    def setting(self) -> dict[str, Any]:
        metadata = self.metadata()
        kept = ("split", "classes", "canvas", "coordinates", "accumulate", "fingerprint")
        return {key: metadata[key] for key in kept}

    def origin(self) -> str:
        spec, gathered, source = self.spec, self.gathered, self.dataset.annotation_source
        root = self.dataset.root
        inside = source != root and source.is_relative_to(root)
        place = source.relative_to(root) if inside else source.name
        part = "" if spec.clips is None else "the first "
        classes = {"all": "all boxes", "protocol": "boxes of the evaluated classes"}
        what = classes.get(_text(spec.classes), f"boxes of {_text(spec.classes)}")
        return (
            f"Heatmap from {place} ({self.dataset.name}, split {spec.split}): "
            f"{part}{counted(gathered.clips, 'clip')}, {counted(gathered.frames, 'frame')}, {what}."
        )

    def remarks(self, evaluated: Dataset, clips: Sequence[Clip]) -> list[str]:
        seen = shared_frames(self.gathered.places, evaluated.annotation_source, clips)
        frames = sum(map(len, clips))
        told = [
            f"The heatmap was made from {seen} of the {counted(frames, 'frame')} that are "
            "evaluated, so static masks know where their objects are: take it from another split "
            "or file (--set heatmap.split=..., --set heatmap.file=...)."
        ]
        return [*self.dataset.remarks(), *(told if seen else [])]

    def metadata(self) -> dict[str, Any]:
        """Return what a reader of the file needs to know, as JSON values."""
        spec, gathered = self.spec, self.gathered
        classes = spec.classes if isinstance(spec.classes, str) else list(spec.classes)
        made = {
            "dataset": self.dataset.name,
            "split": spec.split,
            "classes": classes,
            "clips": gathered.clips,
            "frames": gathered.frames,
            "boxes": len(gathered.xyxy),
            "canvas": str(Size(*self.counts.shape)),
            "coordinates": "native" if spec.canvas else ON_INPUT,
            "frame": None if spec.canvas else str(spec.frame or "fit"),
            "image_size": str(gathered.image_size),
            "accumulate": spec.accumulate,
            "fingerprint": gathered.fingerprint,
            "tool_version": __version__,
        }
        if spec.clips is None:
            return made
        return {**made, "subset": f"first {counted(spec.clips, 'clip')}"}


@single_thread()
def make_heatmap(
    dataset_type: type[Dataset],
    root: Path | None,
    spec: HeatmapSpec,
    evaluated: str | None = None,
) -> Heatmap:
    """Read the split's annotations and accumulate the chosen boxes.

    `evaluated` is the protocol of what is evaluated, where that is known. Raises DatasetError for
    unusable annotations and where no box of these classes exists.
    """
    dataset = dataset_type(root, spec.split, protocol_for(spec.classes, dataset_type, evaluated))
    placed = None if spec.canvas else (spec.input, spec.frame)
    gathered = gather(dataset, spec.classes, placed, spec.clips)
    if not len(gathered.xyxy):
        raise DatasetError(
            f"no box of classes '{_text(spec.classes)}' in split {spec.split} "
            f"({counted(gathered.frames, 'frame')})",
            where=dataset.root,
            remedy="choose other classes or another split",
        )
    boxes, canvas = torch.from_numpy(gathered.xyxy), spec.canvas or spec.input
    if spec.accumulate == "union":
        counts = accumulate_union(boxes, torch.from_numpy(gathered.frame_of), canvas)
    else:
        counts = accumulate(boxes, canvas)
    return Heatmap(counts, spec, gathered, dataset)


def native_scores(
    counts: Tensor, content: Size, input_size: Size, patch: int, image: Size | None = None
) -> Tensor:
    """Return the region scores (N,) float64 of a heatmap in native pixels.

    Normalised, then resized onto the frame (`content` pixels of the input), whole or, with
    `image`, only the part that images of this native size cover.
    """
    return region_scores(on_input(normalised(counts), content, input_size, image=image), patch)


def input_scores(counts: Tensor, patch: int) -> Tensor:
    """Return the region scores (N,) float64 of a heatmap that lies on the input already."""
    return region_scores(normalised(counts), patch)


def _text(classes: str | Sequence[str]) -> str:
    return classes if isinstance(classes, str) else ", ".join(classes)
