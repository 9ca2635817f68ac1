"""Who else uses the machine now: processors, stolen time, memory, swap and disk."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from maskvd_cli.diagnosis.finding import Checkup
from maskvd_cli.machine.disturbance import increase, read_counters
from maskvd_cli.machine.gpu import printable
from maskvd_cli.machine.limits import MachineMemory, memory
from maskvd_cli.machine.linux import (
    ROOT,
    Busy,
    busy_between,
    load_average,
)

_SECONDS = 1.0
_QUIET, _LOUD = 0.05, 0.15
_STEAL_NOTE, _STEAL_WARNING = 0.002, 0.01
_GIB, _MIB = 2**30, 2**20
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 2 * _GIB, 2 * _GIB, 50 * _MIB
Shares = list[tuple[str, float]]


@dataclass(frozen=True)
class Sample:
    """What happened in a second in which this process slept.

    `shares`: the busiest other processes, name and share of one core; `swapped`: pages; `held`:
    periods in which the control group's time was used up.
    """

    busy: Busy | None
    shares: Shares
    swapped: int | None
    held: int | None


def load_findings(results: Path, root: Path = ROOT) -> Iterator[Checkup]:
    """Sample the machine for a second and yield load, stolen time, memory, swap and disk."""
    sample = take_sample(root)
    cores = os.cpu_count() or 1
    yield other_load(sample, load_average(root), cores)
    yield stolen_time(sample.busy)
    if sample.held:
        text = f"the control group's processor time ran out in {sample.held} periods of a second"
        yield Checkup("held back", "warning", text, "raise the container's limit (--cpus)")
    found = memory(root)
    yield memory_finding(found)
    yield swap_finding(found, sample.swapped)
    yield disk_finding(results)


def take_sample(root: Path = ROOT, seconds: float = _SECONDS) -> Sample:
    """Sleep, and return what others did meanwhile. Of processes only short names are read."""
    watched = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    for process in watched:
        _share(process)
    before = read_counters(root)
    time.sleep(seconds)
    after = read_counters(root)
    shares = [(_name(process), _share(process)) for process in watched]
    shares = sorted((s for s in shares if s[1] >= _QUIET), key=lambda share: -share[1])
    return Sample(
        busy_between(before.cpu, after.cpu),
        shares,
        increase(before.pages, after.pages),
        increase(before.held_back, after.held_back),
    )


def other_load(sample: Sample, average: tuple[float, float, float] | None, cores: int) -> Checkup:
    """Judge by the processors in use while this process slept, and by the load average."""
    name, used = "other load", None if sample.busy is None else sample.busy.used
    if used is None:
        used = sum(share for _, share in sample.shares) / cores
    text = f"{used * cores:.1f} of {cores} cores in use"
    if sample.shares:
        text += f" ({', '.join(f'{name} {share:.0%}' for name, share in sample.shares[:3])})"
    if average is not None:
        text += f"; load average {average[0]:.1f}, {average[1]:.1f}, {average[2]:.1f}"
    remedy = "end or pause other work before measuring; who it is: top"
    if used >= _LOUD or (average is not None and average[1] >= cores):
        return Checkup(name, "warning", text, remedy)
    return Checkup(name, "note", text, remedy) if used >= _QUIET else Checkup(name, "ok", text)


def stolen_time(busy: Busy | None) -> Checkup:
    """Judge the share of time in which the host ran somebody else."""
    name = "stolen time"
    if busy is None:
        return Checkup(name, "note", "not told here (no /proc/stat)", "heed the noise floor")
    text = f"{busy.stolen:.1%} of a second"
    remedy = "the host is shared: measure at another time, or on a host of one's own"
    if busy.stolen >= _STEAL_WARNING:
        return Checkup(name, "warning", text, remedy)
    if busy.stolen >= _STEAL_NOTE:
        return Checkup(name, "note", text, remedy)
    return Checkup(name, "ok", text)


def memory_finding(found: MachineMemory | None) -> Checkup:
    """Judge the memory that is left."""
    name = "memory"
    if found is None:
        return Checkup(name, "note", "not told here (no /proc/meminfo)", "see that 2 GiB are free")
    text = f"{found.available / _GIB:.1f} GiB free of {found.total / _GIB:.1f}"
    if found.limit is not None and found.limit < found.total:
        text += f", the control group's limit is {found.limit / _GIB:.1f}"
    if found.available < _LITTLE_MEMORY:
        return Checkup(name, "warning", text, "free at least 2 GiB; ViTDet-B needs as much")
    return Checkup(name, "ok", text)


def swap_finding(found: MachineMemory | None, swapped: int | None) -> Checkup:
    """Judge whether memory is being swapped, or was."""
    name, used = "swap", 0 if found is None else found.swap_used
    if swapped:
        text = f"{swapped} pages a second, {used / _MIB:.0f} MiB in use"
        return Checkup(name, "warning", text, "free memory until swapping stops")
    if used > 64 * _MIB:
        remedy = "free memory, then sudo swapoff -a && sudo swapon -a"
        return Checkup(name, "note", f"{used / _MIB:.0f} MiB in use, none moved now", remedy)
    return Checkup(name, "ok", "none in use" if not used else f"{used / _MIB:.0f} MiB in use")


def disk_finding(results: Path) -> Checkup:
    """Judge the space where results go: the folder, or the nearest one above that exists."""
    name, folder = "disk", results.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free for {results}"
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "name a folder that can be written: maskvd sweep --results DIR"
        return Checkup(name, "warning", f"{folder} cannot be written", remedy)
    if free < _NO_DISK:
        return Checkup(name, "problem", text, "free space, or name another: --results DIR")
    if free < _LITTLE_DISK:
        return Checkup(name, "warning", text, "free space, or name another: --results DIR")
    return Checkup(name, "ok", text)


def _share(process: psutil.Process) -> float:
    """Return the share of one core since the last call; 0 for what has ended or is not shown."""
    try:
        return process.cpu_percent() / 100
    except psutil.Error:
        return 0.0


def _name(process: psutil.Process) -> str:
    try:
        # Longer names would be taken from the command line.
        return printable(process.name(), 15)
    except psutil.Error:
        return "ended"
