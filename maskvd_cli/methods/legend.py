"""What a plan must say of a method, so that reports need not import it."""

from __future__ import annotations

from maskvd_cli.methods.registry import methods
from maskvd_cli.store.schema import StoredMethod


def legend(name: str) -> StoredMethod:
    """Return role, words, columns and style of the method called `name`."""
    method = methods.load(name)
    return StoredMethod(
        role=method.role,
        description=method.description,
        paper=method.paper,
        columns=dict(method.columns),
        colour=method.colour,
        mark=method.mark,
    )
