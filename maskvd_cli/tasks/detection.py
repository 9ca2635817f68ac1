"""Detection: boxes with classes and scores, scored by COCO's mean average precision.

Regions to ignore belong to every class: a detection that lies in one, and matches no object, counts
neither as right nor as wrong. At most 100 detections of a frame and class count; areas play no
role. mAP is the mean over classes that have an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.ages import buckets
from maskvd_cli.tasks.base import Arrays, Evaluation, Hints, Scores, Task, Weights
from maskvd_cli.tasks.boxes import output_arrays, output_rows, truth_arrays, truth_rows
from maskvd_cli.tasks.matching import Overlaps, match
from maskvd_cli.tasks.precision import ClassMatches, Ranking
from maskvd_cli.tasks.quantities import DETECTION, MAP, MAP50

if TYPE_CHECKING:
    from maskvd_cli.tasks.detections import Detections

_PERCENT = 100.0


class Detection(Task):
    """Boxes in every frame. Outputs are `Detections`, best first, on the CPU in input pixels."""

    name: ClassVar[str] = "detection"
    description: ClassVar[str] = "boxes of objects in every frame, scored by COCO's mAP"
    has_boxes: ClassVar[bool] = True
    quantities: ClassVar[tuple[Quantity, ...]] = DETECTION
    details: ClassVar[Mapping[str, str]] = {
        "frames": "how many were scored",
        "objects": "annotated ones that count",
        "detections": "of all frames",
        "by_class": "`map50`, `map` and `objects` of each class by its name",
        "by_age": "`map50`, `frames` and `objects` of the frames that lie `first` to `last` frames "
        "after the last full one; `last` null: no end",
    }

    def truth(self, clip: Clip, classes: Sequence[str]) -> Arrays:
        """Return a clip's boxes; see `truth_arrays`."""
        del classes
        return truth_arrays(clip)

    def hints(self, output: Detections) -> Hints:
        """Return all boxes and their scores."""
        return Hints(output.xyxy, output.scores)

    def native(self, output: Detections, placed: Placement) -> Detections:
        """Return the detections with boxes in the frame's own pixels."""
        scale = output.xyxy.new_tensor([placed.col_scale, placed.row_scale] * 2)
        return replace(output, xyxy=output.xyxy / scale)

    def cut(self, output: Detections, content: Size) -> Detections:
        """Return the detections with boxes inside the frame; what lies in the padding is left out.

        As Detectron2 does after its last NMS. Nothing else is changed, the order included.
        """
        limits = output.xyxy.new_tensor([content.cols, content.rows] * 2)
        boxes = output.xyxy.clamp(min=0).minimum(limits)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        return replace(output.at(inside), xyxy=boxes[inside])

    def stored_hints(self, outputs: Arrays, placed: Placement, frames: int) -> Sequence[Hints]:
        """Return the boxes of each frame and their scores; boxes as rounded as they are stored."""
        rows, score = output_rows(outputs)
        corners = np.concatenate([rows.box[:, :2], rows.box[:, :2] + rows.box[:, 2:]], axis=1)
        inside = [rows.frame == position for position in range(frames)]
        return [Hints(placed.place(corners[own]), score[own]) for own in inside]

    def encode(
        self, outputs: Sequence[Detections], placed: Placement, label_of: Sequence[int | None]
    ) -> Arrays:
        """Return `frame` int32, `label` int16, `box` float32 (n, 4) x, y, width, height, `score`.

        Boxes to a thousandth of a pixel, scores float32 to a millionth; see `output_arrays`.
        """
        return output_arrays(outputs, placed, label_of)

    def match(self, truth: Arrays, outputs: Arrays, classes: Sequence[str]) -> Arrays:
        """Return the detections that count, by class, frame and falling score, and the objects.

        `image`, `label`, `score`, and `right` and `wrong` with a bit per threshold;
        `object_image`, `object_label` of every object; `frames` and `detections`, one number each.
        Raises ValueError for a frame or class that the truth does not have.
        """
        objects, ignored = truth_rows(truth)
        rows, score = output_rows(outputs)
        frames = len(truth["index"])
        for found in (objects, ignored, rows):
            _check(found.frame, frames, "frame")
        _check(objects.label, len(classes), "class")
        _check(rows.label, len(classes), "class")
        if not np.isfinite(rows.box).all() or not np.isfinite(score).all():
            raise ValueError("a detection is not finite")
        overlaps = self.overlaps(truth, outputs)
        matches = match(rows, score, objects, ignored, len(classes), overlaps)
        kept = matches.rows
        return {
            "image": rows.frame[kept].astype(np.int32),
            "label": rows.label[kept].astype(np.int16),
            # As it is stored: float32 keeps the order of rounded scores.
            "score": outputs["score"][kept],
            "right": matches.right,
            "wrong": matches.wrong,
            "object_image": objects.frame.astype(np.int32),
            "object_label": objects.label.astype(np.int16),
            "frames": np.array([frames], dtype=np.int64),
            "detections": np.array([len(rows)], dtype=np.int64),
        }

    def overlaps(self, truth: Arrays, outputs: Arrays) -> Overlaps | None:
        """Return how much detections overlap with the truth; None: as their boxes do."""
        del truth, outputs
        return None

    def evaluation(
        self, matches: Sequence[Arrays], ages: Sequence[NDArray[np.int64]], classes: Sequence[str]
    ) -> DetectionEvaluation:
        """Return the evaluation of clips, their frames numbered one after the other."""
        frames = np.array([int(found["frames"][0]) for found in matches], dtype=np.int64)
        starts = np.cumsum(frames) - frames
        return DetectionEvaluation(
            matches={
                name: _class_matches(matches, starts, number) for number, name in enumerate(classes)
            },
            clip_of=np.repeat(np.arange(len(matches), dtype=np.int32), frames),
            age_of=np.concatenate([np.zeros(0, dtype=np.int64), *ages]),
            detections=int(sum(int(found["detections"][0]) for found in matches)),
            names=(self.quantities[0].name, self.quantities[1].name),
        )


