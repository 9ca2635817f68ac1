"""Words for what a backbone has, so that a method can say what it needs and what it knows."""

from __future__ import annotations

from typing import Final

# The backbone is a sequence of blocks on tokens, one token per patch of the grid.
TOKENS: Final = "tokens"
# Some blocks attend within windows of the grid.
WINDOWS: Final = "windows"
# Windows may reach over the grid and are padded there, so that they hold unequal numbers of tokens.
PADDED_WINDOWS: Final = "padded-windows"
# Attention has relative-position terms.
RELATIVE_POSITIONS: Final = "relative-positions"
# One token without a place stands before those of the grid.
CLASS_TOKEN: Final = "class-token"
# Every window has a class token of its own.
WINDOW_CLASS_TOKENS: Final = "window-class-tokens"
# Further tokens without a place stand before those of the grid (registers).
LEAD_TOKENS: Final = "lead-tokens"
# Tokens without a place stand behind those of the grid (detection queries), and features are
# theirs alone.
TRAIL_TOKENS: Final = "trail-tokens"
# Features are read after several blocks, not after the last alone.
TAPS: Final = "taps"
# Positions are added again between blocks.
MID_POSITIONS: Final = "mid-positions"
# A token covers several frames, or tokens of several frames attend to each other.
TIME: Final = "time"
# Features are those of the class token alone, nothing lies on the grid.
CLASS_FEATURES: Final = "class-features"

WORDS: Final = frozenset(
    (
        TOKENS,
        WINDOWS,
        PADDED_WINDOWS,
        RELATIVE_POSITIONS,
        CLASS_TOKEN,
        WINDOW_CLASS_TOKENS,
        LEAD_TOKENS,
        TRAIL_TOKENS,
        TAPS,
        MID_POSITIONS,
        TIME,
        CLASS_FEATURES,
    )
)
# What the blocks of `families/blocks/vit` can be made of.
PLAIN_VIT: Final = frozenset((TOKENS, WINDOWS, PADDED_WINDOWS, RELATIVE_POSITIONS, CLASS_TOKEN))
# What backbones in equal windows have besides that are read at several depths.
EQUAL_WINDOWS: Final = frozenset((WINDOWS, WINDOW_CLASS_TOKENS, TAPS))
# What a plain ViT with detection tokens may have besides.
DETECTION_TOKENS: Final = frozenset((TRAIL_TOKENS, MID_POSITIONS))
