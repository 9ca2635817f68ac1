"""KITTI multi-object tracking, in the benchmark's own layout, images optional.

`<root>/training/label_02/0000.txt`, `<root>/training/image_02/0000/000000.png`,
`evaluate_tracking.seqmap.training`; the root may be given at either level.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame, Sought
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import RAW, Dataset, clip_boxes, make_boxes
from maskvd_cli.data.images import SUFFIXES, image_size
from maskvd_cli.data.kitti_labels import (
    COLUMNS,
    IGNORED,
    LABELS,
    MOST_FRAMES,
    NATIVE_CLASSES,
    OWN,
    LabelRows,
    label_lines,
    read_labels,
)

_MOST_CLASSES = 1000
# How far beyond their number rows may name frames where nothing else tells how many there are.
_FREE_FRAMES, _FRAMES_A_ROW = 10_000, 1000
_NO_BOXES = make_boxes([], [], [], [])
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


class Kitti(Dataset):
    """KITTI tracking, 21 labelled sequences; halves per sequence as MaskVD splits them.

    Protocols: `maskvd-paper` merges Van and Truck into car, Person and Person_sitting into
    pedestrian, and drops DontCare, Tram and Misc; `kitti-ignore` makes ignore regions of these.
    `own` is for other data in this layout: its classes are those that the label files name, in
    alphabetical order, and DontCare is an ignore region. It needs an image of each sequence, since
    nothing else tells how large the frames are.
    """

    name = "kitti"
    description = "KITTI multi-object tracking, training sequences (label_02, image_02)"
    env = "MASKVD_KITTI"
    splits = ("train", "train-half", "val-half")
    protocols = ("maskvd-paper", "kitti-ignore", OWN)
    own_protocol = OWN
    evaluation_split = "val-half"
    training_split = "train-half"
    canvas = Size(384, 1280)
    frame = Size(370, 672)

    @property
    def classes(self) -> tuple[str, ...]:
        if self.protocol == OWN:
            return self._own_classes
        return NATIVE_CLASSES if self.protocol == RAW else ("pedestrian", "car", "cyclist")

    @property
    def annotation_source(self) -> Path:
        return self._folder / "label_02"

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        for file in self._label_files:
            yield self._clip(file)

    def frames_per_s(self, clip: Clip) -> float | None:
        return 10.0

    @classmethod
    def stand_in(cls, root: Path) -> str:
        folder = shlex.quote(str(root))
        return f", or draw one: maskvd synth -o {folder} --clips 10 --frames 120 --no-images"

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

    @cached_property
    def _label_files(self) -> list[Path]:
        files = sorted(self._folder.joinpath("label_02").glob("*.txt"))
        if not files:
            raise DatasetError(
                "no label files (0000.txt, ...)",
                where=self._folder / "label_02",
                remedy="unpack KITTI's data_tracking_label_2.zip there",
            )
        return files

    @cached_property
    def _own_classes(self) -> tuple[str, ...]:
        """The classes that whole rows of the label files name, DontCare left out."""
        rows = (line.split() for file in self._label_files for line in label_lines(file))
        names = {fields[2] for fields in rows if len(fields) == COLUMNS} - {"DontCare"}
        if len(names) > _MOST_CLASSES:
            raise DatasetError(
                f"the label files name {len(names)} classes, more than {_MOST_CLASSES}",
                where=self._folder / "label_02",
                remedy="write a class in the third column of every row",
            )
        return tuple(sorted(names))

    @property
    def _label_of(self) -> dict[str, int]:
        if self.protocol != OWN:
            return LABELS[self.protocol]
        return {"DontCare": IGNORED} | {name: label for label, name in enumerate(self.classes)}

    def _native_size(self, sequence: str, images: dict[int, Path]) -> tuple[Size, str]:
        """Return the frame size of a sequence and what tells it."""
        if images:
            first = images[min(images)]
            return image_size(first), first.name
        if self.protocol == OWN:
            raise DatasetError(
                f"no image of sequence {sequence}, so nothing tells how large its frames are",
                where=self._folder / "image_02" / sequence,
                remedy="put one or more of its images there (000000.png, ...)",
            )
        return native_size(sequence), "KITTI's table of frame sizes"

    def _clip(self, file: Path) -> Clip:
        sequence = file.stem
        images = self._images(sequence)
        size, size_source = self._native_size(sequence, images)
        rows = read_labels(file, self._label_of)
        count, source = self._frame_count(sequence, images, rows)
        if rows.last_frame >= count:
            raise DatasetError(
                f"names frame {rows.last_frame}, but {source} gives {counted(count, 'frame')} "
                f"(0..{count - 1})",
                where=file,
                remedy="complete the images, or correct the label file",
            )
        frames = range(count)
        if self.split == "train-half":
            frames = range(count // 2)
        elif self.split == "val-half":
            frames = range(count // 2, count)
        starts = np.searchsorted(rows.frames, np.arange(count + 1)).tolist()
        folders = (self._folder / "image_02" / sequence,)
        made: list[Frame] = []
        for index in frames:
            start, end = starts[index], starts[index + 1]
            boxes = _NO_BOXES
            if end > start:
                where = f"{file.name} frame {index}"
                boxes = clip_boxes(rows.boxes[start:end], size, self.tally, where)
            image = images.get(index)
            sought = None if image else Sought(sequence, f"{index:06d}.png", folders)
            made.append(Frame(index, image, size, boxes, size_source, sought))
        return Clip(sequence, tuple(made))

    def _images(self, sequence: str) -> dict[int, Path]:
        """Return the images of a sequence by frame number; empty where there is no folder."""
        folder = self._folder / "image_02" / sequence
        images: dict[int, Path] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() not in SUFFIXES or not re.fullmatch("[0-9]{1,9}", path.stem):
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

    def _frame_count(
        self, sequence: str, images: dict[int, Path], rows: LabelRows
    ) -> tuple[int, str]:
        """Return the number of frames and what tells it: images without a gap, seqmap, labels.

        Labels that go on behind the last image show that the images are samples.
        """
        file = self._folder / "label_02" / f"{sequence}.txt"
        if images and rows.last_frame < len(images) == max(images) + 1:
            return len(images), "image_02"
        if sequence in self._seqmap:
            return self._seqmap[sequence], _SEQMAP
        if rows.last_frame < 0:
            raise DatasetError(
                "no rows, and neither images nor a seqmap tell how many frames there are",
                where=file,
                remedy=f"add the images or {_SEQMAP}",
            )
        if rows.last_frame >= _FREE_FRAMES + _FRAMES_A_ROW * rows.count:
            raise DatasetError(
                f"frame {rows.last_frame} in a file of {counted(rows.count, 'row')}",
                where=f"{file}:{rows.last_line}",
                remedy=f"correct or remove this row, or add {_SEQMAP}",
            )
        return rows.last_frame + 1, "the label file"

    @cached_property
    def _seqmap(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for folder in (self._folder, self._folder.parent):
            file = folder / _SEQMAP
            if not file.is_file():
                continue
            for number, line in enumerate(label_lines(file), 1):
                fields = line.split()
                if not fields:
                    continue
                numbers = [int(field) for field in fields[2:] if re.fullmatch("[0-9]{1,18}", field)]
                if len(fields) != 4 or len(numbers) != 2 or numbers[0] != 0 or numbers[1] < 1:
                    raise DatasetError(
                        f"'{line.strip()}' is not `sequence empty 000000 frames`",
                        where=f"{file}:{number}",
                        remedy="restore the file from the benchmark's development kit",
                    )
                if numbers[1] > MOST_FRAMES:
                    raise DatasetError(
                        f"{numbers[1]} frames are more than the {MOST_FRAMES} of a sequence",
                        where=f"{file}:{number}",
                        remedy="correct the number of frames, or cut the sequence",
                    )
                counts[fields[0]] = numbers[1]
            break
        return counts
