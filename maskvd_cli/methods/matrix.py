"""Which methods run on which backbones, and what there is to say of it in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.fit import unfit, unlike
from maskvd_cli.methods.learned import RANDOM, SELECTOR

# Parameters for methods that have no defaults: the first that a method takes serve.
_GIVEN: tuple[Mapping[str, Any], ...] = ({}, {"k": 1}, {"r": 1}, {"k": 1, "r": 1})
# What a recipe must say where the defaults do not do, and how that is told.
_WAYS: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({SELECTOR: RANDOM}, "selectors to be trained"),
    ({"drop_blocks": [1]}, "drop_blocks of your own"),
)
# Ways of running chosen tokens that not every backbone has.
_VERSION, _VERSIONS = "version", ("C", "T", "H")


@dataclass(frozen=True)
class Fit:
    """Whether a method runs on a backbone; `note`: how, or why not, empty for as it is."""

    runs: bool
    note: str = ""


def fit(method: type[Method[Any]], arch: Any) -> Fit:
    """Return whether a method runs on a backbone with the parameters that it has by default.

    Where defaults do not do, on few blocks or where no selectors come with maskvd, others may.
    """
    if (reason := unlike(method, arch)) is not None:
        return Fit(runs=False, note=reason)
    params = _params(method)
    if params is None or unfit(method, params, arch) is None:
        return Fit(runs=True, note=_versions(method, params, arch))
    for more, note in _WAYS:
        other = _params(method, **more)
        if other is not None and unfit(method, other, arch) is None:
            return Fit(runs=True, note=note)
    return Fit(runs=False, note=str(unfit(method, params, arch)))


def _params(method: type[Method[Any]], **more: Any) -> Params | None:
    """Return parameters that a method takes, nothing asked for beyond what it must have."""
    for given in _GIVEN:
        try:
            return method.params_type.model_validate({**given, **more})
        except ValidationError:
            continue
    return None


def _versions(method: type[Method[Any]], params: Params | None, arch: Any) -> str:
    """Return which versions run where only some do."""
    if params is None or getattr(method.resolve(params, arch), _VERSION, None) is None:
        return ""
    given = params.model_dump(exclude_unset=True)
    fitting = [
        version
        for version in _VERSIONS
        if (named := _params(method, **{**given, _VERSION: version})) is not None
        and unfit(method, named, arch) is None
    ]
    return "" if len(fitting) == len(_VERSIONS) else f"version {', '.join(fitting)}"
