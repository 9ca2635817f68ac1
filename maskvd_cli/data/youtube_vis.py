"""YouTube-VIS 2019 and 2021, and any set in their form: videos of JPEG files, instance masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes, BoxTally, Clip, Frame, Silhouette, Sought
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import RAW, Dataset, check_boxes, clip_boxes, make_boxes
from maskvd_cli.data.coco_json import ImageFiles, clip_name, image_path, image_places, untaken
from maskvd_cli.data.youtube_vis_json import Instance, StatedInstance, Videos, read_videos

_IMAGES = "JPEGImages"
# Files of the competitions, of the splits that others made of their training videos, and of OVIS.
_FILES = (
    "{}.json", "{}/instances.json", "{}/{}.json", "annotations/{}.json", "instances_{}.json",
    "annotations/instances_{}.json", "annotations/annotations_{}.json",
)  # fmt: skip
# Other names of a split, and the one whose images those of a part of it are.
_ALSO = {"valid": ("val",), "valid_sub": ("val_sub",)}
_IMAGES_OF = {"train_sub": "train", "valid_sub": "train"}


@dataclass(frozen=True)
class InstanceFrame(Frame):
    """A frame with what the file says of each of its boxes' instances."""

    drawn: tuple[StatedInstance, ...] = ()

    def silhouettes(self) -> list[Silhouette]:
        """Return the silhouette of each box. Raises DatasetError for a damaged one."""
        return [drawn.silhouette(self.size) for drawn in self.drawn]

    def silhouette_content(self) -> bytes:
        """Return what the file says of them."""
        return json.dumps([drawn.segmentation for drawn in self.drawn], sort_keys=True).encode()


