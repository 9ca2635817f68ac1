"""What pictures show of a method: the masks of one frame by name, and what made them."""

from __future__ import annotations

from dataclasses import dataclass

# Masks that pictures know: chosen before any frame is seen, chosen from the boxes of the frame
# before, and what the frame recomputes.
STATIC, DYNAMIC, COMBINED = "static", "dynamic", "combined"


@dataclass(frozen=True)
class Pictured:
    """The parameters that make a method's masks, for the words beside a picture.

    `static_keep_rate`: share of all tokens in the static mask; `period`: every so many frames one
    is full; `score_threshold` and `margin`, in pixels: which boxes make the dynamic mask, and how
    far they are grown. `frames`: whether single frames can be shown, else the static mask alone.
    """

    static_keep_rate: float
    period: int
    score_threshold: float
    margin: int
    frames: bool
