"""Paths in recipes: relative to the recipe's folder, with `~` and `$NAME` replaced."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from maskvd_cli.recipe.source import Document, KeyPath


@dataclass(frozen=True)
class LocalFile:
    """Stands in the annotation of a parameter whose text names a file where it ends in `suffix`.

    Such a text is a path, relative to the recipe; any other text is a word.
    """

    suffix: str

    def named_by(self, value: object) -> bool:
        """Tell whether a value names a file."""
        return isinstance(value, str) and value.lower().endswith(self.suffix)


def files_in(params: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield the parameters that name files, with the text that names each."""
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        if names_file(field, value):
            yield name, value


def names_file(field: FieldInfo, value: object) -> bool:
    """Tell whether a parameter's value names a file."""
    return any(isinstance(part, LocalFile) and part.named_by(value) for part in field.metadata)


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
