"""What of a recogniser a weights file decides beside the architecture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassifierShape:
    """How many classes the classifier tells apart."""

    classes: int
