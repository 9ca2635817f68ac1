"""The machine and software of a run, from an allow-list: no variables, no home paths."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from maskvd_cli import __version__

_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pydantic",
    "pyyaml",
    "pyarrow",
    "pillow",
)
_SOURCE = Path(__file__).resolve().parents[2]


def environment(argv: list[str] | None = None) -> dict[str, Any]:
    """Return command, tool version, git state, Python, packages, system, processor and memory."""
    arguments = sys.argv[1:] if argv is None else argv
    return {
        "command": tidy_path(shlex.join(["maskvd", *arguments])),
        "tool_version": __version__,
        "git": _git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": _memory_gib(),
    }


def tidy_path(text: str) -> str:
    """Replace the home folder by `~`, so that results can be shared."""
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Return the checkout's commit, `+changes` where files differ; None if there is none."""
    if not (_SOURCE / ".git").exists():
        return None
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changed else commit


def _git(*arguments: str) -> str:
    # Without the option, `git status` writes the index of a checkout that it only looks at.
    command = ["git", "--no-optional-locks", "-C", str(_SOURCE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _processor() -> str:
    """Return the processor's model name; on Linux from /proc, which `platform` does not read."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    names: dict[str, int] = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