@dataclass(frozen=True)
class Precision:
    """mAP at IoU 0.5 and over 0.5:0.95, in percent; None where no class has an object."""

    map50: float | None
    map: float | None
    objects: int


@dataclass(frozen=True)
class DetectionEvaluation(Evaluation):
    """Matches of all clips by class; `clip_of` and `age_of` (frames,) of every frame.

    `names`: what the scores at 0.5 and over 0.5:0.95 are called.
    """

    matches: Mapping[str, ClassMatches]
    clip_of: NDArray[np.int32]
    age_of: NDArray[np.int64]
    detections: int
    names: tuple[str, str] = (MAP50.name, MAP.name)

    @cached_property
    def by_class(self) -> Mapping[str, Precision]:
        """COCO's scores of each class."""
        return {
            name: _precision(curves[..., None], len(self.matches[name].objects))
            for name, curves in self._curves.items()
        }

    @cached_property
    def overall(self) -> Precision:
        """COCO's scores over all classes."""
        objects = sum(len(found.objects) for found in self.matches.values())
        return _precision(np.stack(list(self._curves.values()), axis=-1), objects)

    def scores(self) -> Scores:
        """Return mAP50 and mAP, with what they stand on, by class and by frame age."""
        overall, (at_half, over_all) = self.overall, self.names
        return Scores(
            {at_half: overall.map50, over_all: overall.map},
            {
                "frames": len(self.clip_of),
                "objects": overall.objects,
                "detections": self.detections,
                "by_class": {
                    name: {at_half: one.map50, over_all: one.map, "objects": one.objects}
                    for name, one in self.by_class.items()
                },
                "by_age": self.by_age(),
            },
        )

    def by_age(self) -> list[dict[str, Any]]:
        """Return mAP50 by frames since the last full one; matched and ranked on those frames."""
        return [
            {
                "first": bucket.first,
                "last": bucket.last,
                "frames": int(bucket.inside.sum()),
                "objects": self.objects(bucket.inside),
                self.names[0]: self.on_frames(bucket.inside),
            }
            for bucket in buckets(self.age_of)
        ]

    def headline(self, weights: Weights) -> float | None:
        """Return mAP50 in percent where each clip counts `weights` (clips,) times.

        Takes about 10 ns for every detection.
        """
        return _mean(self._by_clip, weights)

    def on_frames(self, weights: Weights) -> float | None:
        """Return mAP50 in percent where each frame counts `weights` (frames,) times."""
        return _mean(self._by_frame, weights)

    def objects(self, weights: Weights) -> int:
        """Return how many objects the weighted frames hold."""
        return int(sum(weights[found.objects].sum() for found in self.matches.values()))

    @cached_property
    def _curves(self) -> Mapping[str, NDArray[np.float64]]:
        return {name: found.curves() for name, found in self.matches.items()}

    @cached_property
    def _by_clip(self) -> Sequence[Ranking]:
        return [ranking.by_clip(self.clip_of) for ranking in self._by_frame]

    @cached_property
    def _by_frame(self) -> Sequence[Ranking]:
        return [found.at(0) for found in self.matches.values()]


def _class_matches(
    matches: Sequence[Arrays], starts: NDArray[np.int64], label: int
) -> ClassMatches:
    """Join one class of all clips; `starts` (clips,) the number of each clip's first frame."""
    parts: list[tuple[NDArray[Any], ...]] = []
    objects = [np.zeros(0, dtype=np.int32)]
    for found, start in zip(matches, starts.tolist(), strict=True):
        # Sorted by class already.
        first, end = np.searchsorted(found["label"], [label, label + 1])
        image = found["image"][first:end] + np.int32(start)
        parts.append((image, *(found[name][first:end] for name in ("score", "right", "wrong"))))
        inside = found["object_image"][found["object_label"] == label]
        objects.append(inside + np.int32(start))
    if not parts:
        raise ValueError("no clip to score")
    return ClassMatches.of(parts, np.concatenate(objects))


def _precision(curves: NDArray[np.float64], objects: int) -> Precision:
    """Return the scores of curves (thresholds, recalls, classes); -1 where there is no object."""

    def mean(part: NDArray[np.float64]) -> float | None:
        known = part[part > -1]
        return _PERCENT * float(known.mean()) if len(known) else None

    return Precision(mean(curves[0]), mean(curves), objects)


def _mean(rankings: Sequence[Ranking], weights: Weights) -> float | None:
    curves = [ranking.curve(weights) for ranking in rankings]
    known = [float(curve.mean()) for curve in curves if curve is not None]
    return _PERCENT * sum(known) / len(known) if known else None


def _check(numbers: NDArray[np.int64], end: int, what: str) -> None:
    if len(numbers) and (int(numbers.min()) < 0 or int(numbers.max()) >= end):
        raise ValueError(f"a {what} is not among the truth's {end}")
