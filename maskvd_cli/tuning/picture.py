"""Picture: what a search explored, mAP50 against the objective."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place, front_line
from maskvd_cli.render.chart.pyplot import draw_panel, handle, level_handle
from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.tuning.choice import explored_front
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Objective, Trial
from maskvd_cli.tuning.search import Outcome

_DOTS_PER_INCH = 150
_SIZE_INCHES = (7.5, 4.8)
_ALLOWED, _OVER, _CHOSEN = "#0072b2", "#999999", "#d55e00"
_AXES: dict[Objective, Axis] = {
    "latency": Axis("time of a frame (share of dense's)", from_zero=True),
    "gmacs": Axis("backbone GMACs per frame, mean", from_zero=True),
    "tokens": Axis("recomputed tokens per frame, mean", from_zero=True),
    "peak": Axis("peak memory (MiB)", from_zero=True),
}


def draw_search(paths: Sequence[Path], outcome: Outcome, goal: Goal, title: str) -> bool:
    """Write the picture, PNG or SVG by the files' suffixes; False where no mAP50 was measured.

    Trials over the limit whose latency was not measured are counted in the title.
    """
    trials = outcome.explored
    drawn = [trial for trial in trials if trial.cost is not None and trial.map50 is not None]
    if outcome.dense.map50 is None or not drawn:
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
    note = f"\n{hidden} over the limit were not timed" if hidden else ""
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
    """Return the trials, their front, dense, the limit and the choice."""
    looks = ((_ALLOWED, "o", "allowed", True), (_OVER, "x", "over the limit", False))
    lines: list[Line] = []
    for colour, mark, label, allowed in looks:
        group = [trial for trial in drawn if goal.allows(trial) == allowed]
        if group:
            look = Look(colour, mark, dash=None, size=1.3)
            lines.append(Line(f"{label} ({len(group)})", label, look, _places(group)))
    lines.append(front_line(_places(explored_front(drawn)), _ALLOWED, "front"))
    if outcome.dense.cost is not None:
        lines.append(_one("dense", outcome.dense, Look("#000000", "*", dash=None, size=3.2)))
    if outcome.choice is not None:
        ring = Look(_CHOSEN, "o", hollow=True, dash=None, size=3.2)
        lines.insert(0, _one("chosen", outcome.choice.trial, ring))
    levels: list[Level] = []
    if goal.max_map_drop is not None and outcome.dense.map50 is not None:
        limit = outcome.dense.map50 - goal.max_map_drop
        label = f"limit: dense - {goal.max_map_drop:g}"
        levels.append(Level(limit, label, Look(_OVER, "", dash=1)))
    return Panel(_AXES[goal.objective], Axis("mAP50 (%)"), lines, levels)


def _one(label: str, trial: Trial, look: Look) -> Line:
    return Line(label, label, look, _places([trial]))


def _places(trials: Sequence[Trial]) -> list[Place]:
    return [
        Place(trial.cost.value, trial.map50, x_low=trial.cost.low, x_high=trial.cost.high)
        for trial in trials
        if trial.cost is not None
    ]
