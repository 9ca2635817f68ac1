"""ImageNet VID in the three layouts that it is found in, images optional.

`Annotations/VID/val/<video>/<frame>.xml` as ILSVRC2015 gives it; `annotations/vid_val.json` with
`vid_val/*_<video>_<frame>.JPEG`; and `vid_val/labels.json` with `vid_val/frames/<video>/`. The root
may be given at that level or one above.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame, Sought
from maskvd_cli.data.base import Dataset, clip_boxes, contiguous
from maskvd_cli.data.cache import digest, stamp_of
from maskvd_cli.data.coco_json import (
    REMEDY,
    ImageDocument,
    ImageFiles,
    ListedBoxes,
    image_path,
    listing,
    read_annotations,
    read_document,
)
from maskvd_cli.data.kept_clips import kept_clips
from maskvd_cli.data.vid_xml import CLASSES, SYNSETS, find_frames, find_videos, read_xml, subfolders

# Rises when the same files give other clips.
REVISION = 1
_FOLDERS = {
    "train": "vid_train", "val": "vid_val", "minival": "vid_minival", "det-train": "det_train",
}  # fmt: skip
_EXPECTED = "Annotations/VID/ (ILSVRC2015), annotations/vid_*.json or vid_*/labels.json (vid_data)"


class _Layout(NamedTuple):
    kind: Literal["xml", "archive", "unpacked"]
    folder: Path


class ImageNetVid(Dataset):
    """ImageNet VID, 30 classes; a video whose frame numbers jump gives several clips.

    `minival` and `det-train` (still images, each its own clip) exist only in the vid_data layouts.
    """

    name = "imagenet-vid"
    description = "ImageNet VID, in ILSVRC2015's layout or as the vid_data archive in COCO form"
    env = "MASKVD_VID"
    splits = ("train", "val", "minival", "det-train")
    protocols = ("imagenet-vid",)
    evaluation_split = "val"
    training_split = "train"

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        xml = self._layout.kind == "xml"
        return kept_clips(self, self._xml_clips() if xml else self._json_clips())

    def stamp(self) -> str | None:
        parts: list[object] = [self.name, REVISION, self.split, self.root]
        try:
            if self._layout.kind != "xml":
                return digest([*parts, self._file, stamp_of(self._file)])
            if not self.annotation_source.is_dir():
                return None
            for folder in find_videos(self.annotation_source).values():
                parts.append(folder)
                with os.scandir(folder) as entries:
                    found = sorted((entry.name, stamp_of(entry)) for entry in entries)
                parts += [text for pair in found for text in pair]
        except OSError:
            # Reading tells what is wrong, and where.
            return None
        return digest(parts)

    @property
    def annotation_source(self) -> Path:
        if self._layout.kind == "xml":
            return self._layout.folder / "Annotations" / "VID" / self.split
        return self._file

    @cached_property
    def _layout(self) -> _Layout:
        if not self.root.is_dir():
            raise DatasetError("is no folder", where=self.root, remedy=f"expected {_EXPECTED}")
        here = _layout_of(self.root)
        below = [] if here else subfolders(self.root)
        found = [layout for layout in (here, *map(_layout_of, below)) if layout]
        if not found:
            raise DatasetError(
                f"no ImageNet VID annotations here; {_holds(self.root)}",
                where=self.root,
                remedy=f"expected {_EXPECTED}",
            )
        if len(found) > 1:
            raise DatasetError(
                f"holds several sets: {', '.join(layout.folder.name for layout in found)}",
                where=self.root,
                remedy="name one of these folders",
            )
        return found[0]

    def _xml_clips(self) -> Iterator[Clip]:
        top = self._layout.folder / "Annotations" / "VID"
        if self.split not in ("train", "val"):
            raise DatasetError(
                f"no split '{self.split}' in the ILSVRC2015 layout; there are: train, val",
                where=self._layout.folder,
                remedy="use one of these, or the vid_data archive, which has it",
            )
        if not (top / self.split).is_dir():
            raise DatasetError(
                f"no such folder; {_holds(top)}",
                where=top / self.split,
                remedy="use a split that is there, or unpack the annotations again",
            )
        for video, folder in find_videos(top / self.split).items():
            images = self._layout.folder / "Data" / "VID" / folder.relative_to(top)
            yield from self._xml_video(video, folder, images)

    def _xml_video(self, video: str, folder: Path, images: Path) -> Iterator[Clip]:
        stems = find_frames(folder)
        present = listing(images)
        numbers = list(stems)
        parts = contiguous(numbers)
        for part in parts:
            clip = _clip_name(video, numbers[part][0], len(parts))
            frames: list[Frame] = []
            for number in numbers[part]:
                file = folder / f"{stems[number]}.xml"
                image = f"{stems[number]}.JPEG"
                size, boxes = read_xml(file)
                boxes = clip_boxes(boxes, size, self.tally, f"{video}/{file.name}")
                path = images / image if image in present else None
                sought = None if path else Sought(clip, image, (images,))
                frames.append(Frame(number, path, size, boxes, file.name, sought))
            yield Clip(clip, tuple(frames), video)

    def _json_clips(self) -> Iterator[Clip]:
        files = ImageFiles()
        for video, rows in sorted(self._videos.items()):
            numbers = sorted(rows)
            parts = contiguous(numbers)
            for part in parts:
                clip = _clip_name(video, numbers[part][0], len(parts))
                frames = tuple(
                    self._json_frame(clip, number, rows[number], files) for number in numbers[part]
                )
                yield Clip(clip, frames, video)

    def _json_frame(self, clip: str, number: int, row: int, files: ImageFiles) -> Frame:
        file, document, annotations = self._source
        entry = document["images"][row]
        size = Size(entry["height"], entry["width"])
        where = f"{file}: images.{row}"
        boxes = clip_boxes(
            annotations.of_image(row), size, self.tally, f"{file.name}: images.{row}"
        )
        folder, name = self._images, image_path(entry["file_name"]).name
        if self._layout.kind == "unpacked":
            part, digits = _place(f"{where}.file_name", entry["file_name"])
            folder, name = folder / part, f"{digits}.jpg"
        path = files.find(folder, name)
        sought = None if path else Sought(clip, name, (folder,))
        return Frame(number, path, size, boxes, file.name, sought)

    @cached_property
    def _file(self) -> Path:
        """The split's annotation file in COCO form, whether it is there or not."""
        kind, folder = self._layout
        name = _FOLDERS[self.split]
        return folder / (
            f"{name}/labels.json" if kind == "unpacked" else f"annotations/{name}.json"
        )

    @cached_property
    def _source(self) -> tuple[Path, ImageDocument, ListedBoxes]:
        """The split's annotation file, what it says, and its boxes under this dataset's labels."""
        file = self._file
        if not file.is_file():
            kind, folder = self._layout
            known = folder if kind == "unpacked" else folder / "annotations"
            raise DatasetError(
                f"no such file (split '{self.split}'); {_holds(known)}",
                where=file,
                remedy="use a split that is there, or unpack the archive again",
            )
        document = read_document(file, ImageDocument)
        return file, document, _labelled(file, document, read_annotations(file, document))

    @cached_property
    def _images(self) -> Path:
        """The folder of this split's images; minival is a part of val and shares its images."""
        kind, folder = self._layout
        own, of_val = (folder / _FOLDERS[split] for split in (self.split, "val"))
        if kind == "archive":
            return of_val if self.split == "minival" else own
        absent = self.split == "minival" and not (own / "frames").is_dir()
        return (of_val if absent else own) / "frames"

    @cached_property
    def _videos(self) -> dict[str, dict[int, int]]:
        """Positions in `images` by video and frame number; each still image is a video."""
        file, document, _ = self._source
        stills = self.split == "det-train"
        videos: dict[str, dict[int, int]] = {}
        seen: set[tuple[str, int]] = set()
        for row, entry in enumerate(document["images"]):
            where = f"{file}: images.{row}.file_name"
            part, digits = _place(where, entry["file_name"])
            video = image_path(entry["file_name"]).stem if stills else part
            # Unpacked images keep only these two parts of their name: two stills may share a file.
            key = (part if self._layout.kind == "unpacked" else video, int(digits))
            if key in seen:
                raise DatasetError(
                    f"frame {key[1]} of video '{key[0]}' is there twice",
                    where=where,
                    remedy="keep one of them",
                )
            seen.add(key)
            videos.setdefault(video, {})[int(digits)] = row
        return videos


