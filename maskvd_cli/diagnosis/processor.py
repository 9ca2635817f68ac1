"""The processor: cores that may be used, clocks, virtual machine, threads of torch."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from maskvd_cli.diagnosis.finding import Checkup
from maskvd_cli.machine.gpu import printable
from maskvd_cli.machine.limits import cpu_quota
from maskvd_cli.machine.linux import (
    ROOT,
    Clocks,
    clocks,
    on_battery,
    sibling_threads,
    virtual_machine,
)

_STEADY = "performance"
_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES",
    "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_BLOCKTIME",
)  # fmt: skip


def processor_findings(model: str, root: Path = ROOT) -> Iterator[Checkup]:
    """Yield cores, clocks, turbo, virtual machine, power supply and threads of this machine."""
    seen = os.cpu_count() or 1
    usable = usable_processors()
    quota, siblings = cpu_quota(root), sibling_threads(root)
    yield cores_finding(model, seen, usable, quota)
    yield siblings_finding(usable, siblings)
    yield from clock_findings(clocks(root))
    machine = virtual_machine(root)
    if machine is not None:
        named = "" if machine == "unnamed" else f" ({printable(machine, 40)})"
        text = f"this is a virtual machine{named}: who else uses the host is not seen"
        remedy = "heed stolen time and noise floor; small differences need a host of one's own"
        yield Checkup("virtual machine", "note", text, remedy)
    if on_battery(root):
        yield Checkup("power supply", "warning", "on battery", "connect the mains supply")
    cores = len(usable) if quota is None else min(float(len(usable)), quota)
    yield threads_finding(torch.get_num_threads(), cores, os.environ)


def usable_processors() -> list[int]:
    """Return the numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_finding(model: str, seen: int, usable: list[int], quota: float | None) -> Checkup:
    """Say how many processors there are, and what affinity and control group leave of them."""
    text = f"{model}, {len(usable)} of {seen} processors"
    if quota is not None and quota < len(usable):
        text += f", but the control group allows the time of {quota:g}"
        remedy = "raise the container's limit (docker run --cpus), or pin it (--cpuset-cpus)"
        return Checkup("processor", "warning", text, remedy)
    if len(usable) < seen:
        return Checkup("processor", "note", text, "nothing, if meant; affinity is set: taskset")
    return Checkup("processor", "ok", text)


def siblings_finding(usable: list[int], siblings: list[list[int]] | None) -> Checkup:
    """Say whether processors share physical cores, and which to pin to so that they do not."""
    name = "hyper-threads"
    if siblings is None:
        return Checkup(name, "note", "whether processors share cores is not told", "ask the host")
    allowed = [[n for n in group if n in usable] for group in siblings]
    shared = [group for group in allowed if len(group) > 1]
    if not shared:
        return Checkup(name, "ok", "no usable processors share a core")
    first = ",".join(str(group[0]) for group in allowed if group)
    text = f"{len(shared)} cores are shared by {len(shared[0])} processors each"
    return Checkup(name, "note", text, f"use one of each: taskset -c {first} maskvd sweep ...")


def clock_findings(found: Clocks) -> Iterator[Checkup]:
    """Yield governor with frequencies, and turbo."""
    name = "frequency"
    if not found.governors and found.highest_now_mhz is None:
        text = "governor and frequencies are not told here"
        yield Checkup(name, "note", text, "ask whoever runs the host, or heed the noise floor")
    else:
        yield _frequency(name, found)
    if found.turbo:
        text = "on: clocks depend on temperature and on how many cores work"
        remedy = "for steady clocks: echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"
        if Path("/sys/devices/system/cpu/intel_pstate/no_turbo").exists():
            remedy = (
                "for steady clocks: echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
            )
        yield Checkup("turbo", "note", text, remedy)
    elif found.turbo is False:
        yield Checkup("turbo", "ok", "off")


def _frequency(name: str, found: Clocks) -> Checkup:
    parts = [f"governor {', '.join(found.governors)}"] if found.governors else []
    if found.lowest_now_mhz is not None:
        parts.append(f"{found.lowest_now_mhz:.0f} to {found.highest_now_mhz:.0f} MHz now")
    if found.highest_mhz is not None:
        parts.append(f"up to {found.highest_mhz:.0f} MHz")
    text = ", ".join(parts)
    if found.allowed_mhz and found.highest_mhz and found.allowed_mhz < 0.99 * found.highest_mhz:
        text += f", held at {found.allowed_mhz:.0f} MHz or less"
        remedy = f"sudo cpupower frequency-set -u {found.highest_mhz:.0f}MHz, unless meant"
        return Checkup(name, "note", text, remedy)
    if found.governors and set(found.governors) != {_STEADY}:
        return Checkup(name, "warning", text, f"sudo cpupower frequency-set -g {_STEADY}")
    return Checkup(name, "ok", text)


def threads_finding(threads: int, cores: float, variables: Mapping[str, str]) -> Checkup:
    """Compare torch's threads with the cores that may be used."""
    name = "threads"
    given = [f"{v}={printable(variables[v])}" for v in _VARIABLES if v in variables]
    told = ", ".join(given) or "no variable sets it"
    text = f"torch uses {threads} on {cores:g} cores; {told}"
    if threads > cores:
        remedy = f"export OMP_NUM_THREADS={max(1, int(cores))}"
        return Checkup(name, "warning", f"{text}: they wait for each other", remedy)
    if threads < int(cores):
        remedy = f"nothing, if meant; for all cores: export OMP_NUM_THREADS={int(cores)}"
        return Checkup(name, "note", text, remedy)
    return Checkup(name, "ok", text)
