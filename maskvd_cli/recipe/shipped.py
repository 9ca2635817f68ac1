"""The recipes that come with maskvd: in the checkout's `recipes/`, or inside an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

from maskvd_cli.core.errors import RecipeError, near_miss

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE / "shipped", _PACKAGE.parent.parent / "recipes")


def shipped_recipes() -> dict[str, Path]:
    """Return the shipped recipes by name, without the `.yaml`."""
    for folder in _FOLDERS:
        found = {
            path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
        }
        if found:
            return found
    return {}


def find_recipe(word: str) -> Path:
    """Return the recipe file that `word` names: a path, or the name of a shipped recipe.

    Raises RecipeError where there is neither.
    """
    path = Path(word)
    if os.path.isfile(path):
        return path
    shipped = shipped_recipes()
    if path.stem in shipped and word in (path.stem, path.name, f"recipes/{path.name}"):
        return shipped[path.stem]
    near = near_miss(path.stem, shipped)
    raise RecipeError(
        [f"{word}: no such recipe file{near}; shipped recipes: {', '.join(shipped) or 'none'}"]
    )
