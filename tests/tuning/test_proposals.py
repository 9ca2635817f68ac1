"""What is tried next follows from the trials and the seed, and nothing is tried twice."""

from __future__ import annotations

from typing import Any

from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.proposals import propose
from maskvd_cli.tuning.space import Space

from .trials import goal, trial

SPACE = Space(
    {"period": (2, 4, 8, 16, 32), "rate": tuple(n / 20 for n in range(1, 19)), "mask": ("a", "b")},
    {"margin": 8},
)
GOAL = goal()


def cost_of(params: dict[str, Any]) -> float:
    return params["rate"] + 1 / params["period"]


def searched(seed: int, count: int, half: float | None = None) -> list[Trial]:
    """Search; a change has an interval of `half` to both sides, None: no interval."""
    trials: list[Trial] = []
    for number in range(count):
        params = propose(SPACE, trials, GOAL, seed)
        assert params is not None
        drop = 3 * (1 - cost_of(params))
        ends = () if half is None else (-drop - half, -drop + half)
        trials.append(
            trial(number + 1, (cost_of(params),), 50 - drop, (-drop, *ends), params=params)
        )
    return trials


def test_a_seed_gives_one_sequence_and_another_seed_another() -> None:
    first = [made.params for made in searched(0, 14)]
    assert first == [made.params for made in searched(0, 14)]
    assert first != [made.params for made in searched(1, 14)]
    assert all(params["margin"] == 8 for params in first)


def test_nothing_is_tried_twice_until_the_space_is_tried() -> None:
    small = Space({"period": (2, 4, 8), "mask": ("a", "b")}, {})
    trials: list[Trial] = []
    while (params := propose(small, trials, goal("gmacs", None), 0)) is not None:
        assert params not in [made.params for made in trials]
        trials.append(trial(len(trials) + 1, (1.0,), params=params))
    assert len(trials) == 6


def test_the_search_learns_from_cost_and_constraint() -> None:
    """The cheapest that is allowed costs 2/3; later trials lie nearer to it than random ones."""
    trials = searched(2, 40)
    best = min(cost_of(made.params) for made in trials if GOAL.allows(made))
    assert 2 / 3 <= best < 0.72
    away = [abs(cost_of(made.params) - 2 / 3) for made in trials]
    assert sum(away[20:]) / 20 < 0.7 * sum(away[:10]) / 10


def test_the_search_looks_for_what_surely_holds_once_there_is_such_a_trial() -> None:
    """With 0.3 points to both sides the cheapest that surely holds costs 1 - 0.7 / 3."""
    trials = searched(2, 40, half=0.3)
    best = min(cost_of(made.params) for made in trials if GOAL.holds(made))
    least = 1 - 0.7 / 3
    assert least <= best < least + 0.05
    near = [abs(cost_of(made.params) - least) < 0.1 for made in trials[20:]]
    by_the_mean = searched(2, 40)[20:]
    assert sum(near) > sum(abs(cost_of(made.params) - least) < 0.1 for made in by_the_mean)


def test_where_none_surely_holds_the_mean_is_looked_for() -> None:
    assert [one.params for one in searched(2, 30, half=5.0)] == [
        one.params for one in searched(2, 30)
    ]


def test_failed_trials_are_not_tried_again() -> None:
    failed = [
        trial(1, None, None, None, state="failed", failure="no", params=SPACE.params((0, 0, 0)))
    ]
    assert propose(SPACE, failed, GOAL, 0) != failed[0].params
