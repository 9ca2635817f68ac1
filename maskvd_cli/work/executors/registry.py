"""The executors by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.work.unit import Executor

executors: Registry[Executor] = Registry(
    "executor",
    Executor,
    "maskvd.executors",
    {
        "inline": "maskvd_cli.work.executors.inline:Inline",
        "process": "maskvd_cli.work.executors.process:Process",
    },
)
