"""Any video set in CocoVID form: COCO JSON whose images carry `video_id` and `frame_id`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame
from maskvd_cli.data.base import RAW, Dataset, clip_boxes, contiguous
from maskvd_cli.data.coco_json import (
    Annotations,
    ImageFiles,
    VideoDocument,
    VideoImage,
    listing,
    read_annotations,
    read_document,
    refuse_repeats,
)


@dataclass(frozen=True)
class _Source:
    """One annotation file: what it says and its boxes, labelled by position among the classes."""

    file: Path
    document: VideoDocument
    annotations: Annotations
    classes: tuple[str, ...]


class CocoVideo(Dataset):
    """Videos in CocoVID form; a video whose frame ids jump gives several clips.

    `coco` makes an ignore region of every annotation with `iscrowd`; `raw` keeps it as an object.
    The root may also be the JSON file itself, which is then read whatever the split.
    """

    name = "coco-video"
    description = "any video set in CocoVID form (COCO JSON with video_id and frame_id)"
    env = "MASKVD_COCO_VIDEO"
    splits = ("train", "val", "test")
    protocols = ("coco",)
    evaluation_split = "val"
    training_split = "train"

    @property
    def classes(self) -> tuple[str, ...]:
        return self._source.classes

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        files, taken = ImageFiles(), set[str]()
        for video, rows in sorted(self._videos.items()):
            numbers = sorted(rows)
            parts = contiguous(numbers, _usual_step(numbers))
            for part in parts:
                frames = [self._frame(number, rows[number], files) for number in numbers[part]]
                name = self._names.get(video, str(video))
                name = name if len(parts) == 1 else f"{name}-{frames[0].index}"
                name = _untaken(name, video, taken)
                taken.add(name)
                yield Clip(name, tuple(frames))

    def _frame(self, number: int, row: int, files: ImageFiles) -> Frame:
        source = self._source
        entry = source.document["images"][row]
        size = Size(entry["height"], entry["width"])
        where = f"{source.file}: images.{row}"
        boxes = clip_boxes(
            source.annotations.of_image(row), size, self.tally, f"{source.file.name}: images.{row}"
        )
        image = self._image(f"{where}.file_name", entry, files)
        return Frame(number, image, size, boxes, source.file.name)

    def _image(self, where: str, entry: VideoImage, files: ImageFiles) -> Path | None:
        path = PurePosixPath(entry["file_name"])
        if path.is_absolute() or ".." in path.parts or "\0" in entry["file_name"]:
            raise DatasetError(
                f"{entry['file_name'][:80]!r} leads out of the dataset's folder",
                where=where,
                remedy="write file names relative to the folder of the images",
            )
        candidates = (files.find(folder / path.parent, path.name) for folder in self._image_roots)
        return next((found for found in candidates if found), None)

    @cached_property
    def _image_roots(self) -> list[Path]:
        roots = [self.root] if self.root.is_dir() else [self.root.parent, self.root.parent.parent]
        below = (".", self.split, "images", f"images/{self.split}")
        return [root / folder for root in roots for folder in below]

    @cached_property
    def _source(self) -> _Source:
        file = self.root if self.root.is_file() else _annotation_file(self.root, self.split)
        document = read_document(file, VideoDocument)
        annotations = read_annotations(file, document)
        categories = sorted((entry["id"], entry["name"]) for entry in document["categories"])
        ids = np.array([number for number, _ in categories], dtype=np.int64)
        labels = np.searchsorted(ids, annotations.boxes.labels)
        ignore = annotations.boxes.ignore & (self.protocol != RAW)
        boxes = replace(annotations.boxes, labels=np.where(ignore, -1, labels), ignore=ignore)
        classes = tuple(name for _, name in categories)
        return _Source(file, document, replace(annotations, boxes=boxes), classes)

    @cached_property
    def _videos(self) -> dict[int, dict[int, int]]:
        """Positions in `images` by video id and frame id."""
        videos: dict[int, dict[int, int]] = {}
        for row, entry in enumerate(self._source.document["images"]):
            rows = videos.setdefault(entry["video_id"], {})
            first = rows.setdefault(entry["frame_id"], row)
            if first != row:
                raise DatasetError(
                    f"frame {entry['frame_id']} of video {entry['video_id']} is already "
                    f"images.{first}",
                    where=f"{self._source.file}: images.{row}.frame_id",
                    remedy="keep one of them",
                )
        return videos

    @cached_property
    def _names(self) -> dict[int, str]:
        """Names that can stand in file names and tables, by video id; empty ones left out."""
        entries = self._source.document.get("videos", [])
        refuse_repeats(self._source.file, "videos", entries)
        names = {entry["id"]: re.sub(r"[^\w.-]+", "_", entry["name"]) for entry in entries}
        names = {video: name.lstrip(".-")[:100] for video, name in names.items()}
        return {video: name for video, name in names.items() if name.strip("_")}


def _annotation_file(root: Path, split: str) -> Path:
    """Return the one JSON file of a split below a dataset's folder. Raises DatasetError."""
    folders = (root / "annotations", root)
    listed = [folder / name for folder in folders for name in sorted(listing(folder))]
    known = [file for file in listed if file.suffix == ".json"]
    found = [file for file in known if file.stem == split or file.stem.endswith(f"_{split}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(file.relative_to(root)) for file in found or known)
    if found:
        raise DatasetError(
            f"{len(found)} files fit split '{split}': {names}",
            where=root,
            remedy="name one of these files in place of the folder",
        )
    raise DatasetError(
        f"no annotations of split '{split}'; there are: {names or 'no JSON files'}",
        where=root,
        remedy=f"expected annotations/{split}.json, annotations/*_{split}.json or the same "
        "without annotations/",
    )


def _usual_step(numbers: list[int]) -> int:
    """Return the most frequent step: sets annotated at every n-th frame go on in steps of n."""
    steps = Counter(after - before for before, after in pairwise(numbers))
    return max(steps, key=lambda step: (steps[step], -step), default=1)


def _untaken(name: str, video: int, taken: set[str]) -> str:
    """Return a name that no clip has yet: two videos may share one, or end up with the same."""
    if name in taken:
        name = f"{name}.{video}"
    while name in taken:
        name += "."
    return name
