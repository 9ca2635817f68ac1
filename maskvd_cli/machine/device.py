"""Where a model runs: the device, its number format, and what to tell of them in results."""

from __future__ import annotations

from typing import Any

import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.gpu import GpuFacts, read_gpu

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return the device called `auto`, `cpu` or `cuda`; auto is the GPU where there is one.

    Raises UsageError for `cuda` where torch sees none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("torch sees no CUDA device here", remedy="set device: cpu or auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def device_facts(device: torch.device) -> dict[str, Any]:
    """Return the device's name, torch's threads, and how float32 products are computed on it."""
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
            "cuda": torch.version.cuda,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        }
    return facts


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
