"""Energy per frame: NVML's counter of the whole board, read before and after many frames."""

# torch's own annotations are incomplete, NVML has none.
# pyright: reportUnknownMemberType=false, reportMissingImports=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.base import Model
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.clips import ClipInput, run_clip

try:
    import pynvml
except ImportError:
    pynvml = None

NVML_METHOD = "nvml-total-energy"


class EnergyMeter(Protocol):
    """A counter of energy."""

    def read_mj(self) -> int:
        """Return what was used so far, in millijoules, once all work so far is done."""
        ...


class NvmlMeter:
    """The counter of one NVIDIA board, which also counts what the board uses when it idles."""

    def __init__(self, device: torch.device) -> None:
        assert pynvml is not None
        self._device, self._nvml = device, pynvml
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    def read_mj(self) -> int:
        torch.cuda.synchronize(self._device)
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


@dataclass(frozen=True)
class Spent:
    """Millijoules per frame, idle power included, over so many frames and seconds."""

    mj_per_frame: float
    frames: int
    seconds: float
    measured_by: str = NVML_METHOD


def open_meter(device: torch.device) -> EnergyMeter:
    """Return the meter of a device. Raises UsageError where it has none."""
    if device.type != "cuda":
        raise UsageError(
            "energy is read from NVIDIA GPUs alone", remedy="leave energy out of metrics"
        )
    if pynvml is None:
        raise UsageError(
            "energy needs the package nvidia-ml-py", remedy="pip install 'maskvd[energy]'"
        )
    try:
        return NvmlMeter(device)
    except pynvml.NVMLError as error:
        raise UsageError(
            f"NVML counts no energy here ({error})", remedy="leave energy out of metrics"
        ) from error


def measure_energy(  # noqa: PLR0913 - the parts of the protocol
    detector: Model,
    method: Method[Params],
    clips: Sequence[ClipInput],
    meter: EnergyMeter,
    *,
    frames: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Spent:
    """Run the first `frames` of one clip after another until `seconds` are over, whole clips only.

    One clip runs before, so that caches are filled. Images are read ahead where they fit into
    memory; what reading costs the host is not counted, what the board idles meanwhile is.
    """
    for _ in run_clip(detector, method, clips[0], frames):
        pass
    for clip in clips:
        for position in range(min(frames, len(clip))):
            _ = clip.images[position]
    before, began = meter.read_mj(), clock()
    done = number = 0
    while clock() - began < seconds:
        done += sum(1 for _ in run_clip(detector, method, clips[number % len(clips)], frames))
        number += 1
    used, spent = meter.read_mj() - before, clock() - began
    method.reset()
    return Spent(used / done, done, spent)
