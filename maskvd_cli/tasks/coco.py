"""mAP by pycocotools from stored predictions, whole and on parts of the frames.

Boxes are xywh in native pixels. Regions to ignore become crowd annotations of every class: a
detection that lies in one by the share of its own area that the IoU threshold asks for, and matches
no object, counts neither as right nor as wrong. At most 100 detections of a frame and class count;
areas play no role.
"""

# pycocotools has no annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.types import Boxes, Clip

if TYPE_CHECKING:
    from maskvd_cli.tasks.detections import Detections

_RECALLS = np.linspace(0.0, 1.0, 101)
_PERCENT = 100.0
_EVERY_AREA = [0, 1e10]
_MOST_DETECTIONS = 100
Truth = Mapping[str, Any]


def ground_truth(clips: Iterable[Clip], classes: Sequence[str]) -> dict[str, Any]:
    """Return the annotations of clips in COCO's format; ids count from 1.

    Images carry `clip` and `frame`; ignore regions stand once under each class.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for clip in clips:
        for frame in clip.frames:
            number = len(images) + 1
            images.append(
                {"id": number, "clip": clip.name, "frame": frame.index,
                 "height": frame.size.rows, "width": frame.size.cols}
            )  # fmt: skip
            for annotation in _annotations(frame.boxes, len(classes)):
                annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotations(boxes: Boxes, classes: int) -> Iterable[dict[str, Any]]:
    rows = zip(boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist(), strict=True)
    for (x1, y1, x2, y2), label, ignore in rows:
        shape = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        for category in range(classes) if ignore else [label]:
            yield {"category_id": category + 1, **shape, "iscrowd": int(ignore)}


def prediction_rows(
    image: int, found: Detections, placed: Placement, category_of: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Return detections on the CPU, in input pixels, as COCO's rows in native pixels.

    Boxes to a thousandth of a pixel. `category_of` gives the dataset's class for each of the
    detector's; detections of one that has none are left out.
    """
    scale = np.array([placed.col_scale, placed.row_scale] * 2)
    native = (found.xyxy.double().numpy() / scale).tolist()
    rows: list[dict[str, Any]] = []
    scored = zip(native, found.scores.tolist(), found.labels.tolist(), strict=True)
    for (x1, y1, x2, y2), score, label in scored:
        category = category_of[int(label)]
        if category is not None:
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            rows.append(
                {"image_id": image, "category_id": category + 1, "bbox": box,
                 "score": round(score, 6)}
            )  # fmt: skip
    return rows


@dataclass(frozen=True)
class ClassMatches:
    """What COCO's matching says of one class, detections by falling score.

    `image` (D,) position of each detection's frame; `right` and `wrong` (thresholds, D) bool;
    `objects` (frames,) how many objects each frame has, ignore regions left out.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    objects: NDArray[np.int64]

    def average_precision(self, threshold: int, weights: NDArray[np.int64]) -> float | None:
        """Return the 101-point AP (0..1) where each frame counts `weights` (frames,) times.

        None where no object is left. Equal to COCO's on frames repeated as often.
        """
        objects = int((self.objects * weights).sum())
        if not objects:
            return None
        times = weights[self.image]
        right = np.cumsum(self.right[threshold] * times)
        wrong = np.cumsum(self.wrong[threshold] * times)
        precision = right / (right + wrong + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(right / objects, _RECALLS, side="left")
        return float(np.append(envelope, 0.0)[np.minimum(at, len(envelope))].mean())


@dataclass(frozen=True)
class Scores:
    """mAP at IoU 0.5 and over 0.5:0.95, in percent; None where no class has an object."""

    map50: float | None
    map: float | None
    objects: int


@dataclass(frozen=True)
class Evaluation:
    """Matches of all classes, and COCO's own scores by class and over all classes."""

    images: tuple[int, ...]
    matches: tuple[ClassMatches, ...]
    by_class: Mapping[str, Scores]
    overall: Scores

    def map50(self, weights: NDArray[np.int64]) -> float | None:
        """Return mAP50 in percent where each frame counts `weights` (frames,) times."""
        found = [matches.average_precision(0, weights) for matches in self.matches]
        present = [value for value in found if value is not None]
        return _PERCENT * sum(present) / len(present) if present else None

    def objects(self, weights: NDArray[np.int64]) -> int:
        """Return how many objects the weighted frames hold."""
        return int(sum((matches.objects * weights).sum() for matches in self.matches))


def evaluate(truth: Truth, predictions: Sequence[Mapping[str, Any]]) -> Evaluation:
    """Match predictions (`image_id`, `category_id`, `bbox`, `score`) with the truth and score them.

    mAP is COCO's, the mean over classes that have an object.
    """
    boxed = [
        {**row, "id": i + 1, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for i, row in enumerate(predictions)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_indexed(truth), _indexed({**truth, "annotations": boxed}), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [_EVERY_AREA], ["all"]
        judge.params.maxDets = [_MOST_DETECTIONS]
        judge.evaluate()
        judge.accumulate()
    images: list[int] = [int(number) for number in judge.params.imgIds]
    every: list[Any] = list(judge.evalImgs)
    matches = tuple(
        _class_matches(every[first : first + len(images)], images, judge.params.iouThrs)
        for first in range(0, len(every), len(images))
    )
    # (thresholds, recalls, classes); -1 where a class has no object.
    precision = judge.eval["precision"][..., 0, 0]
    counts = [int(found.objects.sum()) for found in matches]
    names = [category["name"] for category in truth["categories"]]
    by_class = {name: _scores(precision[:, :, [i]], counts[i]) for i, name in enumerate(names)}
    return Evaluation(tuple(images), matches, by_class, _scores(precision, sum(counts)))


def _indexed(content: Truth) -> COCO:
    # Its own loader cannot take an empty list of predictions.
    made = COCO()
    made.dataset = cast(Any, dict(content))
    made.createIndex()
    return made


def _scores(precision: NDArray[np.float64], objects: int) -> Scores:
    def mean(part: NDArray[np.float64]) -> float | None:
        known = part[part > -1]
        return _PERCENT * float(known.mean()) if len(known) else None

    return Scores(mean(precision[0]), mean(precision), objects)


def _class_matches(
    found: Sequence[Mapping[str, Any] | None],
    images: Sequence[int],
    thresholds: NDArray[np.float64],
) -> ClassMatches:
    """Gather one class's matches of every frame and sort them as COCO does."""
    objects = np.zeros(len(images), dtype=np.int64)
    scores: list[NDArray[np.float64]] = [np.zeros(0)]
    at: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    matched = [np.zeros((len(thresholds), 0), dtype=np.bool_)]
    ignored = list(matched)
    for position, frame in enumerate(found):
        if frame is None:
            continue
        objects[position] = int((np.asarray(frame["gtIgnore"]) == 0).sum())
        scores.append(np.asarray(frame["dtScores"], dtype=np.float64))
        at.append(np.full(len(frame["dtScores"]), position))
        matched.append(np.asarray(frame["dtMatches"]) != 0)
        ignored.append(np.asarray(frame["dtIgnore"]).astype(np.bool_))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    hit = np.concatenate(matched, axis=1)[:, order]
    counts = ~np.concatenate(ignored, axis=1)[:, order]
    return ClassMatches(np.concatenate(at)[order], hit & counts, ~hit & counts, objects)
