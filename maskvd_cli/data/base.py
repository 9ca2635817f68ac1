"""What every dataset offers: named splits and protocols, classes, and clips."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskvd_cli.core.errors import DatasetError, unknown
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes, BoxTally, Clip, Frame
from maskvd_cli.data.images import images_fingerprint, load_image

RAW = "raw"
# The input that the papers' frame sizes belong to.
FRAME_INPUT = Size(672, 672)


class Dataset(ABC):
    """One split of one dataset under one protocol.

    `protocol` names how native classes become `classes`; `raw` keeps every annotation under its
    native class, and `own_protocol`, where a dataset has one, under whatever class it names.
    `tally` counts boxes as clips are read. Raises DatasetError for a folder, split or
    protocol that does not exist, and while clips are read.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    env: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    protocols: ClassVar[tuple[str, ...]]
    evaluation_split: ClassVar[str]
    training_split: ClassVar[str]
    own_protocol: ClassVar[str | None] = None
    canvas: ClassVar[Size | None] = None
    frame: ClassVar[Size | None] = None

    def __init__(
        self, root: Path | None = None, split: str | None = None, protocol: str | None = None
    ) -> None:
        self.split = split or self.evaluation_split
        self.protocol = protocol or self.protocols[0]
        if self.split not in self.splits:
            raise DatasetError(unknown("split", self.split, self.splits), where=self.name)
        if self.protocol not in (*self.protocols, RAW):
            raise DatasetError(unknown("protocol", self.protocol, self.protocols), where=self.name)
        self.root = self._existing(root)
        self.tally = BoxTally()
        # Of all clips, once they were read to the end, where the reader knows it at no cost.
        self.whole_fingerprint: str | None = None

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names of this protocol; `Boxes.labels` index them."""

    @abstractmethod
    def clips(self) -> Iterator[Clip]:
        """Yield the split's clips in a fixed order, reading annotations as they are needed."""

    def image(self, frame: Frame) -> NDArray[np.uint8]:
        """Return a frame's image, (rows, cols, 3) uint8 RGB, read only now.

        Raises DatasetError where it is absent, damaged, or of another size than the frame's.
        """
        return load_image(frame)

    @property
    def annotation_source(self) -> Path:
        """The file or folder that this split's annotations are read from."""
        return self.root

    def remarks(self) -> list[str]:
        """Return what a reader of results must know of the annotations, after they were read."""
        note = self.tally.note()
        return [] if note is None else [note]

    def stamp(self) -> str | None:
        """Return a digest of what decides the clips: reader, split, sizes and times of all files.

        It names the split in the cache; None where reading takes no longer than asking for it.
        """
        return None

    def image_fingerprint(self, clips: Sequence[Clip]) -> str | None:
        """Return a cheap digest of the clips' images; None where no frame has one.

        It sees the number of images, and the size and first KiB of at most 64 of them.
        Raises DatasetError for an image that cannot be read.
        """
        files = [frame.file for clip in clips for frame in clip.frames if frame.file]
        return images_fingerprint(files) if files else None

    @classmethod
    def frame_at(cls, input_size: Size) -> Size | None:
        """Return the size that frames are stretched to by default; None: they keep their aspect.

        The dataset's own frame belongs to one input; at all others frames keep their aspect.
        """
        return cls.frame if input_size == FRAME_INPUT else None

    def frames_per_s(self, clip: Clip) -> float | None:
        """Return how many frames a second were recorded; None where that is not known."""
        del clip
        return None

    @classmethod
    def stand_in(cls, root: Path) -> str:
        """Return how a remedy goes on where something can be put into the folder's place."""
        del root
        return ""

    @classmethod
    def home(cls, root: Path) -> Path:
        """Return the folder that all of the dataset lies in, where `root` may be one inside it."""
        return root

    @classmethod
    def _existing(cls, root: Path | None) -> Path:
        if root is None:
            value = os.environ.get(cls.env)
            if not value:
                raise DatasetError(
                    "no folder given",
                    where=cls.name,
                    remedy=f"name it with --root DIR (in a recipe: dataset.root), or set the "
                    f"environment variable {cls.env}",
                )
            root = Path(value)
        if not os.path.exists(root):
            remedy = f"name the folder of the {cls.name} dataset{cls.stand_in(root)}"
            raise DatasetError("no such folder", where=root, remedy=remedy)
        return cls.home(root.resolve())


