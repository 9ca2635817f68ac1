"""What the table of methods and models says of single cells, beside what the methods say alone."""

from __future__ import annotations

import pytest

from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.matrix import Fit, fit
from maskvd_cli.methods.registry import methods


@pytest.mark.parametrize(
    ("method", "model", "expected"),
    [
        ("maskvd", "vitdet-b", Fit(runs=True)),
        ("maskvd", "vitdet-b-global", Fit(runs=True)),
        ("maskvd", "yolos-tiny", Fit(runs=True, note="version C")),
        ("rgtp", "vitdet-b", Fit(runs=True)),
        ("boxes-k+eventful", "vitdet-b", Fit(runs=True)),
        ("svit", "vitdet-ti-global", Fit(runs=True)),
        ("evit", "vivit-ti", Fit(runs=True, note="drop_blocks of your own")),
        ("evit", "rfdetr-nano", Fit(runs=True)),
        ("svit", "vitdet-b-global", Fit(runs=True, note="selectors to be trained")),
    ],
)
def test_what_a_cell_says(method: str, model: str, expected: Fit) -> None:
    assert fit(methods.load(method), get_arch(model)) == expected


def test_a_refusal_names_the_model() -> None:
    found = fit(methods.load("svit"), get_arch("vitdet-b"))
    assert not found.runs and "vitdet-b" in found.note
