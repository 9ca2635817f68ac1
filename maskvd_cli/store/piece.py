"""Pieces: what a unit of work gives part by part, stored as soon as each part ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

# What precedes the names of arrays that are a task's outputs.
OUTPUT = "output."
# Array of a clip: in which share of the layers each token of a frame was recomputed, (frames, N)
# uint8, 255 for all of them. Absent where a method does not tell its tokens.
KEPT = "kept"
WHOLE = 255


@dataclass(frozen=True)
class Piece:
    """One part of a unit, as it ends: a clip of a point, a round of a session, a single value.

    `key`: the point, or empty where a piece serves all points of a session; `part`: its name,
    safe in file names; `arrays` and JSON `facts` are stored as they are.
    """

    key: str
    part: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """The arrays that are a task's outputs, by the task's names."""
        return {
            name.removeprefix(OUTPUT): array
            for name, array in self.arrays.items()
            if name.startswith(OUTPUT)
        }
