"""`maskvd sweep`: run every point of a recipe, keep what is there, show the table."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_json,
    reading_annotations,
    say,
    shows_progress,
    sign_of_life,
    table_console,
    talk_console,
)
from maskvd_cli.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_POINTS_FAILED,
    MaskvdError,
    ResultError,
    UsageError,
)
from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted, every

_LONGEST_TALK = 48

if TYPE_CHECKING:
    from maskvd_cli.judge.rows import Report
    from maskvd_cli.recipe.load import LoadedRecipe
    from maskvd_cli.store.runs import Run
    from maskvd_cli.work.runner import Sweep, SweepOutcome
    from maskvd_cli.work.unit import Executor


def sweep(
    recipe: Annotated[
        str | None,
        typer.Argument(help="Recipe file, or the name of a shipped recipe. Default: demo."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Run the recipe on this dataset; without RECIPE the grid of its published table, "
            "or P and k_s where there is none for the model."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (sets dataset.root).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value; [a, b] makes a grid."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where result folders go.")] = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points and stop.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run, take over no earlier point.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed points again.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first N frames of each clip; results say so."),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Only try whether all runs: 2 clips of 4 frames, 1 round."),
    ] = False,
    executor: Annotated[
        str,
        typer.Option(help="Where points run: `maskvd ls executors`."),
    ] = "inline",
    unit_timeout: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds after which a point's process is ended."),
    ] = None,
    unit_memory: Annotated[
        int | None,
        typer.Option(min=1, help="MiB of memory above which a point's process is ended."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a recipe's points and store one result file per point.

    With weights the model runs, and the recipe's metrics are measured: the headline of its task
    (mAP50 of detection), latency, peak memory. Without, the annotated boxes stand for the model's,
    and tokens, GMACs and state are planned.

    The same command goes on where it stopped: finished points, clips and latency rounds are kept.
    Ctrl-C leaves a valid folder. With `--executor process` a point that crashes, hangs or runs out
    of memory fails alone.

    Ends with the table of `maskvd report`; with --quiet without it, with --json with its rows.

    Examples: maskvd sweep --dataset kitti --root DIR
    · maskvd sweep recipes/kitti-table1.yaml --set methods.maskvd.period=[4,8] --results OUT
    """
    try:
        subset = [f"limit.frames={limit}"] if limit else []
        subset += ["smoke=true"] if smoke else []
        loaded = load_named(recipe, dataset, root, [*subset, *(set_ or [])])
        if dry_run:
            _print_plan(loaded, as_json=as_json)
            return
        perform = _Performing(executor, unit_timeout, unit_memory)
        outcome = _run(loaded, results, perform, fresh=fresh, retry_failed=retry_failed)
    except KeyboardInterrupt:
        say("interrupted before the first point; nothing was lost")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _print_outcome(outcome, quiet=quiet, as_json=as_json)
    if outcome.failed or outcome.unmeasured:
        raise typer.Exit(EXIT_POINTS_FAILED)


def load_named(
    recipe: str | None, dataset: str | None, root: Path | None, assignments: list[str]
) -> LoadedRecipe:
    """Return the recipe that is named, else the dataset's table or grid, else the demo."""
    from maskvd_cli.recipe.load import load_recipe
    from maskvd_cli.recipe.shipped import find_recipe, shipped_recipes
    from maskvd_cli.work.catalog import catalog

    if recipe is None and dataset is None:
        recipe = "demo"
        say("no recipe is named: this is the demo; others: maskvd ls recipes")
    first: list[str] = []
    if dataset is not None:
        first.append(f"dataset.name={dataset}")
        if recipe is None:
            table = shipped_recipes().get(f"{dataset}-table1")
            recipe = str(table) if table and _is_of_its_model(table, assignments) else "maskvd-grid"
        if recipe == "maskvd-grid":
            first.append(f"name={dataset}-grid")
    if root is not None:
        first.append(f"dataset.root={root}")
    assert recipe is not None
    return load_recipe(find_recipe(recipe), catalog(), [*first, *assignments])


def _is_of_its_model(table: Path, assignments: list[str]) -> bool:
    """Tell whether a published table's recipe stays about its model, whose versions it lists."""
    from maskvd_cli.recipe import overrides
    from maskvd_cli.recipe.source import read_file

    _, document = read_file(table)
    its = document.data["model"]["name"]
    overrides.apply(document, [one for one in assignments if one.startswith("model")])
    model = document.data["model"]
    return isinstance(model, dict) and model.get("name", its) == its


def _print_plan(loaded: LoadedRecipe, *, as_json: bool) -> None:
    from maskvd_cli.work.runner import plan_tasks, prepare

    tasks, detections, reason = plan_tasks(loaded)
    names = [task.label for task in tasks]
    try:
        with reading_annotations():
            names = [point.key for point in prepare(loaded).points]
    except MaskvdError as error:
        say(f"note: the sweep itself cannot start yet: {error}")
    if as_json:
        print_json({"detections": detections, "points": names})
    else:
        for name in names:
            print(shown(name))
    say(f"{counted(len(names), 'point')}; masks from {detections}: {reason}; nothing was run")


