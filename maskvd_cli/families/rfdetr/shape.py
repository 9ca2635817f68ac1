"""What of a set-based detector a weights file decides beside the architecture."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.size import Size


@dataclass(frozen=True)
class QueryShape:
    """How many classes it tells apart, and how many queries its decoder has.

    `table`: grid of its positions where it was trained for another input than its architecture is
    made for; None: the architecture's. Raises ValueError where one of them is below 1.
    """

    classes: int
    queries: int = 300
    table: Size | None = None

    def __post_init__(self) -> None:
        if self.classes < 1 or self.queries < 1:
            raise ValueError(f"{self.classes} classes and {self.queries} queries: give at least 1")
