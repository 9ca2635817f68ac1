"""What of a set-based detector a weights file decides beside the architecture."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.size import Size


@dataclass(frozen=True)
class QueryShape:
    """How many classes it tells apart, and how many queries its decoder has.

    `groups` of as many queries each learn side by side in training; a file holds the first alone.
    `table`: grid of its positions where it was trained for another input than its architecture is
    made for; None: the architecture's. Raises ValueError where one of them is below 1.
    """

    classes: int
    queries: int = 300
    groups: int = 1
    table: Size | None = None

    def __post_init__(self) -> None:
        if min(self.classes, self.queries, self.groups) < 1:
            raise ValueError(
                f"{self.classes} classes, {self.queries} queries and {self.groups} groups: give at "
                "least 1"
            )
