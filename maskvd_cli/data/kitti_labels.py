"""The label files of KITTI tracking: one row of 17 columns for each object of a frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError, unknown
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.base import RAW, check_boxes
from maskvd_cli.data.files import read_regular

NATIVE_CLASSES = (
    "Car", "Van", "Truck", "Pedestrian", "Person", "Person_sitting", "Cyclist", "Tram", "Misc",
    "DontCare",
)  # fmt: skip
DROPPED, IGNORED = -2, -1
_MERGED = {
    "Car": 1, "Van": 1, "Truck": 1,
    "Pedestrian": 0, "Person": 0, "Person_sitting": 0,
    "Cyclist": 2,
}  # fmt: skip
LABELS = {
    "maskvd-paper": {name: _MERGED.get(name, DROPPED) for name in NATIVE_CLASSES},
    "kitti-ignore": {name: _MERGED.get(name, IGNORED) for name in NATIVE_CLASSES},
    RAW: {name: index for index, name in enumerate(NATIVE_CLASSES)},
}
OWN = "own"
COLUMNS = 17
MOST_FRAMES = 200_000
_MOST_TRACKS = 2**63


@dataclass(frozen=True)
class LabelRows:
    """The rows of one label file that the protocol keeps, sorted by frame.

    `last_frame` is the highest frame that any row names, kept or not, and `last_line` the first
    line that names it; -1 where there is no row. `count` rows were read.
    """

    frames: NDArray[np.int64]
    boxes: Boxes
    count: int
    last_frame: int
    last_line: int


def label_lines(file: Path) -> list[str]:
    """Return the lines of a text file, a byte order mark left out. Raises DatasetError."""
    try:
        return read_regular(file).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot be read ({error})",
            where=file,
            remedy="unpack it again from the benchmark's archive, as plain text",
        ) from error


def _whole(text: str) -> int:
    """Read an integer as KITTI writes it; Python also takes `1_0` and digits of other scripts."""
    if not re.fullmatch(r"[+-]?[0-9]{1,60}", text):
        raise ValueError(f"no whole number: {text[:60]!r}")
    return int(text)


def read_labels(file: Path, label_of: dict[str, int]) -> LabelRows:
    """Read one label file: frame, track, type, truncated, occluded, alpha, box (4), 3-D (7)."""
    numbers: list[int] = []
    heads: list[tuple[int, int, int]] = []
    corners: list[list[float]] = []
    for number, line in enumerate(label_lines(file), 1):
        fields = line.split()
        if not fields:
            continue
        label = label_of.get(fields[2]) if len(fields) == COLUMNS else None
        if label is None:
            raise _bad_row(file, number, fields)
        try:
            frame, track = _whole(fields[0]), _whole(fields[1])
            values = [float(field) for field in fields[3:]]
        except ValueError as error:
            raise DatasetError(
                f"not a number: {str(error).partition(':')[2].strip()}",
                where=f"{file}:{number}",
                remedy="correct or remove this row",
            ) from error
        if frame < 0:
            raise DatasetError(
                f"negative frame {frame}",
                where=f"{file}:{number}",
                remedy="frames count from 0; correct or remove this row",
            )
        if frame >= MOST_FRAMES or abs(track) >= _MOST_TRACKS:
            raise DatasetError(
                f"frame {frame} or track {track} is too large",
                where=f"{file}:{number}",
                remedy="correct or remove this row",
            )
        numbers.append(number)
        heads.append((frame, track, label))
        corners.append(values[3:7])
    xyxy = np.array(corners, dtype=np.float64).reshape(-1, 4)
    check_boxes(xyxy, lambda row: f"{file}:{numbers[row]}")
    head = np.array(heads, dtype=np.int64).reshape(-1, 3)
    _refuse_repeats(head, numbers, file)
    kept = head[:, 2] != DROPPED
    order = np.flatnonzero(kept)[np.argsort(head[kept, 0], kind="stable")]
    frames, tracks, labels = head[order].T
    boxes = Boxes(xyxy[order], labels, tracks, labels == IGNORED)
    last = int(head[:, 0].argmax()) if len(head) else None
    if last is None:
        return LabelRows(frames, boxes, 0, -1, -1)
    return LabelRows(frames, boxes, len(head), int(head[last, 0]), numbers[last])


def _bad_row(file: Path, number: int, fields: list[str]) -> DatasetError:
    where = f"{file}:{number}"
    if len(fields) != COLUMNS:
        return DatasetError(
            f"{len(fields)} columns, expected {COLUMNS}",
            where=where,
            remedy="the row is cut short or this is no KITTI tracking label file",
        )
    return DatasetError(
        unknown("class", fields[2], NATIVE_CLASSES),
        where=where,
        remedy=f"correct this row, or read your own classes with protocol {OWN} "
        f"(--set dataset.protocol={OWN})",
    )


def _refuse_repeats(head: NDArray[np.int64], numbers: list[int], file: Path) -> None:
    """Refuse a track that stands twice in one frame: the sign of a frame pasted twice."""
    tracked = np.flatnonzero(head[:, 1] >= 0)
    pairs, first, counts = np.unique(
        head[tracked, :2], axis=0, return_index=True, return_counts=True
    )
    repeated = np.flatnonzero(counts > 1)
    if len(repeated):
        frame, track = pairs[repeated[0]]
        line = numbers[tracked[first[repeated[0]]]]
        raise DatasetError(
            f"frame {frame} has track {track} twice",
            where=f"{file}:{line}",
            remedy="remove the duplicate rows",
        )
