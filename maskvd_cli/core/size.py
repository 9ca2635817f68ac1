"""Sizes are rows x columns everywhere: in code, flags, columns and files."""

from __future__ import annotations

import re
from typing import NamedTuple

_LARGEST_SIDE = 16384


class Size(NamedTuple):
    """Rows and columns of an image, a canvas or a token grid."""

    rows: int
    cols: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}"

    @property
    def area(self) -> int:
        """Number of cells, rows times columns."""
        return self.rows * self.cols

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read `384x1280` (rows x columns).

        Raises ValueError where the text is not two whole numbers from 1 to 16384 with an x.
        """
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text.strip().lower())
        if match is None:
            raise ValueError(f"'{text}' is not a size; write rows x columns, for example 384x1280")
        rows, cols = int(match[1]), int(match[2])
        if not (1 <= rows <= _LARGEST_SIDE and 1 <= cols <= _LARGEST_SIDE):
            raise ValueError(f"'{text}': each side must lie in 1..{_LARGEST_SIDE}")
        return cls(rows, cols)

    def tiles(self, patch: int) -> Size:
        """Return the grid of `patch` x `patch` cells that covers this size."""
        return Size(-(-self.rows // patch), -(-self.cols // patch))
