"""The names that recipes may use, drawn from the registries."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from maskvd_cli.core.errors import MaskvdError, unknown
from maskvd_cli.core.registry import Registry
from maskvd_cli.data.base import RAW
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.fetched import home_of
from maskvd_cli.families.zoo import broken_families, models
from maskvd_cli.methods.registry import methods
from maskvd_cli.metrics.registry import every_metric, metrics
from maskvd_cli.recipe.load import Catalog, Choices
from maskvd_cli.recipe.schema import EntrySection, Recipe
from maskvd_cli.recipe.section import Section


def catalog() -> Catalog:
    """Return the registered methods, models, datasets and metrics as a recipe's vocabulary."""
    return Catalog(
        methods=methods.names(),
        models=sorted(models()),
        datasets=datasets.names(),
        params_of=_params_of,
        choices_of=_choices_of,
        sections=_sections(),
        why_broken=_why_broken,
        knows=methods.knows,
        pairs=methods.pairs,
        weights_at=home_of,
    )


def _why_broken(kind: str, name: str) -> str | None:
    """Return why a registered name cannot be used, and of a model whose family may be broken."""
    if kind == "model":
        reasons = broken_families()
        return "; ".join([unknown(kind, name, models()), *reasons]) if reasons else None
    registries: dict[str, Registry[Any]] = {
        "dataset": datasets, "method": methods, "metric": metrics,
    }  # fmt: skip
    return registries[kind].why_broken(name) if kind in registries else None


def _params_of(name: str) -> type[BaseModel]:
    kind = methods.load(name).params_type
    if taken := sorted(set(kind.model_fields) & set(EntrySection.model_fields)):
        raise MaskvdError(
            f"method '{name}' has a parameter called {taken[0]}, which means something else in "
            "recipes",
            remedy="rename it",
        )
    return kind


def _sections() -> dict[str, type[Section]]:
    taken = {field.alias or name for name, field in Recipe.model_fields.items()}
    sections = {metric.name: metric.section for metric in every_metric()}
    if both := sorted(taken & set(sections)):
        raise MaskvdError(
            f"metric '{both[0]}' is called as a section of recipes is", remedy="rename it"
        )
    return sections


def _choices_of(name: str) -> Choices:
    dataset = datasets.load(name)
    return Choices(dataset.splits, (*dataset.protocols, RAW))
