"""The base of everything that stands in a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe: strict types, no unknown keys, not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
