"""What a search ends with: sentences, table and picture, of any headline and baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maskvd_cli.store.runs import Run
from maskvd_cli.tuning.choice import choose, finalists
from maskvd_cli.tuning.ending import is_in_the_mean_only, shown_trials, verdict
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Journal, Trial, Tune
from maskvd_cli.tuning.picture import draw_search
from maskvd_cli.tuning.search import Outcome
from maskvd_cli.tuning.words import axis_title, cost_text, noted_text

from .trials import ERROR, goal, trial

SURE, MEAN = (-0.2, -0.6, 0.2), (-0.5, -1.5, 0.5)
BASELINE = trial(0, (1.0,), 50.0, (0.0,), label="plain", key="plain")


def ended(made_for: Goal, trials: list[Trial], baseline: Trial = BASELINE) -> Outcome:
    content = Tune(settings={"seed": 0}, optuna="5.0", created="2026-01-01T00:00:00Z")
    found = finalists(trials, made_for)
    choice = choose(found, made_for)
    journal = Journal(Run(Path("nowhere")), content)
    return Outcome(journal, baseline, trials, choice, found, "over", None)


def test_a_choice_in_the_mean_only_says_so_aloud() -> None:
    outcome = ended(goal(), [trial(1, (0.5,), 49.5, MEAN), trial(2, (0.4,), 45.0, (-5.0,))])
    lines = verdict(goal(), outcome)
    assert is_in_the_mean_only(goal(), outcome)
    assert lines[0].startswith("Chosen, IN THE MEAN ONLY: maskvd 1: mAP50 49.50 (-0.50 [")
    assert lines[1].startswith("The limit holds IN THE MEAN ONLY: mAP50 -0.50 [-1.50, +0.50]")
    assert "No trial holds it with the whole interval." in lines[1]


def test_a_sure_choice_names_what_was_cheaper_in_the_mean() -> None:
    trials = [trial(1, (0.5,), 49.5, MEAN), trial(2, (0.8,), 49.8, SURE)]
    outcome = ended(goal(), trials)
    lines = verdict(goal(), outcome)
    assert not is_in_the_mean_only(goal(), outcome)
    assert lines[0].startswith("Chosen: maskvd 2: ")
    assert "with the whole 95 % interval" in lines[1]
    assert lines[2].startswith("Cheaper, but within the limit in the mean only: maskvd 1: ")
    assert not any("MEAN ONLY" in line for line in lines)


def test_sentences_take_their_names_from_headline_and_baseline() -> None:
    made_for = replace(goal("gmacs", 1.0, ERROR), baseline="plain")
    trials = [trial(1, (1.0,), 5.5, (0.5, 0.2, 0.8)), trial(2, (1.0,), 5.2, (0.2, 0.1, 0.3))]
    text = " ".join(verdict(made_for, ended(made_for, trials)))
    assert "mean error 5.2 (+0.2 [+0.1, +0.3])" in text
    assert "keep plain" in text
    assert "mAP" not in text and "dense" not in text
    several = [trial(1, (1.0,), 5.5, (0.5, 0.1, 0.9)), trial(2, (1.0,), 5.2, (0.2, -0.2, 0.6))]
    text = " ".join(verdict(made_for, ended(made_for, several)))
    assert "the lower mean error decided" in text
    over = [trial(1, (0.5,), 8.5, (3.5,))]
    assert "loses at most 1 point of mean error" in verdict(made_for, ended(made_for, over))[0]


@pytest.mark.parametrize(
    ("change", "note"),
    [(SURE, ""), (MEAN, ", in the mean only"), ((-3.0, -4.0, -2.0), ", over the limit")],
)
def test_a_line_tells_how_a_trial_stands_to_the_limit(change: tuple[float, ...], note: str) -> None:
    line = noted_text(goal(), trial(1, (0.5,), 49.5, change))
    assert line.partition("time / dense 0.500")[2] == note


def test_an_untimed_trial_over_the_limit_says_so() -> None:
    line = noted_text(goal(), trial(1, None, 40.0, (-10.0,)))
    assert line.endswith("over the limit, not measured further")


def test_values_are_written_as_their_quantities_say() -> None:
    assert cost_text(goal("gmacs"), trial(1, (1.006,)).cost) == "1.01"
    assert cost_text(goal("peak"), trial(1, (99.6,)).cost) == "100"
    assert cost_text(goal("keep_rate"), trial(1, (0.25,)).cost) == "25.0"
    assert cost_text(goal(), None) == "-"
    assert axis_title(goal("peak").objective.shown) == "peak MiB"
    assert axis_title(goal().headline) == "mAP50 (%)"
    assert axis_title(goal("keep_rate").objective.shown) == "keep %"


def test_the_table_shows_the_front_with_the_baseline_last_where_it_is_beaten() -> None:
    trials = [trial(1, (0.5,), 50.5, (0.5, 0.1, 0.9)), trial(2, (0.7,), 49.0, (-1.0, -1.1, -0.9))]
    assert shown_trials(goal(), ended(goal(), trials)) == [trials[0], BASELINE]
    unknown = trial(0, (1.0,), None, None, label="plain", key="plain")
    several = [trial(n, (float(n),), None, None) for n in range(1, 9)]
    without = goal("gmacs", None)
    shown = shown_trials(without, ended(without, several, unknown))
    assert [one.number for one in shown] == [1, 2, 3, 4, 5, 0]


def test_the_picture_shows_how_trials_stand_to_the_limit(tmp_path: Path) -> None:
    made_for = replace(goal("latency", 1.0, ERROR), baseline="plain")
    trials = [
        trial(1, (0.5, 0.4, 0.6), 5.2, (0.2, 0.1, 0.3)),
        trial(2, (0.4, 0.3, 0.5), 5.9, (0.9, 0.1, 1.7)),
        trial(3, (0.3, 0.2, 0.4), 7.0, (2.0, 1.5, 2.5)),
        trial(4, None, 8.0, (3.0, 2.5, 3.5)),
    ]
    outcome = ended(made_for, trials, trial(0, (1.0,), 5.0, (0.0,), label="plain", key="plain"))
    path = tmp_path / "front.svg"
    assert draw_search([path], outcome, made_for, "title")
    text = path.read_text()
    for words in (
        "allowed (1)", "allowed in the mean only (1)", "over the limit (1)", "limit: plain + 1",
        "1 over the limit were not measured further", "mean error (px)", "time / dense", "chosen",
    ):  # fmt: skip
        assert words in text, words
    unknown = goal("gmacs", None)
    baseline = trial(0, (1.0,), None, None)
    nothing = ended(unknown, [trial(1, (1.0,), None, None)], baseline)
    assert not draw_search([path], nothing, unknown, "title")
