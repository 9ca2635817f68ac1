"""Where a model runs: the device, its number format, and what to tell of them in results."""

from __future__ import annotations

import re
from typing import Any

import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.gpu import UNKNOWN, GpuFacts, nvidia_driver, read_gpu
from maskvd_cli.recipe.schema import DEVICE_PATTERN

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device called `auto`, `cpu`, `cuda` or `cuda:1`; auto: the GPU where there is one.

    A GPU named by number becomes torch's current one, so that its streams, events and counters of
    memory are meant wherever torch is asked without a device.
    Raises UsageError for another word, and for a GPU that torch does not see.
    """
    if not re.fullmatch(DEVICE_PATTERN, name):
        remedy = "use auto, cpu, cuda or, of several GPUs, cuda:1"
        raise UsageError(f"'{name}' is no device", remedy=remedy)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    number = name.partition(":")[2]
    if int(number or 0) >= count:
        raise UsageError(
            f"there is no device '{name}' here: torch sees {_counted(count)}",
            remedy="use cpu, or auto for the GPU where there is one",
        )
    if not number:
        return torch.device("cuda")
    device = torch.device("cuda", int(number))
    torch.cuda.set_device(device)
    return device


def _counted(count: int) -> str:
    """Say how many GPUs there are, and what they are called."""
    if count <= 1:
        return "one CUDA device, cuda:0" if count else "no CUDA device"
    return f"{count} CUDA devices, cuda:0 to cuda:{count - 1}"


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return the device's name, torch's threads, and how float32 products are computed on it.

    Of a GPU also its name, memory, driver, None where nothing tells it, and CUDA's version.
    """
    facts: dict[str, Any] = {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "float32_products": torch.get_float32_matmul_precision(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "driver": _driver(device),
            "cuda": torch.version.cuda,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        }
    return facts


def _driver(device: torch.device) -> str | None:
    """Return the version of a GPU's driver; None where nothing tells it.

    What the system says comes first: it needs no package, and NVML gives the same version.
    """
    if torch.version.hip:
        return None
    if (loaded := nvidia_driver()) is not None:
        return loaded
    try:
        driver = gpu_facts(device).driver
    except UsageError:
        return None
    return None if driver == UNKNOWN else driver


def gpu_facts(device: torch.device) -> GpuFacts:
    """Return NVML's facts of a CUDA device. Raises UsageError as `read_gpu` does."""
    return read_gpu(str(torch.cuda.get_device_properties(device).uuid))


def gpu_reasons(device: torch.device) -> int | None:
    """Return NVML's mask of why a GPU's clocks are not higher now; None for other devices.

    Raises UsageError where NVML cannot be asked.
    """
    if device.type != "cuda" or torch.version.hip:
        return None
    return gpu_facts(device).reasons
