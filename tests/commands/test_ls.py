from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.shipped import shipped_recipes


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", methods.names()),
        ("models", list(ARCHS)),
        ("datasets", datasets.names()),
        ("recipes", list(shipped_recipes())),
    ],
)
def test_everything_there_is_is_listed(kind: str, names: list[str]) -> None:
    done = CliRunner().invoke(app, ["ls", kind])
    assert done.exit_code == 0
    first_words = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert set(names) <= first_words


def test_every_method_says_what_it_does_and_whose_it_is() -> None:
    for name in methods.names():
        kind = methods.load(name)
        assert kind.name == name
        assert kind.description
        assert kind.paper
    assert all(arch.description and arch.paper for arch in ARCHS.values())


def test_what_runs_on_a_model_is_told_with_the_reason() -> None:
    done = CliRunner().invoke(app, ["ls", "methods", "--model", "rfdetr-nano", "--json"])
    assert done.exit_code == 0
    rows = {row["method"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {*methods.names(), *methods.pairs()}
    assert rows["evit"] == {"method": "evit", "runs": "yes", "note": ""}
    assert rows["maskvd"]["note"] == "version C"
    assert rows["svit"]["runs"] == "no" and "windows of rfdetr-nano" in rows["svit"]["note"]


def test_a_model_is_for_methods_alone() -> None:
    done = CliRunner().invoke(app, ["ls", "metrics", "--model", "rfdetr-nano"])
    assert done.exit_code == 2
    assert "--model is for methods, not metrics" in done.stderr
    assert CliRunner().invoke(app, ["ls", "methods", "--model", "rfdetr"]).exit_code == 2


def test_an_unknown_kind_is_refused_with_the_near_miss() -> None:
    done = CliRunner().invoke(app, ["ls", "method"])
    assert done.exit_code == 2
    assert "unknown kind 'method' (did you mean 'methods'?)" in done.stderr
