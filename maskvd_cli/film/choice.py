"""Which point and which clip a film shows."""

from __future__ import annotations

from collections.abc import Sequence

from maskvd_cli.core.errors import RecipeError, UsageError, near_miss, unknown
from maskvd_cli.core.words import counted
from maskvd_cli.work.plan import PointSpec

_LISTED = 40


def choose_task(tasks: Sequence[PointSpec], wanted: str | None) -> PointSpec:
    """Return the task that `wanted` names: its label, words of it in any order, or a part of it.

    An only task needs no name. Raises RecipeError, with all labels, where none or several fit.
    """
    labels = [task.label for task in tasks]
    if wanted is None:
        if len(tasks) == 1:
            return tasks[0]
        raise _listed("--point is missing", labels)
    if wanted in labels:
        return tasks[labels.index(wanted)]
    words = {word for word in wanted.split() if word.strip(".…")}
    fitting = [task for task in tasks if words and words <= set(task.label.split())]
    if not fitting:
        fitting = [task for task in tasks if wanted.strip() and wanted in task.label]
    if not fitting:
        near = near_miss(wanted, labels)
        raise _listed(f"--point '{wanted}' is none of the recipe's points{near}", labels)
    if len(fitting) > 1:
        several = [task.label for task in fitting]
        raise _listed(f"--point '{wanted}' fits {len(several)} points", several)
    return fitting[0]


def _listed(problem: str, labels: Sequence[str]) -> RecipeError:
    """Return the error that names the points to choose from, one a line."""
    lines = [f"  {label}" for label in labels[:_LISTED]]
    if len(labels) > _LISTED:
        lines.append(f"  and {len(labels) - _LISTED} more: maskvd sweep RECIPE --dry-run")
    return RecipeError([f"{problem}; name one of them:", *lines])


def choose_clip(names: Sequence[str], wanted: str | None) -> int:
    """Return the position of the clip that `wanted` names, or numbers from 1; by default the first.

    Raises UsageError where there is none.
    """
    if wanted is None:
        return 0
    if wanted in names:
        return names.index(wanted)
    # With a zero in front it is a name, perhaps mistyped: those of KITTI have such.
    if wanted.isascii() and wanted.isdigit() and not wanted.startswith("0"):
        if len(wanted) < 9 and int(wanted) <= len(names):
            return int(wanted) - 1
        raise UsageError(
            f"--clip {wanted}: the split has {counted(len(names), 'clip')}",
            remedy=f"give 1..{len(names)}",
        )
    shown = names if len(names) <= _LISTED else [*names[:_LISTED], "..."]
    raise UsageError(f"--clip: {unknown('clip', wanted, shown)}")
