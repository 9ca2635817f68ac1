"""How large a dataset is, in numbers: what a recipe may give in place of the dataset itself."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from maskvd_cli.recipe.section import Section

_MOST_FRAMES = 10_000_000


class LengthSection(Section):
    """Some clips that are equally long."""

    clips: int = Field(ge=1, description="how many")
    frames: int = Field(ge=1, le=_MOST_FRAMES, description="of each of them")


class StatisticsSection(Section):
    """How large a dataset is, in place of the dataset itself."""

    clips: int = Field(ge=1, description="clips; a method starts anew with each")
    frames: int = Field(ge=1, le=_MOST_FRAMES, description="frames of all clips together")
    classes: int | None = Field(
        default=None,
        ge=1,
        description="classes of the detector, for the MACs of its box head; default: unknown",
    )
    lengths: list[LengthSection] | None = Field(
        default=None,
        min_length=1,
        description="how long the clips are, which decides how many frames are full where a method "
        "has a period; adds up to clips and frames; default: as equally long as can be",
    )

    @field_validator("frames")
    @classmethod
    def _a_frame_for_each_clip(cls, frames: int, info: ValidationInfo) -> int:
        if frames < info.data.get("clips", 1):
            raise ValueError(f"fewer than the {info.data['clips']} clips; each has one or more")
        return frames

    @field_validator("lengths")
    @classmethod
    def _all_clips_and_frames(
        cls, lengths: list[LengthSection] | None, info: ValidationInfo
    ) -> list[LengthSection] | None:
        stated = info.data.get("clips"), info.data.get("frames")
        if lengths is not None and None not in stated:
            clips = sum(group.clips for group in lengths)
            frames = sum(group.clips * group.frames for group in lengths)
            if (clips, frames) != stated:
                raise ValueError(
                    f"{clips} clips with {frames} frames, not {stated[0]} with {stated[1]}"
                )
        return lengths
