"""A registry of import strings: names are known without importing what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from maskvd_cli.core.errors import MaskvdError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes of one kind, from this package and from an entry-point group.

    `targets` maps names to import strings `module:Class`; installed packages add theirs under the
    entry-point group. Raises MaskvdError for an unknown name (with the near miss), a name that two
    packages claim, and a target that cannot be imported or is not a `base`.
    """

    def __init__(self, kind: str, base: type[T], group: str, targets: Mapping[str, str]) -> None:
        self.kind = kind
        self._base = base
        self._group = group
        self._targets = dict(targets)
        self._plugins_read = False

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._all())

    def register(self, name: str, target: str) -> None:
        """Add `name` for the import string `target`; a name can be taken once."""
        self._targets = self._with([(name, target)])

    def load(self, name: str) -> type[T]:
        """Import and return the class behind `name`."""
        targets = self._all()
        if name not in targets:
            raise MaskvdError(unknown(self.kind, name, targets))
        module_name, _, attribute = targets[name].partition(":")
        try:
            loaded = getattr(import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise MaskvdError(
                f"{self.kind} '{name}' cannot be imported from {targets[name]}: {error}",
                remedy="mend or uninstall the package that provides it",
            ) from error
        if not (isinstance(loaded, type) and issubclass(loaded, self._base)):
            raise MaskvdError(
                f"{self.kind} '{name}': {targets[name]} is no {self._base.__name__}",
                remedy="mend or uninstall the package that provides it",
            )
        if missing := sorted(getattr(loaded, "__abstractmethods__", ())):
            raise MaskvdError(
                f"{self.kind} '{name}': {targets[name]} lacks {', '.join(missing)}",
                remedy="add what is missing",
            )
        return loaded

    def _all(self) -> dict[str, str]:
        if not self._plugins_read:
            plugins = entry_points(group=self._group)
            self._targets = self._with((plugin.name, plugin.value) for plugin in plugins)
            self._plugins_read = True
        return self._targets

    def _with(self, more: Iterable[tuple[str, str]]) -> dict[str, str]:
        targets = dict(self._targets)
        for name, target in more:
            if name in targets:
                raise MaskvdError(
                    f"{self.kind} '{name}' is registered twice: {targets[name]} and {target}",
                    remedy="rename or uninstall one of them",
                )
            targets[name] = target
        return targets
