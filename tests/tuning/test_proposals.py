"""What is tried next follows from the trials and the seed, and nothing is tried twice."""

from __future__ import annotations

from typing import Any

from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.proposals import propose
from maskvd_cli.tuning.space import Space

from .trials import trial

SPACE = Space(
    {"period": (2, 4, 8, 16, 32), "rate": tuple(n / 20 for n in range(1, 19)), "mask": ("a", "b")},
    {"margin": 8},
)


def cost_of(params: dict[str, Any]) -> float:
    return params["rate"] + 1 / params["period"]


def searched(seed: int, count: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        params = propose(SPACE, trials, 1.0, seed)
        assert params is not None
        drop = 3 * (1 - cost_of(params))
        trials.append(trial(number + 1, (cost_of(params),), 50 - drop, (-drop,), params=params))
    return trials


def test_a_seed_gives_one_sequence_and_another_seed_another() -> None:
    first = [made.params for made in searched(0, 14)]
    assert first == [made.params for made in searched(0, 14)]
    assert first != [made.params for made in searched(1, 14)]
    assert all(params["margin"] == 8 for params in first)


def test_nothing_is_tried_twice_until_the_space_is_tried() -> None:
    small = Space({"period": (2, 4, 8), "mask": ("a", "b")}, {})
    trials: list[Trial] = []
    while (params := propose(small, trials, None, 0)) is not None:
        assert params not in [made.params for made in trials]
        trials.append(trial(len(trials) + 1, (1.0,), params=params))
    assert len(trials) == 6


def test_the_search_learns_from_cost_and_constraint() -> None:
    """The cheapest that is allowed costs 2/3; later trials lie nearer to it than random ones."""
    trials = searched(2, 40)
    best = min(cost_of(made.params) for made in trials if (made.map50_drop or 0) <= 1)
    assert 2 / 3 <= best < 0.72
    away = [abs(cost_of(made.params) - 2 / 3) for made in trials]
    assert sum(away[20:]) / 20 < 0.7 * sum(away[:10]) / 10


def test_failed_trials_are_not_tried_again() -> None:
    failed = [
        trial(1, None, None, None, state="failed", failure="no", params=SPACE.params((0, 0, 0)))
    ]
    assert propose(SPACE, failed, 1.0, 0) != failed[0].params
