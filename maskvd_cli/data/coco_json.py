"""Read annotation files in COCO form into checked rows, and find the images that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NotRequired, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AllowInfNan, Field, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.base import check_boxes, make_boxes
from maskvd_cli.data.files import read_regular

LARGEST_SIDE = 16384
REMEDY = "correct the file, or fetch or export it again"

Whole = Annotated[int, Strict(), Field(ge=-(2**62), le=2**62)]
Side = Annotated[int, Strict(), Field(ge=1, le=LARGEST_SIDE)]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Text = Annotated[str, Strict()]
_Flag = Literal[0, 1] | Annotated[bool, Strict()]


class Image(TypedDict):
    """One entry of `images`; sides in pixels."""

    id: Whole
    file_name: Text
    width: Side
    height: Side


class VideoImage(Image):
    """One entry of `images` in a CocoVID file."""

    video_id: Whole
    frame_id: Annotated[int, Strict(), Field(ge=0, le=2**31)]


class Annotation(TypedDict):
    """One entry of `annotations`; `bbox` is x, y, width, height in pixels."""

    image_id: Whole
    category_id: Whole
    bbox: tuple[Number, Number, Number, Number]
    iscrowd: NotRequired[_Flag]
    ignore: NotRequired[_Flag]
    instance_id: NotRequired[Whole | Text | None]
    track_id: NotRequired[Whole | Text | None]


class Category(TypedDict):
    """One entry of `categories`."""

    id: Whole
    name: Text


class VideoEntry(TypedDict):
    """One entry of `videos`; some converters write `file_name` in place of `name`."""

    id: Whole
    name: NotRequired[Text]
    file_name: NotRequired[Text]


class ImageDocument(TypedDict):
    """A file of images."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class VideoDocument(TypedDict):
    """A CocoVID file."""

    images: list[VideoImage]
    annotations: list[Annotation]
    categories: list[Category]
    videos: NotRequired[list[VideoEntry]]


class _YouTubeVideo(TypedDict):
    file_names: list[Text]


class _YouTubeVis(TypedDict):
    """What tells a file in YouTube-VIS' form."""

    videos: list[_YouTubeVideo]


T = TypeVar("T")
_DocumentT = TypeVar("_DocumentT", ImageDocument, VideoDocument)
_LISTS = "images, annotations and categories"
_EXPECTED = {
    "bbox": "needs four finite numbers: x, y, width, height",
    "iscrowd": "needs 0 or 1",
    "ignore": "needs 0 or 1",
}


@dataclass(frozen=True)
class ListedBoxes:
    """All boxes of a file, sorted by image: those of image i are `starts[i]:starts[i + 1]`.

    `starts` (images + 1,) int64; `boxes` (m,) with the category id as label, and `iscrowd` or
    `ignore` as `ignore`; `ignored` counts those that only `ignore` marks.
    """

    starts: NDArray[np.int64]
    boxes: Boxes
    ignored: int = 0

    def of_image(self, row: int) -> Boxes:
        """Return the boxes of the image at position `row` of `images`."""
        return self.boxes[self.starts[row] : self.starts[row + 1]]


def read_document(file: Path, form: type[_DocumentT]) -> _DocumentT:
    """Read and check one file; DatasetError names the file and the first wrong key."""

    def problem(content: bytes, error: ValidationError) -> DatasetError:
        return _youtube_vis(file, content) or first_problem(file, error, _LISTS)

    return read_lists(file, form, "images", problem)


def read_lists(
    file: Path, form: type[T], main: str, problem: Callable[[bytes, ValidationError], DatasetError]
) -> T:
    """Read a JSON file whose lists `main` and `categories` have ids, and `main` entries.

    `problem` says what is wrong with content of another form. Raises DatasetError.
    """
    try:
        content = read_regular(file)
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=file) from error
    try:
        document: Any = TypeAdapter(form).validate_json(content)
    except ValidationError as error:
        raise problem(content, error) from error
    for key in (main, "categories"):
        refuse_repeats(file, key, document[key])
    if not document[main]:
        raise DatasetError("the list is empty", where=f"{file}: {main}", remedy=REMEDY)
    return document


def read_annotations(file: Path, document: ImageDocument | VideoDocument) -> ListedBoxes:
    """Gather a document's annotations by image; DatasetError for unknown ids and wrong boxes."""
    entries = document["annotations"]
    rows = _positions(file, entries, "image_id", document["images"])
    _positions(file, entries, "category_id", document["categories"])
    xywh = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
    _refuse_negative(file, xywh)
    with np.errstate(over="ignore"):
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    check_boxes(xyxy, lambda index: f"{file}: annotations.{index}.bbox")
    order = np.argsort(rows, kind="stable")
    crowds = [bool(entry.get("iscrowd", 0)) for entry in entries]
    marked = [bool(entry.get("ignore", 0)) for entry in entries]
    boxes = make_boxes(
        xyxy,
        [entry["category_id"] for entry in entries],
        _tracks(entries),
        [crowd or mark for crowd, mark in zip(crowds, marked, strict=True)],
    )
    starts = np.searchsorted(rows[order], np.arange(len(document["images"]) + 1))
    ignored = sum(mark and not crowd for crowd, mark in zip(crowds, marked, strict=True))
    return ListedBoxes(starts, boxes[order], ignored)


