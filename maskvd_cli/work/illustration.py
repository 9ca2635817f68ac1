"""What a sweep stores for pictures: the heatmap with a static mask, and one frame with its masks.

No model runs for it: boxes come from stored outputs or annotations, and the method says what its
masks are. A frame is shown only where they hold as many tokens as the point counted.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.resize import resized
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.illustration import COMBINED, DYNAMIC, STATIC, Pictured
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.illustration import (
    MOST_PIXELS,
    Illustration,
    ShownFrame,
    ShownMask,
    StoredHeatmap,
    read_heatmap,
    read_illustration,
    write_heatmap,
    write_illustration,
)
from maskvd_cli.store.runs import NewerResultError, Run
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.stored import ClipOutputs, StoredTruth, sound
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.wanted import Item

# The paper's pictures show the top 30 % of the regions.
_SHOWN_KEEP_RATE = 0.3


def illustrate(run: Run, items: Sequence[Item], on_talk: Callable[[str], None]) -> None:
    """Write `heatmap.npz` and `illustration.npz` where they are missing or damaged.

    `items` are the points that ran; nothing is written where none has what it takes. Damaged
    samples or predictions of the shown point are told and cost the picture, not the sweep.
    """
    nearest = _nearest(items)
    if nearest and not _is_there(read_heatmap, run):
        write_heatmap(run, _heatmap(nearest[0]))
    if _is_there(read_illustration, run):
        return
    for item in _nearest(items, frames=True):
        try:
            made = _illustration(run, item)
        except ResultError as error:
            on_talk(f"no frame to illustrate: {error}")
            continue
        if made is not None:
            write_illustration(run, made)
            return


def is_illustrated(run: Run, items: Sequence[Item]) -> bool:
    """Tell whether `illustrate` has nothing to write: all is there, or nothing can be drawn."""
    heatmap = not _nearest(items) or _is_there(read_heatmap, run)
    return heatmap and (not _nearest(items, frames=True) or _is_there(read_illustration, run))


def _is_there(read: Any, run: Run) -> bool:
    """Tell whether a file can be read, or is a newer maskvd's, which is never overwritten."""
    try:
        return read(run) is not None
    except NewerResultError:
        return True
    except ResultError:
        return False


def _nearest(items: Sequence[Item], *, frames: bool = False) -> list[Item]:
    """Return the points that can be shown, the static keep rate nearest to the papers' first.

    `frames`: those of which single frames can be shown. Statistics have no heatmap.
    """
    shown = [
        (abs(about.static_keep_rate - _SHOWN_KEEP_RATE), item)
        for item in items
        if isinstance(item.scene.source, Annotations)
        and (about := _about(item.task)) is not None
        and (about.frames or not frames)
    ]
    return [item for _, item in sorted(shown, key=lambda pair: pair[0])]


def _about(spec: PointSpec) -> Pictured | None:
    return spec.method.pictured(spec.params)


def _pictured(item: Item) -> Pictured:
    about = _about(item.task)
    assert about is not None
    return about


def _annotations(scene: Scene) -> Annotations:
    assert isinstance(scene.source, Annotations)
    return scene.source


def _heatmap(item: Item) -> StoredHeatmap:
    scene, spec = item.scene, item.task
    heatmap = _annotations(scene).heatmap(scene.geometry)
    view = scene.views(with_scores=True)[0]
    masks = spec.method.illustration(spec.params, view)
    assert view.region_scores is not None and masks is not None
    grid = scene.geometry.grid
    return StoredHeatmap(
        counts=heatmap.counts.numpy(),
        scores=view.region_scores.view(*grid).numpy(),
        static=masks[STATIC].view(*grid).numpy(),
        shown=ShownMask(**_shown(item, scene.feed.placements[0])),
        made_from=heatmap.metadata(),
    )


def _shown(item: Item, placed: Placement) -> dict[str, Any]:
    return {
        "key": item.point.key,
        "label": item.point.label,
        "static_keep_rate": _pictured(item).static_keep_rate,
        "content": str(placed.content),
        "input": str(placed.input),
        "patch": item.scene.geometry.arch.patch,
    }


@dataclass(frozen=True)
class _Choice:
    """A frame by clip and position, the boxes that mask it, and its masks (N,) bool by name."""

    clip: int
    position: int
    boxes: Tensor
    masks: Mapping[str, Tensor]


def _illustration(run: Run, item: Item) -> Illustration | None:
    """Return the masked frame with the most boxes before it, of the first clip that has one."""
    scene = item.scene
    counted = run.samples(item.point.key)["tokens"].to_numpy()
    if len(counted) != sum(view.frames for view in scene.views(with_scores=False)):
        raise ResultError(
            "samples are not those of the run's frames",
            where=run.folder,
            remedy="sweep again with --fresh",
        )
    first = 0
    for number, boxes in enumerate(_boxes(run, item)):
        view = scene.views(with_scores=True)[number]
        choice = _choose(item.task, view, number, counted[first : first + view.frames], boxes)
        if choice is not None:
            return _drawn(item, choice)
        first += view.frames
    return None


