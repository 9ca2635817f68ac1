"""Maps from a detector's classes to a dataset's that recipes may name, as small files beside this.

A map gives the dataset's class by the detector's; a class that it does not name stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import yaml

from maskvd_cli.core.errors import UsageError

_FOLDER = Path(__file__).resolve().parent / "maps"
# Classes of the same name stand for each other.
BY_NAME = "by-name"


def names() -> list[str]:
    """Return what recipes may name."""
    return [BY_NAME, *sorted(path.stem for path in _FOLDER.glob("*.yaml"))]


def mapped(name: str, classes: Sequence[str | None], dataset: Sequence[str]) -> list[str | None]:
    """Return the dataset's class for each of a detector's `classes`, None where it has none.

    Raises UsageError where the map is for other classes: of the detector or of the dataset.
    """
    table = _table(name, dataset)
    if strange := [target for target in table.values() if target not in dataset]:
        raise UsageError(
            f"model.classes: {name} gives {strange[0]}, which the dataset does not have "
            f"({', '.join(dataset)})",
            remedy="say which of the dataset's classes each class of the weights stands for",
        )
    found = [None if one is None else table.get(one) for one in classes]
    if not any(found):
        named = ", ".join(one for one in classes if one)
        raise UsageError(
            f"model.classes: {name} knows none of the classes of the weights ({named})",
            remedy="say which of the dataset's classes each class of the weights stands for",
        )
    return found


def fitting(classes: Sequence[str | None], dataset: Sequence[str]) -> list[str]:
    """Return the maps from these classes of a detector to these of a dataset.

    Those of which all targets are the dataset's, and most sources are named, without those that
    reach a part of another's alone; where there are none, equal names.
    """
    own = [name for name in names() if name != BY_NAME]
    tables = {name: _table(name, dataset) for name in own}
    fits = [
        name
        for name, table in tables.items()
        if set(table.values()) <= set(dataset) and 2 * len(table.keys() & set(classes)) > len(table)
    ]
    reached = {name: set(tables[name].values()) for name in fits}
    most = [name for name in fits if not any(reached[name] < other for other in reached.values())]
    return most or ([BY_NAME] if set(classes) & set(dataset) else [])


def _table(name: str, dataset: Sequence[str]) -> dict[str, str]:
    if name == BY_NAME:
        return {word: word for word in dataset}
    content = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return cast(dict[str, str], content)
