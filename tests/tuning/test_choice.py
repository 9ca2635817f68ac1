"""Which trial is taken: surely within the limit where one is, and by the headline what noise cannot
tell apart."""

from __future__ import annotations

import pytest

from maskvd_cli.tuning.choice import (
    cheaper_in_the_mean,
    choose,
    explored_front,
    finalists,
    how_sure,
    nearest,
)

from .trials import ERROR, goal, trial

LATENCY = goal()


def test_the_cheapest_allowed_trial_is_chosen() -> None:
    trials = [
        trial(1, (0.5,), 40.0, (-1.01,)),
        trial(2, (0.7,), 49.5, (-1.0,)),
        trial(3, (0.9,), 50.0, (0.0,)),
        trial(4, None, None, None, state="failed", failure="no"),
    ]
    chosen = choose(finalists(trials, LATENCY), LATENCY)
    assert chosen is not None
    assert chosen.trial.number == 2
    assert not chosen.equal


def test_a_limit_held_by_the_whole_interval_is_preferred_to_one_held_in_the_mean() -> None:
    trials = [
        trial(1, (0.4,), 49.5, (-0.5, -1.1, 0.1)),
        trial(2, (0.6,), 49.6, (-0.4, -1.0, 0.2)),
        trial(3, (0.3,), 49.5, (-0.5,)),
        trial(4, (0.9,), 50.0, (0.0, -0.2, 0.2)),
    ]
    assert [one.number for one in finalists(trials, LATENCY)] == [2, 4]
    chosen = choose(trials, LATENCY)
    assert chosen is not None
    assert (chosen.trial.number, chosen.equal) == (2, ())
    cheaper = cheaper_in_the_mean(trials, chosen.trial, LATENCY)
    assert cheaper is not None and cheaper.number == 3


def test_where_none_surely_holds_the_limit_the_mean_decides() -> None:
    trials = [
        trial(1, (0.4,), 49.5, (-0.5, -1.1, 0.1)),
        trial(2, (0.3,), 48.9, (-1.1, -1.2, -1.0)),
        trial(3, (0.6,), 49.9, (-0.1,)),
    ]
    chosen = choose(trials, LATENCY)
    assert chosen is not None and chosen.trial.number == 1
    assert not LATENCY.holds(chosen.trial)
    assert cheaper_in_the_mean(trials, chosen.trial, LATENCY) is None
    assert [one.number for one in finalists(trials, LATENCY)] == [1, 3]


def test_noise_of_the_cost_makes_no_trial_the_cheaper_one() -> None:
    chosen = trial(1, (0.50, 0.44, 0.56), 50.0, (0.0, -0.1, 0.1))
    near = trial(2, (0.49, 0.43, 0.55), 49.5, (-0.5, -2.0, 1.0))
    assert cheaper_in_the_mean([chosen, near], chosen, LATENCY) is None
    apart = trial(3, (0.30, 0.27, 0.33), 49.5, (-0.5, -2.0, 1.0))
    assert cheaper_in_the_mean([chosen, near, apart], chosen, LATENCY) is apart


def test_a_headline_of_which_less_is_better_is_lost_by_growing() -> None:
    lower = goal(headline=ERROR)
    trials = [
        trial(1, (0.3,), 6.5, (1.5, 1.2, 1.8)),
        trial(2, (0.4,), 5.8, (0.8, 0.5, 1.1)),
        trial(3, (0.5,), 5.5, (0.5, 0.1, 0.9)),
        trial(4, (0.5,), 5.2, (0.2, -0.2, 0.6)),
        trial(5, (0.9,), 4.0, (-1.0, -1.4, -0.6)),
    ]
    assert [lower.allows(one) for one in trials] == [False, True, True, True, True]
    assert [lower.holds(one) for one in trials] == [False, False, True, True, True]
    loss = lower.loss(trials[1])
    assert loss is not None and (loss.value, loss.low, loss.high) == (0.8, 0.5, 1.1)
    chosen = choose(trials, lower)
    assert chosen is not None
    assert (chosen.trial.number, [one.number for one in chosen.equal]) == (4, [3])
    near = nearest(trials[:3], lower)
    assert near is not None and near.number == 3
    worse = trial(6, (0.95,), 6.0, (1.0, 0.9, 1.1))
    assert [one.number for one in explored_front([*trials, worse], lower)] == [1, 2, 3, 4, 5]
    assert "mean error +0.8 [+0.5, +1.1] points" in how_sure(trials[1], lower)


