"""Whether torch can use a GPU, and if not, why; and what its driver tells of it."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.diagnosis.finding import Checkup
from maskvd_cli.machine.device import gpu_facts
from maskvd_cli.machine.gpu import IDLE, GpuFacts, resting, slowing
from maskvd_cli.machine.linux import ROOT, text_of

_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x03",)
_INSTALL = "install a build of torch for CUDA: https://pytorch.org/get-started/locally"
_COOL_C = 80


@dataclass(frozen=True)
class TorchCuda:
    """What torch says of CUDA: the version it was built for, its devices, or why there are none."""

    built_for: str | None
    devices: tuple[str, ...] = ()
    reason: str | None = None
    hidden: bool = False


def read_torch() -> TorchCuda:
    """Ask torch for its devices, and for the reason where it sees none."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    build = torch.version.hip or torch.version.cuda
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        parts = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        devices = [f"{part.name} ({part.total_memory / 2**30:.0f} GiB)" for part in parts]
        return TorchCuda(build, tuple(devices))
    reason = str(said[0].message) if said else None
    if build is not None and reason is None:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            reason = str(error)
    return TorchCuda(build, (), None if reason is None else " ".join(reason.split())[:160], hidden)


def nvidia_boards(root: Path = ROOT) -> int:
    """Return how many NVIDIA display or compute boards the PCI bus holds."""
    folders = (root / "sys/bus/pci/devices").glob("*")
    return sum(
        text_of(folder / "vendor") == _NVIDIA
        and (text_of(folder / "class") or "").startswith(_DISPLAY_CLASSES)
        for folder in folders
    )


def cuda_finding(found: TorchCuda, driver: str | None, boards: int) -> Checkup:
    """Say whether torch can use a GPU, and if not whether it should."""
    name = "CUDA"
    if found.devices:
        first, *others = found.devices
        more = f" and {len(others)} more" if others else ""
        return Checkup(name, "ok", f"{found.built_for}: {first}{more}")
    build = f"torch for CUDA {found.built_for}" if found.built_for else "torch for CPUs"
    if found.hidden and (driver or boards):
        text = f"{build}; CUDA_VISIBLE_DEVICES hides all GPUs"
        return Checkup(name, "warning", text, "unset CUDA_VISIBLE_DEVICES")
    if driver and found.built_for is None:
        return Checkup(name, "warning", f"{build}, but NVIDIA driver {driver} is loaded", _INSTALL)
    if driver:
        text = f"{build}, driver {driver} is loaded, but no device can be used: {found.reason}"
        remedy = "update the driver, or install a build of torch for an older CUDA; try nvidia-smi"
        return Checkup(name, "problem", text, remedy)
    if boards:
        text = f"{boards} NVIDIA board{'s' * (boards > 1)} on the bus, but no driver is loaded"
        remedy = "install NVIDIA's driver; in a container: docker run --gpus all"
        return Checkup(name, "warning", text, remedy)
    remedy = "nothing, if CPUs are meant; latencies of papers are from GPUs"
    return Checkup(name, "note", f"no NVIDIA GPU here: {build} runs on the CPU", remedy)


def gpu_findings(during: Sequence[GpuFacts] = ()) -> Iterator[Checkup]:
    """Yield what NVML tells of the GPU that maskvd uses; nothing where torch can use none.

    `during` holds readings made while the GPU worked: clocks and reasons are taken from these.
    """
    if not torch.cuda.is_available() or torch.version.hip:
        return
    try:
        readings = [*during] or [read_current_gpu()]
    except UsageError as error:
        text = f"clocks, power and throttling are not known: {error.message}"
        yield Checkup("GPU", "warning", text, error.remedy or "try nvidia-smi")
        return
    yield from of_readings(readings, working=bool(during))


def read_current_gpu() -> GpuFacts:
    """Return NVML's facts of the device that torch uses. Raises UsageError as `read_gpu` does."""
    return gpu_facts(torch.device("cuda", torch.cuda.current_device()))


