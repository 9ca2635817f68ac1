"""KITTI multi-object tracking, in the benchmark's own layout, images optional.

`<root>/training/label_02/0000.txt`, `<root>/training/image_02/0000/000000.png`,
`evaluate_tracking.seqmap.training`; the root may be given at either level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError, unknown
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes, BoxTally, Clip, Frame
from maskvd_cli.data.base import RAW, Dataset, check_boxes, clip_boxes
from maskvd_cli.data.images import image_size

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
_COLUMNS = 17
_MOST_FRAMES, _MOST_TRACKS = 10**6, 2**63
_SEQMAP = "evaluate_tracking.seqmap.training"


def native_size(sequence: str) -> Size:
    """Return the frame size of a training sequence, for use where its images are absent.

    The benchmark's 21 sequences have four sizes; any other sequence is taken as 375 x 1242.
    """
    number = int(sequence) if sequence.isdecimal() else 0
    if 14 <= number <= 17:
        return Size(370, 1224)
    if 18 <= number <= 19:
        return Size(374, 1238)
    return Size(376, 1241) if number == 20 else Size(375, 1242)


@dataclass(frozen=True)
class _Rows:
    """The rows of one label file that the protocol keeps, sorted by frame.

    `last_frame` is the highest frame that any row names, kept or not; -1 where there is no row.
    """

    frames: NDArray[np.int64]
    boxes: Boxes
    last_frame: int


class Kitti(Dataset):
    """KITTI tracking, 21 labelled sequences; halves per sequence as MaskVD splits them.

    Protocols: `maskvd-paper` merges Van and Truck into car, Person and Person_sitting into
    pedestrian, and drops DontCare, Tram and Misc; `kitti-ignore` makes ignore regions of these.
    """

    name = "kitti"
    description = "KITTI multi-object tracking, training sequences (label_02, image_02)"
    env = "MASKVD_KITTI"
    splits = ("train", "train-half", "val-half")
    protocols = ("maskvd-paper", "kitti-ignore")
    evaluation_split = "val-half"
    training_split = "train-half"
    canvas = Size(384, 1280)
    frame = Size(370, 672)

    @property
    def classes(self) -> tuple[str, ...]:
        return NATIVE_CLASSES if self.protocol == RAW else ("pedestrian", "car", "cyclist")

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        files = sorted(self._folder.joinpath("label_02").glob("*.txt"))
        if not files:
            raise DatasetError(
                "no label files (0000.txt, ...)",
                where=self._folder / "label_02",
                remedy="unpack KITTI's data_tracking_label_2.zip there",
            )
        for file in files:
            yield self._clip(file)

    def frames_per_s(self, clip: Clip) -> float | None:
        return 10.0

    @classmethod
    def home(cls, root: Path) -> Path:
        # The seqmap may lie beside training/, so the folder above is the dataset's.
        return root.parent if root.name == "training" else root

    @cached_property
    def _folder(self) -> Path:
        for folder in (self.root / "training", self.root):
            if (folder / "label_02").is_dir():
                return folder
        raise DatasetError(
            "no KITTI tracking labels (training/label_02) here",
            where=self.root,
            remedy="name the folder that holds training/, or training/ itself; "
            "`maskvd synth -o DIR` makes a small set of this kind",
        )

    def _clip(self, file: Path) -> Clip:
        sequence = file.stem
        images = self._images(sequence)
        size, size_source = native_size(sequence), "KITTI's table of frame sizes"
        if images:
            first = images[min(images)]
            size, size_source = image_size(first), first.name
        rows = _read_labels(file, LABELS[self.protocol])
        count, source = self._frame_count(sequence, images, rows)
        if rows.last_frame >= count:
            raise DatasetError(
                f"names frame {rows.last_frame}, but {source} gives {count} frames "
                f"(0..{count - 1})",
                where=file,
                remedy="complete the images, or correct the label file",
            )
        frames = range(count)
        if self.split == "train-half":
            frames = range(count // 2)
        elif self.split == "val-half":
            frames = range(count // 2, count)
        starts = np.searchsorted(rows.frames, np.arange(count + 1))
        made: list[Frame] = []
        for index in frames:
            part = slice(starts[index], starts[index + 1])
            where = f"{file.name} frame {index}"
            boxes = clip_boxes(rows.boxes[part], size, self.tally, where)
            made.append(Frame(index, images.get(index), size, boxes, size_source))
        return Clip(sequence, tuple(made))

    def _images(self, sequence: str) -> dict[int, Path]:
        """Return the images of a sequence by frame number; empty where there is no folder."""
        folder = self._folder / "image_02" / sequence
        images: dict[int, Path] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix not in (".png", ".jpg") or not path.stem.isdecimal():
                continue
            number = int(path.stem)
            if number in images:
                raise DatasetError(
                    f"frame {number} is there twice: {images[number].name} and {path.name}",
                    where=folder,
                    remedy="keep one of them",
                )
            images[number] = path
        return images

    def _frame_count(self, sequence: str, images: dict[int, Path], rows: _Rows) -> tuple[int, str]:
        """Return the number of frames and what tells it: images without a gap, seqmap, labels."""
        if images and len(images) == max(images) + 1:
            return len(images), "image_02"
        if sequence in self._seqmap:
            return self._seqmap[sequence], _SEQMAP
        if rows.last_frame < 0:
            raise DatasetError(
                "no rows, and neither images nor a seqmap tell how many frames there are",
                where=self._folder / "label_02" / f"{sequence}.txt",
                remedy=f"add the images or {_SEQMAP}",
            )
        return rows.last_frame + 1, "the label file"

    @cached_property
    def _seqmap(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for folder in (self._folder, self._folder.parent):
            file = folder / _SEQMAP
            if not file.is_file():
                continue
            for number, line in enumerate(_lines(file), 1):
                fields = line.split()
                if not fields:
                    continue
                numbers = [int(field) for field in fields[2:] if field.isdecimal()]
                if len(fields) != 4 or len(numbers) != 2 or numbers[0] != 0 or numbers[1] < 1:
                    raise DatasetError(
                        f"'{line.strip()}' is not `sequence empty 000000 frames`",
                        where=f"{file}:{number}",
                        remedy="restore the file from the benchmark's development kit",
                    )
                counts[fields[0]] = numbers[1]
            break
        return counts


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot be read ({error})",
            where=file,
            remedy="unpack it again from the benchmark's archive, as plain text",
        ) from error


def _whole(text: str) -> int:
    """Read an integer as KITTI writes it; Python also takes `1_0` and digits of other scripts."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"no whole number: {text!r}")
    return int(text)


def _read_labels(file: Path, label_of: dict[str, int]) -> _Rows:
    """Read one label file: frame, track, type, truncated, occluded, alpha, box (4), 3-D (7)."""
    numbers: list[int] = []
    heads: list[tuple[int, int, int]] = []
    corners: list[list[float]] = []
    for number, line in enumerate(_lines(file), 1):
        fields = line.split()
        if not fields:
            continue
        label = label_of.get(fields[2]) if len(fields) == _COLUMNS else None
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
        if frame >= _MOST_FRAMES or abs(track) >= _MOST_TRACKS:
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
    last_frame = int(head[:, 0].max(initial=-1))
    return _Rows(frames, Boxes(xyxy[order], labels, tracks, labels == IGNORED), last_frame)


def _bad_row(file: Path, number: int, fields: list[str]) -> DatasetError:
    where = f"{file}:{number}"
    if len(fields) != _COLUMNS:
        return DatasetError(
            f"{len(fields)} columns, expected {_COLUMNS}",
            where=where,
            remedy="the row is cut short or this is no KITTI tracking label file",
        )
    return DatasetError(
        unknown("class", fields[2], NATIVE_CLASSES), where=where, remedy="correct this row"
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
