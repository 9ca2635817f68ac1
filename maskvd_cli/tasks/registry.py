"""The tasks by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.tasks.base import Task

tasks: Registry[Task] = Registry(
    "task", Task, "maskvd.tasks", {"detection": "maskvd_cli.tasks.detection:Detection"}
)
