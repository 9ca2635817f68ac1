"""The models by name: what all registered families offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import MaskvdError, UsageError, unknown
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
    broken: list[MaskvdError] = []
    known: dict[str, Entry] = {}
    for made in _loaded(broken):
        known.update(made)
    if name in known:
        return known[name]
    raise broken[0] if broken else UsageError(unknown("model", name, known))


def models() -> dict[str, Entry]:
    """Return all models by name, in the order of families. Raises MaskvdError for a broken one."""
    broken: list[MaskvdError] = []
    known: dict[str, Entry] = {}
    for made in _loaded(broken):
        if twice := known.keys() & made.keys():
            name = min(twice)
            raise MaskvdError(
                f"model '{name}' belongs to two families: {known[name].family.name} and "
                f"{made[name].family.name}",
                remedy="rename or uninstall one of them",
            )
        known.update(made)
    if broken:
        raise broken[0]
    return known


def get_arch(name: str) -> Any:
    """Return the architecture called `name`. Raises UsageError for an unknown one."""
    return entry(name).arch


def arch_of(name: str) -> Arch:
    """Return what every architecture has of the one called `name`."""
    arch: Arch = entry(name).arch
    return arch


def _loaded(broken: list[MaskvdError]) -> Iterator[dict[str, Entry]]:
    for name in families.names():
        try:
            family = families.load(name)
        except MaskvdError as error:
            broken.append(error)
            continue
        yield {arch.name: Entry(family, arch) for arch in family.archs()}