def of_readings(readings: Sequence[GpuFacts], *, working: bool) -> Iterator[Checkup]:
    """Yield driver, clocks, throttling, power limit, modes and other processes of one GPU."""
    last = readings[-1]
    newest = f", up to CUDA {last.driver_cuda}" if last.driver_cuda else ""
    yield Checkup("GPU driver", "ok", f"{last.driver}{newest}")
    yield _clocks(last, working=working)
    yield _throttling(readings)
    yield _power(last)
    yield _modes(last)
    yield _others(last)


def _clocks(gpu: GpuFacts, *, working: bool) -> Checkup:
    name, when = "GPU clocks", "while it worked" if working else "at rest"
    if gpu.sm_mhz is None or not gpu.sm_most_mhz:
        return Checkup(name, "note", "not told by the driver", "try nvidia-smi -q -d CLOCK")
    text = f"{gpu.sm_mhz} of {gpu.sm_most_mhz} MHz {when}"
    if gpu.memory_mhz is not None and gpu.memory_most_mhz:
        text += f", memory {gpu.memory_mhz} of {gpu.memory_most_mhz} MHz"
    if not working or gpu.sm_mhz >= 0.9 * gpu.sm_most_mhz:
        return Checkup(name, "ok", text)
    remedy = f"hold them at one value: sudo nvidia-smi -lgc {gpu.sm_mhz} (undo: -rgc)"
    return Checkup(name, "note", text, remedy)


def _throttling(readings: Sequence[GpuFacts]) -> Checkup:
    name, mask = "GPU throttling", 0
    told = [reading.reasons for reading in readings if reading.reasons is not None]
    if not told:
        return Checkup(name, "note", "not told by the driver", "try nvidia-smi -q -d PERFORMANCE")
    for reasons in told:
        mask |= reasons
    degrees = readings[-1].celsius
    warmth = "" if degrees is None else f" at {degrees} °C"
    if slowed := slowing(mask):
        remedy = "improve cooling, raise the power limit, or lock lower clocks (nvidia-smi -lgc)"
        return Checkup(name, "warning", f"{', '.join(slowed)}{warmth}", remedy)
    if degrees is not None and degrees >= _COOL_C:
        return Checkup(name, "note", f"none yet{warmth}", "let the GPU cool before measuring")
    chosen = resting(mask & ~IDLE)
    return Checkup(name, "ok", f"none{warmth}{'; ' if chosen else ''}{', '.join(chosen)}")


def _power(gpu: GpuFacts) -> Checkup:
    name, limit, default = "GPU power limit", gpu.power_limit_w, gpu.power_default_w
    if limit is None:
        return Checkup(name, "note", "not told by the driver", "try nvidia-smi -q -d POWER")
    now = "" if gpu.power_w is None else f", {gpu.power_w:.0f} W in use"
    if default is not None and abs(limit - default) >= 1:
        remedy = f"sudo nvidia-smi -pl {default:.0f}, or name the limit beside every result"
        return Checkup(name, "warning", f"{limit:.0f} W, default {default:.0f} W{now}", remedy)
    return Checkup(name, "ok", f"{limit:.0f} W{', the default' if default else ''}{now}")


def _modes(gpu: GpuFacts) -> Checkup:
    def word(value: bool | None) -> str:
        return {True: "on", False: "off", None: "not told"}[value]

    text = f"ECC {word(gpu.ecc)}, persistence {word(gpu.persistence)}, MIG {word(gpu.mig)}"
    if gpu.mig:
        remedy = "parts of a board share its power and memory: measure on a whole one"
        return Checkup("GPU modes", "warning", text, remedy)
    if gpu.persistence is False:
        return Checkup("GPU modes", "note", text, "sudo nvidia-smi -pm 1 spares the slow start")
    return Checkup("GPU modes", "ok", text)


def _others(gpu: GpuFacts) -> Checkup:
    if not gpu.others:
        return Checkup("GPU load", "ok", "no other process on it")
    named = ", ".join(
        name if size is None else f"{name} ({size / 2**20:.0f} MiB)"
        for name, size in gpu.others[:3]
    )
    text = f"{len(gpu.others)} other process{'es' * (len(gpu.others) > 1)}: {named}"
    return Checkup("GPU load", "warning", text, "end them, or choose a free GPU: nvidia-smi")
