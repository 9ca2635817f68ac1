"""The JSON file of a benchmark: what ran, when, on which machine, and every sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskvd_cli.machine.environment import environment
from maskvd_cli.store.runs import utc_now


def write_result(path: Path, command: str, content: dict[str, Any]) -> None:
    """Write `content` with command, date and environment to `path`."""
    machine = environment([])
    del machine["command"]
    whole = {"command": command, "date": utc_now(), "environment": machine, **content}
    path.write_text(json.dumps(whole, indent=2) + "\n")
