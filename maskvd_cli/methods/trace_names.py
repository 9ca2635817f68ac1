"""Under which names a FrameTrace holds selected tokens: the one place that knows how to read them.

| name | tokens |
| :-- | :-- |
| `mask` | that one mask for the whole backbone lets through |
| `survivors` | that leave the last block where blocks drop tokens |
| `blocks.<i>.kept` | that leave block i, which drops tokens |
| `blocks.<i>.qkv`, `.projection`, `.mlp` | that gate of block i lets through |

A method may use other names; they say no more than that these tokens were computed.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, cast, get_args

MASK, SURVIVORS = "mask", "survivors"
Gate = Literal["qkv", "projection", "mlp"]
_BLOCKS, _KEPT = "blocks", "kept"


class BlockName(NamedTuple):
    """Block (from 0) and part of a name such as `blocks.3.qkv`."""

    block: int
    part: Gate | Literal["kept"]

    @property
    def is_gate(self) -> bool:
        """Whether a gate chose the tokens."""
        return self.part != _KEPT

    def __str__(self) -> str:
        return f"{_BLOCKS}.{self.block}.{self.part}"


def block_name(name: str) -> BlockName | None:
    """Return the parts of a block's name, None for any other name."""
    first, _, rest = name.partition(".")
    number, _, part = rest.partition(".")
    known = part == _KEPT or part in get_args(Gate)
    if first != _BLOCKS or not known or not (number.isascii() and number.isdigit()):
        return None
    return BlockName(int(number), cast(Gate, part))