def _choose(
    spec: PointSpec,
    view: ClipView,
    number: int,
    counted: NDArray[np.float64],
    boxes_of: Sequence[Tensor],
) -> _Choice | None:
    """Return a clip's choice: the most boxes, the earliest of such; None where no frame is shown.

    `counted`: tokens of each frame as the point counted them; `boxes_of`: each frame's own boxes.
    """
    with_boxes = [t for t in range(1, view.frames) if len(boxes_of[t - 1])]
    for position in sorted(with_boxes, key=lambda t: -len(boxes_of[t - 1])):
        boxes = boxes_of[position - 1]
        masks = spec.method.illustration(spec.params, view, position, boxes)
        if masks is None:
            continue
        kept = int(masks[COMBINED].sum())
        # Stored boxes are rounded, and leave out classes that the dataset does not have. Boxes that
        # cover everything mask nothing.
        if kept == counted[position] and kept < view.tokens:
            return _Choice(number, position, boxes, masks)
    return None


def _boxes(run: Run, item: Item) -> Iterator[list[Tensor]]:
    """Yield for each clip its frames' boxes that count for the next one's masks, in input pixels.

    Clips are read as they are asked for: mostly the first one has a frame to show.
    """
    scene = item.scene
    if scene.detections == "labels":
        for view in scene.views(with_scores=False):
            yield list(_annotated(view))
        return
    threshold, task = _pictured(item).score_threshold, tasks.load(run.plan().task)()
    outputs = StoredTruth.of(run).outputs(item.point.key)
    for placed in scene.feed.placements:

        def boxes(placed: Placement = placed) -> list[Tensor]:
            found = next(outputs, None)
            if found is None:
                raise ValueError("outputs are not those of the run's clips")
            return _stored_boxes(task, found, placed, threshold)

        yield sound(run, boxes)


def _annotated(view: ClipView) -> Iterator[Tensor]:
    """Yield the annotated boxes of each frame of a clip."""
    for position in range(view.frames):
        boxes = view.objects(position)
        assert boxes is not None
        yield boxes


def _stored_boxes(
    task: Task, found: ClipOutputs, placed: Placement, threshold: float
) -> list[Tensor]:
    """Return the boxes above the threshold of each frame of a clip, in input pixels."""
    hints = task.stored_hints(found.arrays, placed, len(found.ages))
    if hints is None:
        return [torch.zeros(0, 4, dtype=torch.float64) for _ in found.ages]
    return [torch.from_numpy(hint.boxes[hint.scores > threshold]) for hint in hints]


def _drawn(item: Item, choice: _Choice) -> Illustration:
    scene, about, grid = item.scene, _pictured(item), item.scene.geometry.grid
    placed = scene.feed.placements[choice.clip]
    clip = _annotations(scene).clips[choice.clip]
    image, reason = _image(scene, choice, placed.content)
    shown = ShownFrame(
        **_shown(item, placed),
        clip=clip.name,
        frame=clip.frames[choice.position].index,
        position=choice.position,
        period=about.period,
        score_threshold=about.score_threshold,
        margin=about.margin,
        boxes_from="labels" if scene.detections == "labels" else "model",
        no_image=reason,
    )
    return Illustration(
        image=image,
        boxes=choice.boxes.double().numpy(),
        static=choice.masks[STATIC].view(*grid).numpy(),
        dynamic=choice.masks[DYNAMIC].view(*grid).numpy(),
        combined=choice.masks[COMBINED].view(*grid).numpy(),
        shown=shown,
    )


def _image(
    scene: Scene, choice: _Choice, content: Size
) -> tuple[NDArray[np.uint8] | None, str | None]:
    """Return the frame as the model saw it, made smaller where it is large, or why there is none.

    Only sweeps that run the model read images.
    """
    if scene.weights is None:
        return None, "the sweep read no images"
    if scene.recipe.dataset.pixels == "noise":
        return None, "the sweep ran on frames of noise"
    clips = scene.feed.clips(scene.views(with_scores=False))
    try:
        pixels = clips[choice.clip].images[choice.position]
    except MaskvdError as error:  # points taken over from an earlier run need no images
        return None, error.message
    image = pixels.permute(1, 2, 0).contiguous().numpy()
    if content.area > MOST_PIXELS:
        shrink = math.sqrt(MOST_PIXELS / content.area)
        smaller = Size(int(content.rows * shrink), int(content.cols * shrink))
        image = resized(image, smaller).permute(1, 2, 0).contiguous().numpy()
    return image, None
