"""A registry of import strings: names are known without importing what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar

from maskvd_cli.core.errors import MaskvdError, UsageError, unknown

T = TypeVar("T")


def _unheard(error: MaskvdError) -> None:
    """Take the place of a listener where there is none."""


class Registry(Generic[T]):
    """Names to classes of one kind, from this package and from an entry-point group.

    `targets` maps names to import strings `module:Class`; installed packages add theirs under the
    entry-point group. Raises MaskvdError for an unknown name (with the near miss), a name that two
    packages claim, and a target that cannot be imported or is not a `base`; of a plug-in, which may
    raise anything as it is imported, UsageError. `on_broken` hears of what `working` leaves out.
    """

    on_broken: ClassVar[Callable[[MaskvdError], None]] = staticmethod(_unheard)

    def __init__(self, kind: str, base: type[T], group: str, targets: Mapping[str, str]) -> None:
        self.kind = kind
        self._base = base
        self._group = group
        self._targets = dict(targets)
        self._plugins: dict[str, EntryPoint] | None = None
        self._broken: dict[str, MaskvdError] = {}
        self._told: set[str] = set()

    def names(self) -> list[str]:
        """Return all names, sorted; what they stand for may be broken."""
        return sorted(self._all())

    def register(self, name: str, target: str) -> None:
        """Add `name` for the import string `target`; a name can be taken once."""
        self._targets = self._with([(name, target)])

    def working(self) -> list[type[T]]:
        """Return all classes by name, without those that cannot be loaded: each is told once."""
        loaded: list[type[T]] = []
        for name in self.names():
            try:
                loaded.append(self.load(name))
            except MaskvdError as error:
                if name not in self._told:
                    self._told.add(name)
                    Registry.on_broken(error)
        return loaded

    def why_broken(self, name: str) -> str | None:
        """Return why what stands behind a name cannot be loaded; None where it can, or is none."""
        try:
            self.load(name)
        except MaskvdError as error:
            return str(error) if name in self._all() else None
        return None

    def load(self, name: str) -> type[T]:
        """Import and return the class behind `name`."""
        targets = self._all()
        if name not in targets:
            raise MaskvdError(unknown(self.kind, name, targets))
        if name in self._broken:
            known = self._broken[name]
            raise type(known)(known.message, remedy=known.remedy)
        loaded = self._imported(name, targets[name])
        if not (isinstance(loaded, type) and issubclass(loaded, self._base)):
            raise MaskvdError(
                f"{self.kind} '{name}': {targets[name]} is no {self._base.__name__}",
                remedy=self._remedy(name),
            )
        if missing := sorted(getattr(loaded, "__abstractmethods__", ())):
            raise MaskvdError(
                f"{self.kind} '{name}': {targets[name]} lacks {', '.join(missing)}",
                remedy="add what is missing",
            )
        return loaded

    def _imported(self, name: str, target: str) -> Any:
        """Return what an import string stands for; it is tried once."""
        module, _, attribute = target.partition(":")
        plugin = (self._plugins or {}).get(name)
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            failure: BaseException = error
        except (Exception, SystemExit) as error:
            if plugin is None:  # a bug of this package
                raise
            failure = error
        reason = " ".join(str(failure).split()) or "no reason given"
        raised = "" if plugin is None else f"{type(failure).__name__}: "
        kind = MaskvdError if plugin is None else UsageError
        self._broken[name] = kind(
            f"{self.kind} '{name}' cannot be imported from {target}"
            f"{_origin(plugin)}: {raised}{reason}",
            remedy=self._remedy(name),
        )
        raise self._broken[name] from failure

    def _remedy(self, name: str) -> str:
        plugin = (self._plugins or {}).get(name)
        known = plugin.dist if plugin is not None else None
        return f"mend or uninstall {_PROVIDER if known is None else known.name}"

    def _all(self) -> dict[str, str]:
        if self._plugins is None:
            plugins = list(entry_points(group=self._group))
            self._targets = self._with((plugin.name, plugin.value) for plugin in plugins)
            self._plugins = {plugin.name: plugin for plugin in plugins}
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


_PROVIDER = "the package that provides it"


def _origin(plugin: EntryPoint | None) -> str:
    """Return who provides a plug-in and under which entry point, in brackets."""
    if plugin is None:
        return ""
    provider = f"{plugin.dist.name} {plugin.dist.version}, " if plugin.dist is not None else ""
    return f" ({provider}entry point {plugin.name} of {plugin.group})"
