"""COCO's lists of images, annotations and results, to a task's arrays clip by clip and back.

Runs of before kept predictions and truth so; tests and trainings use them too. Boxes are xywh in
native pixels; ids count from 1. Regions to ignore are crowd annotations of every class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.types import Boxes, Clip
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.detection import Detection, DetectionEvaluation

Listed = Mapping[str, Any]


def ground_truth(clips: Iterable[Clip], classes: Sequence[str]) -> dict[str, Any]:
    """Return the annotations of clips in COCO's format.

    Images carry `clip` and `frame`; ignore regions stand once under each class.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for clip in clips:
        for frame in clip.frames:
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "clip": clip.name,
                    "frame": frame.index,
                    "height": frame.size.rows,
                    "width": frame.size.cols,
                }
            )
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


class Listing:
    """Where the images of a COCO truth stand: which clip, and which frame of it."""

    def __init__(self, truth: Listed) -> None:
        images = sorted(truth["images"], key=lambda image: image["id"])
        self.clips: list[str] = list(dict.fromkeys(image["clip"] for image in images))
        self.classes: list[str] = [category["name"] for category in truth["categories"]]
        self.videos = self._videos(images)
        self._label = {category["id"]: i for i, category in enumerate(truth["categories"])}
        self._frames: list[list[Mapping[str, Any]]] = [[] for _ in self.clips]
        number = {name: position for position, name in enumerate(self.clips)}
        self._place: dict[int, tuple[int, int]] = {}
        for image in images:
            clip = number[image["clip"]]
            self._place[image["id"]] = clip, len(self._frames[clip])
            self._frames[clip].append(image)
        self._annotations = truth["annotations"]

    def _videos(self, images: Sequence[Listed]) -> list[str]:
        """Return the video of every clip; where an image names none, the clip itself."""
        named = {image["clip"]: str(image.get("video", image["clip"])) for image in images}
        return [named[clip] for clip in self.clips]

    def truth(self) -> list[Arrays]:
        """Return the truth of every clip."""
        # A region stands under each class; one of them is enough.
        rows = [row for row in self._annotations if not row["iscrowd"] or self._label_of(row) == 0]
        parts = self._parted(rows)
        return [
            {
                **_without_regions(_columns(part, self), part),
                "ignore": np.array([bool(row["iscrowd"]) for _, row in part], dtype=np.bool_),
                "index": np.array([image["frame"] for image in frames], dtype=np.int64),
                "size": np.array(
                    [[image["height"], image["width"]] for image in frames], dtype=np.int32
                ).reshape(-1, 2),
            }
            for part, frames in zip(parts, self._frames, strict=True)
        ]

    def outputs(self, results: Sequence[Listed]) -> list[Arrays]:
        """Return the detections of every clip, scores and boxes as they are."""
        return [
            {
                **_columns(part, self),
                "score": np.array([row["score"] for _, row in part], dtype=np.float64),
            }
            for part in self._parted(results)
        ]

    def ages(self, frames: Sequence[Listed]) -> list[NDArray[np.int64]]:
        """Return the age of every frame of every clip."""
        made = [np.zeros(len(images), dtype=np.int64) for images in self._frames]
        known: set[int] = set()
        for frame in frames:
            clip, position = self._place[frame["image_id"]]
            made[clip][position] = frame["age"]
            known.add(frame["image_id"])
        if len(known) != len(self._place):
            raise ValueError("frames are not those of the truth")
        return made

    def _parted(self, rows: Iterable[Listed]) -> list[list[tuple[int, Listed]]]:
        parts: list[list[tuple[int, Listed]]] = [[] for _ in self.clips]
        for row in rows:
            clip, position = self._place[row["image_id"]]
            parts[clip].append((position, row))
        return parts

    def _label_of(self, row: Listed) -> int:
        return self._label[row["category_id"]]

    def labels(self, part: Sequence[tuple[int, Listed]]) -> NDArray[np.int16]:
        """Return the class of every row."""
        return np.array([self._label_of(row) for _, row in part], dtype=np.int16)


def _columns(part: Sequence[tuple[int, Listed]], listing: Listing) -> dict[str, NDArray[Any]]:
    boxes = np.array([row["bbox"] for _, row in part], dtype=np.float64)
    return {
        "frame": np.array([position for position, _ in part], dtype=np.int32),
        "label": listing.labels(part),
        "box": boxes.reshape(-1, 4),
    }


def _without_regions(
    columns: dict[str, NDArray[Any]], part: Sequence[tuple[int, Listed]]
) -> dict[str, NDArray[Any]]:
    """Return the columns without the class that a region to ignore happens to stand under."""
    ignored = np.array([bool(row["iscrowd"]) for _, row in part], dtype=np.bool_)
    return {**columns, "label": np.where(ignored, -1, columns["label"]).astype(np.int16)}


def evaluate(
    truth: Listed, results: Sequence[Listed], frames: Sequence[Listed] | None = None
) -> DetectionEvaluation:
    """Match results (`image_id`, `category_id`, `bbox`, `score`) with the truth and score them.

    `frames`: the age of every image; none, where frames have no age.
    """
    task, listing = Detection(), Listing(truth)
    pairs = zip(listing.truth(), listing.outputs(results), strict=True)
    matches = [task.match(known, found, listing.classes) for known, found in pairs]
    ages = [np.zeros(int(found["frames"][0]), dtype=np.int64) for found in matches]
    known_ages = ages if frames is None else listing.ages(frames)
    return task.evaluation(matches, known_ages, listing.classes)