def refuse_repeats(file: Path, key: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse entries with an id that an earlier one has; `key` names their list. DatasetError."""
    seen: dict[int, int] = {}
    for index, entry in enumerate(entries):
        first = seen.setdefault(entry["id"], index)
        if first != index:
            raise DatasetError(
                f"{entry['id']} is already the id of {key}.{first}",
                where=f"{file}: {key}.{index}.id",
                remedy="give each entry an id of its own",
            )


def image_path(file_name: str) -> PurePosixPath:
    """Return an image's path as files name it; Windows' backslashes separate folders, too."""
    if "\\" in file_name:
        return PurePosixPath(PureWindowsPath(file_name).as_posix())
    return PurePosixPath(file_name)


def image_places(file_name: str, roots: Iterable[Path], where: object) -> tuple[list[Path], str]:
    """Return the folders below `roots` that an image may lie in, and its name there.

    Raises DatasetError for a name that leads out of them.
    """
    path = image_path(file_name)
    # Only where backslashes show that Windows wrote it, `C:` is a drive.
    drive = "\\" in file_name and PureWindowsPath(file_name).drive
    if path.is_absolute() or ".." in path.parts or drive or "\0" in file_name:
        raise DatasetError(
            f"{file_name[:80]!r} leads out of the dataset's folder",
            where=where,
            remedy="write file names relative to the folder of the images",
        )
    return [root / path.parent for root in roots], path.name


def clip_name(text: str) -> str:
    """Return a video's name as it can stand in file names and tables; perhaps nothing is left."""
    name = re.sub(r"[^\w.-]+", "_", text).lstrip(".-")[:100]
    return name if name.strip("_") else ""


def untaken(name: str, video: int, taken: set[str]) -> str:
    """Return a name that no clip has yet: two videos may share one, or end up with the same."""
    if name in taken:
        name = f"{name}.{video}"
    while name in taken:
        name += "."
    return name


def listing(folder: Path) -> frozenset[str]:
    """Return the names in a folder, none where it does not exist. Raises DatasetError."""
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise DatasetError(f"cannot be listed ({error.strerror})", where=folder) from error


class ImageFiles:
    """Says which images exist, listing each folder once: a stat per frame is slow on a share."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def find(self, folder: Path, name: str) -> Path | None:
        """Return the path of `name` in `folder`, or None where it is not there."""
        if folder not in self._names:
            self._names[folder] = listing(folder)
        return folder / name if name in self._names[folder] else None


def first_problem(file: Path, error: ValidationError, lists: str, depth: int = 3) -> DatasetError:
    """Return the error for the first wrong key of a file with these lists.

    Below `depth` parts pydantic names members of a union, which the file does not have.
    """
    problem = error.errors(include_url=False)[0]
    keys = [str(part) for part in problem["loc"][:depth]]
    where = f"{file}: {'.'.join(keys)}" if keys else str(file)
    if problem["type"] == "json_invalid":
        reason = problem["msg"].partition(":")[2].strip()
        return DatasetError(f"no JSON ({reason})", where=where, remedy="fetch or copy it again")
    if problem["type"] == "missing" and len(problem["loc"]) <= depth:
        message = "is missing"
    elif not keys:
        message = f"holds no object with {lists}"
    else:
        message = _EXPECTED.get(keys[-1]) or problem["msg"][:1].lower() + problem["msg"][1:]
    return DatasetError(message, where=where, remedy=REMEDY)


def _positions(
    file: Path,
    entries: Sequence[Annotation],
    key: Literal["image_id", "category_id"],
    targets: Sequence[Image] | Sequence[Category],
) -> NDArray[np.int64]:
    """Return the position in `targets` of the entry that each annotation's `key` means."""
    position = {target["id"]: index for index, target in enumerate(targets)}
    rows = np.array([position.get(entry[key], -1) for entry in entries], dtype=np.int64)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        index = int(unknown[0])
        listed = "images" if key == "image_id" else "categories"
        raise DatasetError(
            f"{entries[index][key]} is not the id of any of {listed}",
            where=f"{file}: annotations.{index}.{key}",
            remedy="add the missing entry, or remove the annotation",
        )
    return rows


def _refuse_negative(file: Path, xywh: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero((xywh[:, 2:] < 0).any(axis=1))
    if len(wrong):
        index = int(wrong[0])
        raise DatasetError(
            f"width {xywh[index, 2]:g} and height {xywh[index, 3]:g} must not be negative",
            where=f"{file}: annotations.{index}.bbox",
            remedy="correct or remove this annotation",
        )


def _tracks(entries: Sequence[Annotation]) -> list[int]:
    """Return each annotation's track as a number, -1 where it has none.

    A track that is text and no whole number is numbered behind all others, in order of appearance.
    """
    texts: dict[str, int] = {}
    named = [_track(entry) for entry in entries]
    largest = max((track for track in named if isinstance(track, int)), default=-1)
    for track in named:
        if isinstance(track, str):
            texts.setdefault(track, max(largest, -1) + 1 + len(texts))
    return [texts[track] if isinstance(track, str) else track for track in named]


def _track(entry: Annotation) -> int | str:
    for track in (entry.get("instance_id"), entry.get("track_id")):
        if isinstance(track, str) and re.fullmatch("[0-9]{1,18}", track):
            return int(track)
        if track is not None and track != "":
            return track
    return -1


def _youtube_vis(file: Path, content: bytes) -> DatasetError | None:
    """Return the error for a file in YouTube-VIS' form, None for any other."""
    try:
        videos = TypeAdapter(_YouTubeVis).validate_json(content)["videos"]
    except ValidationError:
        return None
    if not videos:
        return None
    return DatasetError(
        "is in YouTube-VIS' form (videos with file_names, no images)",
        where=file,
        remedy="read it with --dataset youtube-vis",
    )
