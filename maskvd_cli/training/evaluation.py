"""mAP of a detector on single frames, by pycocotools."""

# pycocotools has no annotations.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskvd_cli.models.detections import Detections
from maskvd_cli.models.vitdet import Detector
from maskvd_cli.training.frames import FrameList
from maskvd_cli.training.geometry import Geometry
from maskvd_cli.training.loading import PlacedFrames, batches

_PERCENT = 100.0
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Accuracy:
    """mAP at IoU 0.5 and over 0.5:0.95 in percent, mean over classes that have an object.

    `map50_by_class` leaves the other classes out.
    """

    map50: float
    map: float
    map50_by_class: dict[str, float]
    frames: int


@torch.no_grad()
def evaluate(  # noqa: PLR0913 - what is evaluated, and how it is loaded
    detector: Detector,
    listed: FrameList,
    geometry: Geometry,
    *,
    batch: int = 8,
    workers: int = 0,
    on_frames: Callable[[int], object] = lambda done: None,
) -> Accuracy:
    """Detect in every frame, every token computed, and compare with all of its objects.

    Ignore regions are crowds of every class. Boxes are compared in pixels of the input, where their
    IoU is that of native pixels. `on_frames` is told how many frames are done. `listed` must hold
    an object. Raises what the dataset and the detector raise.
    """
    found: Rows = []
    count = len(listed)
    loaded = batches(PlacedFrames(listed, geometry), range(count), batch, workers=workers)
    image = 0
    for pixels in loaded:
        for detections in detector(pixels):
            image += 1
            found += _detected(detections, image)
        on_frames(image)
    return _scored(_annotated(listed, geometry), found, listed.dataset.classes, count)


def _detected(detections: Detections, image: int) -> Rows:
    xyxy, scores, labels = (
        part.tolist() for part in (detections.xyxy, detections.scores, detections.labels)
    )
    return [
        {**_shape(box), "image_id": image, "category_id": label + 1, "score": score, "iscrowd": 0}
        for box, score, label in zip(xyxy, scores, labels, strict=True)
    ]


def _annotated(listed: FrameList, geometry: Geometry) -> Rows:
    rows: Rows = []
    classes = range(len(listed.dataset.classes))
    for image, frame in enumerate(listed.frames, 1):
        boxes = frame.boxes
        corners = geometry.placed(frame.size).place(boxes.xyxy).tolist()
        for box, label, ignore in zip(corners, boxes.labels, boxes.ignore, strict=True):
            for category in classes if ignore else (int(label),):
                crowd = {"category_id": category + 1, "iscrowd": int(ignore)}
                rows.append({**_shape(box), "image_id": image, **crowd})
    return rows


def _shape(box: list[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}


def _scored(truth: Rows, found: Rows, classes: tuple[str, ...], frames: int) -> Accuracy:
    # COCOeval reports to stdout, which is for data.
    with contextlib.redirect_stdout(io.StringIO()):
        both = (_indexed(rows, classes, frames) for rows in (truth, found))
        judge = COCOeval(*both, iouType="bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    # (thresholds, recalls, classes); -1 where a class has no object.
    precision = judge.eval["precision"][..., 0, 0]
    by_class = {
        name: float(precision[0, :, number].mean() * _PERCENT)
        for number, name in enumerate(classes)
        if (precision[0, :, number] >= 0).all()
    }
    map50 = sum(by_class.values()) / len(by_class)
    return Accuracy(map50, float(precision[precision >= 0].mean() * _PERCENT), by_class, frames)


def _indexed(rows: Rows, classes: tuple[str, ...], frames: int) -> COCO:
    made = COCO()
    content: Any = {
        "images": [{"id": image} for image in range(1, frames + 1)],
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    made.dataset = content
    made.createIndex()
    return made
