"""The tables of methods and models: what runs where, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generation.regions import table
from maskvd_cli.families.registry import families
from maskvd_cli.methods.matrix import fit
from maskvd_cli.methods.registry import methods

# Stands for a model in reasons, so that one reason serves many models.
_MODEL = "the model"
# Families whose backbones are those of another one.
_SAME = {"vitdet-masks"}


def families_of(argument: str) -> str:
    """Return a row per method, a column per kind of model, and the reasons below.

    `argument`: `methods`, or `combinations` of two.
    """
    names = methods.names() if argument == "methods" else methods.pairs()
    columns = _columns(names)
    reasons: list[str] = []
    rows = [
        (_linked(name), *(_cell(name, arch, reasons) for arch in columns.values()))
        for name in names
    ]
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([table(("method", *columns), rows), "", *notes])


def _linked(name: str) -> str:
    if name in methods.names():
        return f"[{name}](../methods/{name.replace('+', '-')}.md)"
    return name


def _columns(names: Sequence[str]) -> dict[str, Any]:
    """Return an architecture for each kind of model; its header names them all.

    Of a kind are the models of a family whose backbones have the same, and kinds that all methods
    treat in the same way.
    """
    columns: dict[str, Any] = {}
    for family in families.working():
        if family.name in _SAME:
            continue
        kinds: dict[Any, list[Any]] = {}
        for arch in family.archs():
            kinds.setdefault(arch.has, []).append(arch)
        alike: dict[tuple[Any, ...], list[Any]] = {}
        for archs in kinds.values():
            told = tuple(_told(name, archs[0]) for name in names)
            alike.setdefault(told, []).extend(archs)
        for archs in alike.values():
            columns[", ".join(f"`{arch.name}`" for arch in archs)] = archs[0]
    return columns


def _told(name: str, arch: Any) -> tuple[bool, str]:
    found = fit(methods.load(name), arch)
    return found.runs, found.note.replace(arch.name, _MODEL)


def _cell(name: str, arch: Any, reasons: list[str]) -> str:
    runs, note = _told(name, arch)
    if runs:
        return f"yes, {note}" if note else "yes"
    reason = note.removeprefix(f"{name} ")
    if reason not in reasons:
        reasons.append(reason)
    return f"no ({reasons.index(reason) + 1})"
