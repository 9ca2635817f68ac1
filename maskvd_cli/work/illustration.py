"""What a sweep stores for pictures: the heatmap with a static mask, and one frame with its masks.

No model runs for it: boxes come from stored predictions or annotations, and the mask functions do
the rest. A frame is shown only where the masks made so hold as many tokens as the point counted.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.masks.static import static_mask
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
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
from maskvd_cli.tasks.boxes import output_rows
from maskvd_cli.tasks.stored import Outputs, StoredTruth, sound
from maskvd_cli.work.wanted import Item

# The paper's pictures show the top 30 % of the regions.
_SHOWN_KEEP_RATE = 0.3


def illustrate(run: Run, items: Sequence[Item], on_talk: Callable[[str], None]) -> None:
    """Write `heatmap.npz` and `illustration.npz` where they are missing or damaged.

    `items` are the points that ran; nothing is written where none has what it takes. Damaged
    samples or predictions of the shown point are told and cost the picture, not the sweep.
    """
    nearest = _nearest(items, combined=False)
    if nearest and not _is_there(read_heatmap, run):
        write_heatmap(run, _heatmap(nearest[0]))
    if _is_there(read_illustration, run):
        return
    for item in _nearest(items, combined=True):
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
    heatmap = not _nearest(items, combined=False) or _is_there(read_heatmap, run)
    return heatmap and (not _nearest(items, combined=True) or _is_there(read_illustration, run))


def _is_there(read: Any, run: Run) -> bool:
    """Tell whether a file can be read, or is a newer maskvd's, which is never overwritten."""
    try:
        return read(run) is not None
    except NewerResultError:
        return True
    except ResultError:
        return False


def _nearest(items: Sequence[Item], *, combined: bool) -> list[Item]:
    """Return points, first those whose static keep rate is nearest to the papers' picture.

    `combined`: of MaskVD itself, with static and dynamic mask. Statistics have no heatmap.
    """
    found = [
        item
        for item in items
        if isinstance(item.task.params, MaskVDParams)
        and item.task.needs_heatmap
        and isinstance(item.scene.source, Annotations)
        and (not combined or (item.task.method is MaskVD and item.task.params.mask == "combined"))
    ]
    return sorted(found, key=lambda item: abs(_params(item).static_keep_rate - _SHOWN_KEEP_RATE))


def _params(item: Item) -> MaskVDParams:
    assert isinstance(item.task.params, MaskVDParams)
    return item.task.params


def _annotations(scene: Scene) -> Annotations:
    assert isinstance(scene.source, Annotations)
    return scene.source


def _heatmap(item: Item) -> StoredHeatmap:
    scene, params = item.scene, _params(item)
    heatmap = _annotations(scene).heatmap(scene.geometry)
    scores = scene.views(with_scores=True)[0].region_scores
    assert scores is not None
    grid = scene.geometry.grid
    return StoredHeatmap(
        counts=heatmap.counts.numpy(),
        scores=scores.view(*grid).numpy(),
        static=static_mask(scores, params.static_keep_rate).view(*grid).numpy(),
        shown=ShownMask(**_shown(item, scene.feed.placements[0])),
        made_from=heatmap.metadata(),
    )


def _shown(item: Item, placed: Placement) -> dict[str, Any]:
    return {
        "key": item.point.key,
        "label": item.point.label,
        "static_keep_rate": _params(item).static_keep_rate,
        "content": str(placed.content),
        "input": str(placed.input),
        "patch": item.scene.geometry.arch.patch,
    }


@dataclass(frozen=True)
class _Choice:
    """A frame by clip and position, the boxes that mask it, and its masks, (N,) bool."""

    clip: int
    position: int
    boxes: Tensor
    static: Tensor
    dynamic: Tensor


