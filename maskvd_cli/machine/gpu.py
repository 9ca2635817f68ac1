"""What NVML tells of one NVIDIA GPU: clocks, power, temperature, and who else uses it.

Needs the package nvidia-ml-py (`maskvd[energy]`). Everything is read, nothing is set.
"""

# NVML has no annotations.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.linux import ROOT, text_of

try:
    import pynvml
except ImportError:
    pynvml = None

# The bits of nvmlClocksEventReasons (NVML API reference), and whether each slows work down. Idle
# is how a GPU rests; the others that do not are settings that somebody chose.
_REASONS = {
    0x1: ("idle", False),
    0x2: ("application clocks are set", False),
    0x4: ("power limit", True),
    0x8: ("hardware slowdown", True),
    0x10: ("clocks are synchronised with other GPUs", False),
    0x20: ("temperature (software)", True),
    0x40: ("temperature (hardware)", True),
    0x80: ("power brake of the supply", True),
    0x100: ("display clocks are set", False),
    0x200: ("board limit", True),
    0x400: ("reliability limit", True),
}
IDLE = 0x1
# A driver that does not tell its version.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class GpuFacts:
    """One GPU, now; None for what its driver does not tell.

    Clocks in MHz, power in watts, memory in bytes. `reasons` is NVML's mask of why clocks are not
    higher; `others` are the processes on it beside this one: name and bytes.
    """

    name: str
    driver: str
    driver_cuda: str | None = None
    sm_mhz: int | None = None
    sm_most_mhz: int | None = None
    memory_mhz: int | None = None
    memory_most_mhz: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    power_default_w: float | None = None
    reasons: int | None = None
    celsius: int | None = None
    ecc: bool | None = None
    persistence: bool | None = None
    mig: bool | None = None
    others: tuple[tuple[str, int | None], ...] = ()


def slowing(mask: int) -> list[str]:
    """Return the reasons in a mask that slow work down; bits that are not known count as such."""
    named = [name for bit, (name, slows) in _REASONS.items() if mask & bit and slows]
    unknown = mask & ~sum(_REASONS)
    return [*named, *([f"unknown reason {unknown:#x}"] if unknown else [])]


def resting(mask: int) -> list[str]:
    """Return the reasons in a mask that are settings or rest."""
    return [name for bit, (name, slows) in _REASONS.items() if mask & bit and not slows]


def cuda_version(number: int) -> str:
    """Return the version that NVML writes as one number: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


def read_gpu(uuid: str) -> GpuFacts:
    """Return what NVML tells of the GPU with this UUID (without `GPU-`).

    Raises UsageError where the package is missing or NVML does not answer.
    """
    if pynvml is None:
        raise UsageError(
            "the package nvidia-ml-py is not installed", remedy="pip install 'maskvd[energy]'"
        )
    try:
        pynvml.nvmlInit()
        try:
            return _facts(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise UsageError(f"NVML does not answer ({error})", remedy="try nvidia-smi") from error


def _facts(nvml: Any, handle: Any) -> GpuFacts:
    def ask(name: str, *arguments: Any) -> Any:
        """Ask for one fact; boards and old drivers do not tell all."""
        try:
            return getattr(nvml, name)(*arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    def of(name: str, *arguments: Any) -> Any:
        return ask(f"nvmlDeviceGet{name}", handle, *arguments)

    def watts(name: str) -> float | None:
        milliwatts = of(name)
        return None if milliwatts is None else milliwatts / 1000

    ecc, mig, persistence = of("EccMode"), of("MigMode"), of("PersistenceMode")
    newest = ask("nvmlSystemGetCudaDriverVersion")
    lists = [of("ComputeRunningProcesses"), of("GraphicsRunningProcesses")]
    reasons = of("CurrentClocksEventReasons")
    return GpuFacts(
        name=_text(of("Name")) or "unnamed",
        driver=_text(ask("nvmlSystemGetDriverVersion")) or UNKNOWN,
        driver_cuda=None if newest is None else cuda_version(newest),
        sm_mhz=of("ClockInfo", nvml.NVML_CLOCK_SM),
        sm_most_mhz=of("MaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_mhz=of("ClockInfo", nvml.NVML_CLOCK_MEM),
        memory_most_mhz=of("MaxClockInfo", nvml.NVML_CLOCK_MEM),
        power_w=watts("PowerUsage"),
        power_limit_w=watts("PowerManagementLimit"),
        power_default_w=watts("PowerManagementDefaultLimit"),
        reasons=of("CurrentClocksThrottleReasons") if reasons is None else reasons,
        celsius=of("Temperature", nvml.NVML_TEMPERATURE_GPU),
        ecc=None if ecc is None else bool(ecc[0]),
        persistence=None if persistence is None else bool(persistence),
        mig=None if mig is None else bool(mig[0]),
        others=others_of({p.pid: p.usedGpuMemory for found in lists for p in found or ()}),
    )


def others_of(
    used: dict[int, int | None],
    *,
    own: int | None = None,
    name_of: Callable[[int], str | None] | None = None,
) -> tuple[tuple[str, int | None], ...]:
    """Return name and bytes of the processes on a GPU beside this one, largest first.

    In a container the driver gives the host's process numbers: where this process is not among
    them, one that is not known here is taken for it.
    """
    own, name_of = os.getpid() if own is None else own, name_of or process_name
    names = {pid: name_of(pid) for pid in used if pid != own}
    if own not in used:
        strangers = [pid for pid, name in names.items() if name is None]
        for pid in strangers[:1]:
            del names[pid]
    found = [(name or "another process", used[pid]) for pid, name in names.items()]
    return tuple(sorted(found, key=lambda other: -(other[1] or 0)))


def process_name(pid: int, root: Path = Path("/")) -> str | None:
    """Return a process's short name, never its arguments; None where it is not seen here."""
    try:
        return printable((root / f"proc/{pid}/comm").read_text("utf-8", "replace"))
    except OSError:
        return None


def nvidia_driver(root: Path = ROOT) -> str | None:
    """Return the version of the loaded NVIDIA driver, on Linux; None where none is loaded."""
    text = text_of(root / "proc/driver/nvidia/version") or ""
    found = re.search(r"Kernel Module(?: for \w+)?\s+(\d[\d.]*)", text)
    return found[1] if found else None


def printable(name: Iterable[str], most: int = 20) -> str:
    """Return a name without what could steer a terminal, cut to `most` characters."""
    return "".join(c for c in name if c.isprintable())[:most]


def _text(value: Any) -> str | None:
    """Old versions of the binding give bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