def make_boxes(
    xyxy: ArrayLike,
    labels: Sequence[int],
    track_ids: Sequence[int],
    ignore: Sequence[bool],
) -> Boxes:
    """Pack (n, 4) corners and n labels, track ids and ignore flags into `Boxes`."""
    return Boxes(
        np.asarray(xyxy, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(track_ids, dtype=np.int64),
        np.array(ignore, dtype=np.bool_),
    )


def check_boxes(xyxy: NDArray[np.float64], where: Callable[[int], str]) -> None:
    """Refuse NaN, infinity and corners in the wrong order; `where` names row i. DatasetError."""
    finite = np.asarray(np.isfinite(xyxy).all(axis=1))
    ordered = (xyxy[:, 2] >= xyxy[:, 0]) & (xyxy[:, 3] >= xyxy[:, 1])
    wrong = ~(finite & ordered)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    x1, y1, x2, y2 = xyxy[row].tolist()
    if not finite[row]:
        reason = f"box {x1:g} {y1:g} {x2:g} {y2:g} is not finite"
    elif x2 < x1:
        reason = f"box has x2 < x1 ({x2:g} < {x1:g})"
    else:
        reason = f"box has y2 < y1 ({y2:g} < {y1:g})"
    raise DatasetError(reason, where=where(row), remedy="correct or remove this box")


def clip_boxes(boxes: Boxes, size: Size, tally: BoxTally, where: str) -> Boxes:
    """Cut boxes at the image border, drop those without area, and count both in `tally`."""
    tally.read += len(boxes)
    limits = np.array([size.cols, size.rows, size.cols, size.rows], dtype=np.float64)
    inside = np.clip(boxes.xyxy, 0.0, limits)
    changed = (inside != boxes.xyxy).any(axis=1)
    empty = (inside[:, 2] <= inside[:, 0]) | (inside[:, 3] <= inside[:, 1])
    if not (changed | empty).any():
        return boxes
    tally.clipped += int(changed.sum())
    tally.dropped += int(empty.sum())
    tally.first = tally.first or where
    return replace(boxes, xyxy=inside)[~empty]


def contiguous(indices: Sequence[int], step: int = 1) -> list[slice]:
    """Return slices of `indices` (rising) that cut it wherever it jumps by more than `step`."""
    if not indices:
        return []
    cuts = [i for i in range(1, len(indices)) if indices[i] - indices[i - 1] > step]
    return [slice(a, b) for a, b in zip([0, *cuts], [*cuts, len(indices)], strict=True)]


class Fingerprint:
    """A sha256 over everything that clips say, fed clip by clip: names, frames, sizes, boxes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._digest = hashlib.sha256("\0".join(classes).encode())

    def add(self, clip: Clip) -> None:
        """Feed one more clip.

        The video is left out: it decides statistics, not results. Labels and silhouettes enter
        where there are some, so that clips without keep the digest that they always had.
        """
        parts = [f"\0{clip.name}\0{len(clip)}\0".encode()]
        if clip.label is not None:
            parts.append(f"label {clip.label!r}\0".encode())
        for frame in clip.frames:
            boxes = frame.boxes
            parts.append(f"{frame.index} {frame.size} {len(boxes)}\0".encode())
            if len(boxes):
                columns = (boxes.xyxy, boxes.labels, boxes.track_ids, boxes.ignore)
                parts += [column.tobytes() for column in columns]
                parts.append(frame.silhouette_content())
        self._digest.update(b"".join(parts))

    def hexdigest(self) -> str:
        """Return the digest of what was fed so far."""
        return self._digest.hexdigest()


def fingerprint(classes: Sequence[str], clips: Iterable[Clip]) -> str:
    """Return the fingerprint of all clips under these class names."""
    made = Fingerprint(classes)
    for clip in clips:
        made.add(clip)
    return made.hexdigest()
