"""`maskvd tune`: search a method's parameters under a constraint on mAP50."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

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
    from maskvd_cli.tuning.journal import Journal, Objective, Trial
    from maskvd_cli.tuning.search import Outcome


def tune(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")
    ] = "demo",
    method: Annotated[str, typer.Option(help="The method whose parameters vary.")] = "maskvd",
    objective: Annotated[
        str, typer.Option(help="What becomes small: latency, gmacs, tokens or peak.")
    ] = "latency",
    max_map_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Most points of mAP50 that may be lost against dense. Default: 1 where mAP50 is "
            "measured.",
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
    """Search a method's parameters under a limit on lost mAP50.

    Finds the point that is fastest, or best by --objective, and loses no more than --max-map-drop.

    RECIPE gives dataset, model, weights and protocols; dense and the trials take the place of its
    methods. Each trial is an ordinary point: mAP50 comes first, and what loses too much is not
    timed. Latency counts as a share of dense's in the same session, since milliseconds drift.
    Without weights, --objective gmacs and tokens are planned, and there is no mAP50 to hold.

    At the end the finalists, at most five of the front, are measured again, interleaved with dense,
    and the choice is made from that: the best of many noisy measurements is partly luck. Points
    that noise cannot tell apart are decided by mAP50.

    Ctrl-C, or a kill, loses at most the running trial; the same command goes on. More --trials go
    on, too. Exit code 3 where no trial is allowed.

    Examples: maskvd tune demo --max-map-drop 1.0 -o best.yaml
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
        bench = _bench(loaded, method, objective, max_map_drop, model, space or [])
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
    max_map_drop: float | None,
    model: str | None,
    given: list[str],
) -> Bench:
    from maskvd_cli.methods.registry import methods
    from maskvd_cli.scenes.geometry import Geometry
    from maskvd_cli.tuning.bench import Bench, tuned_recipe
    from maskvd_cli.tuning.goal import goal_of
    from maskvd_cli.tuning.journal import Objective
    from maskvd_cli.tuning.space import declared_ranges, space_of
    from maskvd_cli.work.plan import detections_of

    if objective not in get_args(Objective):
        raise UsageError(unknown("objective", objective, get_args(Objective)))
    wanted: Objective = objective  # pyright: ignore[reportAssignmentType] - checked above
    if not methods.knows(method):
        raise UsageError(unknown("method", method, methods.names()))
    single = tuned_recipe(loaded, method, model)
    goal = goal_of(single.recipe, wanted, max_map_drop)
    geometry = Geometry.of(single.recipe, single.recipe.model.input[0])
    with_scores = detections_of(single.recipe)[0] == "model"
    declared = declared_ranges(
        method, geometry.grid.area, geometry.arch.patch, with_scores=with_scores
    )
    space = space_of(method, methods.load(method).params_type, declared, given)
    with reading_annotations():
        return Bench(single, method, space, goal)


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
    """Show on a terminal's stderr what is being done."""

    console = talk_console()
    if not shows_progress(console):
        yield lambda text: None
        return
    with console.status("starting") as status:
        yield status.update


class _Heard:
    """Says a line about every trial as it ends, with the best so far."""

    def __init__(self, bench: Bench, trials: int) -> None:
        self._bench, self._trials = bench, trials
        self._best: Trial | None = None

    def __call__(self, trial: Trial, is_new: bool) -> None:
        from maskvd_cli.tuning.ending import cost_header, cost_text, trial_text

        goal, best = self._bench.goal, self._best
        if trial.number and trial.cost is not None and goal.allows(trial):
            below = best is None or best.cost is None or trial.cost.value < best.cost.value
            best = self._best = trial if below else best
        if not is_new:
            return
        head = f"trial {trial.number}/{self._trials}: " if trial.number else ""
        tail = ""
        if trial.number:
            tail = "; none allowed so far" if best is None else (
                f"; best so far: {cost_header(goal)} {cost_text(goal, best.cost)}, "
                f"trial {best.number}"
            )  # fmt: skip
        say(f"{head}{trial_text(goal, trial)}{tail}")


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
    from rich.markup import escape
    from rich.table import Table

    from maskvd_cli.tuning.ending import change_text, cost_header, cost_text, shown_trials

    goal = bench.goal
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("point", overflow="fold")
    for name in (cost_header(goal), "mAP50", "change (points)"):
        table.add_column(name, justify="right")
    table.add_column("")
    chosen = outcome.choice.trial.number if outcome.choice else None
    for trial in shown_trials(outcome):
        note = "chosen" if trial.number == chosen else "" if goal.allows(trial) else "over"
        table.add_row(
            str(trial.number or ""), escape(trial.label), cost_text(goal, trial.cost),
            "-" if trial.map50 is None else f"{trial.map50:.2f}",
            change_text(trial) if trial.number else "-", note,
        )  # fmt: skip
    table_console().print(table)


def _draw(bench: Bench, outcome: Outcome) -> Path | None:
    """Draw what was explored beside the results; None where that has no mAP50."""
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
