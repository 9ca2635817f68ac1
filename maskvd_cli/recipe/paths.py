"""Paths in recipes: relative to the recipe's folder, with `~` and `$NAME` replaced."""

from __future__ import annotations

import os
import re
from pathlib import Path

from maskvd_cli.recipe.source import Document, KeyPath


def absolute_path(
    text: str, key: KeyPath, document: Document, file: Path, problems: list[str]
) -> str | None:
    """Return the path that stands at `key` of the recipe `file`, absolute.

    It is relative to the recipe's folder, or the current one where `--set` gave it. None, and a
    line in `problems`, for a variable that is not set and for no usable path.
    """
    base = Path.cwd() if document.place(key).startswith("--set") else file.parent
    absent = [name for name in re.findall(r"\$\{?(\w+)\}?", text) if name not in os.environ]
    if absent:
        problems.append(document.problem(key, f"environment variable {absent[0]} is not set"))
        return None
    try:
        return str((base / Path(os.path.expandvars(text)).expanduser()).resolve())
    except (OSError, RuntimeError, ValueError) as error:
        problems.append(document.problem(key, f"no usable path ({error})"))
        return None
