"""Checkpoints under the published names, renamed into ours: every tensor accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isqrt

from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed, without_wrapper

NAMING = "eventful-vivit"
_PARTS = {"spatial_model.": "backbone.", "temporal_model.": "temporal."}
_LAYERS = {
    "input_layer_norm": "norm1",
    "qkv": "qkv",
    "projection": "projection",
    "mlp_layer_norm": "norm2",
    "mlp_1": "mlp_in",
    "mlp_2": "mlp_out",
}
_POSITIONS = "backbone.position_encoding.encoding"
_KINDS = ("weight", "bias")


def is_published(names: Iterable[str]) -> bool:
    """Tell whether most names are those of a published recogniser."""
    plain = [name.removeprefix("module.").removeprefix("sd/") for name in names]
    of_parts = [name for name in plain if name.startswith(tuple(_PARTS))]
    return 2 * len(of_parts) > len(plain)


def is_own(names: Iterable[str]) -> bool:
    """Tell whether the names are those that a recogniser has here."""
    known = list(names)
    return "classifier.bias" in known and any(name.startswith("temporal.") for name in known)


def to_our_names(
    tensors: Mapping[str, Tensor], *, where: object = None, table: Size | None = None
) -> dict[str, Tensor]:
    """Return a published recogniser's tensors under our names, all of them.

    A prefix `sd/` or `module.` of all names is ignored. Of each position table the first row is
    added to the class token, whose position it is; the others become (rows, cols, D), square or as
    `table` says in the spatial transformer, one row in the temporal one. Raises CheckpointError
    about `where` for unknown and missing names, and unusable tables.
    """
    plain = without_wrapper(tensors)
    expected = dict(_expected(plain))
    unknown = [name for name in plain if name not in expected]
    missing = [name for name in expected if name not in plain]
    if unknown or missing:
        what = "unknown" if unknown else "missing"
        raise CheckpointError(
            f"no whole recogniser under naming '{NAMING}': {len(unknown or missing)} {what}: "
            f"{listed(unknown or missing)}",
            where=where,
            remedy="give the whole checkpoint of one",
        )
    renamed = {expected[name]: value for name, value in plain.items()}
    for part in _PARTS.values():
        _lay_out(renamed, part, where, table)
    return renamed


def _expected(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield each name of a recogniser with as many blocks as `names` has, and ours of it."""
    present = list(names)
    for kind in _KINDS:
        yield f"embedding.conv.{kind}", f"embedding.conv.{kind}"
        yield f"classifier.{kind}", f"classifier.{kind}"
    for theirs, ours in _PARTS.items():
        yield f"{theirs}class_token", f"{ours}class_token"
        yield f"{theirs}{_POSITIONS}", f"{ours}positions"
        yield from ((f"{theirs}layer_norm.{kind}", f"{ours}final_norm.{kind}") for kind in _KINDS)
        first = f"{theirs}backbone.blocks."
        blocks = {name.removeprefix(first).partition(".")[0] for name in present
                  if name.startswith(first)}  # fmt: skip
        for block in range(max(len(blocks), 1)):
            for layer, own in _LAYERS.items():
                for kind in _KINDS:
                    yield f"{first}{block}.{layer}.{kind}", f"{ours}blocks.{block}.{own}.{kind}"


def _lay_out(tensors: dict[str, Tensor], part: str, where: object, table: Size | None) -> None:
    positions, token = tensors[f"{part}positions"], tensors[f"{part}class_token"]
    rows = positions.shape[1] - 1 if positions.ndim == 3 and len(positions) == 1 else 0
    side = isqrt(max(rows, 0))
    laid = Size(1, rows) if part == "temporal." else table or Size(side, side)
    if rows < 1 or laid.area != rows or token.shape != (1, 1, positions.shape[2]):
        raise CheckpointError(
            f"{part}positions are {tuple(positions.shape)} for a class token {tuple(token.shape)}, "
            "expected (1, 1 + S*S, D) and (1, 1, D)",
            where=where,
            remedy="give the whole checkpoint",
        )
    tensors[f"{part}class_token"] = token + positions[:, :1]
    tensors[f"{part}positions"] = positions[0, 1:].unflatten(0, tuple(laid))
