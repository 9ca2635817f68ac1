"""The one model that is held: asking for another frees it first."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from maskvd_cli.families.base import Model


class Held:
    """Keeps the model that was asked for last, under its key.

    Memory that is measured beside a model must not count the others that a sweep ran before.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._model: Model | None = None

    def get(self, key: Hashable, make: Callable[[], Model]) -> Model:
        """Return the model under `key`, made anew where another one was held."""
        if self._model is None or key != self._key:
            # Freed before the next one is made, so that two never lie in memory together.
            self._model = None
            self._model, self._key = make(), key
        return self._model
