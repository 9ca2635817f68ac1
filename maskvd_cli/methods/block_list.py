"""Parameters that name blocks of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.arch import ViTArch


def _once_and_in_order(blocks: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(blocks)) < len(blocks):
        raise ValueError("a block stands there twice")
    return tuple(sorted(blocks))


# Numbers of blocks; a recipe has lists where a tuple keeps the parameters unchangeable.
Blocks = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    Field(min_length=1),
    AfterValidator(_once_and_in_order),
]


def check_blocks(name: str, blocks: Sequence[int], arch: ViTArch) -> None:
    """Raise UsageError for blocks that the backbone has not; `name`: the parameter's."""
    if blocks[-1] >= arch.depth:
        raise UsageError(
            f"{name} {list(blocks)}: {arch.name} has blocks 0..{arch.depth - 1}",
            remedy="leave the others out",
        )
