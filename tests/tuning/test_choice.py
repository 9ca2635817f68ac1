"""Which trial is taken: never one over the limit, and by mAP50 what noise cannot tell apart."""

from __future__ import annotations

from maskvd_cli.tuning.choice import choose, explored_front, finalists, how_sure, nearest
from maskvd_cli.tuning.goal import Goal

from .trials import trial

LATENCY = Goal("latency", 1.0)


def test_the_cheapest_allowed_trial_is_chosen() -> None:
    trials = [
        trial(1, (0.5,), 40.0, (-1.01,)),
        trial(2, (0.7,), 49.5, (-1.0,)),
        trial(3, (0.9,), 50.0, (0.0,)),
        trial(4, None, None, None, state="failed", failure="no"),
    ]
    chosen = choose(finalists(trials, LATENCY))
    assert chosen is not None
    assert chosen.trial.number == 2
    assert not chosen.equal


def test_what_lies_within_the_cheapest_ones_interval_is_decided_by_map50() -> None:
    trials = [
        trial(1, (0.50, 0.45, 0.56), 49.0),
        trial(2, (0.55, 0.51, 0.60), 49.8),
        trial(3, (0.60, 0.54, 0.75), 50.0),
    ]
    chosen = choose(trials)
    assert chosen is not None
    assert chosen.trial.number == 2
    assert [other.number for other in chosen.equal] == [1]
    apart = choose([trials[0], trials[2]])
    assert apart is not None
    assert apart.trial.number == 1


def test_noise_of_both_decides_what_is_equal() -> None:
    # Beyond the cheapest one's own interval, but within that of both together.
    trials = [trial(1, (0.50, 0.46, 0.54), 49.0), trial(2, (0.55, 0.51, 0.59), 49.8)]
    chosen = choose(trials)
    assert chosen is not None
    assert (chosen.trial.number, [other.number for other in chosen.equal]) == (2, [1])


def test_trials_that_noise_does_not_tell_apart_all_stay_on_the_front() -> None:
    trials = [
        trial(1, (0.50, 0.47, 0.53), 49.0, (-1.0, -1.5, -0.5)),
        trial(2, (0.51, 0.48, 0.54), 48.9, (-1.1, -1.6, -0.6)),
        trial(3, (0.70, 0.67, 0.73), 48.9, (-1.1, -1.6, -0.6)),
    ]
    assert [one.number for one in explored_front(trials)] == [1, 2]


def test_the_front_holds_no_dominated_trial_and_a_point_once() -> None:
    trials = [
        trial(1, (3.0,), 50.0),
        trial(2, (2.0,), 49.0),
        trial(3, (2.5,), 48.0),
        trial(4, (2.0,), 49.0, key="key-2"),
        trial(5, None, 51.0),
    ]
    assert [found.number for found in explored_front(trials)] == [2, 1]


def test_at_most_five_finalists_and_none_over_the_limit() -> None:
    allowed = [trial(n, (float(n),), 40.0 + n, (-0.5,)) for n in range(1, 9)]
    over = trial(9, (0.1,), 39.0, (-3.0,))
    assert [found.number for found in finalists([*allowed, over], LATENCY)] == [1, 2, 3, 4, 5]
    assert choose(finalists([over], LATENCY)) is None


def test_the_nearest_loses_least() -> None:
    trials = [trial(1, None, 40.0, (-4.0,)), trial(2, None, 42.0, (-2.0,))]
    found = nearest(trials)
    assert found is not None
    assert found.number == 2


def test_how_sure_tells_the_whole_interval_from_the_mean() -> None:
    assert "whole 95 % interval" in how_sure(trial(1, (1.0,), 50.0, (-0.4, -1.0, 0.2)), LATENCY)
    assert "mean only" in how_sure(trial(1, (1.0,), 50.0, (-0.4, -1.1, 0.2)), LATENCY)
    assert "without an interval" in how_sure(trial(1, (1.0,), 50.0, (-0.4,)), LATENCY)
    assert "No mAP50" in how_sure(trial(1, (1.0,), None, None), Goal("gmacs", None))
