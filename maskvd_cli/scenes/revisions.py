"""Revisions of the code that all points share, as far as they enter the points' keys.

Each stands as `REVISION` in the room whose results it counts, and rises when the same input gives
other results there. A first revision enters no key, so that points from before keep theirs.
"""

from __future__ import annotations

from typing import Any

from maskvd_cli import masks
from maskvd_cli.data import resize
from maskvd_cli.families import preprocess
from maskvd_cli.families.base import Family
from maskvd_cli.tasks.registry import tasks

FIRST = 1


def revisions_of(family: type[Family[Any, Any]]) -> dict[str, Any]:
    """Return `revisions` with what is beyond its first; empty where nothing is."""
    every = {
        "family": family.revision,
        "masks": masks.REVISION,
        "preprocess": preprocess.REVISION,
        "resize": resize.REVISION,
        "task": tasks.load(family.task).revision,
    }
    beyond = {name: number for name, number in every.items() if number > FIRST}
    return {"revisions": beyond} if beyond else {}
