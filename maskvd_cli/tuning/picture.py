"""Picture: what a search explored, the headline against the objective."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place, front_line
from maskvd_cli.render.chart.pyplot import draw_panel, handle, level_handle
from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.tuning.choice import explored_front
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.search import Outcome
from maskvd_cli.tuning.words import MEAN_ONLY, axis_title, scale_of

_DOTS_PER_INCH = 150
_SIZE_INCHES = (7.5, 4.8)
_ALLOWED, _OVER, _CHOSEN = "#0072b2", "#999999", "#d55e00"


def draw_search(paths: Sequence[Path], outcome: Outcome, goal: Goal, title: str) -> bool:
    """Write the picture, PNG or SVG by the files' suffixes; False where no headline was measured.

    Trials over the limit whose objective was not measured are counted in the title.
    """
    trials = outcome.explored
    drawn = [trial for trial in trials if trial.cost is not None and trial.quality is not None]
    if outcome.baseline.quality is None or not drawn:
        return False
    figure = Figure(_SIZE_INCHES)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    axis: Any = figure.subplots()
    panel = _panel(drawn, outcome, goal)
    draw_panel(axis, panel)
    entries = [*map(handle, panel.lines), *map(level_handle, panel.levels)]
    figure.legend(
        handles=entries, fontsize=8, frameon=False, loc="outside lower center", ncols=len(entries)
    )
    hidden = sum(trial.state == "ok" and trial.cost is None for trial in trials)
    note = f"\n{hidden} over the limit were not measured further" if hidden else ""
    figure.suptitle(f"{title}{note}", fontsize=10)
    for path in paths:
        kind = path.suffix.lstrip(".")
        write_atomic(
            path, lambda temporary, kind=kind: figure.savefig(
                temporary, format=kind, dpi=_DOTS_PER_INCH
            ),
        )  # fmt: skip
    return True


def _panel(drawn: Sequence[Trial], outcome: Outcome, goal: Goal) -> Panel:
    """Return the trials, their front, the baseline, the limit and the choice."""
    baseline, lines = outcome.baseline, list(_groups(drawn, goal))
    lines.append(front_line(_places(explored_front(drawn, goal), goal), _ALLOWED, "front"))
    if baseline.cost is not None:
        star = Look("#000000", "*", dash=None, size=3.2)
        lines.append(_one(goal.baseline, baseline, star, goal))
    if outcome.choice is not None:
        ring = Look(_CHOSEN, "o", hollow=True, dash=None, size=3.2)
        lines.insert(0, _one("chosen", outcome.choice.trial, ring, goal))
    levels: list[Level] = []
    if goal.max_loss is not None and baseline.quality is not None:
        sign, way = ("-", -1) if goal.more_is_better else ("+", 1)
        label = f"limit: {goal.baseline} {sign} {goal.max_loss:g}"
        limit = baseline.quality + way * goal.max_loss
        levels.append(Level(limit, label, Look(_OVER, "", dash=1)))
    across = Axis(axis_title(goal.objective.shown), from_zero=True)
    return Panel(across, Axis(axis_title(goal.headline)), lines, levels)


def _groups(drawn: Sequence[Trial], goal: Goal) -> Iterator[Line]:
    """Yield the trials by how they stand to the limit."""
    surely = [trial for trial in drawn if goal.holds(trial)]
    allowed = [trial for trial in drawn if goal.allows(trial) and not goal.holds(trial)]
    over = [trial for trial in drawn if not goal.allows(trial)]
    for label, trials, look in (
        ("allowed", surely, Look(_ALLOWED, "o", dash=None, size=1.3)),
        (f"allowed {MEAN_ONLY}", allowed, Look(_ALLOWED, "o", hollow=True, dash=None, size=1.3)),
        ("over the limit", over, Look(_OVER, "x", dash=None, size=1.3)),
    ):
        if trials:
            yield Line(f"{label} ({len(trials)})", label, look, _places(trials, goal))


def _one(label: str, trial: Trial, look: Look, goal: Goal) -> Line:
    return Line(label, label, look, _places([trial], goal))


def _places(trials: Sequence[Trial], goal: Goal) -> list[Place]:
    scale = scale_of(goal.objective.shown)
    ends = ((trial, trial.cost) for trial in trials if trial.cost is not None)
    return [
        Place(
            scale * cost.value,
            trial.quality,
            x_low=None if cost.low is None else scale * cost.low,
            x_high=None if cost.high is None else scale * cost.high,
        )
        for trial, cost in ends
    ]
