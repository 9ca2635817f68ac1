"""What a plan must say of a method, so that reports need not import it."""

from __future__ import annotations

from typing import Any

from maskvd_cli.methods.params import Params
from maskvd_cli.methods.registry import methods
from maskvd_cli.store.schema import StoredFigure, StoredMethod


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
        defaults=_defaults(method.params_type),
        figure=None if method.figure is None else StoredFigure(**method.figure),
    )


def _defaults(params_type: type[Params]) -> dict[str, Any]:
    """Return what parameters are where a recipe says nothing; what must be given has none."""
    fields = params_type.model_fields.items()
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in fields
        if not field.is_required()
    }
