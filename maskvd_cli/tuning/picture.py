"""Picture: what a search explored, mAP50 against the objective."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.tuning.choice import explored_front
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Objective, Trial
from maskvd_cli.tuning.search import Outcome

_DOTS_PER_INCH = 150
_SIZE_INCHES = (7.5, 4.8)
_ALLOWED, _OVER, _CHOSEN = "#0072b2", "#999999", "#d55e00"
_AXES: dict[Objective, str] = {
    "latency": "time of a frame (share of dense's)",
    "gmacs": "backbone GMACs per frame, mean",
    "tokens": "recomputed tokens per frame, mean",
    "peak": "peak memory (MiB)",
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
    for colour, label, allowed in ((_ALLOWED, "allowed", True), (_OVER, "over the limit", False)):
        group = [trial for trial in drawn if goal.allows(trial) == allowed]
        if group:
            axis.errorbar(
                *_places(group), xerr=_widths(group), fmt="o" if allowed else "x", color=colour,
                label=f"{label} ({len(group)})", elinewidth=0.8, markersize=5, alpha=0.85,
            )  # fmt: skip
    axis.plot(
        *_places(explored_front(drawn)), color=_ALLOWED, linewidth=1, alpha=0.6, label="front"
    )
    if outcome.dense.cost is not None:
        axis.plot(*_places([outcome.dense]), "*", color="black", markersize=13, label="dense")
    if goal.max_map_drop is not None:
        limit = outcome.dense.map50 - goal.max_map_drop
        axis.axhline(limit, color=_OVER, linestyle="--", linewidth=1,
                     label=f"limit: dense - {goal.max_map_drop:g}")  # fmt: skip
    if outcome.choice is not None:
        axis.plot(
            *_places([outcome.choice.trial]), "o", markersize=13, markerfacecolor="none",
            markeredgecolor=_CHOSEN, markeredgewidth=2, label="chosen",
        )  # fmt: skip
    axis.set_xlabel(_AXES[goal.objective])
    axis.set_ylabel("mAP50 (%)")
    axis.set_xlim(left=0)
    axis.grid(alpha=0.25)
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=6)
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


def _places(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return (
        [trial.cost.value for trial in trials if trial.cost is not None],
        [trial.map50 or 0.0 for trial in trials],
    )


def _widths(trials: Sequence[Trial]) -> list[list[float]]:
    """Return how far the intervals reach below and above each cost."""
    costs = [trial.cost for trial in trials if trial.cost is not None]
    below = [0.0 if c.low is None else max(c.value - c.low, 0.0) for c in costs]
    above = [0.0 if c.high is None else max(c.high - c.value, 0.0) for c in costs]
    return [below, above]
