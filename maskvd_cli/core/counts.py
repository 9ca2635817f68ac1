"""What is counted of every point, whether the model runs or not, as quantities."""

from __future__ import annotations

from maskvd_cli.core.quantity import Quantity

# What yields these quantities, where a plan names a metric for the others.
COUNTS = "counts"
# A number between 0 and 1 that people read in per cent.
SHARE = "share"


def block_count(number: int) -> str:
    """Return what the tokens that a block computed are called; names sort as blocks do."""
    return f"block_{number:02d}"


STATE_MB = Quantity(
    "state_mb",
    "state MB",
    "MB",
    1,
    False,
    "kept between frames, 1e6 bytes, float32 unless another precision ran",
    spare=6,
)
COUNTED = (
    Quantity(
        "tokens",
        "tokens",
        "",
        1,
        False,
        "recomputed per frame, mean over all frames, full ones included",
        spare=4,
    ),
    Quantity("keep_rate", "keep %", SHARE, 1, False, "of all tokens", spare=8),
    Quantity(
        "keep_rate_real",
        "real %",
        SHARE,
        1,
        False,
        "of the tokens that are not wholly padding",
        spare=9,
    ),
    Quantity(
        "full_frame_share", "full %", SHARE, 1, None, "frames that recompute every token", spare=10
    ),
    Quantity(
        "gmacs",
        "GMACs",
        "GMACs",
        2,
        False,
        "1e9 multiply-accumulates of the backbone per frame, matrix products only",
        spare=2,
    ),
    Quantity(
        "gmacs_detector",
        "model GMACs",
        "GMACs",
        2,
        False,
        "the same of the whole model; a detector's at each frame's proposals where it ran, else at "
        "the most",
        spare=9,
    ),
    Quantity(
        "gmacs_published",
        "publ. counter",
        "GMACs",
        2,
        False,
        "GMACs under the counter of the papers",
        spare=4,
    ),
    Quantity(
        "gmacs_published_at_mean_tokens",
        "at mean",
        "GMACs",
        2,
        False,
        "the same, evaluated once at the mean token count",
        spare=7,
    ),
    STATE_MB,
)
