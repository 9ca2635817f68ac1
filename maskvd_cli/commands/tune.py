"""`maskvd tune`: search a method's parameters under a limit on what the headline loses."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    new_file,
    print_json,
    reading_annotations,
    say,
    shows_progress,
    table_console,
    talk_console,
)
from maskvd_cli.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_POINTS_FAILED,
    UsageError,
    unknown,
)

if TYPE_CHECKING:
    from maskvd_cli.recipe.load import LoadedRecipe
    from maskvd_cli.tuning.bench import Bench, OnTalk
    from maskvd_cli.tuning.goal import Goal
    from maskvd_cli.tuning.journal import Journal, Trial
    from maskvd_cli.tuning.search import Outcome

# Seconds between two lines on what a trial is doing, where no terminal shows it.
_BETWEEN = 30.0


def tune(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")
    ] = "demo",
    method: Annotated[str, typer.Option(help="The method whose parameters vary.")] = "maskvd",
    objective: Annotated[
        str,
        typer.Option(
            help="What becomes small: latency, gmacs, tokens, peak, or the name of another "
            "quantity that has no noise and is better when lower."
        ),
    ] = "latency",
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss",
            "--max-map-drop",
            min=0,
            help="Most that may be lost of the headline quantity (mAP50 points for detection) "
            "against the baseline. Default: 1 where it is measured.",
        ),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="What to vary: 2,4,8 (values), 0.1:0.6 or 0.1:0.6:0.05 (range), one value (fixed) "
            "or default. May be repeated.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Points to try in all.")] = 30,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Begin no further trial after so long.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Which of the recipe's models. Default: where it runs the method."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (sets dataset.root).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first N frames of each clip; results say so."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where result folders go.")] = Path("results"),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the search.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the chosen point as a recipe (.yaml)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe of -o.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search a method's parameters under a limit on what the headline quantity loses.

    Finds the point that is fastest, or best by --objective, and loses no more than --max-loss of
    the task's headline quantity: points of mAP50 for detection. Points that hold the limit with
    their whole 95 % interval come first; where none does, the choice holds it in the mean only,
    and the verdict says so.

    RECIPE gives dataset, model, weights and protocols; the baseline and the trials take the place
    of its methods. Each trial is an ordinary point: the headline comes first, and what loses too
    much is not timed. Latency counts as a share of the baseline's in the same session, since
    milliseconds drift. Without weights, counted objectives such as gmacs and tokens are planned,
    and there is no headline to hold.

    At the end the finalists of a timed objective, at most five of the front, are measured again,
    interleaved with the baseline, and the choice is made from that: the best of many noisy
    measurements is partly luck. Points that noise cannot tell apart are decided by the headline.

    Ctrl-C, or a kill, loses at most the running trial; the same command goes on. More --trials go
    on, too. Exit code 3 where no trial is allowed.

    Examples: maskvd tune demo --max-loss 1.0 -o best.yaml
    · maskvd tune demo --method eventful --objective gmacs --space r=60:480:60 --trials 8
    """
    from maskvd_cli.tuning.search import Budget

    del quiet
    try:
        loaded = _load(recipe, root, limit, set_ or [])
        target = None
        if output is not None:
            given = loaded.recipe.dataset.root
            target = new_file(output, ".yaml", Path(given) if given else None, force=force)
        bench = _bench(loaded, method, objective, max_loss, model, space or [])
        journal = bench.open(results, seed)
    except KeyboardInterrupt:
        say("interrupted before the first trial; nothing was lost")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    for note in bench.notes():
        say(note)
    try:
        outcome = _search(bench, journal, Budget(trials, seconds))
    except KeyboardInterrupt:
        _say_interrupted(journal)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _print(bench, outcome, target, json_wanted=as_json)
    if outcome.choice is None:
        raise typer.Exit(EXIT_POINTS_FAILED)


def _load(recipe: str, root: Path | None, limit: int | None, given: list[str]) -> LoadedRecipe:
    from maskvd_cli.recipe.load import load_recipe
    from maskvd_cli.recipe.shipped import find_recipe
    from maskvd_cli.work.catalog import catalog

    first = [f"dataset.root={root}"] if root is not None else []
    first += [f"limit.frames={limit}"] if limit is not None else []
    return load_recipe(find_recipe(recipe), catalog(), [*first, *given])


def _bench(
    loaded: LoadedRecipe,
    method: str,
    objective: str,
    max_loss: float | None,
    model: str | None,
    given: list[str],
) -> Bench:
    from maskvd_cli.methods.registry import methods
    from maskvd_cli.scenes.geometry import Geometry
    from maskvd_cli.tuning.bench import Bench, tuned_recipe
    from maskvd_cli.tuning.goal import goal_of
    from maskvd_cli.tuning.space import declared_ranges, space_of
    from maskvd_cli.work.plan import detections_of

    if not methods.knows(method):
        raise UsageError(unknown("method", method, methods.names()))
    single = tuned_recipe(loaded, method, model)
    goal = goal_of(single.recipe, objective, max_loss)
    geometry = Geometry.of(single.recipe, single.recipe.model.input[0])
    with_scores = detections_of(single.recipe)[0] == "model"
    declared = declared_ranges(
        method, geometry.grid.area, geometry.arch.patch, with_scores=with_scores
    )
    space = space_of(method, methods.load(method).params_type, declared, given)
    with _reading():
        return Bench(single, method, space, goal)


