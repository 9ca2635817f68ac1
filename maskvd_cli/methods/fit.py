"""Whether a method can run on a backbone, and whether it can be planned without one."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.families.blocks.traits import WORDS
from maskvd_cli.methods.base import Method, Params


def unfit(method: type[Method[Any]], params: Params, arch: Any) -> str | None:
    """Return why a method with these parameters cannot run on a backbone; None where it can."""
    reason = unlike(method, arch)
    if reason is not None:
        return reason
    try:
        method.resolve(params, arch)
    except MaskvdError as error:
        return str(error)
    return None


def unlike(method: type[Method[Any]], arch: Any) -> str | None:
    """Return why a method cannot run on a kind of backbone, whatever its parameters are."""
    if strange := (method.needs | (method.knows or frozenset())) - WORDS:
        return f"{method.name} names {min(strange)}, which no backbone can have"
    unknown = [] if method.knows is None else sorted(arch.has - method.knows)
    # A reason that somebody wrote says more than a word.
    for word in unknown:
        if word in method.refuses:
            return f"{method.name} {method.refuses[word].format(model=arch.name)}"
    if lacking := method.needs - arch.has:
        return f"{method.name} needs {_listed(lacking)}, which {arch.name} has not"
    return f"{method.name} does not know the {unknown[0]} of {arch.name}" if unknown else None


def fitted(method: type[Method[Any]], params: Params, arch: Any) -> Params:
    """Return the parameters, what depends on the backbone filled in.

    Raises UsageError for a method that does not fit the backbone.
    """
    reason = unlike(method, arch)
    if reason is not None:
        raise UsageError(reason, remedy="use another model, or leave the method out")
    return method.resolve(params, arch)


def unplanned(method: type[Method[Any]], arch: Any) -> str | None:
    """Return why a method cannot be planned from annotations on a backbone; None where it can.

    What its parameters forbid is told when the point is planned.
    """
    if method.has_closed_forms(arch):
        return None
    return (
        f"{method.name} has no closed form of its cost on {arch.name}, so it must run to be counted"
    )


def _listed(words: frozenset[str]) -> str:
    return " and ".join(sorted(words))