class YouTubeVis(Dataset):
    """Videos with instance masks; a clip is one video, its frames are numbered from 0.

    Only every fifth frame of a recording is there, at 6 per second. `ytvis` makes an ignore region
    of every annotation with `iscrowd`; `raw` keeps it as an object. Annotations of the splits
    `valid` and `test` are not public; `train_sub` and `valid_sub` are parts of `train` that some
    projects made. The root may also be the JSON file itself, which is then read whatever the split.
    """

    name = "youtube-vis"
    description = "YouTube-VIS 2019 and 2021: videos with instance masks (JSON, JPEGImages/)"
    env = "MASKVD_YOUTUBE_VIS"
    splits = ("train", "valid", "test", "train_sub", "valid_sub")
    protocols = ("ytvis",)
    evaluation_split = "valid"
    training_split = "train"

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(entry["name"] for entry in self._categories)

    @property
    def annotation_source(self) -> Path:
        return self._file

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        files, taken = ImageFiles(), set[str]()
        of_video: dict[int, list[tuple[int, Instance]]] = {}
        for row, instance in enumerate(self._instances):
            of_video.setdefault(instance["video_id"], []).append((row, instance))
        for row, video in enumerate(self._document["videos"]):
            first = video["file_names"][0] if video["file_names"] else ""
            name = clip_name(image_path(first).parent.name) or str(video["id"])
            name = untaken(name, video["id"], taken)
            taken.add(name)
            seen = of_video.get(video["id"], [])
            places = range(len(video["file_names"]))
            yield Clip(name, tuple(self._frame(name, row, at, seen, files) for at in places))

    def _frame(
        self, clip: str, row: int, at: int, seen: Sequence[tuple[int, Instance]], files: ImageFiles
    ) -> InstanceFrame:
        video = self._document["videos"][row]
        size, file_name = Size(video["height"], video["width"]), video["file_names"][at]
        where = f"{self._file}: videos.{row}.file_names.{at}"
        folders, name = image_places(file_name, self._image_roots, where)
        paths = (files.find(folder, name) for folder in folders)
        image = next((path for path in paths if path), None)
        path = str(image_path(file_name))
        sought = None if image else Sought(clip, path, self._image_roots)
        boxes, drawn = self._boxes(seen, at, size)
        return InstanceFrame(at, image, size, boxes, self._file.name, sought, drawn)

    def _boxes(
        self, seen: Sequence[tuple[int, Instance]], at: int, size: Size
    ) -> tuple[Boxes, tuple[StatedInstance, ...]]:
        """Return the boxes in a frame, and what is said of their instances."""
        there = [(row, one) for row, one in seen if one["segmentations"][at] is not None]
        drawn = [
            StatedInstance(one["segmentations"][at], f"{self._file}: {_key(row, at)}")
            for row, one in there
        ]
        corners = [
            _corners(one, at, found, size) for (_, one), found in zip(there, drawn, strict=True)
        ]
        keep_crowds = self.protocol == RAW
        ignore = [bool(one.get("iscrowd", 0)) and not keep_crowds for _, one in there]
        labels = [self._label_of[one["category_id"]] for _, one in there]
        # Tracks are put in afterwards: their place tells which boxes were dropped.
        boxes = make_boxes(
            corners,
            [-1 if skipped else label for label, skipped in zip(labels, ignore, strict=True)],
            range(len(there)),
            ignore,
        )
        check_boxes(boxes.xyxy, lambda n: f"{self._file}: annotations.{there[n][0]}.bboxes.{at}")
        first = f"{self._file.name}: annotations.{there[0][0]}" if there else ""
        kept = clip_boxes(boxes, size, self.tally, first)
        rows = kept.track_ids.tolist()
        tracks = [there[row][1].get("id", there[row][0]) for row in rows]
        kept = replace(kept, track_ids=np.array(tracks, dtype=np.int64))
        return kept, tuple(drawn[row] for row in rows)

    @cached_property
    def _document(self) -> Videos:
        return read_videos(self._file)

    @cached_property
    def _instances(self) -> Sequence[Instance]:
        instances = self._document.get("annotations")
        if instances is None:
            raise DatasetError(
                "holds no annotations: those of valid and test are not public",
                where=self._file,
                remedy="use another split, such as train or valid_sub (dataset.split)",
            )
        return instances

    @cached_property
    def _categories(self) -> list[Any]:
        return sorted(self._document["categories"], key=lambda entry: entry["id"])

    @cached_property
    def _label_of(self) -> dict[int, int]:
        return {entry["id"]: label for label, entry in enumerate(self._categories)}

    @cached_property
    def _file(self) -> Path:
        if not self.root.is_dir():
            return self.root
        names = (self.split, *_ALSO.get(self.split, ()))
        known = [form.format(name, name) for form in _FILES for name in names]
        found = next((self.root / file for file in known if (self.root / file).exists()), None)
        if found is None:
            raise DatasetError(
                f"no annotations of split '{self.split}'",
                where=self.root,
                remedy=f"expected one of {', '.join(known)}; a file of another name may be named "
                "itself in place of the folder",
            )
        return found

    @cached_property
    def _image_roots(self) -> tuple[Path, ...]:
        roots = [self.root] if self.root.is_dir() else [self.root.parent, self.root.parent.parent]
        whole = _IMAGES_OF.get(self.split, self.split)
        names = dict.fromkeys((self.split, *_ALSO.get(self.split, ()), whole))
        below = (*(f"{name}/{_IMAGES}" for name in names), _IMAGES)
        return tuple(root / folder for root in roots for folder in below)


def _key(row: int, at: int) -> str:
    return f"annotations.{row}.segmentations.{at}"


def _corners(instance: Instance, at: int, drawn: StatedInstance, size: Size) -> list[float]:
    """Return an instance's box in a frame, the bounds of its pixels where the file says none."""
    box = instance["bboxes"][at] if "bboxes" in instance else None
    if box is None:
        return silhouettes.bounds([drawn.silhouette(size)])[0].tolist()
    x, y, width, height = box
    return [x, y, x + width, y + height]