def _illustration(run: Run, item: Item) -> Illustration | None:
    """Return the masked frame with the most boxes before it, of the first clip that has one."""
    scene, params = item.scene, _params(item)
    counted = run.samples(item.point.key)["tokens"].to_numpy()
    if len(counted) != sum(view.frames for view in scene.views(with_scores=False)):
        raise ResultError(
            "samples are not those of the run's frames",
            where=run.folder,
            remedy="sweep again with --fresh",
        )
    boxes_of = _boxes(run, item)
    first = 0
    for number, view in enumerate(scene.views(with_scores=True)):
        tokens = counted[first : first + view.frames]
        choice = _choose(params, view, number, tokens, boxes_of[first : first + view.frames])
        if choice is not None:
            return _drawn(item, choice)
        first += view.frames
    return None


def _choose(
    params: MaskVDParams,
    view: ClipView,
    number: int,
    counted: NDArray[np.float64],
    boxes_of: Sequence[Tensor],
) -> _Choice | None:
    """Return a clip's choice: the most boxes, the earliest of such; None where no frame is masked.

    `counted`: tokens of each frame as the point counted them; `boxes_of`: each frame's own boxes.
    """
    assert view.region_scores is not None
    static = static_mask(view.region_scores, params.static_keep_rate)
    masked = [t for t in range(1, view.frames) if t % params.period and len(boxes_of[t - 1])]
    for position in sorted(masked, key=lambda t: -len(boxes_of[t - 1])):
        boxes = boxes_of[position - 1]
        dynamic = dynamic_mask(boxes, view.input, view.patch, margin=params.margin)
        kept = int((static | dynamic).sum())
        # Stored boxes are rounded, and leave out classes that the dataset does not have. Boxes that
        # cover everything mask nothing.
        if kept == counted[position] and kept < view.tokens:
            return _Choice(number, position, boxes, static, dynamic)
    return None


def _boxes(run: Run, item: Item) -> list[Tensor]:
    """Return for each frame the boxes that count for the next one's dynamic mask, input pixels."""
    scene = item.scene
    if scene.detections == "labels":
        views = scene.views(with_scores=False)
        return [_annotated(view, t) for view in views for t in range(view.frames)]
    threshold = _params(item).score_threshold
    truth = StoredTruth.of(run)

    def boxes() -> list[Tensor]:
        pairs = zip(truth.outputs(item.point.key), scene.feed.placements, strict=True)
        return [box for found, how in pairs for box in _stored_boxes(found, how, threshold)]

    return sound(run, boxes)


def _stored_boxes(found: Outputs, how: Placement, threshold: float) -> list[Tensor]:
    """Return the boxes above the threshold of each frame of a clip, in input pixels."""
    rows, score = output_rows(found.arrays)
    corners = np.concatenate([rows.box[:, :2], rows.box[:, :2] + rows.box[:, 2:]], axis=1)
    chosen = [(rows.frame == position) & (score > threshold) for position in range(len(found.ages))]
    return [torch.from_numpy(how.place(corners[inside])) for inside in chosen]


def _annotated(view: ClipView, position: int) -> Tensor:
    assert view.boxes is not None
    assert view.frame_of is not None
    return view.boxes[view.frame_of == position]


def _drawn(item: Item, choice: _Choice) -> Illustration:
    scene, params, grid = item.scene, _params(item), item.scene.geometry.grid
    placed = scene.feed.placements[choice.clip]
    clip = _annotations(scene).clips[choice.clip]
    image, reason = _image(scene, choice, placed.content)
    shown = ShownFrame(
        **_shown(item, placed),
        clip=clip.name,
        frame=clip.frames[choice.position].index,
        position=choice.position,
        period=params.period,
        score_threshold=params.score_threshold,
        margin=params.margin,
        boxes_from="labels" if scene.detections == "labels" else "model",
        no_image=reason,
    )
    return Illustration(
        image=image,
        boxes=choice.boxes.double().numpy(),
        static=choice.static.view(*grid).numpy(),
        dynamic=choice.dynamic.view(*grid).numpy(),
        combined=(choice.static | choice.dynamic).view(*grid).numpy(),
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
