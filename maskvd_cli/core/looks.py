"""How a model looks at a video: stretches of its frames, cropped; papers call them views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import NO_BOXES, Clip, Frame


@dataclass(frozen=True)
class Looks:
    """`along` x `across` looks at a video, spread over its time and over the frame.

    Each takes `frames` frames, every `stride`-th, in steps of `tubelet` frames. Raises ValueError
    for a number below 1, and a tubelet that does not divide the frames.
    """

    frames: int
    tubelet: int = 1
    stride: int = 1
    along: int = 1
    across: int = 1

    def __post_init__(self) -> None:
        if min(self.frames, self.tubelet, self.stride, self.along, self.across) < 1:
            raise ValueError(f"{self} has a number below 1")
        if self.frames % self.tubelet:
            raise ValueError(f"steps of {self.tubelet} frames do not divide {self.frames}")

    @property
    def count(self) -> int:
        """How many looks a video gets."""
        return self.along * self.across

    @property
    def steps(self) -> int:
        """How many steps a look has."""
        return self.frames // self.tubelet

    @property
    def span(self) -> int:
        """How many of a video's frames a look spans, those between its own included."""
        return self.frames * self.stride

    def starts(self, length: int) -> list[int]:
        """Return where looks at a video of `length` frames begin, in time.

        A shorter video counts as filled up to one look. Look k of K begins at the whole part of
        k (length - span) / (K - 1), the only one in the middle.
        """
        return spread(max(length, self.span) - self.span, self.along)

    def positions(self, length: int, start: int) -> list[int]:
        """Return the positions of a look's frames; after the last frame comes it again."""
        return [min(start + place * self.stride, length - 1) for place in range(self.frames)]

    def corners(self, enlarged: Size, input_size: Size) -> list[tuple[int, int]]:
        """Return top and left of each crop of an image that `enlarged` gave, in order."""
        rows = spread(enlarged.rows - input_size.rows, self.across)
        cols = spread(enlarged.cols - input_size.cols, self.across)
        return list(zip(rows, cols, strict=True))


def spread(room: int, places: int) -> list[int]:
    """Return `places` whole offsets from 0 to `room`, evenly; a single one in the middle."""
    if places == 1:
        return [room // 2]
    return [int(place * room / (places - 1)) for place in range(places)]


def enlarged(native: Size, input_size: Size) -> Size:
    """Return the size, aspect kept, at which a crop of the input's size just fits into a frame."""
    scale = max(input_size.rows / native.rows, input_size.cols / native.cols)
    return Size(round(native.rows * scale), round(native.cols * scale))


@dataclass(frozen=True)
class LookStep(Frame):
    """One step of a look: its frames, and which crop of them; `index` counts the look's steps.

    It has no boxes: what is asked for is the whole video's.
    """

    looks: Looks = Looks(1)
    parts: tuple[Frame, ...] = ()
    place: int = 0


class Lazy(Sequence[Frame]):
    """Frames that are made when asked for, so that a large set of videos needs no memory."""

    def __init__(self, length: int, make: Callable[[int], Frame]) -> None:
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Frame]:
        return map(self._make, range(self._length))

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        places = range(self._length)[index]
        if isinstance(places, int):
            return self._make(places)
        return Lazy(len(places), lambda number: self._make(places[number]))


def looked_at(clip: Clip, looks: Looks) -> Iterator[Clip]:
    """Yield the looks at a clip as clips of steps: those of one crop together, in order of time.

    They are named after the clip, with a number, and are of its video.
    """
    number = 0
    for place in range(looks.across):
        for start in looks.starts(len(clip)):
            steps = Lazy(looks.steps, _maker(clip, looks, start, place))
            yield Clip(f"{clip.name}#{number}", steps, clip.video, clip.label, clip.name)
            number += 1


def _maker(clip: Clip, looks: Looks, start: int, place: int) -> Callable[[int], LookStep]:
    positions = looks.positions(len(clip), start)

    def make(number: int) -> LookStep:
        first = number * looks.tubelet
        parts = tuple(clip.frames[at] for at in positions[first : first + looks.tubelet])
        return LookStep(
            number, None, parts[0].size, NO_BOXES, parts[0].size_source,
            looks=looks, parts=parts, place=place,
        )  # fmt: skip

    return make
