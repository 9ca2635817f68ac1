"""How a model looks at a video: stretches of its frames, cropped; papers call them views."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.size import Size


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
