"""The names that recipes may use, drawn from the registries."""

from __future__ import annotations

from pydantic import BaseModel

from maskvd_cli.data.base import RAW
from maskvd_cli.data.registry import datasets
from maskvd_cli.methods.registry import methods
from maskvd_cli.models.zoo import ARCHS
from maskvd_cli.recipe.load import Catalog, Choices


def catalog() -> Catalog:
    """Return the registered methods, models and datasets as a recipe's vocabulary."""
    return Catalog(
        methods=methods.names(),
        models=sorted(ARCHS),
        datasets=datasets.names(),
        params_of=_params_of,
        choices_of=_choices_of,
    )


def _params_of(name: str) -> type[BaseModel]:
    return methods.load(name).params_type


def _choices_of(name: str) -> Choices:
    dataset = datasets.load(name)
    return Choices(dataset.splits, (*dataset.protocols, RAW))
