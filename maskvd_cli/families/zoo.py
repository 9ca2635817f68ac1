"""The models by name: what all registered families offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import MaskvdError, UsageError, unknown
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Arch, Family
from maskvd_cli.families.registry import families


@dataclass(frozen=True)
class Entry:
    """A model: its family and its architecture."""

    family: type[Family[Any, Any]]
    arch: Any


def entry(name: str) -> Entry:
    """Return the model called `name`. Raises UsageError for an unknown one.

    A family that cannot be imported matters only where no other one has the model.
    """
    known: dict[str, Entry] = {}
    for listed in _listed():
        known.update(listed)
    if name not in known:
        raise UsageError("; ".join([unknown("model", name, known), *broken_families()]))
    return known[name]


def frame_of(name: str, own: Size | None, input_size: Size) -> Size | None:
    """Return what frames are stretched to where nobody says; None: they keep their aspect.

    As the model was trained, else `own`: the dataset's own at this input. Raises UsageError for an
    unknown model.
    """
    known = entry(name)
    return known.family.frame_at(known.arch, input_size) or own


def models() -> dict[str, Entry]:
    """Return all models by name, in the order of families, without those of broken ones."""
    known: dict[str, Entry] = {}
    for listed in _listed():
        if twice := known.keys() & listed.keys():
            name = min(twice)
            raise MaskvdError(
                f"model '{name}' belongs to two families: {known[name].family.name} and "
                f"{listed[name].family.name}",
                remedy="rename or uninstall one of them",
            )
        known.update(listed)
    return known


def broken_families() -> list[str]:
    """Return why families cannot be loaded, a line for each that cannot."""
    return list(filter(None, map(families.why_broken, families.names())))


def get_arch(name: str) -> Any:
    """Return the architecture called `name`. Raises UsageError for an unknown one."""
    return entry(name).arch


def arch_of(name: str) -> Arch:
    """Return what every architecture has of the one called `name`."""
    arch: Arch = entry(name).arch
    return arch


def _listed() -> Iterator[dict[str, Entry]]:
    """Yield the models of each family that works, by name."""
    for family in families.working():
        yield {arch.name: Entry(family, arch) for arch in family.archs()}
