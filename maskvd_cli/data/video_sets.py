"""Sets of videos with one class each: entries of a table, frames at a fixed rate of a file."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.looks import Lazy
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import NO_BOXES, BoxTally, Clip, Frame
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import Dataset
from maskvd_cli.data.cache import cache_folder, digest, load_entry, save_entry, stamp_of
from maskvd_cli.data.files import read_regular
from maskvd_cli.data.images import images_fingerprint
from maskvd_cli.data.video_files import Decoder, VideoFacts, facts_of

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class ListedClip:
    """One row of a set's table: a clip of a file, from a second on to another, None for its end.

    `video` names what it was cut from; `label` its class; `file` may be absent.
    """

    name: str
    video: str
    label: int
    file: Path
    start_s: float = 0.0
    stop_s: float | None = None


@dataclass(frozen=True)
class VideoFrame(Frame):
    """A frame of a video file, shown at `time_s` after its start."""

    time_s: float = 0.0


class VideoSet(Dataset):
    """Clips of video files, taken at `rate` frames per second; files that are absent are left out.

    What files say of themselves is kept in the user's cache.
    """

    rate: ClassVar[float]

    @abstractmethod
    def entries(self) -> Iterator[ListedClip]:
        """Yield the rows of the split's table. Raises DatasetError where it cannot be read."""

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        rows = list(self.entries())
        present = [row for row in rows if row.file.is_file()]
        self._absent = [row for row in rows if row not in set(present)]
        if rows and not present:
            raise DatasetError(
                f"none of {counted(len(rows), 'video')} of split {self.split} is here",
                where=self.root,
                remedy=f"put the files there, for example {rows[0].file}",
            )
        facts = self._facts([row.file for row in present])
        content = hashlib.sha256("\0".join(self.classes).encode())
        for row in present:
            clip = self._clip(row, facts[row.file])
            content.update(f"\0{clip.name}\0{len(clip)}\0{row.label}\0{row.start_s}".encode())
            yield clip
        self.whole_fingerprint = content.hexdigest()

    def image(self, frame: Frame) -> NDArray[np.uint8]:
        assert isinstance(frame, VideoFrame) and frame.file is not None
        image = self._decoder.at(frame.file, frame.time_s)
        if image.shape[:2] != tuple(frame.size):
            size = Size(*image.shape[:2])
            raise DatasetError(
                f"its frame at {frame.time_s:.2f} s is {size}, its first one {frame.size}",
                where=frame.file,
                remedy="convert it to frames of one size",
            )
        return image

    def frames_per_s(self, clip: Clip) -> float:
        del clip
        return self.rate

    def remarks(self) -> list[str]:
        absent = getattr(self, "_absent", [])
        if not absent:
            return super().remarks()
        note = (
            f"{counted(len(absent), 'video')} of split {self.split} of {self.name} were not there "
            f"and are left out (first: {absent[0].file.name})."
        )
        return [note, *super().remarks()]

    def image_fingerprint(self, clips: Sequence[Clip]) -> str | None:
        """Return a digest of the clips' files, each once."""
        files = dict.fromkeys(clip.frames[0].file for clip in clips)
        return images_fingerprint([file for file in files if file is not None]) if files else None

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder()

    def _clip(self, row: ListedClip, facts: VideoFacts) -> Clip:
        stop = facts.seconds if row.stop_s is None else min(row.stop_s, facts.seconds)
        length = max(round((stop - row.start_s) * self.rate), 1)
        rate, size, start = self.rate, facts.size, row.start_s

        def make(number: int) -> Frame:
            time_s = start + number / rate
            return VideoFrame(number, row.file, size, NO_BOXES, "the file", None, time_s)

        return Clip(row.name, Lazy(length, make), row.video, row.label)

    def _facts(self, files: Sequence[Path]) -> Mapping[Path, VideoFacts]:
        """Return what each file says of itself, from the cache where none has changed."""
        each = list(dict.fromkeys(files))
        folder = cache_folder(self.root)
        name = digest(["videos", self.name, *(f"{file} {stamp_of(file)}" for file in each)])
        stored = None if folder is None else load_entry(folder, name)
        if stored is None:
            facts = [facts_of(file) for file in each]
            stored = {
                "sides": np.array([fact.size for fact in facts], dtype=np.int64).reshape(-1, 2),
                "seconds": np.array([fact.seconds for fact in facts], dtype=np.float64),
            }
            if folder is not None:
                save_entry(folder, name, stored, [])
        pairs = zip(stored["sides"].tolist(), stored["seconds"].tolist(), strict=True)
        known = [VideoFacts(Size(*sides), seconds) for sides, seconds in pairs]
        return dict(zip(each, known, strict=True))


def read_table(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header. Raises DatasetError where it cannot be used.

    `columns` must be among the header's; others are passed over.
    """
    try:
        if os.stat(file).st_size > _MOST_BYTES:
            raise DatasetError(
                "is larger than 1 GiB", where=file, remedy="give the set's own table"
            )
        text = read_regular(file).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = list(reader.fieldnames or [])
        rows = list(reader)
    except OSError as error:
        raise DatasetError(
            f"cannot be read ({error.strerror})", where=file, remedy="download it again"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"is no CSV file ({error})", where=file, remedy="download it again"
        ) from error
    if missing := [name for name in columns if name not in header]:
        raise DatasetError(
            f"has no column {missing[0]}; there are: {', '.join(header)[:200] or 'none'}",
            where=file,
            remedy="download it again",
        )
    for number, row in enumerate(rows):
        if any(row[name] is None for name in columns):
            raise DatasetError(
                "a row has too few columns", where=line_of(file, number), remedy="download it again"
            )
    return rows


def line_of(file: Path, row: int) -> str:
    """Return where a table's row stands, with its line where no cell breaks one."""
    return f"{file}: line {row + 2}"


def value_of(
    row: Mapping[str, str], column: str, read: Callable[[str], float], where: str
) -> float:
    """Return a cell as `read` understands it. Raises DatasetError at `where`."""
    try:
        return read(row[column])
    except (ValueError, OverflowError) as error:
        raise DatasetError(
            f"{column} is {row[column][:40]!r}", where=where, remedy="correct or remove this row"
        ) from error


def plain_name(text: str, column: str, where: str) -> str:
    """Return a cell that is a part of a file's name. Raises DatasetError for anything else."""
    if not text or text.startswith(".") or set(text) & set("/\\\0") or not text.isprintable():
        raise DatasetError(
            f"{column} {text[:40]!r} is no name", where=where, remedy="correct or remove this row"
        )
    return text
