"""The vocabulary of recipes, drawn from the registries."""

from __future__ import annotations

import pytest

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.methods.base import Params
from maskvd_cli.methods.dense import Dense
from maskvd_cli.work.catalog import catalog


class Named(Params):
    name: str = "x"


class Sized(Params):
    input: int = 1


@pytest.mark.parametrize(("params", "key"), [(Named, "name"), (Sized, "input")])
def test_parameters_cannot_be_called_as_what_entries_hold(
    params: type[Params], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dense, "params_type", params)
    with pytest.raises(MaskvdError, match=f"'dense' has a parameter called {key}, .*; rename it"):
        catalog().params_of("dense")
