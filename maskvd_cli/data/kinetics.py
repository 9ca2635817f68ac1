"""Kinetics-400 as its annotation tables and trimmed video files.

`annotations/val.csv` (or `val.csv`) with the columns label, youtube_id, time_start and time_end;
files `<youtube_id>_<start>_<end>.mp4`, both with six digits, in `val/` or in a folder per class in
it. The folder of a split may stand in `videos/`, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.data.video_files import FORMATS
from maskvd_cli.data.video_sets import (
    ListedClip,
    VideoSet,
    line_of,
    plain_name,
    read_table,
    value_of,
)

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_LONGEST_S = 1e6


class Kinetics400(VideoSet):
    """Kinetics-400; classes are the labels of all tables that are there, in alphabetical order.

    Frames are taken at 25 per second, as Eventful Transformers' copy is coded.
    """

    name = "kinetics-400"
    description = "Kinetics-400, annotation tables (CSV) and trimmed video files"
    env = "MASKVD_KINETICS"
    splits = ("train", "val")
    protocols = ("kinetics-400",)
    evaluation_split = "val"
    training_split = "train"
    rate = 25.0

    @cached_property
    def classes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tables = [self._table(split) for split in self.splits]
        labels = {
            row["label"].strip()
            for table in tables
            if table is not None
            for row in read_table(table, _COLUMNS)
        }
        return tuple(sorted(labels))

    @property
    def annotation_source(self) -> Path:
        return self._table(self.split) or self.root / "annotations" / f"{self.split}.csv"

    def entries(self) -> Iterator[ListedClip]:
        table = self.annotation_source
        if not table.is_file():
            raise DatasetError(
                "no such table",
                where=table,
                remedy="name the folder that holds annotations/val.csv, or another split",
            )
        number_of = {name: number for number, name in enumerate(self.classes)}
        folders = self._folders()
        for number, row in enumerate(read_table(table, _COLUMNS)):
            where = line_of(table, number)
            start, stop = (
                int(value_of(row, name, _seconds, where)) for name in ("time_start", "time_end")
            )
            video = plain_name(row["youtube_id"].strip(), "youtube_id", where)
            stem, label = f"{video}_{start:06d}_{stop:06d}", row["label"].strip()
            file = folders.get(stem) or self._folder / f"{stem}.mp4"
            yield ListedClip(stem, video, number_of[label], file)

    @property
    def _folder(self) -> Path:
        inside = self.root / "videos" / self.split
        return inside if inside.is_dir() else self.root / self.split

    def _table(self, split: str) -> Path | None:
        places = [self.root / "annotations" / f"{split}.csv", self.root / f"{split}.csv"]
        return next((place for place in places if place.is_file()), None)

    def _folders(self) -> dict[str, Path]:
        """Return the split's video files by their stem, in the folder itself or one below."""
        if not self._folder.is_dir():
            return {}
        files: dict[str, Path] = {}
        below = [self._folder]
        with os.scandir(self._folder) as entries:
            below += sorted(Path(entry.path) for entry in entries if entry.is_dir())
        for folder in below:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in FORMATS:
                    files.setdefault(stem, folder / name)
        return files


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _LONGEST_S:
        raise ValueError(text)
    return value
