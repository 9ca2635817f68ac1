"""What a plan says of methods: which point is the baseline itself."""

from __future__ import annotations

from typing import Any

import pytest

from maskvd_cli.store.schema import StoredMethod


def method(role: Any = "baseline", **defaults: Any) -> StoredMethod:
    return StoredMethod(role=role, description="", paper="", defaults=defaults)


@pytest.mark.parametrize(
    ("params", "is_baseline"),
    [
        ({}, True),
        ({"pool": None}, True),
        ({"pool": 1}, True),
        ({"pool": 2}, False),
        ({"pool": True}, False),
        ({"pool": 1.0}, False),
        ({"pool": "1"}, False),
        ({"pool": [1]}, False),
        ({"pool": 1, "other": 3}, False),
    ],
    ids=str,
)
def test_the_baseline_has_the_defaults_of_its_method(
    params: dict[str, object], is_baseline: bool
) -> None:
    assert method(pool=1).is_baseline(params) is is_baseline
    assert not method("control", pool=1).is_baseline(params)


def test_defaults_of_a_plug_in_are_its_own() -> None:
    theirs = method(depth=3, way="plain")
    assert theirs.is_baseline({"depth": 3, "way": "plain"})
    assert not theirs.is_baseline({"depth": 1, "way": "plain"})
