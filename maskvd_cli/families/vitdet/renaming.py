"""State dicts under the published names, renamed into ours: every tensor accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.namings import (
    CLASS_TOKEN,
    EMBEDDING,
    FINAL_NORM,
    HEADS,
    NAMINGS,
    POSITIONS,
    Naming,
    get_naming,
)

_WRAPPERS = ("sd/", "module.")


class CheckpointError(MaskvdError):
    """A checkpoint that cannot be read, renamed, or loaded into the model that was asked for."""


@dataclass(frozen=True)
class Converted:
    """A checkpoint under our names; `dropped` maps what is left out, as named there, to why."""

    tensors: dict[str, Tensor]
    naming: str
    dropped: dict[str, str]

    @property
    def contains(self) -> Literal["detector", "backbone", "recogniser"]:
        """What the tensors make up: a backbone alone has no pyramid, RPN and box head."""
        if "classifier.bias" in self.tensors:
            return "recogniser"
        return "detector" if _has_heads(self.tensors) else "backbone"


def to_our_names(
    tensors: Mapping[str, Tensor],
    naming: str | None = None,
    *,
    where: object = None,
    table: Size | None = None,
) -> Converted:
    """Rename a state dict into our names, every tensor of it or none.

    `naming`: one of NAMINGS; recognised from the names where None. A prefix `sd/` or `module.` of
    all names is ignored. Values stay what they are, but for position tables: (1, S*S, D) becomes
    (S, S, D), or (rows, cols, D) where `table` says so; a first row of the class token is added to
    the class token (timm), or dropped where there is none (Detectron2). Raises UsageError for an
    unknown naming, CheckpointError (about `where`) for names that no rule knows, models that maskvd
    does not run, missing names and unusable position tables.
    """
    plain = without_wrapper(tensors)
    rules = _recognised(plain, where) if naming is None else get_naming(naming)
    if refused := [name for name in plain if rules.refusal(name)]:
        raise CheckpointError(
            f"is {rules.refusal(refused[0])}: {len(refused)} of its tensors, as {refused[0]}",
            where=where,
            remedy="give the checkpoint of a model with one box head",
        )
    if foreign := rules.unknown_in(plain):
        raise CheckpointError(
            f"naming '{rules.name}' does not know {len(foreign)} of the names: {listed(foreign)}",
            where=where,
            remedy="give the checkpoint of a model that maskvd runs, or another naming",
        )
    renamed, dropped = _renamed(plain, rules, where)
    if missing := _missing(renamed, rules):
        raise CheckpointError(
            f"not whole under naming '{rules.name}': {len(missing)} missing (in our names): "
            f"{listed(missing)}",
            where=where,
            remedy="give the whole checkpoint",
        )
    if rules.positions != "grid":
        _lay_out_positions(renamed, dropped, rules, where, table)
    return Converted(renamed, rules.name, dropped)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return the first names with commas, at `most` so many, and how many more there are."""
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown


def without_wrapper(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without a prefix that all names have."""
    for wrapper in _WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            return {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return dict(tensors)


def _recognised(names: Iterable[str], where: object) -> Naming:
    """Return the naming that leaves the fewest names unknown; most names must be known to it."""
    names = list(names)
    if not names:
        raise CheckpointError("holds no tensors", where=where, remedy="give a state dict")
    foreign, best = min(
        ((naming.unknown_in(names), naming) for naming in NAMINGS.values()),
        key=lambda pair: len(pair[0]),
    )
    if 2 * len(foreign) < len(names):
        return best
    known = ", ".join(f"{naming.name} ({naming.description})" for naming in NAMINGS.values())
    raise CheckpointError(
        f"no known naming fits; unknown are {listed(foreign, most=3)}",
        where=where,
        remedy=f"the namings known are {known}",
    )


def _renamed(
    tensors: Mapping[str, Tensor], naming: Naming, where: object
) -> tuple[dict[str, Tensor], dict[str, str]]:
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for name, value in tensors.items():
        ours = naming.our_name(name)
        if ours is None:
            dropped[name] = naming.drop_reason(name) or ""
        elif ours in renamed:
            raise CheckpointError(
                f"{origin[ours]} and {name} are both {ours} under naming '{naming.name}'",
                where=where,
                remedy="keep only one of them",
            )
        else:
            renamed[ours], origin[ours] = value, name
    return renamed, dropped


def _has_heads(names: Iterable[str]) -> bool:
    return any(not name.startswith(("backbone.", "embedding.")) for name in names)


def _missing(names: Mapping[str, Tensor], naming: Naming) -> list[str]:
    """Return the names that a model with these parts must have and that are not there."""
    blocks = {int(name.split(".")[2]) for name in names if name.startswith("backbone.blocks.")}
    relative = any(".relative." in name for name in names)
    expected = [POSITIONS, *naming.requires]
    for block in range(max(blocks, default=0) + 1):
        expected += block_names(block, relative)
    for pair in (EMBEDDING, FINAL_NORM):
        if any(name in names for name in pair):
            expected += pair
    if _has_heads(names):
        expected += [*EMBEDDING, *HEADS]
    return [name for name in dict.fromkeys(expected) if name not in names]


def _lay_out_positions(
    tensors: dict[str, Tensor],
    dropped: dict[str, str],
    naming: Naming,
    where: object,
    known: Size | None,
) -> None:
    """Turn the flat position table into a grid and see to the class token's row."""
    table = tensors[POSITIONS]
    if known is not None and table.shape[:2] == (1, known.area):
        tensors[POSITIONS] = table[0].unflatten(0, tuple(known))
        return
    rows = table.shape[1] if table.ndim == 3 and table.shape[0] == 1 else 0
    with_class = naming.positions != "flat" and isqrt(rows) ** 2 != rows
    side = isqrt(max(rows - with_class, 0))
    if rows < 1 or side * side + with_class != rows:
        expected = "1, S*S, D" if naming.positions == "flat" else "1, S*S, D or 1, 1 + S*S, D"
        raise CheckpointError(
            f"the position table is {tuple(table.shape)}, expected ({expected})", where=where
        )
    tensors[POSITIONS] = table[0, int(with_class) :].reshape(side, side, table.shape[2])
    if with_class and naming.positions == "drop-class-row":
        dropped["row 0 of the position table"] = "belongs to a class token, which the model lacks"
    elif with_class:
        tensors[CLASS_TOKEN] = _with_position(tensors.get(CLASS_TOKEN), table[:, :1], where)


def _with_position(token: Tensor | None, position: Tensor, where: object) -> Tensor:
    """Add its position, (1, 1, D), to the class token: ours has none, the sum is the same."""
    if token is None or token.shape != position.shape:
        found = "there is none" if token is None else f"it is {tuple(token.shape)}"
        raise CheckpointError(
            f"the position table has a row for a class token {tuple(position.shape)}, but {found}",
            where=where,
            remedy="give the whole checkpoint",
        )
    return token + position


def block_names(block: int, relative: bool) -> list[str]:
    """Return our names of the parameters of one block, with or without relative positions."""
    layers = ("norm1", "qkv", "projection", "norm2", "mlp_in", "mlp_out")
    names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    names += ["relative.rows", "relative.cols"] if relative else []
    return [f"backbone.blocks.{block}.{name}" for name in names]
