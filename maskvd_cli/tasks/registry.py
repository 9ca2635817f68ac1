"""The tasks by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.tasks.base import Task

# What a model without a word on its task is asked for, and runs of before were.
FIRST = "detection"

tasks: Registry[Task] = Registry(
    "task",
    Task,
    "maskvd.tasks",
    {
        FIRST: "maskvd_cli.tasks.detection:Detection",
        "instance-masks": "maskvd_cli.tasks.instance_masks:InstanceMasks",
        "recognition": "maskvd_cli.tasks.recognition:Recognition",
    },
)
