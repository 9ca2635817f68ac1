"""The search: propose, run, note, until trials, time or the space run out; then confirm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from maskvd_cli.store.locking import sole_writer
from maskvd_cli.store.runs import Run, new_run_id
from maskvd_cli.tuning.bench import Bench, OnTalk
from maskvd_cli.tuning.choice import Choice, choose, finalists
from maskvd_cli.tuning.journal import Confirmation, Journal, Trial
from maskvd_cli.tuning.proposals import propose
from maskvd_cli.work.runner import run_sweep

OnTrial = Callable[[Trial, bool], None]


@dataclass(frozen=True)
class Budget:
    """How many trials the search has in all, and seconds after which no further one begins."""

    trials: int
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a search ended with.

    `trials`: as the search saw them, without the baseline; `finalists`: those that the choice was
    made from, as they were measured last; `ended`: why; `confirmed`: the run that measured the
    finalists together, None where the objective has no noise.
    """

    journal: Journal
    baseline: Trial
    trials: list[Trial]
    choice: Choice | None
    finalists: list[Trial]
    ended: str
    confirmed: Run | None

    @property
    def explored(self) -> list[Trial]:
        """The trials, the finalists among them as they were measured last."""
        last = {trial.number: trial for trial in self.finalists}
        return [last.get(trial.number, trial) for trial in self.trials]


def run_search(
    bench: Bench,
    journal: Journal,
    budget: Budget,
    *,
    on_trial: OnTrial = lambda trial, is_new: None,
    on_talk: OnTalk = lambda text: None,
) -> Outcome:
    """Go on with a search to its end. `on_trial` hears of the baseline and each trial, and whether
    it ran.

    Raises UsageError where the baseline cannot run, ResultError while another search writes here.
    """
    with sole_writer(journal.folder, "search", "wait for it, or give another --results"):
        return _run(bench, journal, budget, on_trial, on_talk)


def _run(
    bench: Bench, journal: Journal, budget: Budget, on_trial: OnTrial, on_talk: OnTalk
) -> Outcome:
    started = time.monotonic()
    had_baseline = journal.content.baseline is not None
    # Named before anything runs, so that a search that is killed at once is found again.
    journal.change()
    baseline = journal.content.baseline or bench.run_baseline(journal.run, on_talk)
    if not had_baseline:
        journal.change(baseline=baseline)
    on_trial(baseline, not had_baseline)
    for trial in journal.trials[: budget.trials]:
        on_trial(trial, False)
    ended = f"all {budget.trials} trials are done"
    seed = int(journal.content.settings["seed"])
    while len(journal.trials) < budget.trials:
        if budget.seconds is not None and time.monotonic() - started >= budget.seconds:
            ended = f"the {budget.seconds:g} seconds are over"
            break
        params = propose(bench.space, journal.trials, bench.goal, seed)
        if params is None:
            ended = f"all {bench.space.size} points of the space were tried"
            break
        trial = bench.run_trial(journal.run, len(journal.trials) + 1, params, on_talk)
        journal.add(trial)
        on_trial(trial, True)
    bench.finish(journal.run)
    return _confirmed(bench, journal, baseline, budget, ended, on_talk)


def _confirmed(  # noqa: PLR0913, PLR0917 - the parts of `run_search`
    bench: Bench, journal: Journal, baseline: Trial, budget: Budget, ended: str, on_talk: OnTalk
) -> Outcome:
    """Choose; where the objective is noisy, after the finalists were measured side by side.

    The fastest of many noisy measurements owes part of its lead to chance. Measured anew, and
    interleaved with the baseline and each other, the finalists stand on equal and fresh samples.
    """
    trials, goal = journal.trials[: budget.trials], bench.goal
    found = finalists(trials, goal)
    if not goal.objective.is_noisy or not found:
        return Outcome(journal, baseline, trials, choose(found, goal), found, ended, None)
    keys = [trial.key or "" for trial in found]
    known = journal.content.confirmation
    if known is None or known.keys != keys:
        known = Confirmation(run=new_run_id(), keys=keys)
        journal.change(confirmation=known)
    run = Run(journal.run.folder.parent / known.run)
    sweep = bench.sweep([bench.task(trial.params) for trial in found])
    with run.lock():
        for point in sweep.points:
            _take_over(journal.run, run, point.key, goal.scored_by)
    on_talk("measuring the finalists together")
    run_sweep(sweep, run, (), on_talk=on_talk)
    again = [bench.read_again(run, trial) for trial in found]
    return Outcome(journal, baseline, trials, choose(again, goal), again, ended, run)


def _take_over(source: Run, run: Run, key: str, scores: str) -> None:
    """Copy a point and its scores, which nothing changes; the objective is left to be measured."""
    record = source.point(key)
    if record is None or run.has(key):
        return
    run.adopt(record, source)
    scored = source.measured(scores, key)
    if scored is not None:
        run.adopt_measured(scored, source)
