"""Methods as a library: load a model, run a method over frames, without recipes or results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.placement import Placement, placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.crops import step_pixels
from maskvd_cli.data.resize import resized
from maskvd_cli.families.base import Model
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.fetched import home_of, name_at
from maskvd_cli.families.snapshots import read_weights
from maskvd_cli.families.zoo import entry
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.masks.static import region_scores
from maskvd_cli.methods.base import ClipView, FrameContext, Method, Params, Stages
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.fit import fitted
from maskvd_cli.methods.registry import methods
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.registry import tasks

Image = NDArray[np.uint8]


def load(
    weights: str | Path,
    *,
    name: str | None = None,
    input: str | None = None,
    device: str = "auto",
    classes: Sequence[str] = (),
) -> Model:
    """Return the model of a weights file, ready to run.

    `name`: of the model, as in `maskvd ls models`; `input`: rows x columns, such as `192x640`. Both
    are what the file says where they are left out; where it does not, the input is the family's.
    The bare name of a published model stands for what `maskvd get` fetched. `device`: auto, cpu,
    cuda or cuda:1. `classes`: what a model looks for that reads texts. Raises CheckpointError for
    a file that cannot be used, UsageError where it does not say its model and none is given.
    """
    path = home_of(str(weights)) or Path(weights)
    file = read_weights(path, classes)
    name = name or name_at(path) or file.metadata.get("arch")
    if name is None:
        raise UsageError(f"{path} does not say which model it is of", remedy="give name=")
    known = entry(name)
    size = Size.parse(input or file.metadata.get("input") or known.family.default_input)
    file = known.family.adopted(known.arch, file)
    shape = known.family.shape_of(known.arch, file)
    model = known.family.build(known.arch, shape, size, seed=0)
    load_into(model, file.tensors, path)
    return model.requires_grad_(False).eval().to(resolve_device(device))


@dataclass(frozen=True)
class _Clips:
    """Runs a method over one clip after another; each call begins a clip of its own."""

    model: Model
    method: type[Method[Any]]
    params: Params
    scores: Tensor | None
    frame: Size | None
    task: Task

    def __call__(self, frames: Iterable[Image]) -> Iterator[Any]:
        method = self.method(self.params, self.model.backbone)
        placed: Placement | None = None
        native = before = None
        for index, image in enumerate(frames):
            size = _size_of(image, index)
            if native not in (None, size):
                raise UsageError(
                    f"frame {index} is {size}, those before {native} (rows x columns)",
                    remedy="begin another clip where the size changes",
                )
            native = size
            placed = placed or placement(size, self.frame, self.model.input_size)
            before = self._run(method, resized(image, placed.content), index, placed, before)
            yield self.task.native(before, placed)

    @torch.inference_mode()
    def _run(
        self, method: Method[Any], image: Tensor, index: int, placed: Placement, before: Any
    ) -> Any:
        boxes = scores = None
        hints = None if before is None else self.task.hints(before)
        if hints is not None:
            boxes, scores = hints.boxes, hints.scores
        patch = self.model.arch.patch
        frame = FrameContext(index, placed.input, placed.content, patch, boxes, scores, self.scores)
        return method.run([image], frame, Stages(self.model, last=before))


@dataclass(frozen=True)
class _Videos:
    """Runs a method over all looks at one video after another; each look begins a clip."""

    model: Model
    method: type[Method[Any]]
    params: Params
    looks: Looks

    def __call__(self, frames: Iterable[Image]) -> Iterator[Any]:
        method = self.method(self.params, self.model.backbone)
        images = list(frames)
        sizes = {_size_of(image, index) for index, image in enumerate(images)}
        if len(sizes) != 1:
            raise UsageError(
                f"a video has frames of {len(sizes)} sizes", remedy="give frames of one size"
            )
        for place in range(self.looks.across):
            for start in self.looks.starts(len(images)):
                chosen = [images[at] for at in self.looks.positions(len(images), start)]
                *_, last = run_clip(self.model, method, self._clip(chosen, place))
                yield last.output

    def _clip(self, frames: list[Image], place: int) -> ClipInput:
        size, tubelet = self.model.input_size, self.looks.tubelet
        steps = [
            step_pixels(frames[first : first + tubelet], self.looks, place, size)
            for first in range(0, len(frames), tubelet)
        ]
        view = ClipView(len(steps), size, self.model.arch.patch)
        return ClipInput("", steps, view, size, from_labels=False)


def run(
    model: Model,
    method: str,
    *,
    heatmap: NDArray[Any] | None = None,
    frame: str | None = None,
    **params: Any,
) -> Callable[[Iterable[Image]], Iterator[Any]]:
    """Return a function that runs the method over a clip and yields an output per frame.

    It takes frames (rows, cols, 3) uint8 RGB, all of one size, and gives the task's outputs in
    their pixels, on the CPU. `params` are the method's, as in a recipe. `heatmap`: one value per
    pixel of the model's input, for methods with a static mask. `frame`: frames are stretched to
    these rows x columns; None: they keep their aspect. A model that looks at whole videos gives an
    output per look, once it has all frames. Raises UsageError for parameters that do not fit.
    """
    kind = methods.load(method)
    if kind.needs_truth:
        raise UsageError(
            f"{method} needs the annotated boxes of every frame", remedy="use it in a sweep"
        )
    checked = fitted(kind, _checked(kind, params), model.arch)
    if kind.needs_heatmap(checked) and heatmap is None:
        raise UsageError(
            f"{method} with these parameters needs a heatmap",
            remedy=f"give heatmap={_without_heatmap(kind, checked)}",
        )
    if model.looks is not None:
        return _Videos(model, kind, checked, model.looks)
    scores = None if heatmap is None else _scores(heatmap, model)
    size, task = None if frame is None else Size.parse(frame), tasks.load(model.task)()
    return _Clips(model, kind, checked, scores, size, task)


def _without_heatmap(kind: type[Method[Any]], params: Params) -> str:
    """Return the choice of a parameter that needs no heatmap, as a remedy; empty without one."""
    for name, info in kind.params_type.model_fields.items():
        for choice in get_args(info.annotation) if get_origin(info.annotation) is Literal else ():
            if not kind.needs_heatmap(params.model_copy(update={name: choice})):
                return f", or {name}={choice!r}"
    return ""


def _checked(kind: type[Method[Any]], params: Mapping[str, Any]) -> Params:
    try:
        return kind.params_type.model_validate(dict(params))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "parameters"
        known = ", ".join(kind.params_type.model_fields) or "none"
        raise UsageError(
            f"{kind.name} {place}: {first['msg']}", remedy=f"its parameters: {known}"
        ) from error


def _scores(heatmap: NDArray[Any], model: Model) -> Tensor:
    if tuple(heatmap.shape) != tuple(model.input_size):
        raise UsageError(
            f"the heatmap has the shape {tuple(heatmap.shape)}",
            remedy=f"give one value per pixel of the input, {model.input_size} (rows x columns)",
        )
    pixels = torch.from_numpy(np.array(heatmap, dtype=np.float64))
    return region_scores(pixels, model.arch.patch)


def _size_of(image: Image, index: int) -> Size:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(
            f"frame {index} is {tuple(image.shape)} {image.dtype}",
            remedy="give (rows, columns, 3) uint8 RGB",
        )
    return Size(*image.shape[:2])