@contextmanager
def _reading() -> Generator[None]:
    """Say on stderr that annotations are being read; on a terminal only while they are."""
    if not shows_progress(talk_console()):
        say("reading annotations")
    with reading_annotations():
        yield


def _search(bench: Bench, journal: Journal, budget: object) -> Outcome:
    from maskvd_cli.tuning.search import Budget, run_search

    assert isinstance(budget, Budget)
    kept = len(journal.trials)
    if kept:
        say(f"goes on after {kept} trials in {journal.run.folder}")
    else:
        say(f"searches {bench.space.size} points: {', '.join(bench.space.axes)}")
    with _talking() as talk:
        heard = _Heard(bench, budget.trials)
        return run_search(bench, journal, budget, on_trial=heard, on_talk=talk)


@contextmanager
def _talking() -> Generator[OnTalk]:
    """Say on stderr what is being done: on a terminal always, else now and then."""
    from maskvd_cli.render.safe_console import literal

    console = talk_console()
    if not shows_progress(console):
        yield _Seldom()
        return
    with console.status("starting") as status:
        yield lambda text: status.update(literal(text))


class _Seldom:
    """Says what is being done, at most every `_BETWEEN` seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._last >= _BETWEEN:
            say(text)
            self._last = time.monotonic()


class _Heard:
    """Says a line about every trial as it ends, with the best so far."""

    def __init__(self, bench: Bench, trials: int) -> None:
        self._bench, self._trials = bench, trials
        self._measured: list[Trial] = []

    def __call__(self, trial: Trial, is_new: bool) -> None:
        from maskvd_cli.tuning.words import noted_text

        if trial.number and trial.cost is not None:
            self._measured.append(trial)
        if not is_new:
            return
        head, tail = f"trial {trial.number}/{self._trials}: ", f"; {self._best()}"
        text = noted_text(self._bench.goal, trial)
        say(f"{head}{text}{tail}" if trial.number else text)

    def _best(self) -> str:
        """Return the cheapest of those that the choice would be made from."""
        from maskvd_cli.tuning.choice import cost_of
        from maskvd_cli.tuning.words import MEAN_ONLY, cost_header, cost_text

        goal = self._bench.goal
        best = min(goal.accepted(self._measured), key=cost_of, default=None)
        if best is None:
            return "none allowed so far"
        mark = "" if goal.holds(best) else f" ({MEAN_ONLY})"
        cost = f"{cost_header(goal)} {cost_text(goal, best.cost)}"
        return f"best so far: {cost}, trial {best.number}{mark}"


def _say_interrupted(journal: Journal) -> None:
    say(f"interrupted: {len(journal.trials)} trials are stored in {journal.run.folder}")
    say(f"go on with: {shlex.join(['maskvd', *sys.argv[1:]])}")


def _print(bench: Bench, outcome: Outcome, target: Path | None, *, json_wanted: bool) -> None:
    from maskvd_cli.store.atomic import write_bytes
    from maskvd_cli.tuning.ending import as_json, recipe_of, verdict

    folder = outcome.journal.run.folder
    say(f"{outcome.ended}: {folder}")
    if outcome.confirmed is not None:
        say(f"finalists, measured together: {outcome.confirmed.folder}")
    picture = _draw(bench, outcome)
    text = recipe_of(bench, outcome) if outcome.choice else ""
    if json_wanted:
        print_json(as_json(bench, outcome, picture))
    else:
        _print_table(bench, outcome)
        for line in verdict(bench.goal, outcome, bench.subset()):
            print(line)
        if text and target is None:
            print(f"\n# as a recipe, for maskvd sweep\n{text}", end="")
    if text and target is not None:
        write_bytes(target, text.encode())
        say(f"the chosen point as a recipe: {target}")


def _print_table(bench: Bench, outcome: Outcome) -> None:
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal
    from maskvd_cli.tuning.ending import shown_trials
    from maskvd_cli.tuning.words import NONE, change_text, cost_header, cost_text, quality_text

    goal = bench.goal
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("point", overflow="fold")
    change = f"change ({goal.change.unit})"
    for name in (cost_header(goal), goal.headline.header, change):
        table.add_column(name, justify="right")
    table.add_column("")
    chosen = outcome.choice.trial.number if outcome.choice else None
    for trial in shown_trials(goal, outcome):
        table.add_row(
            str(trial.number or ""),
            literal(trial.label),
            cost_text(goal, trial.cost),
            quality_text(goal, trial),
            change_text(goal, trial) if trial.number else NONE,
            _note(goal, trial, is_chosen=trial.number == chosen),
        )
    table_console().print(table)


def _note(goal: Goal, trial: Trial, *, is_chosen: bool) -> str:
    """Return whether a trial was chosen, and how it stands to the limit."""
    from maskvd_cli.tuning.words import note_of

    standing = note_of(goal, trial) if trial.number else ""
    return ", ".join(word for word in ("chosen" if is_chosen else "", standing) if word)


def _draw(bench: Bench, outcome: Outcome) -> Path | None:
    """Draw what was explored beside the results; None where that has no headline."""
    from maskvd_cli.tuning.picture import draw_search

    folder = outcome.journal.folder
    recipe = bench.loaded.recipe
    title = f"{recipe.name}: {len(outcome.trials)} points of {bench.method.name}"
    if subset := bench.subset():
        title += f" (SUBSET: {subset})"
    paths = [folder / "front.png", folder / "front.svg"]
    if not draw_search(paths, outcome, bench.goal, title):
        return None
    say(f"picture: {paths[0]} and .svg")
    return paths[0]
