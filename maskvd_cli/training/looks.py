"""What a recogniser learns from videos, and how it is scored on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.looks import LookStep, enlarged, looked_at
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.crops import resized_to, step_pixels
from maskvd_cli.tasks.base import Arrays, Task
from maskvd_cli.tasks.recognised import Recognised
from maskvd_cli.tasks.recognition import label_of
from maskvd_cli.training.augmentation import Draw
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.kept_images import KeptImages


def learnt_look(
    images: KeptImages[LookList], index: int, input_size: Size, draw: Draw, chance: float
) -> tuple[Tensor, int]:
    """Return a look's frames (frames, 3, *input_size) in 0..255, float32, and its class.

    `chance` in 0..1 is where in the video it begins. A zoom above 1 leaves a smaller part of the
    frame in the crop; `row` and `col` of the draw are where it lies, `flip` mirrors it.
    """
    listed = images.listed
    video, looks = listed.videos[index], listed.looks
    room = max(len(video) - looks.span, 0)
    places = looks.positions(len(video), int(chance * (room + 1)))
    shown = np.stack([images.of((index, place), video.frames[place]) for place in places])
    native = torch.from_numpy(shown).permute(0, 3, 1, 2)
    fitting = enlarged(Size(*native.shape[2:]), input_size)
    zoom = max(draw.zoom, 1.0)
    size = Size(round(fitting.rows * zoom), round(fitting.cols * zoom))
    top = int(draw.row * (size.rows - input_size.rows + 1))
    left = int(draw.col * (size.cols - input_size.cols + 1))
    frames = resized_to(native, size)
    frames = frames[:, :, top : top + input_size.rows, left : left + input_size.cols]
    frames = frames.flip(3) if draw.flip else frames
    return frames.float().contiguous(), label_of(video, listed.dataset.classes)


def placed_looks(listed: LookList, index: int, input_size: Size) -> Tensor:
    """Return all looks at a video as at test, (looks, frames, 3, *input_size)."""
    looks: list[Tensor] = []
    for look in looked_at(listed.videos[index], listed.looks):
        steps: list[Tensor] = []
        for step in look.frames:
            assert isinstance(step, LookStep)
            images = [listed.dataset.image(part) for part in step.parts]
            steps.append(step_pixels(images, step.looks, step.place, input_size))
        looks.append(torch.cat(steps))
    return torch.stack(looks)


def matches_of(task: Task, listed: LookList, index: int, logits: Tensor) -> list[Arrays]:
    """Return what each look at a video got right: its row of `logits` (looks, classes)."""
    dataset, video = listed.dataset, listed.videos[index]
    classes, size = dataset.classes, video.frames[0].size
    placed = Placement(size, size, 1.0, 1.0)
    matches: list[Arrays] = []
    for look, row in zip(looked_at(video, listed.looks), logits.float().cpu(), strict=True):
        # A name may stand for several clips of a list; its place tells them apart.
        own = replace(look, whole=f"{index} {look.whole}")
        outputs = task.encode([Recognised(row, row)], placed, range(len(classes)))
        matches.append(task.match(task.truth(own, classes), outputs, classes))
    return matches
