"""EPIC-Kitchens-100: tables of actions in long videos.

`EPIC_100_validation.csv` and `EPIC_100_train.csv`, in the folder itself, in `annotations/` or in
`epic-kitchens-100-annotations/`; files `P01/videos/P01_01.MP4`, below the folder, `EPIC-KITCHENS/`,
or all in `videos/`. Names of verbs and nouns come from `EPIC_100_verb_classes.csv` and
`EPIC_100_noun_classes.csv` where they are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.data.video_sets import (
    ListedClip,
    VideoSet,
    line_of,
    plain_name,
    read_table,
    value_of,
)

_TABLES = {"train": "EPIC_100_train.csv", "val": "EPIC_100_validation.csv"}
_FOLDERS = ("", "annotations", "epic-kitchens-100-annotations")
_COLUMNS = (
    "narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp",
    "verb_class", "noun_class",
)  # fmt: skip
_COUNTS = {"verb": 97, "noun": 300}
_TIME = re.compile(r"([0-9]{1,3}):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]{1,9})?)")


class EpicKitchens100(VideoSet):
    """EPIC-Kitchens-100. Protocols: `verbs` (97), `nouns` (300), `actions`, pairs of both.

    Actions are the pairs that the tables hold which are there, by verb, then noun. Frames are taken
    at 30 per second. An action is a clip of its own; intervals leave out whole videos.
    """

    name = "epic-kitchens-100"
    description = "EPIC-Kitchens-100, tables of actions (CSV) and video files"
    env = "MASKVD_EPIC"
    splits = ("train", "val")
    protocols = ("verbs", "nouns", "actions")
    evaluation_split = "val"
    training_split = "train"
    rate = 30.0

    @cached_property
    def classes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.protocol == "verbs":
            return self._named("verb")
        if self.protocol == "nouns":
            return self._named("noun")
        verbs, nouns = self._named("verb"), self._named("noun")
        return tuple(f"{verbs[verb]} {nouns[noun]}" for verb, noun in self._pairs)

    @property
    def annotation_source(self) -> Path:
        return self._found(_TABLES[self.split]) or self.root / _TABLES[self.split]

    def entries(self) -> Iterator[ListedClip]:
        table = self.annotation_source
        if not table.is_file():
            raise DatasetError(
                "no such table", where=table, remedy="name the folder that holds it, or its parent"
            )
        label_of = self._labels()
        for number, row in enumerate(read_table(table, _COLUMNS)):
            where = line_of(table, number)
            start, stop = (
                value_of(row, f"{end}_timestamp", _seconds, where) for end in ("start", "stop")
            )
            if stop <= start:
                raise DatasetError(
                    f"ends at {row['stop_timestamp']}, before it starts",
                    where=where,
                    remedy="correct or remove this row",
                )
            name = plain_name(row["narration_id"].strip(), "narration_id", where)
            video = plain_name(row["video_id"].strip(), "video_id", where)
            person = plain_name(row["participant_id"].strip(), "participant_id", where)
            label = label_of(_pair(row, where))
            yield ListedClip(name, video, label, self._file(person, video), start, stop)

    def _labels(self) -> Callable[[tuple[int, int]], int]:
        """Return what gives a pair of verb and noun its class under the protocol."""
        if self.protocol in ("verbs", "nouns"):
            part = ("verbs", "nouns").index(self.protocol)
            return lambda pair: pair[part]
        place_of = {pair: place for place, pair in enumerate(self._pairs)}
        return lambda pair: place_of[pair]

    def _file(self, person: str, video: str) -> Path:
        places = [
            self.root / top / person / "videos" / f"{video}{suffix}"
            for top in ("", "EPIC-KITCHENS")
            for suffix in (".MP4", ".mp4")
        ]
        places += [self.root / "videos" / f"{video}{suffix}" for suffix in (".MP4", ".mp4")]
        return next((place for place in places if place.is_file()), places[0])

    @cached_property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs of verb and noun of all tables that are there, in order."""
        tables = [table for name in _TABLES.values() if (table := self._found(name))]
        return tuple(
            sorted(
                {
                    _pair(row, line_of(table, number))
                    for table in tables
                    for number, row in enumerate(read_table(table, _COLUMNS))
                }
            )
        )

    def _named(self, part: str) -> tuple[str, ...]:
        """Return the names of all verbs or nouns, numbered where no table names them."""
        names = [f"{part} {number}" for number in range(_COUNTS[part])]
        table = self._found(f"EPIC_100_{part}_classes.csv")
        if table is None:
            return tuple(names)
        for number, row in enumerate(read_table(table, ("id", "key"))):
            where = line_of(table, number)
            place = int(value_of(row, "id", _below(_COUNTS[part]), where))
            names[place] = row["key"].strip() or names[place]
        return tuple(names)

    def _found(self, name: str) -> Path | None:
        places = (self.root / folder / name for folder in _FOLDERS)
        return next((place for place in places if place.is_file()), None)


def _pair(row: dict[str, str], where: str) -> tuple[int, int]:
    verb = value_of(row, "verb_class", _below(_COUNTS["verb"]), where)
    noun = value_of(row, "noun_class", _below(_COUNTS["noun"]), where)
    return int(verb), int(noun)


def _below(end: int) -> Callable[[str], float]:
    """Return a reader of whole numbers from 0 to below `end`."""

    def read(text: str) -> float:
        value = int(text)
        if not 0 <= value < end:
            raise ValueError(text)
        return value

    return read


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
