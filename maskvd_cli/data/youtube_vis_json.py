"""Read files in YouTube-VIS' form: videos with file names, and instances frame by frame.

As the data's own page describes it: `videos` (id, width, height, length, file_names), `annotations`
(id, video_id, category_id, and a list with an entry for each frame, null where the instance is not
seen: `segmentations` in runs or polygons, `bboxes` x, y, width, height), `categories` (id, name).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field, Strict
from typing_extensions import TypedDict

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.data.coco_json import (
    LARGEST_SIDE,
    REMEDY,
    Category,
    Number,
    Side,
    Text,
    Whole,
    first_problem,
    read_lists,
)

_Count = Annotated[int, Strict(), Field(ge=0, le=LARGEST_SIDE**2)]
_LISTS = "videos, annotations and categories"


class Runs(TypedDict):
    """Runs down the columns: text where they are compressed."""

    size: tuple[Side, Side]
    counts: list[_Count] | Text


Segmentation = Runs | list[list[Number]] | None


class InstanceVideo(TypedDict):
    """One entry of `videos`; sides in pixels."""

    id: Whole
    file_names: list[Text]
    width: Side
    height: Side


class Instance(TypedDict):
    """One entry of `annotations`: an instance over all frames of its video."""

    id: NotRequired[Annotated[int, Strict(), Field(ge=0, le=2**62)]]
    video_id: Whole
    category_id: Whole
    segmentations: list[Segmentation]
    bboxes: NotRequired[list[tuple[Number, Number, Number, Number] | None]]
    iscrowd: NotRequired[Annotated[int, Field(ge=0, le=1)]]


class Videos(TypedDict):
    """A file in YouTube-VIS' form; `annotations` is null where they are not public."""

    videos: list[InstanceVideo]
    categories: list[Category]
    annotations: NotRequired[list[Instance] | None]


def read_videos(file: Path) -> Videos:
    """Read and check one file; DatasetError names the file and the first wrong key."""
    document = read_lists(
        file, Videos, "videos", lambda _, error: first_problem(file, error, _LISTS, depth=4)
    )
    _check_instances(file, document)
    return document


def _check_instances(file: Path, document: Videos) -> None:
    lengths = {video["id"]: len(video["file_names"]) for video in document["videos"]}
    known = {category["id"] for category in document["categories"]}
    for row, instance in enumerate(document.get("annotations") or ()):
        where = f"{file}: annotations.{row}"
        for key, number, ids, listed in (
            ("video_id", instance["video_id"], lengths, "videos"),
            ("category_id", instance["category_id"], known, "categories"),
        ):
            if number not in ids:
                raise DatasetError(
                    f"{number} is not the id of any of {listed}",
                    where=f"{where}.{key}",
                    remedy="add the missing entry, or remove the annotation",
                )
        frames = lengths[instance["video_id"]]
        told = {"segmentations": instance["segmentations"], "bboxes": instance.get("bboxes")}
        for key, entries in told.items():
            if entries is not None and len(entries) != frames:
                raise DatasetError(
                    f"has another length ({len(entries)}) than its video ({frames} frames)",
                    where=f"{where}.{key}",
                    remedy="write one for each frame, null where the instance is not seen",
                )


@dataclass(frozen=True)
class StatedInstance:
    """What a file says of an instance in one frame, and where it says so."""

    segmentation: Any
    where: str

    def silhouette(self, size: Size) -> Silhouette:
        """Return the silhouette in a frame of this size. Raises DatasetError for a damaged one."""
        try:
            return _coded(self.segmentation, size)
        except ValueError as error:
            raise DatasetError(str(error), where=self.where, remedy=REMEDY) from error


def _coded(segmentation: Any, size: Size) -> Silhouette:
    if isinstance(segmentation, list):
        return silhouettes.of_polygons(segmentation, size)
    counts = segmentation["counts"]
    if isinstance(counts, str):
        # What is no ASCII is no run either, and is told so.
        made = Silhouette(size=list(segmentation["size"]), counts=counts.encode())
        return silhouettes.checked(made, size)
    return silhouettes.checked(silhouettes.of_runs(counts, Size(*segmentation["size"])), size)
