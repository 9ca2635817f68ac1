"""What a container or a service may use: processor time and memory of its control group.

Versions 1 and 2 of control groups are read; the tightest limit on the way up to the root counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskvd_cli.machine.linux import ROOT, number_of, text_of

_MOUNT = "sys/fs/cgroup"
# Version 1 writes the largest number of pages where there is no limit.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class MachineMemory:
    """Bytes: of the machine, still free for use, and of swap in use.

    `limit` is the control group's, None where there is none; `available` heeds it.
    """

    total: int
    available: int
    limit: int | None
    swap_used: int


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many cores' time the control group may use; None where it is not limited."""
    quotas: list[float] = []
    for folder in _folders(root, "cpu"):
        words = (text_of(folder / "cpu.max") or "").split()
        if len(words) != 2:
            words = [text_of(folder / f"cpu.cfs_{n}_us") or "" for n in ("quota", "period")]
        if all(map(str.isdecimal, words)) and int(words[1]) > 0 and int(words[0]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def held_back(root: Path = ROOT) -> int | None:
    """Return in how many periods the control group used up its processor time."""
    for folder in _folders(root, "cpu"):
        found = re.search(r"^nr_throttled (\d+)$", text_of(folder / "cpu.stat") or "", re.MULTILINE)
        if found:
            return int(found[1])
    return None


def memory(root: Path = ROOT) -> MachineMemory | None:
    """Return the machine's memory, and what the control group leaves of it."""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", text_of(root / "proc/meminfo") or "", re.MULTILINE)
    kib = {name: int(value) for name, value in found}
    if not {"MemTotal", "MemAvailable"} <= kib.keys():
        return None
    available, limits = kib["MemAvailable"] * 1024, list(_memory_limits(root))
    for limit, used in limits:
        available = min(available, max(0, limit - used))
    swap = (kib.get("SwapTotal", 0) - kib.get("SwapFree", 0)) * 1024
    tightest = min((limit for limit, _ in limits), default=None)
    return MachineMemory(kib["MemTotal"] * 1024, available, tightest, swap)


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use, without file caches that can be dropped, of every limited group."""
    for folder in _folders(root, "memory"):
        for limit_file, use_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = number_of(folder / limit_file), number_of(folder / use_file)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            stat = text_of(folder / "memory.stat") or ""
            dropped = re.search(rf"^{cache} (\d+)$", stat, re.MULTILINE)
            yield int(limit), int(used) - (int(dropped[1]) if dropped else 0)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of a controller, from this process's own group up to the top one."""
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            tops = [root / _MOUNT]
        elif controller in names.split(","):
            tops = [root / _MOUNT / name for name in dict.fromkeys((names, controller))]
        else:
            continue
        # Inside a namespace the path can lead out of what is mounted; then the top alone is seen.
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for top in tops:
            yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))
