"""What of a detector a weights file decides beside the architecture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadsShape:
    """How many classes the heads tell apart, without the one that stands for no object."""

    classes: int
