"""Any video set in CocoVID form: COCO JSON whose images carry `video_id` and `frame_id`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame, Sought
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import RAW, Dataset, clip_boxes, contiguous
from maskvd_cli.data.cache import digest, stamp_of
from maskvd_cli.data.coco_json import (
    ImageFiles,
    ListedBoxes,
    VideoDocument,
    clip_name,
    image_path,
    image_places,
    listing,
    read_annotations,
    read_document,
    refuse_repeats,
    untaken,
)
from maskvd_cli.data.kept_clips import kept_clips, shelf_of
from maskvd_cli.data.stored_clips import StoredClips

# Rises when the same file gives other clips.
REVISION = 1


@dataclass(frozen=True)
class _Source:
    """One annotation file: what it says and its boxes, labelled by position among the classes."""

    file: Path
    document: VideoDocument
    annotations: ListedBoxes
    classes: tuple[str, ...]
    remarks: tuple[str, ...]


class CocoVideo(Dataset):
    """Videos in CocoVID form; a video whose frame ids jump gives several clips.

    `coco` makes an ignore region of every annotation with `iscrowd` or `ignore`; `raw` keeps it as
    an object. Categories of one name are one class: exporters write the set's own name as an
    unused root beside the category itself. The root may also be the JSON file itself, which is
    then read whatever the split.
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
        return self._kept.classes if self._kept else self._source.classes

    @property
    def annotation_source(self) -> Path:
        return self._file

    def remarks(self) -> list[str]:
        source = self._kept or self._source
        return [*source.remarks, *super().remarks()]

    def stamp(self) -> str | None:
        try:
            state = stamp_of(self._file)
        except OSError:
            return None
        return digest([self.name, REVISION, self.split, self.protocol, self._file, state])

    @cached_property
    def _kept(self) -> StoredClips | None:
        shelf = shelf_of(self)
        return shelf.load() if shelf else None

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        return kept_clips(self, self._read_clips(), lambda: self._source.remarks)

    def _read_clips(self) -> Iterator[Clip]:
        files, taken, videos = ImageFiles(), set[str](), set[str]()
        for video, rows in sorted(self._videos.items()):
            numbers = sorted(rows)
            parts = contiguous(numbers, _usual_step(numbers))
            whole = self._names.get(video, str(video))
            unique = untaken(whole, video, videos)
            videos.add(unique)
            for part in parts:
                name = whole if len(parts) == 1 else f"{whole}-{numbers[part][0]}"
                name = untaken(name, video, taken)
                taken.add(name)
                frames = (
                    self._frame(name, number, rows[number], files) for number in numbers[part]
                )
                yield Clip(name, tuple(frames), unique)

    def _frame(self, clip: str, number: int, row: int, files: ImageFiles) -> Frame:
        source = self._source
        entry = source.document["images"][row]
        size = Size(entry["height"], entry["width"])
        where = f"{source.file}: images.{row}"
        boxes = clip_boxes(
            source.annotations.of_image(row), size, self.tally, f"{source.file.name}: images.{row}"
        )
        folders, name = image_places(entry["file_name"], self._image_roots, f"{where}.file_name")
        paths = (files.find(folder, name) for folder in folders)
        image = next((path for path in paths if path), None)
        path = str(image_path(entry["file_name"]))
        sought = None if image else Sought(clip, path, self._image_roots)
        return Frame(number, image, size, boxes, source.file.name, sought)

    @cached_property
    def _image_roots(self) -> tuple[Path, ...]:
        roots = [self.root] if self.root.is_dir() else [self.root.parent, self.root.parent.parent]
        below = (".", self.split, "images", f"images/{self.split}")
        return tuple(root / folder for root in roots for folder in below)

    @cached_property
    def _file(self) -> Path:
        return _annotation_file(self.root, self.split) if self.root.is_dir() else self.root

    @cached_property
    def _source(self) -> _Source:
        document = read_document(self._file, VideoDocument)
        annotations = read_annotations(self._file, document)
        classes, label_of = _classes(document)
        labels = [label_of[number] for number in annotations.boxes.labels.tolist()]
        ignore = annotations.boxes.ignore & (self.protocol != RAW)
        boxes = replace(
            annotations.boxes,
            labels=np.where(ignore, -1, np.array(labels, dtype=np.int64)),
            ignore=ignore,
        )
        return _Source(
            self._file,
            document,
            replace(annotations, boxes=boxes),
            classes,
            tuple(self._remarks(document, annotations)),
        )

    def _remarks(self, document: VideoDocument, annotations: ListedBoxes) -> Iterator[str]:
        names = Counter(entry["name"] for entry in document["categories"])
        for name in sorted(name for name, times in names.items() if times > 1):
            ids = [str(entry["id"]) for entry in document["categories"] if entry["name"] == name]
            yield (
                f"{self._file.name}: the categories with ids {', '.join(sorted(ids))} are all "
                f"named '{name}', and are one class here."
            )
        if annotations.ignored and self.protocol != RAW:
            yield (
                f"{self._file.name}: {counted(annotations.ignored, 'annotation')} with `ignore` "
                "and without `iscrowd`, taken as ignore regions."
            )

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
        given = {entry["id"]: entry.get("name") or entry.get("file_name", "") for entry in entries}
        names = {video: clip_name(name) for video, name in given.items()}
        return {video: name for video, name in names.items() if name}


def _classes(document: VideoDocument) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the class names by rising id, each once, and the label of every category id."""
    categories = sorted((entry["id"], entry["name"]) for entry in document["categories"])
    classes = tuple(dict.fromkeys(name for _, name in categories))
    label_of = {name: label for label, name in enumerate(classes)}
    return classes, {number: label_of[name] for number, name in categories}


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
        "without annotations/; a file of another name may be named itself in place of the folder",
    )


def _usual_step(numbers: list[int]) -> int:
    """Return the most frequent step: sets annotated at every n-th frame go on in steps of n."""
    steps = Counter(after - before for before, after in pairwise(numbers))
    return max(steps, key=lambda step: (steps[step], -step), default=1)
