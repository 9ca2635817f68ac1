"""What a dataset yields: clips of frames with boxes. Coordinates are native pixels, xyxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size


@dataclass(frozen=True)
class Boxes:
    """The boxes of one frame.

    `xyxy` (n, 4) float64 in native pixels; `labels` (n,) int64, index into the dataset's `classes`;
    `track_ids` (n,) int64, -1 where there is none; `ignore` (n,) bool, True for regions in which
    detections count neither as right nor as wrong (their label is -1).
    """

    xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    track_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Boxes:
        """Return the boxes at `rows`: a slice, indices or a mask."""
        return Boxes(self.xyxy[rows], self.labels[rows], self.track_ids[rows], self.ignore[rows])

    @property
    def objects(self) -> NDArray[np.float64]:
        """The (m, 4) boxes of objects, ignore regions left out."""
        return self.xyxy[~self.ignore]


NO_BOXES = Boxes(
    np.zeros((0, 4)),
    np.zeros(0, dtype=np.int64),
    np.zeros(0, dtype=np.int64),
    np.zeros(0, dtype=np.bool_),
)


class Silhouette(TypedDict):
    """The pixels of one instance in COCO's run-length form, as pycocotools has it.

    `size`: rows and columns of the frame; `counts`: the compressed runs.
    """

    size: list[int]
    counts: bytes


@dataclass(frozen=True)
class Sought:
    """Where an image that is not there was looked for: its clip, its name, the folders tried."""

    clip: str
    name: str
    folders: tuple[Path, ...]

    def __str__(self) -> str:
        """Return `NAME, looked for in FOLDER, FOLDER`."""
        return f"{self.name}, looked for in {', '.join(str(folder) for folder in self.folders)}"


@dataclass(frozen=True)
class Frame:
    """One frame: its number in the video, its image file if present, native size and boxes.

    `size_source` names what the native size was read from, for the error about an image that
    has another one; `sought` says where an absent image was looked for, where that is known.
    """

    index: int
    file: Path | None
    size: Size
    boxes: Boxes
    size_source: str = "the annotations"
    sought: Sought | None = None

    def silhouettes(self) -> Sequence[Silhouette] | None:
        """Return the silhouette of each of `boxes`, made only now; None where nobody knows them.

        Regions to ignore have one, too: all of their box, or what the annotations say.
        """
        return None

    def silhouette_content(self) -> bytes:
        """Return what decides the silhouettes besides boxes and code, for fingerprints."""
        return b""


@dataclass(frozen=True)
class Clip:
    """Contiguous frames of one video; the state of a method never crosses clips.

    `video` names the video that the clip was cut from, by default the clip's own name. Clips of one
    video resemble each other, so statistics draw whole videos. `whole` names the clip that this one
    is a look at, by default its own name: there is one answer for all of them. `label` is what a
    task with one answer per clip is asked for: a class's name or number, None where there is none.
    """

    name: str
    frames: Sequence[Frame]
    video: str = ""
    label: str | int | None = None
    whole: str = ""

    def __post_init__(self) -> None:
        """Let a clip without a video be a video of its own, and one that is no look be whole."""
        for name in ("video", "whole"):
            if not getattr(self, name):
                object.__setattr__(self, name, self.name)

    def __len__(self) -> int:
        return len(self.frames)


@dataclass
class BoxTally:
    """How many boxes a reader met, cut at the image border, and dropped because they are empty."""

    read: int = 0
    clipped: int = 0
    dropped: int = 0
    first: str | None = None

    def note(self) -> str | None:
        """Return one line on what was clipped or dropped, or None where nothing was."""
        if not (self.clipped or self.dropped):
            return None
        boxes = "box" if self.read == 1 else "boxes"
        ends = "its image and was" if self.clipped == 1 else "their image and were"
        parts = [f"{self.clipped} of {self.read} {boxes} reached outside {ends} clipped"]
        if self.dropped:
            verb = "was" if self.dropped == 1 else "were"
            parts.append(f"{self.dropped} without area inside it {verb} dropped")
        return f"{', '.join(parts)} (first: {self.first})"