@dataclass(frozen=True)
class _Performing:
    """The executor's name, and what one unit of work may take."""

    name: str
    seconds: float | None
    mebibytes: int | None

    def executor(self, sweep: Sweep) -> Executor:
        """Return the executor. Raises MaskvdError for an unknown one or limits it cannot keep."""
        from maskvd_cli.work.executors.registry import executors
        from maskvd_cli.work.unit import Limits

        kind = executors.load(self.name)
        if not kind.keeps_limits and (self.seconds, self.mebibytes) != (None, None):
            raise UsageError(
                f"the executor {self.name} keeps no limits of time or memory",
                remedy="add `--executor process`",
            )
        return kind(lambda loaded: sweep, Limits(self.seconds, self.mebibytes))


def _run(
    loaded: LoadedRecipe,
    results: Path,
    perform: _Performing,
    *,
    fresh: bool,
    retry_failed: bool,
) -> SweepOutcome:
    from maskvd_cli.work.runner import choose_run, prepare, run_sweep

    with reading_annotations():
        sweep = prepare(loaded)
    executor = perform.executor(sweep)
    run, earlier = choose_run(sweep, results, fresh=fresh)
    say(f"masks from {sweep.scene.detections}: {sweep.detections_reason}")
    for note in sweep.notes():
        say(f"note: {note}")
    try:
        with _Progress(len(sweep.points) * (1 + sweep.passes)) as progress:
            return run_sweep(
                sweep,
                run,
                earlier,
                retry_failed=retry_failed,
                executor=executor,
                on_point=progress.advance,
                on_measured=progress.advance,
                on_talk=progress.talk,
            )
    except KeyboardInterrupt:
        _say_interrupted(sweep, run)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _say_interrupted(sweep: Sweep, run: Run) -> None:
    done = sum(1 for point in sweep.points if run.has(point.key))
    command = shlex.join(["maskvd", *(word for word in sys.argv[1:] if word != "--fresh")])
    say(
        f"interrupted: {done} of {counted(len(sweep.points), 'point')} "
        f"{'is' if done == 1 else 'are'} stored in {run.folder}"
    )
    say(f"go on with: {command}")


def _print_outcome(outcome: SweepOutcome, *, quiet: bool, as_json: bool) -> None:
    from maskvd_cli.judge.rows import read_report
    from maskvd_cli.render.console import print_report
    from maskvd_cli.render.formats import to_json
    from maskvd_cli.store.reading import is_regular

    total = len(outcome.ran) + len(outcome.present)
    whole = every(total, "point")
    present, verb = ("is", "was") if total == 1 else ("are", "were")
    if not outcome.ran and outcome.measured:
        say(f"{whole} {verb} there; measured what was missing: {outcome.run.folder}")
    elif not outcome.ran:
        say(f"nothing to run: {whole} of this recipe {present} in {outcome.run.folder}")
    else:
        taken = f", {len(outcome.present)} were there" if outcome.present else ""
        say(f"{counted(len(outcome.ran), 'point')} run{taken}: {outcome.run.folder}")
    if outcome.failed:
        say(
            f"{len(outcome.failed)} of {counted(total, 'point')} failed, see the table; "
            "--retry-failed runs them again"
        )
    if outcome.unmeasured:
        say(
            f"{counted(len(outcome.unmeasured), 'measurement')} failed, see the table; "
            "--retry-failed makes them again"
        )
    made = read_report(outcome.run)
    if outcome.ran or outcome.measured or not is_regular(_picture(made)):
        _draw(made)
    if as_json:
        sys.stdout.write(to_json(made))
    elif not quiet:
        print_report(made, table_console())
        say(f"as a file: maskvd report {outcome.run.folder} -o {outcome.run.folder.parent.name}.md")


def _picture(made: Report) -> Path:
    """Return where the picture of a run lies: named after the headline."""
    return made.run.folder / f"{made.legend.headline}-latency.png"


def _draw(made: Report) -> None:
    """Draw the headline against cost into the run's folder, where both were measured."""
    from maskvd_cli.judge.rows import has_tradeoff

    if has_tradeoff(made.rows, made.legend).any():
        from maskvd_cli.render.tradeoff import draw_tradeoff

        picture = _picture(made)
        try:
            draw_tradeoff(picture, made)
        except ResultError as error:  # a finished run on a read-only disk, say
            say(f"note: no picture was drawn: {error}")
        else:
            say(f"picture: {picture}")


class _Progress:
    """A progress bar on stderr with time left; where stderr is no terminal, a line a minute."""

    def __init__(self, total: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console, self._doing = talk_console(), "points"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not shows_progress(console),
        )
        self._task = self._bar.add_task("points", total=total)
        self._sign = sign_of_life(self._text, every=60)

    def __enter__(self) -> _Progress:
        self._bar.start()
        self._sign.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._sign.__exit__(None, None, None)
        self._bar.stop()

    def _text(self) -> str:
        task = self._bar.tasks[0]
        return f"{self._doing}, {task.completed:.0f} of {task.total:.0f} steps done"

    def advance(self, record: object) -> None:
        """Count one more point, or one more pass over a point."""
        self._bar.advance(self._task)

    def talk(self, text: str) -> None:
        """Say what is being done."""
        from maskvd_cli.render.safe_console import literal

        self._doing = text[:_LONGEST_TALK]
        self._bar.update(self._task, description=literal(self._doing))