@pytest.mark.parametrize(("change", "loss"), [((-0.5, -1.5, 0.25), (0.5, -0.25, 1.5))])
def test_a_loss_is_a_change_turned_round(
    change: tuple[float, ...], loss: tuple[float, ...]
) -> None:
    found = LATENCY.loss(trial(1, None, 49.5, change))
    assert found is not None
    assert (found.value, found.low, found.high) == loss


def test_what_lies_within_the_cheapest_ones_interval_is_decided_by_the_headline() -> None:
    trials = [
        trial(1, (0.50, 0.45, 0.56), 49.0),
        trial(2, (0.55, 0.51, 0.60), 49.8),
        trial(3, (0.60, 0.54, 0.75), 50.0),
    ]
    chosen = choose(trials, LATENCY)
    assert chosen is not None
    assert chosen.trial.number == 2
    assert [other.number for other in chosen.equal] == [1]
    apart = choose([trials[0], trials[2]], LATENCY)
    assert apart is not None
    assert apart.trial.number == 1


def test_noise_of_both_decides_what_is_equal() -> None:
    # Beyond the cheapest one's own interval, but within that of both together.
    trials = [trial(1, (0.50, 0.46, 0.54), 49.0), trial(2, (0.55, 0.51, 0.59), 49.8)]
    chosen = choose(trials, LATENCY)
    assert chosen is not None
    assert (chosen.trial.number, [other.number for other in chosen.equal]) == (2, [1])


def test_trials_that_noise_does_not_tell_apart_all_stay_on_the_front() -> None:
    trials = [
        trial(1, (0.50, 0.47, 0.53), 49.0, (-1.0, -1.5, -0.5)),
        trial(2, (0.51, 0.48, 0.54), 48.9, (-1.1, -1.6, -0.6)),
        trial(3, (0.70, 0.67, 0.73), 48.9, (-1.1, -1.6, -0.6)),
    ]
    assert [one.number for one in explored_front(trials, LATENCY)] == [1, 2]


def test_the_front_holds_no_dominated_trial_and_a_point_once() -> None:
    trials = [
        trial(1, (3.0,), 50.0),
        trial(2, (2.0,), 49.0),
        trial(3, (2.5,), 48.0),
        trial(4, (2.0,), 49.0, key="key-2"),
        trial(5, None, 51.0),
    ]
    assert [found.number for found in explored_front(trials, LATENCY)] == [2, 1]


def test_at_most_five_finalists_and_none_over_the_limit() -> None:
    allowed = [trial(n, (float(n),), 40.0 + n, (-0.5,)) for n in range(1, 9)]
    over = trial(9, (0.1,), 39.0, (-3.0,))
    assert [found.number for found in finalists([*allowed, over], LATENCY)] == [1, 2, 3, 4, 5]
    assert choose(finalists([over], LATENCY), LATENCY) is None
    assert choose([over], LATENCY) is None


def test_the_nearest_loses_least() -> None:
    trials = [trial(1, None, 40.0, (-4.0,)), trial(2, None, 42.0, (-2.0,))]
    found = nearest(trials, LATENCY)
    assert found is not None
    assert found.number == 2


def test_how_sure_tells_the_whole_interval_from_the_mean() -> None:
    assert "whole 95 % interval" in how_sure(trial(1, (1.0,), 50.0, (-0.4, -1.0, 0.2)), LATENCY)
    unsure = how_sure(trial(1, (1.0,), 50.0, (-0.4, -1.1, 0.2)), LATENCY)
    assert "IN THE MEAN ONLY" in unsure
    assert "mAP50 -0.40 [-1.10, +0.20] points; a loss of 1 point is allowed" in unsure
    alone = how_sure(trial(1, (1.0,), 50.0, (-0.4,)), LATENCY)
    assert "IN THE MEAN ONLY" in alone and "without an interval" in alone
    assert "No mAP50" in how_sure(trial(1, (1.0,), None, None), goal("gmacs", None))