def _layout_of(folder: Path) -> _Layout | None:
    names = _FOLDERS.values()
    if not os.access(folder, os.X_OK):
        return None
    if (folder / "Annotations" / "VID").is_dir():
        return _Layout("xml", folder)
    if any((folder / "annotations" / f"{name}.json").is_file() for name in names):
        return _Layout("archive", folder)
    if any((folder / name / "labels.json").is_file() for name in names):
        return _Layout("unpacked", folder)
    return None


def _holds(folder: Path) -> str:
    names = sorted(listing(folder))
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"there are: {', '.join(names[:8])}{more}"


def _clip_name(video: str, first: int, parts: int) -> str:
    return video if parts == 1 else f"{video}-{first}"


def _place(where: str, file_name: str) -> tuple[str, str]:
    """Return an image's video and the digits of its frame number. Raises DatasetError."""
    match = re.fullmatch(r"(?:.*_)?([A-Za-z0-9-]+)_([0-9]{1,9})", image_path(file_name).stem)
    if match is None:
        raise DatasetError(
            f"{file_name[:80]!r} is not named *_<video>_<frame number>", where=where, remedy=REMEDY
        )
    return match[1], match[2]


def _labelled(file: Path, document: ImageDocument, annotations: ListedBoxes) -> ListedBoxes:
    """Turn category ids into labels 0..29 by the category's name, else by its place in 1..30.

    The archive numbers the classes from 1 in alphabetical order, so both ways agree on it.
    """
    label_of: dict[int, int] = {}
    for index, category in enumerate(document["categories"]):
        name = category["name"].strip().lower().replace(" ", "_")
        name = SYNSETS.get(name, name)
        label = CLASSES.index(name) if name in CLASSES else category["id"] - 1
        if not 0 <= label < len(CLASSES):
            raise DatasetError(
                f"'{category['name'][:40]}' is none of the {len(CLASSES)} classes, and its id "
                f"{category['id']} is not in 1..{len(CLASSES)}",
                where=f"{file}: categories.{index}",
                remedy="number the 30 classes from 1 in alphabetical order, as the archive does",
            )
        label_of[category["id"]] = label
    labels = np.array([label_of[number] for number in annotations.boxes.labels.tolist()])
    ignore = np.zeros(len(labels), dtype=np.bool_)
    boxes = replace(annotations.boxes, labels=labels.astype(np.int64), ignore=ignore)
    return replace(annotations, boxes=boxes)
