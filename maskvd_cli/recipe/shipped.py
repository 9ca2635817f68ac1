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


def shipped_trainings() -> dict[str, Path]:
    """Return the shipped training recipes by name, without the `.yaml`."""
    folders = {path.parent / "training" for path in shipped_recipes().values()}
    found = [path for folder in folders for path in folder.glob("*.yaml")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def shipped_weights() -> dict[str, Path]:
    """Return the weights files that come with maskvd by name, without the `.safetensors`."""
    folders = {path.parent / "weights" for path in shipped_recipes().values()}
    found = [path for folder in folders for path in folder.glob("*.safetensors")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def recipe_origin(path: Path) -> str:
    """Return what results tell of a recipe's place; of a shipped one nothing of the machine."""
    shipped = shipped_recipes().get(path.stem)
    same = shipped is not None and path.resolve() == shipped.resolve()
    return f"recipes/{path.name}" if same else str(path)


def find_recipe(word: str) -> Path:
    """Return the recipe file that `word` names: a path, or the name of a shipped recipe.

    Raises RecipeError where there is neither.
    """
    return _found(word, shipped_recipes(), "recipe")


def find_training(word: str) -> Path:
    """Return the training recipe that `word` names, as `find_recipe` does."""
    return _found(word, shipped_trainings(), "training recipe")


def _found(word: str, shipped: dict[str, Path], what: str) -> Path:
    path = Path(word)
    if os.path.isfile(path):
        return path
    tails = (path.stem, path.name, f"recipes/{path.name}", f"recipes/training/{path.name}")
    if path.stem in shipped and word in tails:
        return shipped[path.stem]
    near = near_miss(path.stem, shipped)
    raise RecipeError(
        [f"{word}: no such {what} file{near}; shipped: {', '.join(shipped) or 'none'}"]
    )
