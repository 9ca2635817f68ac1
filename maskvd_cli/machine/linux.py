"""What Linux tells of a machine: processor, clocks, limits, memory, load. Nothing is changed.

Every function takes the root that /proc and /sys lie under, and says None for what is not told
there: other systems, containers and virtual machines hide much of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_MOST_BYTES = 1 << 22
_CPUS = "sys/devices/system/cpu"
_DMI = "sys/class/dmi/id"


@dataclass(frozen=True)
class CpuTimes:
    """Ticks of all processors together since the machine began: all, idle, and stolen."""

    total: int
    idle: int
    steal: int


@dataclass(frozen=True)
class Busy:
    """Between two readings: the share of all processor time in use, and the share stolen."""

    used: float
    stolen: float


@dataclass(frozen=True)
class Clocks:
    """Frequencies in MHz over all cores, governors, and whether turbo may be used.

    `highest_mhz` is the hardware's, `allowed_mhz` the limit that is set.
    """

    governors: tuple[str, ...]
    lowest_now_mhz: float | None
    highest_now_mhz: float | None
    allowed_mhz: float | None
    highest_mhz: float | None
    turbo: bool | None


def text_of(path: Path) -> str | None:
    """Return a small file's text; None where it is absent or may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> float | None:
    """Return the number that a file holds; None where it holds none."""
    text = text_of(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def cpu_times(root: Path = ROOT) -> CpuTimes | None:
    """Return what /proc/stat counts. Time of guests is part of `user` and not added again."""
    fields = (text_of(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 5 or fields[0] != "cpu" or not all(map(str.isdecimal, fields[1:])):
        return None
    ticks = [int(field) for field in fields[1:9]]
    waiting = ticks[4] if len(ticks) > 4 else 0
    return CpuTimes(sum(ticks), ticks[3] + waiting, ticks[7] if len(ticks) > 7 else 0)


def busy_between(before: CpuTimes | None, after: CpuTimes | None) -> Busy | None:
    """Return shares of the time between two readings; None where no tick passed."""
    if before is None or after is None or after.total <= before.total:
        return None
    passed = after.total - before.total
    stolen = max(0, after.steal - before.steal)
    used = passed - max(0, after.idle - before.idle)
    return Busy(max(0, used) / passed, stolen / passed)


def load_average(root: Path = ROOT) -> tuple[float, float, float] | None:
    """Return the mean number of tasks that ran or waited, over 1, 5 and 15 minutes."""
    found = re.match(r"([\d.]+) ([\d.]+) ([\d.]+) ", (text_of(root / "proc/loadavg") or "") + " ")
    return (float(found[1]), float(found[2]), float(found[3])) if found else None


def swapped_pages(root: Path = ROOT) -> int | None:
    """Return how many pages were swapped in or out since the machine began."""
    found = re.findall(r"^pswp(?:in|out) (\d+)$", text_of(root / "proc/vmstat") or "", re.MULTILINE)
    return sum(map(int, found)) if found else None


def thermal_throttles(root: Path = ROOT) -> int | None:
    """Return how often the processors were slowed down since the machine began, too hot.

    The largest count of any core or package, since cores of one package are slowed down together.
    """
    names = ("core_throttle_count", "package_throttle_count")
    folders = list((root / _CPUS).glob("cpu[0-9]*/thermal_throttle"))
    found = [number_of(folder / name) for folder in folders for name in names]
    return max((int(count) for count in found if count is not None), default=None)


def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """Return the processor's features (`flags`, on ARM `Features`)."""
    info = text_of(root / "proc/cpuinfo") or ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", info, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def virtual_machine(root: Path = ROOT) -> str | None:
    """Return what the virtual machine calls itself, `unnamed` where it does not; None on metal."""
    kind = text_of(root / "sys/hypervisor/type")
    if kind is None and "hypervisor" not in cpu_flags(root):
        return None
    names = (text_of(root / _DMI / name) for name in ("sys_vendor", "product_name"))
    return " ".join(dict.fromkeys(name for name in names if name)) or kind or "unnamed"


def clocks(root: Path = ROOT) -> Clocks:
    """Return frequencies and governors; fields are None or empty where nothing is told."""
    folders = sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq"))

    def mhz(name: str) -> list[float]:
        found = (number_of(folder / name) for folder in folders)
        return [value / 1000 for value in found if value]

    now, allowed, highest = map(mhz, ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq"))
    governors = {text_of(folder / "scaling_governor") for folder in folders}
    return Clocks(
        governors=tuple(sorted(name for name in governors if name)),
        lowest_now_mhz=min(now, default=None),
        highest_now_mhz=max(now, default=None),
        allowed_mhz=min(allowed, default=None),
        highest_mhz=max(highest, default=None),
        turbo=_turbo(root),
    )


def _turbo(root: Path) -> bool | None:
    forbidden = number_of(root / _CPUS / "intel_pstate/no_turbo")
    if forbidden is not None:
        return forbidden == 0
    boost = number_of(root / _CPUS / "cpufreq/boost")
    return None if boost is None else boost != 0


def sibling_threads(root: Path = ROOT) -> list[list[int]] | None:
    """Return the processors that share each physical core; None where it is not told."""
    files = (root / _CPUS).glob("cpu[0-9]*/topology/thread_siblings_list")
    groups = {tuple(_listed(text_of(file) or "")) for file in files} - {()}
    return sorted(map(list, groups)) or None


def _listed(text: str) -> list[int]:
    """Read a list of processors as the kernel writes it: `0-3,8`."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip())
        if found is None:
            return []
        numbers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return numbers


def on_battery(root: Path = ROOT) -> bool | None:
    """Tell whether no mains supply is connected; None where there is none to connect."""
    folders = (root / "sys/class/power_supply").glob("*")
    mains = [number_of(f / "online") for f in folders if text_of(f / "type") == "Mains"]
    known = [online for online in mains if online is not None]
    return not any(known) if known else None
