"""Weights to start from: a checkpoint of any known naming, whole but for what may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor

from maskvd_cli.families.base import TrainableModel
from maskvd_cli.families.checkpoints import differences, load_into, read_tensors, shapes_of
from maskvd_cli.families.vitdet.namings import CLASS_TOKEN, FINAL_NORM
from maskvd_cli.families.vitdet.renaming import CheckpointError, Converted, to_our_names
from maskvd_cli.families.vivit import renaming as recogniser


@dataclass(frozen=True)
class Taken:
    """What initial weights gave: parameters that are `fresh`, and names there that were `left`."""

    fresh: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def load_initial(
    detector: TrainableModel, path: Path, allow_missing: Sequence[str], leave: Sequence[str] = ()
) -> Taken:
    """Copy a checkpoint into the detector; return which parameters keep their new weights.

    Parameters that match one of the patterns (`box_head.classes.*`, shell style) start anew where
    the checkpoint lacks them or has them in another shape; all others must be there. What matches
    one of the patterns `leave` is not taken over, and all else must be known here. Class token
    and final norm of a timm or MAE backbone are left out where the architecture has none. Raises
    CheckpointError for anything else that differs, and for a pattern that matches no parameter.
    """
    expected = detector.state_dict()
    _check_patterns(detector, allow_missing, "allow_missing")
    converted = _converted(read_tensors(path), path)
    found = dict(converted.tensors)
    left = _left(found, leave, path)
    for name in left:
        del found[name]
    if converted.naming == "timm":
        for name in (CLASS_TOKEN, *FINAL_NORM):
            if name not in expected:
                found.pop(name, None)
    fresh = [
        name
        for name, value in expected.items()
        if any(fnmatchcase(name, pattern) for pattern in allow_missing)
        and (name not in found or found[name].shape != value.shape)
    ]
    complete = found | {name: expected[name] for name in fresh}
    if problems := differences(shapes_of(expected), shapes_of(complete)):
        raise CheckpointError(
            f"does not fit {detector.arch.name}: {'; '.join(problems)}",
            where=path,
            remedy="name what may start anew in allow_missing, or give another checkpoint",
        )
    load_into(detector, complete, path)
    return Taken(tuple(fresh), tuple(left))


def _left(found: Mapping[str, Tensor], leave: Sequence[str], path: Path) -> list[str]:
    for pattern in leave:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise CheckpointError(
                f"has no parameter that '{pattern}' of leave matches",
                where=path,
                remedy="leave the pattern out",
            )
    return [name for name in found if any(fnmatchcase(name, pattern) for pattern in leave)]


def freeze(detector: TrainableModel, patterns: Sequence[str]) -> None:
    """Let the parameters that match one of the patterns ask for no gradients, so that they stay.

    Raises CheckpointError for a pattern that matches none, and where none is left to learn.
    """
    _check_patterns(detector, patterns, "frozen")
    for name, parameter in detector.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in detector.parameters()):
        raise CheckpointError(
            "no parameter is left to learn", where="frozen", remedy="leave some of the patterns out"
        )


def _check_patterns(detector: TrainableModel, patterns: Sequence[str], where: str) -> None:
    names = detector.state_dict()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise CheckpointError(
                f"pattern '{pattern}' matches no parameter of {detector.arch.name}",
                where=where,
                remedy="write it as box_head.classes.* or pyramid.*",
            )


def _converted(tensors: Mapping[str, Tensor], path: Path) -> Converted:
    """Return the tensors under our names, of a detector, a backbone or a recogniser."""
    if recogniser.is_published(tensors):
        return Converted(recogniser.to_our_names(tensors, where=path), recogniser.NAMING, {})
    if recogniser.is_own(tensors):
        return Converted(dict(tensors), recogniser.NAMING, {})
    return to_our_names(tensors, where=path)
