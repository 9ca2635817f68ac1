"""Peak memory of a method: the CUDA allocator's peak, or the CPU allocator's events."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from maskvd_cli.families.base import Model
from maskvd_cli.methods.base import Method
from maskvd_cli.methods.clips import ClipInput, run_clip

CPU_METHOD = "cpu-allocations"
CUDA_METHOD = "cuda-max-allocated"
_MIB = 2**20


@dataclass(frozen=True)
class Peak:
    """`peak_mib` of weights, kept tables, state and activations; `state_bytes` of the method's
    tensors, its largest over the frames; `measured_by` names how the peak was taken; `others_mib`:
    what of the peak was held before by others than the model, on CUDA, where that is seen.
    """

    peak_mib: float
    state_bytes: int
    measured_by: str
    frames: int
    others_mib: float = 0.0


def measure_memory(
    detector: Model, make: Callable[[], Method[Any]], clip: ClipInput, frames: int
) -> Peak:
    """Run the first frames of a clip twice, once to fill caches and once measured.

    On CUDA the peak is `max_memory_allocated`, reset before. On a CPU it is the highest sum of all
    allocations and releases that torch's profiler saw, on top of the tensors that the detector
    holds; Python, libraries and the images are not in it. Nothing is taken off on CUDA: the model
    must be the only one in memory, and what others hold is told.
    """
    for _ in run_clip(detector, make(), clip, frames):
        pass
    device = next(detector.parameters()).device
    measure = _on_cuda if device.type == "cuda" else _on_cpu
    return measure(detector, make, clip, frames)


def _states(
    detector: Model, make: Callable[[], Method[Any]], clip: ClipInput, frames: int
) -> list[int]:
    method = make()
    return [method.state_bytes() for _ in run_clip(detector, method, clip, frames)]


def _on_cuda(
    detector: Model, make: Callable[[], Method[Any]], clip: ClipInput, frames: int
) -> Peak:
    # What a former session left to the collector would count as this one's.
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    others = max(0, torch.cuda.memory_allocated() - bytes_held(detector)) / _MIB
    states = _states(detector, make, clip, frames)
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / _MIB
    return Peak(peak, max(states), CUDA_METHOD, len(states), others)


def _on_cpu(detector: Model, make: Callable[[], Method[Any]], clip: ClipInput, frames: int) -> Peak:
    for position in range(min(frames, len(clip))):
        _ = clip.images[position]
    held = bytes_held(detector)
    # The profiler's library greets on stderr unless told not to before its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    # The one of `torch.profiler` makes objects of all events first, which takes longer than to run.
    seen = profile(profile_memory=True, use_kineto=True)
    with seen:
        states = _states(detector, make, clip, frames)
    peak = (held + highest(_allocations(seen))) / _MIB
    return Peak(peak, max(states), CPU_METHOD, len(states))


def _allocations(seen: profile) -> list[int]:
    """Return the bytes of every allocation (positive) and release (negative), in time's order."""
    results: Any = seen.kineto_results
    events = [e for e in results.events() if e.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def highest(changes: Iterable[int]) -> int:
    """Return the highest running sum, at least 0."""
    return max(accumulate(changes, initial=0))


def bytes_held(module: nn.Module) -> int:
    """Return the bytes of all tensors that a module and its parts hold, each storage once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for part in module.modules()
        for tensor in _tensors(vars(part))
    }
    return sum(storages.values())


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
