"""The family of errors that a user can cause and mend: each says where, what and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_BAD_INPUT = 2
EXIT_POINTS_FAILED = 3
EXIT_REGRESSION = 4
EXIT_INTERRUPTED = 130


class MaskvdError(Exception):
    """Bad input, told in one line: `where: what is wrong; what to do`."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: str, *, where: object = None, remedy: str | None = None) -> None:
        self.message = message
        self.where = None if where is None else str(where)
        self.remedy = remedy
        text = message if self.where is None else f"{self.where}: {message}"
        super().__init__(text if remedy is None else f"{text}; {remedy}")


class UsageError(MaskvdError):
    """Options that do not fit together, or an output that must not be written."""


class DatasetError(MaskvdError):
    """A dataset's folder, annotation or image that cannot be used as it is."""


class RecipeError(MaskvdError):
    """One or more mistakes in a recipe, one line each.

    `problems` holds the lines, for instance `recipe.yaml:6:5 methods.1.period: ...`.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ResultError(MaskvdError):
    """A result folder or file that cannot be read or must not be overwritten."""


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known word closest to `word`, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a name that nobody registered, with the near miss and all names."""
    names = sorted(known)
    return f"unknown {kind} '{word}'{near_miss(word, names)}; there are: {', '.join(names)}"
