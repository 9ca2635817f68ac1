"""What of a detector a weights file decides beside the architecture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueriesShape:
    """How many texts stand for classes."""

    classes: int
